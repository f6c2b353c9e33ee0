"""Another person's face, laid on a clip's and blended in."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from fakestormer.synthesis.config import SynthesisConfig
from fakestormer.synthesis.donor import FOUND, lay_on, similarity, unlikeness
from fakestormer.synthesis.params import ClipParams, Colour, Interpolation, Sharpen, sample
from fakestormer.synthesis.sbv import render

MakeClip = Callable[..., tuple[Tensor, Tensor]]
SMOOTHING = Interpolation(tau=0.35, d_bar=0.2)


def test_similarity_by_hand() -> None:
    """A quarter turn clockwise (as seen, y down), twice as large, then moved by (10, 3)."""
    square = torch.tensor([[[0.0, 0], [1, 0], [1, 1], [0, 1]]], dtype=torch.float64)
    turned = torch.tensor([[[10.0, 3], [10, 5], [8, 5], [8, 3]]], dtype=torch.float64)
    expected = torch.tensor([[[0.0, -2, 10], [2, 0, 3]]], dtype=torch.float64)
    torch.testing.assert_close(similarity(square, turned), expected)


def test_unlikeness_is_of_shape_alone(face_81: Tensor) -> None:
    face = face_81[None].double()
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=torch.float64)
    assert float(unlikeness(1.7 * face @ turn.T + 30, face)) == pytest.approx(0, abs=1e-9)
    wider = face * torch.tensor([1.2, 1.0], dtype=torch.float64)
    widest = face * torch.tensor([1.5, 1.0], dtype=torch.float64)
    assert 0.02 < float(unlikeness(wider, face)) < float(unlikeness(widest, face))


def test_a_face_laid_on_itself_stays(moving_clip: MakeClip) -> None:
    frames, landmarks = moving_clip(1, 3, 0)
    laid = lay_on(frames[0], landmarks[0], frames[0], landmarks[0], interpolation=SMOOTHING)
    assert laid.dtype == torch.uint8
    assert int((laid.int() - frames[0].int()).abs().max()) <= 1


def test_a_moved_face_comes_back_in_the_clips_colours(moving_clip: MakeClip) -> None:
    """The donor is the clip, 9 px to the right and darker."""
    frames, landmarks = moving_clip(1, 2, 1)
    donor = (frames[0].roll(9, dims=-1).float() * 0.5 + 20).round().to(torch.uint8)
    moved = landmarks[0] + torch.tensor([9.0, 0])
    laid = lay_on(donor, moved, frames[0], landmarks[0], interpolation=SMOOTHING)
    inside = laid[..., 60:200, 70:180].float() - frames[0][..., 60:200, 70:180].float()
    assert float(inside.abs().max()) <= 3  # half of the steps were lost in the dark
    assert abs(float(inside.mean())) < 0.3


def _plain(**changes: object) -> ClipParams:
    """Nothing is changed but by the blend itself."""
    params = sample(np.random.default_rng(2), SynthesisConfig(), clip_length=3)
    blending = params.frames[0].model_copy(
        update={"ratio": 1.0, "colour": Colour(), "translate": (0.0, 0.0), "scale": 1.0}
        | {"changed_side": "copy", "detail": Sharpen(alpha=0.0, lightness=1.0)}
    )
    plain = {"frames": (blending,), "margin": 0, "jitter": Colour(), "jpeg_quality": None}
    return params.model_copy(update=plain | {"flip": False} | changes)


def test_the_donor_is_what_the_mask_shows(moving_clip: MakeClip) -> None:
    frames, landmarks = moving_clip(1, 3, 2)
    donors, _ = moving_clip(1, 3, 3)
    blended = render(frames, landmarks, [_plain(donor=7)], size=256, donors_btchw=donors)
    inside = (blended.mask > 0.9999)[:, :, None].expand_as(frames)
    outside = (blended.mask == 0)[:, :, None].expand_as(frames)
    assert bool(inside.any())
    assert int((blended.fake.int() - donors.int())[inside].abs().max()) <= 1
    assert torch.equal(blended.fake[outside], frames[outside])
    assert torch.equal(blended.real, frames)

    own = render(frames, landmarks, [_plain()], size=256, donors_btchw=donors)
    assert torch.equal(own.mask, blended.mask)
    assert torch.equal(own.fake, render(frames, landmarks, [_plain()], size=256).fake)

    # A real clip that is moved is a copy of its own face.
    moved = render(
        frames, landmarks, [_plain(donor=7, moved_real=True)], size=256, donors_btchw=donors
    )
    assert int((moved.real.int() - frames.int()).abs().max()) <= 1


def test_flipping_flips_the_donor(moving_clip: MakeClip) -> None:
    frames, landmarks = moving_clip(1, 3, 2)
    donors, _ = moving_clip(1, 3, 3)
    flipped = render(frames, landmarks, [_plain(donor=7, flip=True)], size=256, donors_btchw=donors)
    inside = (flipped.mask > 0.9999)[:, :, None].expand_as(frames)
    assert bool(inside.any())
    assert int((flipped.fake.int() - donors.flip(-1).int())[inside].abs().max()) <= 1


def test_refusals(moving_clip: MakeClip) -> None:
    frames, landmarks = moving_clip(1, 3, 2)
    with pytest.raises(ValueError, match="give `donors_btchw`"):
        render(frames, landmarks, [_plain(donor=7)], size=256)
    with pytest.raises(ValueError, match=r"donors shaped like the frames, \(1, 3, 3, 256, 256\)"):
        render(frames, landmarks, [_plain()], size=256, donors_btchw=frames[:, :2])
    with pytest.raises(ValueError, match="donor_probability"):
        SynthesisConfig(mode="shuffled", donor_probability=0.1)


def test_landmarks_found_are_those_that_faces_are_laid_by(moving_clip: MakeClip) -> None:
    """A forehead that is elsewhere moves nothing."""
    frames, landmarks = moving_clip(1, 2, 4)
    elsewhere = landmarks.clone()
    elsewhere[..., FOUND:, :] += 40
    one, other = (
        lay_on(frames[0], points[0], frames[0], landmarks[0], interpolation=SMOOTHING)
        for points in (landmarks, elsewhere)
    )
    assert torch.equal(one, other)
