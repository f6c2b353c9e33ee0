"""Frames -> an H.264 file in mp4 (PyAV), the same bytes whenever the same frames are given.

BT.709, video range, and tagged so: untagged films are read as BT.601 or BT.709 by their size.
4:2:0, so an odd side repeats its last row or column.

Why x264 repeats itself here: the number of threads changes what it decides, so it is fixed: two,
where the frames are made one by one meanwhile, else one. Its
AVX-512 code of macroblock-tree reads memory that nobody wrote where the width is no multiple of
64 px, and the film then differs a little from call to call; so the newest code it may use is
SSE4.2's, which runs as fast (1280x720, preset medium: 1.05 s against 1.02 s for 20 frames and the
start of Python) and gives what AVX2's gives. `asm=0` cures it too, at several times the cost.
"""

from __future__ import annotations

import itertools
import math
import platform
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from fakestormer.types.arrays import Pixels
from fakestormer.video.colour import RGB
from fakestormer.video.decode import Frame

_CRF = 12
# Ticks per second: whole for 90 kHz, milliseconds, 48 kHz and the rates over 1001.
_TICKS = 720_000
_BT709 = 1  # AVCOL_SPC_BT709, AVCOL_PRI_BT709, AVCOL_TRC_BT709
_VIDEO_RANGE = 1  # AVCOL_RANGE_MPEG
_REPEATABLE: dict[str, str] = {}
if platform.machine().lower() in {"x86_64", "amd64"}:
    _REPEATABLE["x264-params"] = "asm=MMX2,SSE,SSE2,SSE3,SSSE3,SSE4.2"


def write_film(path: Path, pictures_tchw: Pixels, rate: Fraction) -> None:
    """Write uint8 RGB (T, 3, H, W), close to lossless, at a constant rate (frames per second)."""
    numbered = enumerate(np.ascontiguousarray(frame.transpose(1, 2, 0)) for frame in pictures_tchw)
    _encode(path, numbered, tick=1 / rate, rate=rate, crf=_CRF, threads=1)


def write_frames(path: Path, frames: Iterable[Frame], *, crf: int, preset: str = "medium") -> None:
    """Write frames as they come, at their times less the first one's, to 1/720,000 s.

    frames: (index, seconds, rgb uint8 (H, W, 3)), all of one size, times increasing; the indices
    are not kept. crf: x264's constant rate factor, 0 to 51, higher = worse; preset: x264's. Holds
    the frames that x264 looks ahead. Raises ValueError for frames that are not so, and OSError
    where `path` cannot be written; what is then at `path` is of no use.
    """
    iterator = iter(frames)
    first_two = list(itertools.islice(iterator, 2))
    if not first_two:
        raise ValueError(f"{path}: no frames to write")
    rate = Fraction(25)
    if len(first_two) == 2 and (step := first_two[1][1] - first_two[0][1]) > 0:
        # Only x264's first guess: it plans with the frames' times.
        rate = Fraction(min(max(1 / step, 1.0), 240.0)).limit_denominator(1001)
    timed = _ticked(path, itertools.chain(first_two, iterator))
    _encode(path, timed, tick=Fraction(1, _TICKS), rate=rate, crf=crf, threads=2, preset=preset)


def _ticked(path: Path, frames: Iterable[Frame]) -> Iterator[tuple[int, RGB]]:
    """The frames with their time in ticks since the first one."""
    zero: float | None = None
    shape: tuple[int, ...] = ()
    last = -1
    for _, seconds, rgb_hwc in frames:
        if not math.isfinite(seconds):
            raise ValueError(f"{path}: a frame's time must be a number, got {seconds}")
        if zero is None:
            zero, shape = seconds, rgb_hwc.shape
        pts = round((seconds - zero) * _TICKS)
        if pts <= last:
            raise ValueError(f"{path}: times must increase, got {seconds} s after a later one")
        if rgb_hwc.shape != shape:
            raise ValueError(f"{path}: frames of two sizes, {shape} and {rgb_hwc.shape}")
        last = pts
        yield pts, rgb_hwc


def _encode(
    path: Path,
    frames: Iterable[tuple[int, RGB]],
    *,
    tick: Fraction,
    rate: Fraction,
    crf: int,
    threads: int,
    preset: str = "medium",
) -> None:
    """frames: (time in ticks, rgb uint8 (H, W, 3))."""
    # "file:" keeps names such as "a:b.mp4" from being taken for a protocol.
    with av.open(f"file:{path}", "w", format="mp4") as container:
        options = {"crf": str(crf), "preset": preset, "threads": str(threads)} | _REPEATABLE
        stream = container.add_stream("libx264", rate=rate, options=options)
        context = stream.codec_context
        context.time_base = tick
        context.colorspace, context.color_range = _BT709, _VIDEO_RANGE
        context.color_primaries = context.color_trc = _BT709
        stream.pix_fmt = "yuv420p"
        started = False
        for pts, rgb_hwc in frames:
            padded_hwc = _even(rgb_hwc)
            if not started:
                stream.height, stream.width = padded_hwc.shape[:2]
                started = True
            frame = av.VideoFrame.from_ndarray(padded_hwc, format="rgb24").reformat(
                format="yuv420p", dst_colorspace=_BT709, dst_color_range=_VIDEO_RANGE
            )
            frame.color_primaries = frame.color_trc = _BT709
            frame.pts, frame.time_base = pts, tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _even(rgb_hwc: RGB) -> RGB:
    height, width = rgb_hwc.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        return rgb_hwc
    padded_hwc = cv2.copyMakeBorder(rgb_hwc, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    return np.asarray(padded_hwc, np.uint8)
