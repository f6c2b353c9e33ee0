"""The score of one video, by the path that detection takes.

    rows of the store -> the face track(s) that count -> prediction.predict_track -> VideoScore

Conventions that change the number are in the result: sampling, shots, pooling, margin, and which
face of several counts. A video that cannot be scored is counted and listed: tables give the AUC
without such videos and, beside it, with them scored 0.5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from fakestormer.data.manifest import Row
from fakestormer.data.store import read_clip
from fakestormer.detection.prediction import predict_track
from fakestormer.evaluation.plan import FaceChoice, usable
from fakestormer.recipe.prediction import PredictionConfig
from fakestormer.runtimes.engine import Engine
from fakestormer.types import Clip
from fakestormer.video.objects import fetch


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoScore:
    """What one video got. data: the name of its store.

    score: probability of "fake", None where no face could be scored; `reason` says why. raw: the
    same before calibration, if any. shots: the score by each shot. clips: of the face that counts,
    which is track number `track`. faces: tracks that were scored. group: of videos of one person,
    "" where unknown. distance: of that face from the training frames, where the network measures
    it.
    """

    data: str
    video: str
    sha256: str
    label: str
    method: str
    source: str
    score: float | None
    shots: tuple[float, ...] = ()
    clips: tuple[float, ...] = ()
    faces: int = 0
    track: int = -1
    reason: str = ""
    raw: float | None = None
    group: str = ""
    distance: float | None = None

    @classmethod
    def missing(cls, data: str, about: Row, reason: str) -> VideoScore:
        """A video that could not be scored. about: a row of it."""
        known = ("video", "sha256", "label", "method", "source", "group")
        facts = {name: getattr(about, name) for name in known}
        return cls(data=data, score=None, reason=reason, **facts)

    @property
    def ranked_by(self) -> float | None:
        """The score before calibration, which can make scores equal: what AUCs go by."""
        return self.score if self.raw is None else self.raw

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> VideoScore:
        """From what `dataclasses.asdict` gave, with lists in place of tuples."""
        lists = {name: tuple(content[name]) for name in ("shots", "clips")}
        return cls(**{**content, **lists})


#: Reads clips of one track: positions in it, int64 (C, T), -> C clips.
ReadClips = Callable[[np.ndarray], Sequence[Clip]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoring:
    """How videos are scored. predictions: by their sampling. face: see `score_video`."""

    engine: Engine
    predictions: Mapping[str, PredictionConfig]
    face: FaceChoice


def score_video(
    scoring: Scoring, rows: Sequence[Row], reader: Callable[[Row], ReadClips], *, data: str
) -> dict[str, VideoScore]:
    """Score one video by the tracks that count; a score for each sampling.

    The "largest" of several faces counts (as in papers), or the highest score ("max"). Faces seen
    in fewer frames than `largest_share` of the longest track's do not. rows: the video's tracks,
    rejected ones too. reader: gives the reader of a track's clips. data: the name of the store.
    """
    good = usable(rows)
    longest = max((row.frames for row in good), default=0)
    scores = {}
    for sampling, config in scoring.predictions.items():
        lasting = [row for row in good if row.frames >= config.largest_share * longest]
        if scoring.face == "largest" and lasting:
            lasting = [max(lasting, key=lambda row: (row.face_side, row.frames))]
        predictions = [
            (
                row,
                # No table has what h and g say of a clip or a frame.
                predict_track(scoring.engine, row.frames, reader(row), config, branches=False)[0],
            )
            for row in lasting
        ]
        if not predictions:
            reasons = "; ".join(sorted({row.rejected for row in rows}))
            scores[sampling] = VideoScore.missing(data, rows[0], reasons)
            continue
        # Before calibration, which can make scores equal: the face is the same with it and without.
        row, best = max(predictions, key=lambda pair: pair[1].score)
        scores[sampling] = replace(
            VideoScore.missing(data, rows[0], ""),
            score=best.probability,
            shots=tuple(best.shot_scores.tolist()),
            clips=tuple(best.clip_scores.tolist()),
            faces=len(predictions),
            track=row.track,
            raw=best.raw,
            distance=best.distance,
        )
    return scores


@contextmanager
def tracks_at_hand(store: Path, address: str | None, rows: Sequence[Row]) -> Iterator[Path]:
    """Within: the folder that has the tracks of these rows; objects are fetched, and dropped."""
    if address is None:
        yield store
        return
    with TemporaryDirectory(prefix="fakestormer-") as folder:
        for row in rows:
            if not row.rejected:
                fetch(f"{address}/{row.file}", Path(folder, row.file))
        yield Path(folder)


def store_reader(store: Path) -> Callable[[Row], ReadClips]:
    """Reads clips as a store holds them."""

    def reader(row: Row) -> ReadClips:
        return lambda positions_ct: [
            read_clip(store / row.file, positions, video=row.video, number=row.track)
            for positions in positions_ct
        ]

    return reader
