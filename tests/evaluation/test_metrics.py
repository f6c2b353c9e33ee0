"""AUC by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fakestormer.evaluation.metrics import auc


def test_auc_counts_pairs_and_halves_ties() -> None:
    assert auc([0, 1, 0, 1], [0.1, 0.4, 0.4, 0.9]) == pytest.approx(3.5 / 4)
    assert auc([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4]) == 1.0
    assert auc([1, 0], [0.5, 0.5]) == 0.5


def test_auc_is_the_mean_over_all_pairs() -> None:
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 2, 60), rng.integers(0, 8, 60) / 8
    real, fake = scores[labels == 0], scores[labels == 1]
    difference = fake[:, None] - real[None]
    assert auc(labels, scores) == pytest.approx(((difference > 0) + (difference == 0) / 2).mean())


def test_what_has_no_answer_is_refused() -> None:
    with pytest.raises(ValueError, match="no real one among the 2"):
        auc([1, 1], [0.1, 0.2])
    with pytest.raises(ValueError, match="no fake one among the 2"):
        auc([0, 0], [0.1, 0.2])
    with pytest.raises(ValueError, match="1 of the scores are not finite"):
        auc([0, 1], [0.1, float("nan")])
    with pytest.raises(ValueError, match="as many labels as scores"):
        auc([0, 1], [0.1])
    with pytest.raises(ValueError, match="found others"):
        auc([0, 2], [0.1, 0.2])
