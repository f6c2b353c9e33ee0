"""A step whose numbers are no longer finite: what is kept of it, and its losses once more."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from fakestormer.data.loaders import ClipPlan, PairBatch, TrainingClips, training_batches
from fakestormer.data.manifest import read_manifest, tracks_of
from fakestormer.errors import TrainingError
from fakestormer.recipe.recipe import Recipe, override
from fakestormer.training import loop
from fakestormer.training.step import NonFiniteLossError
from fakestormer.types.network import Losses
from fakestormer.types.tensors import fields_of
from store_fixtures import train_here

QUICKSTART = Path(__file__).parents[2] / "docs" / "quickstart.md"


def losses_again(folder: Path) -> Losses:
    """By the snippet of the documentation."""
    (snippet,) = re.findall(r"^```python\n(.*?)^```", QUICKSTART.read_text(), re.M | re.S)
    assert snippet.count("RUN/failed-step-00000042") == 1
    names: dict[str, Any] = {}
    exec(snippet.replace("RUN/failed-step-00000042", str(folder)), names)
    losses = names["losses"]
    assert isinstance(losses, Losses)
    return losses


def check_batch(folder: Path, batches: Iterator[PairBatch]) -> None:
    """The pairs that one process takes at step 2, but for what `poison` changed."""
    expected = [next(batches) for _ in range(3)][2]
    kept = load_file(folder / "batch.safetensors")
    for name, tensor in (fields_of(expected.targets) | {"frames": expected.frames}).items():
        if name == "derivative":
            assert int(kept[name].isnan().sum()) == 1
            same = kept[name].isnan() | (kept[name] == tensor)
            assert bool(same.all()), name
        elif name != "kept":
            assert torch.equal(kept[name], tensor), name


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

    check_batch(folder, training_batches(clips, size=32, patch_size=8))

    assert losses_again(folder).temporal.isnan()
    # Cured, the same step has finite losses.
    batch = load_file(folder / "batch.safetensors")
    batch["derivative"].nan_to_num_()
    save_file(batch, folder / "batch.safetensors")
    assert all(loss.isfinite() for loss in fields_of(losses_again(folder)).values())


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
    check_batch(folder, training_batches(clips, size=32, patch_size=8))
    assert document["losses"].keys() == {"0", "1"}
    assert [losses["temporal"] == "nan" for losses in document["losses"].values()] == [False, True]
    assert losses_again(folder).temporal.isnan()
