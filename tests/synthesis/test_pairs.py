"""make_pairs: real and fake clips side by side with their targets."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from fakestormer.recipe.synthesis import SynthesisConfig
from fakestormer.synthesis.pairs import make_pairs
from fakestormer.synthesis.params import ClipParams, Cutout, sample
from fakestormer.synthesis.render import render
from fakestormer.synthesis.targets import patch_vulnerability
from fakestormer.types.network import Targets

MakeClip = Callable[..., tuple[Tensor, Tensor]]
CONFIG = SynthesisConfig()


def _params(seed: int, count: int, config: SynthesisConfig = CONFIG) -> list[ClipParams]:
    rng = np.random.default_rng(seed)
    return [sample(rng, config, clip_length=4) for _ in range(count)]


def _pairs(frames: Tensor, landmarks: Tensor, params: list[ClipParams]) -> tuple[Tensor, Targets]:
    return make_pairs(frames, landmarks, params, CONFIG, size=224, patch_size=16)


def test_shapes_order_and_real_targets(moving_clip: MakeClip) -> None:
    frames, landmarks = moving_clip(3, 4, 1)
    clips, targets = _pairs(frames, landmarks, _params(1, 3))
    assert clips.shape == (6, 4, 3, 224, 224)
    assert clips.dtype == torch.uint8
    assert targets.boundary.shape == (6, 4, 14, 14)
    assert targets.label.tolist() == [0, 0, 0, 1, 1, 1]
    assert targets.boundary[:3].eq(0).all()
    assert targets.soft_labels[:3].eq(0).all()
    assert torch.equal(targets.kept[:3], targets.kept[3:])
    # a real clip says "no change" in all places, as its fake's first frame does
    assert torch.equal(
        targets.derivative[:3], targets.derivative[3:, :1, :1, :1].expand(3, 4, 14, 14)
    )
    later = targets.derivative[3:, 1:].flatten(1)
    torch.testing.assert_close(later.mean(1), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(later.std(1, correction=0), torch.ones(3), atol=1e-4, rtol=0)


def test_soft_labels_are_about_one_without_cutout(moving_clip: MakeClip) -> None:
    frames, landmarks = moving_clip(8, 2, 2)
    params = [p.model_copy(update={"cutout": None}) for p in _params(2, 8)]
    _, targets = _pairs(frames, landmarks, params)
    assert targets.kept.all()
    assert (targets.soft_labels[8:] > 0.97).all()
    assert (targets.soft_labels[8:] <= 1).all()


def test_cutout_of_the_first_frame_hides_all_frames_of_both_twins(moving_clip: MakeClip) -> None:
    frames, landmarks = moving_clip(1, 4, 3)
    quiet = _params(3, 1)[0].model_copy(update={"jpeg_quality": None})
    cut = quiet.model_copy(update={"cutout": Cutout(thresholds=(0.6, 1.0), least_label=0.01)})
    clips, targets = _pairs(frames, landmarks, [cut])
    whole = render(frames, landmarks, [quiet], size=224)
    vulnerability = patch_vulnerability(whole.mask, 16)
    hidden = vulnerability[0, 0] > 0.6
    assert 5 < hidden.sum() < 150
    assert torch.equal(targets.kept[0], ~hidden)
    pixels = hidden.repeat_interleave(16, 0).repeat_interleave(16, 1).expand(2, 4, 3, 224, 224)
    assert clips[pixels].eq(0).all()
    assert torch.equal(clips[~pixels], torch.cat((whole.real, whole.fake))[~pixels])
    assert targets.boundary[1, :, hidden].eq(0).all()
    assert torch.equal(targets.boundary[1, :, ~hidden], vulnerability[0, :, ~hidden])
    assert targets.soft_labels[1, 0] <= 0.6
    assert (targets.soft_labels[1] > 0).all()


def test_batch_is_its_clips(moving_clip: MakeClip) -> None:
    frames, landmarks = moving_clip(4, 4, 4)
    params = _params(4, 4)
    clips, targets = _pairs(frames, landmarks, params)
    for i in range(4):
        one, its = _pairs(frames[i : i + 1], landmarks[i : i + 1], params[i : i + 1])
        assert torch.equal(one, clips[[i, 4 + i]])
        for field in dataclasses.fields(Targets):
            assert torch.equal(getattr(its, field.name), getattr(targets, field.name)[[i, 4 + i]])


def test_pure(moving_clip: MakeClip) -> None:
    frames, landmarks = moving_clip(2, 4, 5)
    params = _params(5, 2)
    before = frames.clone(), landmarks.clone(), torch.get_rng_state()
    numpy_before = np.random.get_state()[1].copy()  # noqa: NPY002
    first = _pairs(frames, landmarks, params)
    second = _pairs(frames, landmarks, params)
    assert torch.equal(frames, before[0])
    assert torch.equal(landmarks, before[1])
    assert torch.equal(torch.get_rng_state(), before[2])
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002
    assert torch.equal(first[0], second[0])


@pytest.mark.parametrize("normalisation", ["standard", "minmax", "gaussian3d"])
def test_normalisations_and_pooling_are_taken_from_the_config(
    moving_clip: MakeClip, normalisation: str
) -> None:
    frames, landmarks = moving_clip(1, 4, 6)
    config = SynthesisConfig.model_validate({"normalisation": normalisation, "pooling": "linear"})
    clips, targets = make_pairs(
        frames, landmarks, _params(6, 1, config), config, size=64, patch_size=8
    )
    assert clips.shape == (2, 4, 3, 64, 64)
    fake = targets.derivative[1]
    if normalisation == "standard":
        assert fake.min() < 0 < fake.max()
    else:
        assert fake.max() == 1
    if normalisation == "gaussian3d":
        assert targets.derivative[0].eq(0).all()


def test_one_frame_and_sixty_eight_landmarks(moving_clip: MakeClip) -> None:
    frames, landmarks = moving_clip(2, 1, 7)
    _, targets = _pairs(frames, landmarks[:, :, :68], _params(7, 2))
    assert targets.derivative.eq(0).all()
    assert (targets.soft_labels[2:] > 0).all()
