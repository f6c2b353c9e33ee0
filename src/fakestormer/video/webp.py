"""Animated WebP -> frames, which FFmpeg does not decode.

The file is a list of chunks: a canvas (VP8X), then pictures (ANMF), each a rectangle of the canvas
with the time it is shown. Every picture is a WebP of its own, which OpenCV decodes.
Format: RFC 9649.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
import cv2
import numpy as np

from fakestormer.errors import InputError
from fakestormer.video.packets import PacketLog

_MILLISECONDS = Fraction(1, 1000)
_ANIMATED, _REPLACES, _DISPOSED = 0x02, 0x02, 0x01
#: What browsers show pictures for that say 0 to 10 ms.
_LEAST_MS, _INSTEAD_MS = 11, 100


def is_animated_webp(path: Path) -> bool:
    """Whether a file is a WebP of several pictures."""
    with path.open("rb") as file:
        return _canvas(file) is not None


def webp_rate(path: Path) -> Fraction:
    """Average frames per second; nothing is decoded."""
    with path.open("rb") as file:
        _canvas(file)
        times = [_shown_for(head) for kind, head, _ in _chunks(file, 16) if kind == b"ANMF"]
    return Fraction(1000 * len(times), max(1, sum(times))) if times else Fraction(25)


def webp_frames(
    path: Path, most_pixels: int, log: PacketLog | None = None
) -> Iterator[av.VideoFrame]:
    """The frames of an animated WebP, with their times; what is damaged is skipped.

    Args:
        path: the file.
        most_pixels: that a picture may have.
        log: takes down what was read.

    Raises:
        InputError: the pictures are too large.
    """
    with path.open("rb") as file:
        canvas = _canvas(file)
        if canvas is None:
            return
        width, height = canvas
        if width * height > most_pixels:
            raise InputError(
                f"{path}: its pictures are {width} x {height}, and more than {most_pixels} pixels "
                "are not taken; scale the video down"
            )
        shown_hwc = np.zeros((height, width, 3), np.uint8)
        begins = 0
        for kind, content, whole in _chunks(file):
            if kind != b"ANMF" or len(content) < 16:
                continue
            duration = _shown_for(content)
            bgra_hwc = _decoded(content) if whole else None
            if log is not None:
                log.add(pts=begins, size=len(content), key=not log.sizes)
            if bgra_hwc is None:
                if log is not None:
                    log.undecodable += 1
            else:
                area = _drawn(shown_hwc, content, bgra_hwc)
                frame = av.VideoFrame.from_ndarray(shown_hwc, format="bgr24")
                frame.pts, frame.time_base = begins, _MILLISECONDS
                yield frame
                if content[15] & _DISPOSED:
                    shown_hwc[area] = 0
            begins += duration


def _canvas(file: BinaryIO) -> tuple[int, int] | None:
    """Width and height of an animated WebP; the file stands behind them. None of any other file."""
    head = file.read(30)
    if head[:4] != b"RIFF" or head[8:16] != b"WEBPVP8X" or len(head) < 30:
        return None
    if not head[20] & _ANIMATED:
        return None
    return 1 + _number(head[24:27]), 1 + _number(head[27:30])


def _chunks(file: BinaryIO, most: int | None = None) -> Iterator[tuple[bytes, bytes, bool]]:
    """(kind, content, whether all of it is there) of each chunk. most: bytes of content to read."""
    while len(head := file.read(8)) == 8:
        length = _number(head[4:])
        begin = file.tell()
        content = file.read(length if most is None else min(length, most))
        yield head[:4], content, most is not None or len(content) == length
        file.seek(begin + length + length % 2)


def _decoded(content: bytes) -> np.ndarray | None:
    """uint8 (H, W, 4) BGRA of a picture, None where it is damaged. content: of its ANMF chunk."""
    parts = content[16:]
    # With transparency (ALPH) the extended form is needed, which says so and how large it is.
    extended = b""
    if parts[:4] == b"ALPH":
        extended = b"VP8X" + (10).to_bytes(4, "little") + b"\x10\0\0\0" + content[6:12]
    body = b"WEBP" + extended + parts
    alone = b"RIFF" + len(body).to_bytes(4, "little") + body
    picture = cv2.imdecode(np.frombuffer(alone, np.uint8), cv2.IMREAD_UNCHANGED)
    if picture is None:
        return None
    if picture.shape[2] == 3:
        picture = cv2.cvtColor(picture, cv2.COLOR_BGR2BGRA)
    return np.asarray(picture, np.uint8)


def _drawn(shown_hwc: np.ndarray, content: bytes, bgra_hwc: np.ndarray) -> tuple[slice, slice]:
    """Draw a picture where it belongs; returns that place."""
    left, top = 2 * _number(content[:3]), 2 * _number(content[3:6])
    place = shown_hwc[top : top + bgra_hwc.shape[0], left : left + bgra_hwc.shape[1]]
    bgra_hwc = bgra_hwc[: place.shape[0], : place.shape[1]]
    # What is transparent shows the picture before, or black.
    below = 0 if content[15] & _REPLACES else place
    alpha = bgra_hwc[..., 3:].astype(np.float32) / 255
    place[:] = np.rint(alpha * bgra_hwc[..., :3] + (1 - alpha) * below)
    return slice(top, top + place.shape[0]), slice(left, left + place.shape[1])


def _shown_for(content: bytes) -> int:
    """Milliseconds that a picture is shown."""
    claimed = _number(content[12:15])
    return claimed if claimed >= _LEAST_MS else _INSTEAD_MS


def _number(content: bytes) -> int:
    return int.from_bytes(content, "little")
