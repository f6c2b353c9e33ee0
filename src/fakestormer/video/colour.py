"""Decoded frames of any pixel format, size and colour space -> upright 8-bit RGB.

Ordinary video: swscale with the matrix and range that the frame is tagged with. An untagged matrix
is BT.709 from 1280 x 720 on and BT.601 below, as players assume. More than 8 bits are rounded to 8.

HDR (PQ or HLG, BT.2100): swscale gives 16-bit RGB, then light is computed here: reference white
(203 cd/m2, ITU-R BT.2408) becomes 1, BT.2020 primaries become BT.709, highlights are rolled off
above 3/4 of white instead of clipped, and BT.1886's gamma 2.4 encodes for 8 bits. A picture that
looks right, not a colorimetric mastering.

Pixels that are not square (anamorphic video) are made square by widening the picture or making it
taller, never smaller.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

import av
import cv2
import numpy as np
from av.sidedata.sidedata import SideData
from av.sidedata.sidedata import Type as SideDataType
from av.video.reformatter import ColorTrc, Interpolation, VideoReformatter
from numpy.typing import NDArray

from fakestormer.errors import InputError
from fakestormer.types.arrays import Floats, Pixels

RGB = Pixels

_UNTAGGED = 2  # AVCOL_SPC_UNSPECIFIED
BT709 = 1  # SWS_CS_ITU709, AVCOL_SPC_BT709, AVCOL_PRI_BT709, AVCOL_TRC_BT709
VIDEO_RANGE = 1  # AVCOL_RANGE_MPEG
_HDR = (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)
_REFERENCE_WHITE = 203.0  # cd/m2
_SHOULDER = 0.75
# Linear BT.2020 -> linear BT.709, ITU-R BT.2087.
_TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]],
    np.float32,
)
_LUMA_BT2020 = np.array([[0.2627, 0.6780, 0.0593]], np.float32)


@dataclass(frozen=True, slots=True)
class Orientation:
    """How stored pixels become upright: transpose first, then mirror (x), then flip (y)."""

    transpose: bool = False
    mirror: bool = False
    flip: bool = False

    @property
    def clockwise_degrees(self) -> int:
        """The rotation part, 0, 90, 180 or 270, clockwise."""
        if self.transpose:
            return 90 if self.mirror else 270
        return 180 if self.flip else 0

    def apply(self, rgb_hwc: RGB) -> RGB:
        """The upright picture, contiguous."""
        if self.transpose:
            rgb_hwc = np.asarray(cv2.transpose(rgb_hwc), np.uint8)
        if self.mirror or self.flip:
            code = -1 if self.mirror and self.flip else (1 if self.mirror else 0)
            rgb_hwc = np.asarray(cv2.flip(rgb_hwc, code), np.uint8)
        return rgb_hwc


def orientation_of(frame: av.VideoFrame) -> Orientation:
    """The orientation that a frame's display matrix asks for, to the nearest quarter turn.

    The matrix maps stored (x, y) to shown (a x + c y, b x + d y), FFmpeg's order a b u c d v x y w.
    """
    try:
        side_data = list(cast(Iterable[SideData], frame.side_data))
    except ValueError:  # PyAV does not know every kind of side data that FFmpeg may attach
        return _TURNS[round(frame.rotation / 90) % 4]
    for data in side_data:
        if data.type == SideDataType.DISPLAYMATRIX:
            matrix = np.frombuffer(bytes(data), np.int32)
            a, b, c, d = (int(matrix[k]) for k in (0, 1, 3, 4))
            if abs(b) + abs(c) > abs(a) + abs(d):
                return Orientation(transpose=True, mirror=c < 0, flip=b < 0)
            return Orientation(mirror=a < 0, flip=d < 0)
    return Orientation()


# By quarter turns counter-clockwise.
_TURNS = (
    Orientation(),
    Orientation(transpose=True, flip=True),
    Orientation(mirror=True, flip=True),
    Orientation(transpose=True, mirror=True),
)


def turn_clockwise(rgb_hwc: RGB, degrees: int) -> RGB:
    """The picture turned by 0, 90, 180 or 270 degrees, contiguous where it was turned."""
    return _TURNS[-degrees // 90 % 4].apply(rgb_hwc)


#: A stored pixel that is longer than this, either way, is a header's mistake ...
_LONGEST_PIXEL = 4
#: ... and one that is nearly square was meant to be.
_NEARLY_SQUARE = Fraction(1, 100)
# What would be larger shrinks on its other side instead.
_LONGEST_SIDE, _MOST_PIXELS = 2**14, 2**26


def pixel_aspect(claimed: Fraction | float | None) -> Fraction:
    """Width of a stored pixel over its height, 1 where what the stream says cannot be meant.

    Args:
        claimed: the stream's sample aspect ratio; None and 0 where it says nothing.
    """
    if not claimed:
        return Fraction(1)
    aspect = Fraction(claimed).limit_denominator(10_000)
    if not Fraction(1, _LONGEST_PIXEL) <= aspect <= _LONGEST_PIXEL:
        return Fraction(1)
    return Fraction(1) if abs(aspect - 1) < _NEARLY_SQUARE else aspect


def _square_size(width: int, height: int, aspect: Fraction) -> tuple[int, int]:
    """The size at which stored pixels are square; # 720 x 576 at 16:11 -> 1047 x 576"""
    wider = (round(width * aspect), height)
    taller = (width, round(height / aspect))
    larger, smaller = (wider, taller) if aspect > 1 else (taller, wider)
    fits = max(larger) <= _LONGEST_SIDE and larger[0] * larger[1] <= _MOST_PIXELS
    return larger if fits else (max(1, smaller[0]), max(1, smaller[1]))


