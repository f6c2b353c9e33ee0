"""What is said about a video: predictions for its faces, and the report."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal

import torch
from torch import Tensor

from fakestormer.types.checked import check_fields, described


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prediction:
    """The network's answer for one face track: C clips of T frames.

    probability: of "fake", the track's score, calibrated where the model is. raw: the score before
    that; None where it is not. clip_probabilities: float32 (C,), never calibrated.
    shot_probabilities: float32 (S,), the track's score by each of S shots alone (paper 6.6), 1 as a
    rule; never calibrated.
    frame_scores: float32 (C, T), sigmoid of g, None for a network without g. derivative: float32
    (C, T, G, G), D~, None without h.
    indices: int64 (C, T) and pts_seconds: float64 (C, T), of every frame used. distance: how unlike
    the training frames its clips are, their mean, above 1 for what 99 % of those stay under; None
    where the network does not measure it.
    """

    probability: float
    clip_probabilities: Tensor
    shot_probabilities: Tensor
    frame_scores: Tensor | None
    derivative: Tensor | None
    indices: Tensor
    pts_seconds: Tensor
    raw: float | None = None
    distance: float | None = None

    __repr__ = described

    @property
    def score(self) -> float:
        """What the network said: `raw`, or `probability` where nothing was calibrated."""
        return self.probability if self.raw is None else self.raw

    def __post_init__(self) -> None:
        check_fields(
            self,
            clip_probabilities=("C", torch.float32),
            shot_probabilities=("S", torch.float32),
            frame_scores=("?C T", torch.float32),
            derivative=("?C T G G", torch.float32),
            indices=("C T", torch.int64),
            pts_seconds=("C T", torch.float64),
        )
        for name, value in (("probability", self.probability), ("raw", self.score)):
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"Prediction.{name}: expected [0, 1], got {value}")


Verdict = Literal["likely fake", "no manipulation found", "inconclusive"]

ReasonCode = Literal[
    "near_threshold",
    "clips_disagree",
    "shots_disagree",
    "face_too_small",
    "too_few_frames",
    "strong_compression",
    "frames_far_apart",
    "unlike_training",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a verdict is "inconclusive": for machines, and as a full sentence."""

    code: ReasonCode
    text: str


