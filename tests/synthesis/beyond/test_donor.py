"""Another person's face, laid on a clip's and blended in."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from fakestormer.recipe.synthesis import BeyondConfig, SynthesisConfig
from fakestormer.synthesis.beyond.donor import FOUND, lay_on, similarity, thin_plate, unlikeness
from fakestormer.synthesis.params import ClipParams, Colour, Interpolation, Sharpen, sample
from fakestormer.synthesis.render import render

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


def _pixels(size: int) -> np.ndarray:
    return np.stack(np.meshgrid(np.arange(size), np.arange(size)), axis=-1).astype(np.float64)


@pytest.mark.parametrize("size", [63, 128])
def test_a_thin_plate_leaves_affine_maps_as_they_are(face_81: Tensor, size: int) -> None:
    """They bend nothing, far outside of the face as well."""
    target = face_81[:FOUND].double().numpy() * size / 256
    matrix, shift = np.array([[1.2, 0.1], [-0.3, 0.9]]), np.array([5.0, -7.0])
    place = thin_plate(target @ matrix.T + shift, target, size=size)
    assert place.shape == (size, size, 2)
    np.testing.assert_allclose(place, _pixels(size) @ matrix.T + shift, atol=1e-3)


def test_a_thin_plate_by_hand() -> None:
    """Four corners stay and the middle of their square moves by h: the displacement of a point is
    sum_j w_j r_j^2 log r_j plus a constant, with weights (1, 1, 1, 1, -4) w by symmetry."""
    target = np.array([[32.0, 32], [96, 32], [96, 96], [32, 96], [64, 64]])
    source = target + np.array([[0.0, 0]] * 4 + [[8.0, 0]])

    def plate(x: float, y: float) -> float:
        r2 = ((target - (x, y)) ** 2).sum(axis=1)
        u = np.where(r2 > 0, r2 * np.log(np.maximum(r2, 1e-12)) / 2, 0.0)
        return float(u @ np.array([1.0, 1, 1, 1, -4]))

    weight = 8 / (plate(64, 64) - plate(32, 32))
    place = thin_plate(source, target, size=128)
    for x, y in [(64, 64), (32, 32), (64, 32), (80, 48), (12, 100)]:
        expected = x + weight * (plate(x, y) - plate(32, 32))
        assert place[y, x, 0] == pytest.approx(expected, abs=0.05), (x, y)
        assert place[y, x, 1] == pytest.approx(y, abs=1e-3)


@pytest.mark.parametrize("gap", [0.0, 0.1])
def test_points_that_nearly_fall_together_fold_nothing(face_81: Tensor, gap: float) -> None:
    """A closed mouth and an open one: three pairs of points are nearly one in one of the faces."""
    target = face_81[:FOUND].double().numpy()
    source = target.copy()
    for upper, lower in [(61, 67), (62, 66), (63, 65)]:
        target[lower] = target[upper] + (0.0, gap)
        source[lower] = source[upper] + (0.0, 6.0)
    place = thin_plate(source, target, size=256)
    assert np.abs(place - _pixels(256)).max() < 8
    assert np.diff(place[..., 0], axis=1).min() > 0
    assert np.diff(place[..., 1], axis=0).min() > 0


def test_a_bent_face_comes_back(moving_clip: MakeClip) -> None:
    """The donor is the clip, wider and skewed, as no turn and scale could make it."""
    frames, landmarks = moving_clip(1, 2, 1)
    # where the donor's pixels are in the clip
    clip_of = torch.tensor([[0.8, 0.0, 25.0], [0.1, 1.0, -12.0]], dtype=torch.float64)
    xy_hw2 = torch.from_numpy(_pixels(256)) @ clip_of[:, :2].T + clip_of[:, 2]
    grid = ((2 * xy_hw2 + 1) / 256 - 1).float().expand(2, -1, -1, -1)
    donor = torch.nn.functional.grid_sample(
        frames[0].float(), grid, mode="bicubic", padding_mode="border", align_corners=False
    )
    there = (landmarks[0].double() - clip_of[:, 2]) @ torch.linalg.inv(clip_of[:, :2]).T
    donor = donor.round().clamp(0, 255).to(torch.uint8)
    bent, turned = (
        lay_on(donor, there, frames[0], landmarks[0], interpolation=None, bent=bent)
        for bent in (True, False)
    )
    apart = [
        float((laid[..., 60:200, 70:180].float() - frames[0][..., 60:200, 70:180]).abs().mean())
        for laid in (bent, turned)
    ]
    assert apart[0] < 1.0
    assert apart[1] > 3 * apart[0]


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
        SynthesisConfig(mode="shuffled", beyond=BeyondConfig(donor_probability=0.1))


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
