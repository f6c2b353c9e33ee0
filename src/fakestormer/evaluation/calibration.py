"""From the scores of real videos and pseudo-fakes to calibrated probabilities.

    scores of an evaluation -> fit -> Calibration (prediction.py applies it) and how good it is

Fitted on videos, real ones and fakes counting as much in all however many there are of each: a
calibrated probability is one where half of the videos are fake. The sets are small, some hundred
videos, so that targets are drawn in from 0 and 1 as Platt (1999) does: with N fakes a fake counts
as one with probability (N + 1) / (N + 2). Without this, scores that separate the two perfectly
would be made 0 and 1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fakestormer.errors import InputError
from fakestormer.evaluation.document import scores_of
from fakestormer.evaluation.metrics import Numbers
from fakestormer.evaluation.score import VideoScore
from fakestormer.evaluation.thresholds import thresholds
from fakestormer.recipe.prediction import Calibration

#: Bins of equal width for ECE and reliability.
BINS = 10
#: Fewer videos of a class say too little.
FEWEST = 10

_FOLDS = 5
_LEAST = 1e-15
_STEPS, _ENOUGH = 100, 1e-10
_Z = 1.959964  # 95 % of a normal distribution


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """How far probabilities are from what happened; real and fake videos weigh the same in all.

    ece: expected calibration error, the mean distance of probability and share of fakes over BINS
    bins of equal width. brier: mean squared error. log_loss: natural.
    """

    ece: float
    brier: float
    log_loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """The videos in one of the bins, as if each class had half the weight.

    probability: their mean. share: of fakes among them, with its 95 % interval (Wilson).
    """

    count: int
    probability: float
    share: float
    interval: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A calibration and what to know of it.

    before, after: quality on the videos it was fitted on; cross_validated: on fifths that the fit
    had not seen (a clip and its pseudo-fake in the same one), None where there are too few. labels,
    scores: (N,).
    """

    calibration: Calibration
    fitted_on: Mapping[str, Any]
    before: Quality
    after: Quality
    cross_validated: Quality | None
    labels: np.ndarray
    scores: np.ndarray

    def as_json(self) -> dict[str, Any]:
        """What is kept in the model's JSON under "calibration"."""
        checked = self.cross_validated
        return self.calibration.model_dump(mode="json") | {
            "fitted_on": dict(self.fitted_on),
            "quality": {
                "before": asdict(self.before),
                "after": asdict(self.after),
                "cross_validated": None if checked is None else asdict(checked),
            },
        }


def fit_evaluation(document: Mapping[str, Any], *, sampling: str | None = None) -> Fitted:
    """Fit on all videos of an evaluation.json, as they were scored before any calibration.

    The thresholds of the verdicts are chosen by the same videos. sampling: None takes the first
    one. Raises InputError for another sampling, and as `fit` does.
    """
    settings = document["settings"]
    chosen = sampling or settings["samplings"][0]
    if chosen not in settings["samplings"]:
        raise InputError(
            f"the evaluation has scores by sampling {', '.join(settings['samplings'])}, not "
            f"{chosen}; evaluate again with --sampling {chosen}"
        )
    every = scores_of(document, chosen)
    scored = [score for score in every if score.ranked_by is not None]
    labels_n = np.array([float(score.label == "fake") for score in scored])
    scores_n = np.array([score.ranked_by for score in scored], np.float64)
    calibration = fit(labels_n, scores_n).model_copy(
        update={
            "sampling": chosen,
            "shots": settings["shots"],
            "shot_score": settings["shot_score"],
        }
    )
    after_n = np.array([calibration.probability(score) for score in scores_n])
    calibration = _with_thresholds(calibration, labels_n, after_n, scored)
    return Fitted(
        calibration=calibration,
        fitted_on={
            "real": int((labels_n == 0).sum()),
            "fake": int((labels_n == 1).sum()),
            "left_out": len(every) - len(scored),
            "fakes": sorted({score.method for score in scored if score.label == "fake"}),
            "share_of_fakes": 0.5,
            "manifests_sha256": {
                name: data["manifest_sha256"] for name, data in document["data"].items()
            },
            "split": settings["split"],
            "face": settings["face"],
            "weights_sha256": document["model"]["weights_sha256"],
        },
        before=quality(labels_n, scores_n),
        after=quality(labels_n, after_n),
        cross_validated=_cross_validated(labels_n, scores_n, [_fold(score) for score in scored]),
        labels=labels_n,
        scores=scores_n,
    )


def _with_thresholds(
    calibration: Calibration,
    labels_n: np.ndarray,
    probabilities_n: np.ndarray,
    scored: Sequence[VideoScore],
) -> Calibration:
    fake_from, clear_below, rates = thresholds(
        labels_n,
        probabilities_n,
        [score.group or score.video for score in scored],
        [score.distance is not None and score.distance > 1 for score in scored],
    )
    return calibration.model_copy(
        update={"fake_from": fake_from, "clear_below": clear_below, "rates": rates}
    )


