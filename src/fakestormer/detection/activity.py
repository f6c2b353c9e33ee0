"""Where in the picture the bits of a video go: not into plain walls and black bars.

A codec says how many bits a frame takes and not where. They go about where there is detail: with
`d` the mean of the Laplacian's magnitude over a block of 16 x 16 pixels, as log2(1 + d).
Weighed so, 8 films of 8 sources at x264's CRF 28 have 0.024 to 0.072 bits for each pixel of the
face, at 34 0.012 to 0.031, at 40 0.008 to 0.019.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from fakestormer.types import FaceTrack
from fakestormer.types.arrays import Floats, Pixels

_BLOCK = 16
_BAND = 32 * _BLOCK
_MOST_MAPS = 64


@dataclass(slots=True)
class Activity:
    """Maps of detail of frames spread over a video, at most 64. every: frames between two."""

    maps: list[tuple[int, Floats]] = field(default_factory=list)
    every: int = 8

    def see(self, index: int, rgb_hwc: Pixels) -> None:
        """Take down where the detail of a frame is, of every so many frames."""
        if index % self.every:
            return
        # In bands, because the magnitudes take six times what the picture takes.
        bands = [_detail(rgb_hwc[top : top + _BAND]) for top in range(0, len(rgb_hwc), _BAND)]
        blocks = np.concatenate(bands)
        self.maps.append((index, np.log2(1 + blocks)))
        if len(self.maps) > _MOST_MAPS:
            self.every *= 2
            self.maps = [(k, kept) for k, kept in self.maps if k % self.every == 0]

    def share(self, track: FaceTrack, width: int, height: int) -> float:
        """Bits that a pixel of the face gets for each that a pixel of the picture gets.

        Args:
            track: the face.
            width: of the picture, pixels.
            height: of the picture, pixels.

        Returns:
            1 where nothing is known, as of a black picture.
        """
        first = int(track.indices[0])
        inside = [(k, m) for k, m in self.maps if first <= k < first + len(track)]
        if not inside:
            inside = sorted(self.maps, key=lambda known: abs(known[0] - first))[:1]
        found = []
        for k, detail in inside:
            rows, columns = detail.shape
            box = track.boxes[min(max(k - first, 0), len(track) - 1)]
            x0, y0, x1, y1 = (float(side) for side in box)
            left, right = _cells(x0 / width, x1 / width, columns)
            top, bottom = _cells(y0 / height, y1 / height, rows)
            if (everywhere := float(detail.mean())) > 0:
                found.append(float(detail[top:bottom, left:right].mean()) / everywhere)
        return float(np.mean(found)) if found else 1.0


def _detail(rgb_hwc: Pixels) -> Floats:
    """Mean magnitude of the Laplacian of green in each block."""
    laplacian = np.asarray(cv2.Laplacian(cv2.extractChannel(rgb_hwc, 1), cv2.CV_16S))
    detail = np.abs(laplacian, out=laplacian).astype(np.float32)
    height, width = (max(1, -(-side // _BLOCK)) for side in detail.shape)
    return np.asarray(cv2.resize(detail, (width, height), interpolation=cv2.INTER_AREA), np.float32)


def _cells(low: float, high: float, count: int) -> tuple[int, int]:
    """The cells, first and one behind the last, that a stretch of a side in [0, 1] touches."""
    first = min(max(int(low * count), 0), count - 1)
    return first, max(first + 1, min(int(np.ceil(high * count)), count))
