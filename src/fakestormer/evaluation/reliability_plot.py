"""How often videos of a probability were fake, before and after calibration, as one picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fakestormer.evaluation.calibration import BINS, Fitted, Quality, reliability
from fakestormer.evaluation.plots import FAKE, REAL, write_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def reliability_plot(path: Path, fitted: Fitted, *, title: str) -> bytes:
    """On the left as the network scored, on the right calibrated; on the diagonal is right.

    Above, per bin of 0.1, the share of fakes with its 95 % interval at the mean probability; below,
    how many real videos and fakes the bin holds. Returns the PNG's bytes.
    """
    calibrated = [fitted.calibration.probability(score) for score in fitted.scores]
    sides = {
        "before calibration": (fitted.scores, fitted.before),
        f"after ({fitted.calibration.method})": (np.array(calibrated), fitted.after),
    }

    def draw(figure: Figure) -> None:
        grid = figure.subplots(2, 2, sharex=True, sharey="row", height_ratios=[2.6, 1.0])
        for column, (name, (values_n, quality)) in enumerate(sides.items()):
            above, below = grid[0, column], grid[1, column]
            _draw_shares(above, fitted.labels, values_n)
            above.set(title=f"{name}: {_words(quality)}", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
            edges = np.linspace(0, 1, BINS + 1)
            for label, colour, text in ((0, REAL, "real"), (1, FAKE, "fake")):
                counts = np.histogram(values_n[fitted.labels == label], edges)[0]
                below.stairs(counts, edges, color=colour, fill=True, alpha=0.3)
                below.stairs(counts, edges, color=colour, linewidth=1.2, label=text)
            below.set(xlabel="score" if column == 0 else "probability")
        grid[0, 0].set(ylabel="share of fakes")
        grid[1, 0].set(ylabel="videos")
        grid[1, 0].legend(edgecolor="none", framealpha=0, fontsize=6.5, loc="upper right")

    return write_figure(path, draw, title)


def _draw_shares(axes: Axes, labels_n: np.ndarray, values_n: np.ndarray) -> None:
    axes.plot((0, 1), (0, 1), color="black", linewidth=0.6, dashes=(2, 3))
    bins = reliability(labels_n, values_n)
    x = [one.probability for one in bins]
    axes.vlines(
        x, [one.interval[0] for one in bins], [one.interval[1] for one in bins],
        color=REAL, linewidth=1.0,
    )  # fmt: skip
    axes.plot(x, [one.share for one in bins], color=REAL, marker="o", markersize=4)
    for one in bins:
        axes.annotate(
            str(one.count), (one.probability, one.share), (4, -8),
            textcoords="offset points", fontsize=5.5, color="#555555",
        )  # fmt: skip


def _words(quality: Quality) -> str:
    return f"ECE {quality.ece:.3f}, Brier {quality.brier:.3f}"