class ToRGB:
    """Frames of one video to upright RGB; size and orientation are those of the first frame.

    A stream that changes its size on the way is scaled back to the first frame's, so that boxes
    mean the same thing throughout.

    aspect: width of a stored pixel over its height, as the stream has it; see `pixel_aspect`.
    """

    def __init__(
        self, first: av.VideoFrame, path: str, aspect: Fraction | float | None = None
    ) -> None:
        self.orientation = orientation_of(first)
        self._path = path
        self._stored_height = first.height
        self._stored_width = first.width
        self.aspect = pixel_aspect(aspect)
        self._size = _square_size(first.width, first.height, self.aspect)
        self._reformatter = VideoReformatter()
        turned = self.orientation.transpose
        self.width, self.height = self._size[::-1] if turned else self._size

    def __call__(self, frame: av.VideoFrame) -> RGB:
        """uint8 (H, W, 3). Raises InputError for a pixel format that swscale cannot read."""
        hdr = frame.color_trc in _HDR
        # Bicubic keeps more of the detail than the default where pixels are made square.
        interpolation = None if self.aspect == 1 else Interpolation.BICUBIC
        converted = self._scaled(
            self._reformatter, frame, self._size, "rgb48le" if hdr else "rgb24", interpolation
        )
        pixels = converted.to_ndarray()
        rgb = tone_map(pixels, frame.color_trc) if hdr else pixels.astype(np.uint8, copy=False)
        return self.orientation.apply(rgb)

    def planes(
        self, by: VideoReformatter, frame: av.VideoFrame, size: tuple[int, int]
    ) -> av.VideoFrame | None:
        """The upright picture as 4:2:0 in BT.709 and video range, without a way through RGB.

        by: kept for this alone. size: width, height. None where there is no such way: for frames
        that are turned or HDR. Raises what a call does.
        """
        if self.orientation != Orientation() or frame.color_trc in _HDR:
            return None
        smaller = size[0] * size[1] < self.width * self.height
        kind = Interpolation.AREA if smaller else Interpolation.BICUBIC
        return self._scaled(by, frame, size, "yuv420p", kind)

    def _scaled(
        self,
        by: VideoReformatter,
        frame: av.VideoFrame,
        size: tuple[int, int],
        pixel_format: str,
        interpolation: Interpolation | None,
    ) -> av.VideoFrame:
        """By swscale. What the result says of its range and matrix counts where it is no RGB."""
        untagged_hd = frame.colorspace == _UNTAGGED and (
            self._stored_width >= 1280 or self._stored_height >= 720
        )
        try:
            return by.reformat(
                frame,
                *size,
                format=pixel_format,
                src_colorspace=BT709 if untagged_hd else None,
                dst_colorspace=None if pixel_format.startswith("rgb") else BT709,
                dst_color_range=None if pixel_format.startswith("rgb") else VIDEO_RANGE,
                interpolation=interpolation,
                threads=1,
            )
        except (av.FFmpegError, ValueError) as error:
            raise InputError(
                f"{self._path}: its pixel format {frame.format.name} cannot be converted "
                f"({error}); convert the video to H.264 first"
            ) from error


def tone_map(rgb48_hwc: NDArray[np.generic], transfer: int) -> RGB:
    """BT.2020 PQ or HLG code values, uint16 (H, W, 3) full range -> BT.709 8-bit (H, W, 3)."""
    light = _light_of_code(transfer)[rgb48_hwc.astype(np.uint16, copy=False)]
    if transfer == ColorTrc.ARIB_STD_B67:
        # The system gamma 1.2 of a 1000 cd/m2 display (BT.2100), as gain Y^0.2 on scene light.
        luma = cv2.transform(light, _LUMA_BT2020)
        light *= (1000.0 / _REFERENCE_WHITE) * np.power(luma, 0.2)[..., None]
    light = np.maximum(cv2.transform(light, _TO_BT709), 0.0, dtype=np.float32)
    peak = light.max(axis=2)
    bright = peak > _SHOULDER
    if bright.any():
        room = 1.0 - _SHOULDER
        over = peak[bright]
        shown = _SHOULDER + room * (1.0 - np.exp(-(over - _SHOULDER) / room))
        light[bright] *= (shown / over)[:, None]
    steps = (light * 4095.0 + 0.5).astype(np.uint16)
    return _display_code()[np.minimum(steps, 4095)]


@functools.cache
def _light_of_code(transfer: int) -> Floats:
    """float32 (65536,): PQ -> light, 1 = reference white; HLG -> scene light in [0, 1]."""
    code = np.arange(65536) / 65535.0
    if transfer == ColorTrc.SMPTE2084:
        m1, m2 = 2610 / 16384, 2523 / 4096 * 128
        c1, c2, c3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
        power = code ** (1 / m2)
        light = (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)
        return (light * 10000.0 / _REFERENCE_WHITE).astype(np.float32)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12).astype(np.float32)


@functools.cache
def _display_code() -> RGB:
    """uint8 (4096,): light in [0, 1] -> gamma 2.4 code."""
    return np.rint(255.0 * (np.arange(4096) / 4095.0) ** (1 / 2.4)).astype(np.uint8)
