"""Faces of a video and clips of them: what synthesis and the network take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fakestormer.types.arrays import Doubles, Floats, Integers, Pixels
from fakestormer.types.checked import check_fields, described


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FaceTrack:
    """One face through consecutive frames of one video, in source pixels.

    number: counts the tracks of a video from 0, in order of appearance, including those that are
    too short or too small to be used.
    indices: int64 (T,), frame positions in the video, consecutive.
    boxes: float32 (T, 4), the face box: bounding box of the landmarks, forehead included.
    landmarks: float32 (T, K, 2), K = 81 (68 iBUG points + 13 along the forehead) or 68.
    confidence: float32 (T,), in [0, 1].
    detection: median score of the detections that confirmed it, in [0, 1].
    """

    number: int
    indices: Integers
    pts_seconds: Doubles
    boxes: Floats
    landmarks: Floats
    confidence: Floats
    detection: float = 1.0

    __repr__ = described

    def __post_init__(self) -> None:
        check_fields(
            self,
            indices=("T", np.int64),
            pts_seconds=("T", np.float64),
            boxes=("T 4", np.float32),
            landmarks=("T K 2", np.float32),
            confidence=("T", np.float32),
        )
        if len(self) and not bool((np.diff(self.indices) == 1).all()):
            raise ValueError("FaceTrack.indices: expected consecutive frames, found a gap")

    def __len__(self) -> int:
        return int(self.indices.shape[0])

    @property
    def face_number(self) -> int:
        """Its number in reports and results, which count from 1."""
        return self.number + 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Clip:
    """Face crops of frames of one track, as stored: square, aspect kept, landmarks mapped along.

    frames: uint8 (T, 3, S, S). landmarks: float32 (T, K, 2), crop pixels.
    indices: int64 (T,), frame positions in the video. source: who this is, for messages
    and replay, e.g. "video.mp4#0@120" (file, track number, first frame).
    """

    frames: Pixels
    landmarks: Floats
    indices: Integers
    pts_seconds: Doubles
    source: str

    __repr__ = described

    def __post_init__(self) -> None:
        check_fields(
            self,
            frames=("T 3 S S", np.uint8),
            landmarks=("T K 2", np.float32),
            indices=("T", np.int64),
            pts_seconds=("T", np.float64),
        )

    def __len__(self) -> int:
        return int(self.indices.shape[0])
