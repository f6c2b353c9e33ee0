"""A stored face crop becomes network input, in detection and evaluation.

Training does the same with tensors (`synthesis.resample`), by the same weights, so that a
resampling filter can never tell the network which of the two it is looking at.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np

from fakestormer.types.arrays import Floats, Integers, Pixels

_PLANES: Final = 3
"""So many planes at a time stay in a processor's cache: one picture."""


def cut_margin(frames: Pixels, *, margin: float, size: int) -> Pixels:
    """Cut `margin` pixels off every side of square pictures and resize to `size` x `size`.

    frames: uint8 (..., S, S). Bilinear, pixel centres kept, antialiased where it shrinks: detail
    that aliases is a telltale in a crop resampled once and gone in one resampled twice. With margin
    0 and size S this is the identity. Raises ValueError when the margin leaves nothing.
    """
    side = frames.shape[-1]
    kept, top, left = kept_window(frames.shape[-2:], margin, (0.0, 0.0))
    inner = frames[..., top : top + kept, left : left + kept]
    if kept == size:
        return np.ascontiguousarray(inner)
    which_ks, weights_ks = taps(kept, size)
    planes = frames.reshape(-1, side, side)
    made = np.empty((len(planes), size, size), np.uint8)
    for first in range(0, len(planes), _PLANES):
        some = slice(first, first + _PLANES)
        rows = planes[some, top : top + kept, left : left + kept].astype(np.float32)
        columns = _mixed(rows, which_ks, weights_ks).transpose(0, 2, 1)
        made[some] = np.rint(_mixed(columns, which_ks, weights_ks)).transpose(0, 2, 1)
    return made.reshape(*frames.shape[:-2], size, size)


def kept_window(
    shape: tuple[int, ...], margin: float, shift: tuple[float, float]
) -> tuple[int, int, int]:
    """What is kept of a square map: its side, and where it begins from the top and the left.

    Raises ValueError when the map is not square, the margin leaves nothing, or the window moved by
    `shift`, (x, y), leaves the map.
    """
    side = shape[-1]
    if shape[-2] != side:
        raise ValueError(f"cut_margin: expected square maps, got {tuple(shape)}")
    whole = round(margin)
    if 2 * whole >= side:
        raise ValueError(f"cut_margin: a margin of {margin} px leaves nothing of {side} px")
    right, down = (round(pixels) for pixels in shift)
    if max(abs(right), abs(down)) > whole:
        raise ValueError(f"cut_margin: a shift of {shift} px leaves a margin of {margin} px")
    return side - 2 * whole, whole + down, whole + right


@lru_cache(maxsize=256)
def taps(kept: int, size: int) -> tuple[Integers, Floats]:
    """What each of `size` new rows is made of: `kept` old rows' numbers and weights, (K, size).

    A triangle of the width of a new row, at least of an old one, around the new row's centre.
    """
    scale = kept / size
    width = max(scale, 1.0)
    centre_s = (np.arange(size) + 0.5) * scale
    first_s = np.maximum(np.floor(centre_s - width + 0.5), 0).astype(np.int64)
    which_ks = first_s + np.arange(int(np.ceil(2 * width)) + 1)[:, None]
    weights_ks = np.maximum(1 - np.abs(which_ks + 0.5 - centre_s) / width, 0)
    weights_ks[which_ks >= kept] = 0
    weights_ks /= weights_ks.sum(axis=0)
    used = weights_ks.any(axis=1)
    return np.minimum(which_ks, kept - 1)[used], weights_ks[used].astype(np.float32)


def _mixed(rows_nhw: Floats, which_ks: Integers, weights_ks: Floats) -> Floats:
    """Each new row as a sum of weighted old rows: (n, h, w) -> (n, size, w)."""
    mixed_nsw = np.zeros((len(rows_nhw), which_ks.shape[1], rows_nhw.shape[2]), np.float32)
    for which_s, weights_s in zip(which_ks, weights_ks, strict=True):
        mixed_nsw += rows_nhw[:, which_s] * weights_s[:, None]
    return mixed_nsw
