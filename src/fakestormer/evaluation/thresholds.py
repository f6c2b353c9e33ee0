"""From the errors that may be made to the thresholds of the verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from fakestormer.errors import InputError
from fakestormer.evaluation.metrics import Numbers
from fakestormer.recipe.prediction import ErrorRates

#: At most this share of real videos may be called "likely fake".
REAL_LIMIT = 0.02
#: Below `clear_below` lies at most this share of fakes.
FAKE_LIMIT = 0.1


def thresholds(
    labels: Numbers,
    probabilities: Numbers,
    groups: Sequence[str],
    undecided: Sequence[bool],
    *,
    real_limit: float = REAL_LIMIT,
    fake_limit: float = FAKE_LIMIT,
) -> tuple[float, float, ErrorRates]:
    """Two thresholds from the errors that may be made, and what they give on these videos.

    fake_from is the lowest probability that at most `real_limit` of the real videos reach, half-way
    to the next one above. clear_below is the highest that at most `fake_limit` of the fakes stay
    under, and never above fake_from. Both limits hold twice: for videos, and for groups (videos of
    one person), each of which counts as one. undecided: videos that are inconclusive whatever their
    probability.
    # real 0.1 0.2 0.3 0.6, fakes 0.4 0.7 0.8 0.9, each its own group, limits 0.25 and 0.25
    # -> 0.35, 0.55 cut to 0.35
    """
    labels_n, values_n = np.asarray(labels), np.asarray(probabilities, np.float64)
    decided_n = ~np.asarray(undecided, bool)
    real, fake = (decided_n & (labels_n == label) for label in (0, 1))
    if not (real.any() and fake.any()):
        raise InputError(
            "all real videos or all fakes of this evaluation look unlike what the model was fitted "
            "to, so they say nothing about thresholds; evaluate on other videos"
        )
    videos = [str(number) for number in range(len(labels_n))]
    shares = [_shares_of_groups(labels_n, names) for names in (videos, groups)]
    fake_from = 1 - min(_highest_under(1 - values_n, real, one, real_limit) for one in shares)
    clear_below = min(_highest_under(values_n, fake, one, fake_limit) for one in shares)
    clear_below = min(clear_below, fake_from)
    rates = ErrorRates(
        real=int((labels_n == 0).sum()),
        people=len({group for group, label in zip(groups, labels_n, strict=True) if label == 0}),
        real_called_fake=int((values_n[real] >= fake_from).sum()),
        real_cleared=int((values_n[real] <= clear_below).sum()),
        fakes=int((labels_n == 1).sum()),
        fakes_called_fake=int((values_n[fake] >= fake_from).sum()),
        fakes_cleared=int((values_n[fake] <= clear_below).sum()),
    )
    return fake_from, clear_below, rates


def _shares_of_groups(labels_n: np.ndarray, groups: Sequence[str]) -> np.ndarray:
    """(N,), what each video counts; the sum is 1 over the videos of a label."""
    kinds = list(zip(labels_n.tolist(), groups, strict=True))
    videos, groups_of_label = Counter(kinds), Counter(label for label, _ in set(kinds))
    return np.array([1 / (videos[kind] * groups_of_label[kind[0]]) for kind in kinds])


def _highest_under(
    values_n: np.ndarray, chosen_n: np.ndarray, shares_n: np.ndarray, limit: float
) -> float:
    """The highest value that at most `limit` of the chosen lie under, half-way to the one below."""
    order = np.argsort(values_n[chosen_n], kind="stable")
    # Sums of shares are rounded; a limit that is met exactly is met.
    within = int((np.cumsum(shares_n[chosen_n][order]) <= limit + 1e-9).sum())
    first_above = values_n[chosen_n][order][min(within, len(order) - 1)]
    under = values_n[values_n < first_above]
    return float((first_above + (under.max() if len(under) else 0.0)) / 2)
