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
