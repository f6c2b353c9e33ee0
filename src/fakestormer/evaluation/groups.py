"""From scores to numbers: how well the fakes of each group stand out from the real videos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fakestormer.evaluation.metrics import Metrics, accuracy, auc, balanced_accuracy, metrics_of
from fakestormer.evaluation.score import VideoScore

#: Above so many sources their rows are left out: names of files rather than of collections.
MOST_SOURCES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Separation:
    """How well one group of fakes stands out from one group of real videos.

    group: e.g. "all", "method anitalker", "source grid". unscored: videos left out;
    auc_with_unscored has them at 0.5. auc_clip: of single clips. AUCs are None where a class is
    missing.
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


def separations(scores: Sequence[VideoScore]) -> list[Separation]:
    """All videos; the fakes of each method against all real videos; each source by itself.

    Left out are sources of real videos only, and all where there are more than MOST_SOURCES.
    """
    groups = [separation("all", scores)]
    real = [score for score in scores if score.label == "real"]
    fake = [score for score in scores if score.label == "fake"]
    shown = []
    for method in sorted({s.method for s in fake} - {""}):
        shown.append([s for s in fake if s.method == method])
        groups.append(separation(f"method {method}", [*real, *shown[-1]]))
    sources = sorted({s.source for s in fake} - {""})
    if len(sources) == 1 and sources == sorted({s.source for s in scores}):
        return groups  # that would be all of them once more
    if len(sources) > MOST_SOURCES:
        return groups
    for source in sources:
        same_source = [s for s in real if s.source == source]
        against = "" if same_source else " against all real"
        fakes = [s for s in fake if s.source == source]
        if not same_source and (fakes in shown or len(fakes) < 2):
            continue  # a method, whose row is there, or a single video
        groups.append(separation(f"source {source}{against}", [*(same_source or real), *fakes]))
    return groups


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
