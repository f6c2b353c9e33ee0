"""Frames of a video -> face tracks, in one pass that holds a few frames at a time.

Detection is the slow part, so it runs once in `detect_every` frames, once in twice as many after it
was sure of everybody, right after a cut or a loss, and while nobody is followed. In between, each
face's landmarks give the region in which to look for them in a later frame. Detections join the
track whose face they overlap; others start a track. Several people are several tracks; a cut ends
all of them.

Landmarks are measured in every `measure_every`-th frame. Where the face has hardly moved since the
last measured frame, the frames between get straight lines. Else they are measured after all, and so
is every frame until the face is still again. The last frame before a cut, a loss or the end of the
video is always measured.

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
from fakestormer.video.decode import Frame

#: Frames between two searches for small faces while somebody is followed.
_LOOK_EVERY = 25
#: A face is still that moved less than this from one measured frame to the next: the mean distance
#: of its landmarks, as a share of its box's longer side. In 37 videos 71 % of all steps of three
#: frames are below. There the boxes of the frames between are wrong by 0.3 % of that side (median;
#: 1.1 % in one of twenty). Smoothing moves the squares of crops by 0.3 and 1.6 %.
_STILL = 0.02
#: A detection of this score is sure. Of 58 faces 43 had it in half of their detections.
_SURE = 0.8


@dataclass(slots=True, eq=False)
class GrowingTrack:
    """A track in the making: the landmarks of each frame from `first_index` on.

    In arrays of plain numbers, so that an hour of 12 faces (a million landmark sets) takes what its
    numbers take, 0.7 KB for each.
    """

    first_index: int
    last: FaceLandmarks  # of the last frame that was measured
    seconds: array[float] = field(default_factory=lambda: array("d"))
    points: array[float] = field(default_factory=lambda: array("f"))  # K x 2 of each frame
    confidence: array[float] = field(default_factory=lambda: array("f"))
    waiting: list[Frame] = field(default_factory=list)  # frames since then, not looked at yet
    missed: list[float] = field(default_factory=list)  # times of frames lost since `last`
    moves: bool = False  # whether every frame is to be measured
    seen_length: int = 0  # length when a detection last confirmed it
    scores: array[float] = field(default_factory=lambda: array("f"))  # of those detections

    def __len__(self) -> int:
        return len(self.seconds)

    def add(self, found: FaceLandmarks, seconds: float, between: Sequence[float] = ()) -> None:
        """Append this frame, after straight lines over those before it that were not measured.

        between: times of frames that nobody looked at. Lost frames have confidence 0.
        """
        self._append_lines(between, self.last.confidence, found.confidence, found)
        self._append_lines(self.missed, 0.0, 0.0, found)
        self.missed.clear()
        self._append(found.points_k2, found.confidence, seconds)
        self.last = found

    def shift_to(self, points_k2: NDArray[np.float32], frames: int = 1) -> float:
        """How far the face is from where it was so many frames ago (or first), by landmarks.

        The mean distance, as a share of the face box's longer side.
        """
        before_k2 = self.landmarks(len(self))[-min(frames, len(self))]
        box_xyxy = face_box(before_k2)
        distance = float(np.linalg.norm(points_k2 - before_k2, axis=1).mean())
        return distance / max(float((box_xyxy[2:] - box_xyxy[:2]).max()), 1e-6)

    def confirm(self, score: float) -> None:
        """A detection of that score says that the face is where the track is."""
        self.seen_length = len(self)
        self.scores.append(score)

    @property
    def is_confirmed(self) -> bool:
        """Whether a detection confirmed it in its last frame."""
        return self.seen_length == len(self) and not self.missed

    def boxes(self, start: int, stop: int) -> NDArray[np.float32]:
        """float32 (stop - start, 4): the face boxes at these positions."""
        return face_box(self.landmarks(stop)[start:])

    def landmarks(self, length: int) -> NDArray[np.float32]:
        """float32 (length, K, 2) of the first `length` frames, without a copy."""
        per_frame = self.last.points_k2.shape
        values = np.frombuffer(self.points, np.float32, count=length * int(np.prod(per_frame)))
        return values.reshape(length, *per_frame)

    def _append_lines(
        self, times: Sequence[float], first: float, last: float, found: FaceLandmarks
    ) -> None:
        """Frames on the way from the last measured one; first, last: the confidence at its ends."""
        before_k2 = self.last.points_k2
        for step, seconds in enumerate(times, start=1):
            share = step / (len(times) + 1)
            between_k2 = before_k2 + (found.points_k2 - before_k2) * np.float32(share)
            self._append(between_k2, first + (last - first) * share, seconds)

    def _append(self, points_k2: NDArray[np.float32], confidence: float, seconds: float) -> None:
        self.points.frombytes(np.ascontiguousarray(points_k2, np.float32).tobytes())
        self.confidence.append(confidence)
        self.seconds.append(seconds)


def find_tracks(
    frames: Iterable[Frame],
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
    of each frame, and the tracks that go on, which may still lack it and the frames just before.
    Returns an empty list where no face is found.
    """
    active: list[GrowingTrack] = []
    ended: list[GrowingTrack] = []
    cuts = CutDetector(correlation=config.cut_correlation, colours=config.cut_colours)
    previous: int | None = None
    since_measured, since_detection, since_look = 0, 0, _LOOK_EVERY
    detect_every = config.detect_every
    for frame in frames:
        index, seconds, rgb_hwc = frame
        is_cut = cuts.is_cut(rgb_hwc)
        if is_cut and on_cut is not None:
            on_cut(seconds)
        if is_cut or (previous is not None and index != previous + 1):
            _follow(active, backend, config)
            ended += active
            active = []
            since_look = _LOOK_EVERY
        since_measured += 1
        since_detection += 1
        since_look += 1
        for track in active:
            track.waiting.append(frame)
        lost = _follow([track for track in active if track.moves], backend, config)
        is_due = not active or lost or since_detection >= detect_every
        if is_due or since_measured >= config.measure_every:
            since_measured = 0
            lost = _follow(active, backend, config) or lost
            # A frame too early takes less time than a frame in between that is measured for it.
            soon = since_detection + config.measure_every > detect_every + 1
            if is_due or soon or lost:
                since_detection = 0
                if _search(active, frame, since_look, backend, config):
                    since_look = 0
                detect_every = config.detect_every * (2 if _is_sure(active, config) else 1)
            still = [track for track in active if not _is_over(track, config)]
            still = _without_doubles(still)
            ended += [track for track in active if track not in still]
            active = still
        if on_frame is not None:
            on_frame(index, rgb_hwc, active)
        previous = index
    _follow(active, backend, config)
    return _finished(ended + active, config)


