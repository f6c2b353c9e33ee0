"""Every number by hand and against scikit-learn; the interval against a bootstrap written out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import sklearn.metrics as reference
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from fakestormer.evaluation.intervals import half_wins, resampled_aucs
from fakestormer.evaluation.metrics import (
    Metrics,
    accuracy,
    auc,
    auc_interval,
    average_precision,
    balanced_accuracy,
    equal_error_rate,
    is_measurable,
    metrics_of,
    roc_curve,
    tpr_at_fpr,
)

#: One tie across the classes: corners of the ROC curve (0, 0), (0, 1/2), (1/2, 1), (1, 1).
LABELS, SCORES = [0, 1, 0, 1], [0.1, 0.4, 0.4, 0.9]


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


@pytest.mark.parametrize(("real", "fake"), [(7, 3), (1, 40), (65, 30)])
def test_the_interval_is_that_of_the_table_of_all_pairs(real: int, fake: int) -> None:
    rng = np.random.default_rng(real)
    real_n, fake_m = np.round(rng.normal(0, 1, real), 1), np.round(rng.normal(1, 1, fake), 1)
    wins = (fake_m[:, None] > real_n) + 0.5 * (fake_m[:, None] == real_n)
    drawing = np.random.default_rng(3)
    drawn_fake = drawing.multinomial(fake, np.full(fake, 1 / fake), 200)
    drawn_real = drawing.multinomial(real, np.full(real, 1 / real), 200)
    expected = np.einsum("ri, ij, rj -> r", drawn_fake, wins, drawn_real) / (real * fake)
    found = resampled_aucs(real_n, fake_m, resamples=200, seed=3)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    of_fake, of_real = half_wins(real_n, fake_m)
    assert of_fake.tolist() == (2 * wins.sum(axis=1)).tolist()
    assert of_real.tolist() == (2 * wins.sum(axis=0)).tolist()


def test_the_roc_curve_by_hand() -> None:
    fpr, tpr, thresholds = roc_curve(LABELS, SCORES)
    assert fpr.tolist() == [0, 0, 0.5, 1]
    assert tpr.tolist() == [0, 0.5, 1, 1]
    assert thresholds.tolist() == [np.inf, 0.9, 0.4, 0.1]


def test_average_precision_by_hand() -> None:
    assert average_precision(LABELS, SCORES) == pytest.approx(1 / 2 + 1 / 2 * 2 / 3)
    assert average_precision([0, 0, 1], [0.1, 0.2, 0.3]) == 1
    # Fakes at ranks 2 and 4 of 4: precision 1/2 at each.
    assert average_precision([0, 1, 0, 1], [0.9, 0.8, 0.7, 0.6]) == pytest.approx(1 / 2)
    # Without information: the share of fakes.
    assert average_precision([0, 0, 0, 1], [0.5] * 4) == pytest.approx(1 / 4)


def test_the_equal_error_rate_by_hand() -> None:
    assert equal_error_rate([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4]) == 0
    assert equal_error_rate([0, 0, 1, 1], [0.3, 0.4, 0.1, 0.2]) == 1
    assert equal_error_rate([0, 1, 1], [0.5] * 3) == pytest.approx(1 / 2)
    # On a corner: at 0.3, one of three real ones is called fake and one of three fakes missed.
    assert equal_error_rate([0, 0, 1, 0, 1, 1], [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]) == pytest.approx(
        1 / 3
    )
    # On the slope of the tie from (0, 1/2) to (1/2, 1): the middle.
    assert equal_error_rate(LABELS, SCORES) == pytest.approx(1 / 4)
    # On a step: (0, 0), (1/4, 0), (1/4, 1): a quarter of the real, though 0 fakes are missed there.
    assert equal_error_rate([0, 0, 0, 0, 1], [0.1, 0.2, 0.3, 0.9, 0.5]) == pytest.approx(1 / 4)
    # No convex hull: it would go from (0, 0) straight to (1/2, 1) and give 1/3.
    assert equal_error_rate([0, 0, 1, 1], [0.1, 0.9, 0.8, 0.7]) == pytest.approx(1 / 2)


def test_the_found_fakes_at_few_false_alarms_by_hand() -> None:
    assert tpr_at_fpr(LABELS, SCORES, 0.49) == 0.5
    assert tpr_at_fpr(LABELS, SCORES, 0.5) == 1
    # The highest score is a real one's: nothing is found without a false alarm.
    assert tpr_at_fpr([0, 0, 1], [0.1, 0.9, 0.5], 0.01) == 0
    # 100 real ones, two above the fake at 0.5, one above that at 0.7, none above that at 0.9.
    labels = [0] * 100 + [1] * 4
    scores = [0.0] * 98 + [0.6, 0.8] + [0.5, 0.7, 0.9, 0.9]
    assert tpr_at_fpr(labels, scores, 0.01) == 3 / 4
    assert tpr_at_fpr(labels, scores, 0.001) == tpr_at_fpr(labels, scores, 0.0) == 2 / 4
    assert tpr_at_fpr(labels, scores, 0.02) == 1
    for fpr in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="between 0 and 1"):
            tpr_at_fpr(labels, scores, fpr)


@pytest.mark.parametrize("real", [10, 100, 300, 1000, 2999])
def test_a_whole_number_of_false_alarms_is_allowed_exactly(real: int) -> None:
    """k of N false alarms are no more than k / N, however it rounds."""
    labels, scores = [0] * real + [1], [*range(real), real - 3.5]
    assert tpr_at_fpr(labels, scores, 3 / real) == 1
    assert tpr_at_fpr(labels, scores, 2.999 / real) == 0


def test_how_many_real_videos_a_false_alarm_rate_needs() -> None:
    assert [is_measurable(0.01, real) for real in (0, 99, 100, 101)] == [False, False, True, True]
    assert [is_measurable(0.001, real) for real in (999, 1000)] == [False, True]
    assert not is_measurable(0.0, 10**6)


def test_accuracies_by_hand() -> None:
    # At the threshold itself: fake.
    assert accuracy([1, 0, 0], [0.5, 0.5, 0.4]) == pytest.approx(2 / 3)
    assert balanced_accuracy([1, 0, 0], [0.5, 0.5, 0.4]) == pytest.approx((1 + 1 / 2) / 2)
    assert accuracy([1, 0, 0], [0.5, 0.5, 0.4], threshold=0.6) == pytest.approx(2 / 3)
    assert balanced_accuracy([1, 0, 0], [0.5, 0.5, 0.4], threshold=0.6) == 0.5
    assert accuracy([1, 1], [0.5, 0.4]) == 0.5
    with pytest.raises(ValueError, match="no scores"):
        accuracy([], [])


@settings(deadline=None, max_examples=150)
@given(
    videos=st.lists(st.tuples(st.booleans(), st.integers(0, 12)), min_size=2, max_size=60).filter(
        lambda videos: len({fake for fake, _ in videos}) == 2
    ),
    threshold=st.integers(-1, 13),
    fpr=st.floats(0, 1),
)
def test_all_agree_with_scikit_learn(
    videos: list[tuple[bool, int]], threshold: int, fpr: float
) -> None:
    labels = np.array([fake for fake, _ in videos])
    scores = np.array([score for _, score in videos]) / 12
    false_alarms, found, thresholds = roc_curve(labels, scores)
    expected = reference.roc_curve(labels, scores, drop_intermediate=False)
    for own, other in zip((false_alarms, found, thresholds), expected, strict=True):
        np.testing.assert_allclose(own, other)
    assert auc(labels, scores) == pytest.approx(reference.auc(false_alarms, found))
    assert average_precision(labels, scores) == pytest.approx(
        reference.average_precision_score(labels, scores)
    )
    called = scores >= threshold / 12
    assert accuracy(labels, scores, threshold / 12) == pytest.approx(
        reference.accuracy_score(labels, called)
    )
    assert balanced_accuracy(labels, scores, threshold / 12) == pytest.approx(
        reference.balanced_accuracy_score(labels, called)
    )
    assert tpr_at_fpr(labels, scores, fpr) == max(expected[1][expected[0] <= fpr])
    # On the side of the curve where false alarms catch up with missed fakes.
    ahead = expected[0] - (1 - expected[1])
    after = int(np.argmax(ahead >= 0))
    share = -ahead[after - 1] / (ahead[after] - ahead[after - 1])
    rate = expected[0][after - 1] + share * (expected[0][after] - expected[0][after - 1])
    assert equal_error_rate(labels, scores) == pytest.approx(rate)


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 10**6))
def test_the_order_of_the_videos_and_the_scale_of_the_scores_do_not_matter(seed: int) -> None:
    labels, scores = _drawn(12, seed)
    order = np.random.default_rng(seed).permutation(len(labels))
    in_order = metrics_of(labels, scores, resamples=10)
    shuffled = metrics_of(labels[order], scores[order], resamples=10)
    # The interval's draws fall on other videos.
    assert dataclasses.replace(shuffled, interval=in_order.interval) == in_order
    # A steeper score ranks alike; 0.5 stays where it is.
    steeper = metrics_of(labels, 0.5 + (scores - 0.5) ** 3, resamples=10)
    assert steeper == in_order
    # Exchanging the classes and turning the scores round changes neither AUC nor the equal error.
    assert auc(1 - labels, -scores) == pytest.approx(in_order.auc)
    assert equal_error_rate(1 - labels, -scores) == pytest.approx(in_order.equal_error_rate)


def test_all_numbers_of_one_group() -> None:
    labels, scores = _drawn(40)
    metrics = metrics_of(labels, scores, resamples=300, seed=5)
    assert metrics == Metrics(
        auc=auc(labels, scores),
        interval=auc_interval(labels, scores, resamples=300, seed=5),
        average_precision=average_precision(labels, scores),
        equal_error_rate=equal_error_rate(labels, scores),
        accuracy=accuracy(labels, scores),
        balanced_accuracy=balanced_accuracy(labels, scores),
        tpr_at_1_fpr=tpr_at_fpr(labels, scores, 0.01),
        tpr_at_01_fpr=tpr_at_fpr(labels, scores, 0.001),
    )
    # All of them differ, so that none stands in another's place; 40 real: 1 % and 0.1 % are alike.
    numbers = dataclasses.asdict(metrics)
    assert numbers.pop("tpr_at_01_fpr") == metrics.tpr_at_1_fpr
    assert len(set(numbers.values())) == 7
    # With 200 real ones, one false alarm more is allowed at 1 % than at 0.1 %.
    many = metrics_of([0] * 200 + [1, 1], [0.1] * 199 + [0.8, 0.7, 0.9], resamples=10)
    assert (many.tpr_at_1_fpr, many.tpr_at_01_fpr) == (1.0, 0.5)


def test_a_group_without_real_or_fake_videos_has_an_accuracy_only() -> None:
    nothing: dict[str, None] = dict.fromkeys(field.name for field in dataclasses.fields(Metrics))
    for label, right in ((0, 3 / 4), (1, 1 / 4)):
        metrics = metrics_of([label] * 4, [0.1, 0.2, 0.3, 0.9])
        assert dataclasses.asdict(metrics) == {**nothing, "accuracy": right}
    assert dataclasses.asdict(metrics_of([], [])) == nothing


@pytest.mark.parametrize(
    "number",
    [
        average_precision,
        equal_error_rate,
        balanced_accuracy,
        roc_curve,
        lambda labels, scores: tpr_at_fpr(labels, scores, 0.01),
    ],
)
def test_a_number_that_needs_both_classes_refuses_one(
    number: Callable[[list[int], list[float]], object],
) -> None:
    with pytest.raises(ValueError, match="no real one among the 2: the rate is undefined"):
        number([1, 1], [0.1, 0.2])
    with pytest.raises(ValueError, match="no fake one among the 2"):
        number([0, 0], [0.1, 0.2])
    with pytest.raises(ValueError, match="no real one among the 0"):
        number([], [])


@pytest.mark.parametrize("number", [accuracy, metrics_of, average_precision])
def test_what_is_no_score_is_refused(
    number: Callable[[list[int], list[float]], object],
) -> None:
    with pytest.raises(ValueError, match="2 of the scores are not finite"):
        number([0, 1, 1], [0.1, float("nan"), float("-inf")])
    with pytest.raises(ValueError, match="as many labels as scores"):
        number([0, 1], [0.1])
    with pytest.raises(ValueError, match="found others"):
        number([0, 2], [0.1, 0.2])
