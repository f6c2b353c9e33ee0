"""How well scores separate fakes from real videos."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fakestormer.errors import SetupError

Numbers = Sequence[float] | np.ndarray


def auc(labels: Numbers, scores: Numbers) -> float:
    """Area under the ROC curve: the chance that a fake scores higher than a real one.

    labels: (N,), 1 = fake, 0 = real. scores: (N,), higher = more likely fake. Equal scores count
    one half (midranks). Whether it is a clip's or a video's AUC is decided by what the N are; name
    it so. Raises ValueError when shapes differ, a score is not finite or a class is missing.

    # labels [0, 1, 0, 1], scores [0.1, 0.4, 0.4, 0.9] -> 3.5 / 4
    """
    labels_n, scores_n = _checked(labels, scores)
    try:
        from sklearn.metrics import roc_auc_score
    except ModuleNotFoundError as error:
        raise SetupError(_NEEDS_SKLEARN) from error
    return float(roc_auc_score(labels_n, scores_n))


def auc_interval(
    labels: Numbers, scores: Numbers, *, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """95 % interval of `auc` by the bootstrap: videos of each class drawn anew with repetition.

    Percentiles 2.5 and 97.5 of `resamples` AUCs. Classes keep their sizes, so that no resample
    lacks one. Says how much the number depends on which videos happen to be in the set, and nothing
    about another training run. Raises ValueError as `auc` does.
    """
    labels_n, scores_n = _checked(labels, scores)
    real, fake = scores_n[labels_n == 0], scores_n[labels_n == 1]
    # wins[i, j]: what fake i against real j adds to the AUC
    wins = (fake[:, None] > real).astype(np.float64) + 0.5 * (fake[:, None] == real)
    rng = np.random.default_rng(seed)
    drawn_fake = rng.multinomial(len(fake), np.full(len(fake), 1 / len(fake)), resamples)
    drawn_real = rng.multinomial(len(real), np.full(len(real), 1 / len(real)), resamples)
    aucs = np.einsum("rj, rj -> r", drawn_fake @ wins, drawn_real) / (len(fake) * len(real))
    low, high = np.percentile(aucs, (2.5, 97.5))
    return float(low), float(high)


_NEEDS_SKLEARN = "metrics need scikit-learn: install it with `pip install 'fakestormer[train]'`"


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
    for value, name in ((0, "real"), (1, "fake")):
        if not (labels_n == value).any():
            raise ValueError(f"no {name} one among the {labels_n.size}: the rate is undefined")
    return labels_n, scores_n
