"""Thresholds of the verdicts: by hand, by person, and within their limits."""

from __future__ import annotations

import numpy as np
import pytest

from fakestormer.errors import InputError
from fakestormer.evaluation.thresholds import thresholds

NONE = [False] * 8


def test_thresholds_by_hand() -> None:
    labels = [0, 0, 0, 0, 1, 1, 1, 1]
    values = [0.1, 0.2, 0.3, 0.6, 0.4, 0.7, 0.8, 0.9]
    groups = list("abcdefgh")
    fake_from, clear_below, rates = thresholds(
        labels, values, groups, NONE, real_limit=0.25, fake_limit=0.25
    )
    # One real video of four may lie above: between 0.3 and 0.4. One fake of four may lie below.
    assert fake_from == pytest.approx(0.35)
    assert clear_below == pytest.approx(0.35)
    assert (rates.real, rates.real_called_fake, rates.fakes_called_fake) == (4, 1, 4)
    fake_from, clear_below, rates = thresholds(
        labels, values, groups, NONE, real_limit=0.0, fake_limit=0.0
    )
    assert fake_from == pytest.approx(0.65)
    assert clear_below == pytest.approx(0.35)
    assert (rates.real_called_fake, rates.fakes_called_fake) == (0, 3)
    assert (rates.real_cleared, rates.fakes_cleared) == (3, 0)
    assert rates.sentence().startswith("Of 4 real videos of 4 people")


def test_videos_without_a_verdict_are_no_errors() -> None:
    """The highest real video and the lowest fake are inconclusive whatever they score."""
    labels, values = [0, 0, 0, 0, 1, 1, 1, 1], [0.1, 0.2, 0.3, 0.95, 0.05, 0.7, 0.8, 0.9]
    undecided = [False, False, False, True, True, False, False, False]
    fake_from, clear_below, rates = thresholds(
        labels, values, list("abcdefgh"), undecided, real_limit=0.0, fake_limit=0.0
    )
    assert (fake_from, clear_below) == pytest.approx((0.5, 0.5))
    assert (rates.real, rates.real_called_fake, rates.real_cleared) == (4, 0, 3)
    assert (rates.fakes, rates.fakes_called_fake, rates.fakes_cleared) == (4, 3, 0)


def test_thresholds_need_videos_with_a_verdict() -> None:
    with pytest.raises(InputError, match="look unlike what the model was fitted to"):
        thresholds([0, 0, 1, 1], [0.1, 0.2, 0.7, 0.8], list("abcd"), [False, False, True, True])


def test_each_person_counts_as_much() -> None:
    """The limits hold by person and by video: whichever leaves fewer errors decides."""
    labels = [0, 0, 0, 0, 0, 1, 1]
    values = [0.3, 0.6, 0.7, 0.8, 0.2, 0.9, 0.95]
    groups = ["a", "a", "a", "a", "b", "a", "b"]
    # Counting videos each of the five is 0.2; counting people a's four are 0.125 each.
    for limit, expected in [(0.374, 0.75), (0.4, 0.65), (0.19, 0.85), (0.2, 0.75), (0.6, 0.45)]:
        fake_from, _, rates = thresholds(
            labels, values, groups, NONE[:7], real_limit=limit, fake_limit=0
        )
        assert fake_from == pytest.approx(expected), limit
        assert rates.people == 2
    # The highest real video is b's: one of five videos, but one of two people.
    fake_from, _, _ = thresholds(
        labels, [0.3, 0.6, 0.7, 0.2, 0.8, 0.9, 0.95], groups, NONE[:7],
        real_limit=0.4, fake_limit=0,
    )  # fmt: skip
    assert fake_from == pytest.approx(0.85)


def test_thresholds_keep_their_limits() -> None:
    rng = np.random.default_rng(3)
    logits = np.concatenate([rng.normal(-1, 4, 203), rng.normal(6, 4, 157)])
    labels, scores = np.repeat([0.0, 1.0], [203, 157]), 1 / (1 + np.exp(-logits))
    fake_from, clear_below, rates = thresholds(
        labels, scores, [str(n) for n in range(360)], [False] * 360
    )
    assert clear_below <= fake_from
    assert rates.real_called_fake == (scores[labels == 0] >= fake_from).sum() == 4
    assert rates.fakes_cleared <= 15
    assert rates.fakes_called_fake == (scores[labels == 1] >= fake_from).sum() > 0
