"""What it brings to leave out the videos that look least like those trained on, as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fakestormer.evaluation.metrics import auc
from fakestormer.evaluation.plots import write_figure
from fakestormer.evaluation.score import VideoScore
from fakestormer.recipe.prediction import PredictionConfig

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: At most this share is left out, in about so many steps.
_MOST, _STEPS = 0.6, 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The videos whose distance from the training frames is at most `distance`, and their numbers.

    left_out: share of the scored videos that lie further away.
    """

    distance: float
    left_out: float
    auc: float
    real_called_fake: float
    fakes_cleared: float


def abstention_curve(scores: Sequence[VideoScore], config: PredictionConfig) -> list[Kept]:
    """From all videos to fewer and fewer; [] where distances or a class are missing."""
    known = [
        (score.distance, score.ranked_by, score.score, score.label == "fake")
        for score in scores
        if score.distance is not None and score.ranked_by is not None and score.score is not None
    ]
    known.sort(key=lambda one: one[0])
    curve = []
    least = int((1 - _MOST) * len(known))
    for count in range(len(known), least, -max(1, (len(known) - least) // _STEPS)):
        distances, ranked, values, labels = zip(*known[:count], strict=True)
        fake_n, value_n = np.array(labels), np.array(values)
        if fake_n.all() or not fake_n.any():
            break
        curve.append(
            Kept(
                distance=distances[-1],
                left_out=1 - count / len(known),
                auc=auc(fake_n.astype(float), ranked),
                real_called_fake=float((value_n[~fake_n] >= config.fake_from).mean()),
                fakes_cleared=float((value_n[fake_n] <= config.clear_below).mean()),
            )
        )
    return curve


def abstention_plot(path: Path, curve: Sequence[Kept], *, title: str) -> bytes:
    """AUC above and errors below, against the share left out; a line where distances pass 1.

    Beyond that line `detect` says "inconclusive" of a face.
    """
    x = [100 * kept.left_out for kept in curve]
    usual = [100 * kept.left_out for kept in curve if kept.distance <= 1]

    def draw(figure: Figure) -> None:
        above, below = figure.subplots(2, 1, sharex=True)
        above.plot(x, [kept.auc for kept in curve], color="#0072B2")
        above.set(ylabel="AUC of the videos kept")
        for name, text, colour in (
            ("real_called_fake", "real videos called likely fake", "#D55E00"),
            ("fakes_cleared", "fakes in which nothing was found", "#009E73"),
        ):
            below.plot(x, [100 * getattr(kept, name) for kept in curve], color=colour, label=text)
        below.set(ylabel="% of the videos kept", ylim=(0, None))
        below.set(xlabel="% of the videos left out, the most unlike training first")
        below.legend(edgecolor="none", fontsize=6.5)
        for axes in (above, below):
            axes.grid(color="#e4e4e4", linewidth=0.5)
            if usual:
                axes.axvline(usual[0], color="black", linewidth=0.7, dashes=(3, 2))

    return write_figure(path, draw, title)
