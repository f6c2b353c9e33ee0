"""Landmarks -> the blending mask M before it is deformed: unions of filled convex hulls.

The groups are the conventions of the Face X-ray and self-blended-images line of work.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fakestormer.recipe.synthesis import HullType

_SUBPIXEL_BITS = 4


def _points(*parts: int | tuple[int, int]) -> tuple[int, ...]:
    """Landmark numbers from single numbers and Python-like (start, stop) spans."""
    numbers: list[int] = []
    for part in parts:
        numbers += [part] if isinstance(part, int) else range(*part)
    return tuple(numbers)


_COMPONENTS = (
    _points((0, 9), 17),
    _points((8, 17), 26),
    _points((17, 20), 8),
    _points((24, 27), 8),
    _points((19, 25), 8),
    _points((17, 22), 27, (31, 36), 8),
    _points((22, 27), 27, (31, 36), 8),
    _points((27, 31), (31, 36)),
)

HULLS: Final[dict[HullType, tuple[tuple[int, ...], ...]]] = {
    "full": (
        _points((0, 17), (48, 68)),
        _points((27, 31), 33),
        _points((17, 27), 0, 27, 16, 33),
    ),
    "components": _COMPONENTS,
    "extended": _COMPONENTS,  # after `raise_brows`
    "facehull": ((),),  # all points there are
}
"""Per hull type the landmark subsets whose filled convex hulls are united; () means all points."""


def raise_brows(landmarks_k2: NDArray[np.float64]) -> NDArray[np.float64]:
    """Brow points moved away from the eyes by half their distance to the eye line (`extended`).

    With ml = mean(36, 0), mr = mean(16, 45), ql = mean(36, ml), qr = mean(45, mr): points 17..21
    move away from (ql, 36, 37, 38, 39), points 22..26 from (42, 43, 44, 45, qr).
    """
    raised = landmarks_k2.copy()
    ql = (landmarks_k2[36] + (landmarks_k2[36] + landmarks_k2[0]) / 2) / 2
    qr = (landmarks_k2[45] + (landmarks_k2[16] + landmarks_k2[45]) / 2) / 2
    below_left = np.concatenate([ql[None], landmarks_k2[36:40]])
    below_right = np.concatenate([landmarks_k2[42:46], qr[None]])
    raised[17:22] += (landmarks_k2[17:22] - below_left) / 2
    raised[22:27] += (landmarks_k2[22:27] - below_right) / 2
    return raised


def hull_mask(landmarks: Tensor, hull: HullType, size: int) -> Tensor:
    """The undeformed mask: 1 inside the union of the hulls, 0 outside.

    landmarks: (..., K, 2), crop pixels, K = 68 or 81; `facehull` uses all K, the others the first
    68. Returns float32 (..., size, size) on the landmarks' device. The polygons are filled by
    OpenCV on the CPU, vertices to 1/16 pixel, whatever the device: identical everywhere.
    """
    lead = landmarks.shape[:-2]
    if landmarks.shape[-2] not in (68, 81) or landmarks.shape[-1] != 2:
        raise ValueError(f"hull_mask: expected (..., 68 or 81, 2), got {tuple(landmarks.shape)}")
    points_nk2 = landmarks.detach().cpu().double().reshape(-1, landmarks.shape[-2], 2).numpy()
    masks_nhw = np.zeros((len(points_nk2), size, size), dtype=np.uint8)
    for mask_hw, points_k2 in zip(masks_nhw, points_nk2, strict=True):
        _fill(mask_hw, points_k2, hull)
    masks = torch.from_numpy(masks_nhw).to(landmarks.device).float()
    return masks.reshape(*lead, size, size)


def _fill(mask_hw: NDArray[np.uint8], points_k2: NDArray[np.float64], hull: HullType) -> None:
    if hull == "extended":
        points_k2 = raise_brows(points_k2)
    fixed_k2 = np.rint(points_k2 * 2**_SUBPIXEL_BITS).astype(np.int32)
    for subset in HULLS[hull]:
        chosen = fixed_k2[list(subset)] if subset else fixed_k2
        polygon = cv2.convexHull(chosen[:, None])
        cv2.fillConvexPoly(mask_hw, polygon, 1, lineType=cv2.LINE_8, shift=_SUBPIXEL_BITS)
