"""Calibration: against scikit-learn's fits, numbers by hand, and what it must leave as it is."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakestormer.errors import InputError
from fakestormer.evaluation.calibration import (
    _fold,
    fit,
    fit_evaluation,
    quality,
    reliability,
    wilson,
)
from fakestormer.evaluation.metrics import auc
from fakestormer.evaluation.reliability_plot import reliability_plot
from fakestormer.evaluation.score import VideoScore
from fakestormer.recipe.prediction import Calibration


def drawn(real: int = 60, fake: int = 90, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores of a network that is too sure and leans towards fake."""
    rng = np.random.default_rng(seed)
    logits = np.concatenate([rng.normal(-1, 4, real), rng.normal(6, 4, fake)])
    return np.repeat([0.0, 1.0], [real, fake]), 1 / (1 + np.exp(-logits))


def targets(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Platt's targets, and weights that sum to 1/2 for each class."""
    fake, real = labels.sum(), (1 - labels).sum()
    wanted = np.where(labels == 1, (fake + 1) / (fake + 2), 1 / (real + 2))
    return wanted, np.where(labels == 1, 0.5 / fake, 0.5 / real)


def test_the_fit_is_that_of_scikit_learn() -> None:
    from sklearn.linear_model import LogisticRegression

    labels, scores = drawn()
    wanted, weights = targets(labels)
    logits = np.log(scores / (1 - scores))
    # A soft target is a fake and a real video that share the weight.
    theirs = LogisticRegression(C=1e12, tol=1e-10, max_iter=1000)
    theirs.fit(
        np.tile(logits, 2)[:, None],
        np.repeat([1, 0], len(labels)),
        sample_weight=len(labels) * np.concatenate([weights * wanted, weights * (1 - wanted)]),
    )
    ours = fit(labels, scores)
    assert ours.slope == pytest.approx(theirs.coef_[0, 0], rel=1e-4)
    assert ours.offset == pytest.approx(theirs.intercept_[0], abs=1e-4)


def test_a_calibration_helps_and_inverts_no_pair() -> None:
    labels, scores = drawn(200, 300)
    calibration = fit(labels, scores)
    after = np.array([calibration.probability(score) for score in scores])
    assert quality(labels, after).brier < quality(labels, scores).brier
    assert quality(labels, after).log_loss < 0.7 * quality(labels, scores).log_loss
    assert quality(labels, after).ece < quality(labels, scores).ece
    assert (np.diff(after[np.argsort(scores)]) >= 0).all()
    assert auc(labels, after) == auc(labels, scores)


def test_perfect_separation_does_not_become_certainty() -> None:
    labels = np.repeat([0.0, 1.0], 20)
    scores = np.where(labels == 1, 1 - 1e-12, 1e-12)
    calibration = fit(labels, scores)
    # 20 fakes without an error say no more than 21 / 22.
    assert calibration.probability(1 - 1e-12) == pytest.approx(21 / 22, abs=1e-6)
    assert calibration.probability(1e-12) == pytest.approx(1 / 22, abs=1e-6)


def test_probabilities_by_hand() -> None:
    platt = Calibration(method="platt", slope=0.5, offset=-1.0)
    # logit(0.9) = 2.19722; sigmoid(0.09861) = 0.52463
    assert platt.probability(0.9) == pytest.approx(0.5246, abs=1e-4)
    assert 0 <= platt.probability(0.0) < platt.probability(1.0) <= 1
    steep = Calibration(method="platt", slope=1e4, offset=5.0)
    assert (steep.probability(0.0), steep.probability(1.0)) == (0.0, 1.0)
    # As models of version 0.1.0 may have it.
    isotonic = Calibration(method="isotonic", knots=((0.2, 0.1), (0.4, 0.1), (0.8, 0.9)))
    assert [isotonic.probability(s) for s in (0, 0.3, 0.6, 1)] == pytest.approx(
        [0.1, 0.1, 0.5, 0.9]
    )


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"method": "platt", "slope": 0}, "greater than 0"),
        ({"method": "platt", "slope": float("nan")}, "finite"),
        ({"method": "platt", "knots": ((0.1, 0.2),)}, "knots belong to isotonic"),
        ({"method": "isotonic"}, "knots belong to isotonic"),
    ],
)
def test_what_is_no_calibration(content: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Calibration.model_validate(content)


def test_quality_by_hand() -> None:
    labels, probabilities = [0, 0, 1, 1], [0.05, 0.65, 0.65, 0.85]
    found = quality(labels, probabilities)
    # bins: 0.05 (all real), 0.65 (half fake), 0.85 (all fake); weights 1/4, 1/2, 1/4
    assert found.ece == pytest.approx(0.25 * 0.05 + 0.5 * 0.15 + 0.25 * 0.15)
    assert found.brier == pytest.approx((0.05**2 + 0.65**2 + 0.35**2 + 0.15**2) / 4)
    assert found.log_loss == pytest.approx(-np.log([0.95, 0.35, 0.65, 0.85]).mean())
    # Three times as many real videos of the same scores change nothing.
    assert quality([0] * 6 + [1, 1], [0.05, 0.65] * 3 + [0.65, 0.85]).ece == pytest.approx(
        found.ece
    )
    bins = reliability(labels, probabilities)
    assert [(b.count, b.share) for b in bins] == [(1, 0.0), (2, 0.5), (1, 1.0)]
    assert reliability([1, 0], [1.0, 0.0])[-1].probability == 1.0


def test_interval_by_hand() -> None:
    assert wilson(0.0, 10) == pytest.approx((0.0, 0.27754), abs=1e-4)
    assert wilson(0.5, 10) == pytest.approx((0.23659, 0.76341), abs=1e-4)


def test_too_little_and_the_wrong_way_round() -> None:
    labels, scores = drawn()
    with pytest.raises(InputError, match=r"10 real and 10 fake videos or more.*60 and 9"):
        fit(labels[:69], scores[:69])
    with pytest.raises(InputError, match="nothing to calibrate"):
        fit(labels, 0.5 - 0.1 * labels)


def evaluation(raw: bool = False, count: int = 40) -> dict[str, Any]:
    """An evaluation.json as far as calibration reads it; `raw` has half of every score as score."""
    _, scores = drawn(count, count)
    videos = [
        VideoScore(
            data="mine", video=f"{kind}/{number}.0.mp4", sha256="", label=label, source="",
            method="" if label == "real" else "self-blended",
            score=score / 2 if raw else score, raw=score if raw else None,
        )
        for (label, kind), part in zip(
            (("real", "real"), ("fake", "fake/self-blended")), np.split(scores, 2), strict=True
        )
        for number, score in enumerate(part.tolist())
    ]  # fmt: skip
    lost = dataclasses.replace(videos[0], video="lost.mp4", score=None, raw=None, reason="no face")
    return {
        "settings": {
            "samplings": ["windows", "spread"], "shots": 1, "shot_score": "last", "split": "test",
            "face": "largest",
        },
        "model": {"weights_sha256": "ab" * 32},
        "data": {"mine": {"manifest_sha256": "cd" * 32}},
        "scores": {
            "mine": {
                name: [dataclasses.asdict(video) for video in [*videos, lost]]
                for name in ("windows", "spread")
            }
        },
    }  # fmt: skip


def test_an_evaluation_is_fitted_and_described(tmp_path: Path) -> None:
    fitted = fit_evaluation(evaluation(), sampling="spread")
    assert fitted.calibration.sampling == "spread"
    entry = fitted.as_json()
    assert entry["method"] == "platt"
    about = entry["fitted_on"]
    assert (about["real"], about["fake"], about["left_out"]) == (40, 40, 1)
    assert about["fakes"] == ["self-blended"]
    assert about["manifests_sha256"] == {"mine": "cd" * 32}
    assert entry["quality"]["after"]["log_loss"] < entry["quality"]["before"]["log_loss"]
    # What the fit has not seen is harder than what it has.
    assert entry["quality"]["cross_validated"]["log_loss"] > entry["quality"]["after"]["log_loss"]
    known = {name: entry[name] for name in Calibration.model_fields}
    assert Calibration.model_validate(known) == fitted.calibration
    content = reliability_plot(tmp_path / "plot.png", fitted, title="$x_1$")
    assert content == (tmp_path / "plot.png").read_bytes()
    assert content == reliability_plot(tmp_path / "again.png", fitted, title="$x_1$")


def test_scores_before_calibration_are_fitted() -> None:
    """So a calibrated model can be calibrated again."""
    assert (
        fit_evaluation(evaluation(raw=True)).calibration == fit_evaluation(evaluation()).calibration
    )


def test_few_videos_have_no_cross_validation() -> None:
    assert fit_evaluation(evaluation(count=10)).cross_validated is None


def test_a_sampling_that_was_not_evaluated() -> None:
    with pytest.raises(InputError, match="by sampling windows, spread, not consecutive"):
        fit_evaluation(evaluation(), sampling="consecutive")


def test_a_pair_is_held_out_together() -> None:
    scores = [
        VideoScore(data="", video=video, sha256="", label="", method="", source="", score=0.5)
        for number in range(40)
        for video in (f"real/a/{number}.0.mp4", f"fake/self-blended/a/{number}.0.mp4")
    ]
    folds = [_fold(score) for score in scores]
    assert folds[::2] == folds[1::2]
    assert set(folds) == {0, 1, 2, 3, 4}


def test_a_fit_chooses_thresholds_too() -> None:
    fitted = fit_evaluation(evaluation())
    chosen = fitted.calibration
    assert chosen.rates is not None
    assert chosen.rates.real == fitted.fitted_on["real"]
    assert chosen.rates.real_called_fake <= 0.02 * chosen.rates.real
    assert fitted.as_json()["fake_from"] == chosen.fake_from
