"""Whole runs on drawn faces: resumption, choice of the model, what a store is refused for."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fakestormer.data.loaders import TrainingClips
from fakestormer.data.manifest import read_manifest, write_manifest
from fakestormer.errors import InputError, TrainingError
from fakestormer.model.model_file import load_model
from fakestormer.recipe.recipe import Recipe, override
from fakestormer.recipe.synthesis import SynthesisConfig
from fakestormer.training import loop
from fakestormer.training.history import HistoryFile, StepRecord, read_lines
from fakestormer.training.loop import TrainingResult
from fakestormer.training.step import NonFiniteLossError
from store_fixtures import train_here, write_image_model


def _history(run: Path) -> tuple[tuple[StepRecord, ...], list[int]]:
    """The steps of a run's history, and after how many steps it was validated."""
    lines = read_lines(run)
    steps = tuple(StepRecord(**line) for line in lines if "step" in line)
    return steps, [line["steps_done"] for line in lines if "steps_done" in line]


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory, recipe: Recipe, store: Path
) -> tuple[Path, TrainingResult]:
    out = tmp_path_factory.mktemp("whole") / "run"
    return out, train_here(recipe, store, out)


def test_a_run_leaves_a_model_checkpoints_and_logs(
    whole: tuple[Path, TrainingResult], recipe: Recipe
) -> None:
    out, result = whole
    network, document = load_model(out)
    assert document["recipe"] == recipe.model_dump(mode="json")
    assert document["metrics"]["validation"] == result.best
    assert document["face_backend"] == "drawn"
    assert document["trained_on"] == {"dataset": "folder", "compression": ""}
    assert result.best.keys() == {"auc_video", "auc_clip", "classification_loss", "step"}
    best = load_file(out / "checkpoints" / "best" / "weights.safetensors")
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, best[name]), name
    assert list((out / "tensorboard").glob("events.*"))
    assert (out / "checkpoints" / "last").resolve().name == f"step-{len(result.history):08d}"


def test_batchnorm_statistics_see_each_batch_once(whole: tuple[Path, TrainingResult]) -> None:
    out, result = whole
    state = load_file(out / "checkpoints" / "last" / "weights.safetensors")
    counts = {int(v) for name, v in state.items() if name.endswith("num_batches_tracked")}
    assert counts == {len(result.history)}


@pytest.mark.parametrize("workers", [0, 1])
def test_an_interrupted_run_resumes_to_the_same_losses(
    whole: tuple[Path, TrainingResult],
    recipe: Recipe,
    store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    workers: int,
) -> None:
    reference, expected = whole
    stop_at = len(expected.history) // 2 + 1  # within the second epoch
    ordinary = loop.training_step

    def ctrl_c(*args: Any, step: int, **kwargs: Any) -> Any:
        if step == stop_at:
            os.kill(os.getpid(), signal.SIGINT)
        return ordinary(*args, step=step, **kwargs)

    monkeypatch.setattr(loop, "training_step", ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        train_here(recipe, store, tmp_path / "run", workers=workers)
    monkeypatch.undo()
    assert (tmp_path / "run/checkpoints/last").resolve().name == f"step-{stop_at + 1:08d}"
    torch.manual_seed(99)  # whatever else happened in between
    resumed = train_here(recipe, store, tmp_path / "run", resume=True)
    assert resumed.history == expected.history[stop_at + 1 :]
    assert resumed.best == expected.best
    a, b = (load_file(out / "model.safetensors") for out in (reference, tmp_path / "run"))
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def test_a_run_of_an_older_program_goes_on_or_says_why_not(
    whole: tuple[Path, TrainingResult], recipe: Recipe, store: Path, tmp_path: Path
) -> None:
    """Its recipe and its state lack fields that count as their defaults; no history was kept."""
    _, expected = whole
    run = tmp_path / "run"
    long = override(recipe, ["training.checkpoint_every=2", "training.validate_every=2"])
    ordinary, loop_step = loop.training_step, 3

    def ctrl_c(*args: Any, step: int, **kwargs: Any) -> Any:
        if step == loop_step:
            os.kill(os.getpid(), signal.SIGINT)
        return ordinary(*args, step=step, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "training_step", ctrl_c)
        with pytest.raises(KeyboardInterrupt):
            train_here(long, store, run)
    path = run / "checkpoints/last/checkpoint.json"
    document = json.loads(path.read_text())
    for name in ("accumulate", "ema_decay", "checkpoint_minutes"):
        del document["recipe"]["training"][name]
    for name in ("seconds", "processes"):
        del document["state"][name]
    path.write_text(json.dumps(document))
    (run / "history.jsonl").unlink()
    resumed = train_here(long, store, run, resume=True)
    assert resumed.history == expected.history[loop_step + 1 :]

    path = run / "checkpoints/last/checkpoint.json"
    document = json.loads(path.read_text())
    document["recipe"]["training"]["invented_later"] = 1
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match=r"does not fit this program \(training\.invented_later"):
        train_here(long, store, run, resume=True)


