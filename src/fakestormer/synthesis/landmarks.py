"""Landmarks over time: smoothing sudden jumps (eq. 1) and mirroring.

68 landmarks are the iBUG points; 81 are those plus 13 forehead points, ordered along the brow line
from one temple to the other, so that mirroring a face reverses them.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor


def interpolate_landmarks(landmarks_tk2: Tensor, tau: float = 0.35, d_bar: float = 0.2) -> Tensor:
    """Move landmarks that jump only part of the way, frame after frame (eq. 1).

        d = ||l(t) - l(t-1)||_F / K,  l(t) <- l(t-1) + (l(t) - l(t-1)) / round(d / d_bar) if d > tau

    against the already interpolated l(t-1), for t = 1..T-1. The rounding leaves slight errors on
    purpose: they are the subtle temporal artefacts. `tau` and `d_bar` are pixels of the given
    landmarks; the defaults belong to 256 px crops.

    landmarks: floating (T, K, 2) or (B, T, K, 2), (x, y) pixels. Returns a new tensor.
    """
    if landmarks_tk2.ndim not in (3, 4) or landmarks_tk2.shape[-1] != 2:
        raise ValueError(
            f"interpolate_landmarks: expected (T, K, 2) or (B, T, K, 2), "
            f"got {tuple(landmarks_tk2.shape)}"
        )
    smooth = landmarks_tk2.clone()
    for t in range(1, landmarks_tk2.shape[-3]):
        before, here = smooth[..., t - 1, :, :], smooth[..., t, :, :]
        d = (here - before).square().sum(dim=(-2, -1), keepdim=True).sqrt() / here.shape[-2]
        # 1 part at least: only a d_bar above 2 tau could round to none
        parts = (d / d_bar).round().clamp_min(1.0)
        smooth[..., t, :, :] = torch.where(d > tau, before + (here - before) / parts, here)
    return smooth


def _reversed(*spans: tuple[int, int]) -> list[int]:
    return [i for start, stop in spans for i in reversed(range(start, stop))]


# iBUG: jaw 0-16, brows 17-21 | 22-26, nose bridge 27-30, nostrils 31-35, eyes 36-41 | 42-47,
# outer lips 48-59 (upper 48-54, lower 55-59), inner lips 60-67 (upper 60-64, lower 65-67).
_MIRROR_68 = [
    *_reversed((0, 17), (17, 27)),
    *(27, 28, 29, 30),
    *_reversed((31, 36)),
    *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
    *_reversed((48, 55), (55, 60), (60, 65), (65, 68)),
]
_MIRROR = {68: _MIRROR_68, 81: [*_MIRROR_68, *_reversed((68, 81))]}


def mirror_landmarks(landmarks: Tensor, width: int) -> Tensor:
    """Landmarks of the horizontally flipped picture, each again at its own number.

    x <- width - 1 - x, and left and right points change places: what was the image's left eye
    corner (36) is then found at 45. Mirroring twice gives the original order back.

    landmarks: (..., K, 2), K = 68 or 81. Raises ValueError for other layouts.
    """
    order = _MIRROR.get(landmarks.shape[-2])
    if order is None:
        raise ValueError(
            f"mirror_landmarks: expected 68 or 81 landmarks, got {landmarks.shape[-2]}"
        )
    x, y = rearrange(landmarks[..., order, :], "... xy -> xy ...")
    return torch.stack((width - 1 - x, y), dim=-1)
