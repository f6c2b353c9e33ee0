"""A track store -> one score per video, by the path that detection takes; then the AUCs.

    rows of the store -> the video's face track(s) -> prediction.predict_track -> VideoScore

Conventions that change the number stand in the result: sampling, shots, pooling, margin, which face
of several counts, and how many videos were used and left out. A video that could not be scored is
counted and listed, never quietly 0.5: tables give the AUC without such videos and, beside it, with
them scored 0.5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fakestormer.data.manifest import Row, read_manifest, read_settings
from fakestormer.data.store import read_clip
from fakestormer.detection.prediction import predict_track
from fakestormer.errors import InputError
from fakestormer.evaluation.metrics import (
    Metrics,
    accuracy,
    auc,
    balanced_accuracy,
    metrics_of,
)
from fakestormer.model.network import VideoNetwork
from fakestormer.recipe.faces import CropConfig
from fakestormer.recipe.prediction import PredictionConfig
from fakestormer.types import Clip

#: Above so many sources their rows are left out: names of files rather than of collections.
MOST_SOURCES = 20

FaceChoice = Literal["largest", "max"]
SplitChoice = Literal["train", "validation", "test", "all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoScore:
    """What one video got. data: the name of its store.

    score: probability of "fake", None where no face of it could be scored; `reason` then says why.
    raw: the same before calibration, None where nothing was calibrated. shots: the score by each
    shot alone. clips: probabilities of the clips of the face that counts, which is track number
    `track`; shots and clips are never calibrated. faces: tracks that were scored.
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

    @property
    def ranked_by(self) -> float | None:
        """The score before calibration, which can make scores equal: what AUCs go by."""
        return self.score if self.raw is None else self.raw

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> VideoScore:
        """Of what `dataclasses.asdict` gave, lists where there were tuples."""
        return cls(
            **{
                **content,
                "shots": tuple(content["shots"]),
                "clips": tuple(content["clips"]),
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Separation:
    """How well one group of fakes stands out from one group of real videos.

    group: what they are, e.g. "all", "method anitalker", "source grid". real, fake: videos scored.
    unscored: videos left out. metrics: of videos. auc_with_unscored: the video-level AUC with those
    left out scored 0.5. auc_clip: of single clips, another number. AUCs are None where one of the
    two classes is missing.
    """

    group: str
    real: int
    fake: int
    unscored: int
    metrics: Metrics
    auc_with_unscored: float | None
    auc_clip: float | None

    @property
    def auc(self) -> float | None:
        """Video-level."""
        return self.metrics.auc

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % bootstrap interval of `auc`."""
        return self.metrics.interval


def score_store(
    network: VideoNetwork,
    prediction: PredictionConfig,
    crop: CropConfig,
    store: Path,
    *,
    name: str,
    split: SplitChoice = "test",
    face: FaceChoice = "largest",
    progress: Callable[[int, int], None] | None = None,
) -> list[VideoScore]:
    """Score every video of a split, in the order of their names.

    crop: how the model wants faces cut out; a store made otherwise is refused, because training and
    evaluation must treat faces alike. face: of several faces in a video, the "largest" counts (what
    papers do), or the highest score ("max"); faces seen in fewer frames than
    `prediction.largest_share` of the longest track's do not count. progress: (done, total) videos.
    Raises InputError as `videos_of` does.
    """
    videos = videos_of(store, crop, split)
    scores = []
    for done, (_, tracks) in enumerate(videos, start=1):
        scores.append(
            score_video(
                network,
                prediction,
                face,
                about=tracks[0],
                data=name,
                rows=tracks,
                reader=store_reader(store),
            )
        )
        if progress is not None:
            progress(done, len(videos))
    return scores


def videos_of(
    store: Path, crop: CropConfig, split: SplitChoice
) -> list[tuple[str, tuple[Row, ...]]]:
    """The rows of each video that has a usable track in the split, or none at all.

    Raises InputError for a store of another crop or without a usable video in the split.
    """
    made = read_settings(store).crop
    if made != crop:
        raise InputError(
            f"{store}: its faces were cut out with {made!r}, the model wants {crop!r}; prepare the "
            "videos again with the model's recipe"
        )
    rows = read_manifest(store)
    by_video: dict[str, list[Row]] = {}
    for row in rows:
        by_video.setdefault(row.video, []).append(row)
    wanted = []
    for video, own in sorted(by_video.items()):
        splits = {row.split for row in own}
        # In older stores rejected rows have no split: such a video is counted with every split.
        if split == "all" or split in splits or splits == {""}:
            wanted.append((video, tuple(own)))
    if not any(not row.rejected for _, own in wanted for row in own):
        known = sorted({row.split for row in rows if not row.rejected})
        raise InputError(
            f"{store}: has no usable video in the split {split!r} (there are: "
            f"{', '.join(known) or 'none'}); choose another with --split, e.g. all"
        )
    return wanted


#: Reads clips of one track: positions in it, int64 (C, T), -> C clips.
ReadClips = Callable[[np.ndarray], Sequence[Clip]]


def score_video(
    network: VideoNetwork,
    config: PredictionConfig,
    face: FaceChoice,
    *,
    about: Row,
    data: str,
    rows: Sequence[Row],
    reader: Callable[[Row], ReadClips],
) -> VideoScore:
    """Score one video by the tracks that count.

    about: gives the video's name, label, method and source. rows: its tracks, rejected ones too.
    reader: how the clips of a track are read: from a store, or from frames as they are decoded.
    """
    usable = [row for row in rows if not row.rejected]
    longest = max((row.frames for row in usable), default=0)
    lasting = [row for row in usable if row.frames >= config.largest_share * longest]
    if face == "largest" and lasting:
        lasting = [max(lasting, key=lambda row: (row.face_side, row.frames))]
    judged = [(row, predict_track(network, row.frames, reader(row), config)[0]) for row in lasting]
    # Before calibration, which can make scores equal: the face is the same with it and without.
    row, best = max(judged, key=lambda pair: pair[1].score, default=(None, None))
    return VideoScore(
        data=data,
        video=about.video,
        sha256=about.sha256,
        label=about.label,
        method=about.method,
        source=about.source,
        score=None if best is None else best.probability,
        shots=() if best is None else tuple(best.shot_probabilities.tolist()),
        clips=() if best is None else tuple(best.clip_probabilities.tolist()),
        faces=len(judged),
        track=-1 if row is None else row.track,
        reason="" if best is not None else "; ".join(sorted({row.rejected for row in rows})),
        raw=None if best is None else best.raw,
    )


def store_reader(store: Path) -> Callable[[Row], ReadClips]:
    """Clips as they lie in a store."""

    def reader(row: Row) -> ReadClips:
        return lambda positions_ct: [
            read_clip(store / row.file, positions, video=row.video, number=row.track)
            for positions in positions_ct
        ]

    return reader


def separations(scores: Sequence[VideoScore]) -> list[Separation]:
    """All videos; the fakes of each method against all real videos; each source by itself.

    Sources that hold real videos only are left out: without fakes there is nothing to separate. So
    are all of them where there are more than MOST_SOURCES.
    """
    found = [separation("all", scores)]
    real = [score for score in scores if score.label == "real"]
    fake = [score for score in scores if score.label == "fake"]
    shown = []
    for method in sorted({s.method for s in fake} - {""}):
        shown.append([s for s in fake if s.method == method])
        found.append(separation(f"method {method}", [*real, *shown[-1]]))
    sources = sorted({s.source for s in fake} - {""})
    if len(sources) == 1 and sources == sorted({s.source for s in scores}):
        return found  # that would be all of them once more
    if len(sources) > MOST_SOURCES:
        return found
    for source in sources:
        own = [s for s in real if s.source == source]
        against = "" if own else " against all real"
        fakes = [s for s in fake if s.source == source]
        if not own and (fakes in shown or len(fakes) < 2):
            continue  # a method, whose row is there, or a single video
        found.append(separation(f"source {source}{against}", [*(own or real), *fakes]))
    return found


def separation(group: str, scores: Sequence[VideoScore]) -> Separation:
    """The numbers of one group of videos."""
    scored = [(float(s.label == "fake"), s.score) for s in scores if s.score is not None]
    labels, values = [label for label, _ in scored], [value for _, value in scored]
    metrics = metrics_of(labels, [s.ranked_by for s in scores if s.ranked_by is not None])
    real, fake = labels.count(0.0), labels.count(1.0)
    unscored = [float(s.label == "fake") for s in scores if s.score is None]
    clips = [(float(s.label == "fake"), clip) for s in scores for clip in s.clips]
    both = real > 0 and fake > 0
    if any(s.raw is not None for s in scores):
        # Rankings are those before calibration; the threshold is one of probabilities.
        metrics = replace(
            metrics,
            accuracy=accuracy(labels, values),
            balanced_accuracy=balanced_accuracy(labels, values) if both else None,
        )
    return Separation(
        group=group,
        real=real,
        fake=fake,
        unscored=len(unscored),
        metrics=metrics,
        auc_with_unscored=auc(labels + unscored, values + [0.5] * len(unscored)) if both else None,
        auc_clip=auc([label for label, _ in clips], [clip for _, clip in clips]) if both else None,
    )


def iterate_groups(scores: Sequence[VideoScore]) -> Iterator[tuple[str, list[VideoScore]]]:
    """The scores by the store they came from, in order of appearance."""
    for name in dict.fromkeys(score.data for score in scores):
        yield name, [score for score in scores if score.data == name]
