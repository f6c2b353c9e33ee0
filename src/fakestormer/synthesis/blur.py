"""Gaussian blurs with explicit taps, and the softening of the blending mask.

On the CPU OpenCV does the work, elsewhere torch; both use the same float32 taps and mirror the
picture about its edge pixels, and agree to 1e-5.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from fakestormer.recipe.synthesis import REFERENCE_SIZE
from fakestormer.synthesis.params import SBVParams

_PLATEAU = 1e-3
"""How far below 1 a mask value counts as 1. Exactly 1 is not reached in floating point on every
machine, and a mask must not fall apart over the last bit."""


def opencv_reads(x: Tensor) -> bool:
    """Whether OpenCV can do the work where the tensor lies; elsewhere torch does the same."""
    return x.device.type == "cpu"


def gaussian_taps(radius: int, sigma: float) -> NDArray[np.float32]:
    """The 2 radius + 1 weights of a Gaussian of `sigma` pixels, cut off and summing to 1."""
    offsets = np.arange(-radius, radius + 1, dtype=np.float64)
    weights = np.exp(-np.square(offsets) / (2.0 * sigma**2))
    taps: NDArray[np.float32] = (weights / weights.sum()).astype(np.float32)
    return taps


def blur(x_fhw: Tensor, taps: NDArray[np.float32]) -> Tensor:
    """Separable filter with the same taps along y and x; float32 (F, H, W) -> new (F, H, W)."""
    radius = len(taps) // 2
    if radius == 0:
        return x_fhw * float(taps[0]) ** 2
    if opencv_reads(x_fhw):
        blurred = torch.empty(x_fhw.shape)
        for new_hw, old_hw in zip(blurred.numpy(), x_fhw.numpy(), strict=True):
            cv2.sepFilter2D(
                old_hw, cv2.CV_32F, taps, taps, dst=new_hw, borderType=cv2.BORDER_REFLECT_101
            )
        return blurred
    for axis in (-2, -1):
        length = x_fhw.shape[axis]
        sides = (0, 0, radius, radius) if axis == -2 else (radius, radius, 0, 0)
        padded = F.pad(x_fhw, sides, mode="reflect")
        x_fhw = torch.zeros_like(x_fhw)
        for i, tap in enumerate(taps.tolist()):
            x_fhw.add_(padded.narrow(axis, i, length), alpha=tap)
    return x_fhw


def soften(mask_fhw: Tensor, params: SBVParams, *, scale: float) -> Tensor:
    """Shrink the mask by one kernel, feather it by another; the largest value stays 1.

    Blur, divide by the maximum, set what is below 1 to 0, blur again, divide by the maximum. The
    first sigma follows from its kernel, 0.3 ((k - 1) / 2 - 1) + 0.8. Frame by frame.

    mask: float32 (F, H, W) in [0, 1]. scale: pixels of this mask per pixel of the 256 px crop.
    """
    steps = []
    for kernel, sigma, cut in (
        (params.erosion_kernel, 0.3 * ((params.erosion_kernel - 1) / 2 - 1) + 0.8, True),
        (params.feather_kernel, params.feather_sigma, False),
    ):
        # a mirrored edge cannot reach further than the picture
        radius = min(round((kernel - 1) / 2 * scale), min(mask_fhw.shape[-2:]) - 1)
        steps.append((gaussian_taps(radius, sigma * scale), cut))
    if not opencv_reads(mask_fhw):
        return _soften(mask_fhw, steps)
    # Outside the face all is 0 and stays 0: only the face's window is worked on. The first blur
    # grows the mask, cutting takes that back, the second grows it for good; one more zero than the
    # taps reach, so that mirroring at the window's edge meets zeros, as the picture has there.
    reach = 1 + max(len(taps) // 2 for taps, _ in steps)
    rows, columns = window_of(mask_fhw, reach)
    softened = torch.zeros_like(mask_fhw)
    softened[:, rows, columns] = _soften(mask_fhw[:, rows, columns], steps)
    return softened


def window_of(mask_fhw: Tensor, reach: int = 0) -> tuple[slice, slice]:
    """Rows and columns that hold everything above 0 of all frames, and `reach` pixels around it.

    float32 (F, H, W) on the CPU, nowhere negative. One pixel where all is 0: never empty.
    """
    highest_hw = mask_fhw.numpy().max(axis=0)
    x, y, width, height = cv2.boundingRect((highest_hw > 0).view(np.uint8))
    if not width:
        return slice(0, 1), slice(0, 1)
    return (
        slice(max(0, y - reach), min(highest_hw.shape[0], y + height + reach)),
        slice(max(0, x - reach), min(highest_hw.shape[1], x + width + reach)),
    )


def _soften(mask_fhw: Tensor, steps: Iterable[tuple[NDArray[np.float32], bool]]) -> Tensor:
    for taps, cut in steps:
        mask_fhw = blur(mask_fhw, taps)
        highest = mask_fhw.amax(dim=(-2, -1), keepdim=True).clamp_min(1e-12)
        mask_fhw = mask_fhw.div_(highest).clamp_(0.0, 1.0)
        if cut:
            mask_fhw.mul_(mask_fhw >= 1.0 - _PLATEAU)
    return mask_fhw


def size_scale(size: int) -> float:
    """Pixels of a crop stored at `size` per pixel of the 256 px crop."""
    return size / REFERENCE_SIZE
