"""Videos whose faces lie on their side or upside down, though the file does not say so.

A detector finds many of these faces and puts landmarks on them that are not there, so it is not
enough to look where nothing was found. But it is less sure of them. Of 80 real videos that were
turned, 3 frames each, the score of the detection, times that of the landmarks, times the squared
cosine of the angle between eyes and horizon, was higher by 0.13 or more when they were upright than
in every other turn. And in 64 of the 80 the median detection of the upright face had a score of
0.82 or more; of the turned ones none had.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import numpy as np

from fakestormer.faces.protocol import FaceBackend
from fakestormer.faces.tracking import GrowingTrack, find_tracks
from fakestormer.recipe.faces import TrackingConfig
from fakestormer.types import FaceTrack
from fakestormer.types.arrays import Floats, Pixels
from fakestormer.video.colour import turn_clockwise
from fakestormer.video.decode import Frame

#: A face whose detections had this score, and whose eyes are so level, needs no second look.
_SURE, _LEVEL = 0.82, math.radians(20)
#: Frames that are looked at in every turn; in how many of them there must be a face, and from which
#: sureness on there is one.
_TRIED, _ENOUGH, _A_FACE = 5, 2, 0.5
#: By how much a turned face must be surer than one as it is, on average.
_CLEARLY = 0.1
#: Landmarks that are the outer corners of the eyes, left and right as seen.
_EYES = (36, 45)


def find_upright_tracks(
    frames: Callable[[int], Iterable[Frame]],
    frames_at: Callable[[Sequence[int]], Iterator[Frame]],
    backend: FaceBackend,
    config: TrackingConfig,
    *,
    on_cut: Callable[[float], None] | None = None,
    on_frame: Callable[[int, Pixels, Sequence[GrowingTrack]], None] | None = None,
) -> tuple[int, list[FaceTrack]]:
    """The faces of a video, as `find_tracks` gives them, after the video was turned upright.

    Where the largest face is upright, as in nearly every video, nothing else is looked at. Else,
    and where there is none, a few frames are searched in every turn, and the video is followed once
    more where faces are clearly found in another.

    Args:
        frames: called with clockwise degrees: every frame from the beginning, so turned.
        frames_at: called with indices, ascending: these frames as they are.
        on_cut, on_frame: as in `find_tracks`, for each time that the video is followed.

    Returns:
        (0, 90, 180 or 270: degrees by which the frames were turned clockwise; the tracks in them).
    """
    count = 0

    def counted() -> Iterator[Frame]:
        nonlocal count
        for frame in frames(0):
            count += 1
            yield frame

    follow = partial(find_tracks, backend=backend, config=config, on_cut=on_cut, on_frame=on_frame)
    tracks = follow(counted())
    main = max(tracks, key=_seen_area, default=None)
    if not count or (main is not None and _is_upright(main)):
        return 0, tracks
    first, length = (0, count) if main is None else (int(main.indices[0]), len(main))
    tried = sorted({first + length * (2 * n + 1) // (2 * _TRIED) for n in range(_TRIED)})
    degrees = _best_turn([rgb_hwc for _, _, rgb_hwc in frames_at(tried)], backend)
    if degrees and (turned := follow(frames(degrees))):
        return degrees, turned
    return 0, tracks


def _seen_area(track: FaceTrack) -> float:
    sides_t2 = track.boxes[:, 2:] - track.boxes[:, :2]
    return float(sides_t2.prod(axis=1).sum())


def _is_upright(track: FaceTrack) -> bool:
    angle = _angle(np.median(track.landmarks, axis=0))
    return track.detection >= _SURE and abs(angle) < _LEVEL


def _angle(points_k2: Floats) -> float:
    """Between the line through the eyes and the horizon, radians."""
    dx, dy = (float(side) for side in points_k2[_EYES[1]] - points_k2[_EYES[0]])
    return math.atan2(dy, dx)


def _best_turn(frames: Sequence[Pixels], backend: FaceBackend) -> int:
    """The clockwise degrees after which faces are clearly surer than as they are, else 0."""
    as_it_is = [_sureness(rgb_hwc, backend) for rgb_hwc in frames]
    best, degrees = sum(as_it_is) / len(frames) + _CLEARLY, 0
    for turn in (90, 180, 270):
        turned = [_sureness(turn_clockwise(rgb_hwc, turn), backend) for rgb_hwc in frames]
        mean = sum(turned) / len(frames)
        enough = sum(value >= _A_FACE for value in turned) >= min(_ENOUGH, len(frames))
        if mean > best and enough:
            best, degrees = mean, turn
    return degrees


def _sureness(rgb_hwc: Pixels, backend: FaceBackend) -> float:
    """How sure it is that there is an upright face in a frame, in [0, 1]."""
    surest = 0.0
    for detection in backend.detect(rgb_hwc) or backend.detect_small(rgb_hwc):
        face = backend.landmarks(rgb_hwc, detection.region)
        if face is not None:
            level = max(0.0, math.cos(_angle(face.points_k2))) ** 2
            surest = max(surest, detection.score * face.confidence * level)
    return surest