def test_a_checkpoint_every_so_many_minutes(
    recipe: Recipe, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that a step moves on by a minute."""
    minutes = [0.0]
    ordinary, saving, saved = loop.training_step, loop.save_checkpoint, []

    def slow(*args: Any, **kwargs: Any) -> Any:
        minutes[0] += 1
        return ordinary(*args, **kwargs)

    def noted(run: Path, network: Any, optimizer: Any, state: Any, *args: Any, **named: Any) -> Any:
        saved.append((state.step, state.seconds))
        return saving(run, network, optimizer, state, *args, **named)

    monkeypatch.setattr(loop, "training_step", slow)
    monkeypatch.setattr(loop, "save_checkpoint", noted)
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: 60 * minutes[0]))
    timed = override(recipe, ["training.epochs=3", "training.checkpoint_minutes=2"])
    result = train_here(timed, store, tmp_path / "run")
    ends = [a.step + 1 for a, b in pairwise(result.history) if a.epoch != b.epoch]
    wanted, last = [], 0
    for done in range(1, len(result.history) + 1):
        if done in (*ends, len(result.history)) or done - last >= 2:
            wanted.append(done)
            last = done
    assert len(wanted) > 3  # more than the ends of epochs
    assert saved == [(step, 60.0 * step) for step in wanted]


def test_the_history_survives_a_kill_and_a_resumption(
    whole: tuple[Path, TrainingResult], recipe: Recipe, store: Path, tmp_path: Path
) -> None:
    out, expected = whole
    steps, validated_at = _history(out)
    assert steps == expected.history
    assert validated_at == [
        record.step + 1
        for record, after in pairwise((*expected.history, None))
        if after is None or after.epoch != record.epoch
    ]
    run = tmp_path / "run"
    shutil.copytree(out, run, symlinks=True)
    # A run killed in the middle of a line, after steps that no checkpoint holds.
    shutil.rmtree(run / "checkpoints/last/", ignore_errors=True)
    lines = (run / "history.jsonl").read_text().splitlines()
    (run / "history.jsonl").write_text("\n".join([*lines, lines[-2], '{"step": 6, "epo']))
    file = HistoryFile(run, first_step=3)
    file.append(asdict(expected.history[3]))
    file.close()
    steps, validated_again_at = _history(run)
    assert steps == expected.history[:4]
    assert validated_again_at == [step for step in validated_at if step <= 3]


def test_tensorboard_holds_pictures_of_targets_and_predictions(
    whole: tuple[Path, TrainingResult],
) -> None:
    out, _ = whole
    events = EventAccumulator(str(out / "tensorboard"), size_guidance={"images": 0})
    events.Reload()
    tags = events.Tags()["images"]
    assert tags == ["examples/1 of 2", "examples/2 of 2"]
    seen = events.Images(tags[0])
    assert [image.step for image in seen] == _history(out)[1]
    assert seen[0].encoded_image_string != seen[-1].encoded_image_string


def test_resuming_something_else_is_refused(
    whole: tuple[Path, TrainingResult], recipe: Recipe, store: Path, tmp_path: Path
) -> None:
    out, _ = whole
    with pytest.raises(InputError, match="holds a run already"):
        train_here(recipe, store, out)
    other = override(recipe, ["training.learning_rate=0.1", "model.drop_path=0"])
    with pytest.raises(InputError, match=r"differs in model\.drop_path, training\.learning_rate"):
        train_here(other, store, out, resume=True)
    with pytest.raises(InputError, match="no checkpoint here"):
        train_here(recipe, store, tmp_path, resume=True)


def test_other_tracks_are_refused_when_resuming(
    recipe: Recipe, make_store: Callable[..., Path], tmp_path: Path
) -> None:
    short = override(recipe, ["training.epochs=1"])
    store = make_store(tmp_path / "store", train=3, validation=1)
    train_here(short, store, tmp_path / "run")
    rows = read_manifest(store)
    write_manifest(store, rows[1:])
    with pytest.raises(InputError, match="training tracks have changed"):
        train_here(short, store, tmp_path / "run", resume=True)
    (store / "manifest.parquet").unlink()
    write_manifest(store, [*rows[:3], rows[3].__class__(**{**_fields(rows[3]), "frames": 6})])
    with pytest.raises(InputError, match="another validation set"):
        train_here(short, store, tmp_path / "run", resume=True)


def _fields(row: Any) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__slots__}


def test_a_model_is_never_chosen_on_a_test_split(
    recipe: Recipe, make_store: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="never chosen on a test split"):
        train_here(recipe, make_store(tmp_path / "a", train=3, test=2), tmp_path / "run")
    with pytest.raises(InputError, match="no held-out videos"):
        train_here(recipe, make_store(tmp_path / "b", train=3), tmp_path / "run")
    with pytest.raises(InputError, match="no training track has 4 frames"):
        train_here(recipe, make_store(tmp_path / "c", validation=3), tmp_path / "run")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("crop.enlarge=1.4", "enlarge 1.25 instead of 1.4"),
        ("tracking.detect_every=1", "detect_every 5 instead of 1"),
    ],
)
def test_a_store_made_otherwise_is_refused(
    change: str, says: str, recipe: Recipe, store: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=f"{says}.*fakestormer prepare .*--set {change}"):
        train_here(override(recipe, [change]), store, tmp_path / "run")


def test_too_few_videos_are_one_sentence(recipe: Recipe, store: Path, tmp_path: Path) -> None:
    many = override(recipe, ["training.batch_size=32"])
    with pytest.raises(InputError, match=r"too few .* lower training\.batch_size to 10 or less"):
        train_here(many, store, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_recipes_pooling_chooses_the_model(
    recipe: Recipe, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    ordinary = loop.validate

    def noted(*args: Any, pooling: Any, **kwargs: Any) -> dict[str, float]:
        asked.append(pooling)
        return ordinary(*args, pooling=pooling, **kwargs)

    monkeypatch.setattr(loop, "validate", noted)
    train_here(
        override(recipe, ["training.epochs=1", "prediction.pooling=logit"]), store, tmp_path / "run"
    )
    assert asked == ["logit"]


def test_a_background_run_tells_one_plain_line_per_validation(
    recipe: Recipe, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = train_here(recipe, store, tmp_path / "run", show_progress=True)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("step ")]
    assert len(lines) == recipe.training.epochs
    steps = len(result.history)
    second = [record.total for record in result.history if record.epoch == 1]
    assert lines[-1].startswith(f"step {steps}/{steps}: loss {np.mean(second):.3f} (f ")
    assert lines[-1].endswith(" clips/s, 0 min left")
    assert "val AUC " in lines[0]


def test_a_loss_that_is_no_number_names_step_and_clips(
    recipe: Recipe, store: Path, tmp_path: Path
) -> None:
    wild = override(recipe, ["training.learning_rate=1e30", "training.sam_rho=0"])
    assert issubclass(NonFiniteLossError, TrainingError)
    with pytest.raises(NonFiniteLossError, match=r"step 1: the loss is .*train_\d\.mp4#0@\d"):
        train_here(wild, store, tmp_path / "run")


@pytest.fixture(scope="session")
def plain(recipe: Recipe) -> Recipe:
    """Pairs that a tiny network can tell apart: a strong colour change, no blending tricks."""
    easy = SynthesisConfig(
        copy_changed_probability=1.0,
        blend_ratios=(1.0,),
        cutout_probability=0.0,
        jpeg_probability=0.0,
        flip_probability=0.0,
        change=SynthesisConfig().change.model_copy(
            update={"rgb_probability": 1.0, "rgb_limit": 60.0, "contrast_limit": 0.5}
        ),
        jitter=SynthesisConfig().jitter.model_copy(
            update={"rgb_probability": 0.0, "contrast_probability": 0.0}
        ),
    )
    model = recipe.model.model_copy(update={"drop_path": 0.0, "head_dropout": 0.0})
    return recipe.model_copy(update={"synthesis": easy, "model": model})


@pytest.mark.slow
def test_f_learns_behind_a_frozen_backbone_and_a_zero_projection(
    plain: Recipe, make_store: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of the first epoch is frozen, the temporal layers start at zero."""
    frozen = override(
        plain,
        ["training.epochs=1", "training.freeze_epochs=1", "training.batch_size=16",
         "training.learning_rate=1e-2", "training.loss.lambda_h=1"],
    )  # fmt: skip
    store = make_store(tmp_path / "store", frames=160, train=8, validation=1)
    weights = write_image_model(frozen, tmp_path / "vit.safetensors")
    result = train_here(frozen, store, tmp_path / "run", initial_weights=weights)
    losses = [record.classification for record in result.history]
    assert np.mean(losses[-8:]) < 0.65 < np.mean(losses[:4])
    # And what came from the image model stood still.
    before = load_file(weights)
    after = load_file(tmp_path / "run/checkpoints/last/weights.safetensors")
    for theirs, ours in (("attn.qkv", "spatial_attention.qkv"), ("mlp.fc1", "mlp.fc1")):
        kept = after[f"backbone.blocks.0.{ours}.weight"]
        assert torch.equal(kept, before[f"blocks.0.{theirs}.weight"])
    moved = after["backbone.blocks.0.temporal_linear.weight"]
    assert float(moved.abs().max()) > 0
    state = json.loads((tmp_path / "run/checkpoints/last/checkpoint.json").read_text())["state"]
    assert "backbone.blocks.0.spatial_attention.qkv.weight" in state["pretrained"]
    # The trap itself: with the whole backbone frozen, f never knows more than chance.
    whole = {name for name in after if name.startswith("backbone")}
    monkeypatch.setattr(loop, "frozen_names", lambda *_: frozenset(whole))
    trapped = train_here(frozen, store, tmp_path / "trapped", initial_weights=weights)
    losses = [record.classification for record in trapped.history]
    assert np.mean(losses[-8:]) == pytest.approx(np.log(2), abs=1e-3)


@pytest.mark.slow
def test_two_clips_can_be_learned_by_heart(
    plain: Recipe, make_store: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two pairs, the same draws every step: all three heads reach their targets."""
    heart = override(
        plain,
        ["training.epochs=200", "training.learning_rate=3e-3", "training.validate_every=200",
         "training.sam_rho=0", "training.weight_decay=0", "training.loss.lambda_h=1"],
    )  # fmt: skip
    store = make_store(tmp_path / "store", frames=4, train=2, validation=1)
    batches = loop.training_batches

    def the_same(clips: TrainingClips, **kwargs: Any) -> Any:
        return iter([next(batches(clips, **kwargs))] * clips.plan.steps)

    saving = loop.save_checkpoint

    def save_the_best(*args: Any, best: bool, **named: Any) -> None:
        if best:  # the last of 200, at the one validation
            saving(*args, best=best, **named)

    monkeypatch.setattr(loop, "training_batches", the_same)
    monkeypatch.setattr(loop, "save_checkpoint", save_the_best)
    result = train_here(heart, store, tmp_path / "run")
    first, last = result.history[0], result.history[-1]
    assert last.classification < 0.01 < first.classification
    assert last.temporal < 0.05 * first.temporal
    assert last.total < 0.05 * first.total


def test_a_model_is_trained_further(store: Path, recipe: Recipe, tmp_path: Path) -> None:
    """Its weights are where the next run begins, all of them."""
    short = override(recipe, ["training.epochs=1"])
    first = train_here(short, store, tmp_path / "first")
    again = override(short, ["training.learning_rate=1e-12", "model.head_dropout=0.1"])
    train_here(again, store, tmp_path / "again", initial_weights=tmp_path / "first")
    before, after = (load_model(tmp_path / name)[0].state_dict() for name in ("first", "again"))
    for name, weights in before.items():
        if "running_" not in name and weights.is_floating_point():  # these follow the batches
            torch.testing.assert_close(after[name], weights, atol=1e-6, rtol=1e-4, msg=name)
    assert first.model.is_file()
    deeper = override(short, ["model.depth=1"])
    with pytest.raises(InputError, match=r"another network .* differ in model\.depth"):
        train_here(deeper, store, tmp_path / "no", initial_weights=tmp_path / "first")


def test_clips_go_on_from_a_model_of_single_frames(
    store: Path, recipe: Recipe, tmp_path: Path
) -> None:
    """Another T and other heads: what both have is taken over, h starts anew."""
    single = override(recipe, ["model.frames=1", 'model.branches=["g","b"]', "training.epochs=1"])
    result = train_here(single, store, tmp_path / "single")
    assert result.history[0].temporal == 0
    assert result.history[0].boundary > 0.1
    clips = override(
        recipe,
        ['model.branches=["h","g","b"]', "training.epochs=1", "training.learning_rate=1e-12"],
    )
    train_here(clips, store, tmp_path / "clips", initial_weights=tmp_path / "single")
    before, after = (load_model(tmp_path / name)[0].state_dict() for name in ("single", "clips"))
    taken = "backbone.blocks.0.mlp.fc1.weight", "f.linear.weight", "b.linear.weight"
    for name in taken:
        torch.testing.assert_close(after[name], before[name], atol=1e-6, rtol=1e-4, msg=name)
    assert len(after["backbone.embedding.time"]) == recipe.model.frames + 1
    assert "h.conv1.weight" in after.keys() - before.keys()
