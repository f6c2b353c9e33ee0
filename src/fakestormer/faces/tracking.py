"""Frames of a video -> face tracks, in one pass that holds one frame at a time.

Detection is the slow part, so it runs on every `detect_every`-th frame, right after a cut or a
loss, and while nobody is followed. In between, each face's landmarks give the region in which to
look for them in the next frame. Detections join the track whose face they overlap; others start a
track. Several people are several tracks; a cut ends all of them.

Small faces are looked for more closely, which is slower still: once in `_LOOK_EVERY` frames and
after each cut while somebody is followed, else in every `detect_every`-th frame. Those that are
followed are looked for where they are.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fakestormer.faces.protocol import FaceBackend, FaceDetection, FaceLandmarks, face_box
from fakestormer.recipe.faces import TrackingConfig
from fakestormer.types import FaceTrack
from fakestormer.video.cuts import CutDetector

#: Frames between two searches for small faces while somebody is followed.
_LOOK_EVERY = 25


@dataclass(slots=True, eq=False)
class GrowingTrack:
    """A track in the making: the landmarks of each frame from `first_index` on.

    In arrays of plain numbers, so that an hour of 12 faces (a million landmark sets) takes what its
    numbers take, 0.7 KB for each.
    """

    first_index: int
    seconds: array[float] = field(default_factory=lambda: array("d"))
    points: array[float] = field(default_factory=lambda: array("f"))  # K x 2 of each frame
    confidence: array[float] = field(default_factory=lambda: array("f"))
    last: FaceLandmarks | None = None
    missed: list[float] = field(default_factory=list)  # times of frames lost since `last`
    seen_length: int = 0  # length when a detection last confirmed it
    scores: array[float] = field(default_factory=lambda: array("f"))  # of those detections

    def __len__(self) -> int:
        return len(self.seconds)

    def add(self, found: FaceLandmarks, seconds: float) -> None:
        """Append this frame, after straight lines over the frames lost before it."""
        if self.missed:
            assert self.last is not None
            before = self.last.points_k2
            steps = len(self.missed) + 1
            for step, time in enumerate(self.missed, start=1):
                between = before + (found.points_k2 - before) * np.float32(step / steps)
                self._append(between, 0.0, time)
            self.missed.clear()
        self._append(found.points_k2, found.confidence, seconds)
        self.last = found

    def confirm(self, score: float) -> None:
        """A detection of that score says that the face is where the track is."""
        self.seen_length = len(self)
        self.scores.append(score)

    def boxes(self, start: int, stop: int) -> NDArray[np.float32]:
        """float32 (stop - start, 4): the face boxes at these positions."""
        return face_box(self.landmarks(stop)[start:])

    def landmarks(self, length: int) -> NDArray[np.float32]:
        """float32 (length, K, 2) of the first `length` frames, without a copy."""
        assert self.last is not None
        per_frame = self.last.points_k2.shape
        values = np.frombuffer(self.points, np.float32, count=length * int(np.prod(per_frame)))
        return values.reshape(length, *per_frame)

    def _append(self, points_k2: NDArray[np.float32], confidence: float, seconds: float) -> None:
        self.points.frombytes(np.ascontiguousarray(points_k2, np.float32).tobytes())
        self.confidence.append(confidence)
        self.seconds.append(seconds)


def find_tracks(
    frames: Iterable[tuple[int, float, NDArray[np.uint8]]],
    backend: FaceBackend,
    config: TrackingConfig,
    *,
    on_cut: Callable[[float], None] | None = None,
    on_frame: Callable[[int, NDArray[np.uint8], Sequence[GrowingTrack]], None] | None = None,
) -> list[FaceTrack]:
    """Every face of a video, in order of appearance (of those appearing together: largest first).

    Tracks are numbered before the short and the small ones are dropped, so that a face keeps its
    number whatever these limits are, and however long the video goes on after it appeared.
    frames: (index, pts_seconds, rgb uint8 (H, W, 3)) with indices one apart, as `stream_frames`
    yields them; a gap in the indices counts as a cut. on_cut: called with the time of each frame
    that looks like another shot than the frame before. on_frame: called with the index and pixels
    of each frame when its faces are known, and the tracks that go on. Returns an empty list where
    no face is found.
    """
    active: list[GrowingTrack] = []
    ended: list[GrowingTrack] = []
    cuts = CutDetector(correlation=config.cut_correlation, colours=config.cut_colours)
    previous: int | None = None
    since_detection, since_look = 0, _LOOK_EVERY
    for index, seconds, rgb_hwc in frames:
        is_cut = cuts.is_cut(rgb_hwc)
        if is_cut and on_cut is not None:
            on_cut(seconds)
        if is_cut or (previous is not None and index != previous + 1):
            ended += active
            active = []
            since_look = _LOOK_EVERY
        for track in active:
            _follow(track, rgb_hwc, seconds, backend, config)
        since_detection += 1
        since_look += 1
        lost = any(track.missed for track in active)
        if not active or lost or since_detection >= config.detect_every:
            since_detection = 0
            frame = (index, seconds, rgb_hwc)
            active += _join(backend.detect(rgb_hwc), active, frame, backend, config)
            for track in [one for one in active if one.seen_length < len(one) or one.missed]:
                assert track.last is not None
                seen = backend.detect_small(rgb_hwc, near=track.last.region)
                _join(seen, [track], frame, backend, config)
            if since_look >= (_LOOK_EVERY if active else config.detect_every):
                since_look = 0
                seen = [] if active else backend.detect_filling(rgb_hwc)
                seen += _outside(backend.detect_small(rgb_hwc), active)
                active += _join(seen, active, frame, backend, config)
        still = [track for track in active if not _is_over(track, config)]
        still = _without_doubles(still)
        ended += [track for track in active if track not in still]
        active = still
        if on_frame is not None:
            on_frame(index, rgb_hwc, active)
        previous = index
    return _finished(ended + active, config)


def _follow(
    track: GrowingTrack,
    rgb_hwc: NDArray[np.uint8],
    seconds: float,
    backend: FaceBackend,
    config: TrackingConfig,
) -> None:
    """Look where the face was; a jump or a low confidence is a loss."""
    assert track.last is not None
    found = backend.landmarks(rgb_hwc, track.last.region)
    if (
        found is None
        or found.confidence < config.min_confidence
        or overlap(found.box_xyxy, _box(track)) < config.min_overlap
    ):
        track.missed.append(seconds)
    else:
        track.add(found, seconds)


def _join(
    detections: list[FaceDetection],
    active: list[GrowingTrack],
    frame: tuple[int, float, NDArray[np.uint8]],
    backend: FaceBackend,
    config: TrackingConfig,
) -> list[GrowingTrack]:
    """Give each detection to the track it overlaps most; returns the tracks that the rest start."""
    index, seconds, rgb_hwc = frame
    started: list[GrowingTrack] = []
    free = list(active)
    for detection in detections:
        if detection.score < config.min_detection:
            continue
        overlaps = [overlap(detection.box_xyxy, _box(track)) for track in free]
        best = int(np.argmax(overlaps)) if overlaps else -1
        mine = free.pop(best) if best >= 0 and overlaps[best] >= config.min_overlap else None
        if mine is not None and not mine.missed:
            mine.confirm(detection.score)
            continue
        found = backend.landmarks(rgb_hwc, detection.region)
        if found is None or found.confidence < config.min_confidence:
            continue
        if mine is None:
            taken = [track for track in active + started if not track.missed]
            if any(overlap(found.box_xyxy, _box(track)) >= config.min_overlap for track in taken):
                continue
            mine = GrowingTrack(first_index=index)
            started.append(mine)
        else:
            mine.missed.pop()
        mine.add(found, seconds)
        mine.confirm(detection.score)
    return started


def _outside(detections: list[FaceDetection], active: list[GrowingTrack]) -> list[FaceDetection]:
    """Those that are no part of a followed face, such as an eye that fills a tile."""

    def is_within(detection: FaceDetection, track: GrowingTrack) -> bool:
        centre = (detection.box_xyxy[:2] + detection.box_xyxy[2:]) / 2
        box_xyxy = _box(track)
        return bool((box_xyxy[:2] < centre).all() and (centre < box_xyxy[2:]).all())

    return [seen for seen in detections if not any(is_within(seen, track) for track in active)]


def _box(track: GrowingTrack) -> NDArray[np.float32]:
    assert track.last is not None
    return track.last.box_xyxy


def _is_over(track: GrowingTrack, config: TrackingConfig) -> bool:
    unseen = len(track) - track.seen_length
    return len(track.missed) > config.bridge_frames or unseen > config.max_unseen_frames


def _without_doubles(tracks: list[GrowingTrack]) -> list[GrowingTrack]:
    """Of two tracks that have come to follow the same face, the older one."""
    kept: list[GrowingTrack] = []
    for track in tracks:
        if all(overlap(_box(track), _box(other)) < 0.7 for other in kept):
            kept.append(track)
    return kept


def overlap(a_xyxy: NDArray[np.float32], b_xyxy: NDArray[np.float32]) -> float:
    """Intersection over union of two boxes, in [0, 1]."""
    low = np.maximum(a_xyxy[:2], b_xyxy[:2])
    high = np.minimum(a_xyxy[2:], b_xyxy[2:])
    shared = float(np.prod(np.maximum(high - low, 0.0)))
    both = float(np.prod(a_xyxy[2:] - a_xyxy[:2]) + np.prod(b_xyxy[2:] - b_xyxy[:2]))
    return shared / max(both - shared, 1e-6)


def _finished(followed: list[GrowingTrack], config: TrackingConfig) -> list[FaceTrack]:
    """The tracks worth keeping, with their numbers among all."""
    tracks = []
    for track in followed:
        # What no detection confirmed for too long is not part of the face.
        unseen = len(track) - track.seen_length
        length = track.seen_length if unseen > config.max_unseen_frames else len(track)
        landmarks_tk2 = track.landmarks(length)
        boxes_t4 = face_box(landmarks_tk2)
        sizes_t = (boxes_t4[:, 2:] - boxes_t4[:, :2]).max(axis=1)
        large = float(np.median(sizes_t)) >= config.min_face_pixels
        kept = large and length >= config.min_track_frames
        tracks.append((track.first_index, -float(sizes_t[0]), kept, track, landmarks_tk2, boxes_t4))
    tracks.sort(key=lambda entry: entry[:2])
    return [
        FaceTrack(
            number=number,
            indices=np.arange(first, first + len(landmarks_tk2), dtype=np.int64),
            pts_seconds=np.array(track.seconds[: len(landmarks_tk2)], np.float64),
            boxes=boxes_t4,
            landmarks=landmarks_tk2,
            confidence=np.array(track.confidence[: len(landmarks_tk2)], np.float32),
            detection=float(np.median(track.scores)),
        )
        for number, (first, _, kept, track, landmarks_tk2, boxes_t4) in enumerate(tracks)
        if kept
    ]
