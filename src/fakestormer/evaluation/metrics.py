"""How well scores separate fakes from real videos.

labels: (N,), 1 = fake, 0 = real. scores: (N,), higher = more likely fake. Whether a number is one
of clips or of videos is decided by what the N are; name it so. All raise ValueError when shapes
differ, a label is neither 0 nor 1 or a score is not finite, and where the number is undefined: most
need both classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from fakestormer.errors import needs
from fakestormer.evaluation.intervals import resampled_aucs

Numbers = Sequence[float] | np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """The numbers of one group of videos, in 0..1; None where undefined.

    interval: 95 %, bootstrap, of `auc`. accuracy, balanced_accuracy: at the threshold 0.5. tpr_*:
    fakes found at no more than 1 % and 0.1 % false alarms (see `is_measurable`).
    """

    auc: float | None
    interval: tuple[float, float] | None
    average_precision: float | None
    equal_error_rate: float | None
    accuracy: float | None
    balanced_accuracy: float | None
    tpr_at_1_fpr: float | None
    tpr_at_01_fpr: float | None


def metrics_of(
    labels: Numbers, scores: Numbers, *, resamples: int = 2000, seed: int = 0
) -> Metrics:
    """All of them.

    Raises ValueError for what is no labels and scores, never for a missing class.
    """
    labels_n, scores_n = _checked(labels, scores)
    both = len(np.unique(labels_n)) == 2
    return Metrics(
        auc=auc(labels, scores) if both else None,
        interval=auc_interval(labels, scores, resamples=resamples, seed=seed) if both else None,
        average_precision=average_precision(labels, scores) if both else None,
        equal_error_rate=equal_error_rate(labels, scores) if both else None,
        accuracy=accuracy(labels, scores) if scores_n.size else None,
        balanced_accuracy=balanced_accuracy(labels, scores) if both else None,
        tpr_at_1_fpr=tpr_at_fpr(labels, scores, 0.01) if both else None,
        tpr_at_01_fpr=tpr_at_fpr(labels, scores, 0.001) if both else None,
    )


def auc(labels: Numbers, scores: Numbers) -> float:
    """Area under the ROC curve: the chance that a fake scores higher than a real one, ties half.

    # labels [0, 1, 0, 1], scores [0.1, 0.4, 0.4, 0.9] -> 3.5 / 4
    """
    labels_n, scores_n = _both_classes(labels, scores)
    return float(_sklearn().roc_auc_score(labels_n, scores_n))


def auc_interval(
    labels: Numbers, scores: Numbers, *, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """95 % interval of `auc` by the bootstrap: videos of each class drawn anew with repetition.

    Says how much the number depends on which videos happen to be in the set, and nothing about
    another training run.
    """
    real, fake = by_class(labels, scores)
    aucs = resampled_aucs(real, fake, resamples=resamples, seed=seed)
    low, high = np.percentile(aucs, (2.5, 97.5))
    return float(low), float(high)


def roc_curve(labels: Numbers, scores: Numbers) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The ROC curve's corners: false alarms, found fakes and thresholds, each float64 (K + 1,).

    Scores >= a threshold count as fake; the first is infinite.
    # labels [0, 1, 0, 1], scores [0.1, 0.4, 0.4, 0.9]
    #     -> fpr [0, 0, 0.5, 1], tpr [0, 0.5, 1, 1], thresholds [inf, 0.9, 0.4, 0.1]
    """
    labels_n, scores_n = _both_classes(labels, scores)
    fpr, tpr, thresholds = _sklearn().roc_curve(labels_n, scores_n, drop_intermediate=False)
    return fpr, tpr, thresholds


def average_precision(labels: Numbers, scores: Numbers) -> float:
    """Area under the precision-recall curve as a sum of steps, one for each distinct score.

    Depends on the share of fakes: a score without any information gets that share.
    """
    return float(_sklearn().average_precision_score(*_both_classes(labels, scores)))


