"""A stored face crop becomes network input, in training: `faces.resample` for tensors."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fakestormer.faces.resample import kept_window, taps
from fakestormer.synthesis.blur import opencv_reads

_PLANES: Final = 3
"""So many planes at a time stay in a processor's cache: one picture."""


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
    kept, top, left = kept_window(x.shape, margin, shift)
    inner = x[..., top : top + kept, left : left + kept]
    if kept == size:
        return inner.contiguous()
    planes = inner.reshape(-1, kept, kept)
    resized = x.new_empty((len(planes), size, size))
    for first in range(0, len(planes), _PLANES):
        some = slice(first, first + _PLANES)
        _fill(resized[some], planes[some])
    return resized.reshape(*x.shape[:-2], size, size)


def to_bytes(frames: Tensor) -> Tensor:
    """Floating values within 0..255, rounded to 8-bit steps."""
    if opencv_reads(frames):  # OpenCV converts 10 times as fast as torch does
        rows = frames.numpy().reshape(-1, frames.shape[-1])
        return torch.from_numpy(cv2.convertScaleAbs(rows)).view(frames.shape)
    return frames.round().to(torch.uint8)


def _fill(new_nhw: Tensor, old_nhw: Tensor) -> None:
    """Fill square maps with resized ones, rounded where the new ones are uint8.

    On the CPU by torch's weights in a part of its time. OpenCV enlarges, which it does for three
    planes in the time of one. Where maps shrink, each row is a sum of weighted rows, and then each
    column of columns.
    """
    (count, kept), size = old_nhw.shape[:2], new_nhw.shape[-1]
    whole = not new_nhw.is_floating_point()
    if not opencv_reads(old_nhw) or old_nhw.dtype == torch.float64:
        old = old_nhw.float() if whole else old_nhw
        new = F.interpolate(old[None], (size, size), mode="bilinear", antialias=True)[0]
        new_nhw[:] = to_bytes(new) if whole else new
    elif kept < size:
        together = cv2.merge([*old_nhw.numpy()]).astype(np.float32, copy=False)
        larger = cv2.resize(together, (size, size))
        cv2.split(cv2.convertScaleAbs(larger) if whole else larger, [*new_nhw.numpy()])
    else:
        columns = cv2.transpose(_mixed(old_nhw.float().reshape(-1, kept), size, count).numpy())
        new = _mixed(torch.from_numpy(columns), size, 1)
        cv2.transpose((to_bytes(new) if whole else new).numpy(), new_nhw.view(-1, size).numpy())


def _mixed(rows: Tensor, size: int, planes: int) -> Tensor:
    """Each of `size` new rows of each plane as a sum of weighted old rows."""
    which, weights, first = _taps(len(rows) // planes, size, planes)
    return F.embedding_bag(which, rows, first, per_sample_weights=weights, mode="sum")


@lru_cache(maxsize=256)
def _taps(kept: int, size: int, planes: int) -> tuple[Tensor, Tensor, Tensor]:
    """`faces.resample.taps` of planes that lie below each other, without those that weigh nothing:
    numbers of old rows, their weights, and where in these each new row begins."""
    which_ks, weights_ks = taps(kept, size)
    which_psk = torch.from_numpy(which_ks.T) + kept * torch.arange(planes)[:, None, None]
    weights_psk = torch.from_numpy(weights_ks.T).expand(planes, -1, -1)
    used_psk = weights_psk != 0
    counts = used_psk.sum(dim=-1).flatten()
    return which_psk[used_psk], weights_psk[used_psk], counts.cumsum(0) - counts
