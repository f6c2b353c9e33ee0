"""The frozen validation set and its scores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from fakestormer.data.manifest import Split, read_manifest, tracks_of
from fakestormer.errors import InputError, TrainingError
from fakestormer.model.build import build
from fakestormer.recipe.recipe import Recipe
from fakestormer.training.validation import ValidationSet, build_validation_set, validate
from fakestormer.types.network import Outputs


def _build(
    store: Path, recipe: Recipe, *, seed: int = 0, split: str = "validation"
) -> ValidationSet:
    return build_validation_set(
        store,
        tracks_of(read_manifest(store), split),
        synthesis=recipe.synthesis,
        model=recipe.model,
        clips_per_track=2,
        seed=seed,
    )


def test_it_is_the_same_whenever_it_is_built(store: Path, recipe: Recipe) -> None:
    one = _build(store, recipe)
    torch.manual_seed(77)
    other = _build(store, recipe)
    assert one.fingerprint == other.fingerprint
    assert torch.equal(one.frames, other.frames)
    assert one.frames.shape == (8, 4, 3, 32, 32)
    assert one.video.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert one.label.tolist() == [0, 0, 1, 1, 0, 0, 1, 1]
    assert _build(store, recipe, seed=1).fingerprint != one.fingerprint


def test_more_videos_do_not_change_those_already_there(
    recipe: Recipe, make_store: Callable[..., Path], tmp_path: Path
) -> None:
    few = _build(make_store(tmp_path / "few", validation=1), recipe)
    many = _build(make_store(tmp_path / "many", validation=3), recipe)
    assert torch.equal(many.frames[: len(few.frames)], few.frames)


def test_only_held_out_videos_may_be_used(
    recipe: Recipe, make_store: Callable[..., Path], tmp_path: Path
) -> None:
    store = make_store(tmp_path / "store", train=1, test=1)
    splits: tuple[Split, ...] = ("train", "test")
    for split in splits:
        with pytest.raises(InputError, match=f"belongs to the split '{split}'"):
            _build(store, recipe, split=split)
    with pytest.raises(InputError, match="no held-out videos"):
        _build(store, recipe)


class _Says(nn.Module):
    """Gives clip i the i-th of some logits; refuses to be scored while training."""

    def __init__(self, logits: list[float]) -> None:
        super().__init__()
        self.logits, self.seen = nn.Parameter(torch.tensor(logits)), 0

    def forward(self, frames: Tensor) -> Outputs:
        assert not self.training
        logit = self.logits[self.seen : self.seen + len(frames)]
        self.seen += len(frames)
        return Outputs(logit=logit, derivative=frames[:, :, 0].float(), frame_logits=logit[:, None])


def test_a_videos_score_is_the_mean_of_its_clips() -> None:
    validation = ValidationSet(
        frames=torch.zeros(6, 1, 3, 2, 2, dtype=torch.uint8),
        video=torch.tensor([0, 0, 0, 1, 1, 1]),
        label=torch.tensor([0.0, 0, 0, 1, 1, 1]),
        fingerprint="",
    )
    network = _Says([-4.0, -4.0, 3.0, 2.0, 2.0, -1.0])
    metrics = validate(network, validation, batch_size=4, pooling="probability")  # type: ignore[arg-type]
    assert metrics["auc_video"] == 1.0  # 0.33 against 0.68
    assert metrics["auc_clip"] == pytest.approx(6 / 9)  # 3.0 beats all three fakes
    loss = nn.functional.softplus(torch.tensor([-4.0, -4, 3, -2, -2, 1])).mean()
    assert metrics["classification_loss"] == pytest.approx(float(loss), abs=1e-6)
    assert network.training


@pytest.mark.parametrize(("pooling", "auc"), [("probability", 1.0), ("logit", 0.0)])
def test_clips_are_pooled_as_detection_pools_them(
    pooling: Literal["probability", "logit"], auc: float
) -> None:
    """The fake: one clip of two is caught. Means: 0.49 against 0.27, logits -4 against -1."""
    validation = ValidationSet(
        frames=torch.zeros(4, 1, 3, 2, 2, dtype=torch.uint8),
        video=torch.tensor([0, 0, 1, 1]),
        label=torch.tensor([0.0, 0, 1, 1]),
        fingerprint="",
    )
    network = _Says([-1.0, -1.0, 4.0, -12.0])
    metrics = validate(network, validation, batch_size=4, pooling=pooling)  # type: ignore[arg-type]
    assert metrics["auc_video"] == auc


def test_logits_that_are_no_numbers_stop_the_run() -> None:
    validation = ValidationSet(
        frames=torch.zeros(2, 1, 3, 2, 2, dtype=torch.uint8),
        video=torch.tensor([0, 1]),
        label=torch.tensor([0.0, 1]),
        fingerprint="",
    )
    network = _Says([0.0, float("nan")])
    with pytest.raises(TrainingError, match=r"not finite; lower training\.learning_rate"):
        validate(network, validation, batch_size=2, pooling="logit")  # type: ignore[arg-type]


def test_the_score_does_not_depend_on_the_batch_size(store: Path, recipe: Recipe) -> None:
    validation = _build(store, recipe)
    torch.manual_seed(0)
    network = build(recipe.model)
    # As built, the temporal layers start at zero and f says the same of every clip.
    for name, parameter in network.named_parameters():
        if "temporal_linear.weight" in name:
            nn.init.normal_(parameter, std=0.5)
    network.f.linear.weight.data.mul_(40)
    with torch.inference_mode():
        logits = network.eval()(validation.frames).logit
    assert logits.std() > 0.01
    one, other = (
        validate(network, validation, batch_size=size, pooling="probability") for size in (1, 5)
    )
    assert one == pytest.approx(other, abs=1e-5)
