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
from av.video.reformatter import VideoReformatter

from fakestormer.types.arrays import Pixels
from fakestormer.video.colour import BT709, RGB, VIDEO_RANGE
from fakestormer.video.planes import to_420

Picture = RGB | av.VideoFrame

_CRF = 12
# Ticks per second: whole for 90 kHz, milliseconds, 48 kHz and the rates over 1001.
_TICKS = 720_000
_REPEATABLE: tuple[str, ...] = ()
if platform.machine().lower() in {"x86_64", "amd64"}:
    _REPEATABLE = ("asm=MMX2,SSE,SSE2,SSE3,SSSE3,SSE4.2",)
#: What "superfast" leaves out: two thirds of the bytes, for a twentieth of the time.
_SMALLER = ("mbtree=1", "rc-lookahead=10")


def write_film(path: Path, pictures_tchw: Pixels, rate: Fraction) -> None:
    """Write uint8 RGB (T, 3, H, W), close to lossless, at a constant rate (frames per second)."""
    numbered = enumerate(np.ascontiguousarray(frame.transpose(1, 2, 0)) for frame in pictures_tchw)
    _encode(path, numbered, tick=1 / rate, rate=rate, crf=_CRF, threads=1)


def write_frames(
    path: Path,
    frames: Iterable[tuple[int, float, Picture]],
    *,
    crf: int,
    fast: bool = False,
) -> None:
    """Write frames as they come, at their times less the first one's, to 1/720,000 s.

    frames: (index, seconds, picture), all of one size, times increasing; the indices are not kept.
    A picture is RGB, uint8 (H, W, 3), or a frame of 4:2:0 in BT.709 and video range with even
    sides. crf: x264's constant rate factor, 0 to 51, higher = worse. fast: for films to look at;
    a fifth of the time, and about as many bytes. Holds the frames that x264 looks ahead. Raises
    ValueError for frames that are not so, and OSError where `path` cannot be written; what is
    then at `path` is of no use.
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
    _encode(path, timed, tick=Fraction(1, _TICKS), rate=rate, crf=crf, threads=2, fast=fast)


def _ticked(
    path: Path, frames: Iterable[tuple[int, float, Picture]]
) -> Iterator[tuple[int, Picture]]:
    """The frames with their time in ticks since the first one."""
    zero: float | None = None
    first_size: tuple[int, int] = (0, 0)
    last = -1
    for _, seconds, picture in frames:
        if not math.isfinite(seconds):
            raise ValueError(f"{path}: a frame's time must be a number, got {seconds}")
        if isinstance(picture, av.VideoFrame):
            size = picture.height, picture.width
        else:
            size = picture.shape[0], picture.shape[1]
        if zero is None:
            zero, first_size = seconds, size
        pts = round((seconds - zero) * _TICKS)
        if pts <= last:
            raise ValueError(f"{path}: times must increase, got {seconds} s after a later one")
        if size != first_size:
            raise ValueError(f"{path}: frames of two sizes, {first_size} and {size}")
        last = pts
        yield pts, picture


def _encode(
    path: Path,
    frames: Iterable[tuple[int, Picture]],
    *,
    tick: Fraction,
    rate: Fraction,
    crf: int,
    threads: int,
    fast: bool = False,
) -> None:
    """frames: (time in ticks, 0 for the first; picture)."""
    # "file:" keeps names such as "a:b.mp4" from being taken for a protocol.
    with av.open(f"file:{path}", "w", format="mp4") as container:
        options = {
            "crf": str(crf),
            "preset": "superfast" if fast else "medium",
            "threads": str(threads),
            "x264-params": ":".join((*_REPEATABLE, *(_SMALLER if fast else ()))),
        }
        stream = container.add_stream("libx264", rate=rate, options=options)
        context = stream.codec_context
        context.time_base = tick
        context.colorspace, context.color_range = BT709, VIDEO_RANGE
        context.color_primaries = context.color_trc = BT709
        stream.pix_fmt = "yuv420p"
        reformatter = VideoReformatter()
        for pts, picture in frames:
            frame = picture
            if not isinstance(frame, av.VideoFrame):
                frame = to_420(reformatter, _even(frame))
            if pts == 0:
                stream.height, stream.width = frame.height, frame.width
            frame.color_primaries = frame.color_trc = BT709
            frame.pts, frame.time_base = pts, tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _even(rgb_hwc: RGB) -> RGB:
    height, width = rgb_hwc.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        return rgb_hwc
    padded_hwc = cv2.copyMakeBorder(rgb_hwc, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    return np.asarray(padded_hwc, np.uint8)
