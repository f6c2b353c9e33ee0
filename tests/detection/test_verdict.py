"""From scores to a verdict: what makes it inconclusive, and the interval over clips."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import logit

from fakestormer.detection.prediction import calibrated as calibrated_by
from fakestormer.detection.prediction import pool, verdict
from fakestormer.detection.verdict import Seen, far_apart, interval, judge
from fakestormer.recipe.prediction import Calibration, PredictionConfig
from fakestormer.types import FaceReport, Prediction, Reason

CONFIG = PredictionConfig()
GOOD = Seen(width=120.0, frames=100, compressed=False)


def prediction(
    *scores: float, shots: tuple[float, ...] = (), config: PredictionConfig = CONFIG
) -> Prediction:
    clips = np.array(scores, np.float32)
    score = pool(logit(clips.astype(np.float64)), config.pooling)
    calibration = config.calibration
    times = np.arange(len(scores) * 4).reshape(-1, 4)
    of_shots = np.array(shots or (score,), np.float32)
    return Prediction(
        probability=config.probability(score),
        raw=None if calibration is None else score,
        clip_probabilities=calibrated_by(clips, config),
        clip_raw=None if calibration is None else clips,
        shot_probabilities=calibrated_by(of_shots, config),
        shot_raw=None if calibration is None else of_shots,
        frame_probabilities=None,
        derivative=None,
        indices=times,
        pts_seconds=times.astype(np.float64) / 25,
    )


def codes(given: Prediction, seen: Seen = GOOD, config: PredictionConfig = CONFIG) -> list[str]:
    judged = judge(given, config, seen, 4)
    assert (judged.verdict == "inconclusive") == bool(judged.reasons)
    return [reason.code for reason in judged.reasons]


def test_every_reason_alone() -> None:
    assert codes(prediction(0.9, 0.95, 0.92)) == []
    assert codes(prediction(0.1, 0.05, 0.08)) == []
    assert codes(prediction(0.52, 0.521, 0.522)) == ["near_threshold"]
    assert codes(prediction(0.99, 0.9, 0.01, 0.9)) == ["clips_disagree"]
    assert codes(prediction(0.9, 0.95), Seen(width=63, frames=9, compressed=False)) == [
        "face_too_small"
    ]
    assert codes(prediction(0.1), Seen(width=99, frames=3, compressed=False)) == ["too_few_frames"]
    several = CONFIG.model_copy(update={"shots": 3})
    assert codes(prediction(0.9, 0.95, shots=(0.9, 0.6, 0.4)), GOOD, several) == ["shots_disagree"]
    assert codes(prediction(0.9, 0.95, shots=(0.9, 0.6, 0.5)), GOOD, several) == []


def test_a_face_unlike_all_in_training_carries_no_verdict() -> None:
    for scores in ((0.9, 0.95), (0.1, 0.05)):
        usual = replace(prediction(*scores), distance=1.0)
        unlike = replace(prediction(*scores), distance=1.01)
        assert codes(usual) == []
        assert codes(unlike) == ["unlike_training"]
    assert "1.01 times" in judge(unlike, CONFIG, GOOD, 4).reasons[0].text


def test_frames_further_apart_than_training_saw_carry_no_verdict() -> None:
    plain = prediction(0.9, 0.95, 0.92)
    for rate, apart in ((30, False), (15, False), (12.5, False), (12, True), (1, True)):
        given = replace(plain, pts_seconds=plain.indices.astype(np.float64) / rate)
        assert codes(given) == (["frames_far_apart"] if apart else []), rate
    # One gap in one clip of three is a gap, and no slow film.
    times = plain.pts_seconds.copy()
    times[1:] += 5.0
    times[0, 3] += 1.0
    assert codes(replace(plain, pts_seconds=times)) == []
    # Frames that are left out on purpose, and one that is repeated.
    spread = plain.indices * 10
    assert codes(replace(plain, indices=spread, pts_seconds=spread / 25)) == []
    spread[:, 3] = spread[:, 2]
    assert far_apart(replace(plain, indices=spread, pts_seconds=spread / 25)) == (
        0,
        pytest.approx(0.04),
    )


def test_compression_takes_the_weight_from_low_scores_only() -> None:
    squeezed = Seen(width=120.0, frames=100, compressed=True)
    assert codes(prediction(0.1, 0.05), squeezed) == ["strong_compression"]
    assert codes(prediction(0.9, 0.95), squeezed) == []


def test_the_interval_of_two_clips_by_hand() -> None:
    """Means of two draws from {0.2, 0.6}: 0.2 and 0.6 a quarter each, so they are the ends."""
    assert interval(prediction(0.2, 0.6), CONFIG) == pytest.approx((0.2, 0.6))
    assert interval(prediction(0.3), CONFIG) is None
    assert interval(prediction(0.3, 0.3, 0.3), CONFIG) == pytest.approx((0.3, 0.3))


def test_the_interval_is_the_bootstrap_over_all_draws() -> None:
    """Of five clips all 3125 draws can be listed."""
    scores = (0.1, 0.35, 0.4, 0.8, 0.95)
    means = [float(np.mean(draw)) for draw in itertools.product(scores, repeat=5)]
    expected = np.quantile(means, [0.025, 0.975])
    found = interval(prediction(*scores), CONFIG)
    assert found == pytest.approx(expected, abs=0.03)
    assert found == interval(prediction(*scores), CONFIG)


def test_the_interval_is_pooled_and_calibrated_as_the_score_is() -> None:
    logits = CONFIG.model_copy(update={"pooling": "logit"})
    low, high = interval(prediction(0.2, 0.6, config=logits), logits)
    assert (low, high) == pytest.approx((0.2, 0.6), abs=1e-6)
    calibration = Calibration(method="platt", slope=0.5, offset=-1.0)
    calibrated = CONFIG.model_copy(update={"calibration": calibration})
    given = prediction(0.2, 0.6, config=calibrated)
    low, high = interval(given, calibrated)
    assert low == pytest.approx(calibration.probability(0.2), abs=1e-6)
    assert high == pytest.approx(calibration.probability(0.6), abs=1e-6)
    # The band of 0.05 around 0.5 is that of scores from 0.832 to 0.917: shots go by those.
    assert calibration.probability(0.832) == pytest.approx(0.45, abs=1e-3)
    assert calibration.probability(0.917) == pytest.approx(0.55, abs=1e-3)
    shots = prediction(0.99, 0.995, shots=(0.99, 0.83), config=calibrated)
    assert codes(shots, GOOD, calibrated) == ["shots_disagree"]


def test_the_model_brings_its_own_thresholds() -> None:
    chosen = Calibration(method="platt", fake_from=0.8, clear_below=0.3)
    config = CONFIG.model_copy(update={"calibration": chosen})
    assert (config.fake_from, config.clear_below) == (0.8, 0.3)
    assert (CONFIG.fake_from, CONFIG.clear_below) == (0.55, 0.45)
    for score, words in (
        (0.8, "likely fake"),
        (0.79, "inconclusive"),
        (0.31, "inconclusive"),
        (0.3, "no manipulation found"),
    ):
        assert verdict(score, config) == words
    (reason,) = judge(prediction(0.5, 0.5, config=config), config, GOOD, 4).reasons
    assert reason.code == "near_threshold"
    assert "0.500, lies between 0.300, up to" in reason.text
    assert "0.800, from which" in reason.text
    (reason,) = judge(prediction(0.79996, config=config), config, GOOD, 4).reasons
    assert "0.79996, lies between 0.30000," in reason.text, "not rounded to the threshold"
    assert "0.80000, from which" in reason.text
    with pytest.raises(ValueError, match="belong together"):
        Calibration(method="platt", fake_from=0.8)
    with pytest.raises(ValueError, match="above fake_from"):
        Calibration(method="platt", fake_from=0.3, clear_below=0.8)


def test_certain_clips_have_an_interval_too() -> None:
    logits = CONFIG.model_copy(update={"pooling": "logit"})
    low, high = interval(prediction(0.0, 1.0), logits)
    assert 0.0 <= low < 1e-5
    assert 1 - 1e-5 < high <= 1.0


def test_a_verdict_with_reasons_is_inconclusive(fake_face: object) -> None:
    face: FaceReport = fake_face()  # type: ignore[operator]
    fields = {n: getattr(face, n) for n in ("number", "prediction", "crops", "boxes")}
    with pytest.raises(ValueError, match="needs none"):
        FaceReport(
            **fields, verdict="likely fake", reasons=(Reason(code="clips_disagree", text=""),)
        )
    with pytest.raises(ValueError, match="low <= high"):
        FaceReport(**fields, verdict="likely fake", interval=(0.5, 0.4))
