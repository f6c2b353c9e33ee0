"""The one way a stored face crop becomes network input; imports nothing of ours.

Training (synthesis) and prediction both end here, so that a resampling filter can never tell the
network which of the two it is looking at.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def cut_margin(
    x: Tensor, *, margin: float, size: int, shift: tuple[float, float] = (0.0, 0.0)
) -> Tensor:
    """Cut `margin` pixels off every side of square maps and resize to `size` x `size`.

    x: (..., S, S), uint8 or floating; margin in pixels of x. Bilinear, pixel centres kept
    (align_corners=False), antialiased where it shrinks: detail that aliases is a telltale in a
    crop resampled once and gone in one resampled twice. uint8 in gives rounded uint8 out. With
    margin 0 and size S this is the identity. shift: the window that is kept moves by (x, y) pixels
    of x, at most by the margin. Raises ValueError when the margin leaves nothing, or when the
    window leaves the map.
    """
    side = x.shape[-1]
    if x.shape[-2] != side:
        raise ValueError(f"cut_margin: expected square maps, got {tuple(x.shape)}")
    whole = round(margin)
    if 2 * whole >= side:
        raise ValueError(f"cut_margin: a margin of {margin} px leaves nothing of {side} px")
    right, down = (round(pixels) for pixels in shift)
    if max(abs(right), abs(down)) > whole:
        raise ValueError(f"cut_margin: a shift of {shift} px leaves a margin of {margin} px")
    kept = side - 2 * whole
    top, left = whole + down, whole + right
    x = x[..., top : top + kept, left : left + kept]
    if x.shape[-1] == size:
        return x.contiguous()
    lead = x.shape[:-2]
    flat = x.reshape(1, -1, x.shape[-2], x.shape[-1])
    floating = flat if flat.is_floating_point() else flat.float()
    out = F.interpolate(
        floating, size=(size, size), mode="bilinear", align_corners=False, antialias=True
    )
    if not x.is_floating_point():
        out = out.round().clamp(0, 255).to(torch.uint8)
    return out.reshape(*lead, size, size)
