"""The AUC of treated against untouched real videos, by treatment, as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fakestormer.evaluation.plots import COLOURS, short, write_figure
from fakestormer.evaluation.treatments import Shortcut

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Neighbours differ: real videos' blue first.
_COLOURS = (COLOURS[1], COLOURS[0], *COLOURS[2:])


def shortcut_plot(path: Path, shortcuts: Sequence[Shortcut], *, title: str) -> bytes:
    """Bars from 0.5 to each AUC with its 95 % interval, a colour for each group of treatments."""
    groups = list(dict.fromkeys(one.group for one in shortcuts))

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for row, one in enumerate(shortcuts):
            colour = _COLOURS[groups.index(one.group) % len(_COLOURS)]
            axes.barh(row, one.auc - 0.5, left=0.5, height=0.7, color=colour, alpha=0.75)
            axes.plot(one.interval, (row, row), color="black", linewidth=0.9)
            axes.text(1.0, row, f"{one.auc:.3f}", fontsize=5.5, ha="right", va="center")
        axes.axvline(0.5, color="black", linewidth=0.8)
        axes.set(xlim=(0, 1), ylim=(len(shortcuts) - 0.4, -0.6))
        axes.set(xlabel="AUC of treated against untouched real videos (0.5: no shortcut)")
        axes.set_yticks(
            range(len(shortcuts)), [short(one.treatment, 32) for one in shortcuts], fontsize=6
        )
        axes.grid(axis="x", color="#e4e4e4", linewidth=0.5)
        axes.set_axisbelow(True)

    return write_figure(path, draw, title)
