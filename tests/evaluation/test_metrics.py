"""AUC by hand, and its interval against a bootstrap written out."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from fakestormer.evaluation.metrics import auc, auc_interval


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


def _drawn(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """`count` real and twice as many fake scores that overlap, in steps of 1/16: with ties."""
    rng = np.random.default_rng(seed)
    real, fake = rng.normal(0.4, 0.2, count), rng.normal(0.6, 0.2, 2 * count)
    labels = np.repeat([0, 1], [count, 2 * count])
    return labels, np.round(np.concatenate([real, fake]) * 16) / 16


def test_the_interval_is_that_of_a_bootstrap_written_out() -> None:
    labels, scores = _drawn(20)
    assert len(np.unique(scores)) < 20, "ties are wanted"
    real, fake = scores[labels == 0], scores[labels == 1]
    rng = np.random.default_rng(7)
    aucs = [
        roc_auc_score(labels, np.concatenate([rng.choice(real, 20), rng.choice(fake, 40)]))
        for _ in range(600)
    ]
    low, high = auc_interval(labels, scores)
    assert (low, high) == pytest.approx(tuple(np.percentile(aucs, (2.5, 97.5))), abs=0.02)
    assert low < auc(labels, scores) < high
    # The classes may stand in any order.
    order = np.random.default_rng(1).permutation(60)
    assert auc_interval(labels[order], scores[order]) == pytest.approx((low, high), abs=0.02)


def test_the_interval_where_it_is_known() -> None:
    assert auc_interval([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4]) == (1.0, 1.0)
    assert auc_interval([0, 0, 1, 1], [0.3, 0.4, 0.1, 0.2]) == (0.0, 0.0)
    assert auc_interval([0, 0, 1, 1], [0.5] * 4) == (0.5, 0.5)
    assert auc_interval([0, 1], [0.1, 0.9]) == (1.0, 1.0)
    # Two fakes, one above and one below the real one: both, one or none of them drawn.
    assert auc_interval([0, 1, 1], [0.5, 0.4, 0.6]) == (0.0, 1.0)
    # Six of nine fakes above the one real: a binomial count of 9 draws at 2/3. Up to 2 of 9 come in
    # 0.8 % of the resamples, up to 3 in 4.2 %: percentile 2.5 is 3 of 9, percentile 5 is not.
    six = [0.4] * 3 + [0.6] * 6
    assert auc_interval([0, *[1] * 9], [0.5, *six])[0] == pytest.approx(3 / 9)


def test_the_interval_narrows_with_more_videos_and_is_seeded() -> None:
    few, many = auc_interval(*_drawn(15)), auc_interval(*_drawn(150))
    # Ten times the videos: about a third of the width.
    assert many[1] - many[0] < 0.5 * (few[1] - few[0])
    again = auc_interval(*_drawn(15))
    assert again == few
    assert auc_interval(*_drawn(15), seed=1) != few
    assert auc_interval(*_drawn(15), seed=1) == pytest.approx(few, abs=0.03)


def test_an_interval_without_an_auc_is_refused() -> None:
    for labels in ([0, 0], [1, 1]):
        with pytest.raises(ValueError, match="the rate is undefined"):
            auc_interval(labels, [0.1, 0.2])
    with pytest.raises(ValueError, match="not finite"):
        auc_interval([0, 1], [0.1, float("inf")])
