"""A drawn face: 81 landmarks that sit like a face's, and frames to blend."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor


def _arc(
    start: float, stop: float, count: int, rx: float, ry: float, cx: float, cy: float
) -> Tensor:
    """Points of an ellipse, degrees clockwise from the right, as (x, y)."""
    angle = torch.deg2rad(torch.linspace(start, stop, count))
    return torch.stack((cx + rx * angle.cos(), cy + ry * angle.sin()), dim=-1)


def _face_81() -> Tensor:
    """Symmetric about x = 127.5, in a 256 px crop."""
    left_brow = torch.tensor([[80.0, 98], [88, 92], [97, 90], [106, 91], [115, 95]])
    left_eye = torch.tensor([[86.0, 110], [93, 106], [101, 106], [108, 111], [101, 114], [93, 114]])
    right = torch.tensor([255.0, 0.0])
    flip = torch.tensor([-1.0, 1.0])
    eye_right = (right + flip * left_eye)[[3, 2, 1, 0, 5, 4]]
    parts = [
        _arc(180, 0, 17, 60, 80, 127.5, 120),  # jaw, through the chin below
        left_brow,
        (right + flip * left_brow).flip(0),
        torch.tensor([[127.5, y] for y in (108.0, 118, 128, 138)]),
        torch.tensor([[115.5, 146.0], [121.5, 149], [127.5, 151], [133.5, 149], [139.5, 146]]),
        left_eye,
        eye_right,
        _arc(180, 360, 7, 24, 9, 127.5, 170),
        _arc(30, 150, 5, 22, 12, 127.5, 170),
        _arc(180, 360, 5, 18, 3, 127.5, 170),
        _arc(45, 135, 3, 16, 4, 127.5, 170),
        _arc(190, 350, 13, 58, 66, 127.5, 112),  # forehead, temple to temple
    ]
    return torch.cat(parts).float()


@pytest.fixture(scope="session")
def face_81() -> Tensor:
    """float32 (81, 2), a mirror-symmetric face in a 256 px crop."""
    return _face_81()


@pytest.fixture(scope="session")
def moving_clip() -> Callable[..., tuple[Tensor, Tensor]]:
    """(clips, length, seed, size) -> uint8 frames (B, T, 3, S, S) and landmarks (B, T, 81, 2).

    Smooth random pictures, each frame a little different, and a face that drifts.
    """

    def make(clips: int, length: int, seed: int, size: int = 256) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng(seed)
        coarse = torch.from_numpy(rng.uniform(0, 255, (clips * length, 3, 24, 24)).astype("f4"))
        coarse = coarse.view(clips, length, 3, 24, 24)
        coarse = 0.8 * coarse[:, :1] + 0.2 * coarse
        frames = torch.nn.functional.interpolate(
            coarse.flatten(0, 1), size=(size, size), mode="bicubic", align_corners=False
        )
        frames = frames.round().clamp(0, 255).to(torch.uint8).view(clips, length, 3, size, size)
        drift = torch.from_numpy(rng.normal(0, 0.7, (clips, length, 1, 2)).astype("f4"))
        shake = torch.from_numpy(rng.normal(0, 0.4, (clips, length, 81, 2)).astype("f4"))
        landmarks = (_face_81() + drift.cumsum(1) + shake) * (size / 256)
        return frames, landmarks

    return make
