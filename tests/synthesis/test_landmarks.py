"""Eq. 1 against a worked example, and mirroring."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fakestormer.synthesis.landmarks import interpolate_landmarks, mirror_landmarks


def test_eq_1_worked_example() -> None:
    """Four landmarks that all jump by 1.5 px in x: d = sqrt(4 * 1.5^2) / 4 = 3 / 4 = 0.75.

    round(0.75 / 0.2) = round(3.75) = 4, so they move 1.5 / 4 = 0.375 px. The next frame stands at
    2.0 px: d = sqrt(4 * 1.625^2) / 4 = 0.8125 from the interpolated 0.375, round(4.0625) = 4, so
    they go to 0.375 + 1.625 / 4 = 0.78125. The last stands at 1.2 px: d = 0.209375 <= 0.35: kept.
    """
    x_t = torch.tensor([0.0, 1.5, 2.0, 1.2], dtype=torch.float64)
    landmarks = torch.zeros(4, 4, 2, dtype=torch.float64)
    landmarks[..., 0] = x_t[:, None]
    smooth = interpolate_landmarks(landmarks)
    expected = torch.tensor([0.0, 0.375, 0.78125, 1.2], dtype=torch.float64)
    torch.testing.assert_close(smooth[..., 0], expected[:, None].expand(4, 4))
    assert not smooth[..., 1].any()


def test_eq_1_norm_is_over_all_coordinates_and_divided_by_k() -> None:
    """One of K = 2 landmarks moves by (0.48, 0.64): d = 0.8 / 2 = 0.4 > 0.35, parts = 2."""
    landmarks = torch.zeros(2, 2, 2, dtype=torch.float64)
    landmarks[1, 0] = torch.tensor([0.48, 0.64])
    smooth = interpolate_landmarks(landmarks)
    torch.testing.assert_close(smooth[1, 0], torch.tensor([0.24, 0.32]).double())
    # the same step among K = 4 landmarks is d = 0.2: below tau, nothing moves
    wider = torch.cat((landmarks, torch.zeros(2, 2, 2, dtype=torch.float64)), dim=1)
    assert torch.equal(interpolate_landmarks(wider), wider)


def test_eq_1_batched_and_pure() -> None:
    landmarks = torch.randn(3, 5, 68, 2, generator=torch.Generator().manual_seed(0)) * 10
    before = landmarks.clone()
    together = interpolate_landmarks(landmarks)
    assert torch.equal(landmarks, before)
    assert not torch.equal(together, landmarks)
    for clip, smooth in zip(landmarks, together, strict=True):
        assert torch.equal(interpolate_landmarks(clip), smooth)


def test_eq_1_refuses_wrong_shapes() -> None:
    with pytest.raises(ValueError, match="expected"):
        interpolate_landmarks(torch.zeros(4, 68, 3))


@pytest.mark.parametrize("count", [68, 81])
def test_mirror_of_a_symmetric_face_is_itself(face_81: Tensor, count: int) -> None:
    face = face_81[:count]
    torch.testing.assert_close(mirror_landmarks(face, 256), face, atol=1e-3, rtol=0)


@pytest.mark.parametrize("count", [68, 81])
def test_mirror_twice_is_identity(count: int) -> None:
    face = torch.rand(2, 3, count, 2, dtype=torch.float64) * 200
    mirrored = mirror_landmarks(face, 200)
    assert sorted(mirrored[0, 0, :, 1].tolist()) == sorted(face[0, 0, :, 1].tolist())
    torch.testing.assert_close(mirror_landmarks(mirrored, 200), face)


def test_mirror_known_points() -> None:
    """The image's left eye corner, 36, becomes the right one, 45; forehead 68 becomes 80."""
    face = torch.zeros(81, 2)
    face[36] = torch.tensor([10.0, 20.0])
    face[68] = torch.tensor([3.0, 4.0])
    mirrored = mirror_landmarks(face, 100)
    assert mirrored[45].tolist() == [89.0, 20.0]
    assert mirrored[80].tolist() == [96.0, 4.0]


def test_mirror_refuses_unknown_layouts() -> None:
    with pytest.raises(ValueError, match="68 or 81"):
        mirror_landmarks(torch.zeros(5, 2), 100)