def _follow(tracks: list[GrowingTrack], backend: FaceBackend, config: TrackingConfig) -> bool:
    """Bring these tracks to the last frame that waits; returns whether one is lost there."""
    for track in tracks:
        frames, track.waiting = track.waiting, []
        if len(frames) > 1 and not track.missed:
            face = _seen_again(track, frames[-1], backend, config)
            if face is not None and track.shift_to(face.points_k2) < _STILL:
                *between, last = (seconds for _, seconds, _ in frames)
                track.add(face, last, between)
                continue
        for frame in frames:
            face = _seen_again(track, frame, backend, config)
            if face is None:
                track.missed.append(frame[1])
                track.moves = True
            else:
                track.moves = track.shift_to(face.points_k2, config.measure_every) >= _STILL
                track.add(face, frame[1])
    return any(track.missed for track in tracks)


def _search(
    active: list[GrowingTrack],
    frame: Frame,
    since_look: int,
    backend: FaceBackend,
    config: TrackingConfig,
) -> bool:
    """Detect: confirm tracks and append new ones; returns whether small faces were looked for."""
    rgb_hwc = frame[2]
    active += _join(backend.detect(rgb_hwc), active, frame, backend, config)
    for track in [one for one in active if not one.is_confirmed]:
        seen = backend.detect_small(rgb_hwc, near=track.last.region)
        _join(seen, [track], frame, backend, config)
    if since_look < (_LOOK_EVERY if active else config.detect_every):
        return False
    seen = [] if active else backend.detect_filling(rgb_hwc)
    seen += _outside(backend.detect_small(rgb_hwc), active)
    active += _join(seen, active, frame, backend, config)
    return True


def _is_sure(active: list[GrowingTrack], config: TrackingConfig) -> bool:
    """Whether the next detection may come later; never where every frame is measured."""
    sure = all(track.is_confirmed and track.scores[-1] >= _SURE for track in active)
    return sure and config.measure_every > 1


def _seen_again(
    track: GrowingTrack, frame: Frame, backend: FaceBackend, config: TrackingConfig
) -> FaceLandmarks | None:
    """The face where it was; None for a loss: a jump or a low confidence."""
    found = backend.landmarks(frame[2], track.last.region)
    if (
        found is None
        or found.confidence < config.min_confidence
        or overlap(found.box_xyxy, track.last.box_xyxy) < config.min_overlap
    ):
        return None
    return found


def _join(
    detections: list[FaceDetection],
    active: list[GrowingTrack],
    frame: Frame,
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
        overlaps = [overlap(detection.box_xyxy, track.last.box_xyxy) for track in free]
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
            if any(
                overlap(found.box_xyxy, track.last.box_xyxy) >= config.min_overlap
                for track in taken
            ):
                continue
            mine = GrowingTrack(first_index=index, last=found)
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
        box_xyxy = track.last.box_xyxy
        return bool((box_xyxy[:2] < centre).all() and (centre < box_xyxy[2:]).all())

    return [seen for seen in detections if not any(is_within(seen, track) for track in active)]


def _is_over(track: GrowingTrack, config: TrackingConfig) -> bool:
    unseen = len(track) - track.seen_length
    return len(track.missed) > config.bridge_frames or unseen > config.max_unseen_frames


def _without_doubles(tracks: list[GrowingTrack]) -> list[GrowingTrack]:
    """Of two tracks that have come to follow the same face, the older one."""
    kept: list[GrowingTrack] = []
    for track in tracks:
        if all(overlap(track.last.box_xyxy, other.last.box_xyxy) < 0.7 for other in kept):
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
