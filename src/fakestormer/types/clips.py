"""Faces of a video and clips of them: what synthesis and the network take."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

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
    indices: Tensor
    pts_seconds: Tensor
    boxes: Tensor
    landmarks: Tensor
    confidence: Tensor
    detection: float = 1.0

    __repr__ = described

    def __post_init__(self) -> None:
        check_fields(
            self,
            indices=("T", torch.int64),
            pts_seconds=("T", torch.float64),
            boxes=("T 4", torch.float32),
            landmarks=("T K 2", torch.float32),
            confidence=("T", torch.float32),
        )
        if len(self) and not bool((self.indices.diff() == 1).all()):
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

    frames: Tensor
    landmarks: Tensor
    indices: Tensor
    pts_seconds: Tensor
    source: str

    __repr__ = described

    def __post_init__(self) -> None:
        check_fields(
            self,
            frames=("T 3 S S", torch.uint8),
            landmarks=("T K 2", torch.float32),
            indices=("T", torch.int64),
            pts_seconds=("T", torch.float64),
        )

    def __len__(self) -> int:
        return int(self.indices.shape[0])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SelfBlended:
    """A batch of pairs: real clips and their self-blended pseudo-fakes (paper 3.1).

    real, fake: uint8 (B, T, 3, H, W), network input size, same geometry and colour jitter.
    mask: float32 (B, T, H, W), the soft blending mask M in [0, 1], without the blend ratio r (and
    before it is cut at one half, where a copy was blended in the gradient domain).
    """

    real: Tensor
    fake: Tensor
    mask: Tensor

    __repr__ = described

    def __post_init__(self) -> None:
        check_fields(
            self,
            real=("B T 3 H W", torch.uint8),
            fake=("B T 3 H W", torch.uint8),
            mask=("B T H W", torch.float32),
        )