def fit(labels: Numbers, scores: Numbers) -> Calibration:
    """The calibration with the least log loss.

    labels: (N,), 1 = fake, 0 = real. scores: (N,), in [0, 1]. Raises InputError for fewer than
    FEWEST videos of a class, and when fakes do not score higher than real videos.
    """
    labels_n, scores_n = np.asarray(labels, np.float64), np.asarray(scores, np.float64)
    real, fake = int((labels_n == 0).sum()), int((labels_n == 1).sum())
    if min(real, fake) < FEWEST:
        raise InputError(
            f"calibration needs {FEWEST} real and {FEWEST} fake videos or more, and there are "
            f"{real} and {fake}; evaluate on a larger set"
        )
    targets_n = np.where(labels_n == 1, (fake + 1) / (fake + 2), 1 / (real + 2))
    slope, offset = _logistic(_logits(scores_n), targets_n, _weights(labels_n))
    if slope <= 0:
        raise InputError(
            "the fakes of this evaluation do not score higher than its real videos: there is "
            "nothing to calibrate; look at the model first"
        )
    return Calibration(method="platt", slope=slope, offset=offset)


def quality(labels: Numbers, probabilities: Numbers) -> Quality:
    """labels, probabilities: (N,), of both classes."""
    labels_n = np.asarray(labels, np.float64)
    inner_n = np.clip(np.asarray(probabilities, np.float64), _LEAST, 1 - _LEAST)
    weights_n = _weights(labels_n)
    of_truth_n = np.where(labels_n == 1, inner_n, 1 - inner_n)
    return Quality(
        ece=sum(
            weight * abs(filled.probability - filled.share)
            for weight, filled in _binned(labels_n, inner_n)
        ),
        brier=float(np.sum(weights_n * (inner_n - labels_n) ** 2)),
        log_loss=float(-np.sum(weights_n * np.log(of_truth_n))),
    )


def reliability(labels: Numbers, probabilities: Numbers) -> list[Bin]:
    """The bins that hold any video, by rising probability; labels, probabilities: (N,)."""
    labels_n, values_n = np.asarray(labels, np.float64), np.asarray(probabilities, np.float64)
    return [filled for _, filled in _binned(labels_n, values_n)]


def _binned(labels_n: np.ndarray, values_n: np.ndarray) -> list[tuple[float, Bin]]:
    """(share of all weight, bin) of every bin with a video in it."""
    weights_n = _weights(labels_n)
    which_n = np.minimum((values_n * BINS).astype(int), BINS - 1)
    bins = []
    for number in np.unique(which_n):
        inside_n = which_n == number
        weight = float(weights_n[inside_n].sum())
        share = float((weights_n * labels_n)[inside_n].sum() / weight)
        count = int(inside_n.sum())
        filled = Bin(
            count=count,
            probability=float((weights_n * values_n)[inside_n].sum() / weight),
            share=share,
            interval=wilson(share, count),
        )
        bins.append((weight, filled))
    return bins


def wilson(share: float, count: int) -> tuple[float, float]:
    """95 % interval of a share seen among `count`.

    # 0 of 10 -> (0, 0.278)
    """
    centre = (share + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
    half = _Z * np.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2)) / (1 + _Z**2 / count)
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def _weights(labels_n: np.ndarray) -> np.ndarray:
    """(N,), sum 1, half of it on each class."""
    of_class = [max(int((labels_n == label).sum()), 1) for label in (0, 1)]
    return np.where(labels_n == 1, 0.5 / of_class[1], 0.5 / of_class[0])


def _logits(scores_n: np.ndarray) -> np.ndarray:
    inner_n = np.clip(scores_n, _LEAST, 1 - _LEAST)
    logits_n: np.ndarray = np.log(inner_n) - np.log1p(-inner_n)
    return logits_n


def _logistic(
    logits_n: np.ndarray, targets_n: np.ndarray, weights_n: np.ndarray
) -> tuple[float, float]:
    """(slope, offset) of least log loss, by Newton's method with halved steps; it is convex."""
    inputs_n2 = np.stack([logits_n, np.ones_like(logits_n)], axis=1)
    theta_2 = np.zeros(2)

    def loss(theta_2: np.ndarray) -> float:
        z_n = inputs_n2 @ theta_2
        return float(np.sum(weights_n * (np.logaddexp(0, z_n) - targets_n * z_n)))

    for _ in range(_STEPS):
        p_n = 0.5 * (1 + np.tanh(inputs_n2 @ theta_2 / 2))
        gradient_2 = inputs_n2.T @ (weights_n * (p_n - targets_n))
        if np.abs(gradient_2).max() < _ENOUGH:
            break
        hessian_22 = (inputs_n2 * (weights_n * p_n * (1 - p_n))[:, None]).T @ inputs_n2
        step_2 = np.linalg.solve(hessian_22 + 1e-12 * np.eye(2), gradient_2)
        share = 1.0
        while loss(theta_2 - share * step_2) > loss(theta_2) and share > 1e-6:
            share /= 2
        theta_2 = theta_2 - share * step_2
    return float(theta_2[0]), float(theta_2[1])


def _cross_validated(
    labels_n: np.ndarray, scores_n: np.ndarray, folds: Sequence[int]
) -> Quality | None:
    folds_n = np.asarray(folds)
    values_n = np.empty_like(scores_n)
    for fold in range(_FOLDS):
        held_n = folds_n == fold
        try:
            calibration = fit(labels_n[~held_n], scores_n[~held_n])
        except InputError:  # too few videos, or none to tell apart: there is no such number
            return None
        values_n[held_n] = [calibration.probability(score) for score in scores_n[held_n]]
    return quality(labels_n, values_n)


def _fold(score: VideoScore) -> int:
    """By the file's name without its folders, which a real clip and its pseudo-fake share."""
    name = score.video.rsplit("/", 1)[-1]
    return hashlib.sha256(name.encode(errors="surrogateescape")).digest()[0] % _FOLDS
