"""Another person's face laid on a clip's, to be blended in where a self-blended video has its copy.

No part of the method, in which X' is the clip itself (`donor_probability` 0). A self-blended video
teaches what blending leaves behind when both sides are of one picture; a face swap also brings
another camera, light and skin (the blended images of the Face X-ray line of work, for video).
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fakestormer.recipe.synthesis import REFERENCE_SIZE
from fakestormer.synthesis.hull import hull_mask
from fakestormer.synthesis.landmarks import interpolate_landmarks
from fakestormer.synthesis.params import Interpolation

#: The landmarks that faces are laid on each other by: the forehead's, where there are some, are not
#: found but estimated.
FOUND: Final = 68

_STIFFNESS: Final = 4.0
"""Smoothing of the thin plate at 256 px, so that landmarks which nearly fall together in one face
alone (lips) do not fold it."""

_PLATE_STEP: Final = 4
"""The plate is known at every fourth pixel of the crop. With both, landmarks of real faces stored
at 128 px are missed by 0.15 px of 256 on average, by 1.1 at the 99th percentile."""


def similarity(source_fk2: Tensor, target_fk2: Tensor) -> Tensor:
    """Turn, scale and shift that lay source points on target points best, in the least squares.

    float64 (F, K, 2) each -> (F, 2, 3): target ~ A source + b, as OpenCV wants it.
    """
    centre_fk, goal_fk = source_fk2.mean(dim=-2), target_fk2.mean(dim=-2)
    source, target = source_fk2 - centre_fk[:, None], target_fk2 - goal_fk[:, None]
    spread_f = source.square().sum(dim=(-2, -1))
    a = (source * target).sum(dim=(-2, -1)) / spread_f
    b = (source[..., 0] * target[..., 1] - source[..., 1] * target[..., 0]).sum(-1) / spread_f
    turn_f22 = torch.stack((torch.stack((a, -b), dim=-1), torch.stack((b, a), dim=-1)), dim=-2)
    shift_f2 = goal_fk - (turn_f22 @ centre_fk[..., None])[..., 0]
    return torch.cat((turn_f22, shift_f2[..., None]), dim=-1)


def unlikeness(source_fk2: Tensor, target_fk2: Tensor) -> Tensor:
    """How unlike two faces are shaped: mean distance of their points after `similarity`, float64
    (F,), in shares of the target's root mean square radius."""
    matrix_f23 = similarity(source_fk2, target_fk2)
    moved_fk2 = source_fk2 @ matrix_f23[..., :2].mT + matrix_f23[:, None, :, 2]
    radius_f = (target_fk2 - target_fk2.mean(dim=-2, keepdim=True)).square().sum(-1).mean(-1).sqrt()
    return (moved_fk2 - target_fk2).square().sum(-1).sqrt().mean(-1) / radius_f


def lay_on(
    donor_tchw: Tensor,
    donor_landmarks_tk2: Tensor,
    frames_tchw: Tensor,
    landmarks_tk2: Tensor,
    *,
    interpolation: Interpolation | None,
    bent: bool = False,
) -> Tensor:
    """The donor's frames moved so that its face lies on the clip's, in the clip's colours.

    donor, frames: uint8 (T, 3, S, S). landmarks: floating (T, K, 2), crop px. interpolation: how
    both are smoothed over time (eq. 1), as the mask's will be. bent: landmark by landmark
    (`thin_plate`), the donor's face in the clip's shape; else turned, scaled and shifted alone
    (`similarity`). Within the hull of the face the donor gets the mean and spread that each colour
    channel has in the clip; all frames alike.
    Returns uint8 (T, 3, S, S); edge pixels are repeated where the donor's picture ends.
    """
    size = frames_tchw.shape[-1]
    source, target = (
        points.double()[..., :FOUND, :] for points in (donor_landmarks_tk2, landmarks_tk2)
    )
    if interpolation is not None:
        tau, d_bar = (p * size / REFERENCE_SIZE for p in (interpolation.tau, interpolation.d_bar))
        source, target = (interpolate_landmarks(points, tau, d_bar) for points in (source, target))
    move = _bend if bent else _turn
    moved: NDArray[np.uint8] = np.stack(
        [
            move(np.ascontiguousarray(rgb_chw.transpose(1, 2, 0)), source_k2, target_k2)
            for rgb_chw, source_k2, target_k2 in zip(
                donor_tchw.numpy(), source, target, strict=True
            )
        ]
    )
    within_thw = (hull_mask(target, "full", size).numpy() > 0).astype(np.uint8)
    frames_thwc = np.ascontiguousarray(frames_tchw.numpy().transpose(0, 2, 3, 1))
    # All frames below each other are one picture, as OpenCV wants it.
    within_hw, below_hwc = within_thw.reshape(-1, size), moved.reshape(-1, size, 3)
    levels_1vc = _matching(below_hwc, frames_thwc.reshape(-1, size, 3), within_hw)
    recoloured_thwc = cv2.LUT(below_hwc, levels_1vc).reshape(moved.shape)
    return torch.from_numpy(np.ascontiguousarray(recoloured_thwc.transpose(0, 3, 1, 2)))


