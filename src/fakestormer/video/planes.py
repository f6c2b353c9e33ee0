"""Frames of a film to be written: brightness and colour apart (4:2:0, BT.709, video range), drawn
into where something is to be seen, and else left as they were decoded.

To make all of a frame RGB and back takes as long as x264 takes to compress it.
"""

from __future__ import annotations

from typing import cast

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

from fakestormer.types.arrays import Pixels
from fakestormer.video.colour import BT709, RGB, VIDEO_RANGE, ToRGB, turn_clockwise

#: left, top, right, bottom in pixels, all even: 4:2:0 has one colour for two rows and columns.
Area = tuple[int, int, int, int]

# R'G'B' of 0 to 255 -> Y'CbCr of 16 to 235 and 16 to 240, ITU-R BT.709.
_LUMA = np.array([0.2126, 0.7152, 0.0722])
_BLUE, _RED = (np.array([0.0, 0.0, 1.0]) - _LUMA) / 1.8556, (np.array([1.0, 0, 0]) - _LUMA) / 1.5748
_SCALED = np.stack([_LUMA * 219, _BLUE * 224, _RED * 224]) / 255
_OFFSET = np.array([16.0, 128.0, 128.0])
_FROM_RGB = np.column_stack([_SCALED, _OFFSET])
_TO_RGB = np.column_stack([np.linalg.inv(_SCALED), -np.linalg.inv(_SCALED) @ _OFFSET])


class ToPlanes:
    """Frames of one video to upright frames of a film with room below the picture.

    upright: of the video. turned: clockwise degrees beyond what it says. longest: pixels of the
    longer side at most. below: pixels of height to leave free, even.

    scale: pixels of the film per pixel of the video. size: of the picture in the film, (width,
    height). Where a side is odd its last row or column is repeated in the film.
    """

    def __init__(self, upright: ToRGB, *, turned: int, longest: int, below: int) -> None:
        width, height = upright.width, upright.height
        if turned % 180:
            width, height = height, width
        self.scale = min(1.0, longest / max(width, height))
        self.size = max(1, round(width * self.scale)), max(1, round(height * self.scale))
        self._upright, self._turned, self._below = upright, turned, below
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        """The film's frame; nothing is below the picture yet. Raises what `ToRGB` raises."""
        planes = None
        if not self._turned:
            planes = self._upright.planes(self._reformatter, frame, self.size)
        if planes is None:
            rgb_hwc = turn_clockwise(self._upright(frame), self._turned)
            if self.scale < 1.0:
                rgb_hwc = np.asarray(
                    cv2.resize(rgb_hwc, self.size, interpolation=cv2.INTER_AREA), np.uint8
                )
            planes = to_420(self._reformatter, rgb_hwc)
        width, height = self.size
        film = av.VideoFrame(width + width % 2, height + height % 2 + self._below, "yuv420p")
        for target, source in zip(_pixels(film), _pixels(planes), strict=True):
            rows, columns = source.shape
            target[:rows, :columns] = source
            target[:rows, columns:] = source[:, -1:]
            target[rows : rows + height % 2] = target[rows - 1]
        return film


def to_420(by: VideoReformatter, rgb_hwc: RGB) -> av.VideoFrame:
    """RGB as 4:2:0 in BT.709 and video range. by: kept for this alone."""
    return by.reformat(
        av.VideoFrame.from_ndarray(rgb_hwc, format="rgb24"),
        format="yuv420p",
        dst_colorspace=BT709,
        dst_color_range=VIDEO_RANGE,
        threads=1,
    )


def rgb_of(film: av.VideoFrame, area: Area) -> RGB:
    """An area of a film's frame, to draw into."""
    luma, blue, red = _parts(film, area)
    colours = [
        cv2.resize(part, luma.shape[::-1], interpolation=cv2.INTER_NEAREST) for part in (blue, red)
    ]
    return np.asarray(cv2.transform(cv2.merge([luma, *colours]), _TO_RGB), np.uint8)


def put_rgb(film: av.VideoFrame, area: Area, rgb_hwc: RGB) -> None:
    """Write an area of a film's frame."""
    parts = cv2.split(cv2.transform(rgb_hwc, _FROM_RGB))
    luma, blue, red = _parts(film, area)
    luma[:] = parts[0]
    for plane, part in ((blue, parts[1]), (red, parts[2])):
        plane[:] = cv2.resize(part, plane.shape[::-1], interpolation=cv2.INTER_AREA)


def _parts(film: av.VideoFrame, area: Area) -> list[Pixels]:
    left, top, right, bottom = area
    luma, *colours = _pixels(film)
    half = slice(top // 2, bottom // 2), slice(left // 2, right // 2)
    return [luma[top:bottom, left:right], *(plane[half] for plane in colours)]


def _pixels(frame: av.VideoFrame) -> list[Pixels]:
    """The planes of a frame, to read and to write."""
    return [
        np.frombuffer(cast(bytes, plane), np.uint8).reshape(-1, plane.line_size)[
            : plane.height, : plane.width
        ]
        for plane in frame.planes
    ]
