"""Crops that are cut while the faces of a video are still being followed: no second decoding.

The square of a crop is smoothed over the boxes of a few frames before and after it. So the last
frames are held, and a crop is cut when the boxes that its square needs are there, or when its track
ends. Which tracks are kept, and where they end, is decided later. So a crop is asked for by its
frame and its square; what was cut with another square, or not at all, has to be cut again.
"""

from __future__ import annotations

from collections.abc import Sequence, Set

from fakestormer.data.manifest import StoreSettings
from fakestormer.data.store import encode_frame
from fakestormer.faces.crop import crop, smoothed_squares, smoothing_reach
from fakestormer.faces.tracking import GrowingTrack
from fakestormer.types.arrays import Floats, Pixels

#: What held frames may take, bytes. Where they would take more, none is held.
_MOST_HELD = 96 * 2**20
#: Frames of a track that are cut together: smoothing costs as much for one as for so many.
_TOGETHER = 4


class EarlyCrops:
    """The encoded crops of one unit so far, by frame and square."""

    def __init__(self, settings: StoreSettings) -> None:
        self._crop = settings.crop
        self._smallest = settings.tracking.min_face_pixels
        self._reach = smoothing_reach(settings.crop.smooth_frames)
        # A lost face is waited for, and its track ends some frames later. Frames between two sets
        # of landmarks join the track late, too.
        tracking = settings.tracking
        late = tracking.bridge_frames + tracking.measure_every
        self._count = self._reach + late + _TOGETHER
        self.restart()

    def restart(self) -> None:
        """Forget everything: the unit is followed anew, in another turn."""
        self._held: dict[int, Pixels] = {}
        self._cut: dict[GrowingTrack, int] = {}  # positions that are done of each track
        self._pngs: dict[tuple[int, bytes], bytes] = {}  # by index of the frame and square

    def see(self, index: int, rgb_hwc: Pixels, tracks: Sequence[GrowingTrack]) -> None:
        """One more frame, and the tracks that are followed in it."""
        if self._count * rgb_hwc.nbytes <= _MOST_HELD:
            self._held[index] = rgb_hwc
            self._held.pop(index - self._count, None)
        self._end(self._cut.keys() - set(tracks))
        for track in tracks:
            done, stop = self._cut.setdefault(track, 0), len(track) - self._reach
            if stop - done >= _TOGETHER:
                self._cut_until(track, stop)

    def finish(self) -> None:
        """The unit has ended, and all tracks with it."""
        self._end(set(self._cut))
        self._held.clear()

    def pngs(self, first_index: int, squares_t3: Floats) -> dict[int, bytes]:
        """By position, the crops of a track that were cut with exactly these squares."""
        keys = [(first_index + k, square.tobytes()) for k, square in enumerate(squares_t3)]
        return {k: self._pngs[key] for k, key in enumerate(keys) if key in self._pngs}

    def _end(self, tracks: Set[GrowingTrack]) -> None:
        for track in tracks:
            self._cut_until(track, len(track))
            del self._cut[track]

    def _cut_until(self, track: GrowingTrack, stop: int) -> None:
        first = self._cut[track]
        self._cut[track] = stop
        start = max(0, first - self._reach)
        boxes_t4 = track.boxes(start, min(stop + self._reach, len(track)))
        if float((boxes_t4[:, 2:] - boxes_t4[:, :2]).max()) < self._smallest:
            return
        squares_t3 = smoothed_squares(boxes_t4, self._crop)
        for position in range(first, stop):
            index, square = track.first_index + position, squares_t3[position - start]
            if (rgb_hwc := self._held.get(index)) is not None:
                cut = crop(rgb_hwc, square, self._crop.stored_size)
                self._pngs[index, square.tobytes()] = encode_frame(cut)