def _check_interval(name: str, interval: tuple[float, float] | None) -> None:
    if interval is not None and not 0.0 <= interval[0] <= interval[1] <= 1.0:
        raise ValueError(f"{name}.interval: expected 0 <= low <= high <= 1, got {interval}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EverySecond:
    """One clip in each second that shows a face: where it begins, and its score.

    seconds: float64 (M,), rising. probabilities: float32 (M,), never calibrated.
    """

    seconds: Tensor
    probabilities: Tensor

    __repr__ = described

    def __post_init__(self) -> None:
        check_fields(self, seconds=("M", torch.float64), probabilities=("M", torch.float32))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """A whole frame of the video, made smaller, for people to look at.

    picture: uint8 (3, H, W). scale: its pixels per source pixel. clip, frame: which frame it is of
    the face that the verdict rests on.
    """

    picture: Tensor
    scale: float
    clip: int
    frame: int

    __repr__ = described

    def __post_init__(self) -> None:
        check_fields(self, picture=("3 H W", torch.uint8))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FaceReport:
    """What is said about one face of a video.

    crops: uint8 (C, T, 3, H, W), exactly what the network saw; None where a video has so many
    faces that not all of their pictures are kept (`detection.scored_faces`). boxes: float32
    (C, T, 4), the
    square that each crop shows, source pixels. warnings: full sentences. interval: of the
    probability over the clips, (low, high); None where there is one clip. reasons: why the verdict
    is "inconclusive", else empty. first_frame: where in the video the face is followed from, and
    squares: float32 (N, 3), (cx, cy, side) of its crop in each frame from there on, source pixels.
    every_second: where it was asked for.
    """

    number: int
    verdict: Verdict
    prediction: Prediction
    crops: Tensor | None
    boxes: Tensor
    warnings: tuple[str, ...] = ()
    interval: tuple[float, float] | None = None
    reasons: tuple[Reason, ...] = ()
    first_frame: int = 0
    squares: Tensor | None = None
    every_second: EverySecond | None = None

    __repr__ = described

    def __post_init__(self) -> None:
        check_fields(
            self,
            crops=("?C T 3 H W", torch.uint8),
            boxes=("C T 4", torch.float32),
            squares=("?N 3", torch.float32),
        )
        _check_interval("FaceReport", self.interval)
        if self.reasons and self.verdict != "inconclusive":
            raise ValueError(f"FaceReport.reasons: {self.verdict!r} needs none")

    def to_dict(self) -> dict[str, Any]:
        """One entry of "faces" in `Report.to_dict()`."""
        prediction, shots = self.prediction, self.prediction.shot_probabilities
        frame_scores = prediction.frame_scores
        clips = [
            {
                "probability": round(float(prediction.clip_probabilities[c]), 6),
                "frames": _numbers(prediction.indices[c]),
                "seconds": _numbers(prediction.pts_seconds[c]),
                "frame_scores": None if frame_scores is None else _numbers(frame_scores[c]),
                "boxes": _numbers(self.boxes[c], digits=2),
            }
            for c in range(len(prediction.clip_probabilities))
        ]
        entry = {
            "number": self.number,
            "probability": round(prediction.probability, 6),
            **_raw(self),
            **({} if prediction.distance is None else {"distance": round(prediction.distance, 6)}),
            "interval": _rounded(self.interval),
            "verdict": self.verdict,
            "reasons": _reasons(self.reasons),
            "warnings": list(self.warnings),
            "shots": {
                "last": round(float(shots[-1]), 6),
                "mean": round(float(shots.double().mean()), 6),
                "each": _numbers(shots),
            },
            "clips": clips,
        }
        if (line := self.every_second) is not None:
            scores = zip(_numbers(line.seconds), _numbers(line.probabilities), strict=True)
            entry["every_second"] = [{"seconds": at, "probability": p} for at, p in scores]
        return entry


#: Draws a report for notebooks. `report.notebook` puts its function here, because pictures are
#: drawn on a floor above this one.
notebook_drawings: list[Callable[[Report], str]] = []


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Report:
    """The answer for one video.

    path: the video's path, or its name. sha256: of the file, or of the pixels of an array.
    probability: of manipulation, of the face that the verdict rests on; None where nothing could
    be scored, and then the verdict is "inconclusive". verdict: "likely fake", "no manipulation
    found" or "inconclusive". face_number: the face that the verdict rests on. faces: all faces.
    warnings: what to bear in mind, in full sentences. video: facts about the file (container,
    codec, size, rate). model: name, SHA-256 of the weights, recipe, versions. settings: how clips
    were sampled. scene: one whole frame of the video, where it was asked for.
    """

    path: str
    sha256: str
    probability: float | None
    verdict: Verdict
    face_number: int | None
    faces: tuple[FaceReport, ...]
    warnings: tuple[str, ...]
    video: dict[str, Any]
    model: dict[str, Any]
    settings: dict[str, Any]
    scene: Scene | None = None

    def __repr__(self) -> str:
        score = "" if self.probability is None else f", probability {self.probability:.3f}"
        if self.interval is not None:
            score += " ({:.3f} to {:.3f} over its clips)".format(*self.interval)
        faces = "1 face" if len(self.faces) == 1 else f"{len(self.faces)} faces"
        return f"Report({PurePath(self.path).name!r}: {self.verdict}{score}, {faces})"

    def _repr_html_(self) -> str | None:
        """What a notebook shows: the face, its time line and the verdict."""
        return notebook_drawings[0](self) if notebook_drawings else None

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values, without pictures.

        Returns:
            One entry of "results" in the file that `fakestormer detect --json` writes (see
            `detection/results.schema.json`). "probability" is calibrated where the model has a
            calibration, and "raw" beside it is the score before that. Numbers of shots, clips and
            frames are never calibrated. Scores are rounded to 6 digits.
        """
        return {
            "path": self.path,
            "sha256": self.sha256,
            "probability": None if self.probability is None else round(self.probability, 6),
            **({} if self.decisive is None else _raw(self.decisive)),
            "interval": _rounded(self.interval),
            "verdict": self.verdict,
            "reasons": _reasons(self.reasons),
            "face": self.face_number,
            "faces": [face.to_dict() for face in self.faces],
            "warnings": list(self.warnings),
            "video": self.video,
            "model": self.model,
            "settings": self.settings,
        }

    def to_json(self, *, indent: int | None = 2) -> str:
        """`to_dict()` as text; in ASCII, because file names need not be valid Unicode.

        Args:
            indent: spaces for each level; None puts everything on one line.
        """
        return json.dumps(self.to_dict(), indent=indent)

    @property
    def decisive(self) -> FaceReport | None:
        """The face that the verdict rests on."""
        return next((face for face in self.faces if face.number == self.face_number), None)

    @property
    def interval(self) -> tuple[float, float] | None:
        return None if self.decisive is None else self.decisive.interval

    @property
    def reasons(self) -> tuple[Reason, ...]:
        return () if self.decisive is None else self.decisive.reasons


def _numbers(tensor: Tensor, digits: int = 6) -> Any:
    """Nested lists of numbers, rounded: smaller digits are noise of the arithmetic."""
    if tensor.ndim:
        return [_numbers(part, digits) for part in tensor]
    return round(float(tensor), digits) if tensor.is_floating_point() else int(tensor)


def _rounded(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else [round(bound, 6) for bound in interval]


def _reasons(reasons: Sequence[Reason]) -> list[dict[str, str]]:
    return [{"code": reason.code, "text": reason.text} for reason in reasons]


def _raw(face: FaceReport) -> dict[str, float]:
    raw = face.prediction.raw
    return {} if raw is None else {"raw": round(raw, 6)}
