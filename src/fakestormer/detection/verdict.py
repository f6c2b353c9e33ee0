"""A face's scores -> its interval over clips, its verdict, and the reasons for "inconclusive".

A score near the threshold gives no verdict. Neither does a score that the face's clips contradict,
nor one from too few pixels or frames. Strong compression removes traces, so it makes a low score
inconclusive, but not a high one. Of several faces the one with the highest `standing` decides.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from fakestormer.detection.prediction import verdict
from fakestormer.recipe.prediction import PredictionConfig
from fakestormer.types import FaceReport, Prediction, Reason, ReasonCode, Verdict

#: Below this face width (source pixels) blending traces are mostly gone.
SMALL_FACE_PX = 64
#: Seconds from a frame to the next that training saw: films of 24 to 30 frames a second, in which
#: a frame may be missing (1/12.5 s).
LONGEST_STEP = 0.081
#: The share of resampled means that an interval holds.
COVERAGE = 0.95

_RESAMPLES = 2000
_SEED = 0
_LEAST = 1e-7  # float32 scores are kept this far from 0 and 1 where their logit is taken


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The material of a face's score.

    width: median of the face box, source pixels. frames: followed. compressed: so strongly that
    traces may be gone.
    """

    width: float
    frames: int
    compressed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The verdict on a face. reasons: empty unless the verdict is "inconclusive"."""

    verdict: Verdict
    interval: tuple[float, float] | None
    reasons: tuple[Reason, ...]


def interval(prediction: Prediction, config: PredictionConfig) -> tuple[float, float] | None:
    """How far the face's probability moves when other clips of it had been drawn; in [0, 1].

    A percentile bootstrap: the clips are drawn anew with replacement (2,000 times, always the same
    draws), pooled as the score is, and calibrated as it is; the middle 95 %. It says how much the
    clips agree, not how often the model is right, and with few clips it is too narrow. None with
    fewer than two clips.
    """
    scores_c = prediction.clip_scores.astype(np.float64)
    count = len(scores_c)
    if count < 2:
        return None
    draws = np.random.default_rng(_SEED).integers(0, count, (_RESAMPLES, count))
    if config.pooling == "logit":
        inner_c = np.clip(scores_c, _LEAST, 1 - _LEAST)
        means = 1 / (1 + np.exp(-(np.log(inner_c) - np.log1p(-inner_c))[draws].mean(1)))
    else:
        means = scores_c[draws].mean(1)
    low, high = np.quantile(means, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2]).tolist()
    # Calibration rises, so that quantiles stay quantiles.
    return config.probability(low), config.probability(high)


def far_apart(prediction: Prediction) -> tuple[int, float]:
    """How many clips have neighbouring frames further apart than training saw, and how far.

    Where a clip leaves frames out on purpose, the time is that of one frame to the next.

    Returns:
        Clips, and the longest step in seconds; 0 where every clip is of one frame.
    """
    frames_ct = np.diff(prediction.indices, axis=1)
    seconds_ct = np.diff(prediction.pts_seconds, axis=1)
    # The last frame of a short clip is repeated.
    steps_ct = np.where(frames_ct > 0, seconds_ct / np.maximum(frames_ct, 1), 0.0)
    if not steps_ct.size:
        return 0, 0.0
    return int((steps_ct.max(1) > LONGEST_STEP).sum()), float(steps_ct.max())


def judge(prediction: Prediction, config: PredictionConfig, seen: Seen, clip: int) -> Judgement:
    """The verdict of one face. clip: frames of a clip, T."""
    between = interval(prediction, config)
    by_score = verdict(prediction.probability, config)
    reasons: list[Reason] = []

    def add(code: ReasonCode, text: str) -> None:
        reasons.append(Reason(code=code, text=text))

    clear, fake = config.clear_below, config.fake_from
    if by_score == "inconclusive":
        low, score, high = _in_order(clear, prediction.probability, fake)
        add(
            "near_threshold",
            f"The probability, {score}, lies between {low}, up to which nothing was found, and "
            f"{high}, from which a face is likely fake.",
        )
    if between is not None and between[0] <= clear and between[1] >= fake:
        add(
            "clips_disagree",
            f"Its clips disagree: over them the probability goes from {between[0]:.2f} to "
            f"{between[1]:.2f}.",
        )
    shots = prediction.shot_probabilities
    if len(shots) > 1 and float(shots.min()) <= clear and float(shots.max()) >= fake:
        add(
            "shots_disagree",
            f"Its shots disagree: in them the probability goes from {float(shots.min()):.2f} to "
            f"{float(shots.max()):.2f}.",
        )
    if seen.width < SMALL_FACE_PX:
        add(
            "face_too_small",
            f"The face is {seen.width:.0f} pixels wide, and traces of blending need about "
            f"{SMALL_FACE_PX}.",
        )
    if seen.frames < clip:
        add(
            "too_few_frames",
            f"The face was followed for {seen.frames} frames, fewer than the {clip} of one clip.",
        )
    if seen.compressed and by_score == "no manipulation found":
        add(
            "strong_compression",
            "The video is compressed so strongly that traces may have been wiped out.",
        )
    reasons += _unlike_training(prediction)
    return Judgement(
        verdict="inconclusive" if reasons else by_score, interval=between, reasons=tuple(reasons)
    )


def _in_order(*numbers: float) -> tuple[str, ...]:
    """Rising numbers with as few digits, three or more, as leave each below the next.

    # 0.35958, 0.8509, 0.85117 -> 0.3596, 0.8509, 0.8512
    """
    for digits in range(3, 17):
        rounded = [round(number, digits) for number in numbers]
        if all(a < b for a, b in itertools.pairwise(rounded)):
            break
    return tuple(f"{number:.{digits}f}" for number in numbers)


def _unlike_training(prediction: Prediction) -> list[Reason]:
    """Frames further apart than training saw, and faces unlike those that it saw."""
    reasons = []
    far, step = far_apart(prediction)
    if far > len(prediction.indices) / 2:
        reasons.append(
            Reason(
                code="frames_far_apart",
                text=f"Its frames are up to {step:.2g} s apart, and the method learnt change over "
                "at most 0.08 s (12.5 frames per second).",
            )
        )
    if prediction.distance is not None and prediction.distance > 1:
        reasons.append(
            Reason(
                code="unlike_training",
                text="The face looks unlike all that this model was trained on, so its score says "
                f"little: its distance is {prediction.distance:.2f} times what 99 % of people left "
                "out of training stay under.",
            )
        )
    return reasons


Standing = tuple[bool, bool, float]


def standing(face: FaceReport, *, lasting: bool) -> Standing:
    """The rank of a face among those of its video: the face of the highest rank decides.

    A face that is seen for long ranks before a short one, which is scored from few frames. Then a
    face that is likely fake ranks before others, because a higher score may be inconclusive. Then
    the higher score ranks first: one manipulated face makes a manipulated video. lasting: whether
    the face is seen for long.
    """
    return lasting, face.verdict == "likely fake", face.prediction.score
