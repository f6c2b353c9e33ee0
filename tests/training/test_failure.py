"""A step whose numbers are no longer finite: what is kept of it, and doing it again."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from fakestormer.cli import app
from fakestormer.data.loaders import ClipPlan, TrainingClips
from fakestormer.data.manifest import read_manifest, tracks_of
from fakestormer.errors import InputError, TrainingError
from fakestormer.recipe.recipe import Recipe, override
from fakestormer.training import loop
from fakestormer.training.failure import replay
from fakestormer.training.step import NonFiniteLossError
from store_fixtures import train_here


def _clips(recipe: Recipe, store: Path) -> TrainingClips:
    rows = tracks_of(read_manifest(store), "train")
    config = recipe.training
    plan = ClipPlan(
        [row.frames for row in rows], clip_length=recipe.model.frames, pairs=config.pairs,
        clips_per_track=None, seed=config.seed, epochs=config.epochs,
    )  # fmt: skip
    return TrainingClips(store, rows, plan, recipe.synthesis)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_poisoned_batch_is_kept_and_fails_again(
    recipe: Recipe,
    store: Path,
    tmp_path: Path,
    processes: Any,
    monkeypatch: pytest.MonkeyPatch,
    accumulate: int,
) -> None:
    sets = [f"training.accumulate={accumulate}", "training.checkpoint_every=1"]
    recipe, out = override(recipe, sets), tmp_path / "run"
    monkeypatch.setattr(loop, "training_batches", processes.poisoned_batches)
    with pytest.raises(NonFiniteLossError) as caught:
        train_here(recipe, store, out)
    folder = out / f"failed-step-{processes.STEP:08d}"
    assert str(caught.value).startswith(f"step {processes.STEP}: the loss is nan (f 0.")
    assert str(folder) in str(caught.value)

    modes = {file.stat().st_mode for file in folder.iterdir()}
    assert len(modes) == 1, "who may read other new files may read the batch"
    document = json.loads((folder / "failure.json").read_text())
    clips = _clips(recipe, store)
    batches = [clips[key] for key in clips.plan.keys(processes.STEP)]
    assert [clip["id"] for clip in document["clips"]] == [batch.sources[0] for batch in batches]
    assert [clip["params"] for clip in document["clips"]] == [
        batch.params[0].model_dump(mode="json") for batch in batches
    ]
    # In one part both pairs are suspect, in two only the poisoned one.
    assert [clip["suspect"] for clip in document["clips"]] == [True, accumulate == 1]
    assert document["recipe"] == recipe.model_dump(mode="json")
    assert document["losses"]["0"]["temporal"] == "nan"
    # BatchNorm's statistics too are those before the step.
    before = load_file(out / "checkpoints/last/weights.safetensors")
    kept = load_file(folder / "weights.safetensors")
    assert all(torch.equal(kept[name], before[name]) for name in before)

    done = replay(folder)
    assert {str(p): values.as_text() for p, values in done.losses.items()} == document["losses"]
    assert done.message == str(caught.value).partition("; kept for replay")[0]
    printed = CliRunner().invoke(app, ["replay", str(folder)])
    assert printed.exit_code == 0
    assert "part 1: loss nan (f 0." in printed.output

    # Cured, the same step has finite losses.
    batch = load_file(folder / "batch.safetensors")
    batch["derivative"].nan_to_num_()
    save_file(batch, folder / "batch.safetensors")
    done = replay(folder)
    assert done.message == ""
    assert all(torch.isfinite(torch.tensor(losses)).all() for losses in done.losses.values())


def test_a_damaged_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no failed step"):
        replay(tmp_path)
    (tmp_path / "failure.json").write_text("{}")
    with pytest.raises(InputError, match="is damaged, or of another version"):
        replay(tmp_path)


@pytest.mark.slow
def test_all_processes_stop_when_one_has_no_number(
    recipe: Recipe,
    store: Path,
    tmp_path: Path,
    processes: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second process is poisoned; the first does not wait for it, and keeps the whole batch."""
    monkeypatch.setattr(loop, "_run", processes.run_poisoned)
    began = time.monotonic()
    with pytest.raises(TrainingError, match=r"step 2: the loss is nan .*#0@\d") as caught:
        train_here(recipe, store, tmp_path, devices=2)
    assert time.monotonic() - began < 240  # gloo would wait for half an hour
    folder = tmp_path / "failed-step-00000002"
    assert str(folder) in str(caught.value)
    document = json.loads((folder / "failure.json").read_text())
    clips = _clips(recipe, store)
    batches = [clips[key] for key in clips.plan.keys(2)]
    assert [clip["id"] for clip in document["clips"]] == [batch.sources[0] for batch in batches]
    assert [clip["suspect"] for clip in document["clips"]] == [False, True]
    assert batches[1].sources[0] in str(caught.value)
    assert batches[0].sources[0] not in str(caught.value)
    done = replay(folder)
    assert done.losses.keys() == {0, 1}
    assert str(done.losses[1].temporal) == "nan"
    for part, losses in done.losses.items():
        told = document["losses"][str(part)]
        assert losses.classification == pytest.approx(float(told["classification"]), rel=1e-5)
    assert done.losses[0].temporal == pytest.approx(
        float(document["losses"]["0"]["temporal"]), rel=1e-5
    )
