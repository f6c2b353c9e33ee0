"""What is said about a video: predictions for its faces, and the report."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fakestormer.types.arrays import Doubles, Floats, Integers, Pixels
from fakestormer.types.checked import check_fields, described
from fakestormer.types.prediction import EverySecond, Prediction

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """The frame of the most suspicious moment, and the face around it, for people to look at.

    picture: uint8 (3, H, W). scale: its pixels per source pixel, 1 but for very large videos. clip,
    frame: which frame it is of the face that the verdict rests on. loop: about two seconds of that
    face, an H.264 film in mp4; None where it is seen in a single frame.
    """

    picture: Pixels
    scale: float
    clip: int
    frame: int
    loop: bytes | None = None

    __repr__ = described

    def __post_init__(self) -> None:
        check_fields(self, picture=("3 H W", np.uint8))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moment:
    """The most suspicious moment of a face, and where in the face it is.

    clip, frame: places in `Prediction`, from 0. index: of the frame in the video. seconds: first
    and last of the clip. region: its name, left and right as in the picture. outline: float32
    (N, 2), (x, y) of the region's border as shares of the crop; no points where nothing in the face
    speaks for a fake.
    """

    clip: int
    frame: int
    index: int
    seconds: tuple[float, float]
    region: str
    outline: Floats

    __repr__ = described

    def __post_init__(self) -> None:
        check_fields(self, outline=("N 2", np.float32))

    @property
    def sentence(self) -> str:
        """Where and when, as people say it.

        # left jaw line, 4.2 to 5.0 s
        """
        return f"{self.region}, {self.seconds[0]:.1f} to {self.seconds[1]:.1f} s"

    def to_dict(self) -> dict[str, Any]:
        """What an entry of "faces" has under "strongest"; its clip counts from 1."""
        return {
            "clip": self.clip + 1,
            "frame": self.index,
            "seconds": [round(second, 6) for second in self.seconds],
            "region": self.region,
        }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FaceReport:
    """What is said about one face of a video.

    number: counts from 1, so that 1 is "Face 1". crops: uint8 (C, T, 3, H, W), exactly what the
    network saw; None where a video has so many faces that not all of their pictures are kept
    (`detection.scored_faces`). boxes: float32 (C, T, 4), the square that each crop shows, source
    pixels. warnings: full sentences. interval: of the probability over the clips, (low, high); None
    where there is one clip. reasons: why the verdict is "inconclusive", else empty. first_frame:
    where in the video the face is followed from, and squares: float32 (N, 3), (cx, cy, side) of its
    crop in each frame from there on, source pixels. every_second: where it was asked for.
    landmarks: float32 (C, T, K, 2), (x, y) as shares of the crop. moment: the most suspicious one,
    where the face was explained.
    """

    number: int
    verdict: Verdict
    prediction: Prediction
    crops: Pixels | None
    boxes: Floats
    warnings: tuple[str, ...] = ()
    interval: tuple[float, float] | None = None
    reasons: tuple[Reason, ...] = ()
    first_frame: int = 0
    squares: Floats | None = None
    every_second: EverySecond | None = None
    landmarks: Floats | None = None
    moment: Moment | None = None

    __repr__ = described

    def __post_init__(self) -> None:
        check_fields(
            self,
            crops=("?C T 3 H W", np.uint8),
            boxes=("C T 4", np.float32),
            squares=("?N 3", np.float32),
            landmarks=("?C T K 2", np.float32),
        )
        low, high = self.interval or (0.0, 1.0)
        if not 0.0 <= low <= high <= 1.0:
            raise ValueError(
                f"FaceReport.interval: expected 0 <= low <= high <= 1, got {self.interval}"
            )
        if self.reasons and self.verdict != "inconclusive":
            raise ValueError(f"FaceReport.reasons: {self.verdict!r} needs none")

    @property
    def shown_frame(self) -> tuple[int, int]:
        """Places (clip, frame) of the moment; else of the first frame of the highest clip."""
        if self.moment is not None:
            return self.moment.clip, self.moment.frame
        return int(self.prediction.clip_probabilities.argmax()), 0

    def to_dict(self) -> dict[str, Any]:
        """One entry of "faces" in `Report.to_dict()`."""
        prediction = self.prediction
        frames, frame_raw = prediction.frame_probabilities, prediction.frame_raw
        clips = [
            {
                "probability": round(float(prediction.clip_probabilities[c]), 6),
                **_raw(prediction.clip_raw, c),
                "frames": _numbers(prediction.indices[c]),
                "seconds": _numbers(prediction.pts_seconds[c]),
                "frame_probabilities": None if frames is None else _numbers(frames[c]),
                **({} if frame_raw is None else {"frame_raw": _numbers(frame_raw[c])}),
                "boxes": _numbers(self.boxes[c], digits=2),
            }
            for c in range(len(prediction.clip_probabilities))
        ]
        shots = prediction.shot_probabilities
        entry: dict[str, Any] = {
            "number": self.number,
            "probability": round(prediction.probability, 6),
            **_raw(prediction.raw),
            **({} if prediction.distance is None else {"distance": round(prediction.distance, 6)}),
            "interval": _rounded(self.interval),
            "verdict": self.verdict,
            "reasons": _reasons(self.reasons),
            "warnings": list(self.warnings),
            "shots": {
                "last": round(float(shots[-1]), 6),
                "mean": round(float(shots.astype(np.float64).mean()), 6),
                "each": _numbers(shots),
                **_raw(prediction.shot_raw),
            },
            "clips": clips,
        }
        if self.moment is not None:
            entry["strongest"] = self.moment.to_dict()
        if (line := self.every_second) is not None:
            scores = zip(_numbers(line.seconds), _numbers(line.probabilities), strict=True)
            entry["every_second"] = [
                {"seconds": at, "probability": probability, **_raw(line.raw, m)}
                for m, (at, probability) in enumerate(scores)
            ]
        return entry


#: Draw a report for notebooks: as HTML, and as a figure. `report.notebook` puts its functions here,
#: because pictures are drawn on a floor above this one.
notebook_drawings: list[Callable[[Report], Any]] = []


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
        html: str | None = notebook_drawings[0](self) if notebook_drawings else None
        return html

    def plot(self) -> Figure:
        """The face of the most suspicious moment, with and without the map, over the time line.

        Returns:
            A figure of Matplotlib, which a notebook shows: `report.plot().savefig("report.png")`.

        Raises:
            SetupError: Matplotlib is not installed.
        """
        assert notebook_drawings, "`import fakestormer` connects the drawings"
        figure: Figure = notebook_drawings[1](self)
        return figure

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values, without pictures.

        Returns:
            One entry of "results" in the file that `fakestormer detect --json` writes (see
            `detection/results.schema.json`). "probability" is calibrated where the model has a
            calibration, as are those of shots, clips and frames, and "raw" beside it is what the
            network said before that. Scores are rounded to 6 digits.
        """
        return {
            "path": self.path,
            "sha256": self.sha256,
            "probability": None if self.probability is None else round(self.probability, 6),
            **_raw(None if self.decisive is None else self.decisive.prediction.raw),
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


def _numbers(array: Floats | Doubles | Integers, digits: int = 6) -> Any:
    """Nested lists of numbers, rounded: smaller digits are noise of the arithmetic."""
    if array.dtype.kind == "i":
        return array.tolist()
    return np.round(array.astype(np.float64), digits).tolist()


def _rounded(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else [round(bound, 6) for bound in interval]


def _reasons(reasons: Sequence[Reason]) -> list[dict[str, str]]:
    return [{"code": reason.code, "text": reason.text} for reason in reasons]


def _raw(score: float | Floats | None, place: int | None = None) -> dict[str, Any]:
    """{"raw": ...}, or nothing where no score was calibrated. place: of one among several."""
    if score is None:
        return {}
    if isinstance(score, float):
        return {"raw": round(score, 6)}
    return {"raw": _numbers(score if place is None else score[place])}