def _turn(rgb_hwc: NDArray[np.uint8], source_k2: Tensor, target_k2: Tensor) -> NDArray[np.uint8]:
    """uint8 (S, S, 3) -> the same, source points laid on target points by `similarity`."""
    turned = cv2.warpAffine(
        rgb_hwc,
        similarity(source_k2[None], target_k2[None])[0].numpy(),
        rgb_hwc.shape[1::-1],
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return turned.astype(np.uint8, copy=False)


def _bend(rgb_hwc: NDArray[np.uint8], source_k2: Tensor, target_k2: Tensor) -> NDArray[np.uint8]:
    """uint8 (S, S, 3) -> the same, source points laid on target points by `thin_plate`."""
    place_hw2 = thin_plate(source_k2.numpy(), target_k2.numpy(), size=rgb_hwc.shape[0])
    bent = cv2.remap(
        rgb_hwc,
        place_hw2[..., 0],
        place_hw2[..., 1],
        cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return bent.astype(np.uint8, copy=False)


def thin_plate(
    source_k2: NDArray[np.float64], target_k2: NDArray[np.float64], *, size: int
) -> NDArray[np.float32]:
    """Where each pixel takes its value from so that source points come to lie on target points.

    float64 (K, 2) each -> float32 (size, size, 2), (x, y): of all maps that take target points to
    source points, but for a little smoothing, the one that bends least (Bookstein 1989).
    """
    # Here, because SciPy comes with `fakestormer[train]`, which is asked for by name.
    from scipy.interpolate import RBFInterpolator

    plate = RBFInterpolator(
        target_k2,
        source_k2,
        kernel="thin_plate_spline",
        smoothing=_STIFFNESS * (size / REFERENCE_SIZE) ** 2,
    )
    nodes = np.arange(0.0, size - 1 + _PLATE_STEP, _PLATE_STEP)
    at_n2 = np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, 2)
    coarse_hw2 = plate(at_n2).reshape(len(nodes), len(nodes), 2).astype(np.float32)
    fine = np.arange(size, dtype=np.float32) / _PLATE_STEP
    place_hw2 = cv2.remap(coarse_hw2, *np.meshgrid(fine, fine), cv2.INTER_LINEAR)
    return place_hw2.astype(np.float32, copy=False)


def _matching(
    source_hwc: NDArray[np.uint8], target_hwc: NDArray[np.uint8], within_hw: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """uint8 (1, 256, 3): level -> level, which give the source the target's mean and spread, both
    of where `within` is not 0."""
    mean, spread = cv2.meanStdDev(source_hwc, mask=within_hw)
    goal, width = cv2.meanStdDev(target_hwc, mask=within_hw)
    scores = (np.arange(256.0) - mean) / np.maximum(spread, 1.0)
    matched_cv = np.clip(np.rint(scores * width + goal), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(matched_cv.T[None])