def equal_error_rate(labels: Numbers, scores: Numbers) -> float:
    """Where as many real videos are called fake as fakes are missed: that share of each.

    Read off the ROC curve with straight lines between its corners (not its convex hull).
    # labels [0, 1, 0, 1], scores [0.1, 0.4, 0.4, 0.9] -> 1/4, in the middle of (0, 0.5), (0.5, 1)
    """
    fpr, tpr, _ = roc_curve(labels, scores)
    # fpr + tpr grows from 0 to 2 with every corner, so that it crosses 1 just once.
    return float(np.interp(1.0, fpr + tpr, fpr))


def tpr_at_fpr(labels: Numbers, scores: Numbers, fpr: float) -> float:
    """Share of fakes found at the best threshold with at most `fpr` of the real ones called fake.

    Conservative: only thresholds that exist count, without a line between them.
    # labels [0, 1, 0, 1], scores [0.1, 0.4, 0.4, 0.9], fpr 0.49 -> 0.5
    """
    if not 0 <= fpr <= 1:
        raise ValueError(f"fpr is a share between 0 and 1, got {fpr}")
    false_alarms, hits, _ = roc_curve(labels, scores)
    return float(hits[false_alarms <= fpr].max())


def is_measurable(fpr: float, real: int) -> bool:
    """Whether `real` videos can show a false alarm rate as low as `fpr` (the lowest is 1 / real).

    # 1 % asks for 100 real videos, 0.1 % for 1,000
    """
    return real > 0 and 1 / real <= fpr


def accuracy(labels: Numbers, scores: Numbers, threshold: float = 0.5) -> float:
    """Share of right answers when scores >= threshold are called fake.

    One class is enough; raises ValueError without any video.
    """
    labels_n, scores_n = _checked(labels, scores)
    if not scores_n.size:
        raise ValueError("no scores: the accuracy is undefined")
    return float(np.mean((scores_n >= threshold) == (labels_n == 1)))


def balanced_accuracy(labels: Numbers, scores: Numbers, threshold: float = 0.5) -> float:
    """Mean of the accuracies on real and on fake: a constant answer gets 0.5."""
    real, fake = by_class(labels, scores)
    return float((np.mean(real < threshold) + np.mean(fake >= threshold)) / 2)


def by_class(labels: Numbers, scores: Numbers) -> tuple[np.ndarray, np.ndarray]:
    """The scores of the real and of the fake, each float64 and in their order."""
    labels_n, scores_n = _both_classes(labels, scores)
    return scores_n[labels_n == 0], scores_n[labels_n == 1]


def _sklearn() -> ModuleType:
    with needs("measuring", "fakestormer[train]"):
        from sklearn import metrics
    module: ModuleType = metrics
    return module


def _checked(labels: Numbers, scores: Numbers) -> tuple[np.ndarray, np.ndarray]:
    labels_n, scores_n = np.asarray(labels, np.float64), np.asarray(scores, np.float64)
    if labels_n.ndim != 1 or labels_n.shape != scores_n.shape:
        raise ValueError(
            f"expected as many labels as scores, got shapes {labels_n.shape} and {scores_n.shape}"
        )
    if not np.isfinite(scores_n).all():
        raise ValueError(f"{int((~np.isfinite(scores_n)).sum())} of the scores are not finite")
    if not np.isin(labels_n, (0, 1)).all():
        raise ValueError("labels are 0 (real) and 1 (fake), found others")
    return labels_n, scores_n


def _both_classes(labels: Numbers, scores: Numbers) -> tuple[np.ndarray, np.ndarray]:
    labels_n, scores_n = _checked(labels, scores)
    for value, name in ((0, "real"), (1, "fake")):
        if not (labels_n == value).any():
            raise ValueError(f"no {name} one among the {labels_n.size}: the rate is undefined")
    return labels_n, scores_n
