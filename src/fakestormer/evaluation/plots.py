"""The pictures of an evaluation: ROC curves, distributions of scores, and the paper's Figure 5.

PNGs of 900 x 675 pixels (6 x 4.5 inches for print). The same numbers give the same bytes with the
same version of matplotlib, whatever its user has configured. Colours are those of Okabe and Ito,
which colour-blind people can tell apart, and lines differ in dashes too. Names come from strangers:
they are printed as they are, never read as formulas.
"""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fakestormer.detection.printable import shown
from fakestormer.errors import needs
from fakestormer.evaluation.corruptions import TITLES
from fakestormer.evaluation.metrics import Numbers, auc, roc_curve
from fakestormer.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Pixels of every picture, width and height.
SIZE = (900, 675)

_DPI = 150
REAL, FAKE, _GREY = "#0072B2", "#D55E00", "#b5b5b5"
COLOURS = (FAKE, REAL, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7a3b8f", "#555555")
_DASHES = ("-", "--", "-.", ":")
_STYLE: dict[Any, Any] = {
    "font.size": 7,
    "axes.titlesize": 8,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.3,
    "text.parse_math": False,
}

# Up to so many curves each has its own colour and line in the legend; of more, the lowest and the
# highest have, and the others are grey.
_CURVES_IN_COLOUR, _LOWEST, _HIGHEST = 9, 6, 2
# The lowest false positive rate drawn, per cent; tables give the rates at 0.1 and at 1.
_LOWEST_FPR, _LOG_TICKS = 0.1, (0.1, 1, 10, 100)
# Fakes are drawn by method up to so many methods, single values up to so many in a group.
_METHODS_APART, _SINGLE_VALUES = 4, 200
_BINS = 20

#: Not among the six that the paper averages.
_NOT_AVERAGED = ("video",)


def roc_plot(path: Path, curves: Mapping[str, tuple[Numbers, Numbers]], *, title: str) -> bytes:
    """ROC curves: all of them on the left, low false positive rates enlarged on the right.

    curves: (labels, scores) by group; groups of one class are named without a curve. Of more than 9
    the first, the 6 lowest and the 2 highest by AUC are in colour. Returns the PNG's bytes.
    """
    drawn = {
        name: (np.asarray(labels, np.float64), np.asarray(scores, np.float64))
        for name, (labels, scores) in curves.items()
        if len(np.unique(np.asarray(labels))) > 1
    }
    areas = {name: auc(labels, scores) for name, (labels, scores) in drawn.items()}

    def draw(figure: Figure) -> None:
        left, right, below = figure.subplot_mosaic(
            [["linear", "log"], ["legend", "legend"]], height_ratios=[2.6, 1.0]
        ).values()
        below.axis("off")
        chance = np.linspace(_LOWEST_FPR, 100.0, 500)
        for axes, name in ((left, "all rates"), (right, "low rates, enlarged")):
            axes.plot(chance, chance, color="black", linewidth=0.6, dashes=(2, 3))
            axes.set(title=name, ylim=(-1, 101), box_aspect=1)
            axes.set(xlabel="false positive rate, per cent", ylabel="true positive rate, per cent")
        left.set(xlim=(-1, 101))
        right.set(xscale="log", xlim=(_LOWEST_FPR, 100))
        right.set_xticks(_LOG_TICKS, [f"{rate:g}" for rate in _LOG_TICKS])
        right.minorticks_off()  # which take a third of the time to draw
        right.axvline(1, color="black", linewidth=0.5)
        _mark_unresolved(right, drawn)
        styles = _in_colour(areas)
        others = [name for name in drawn if name not in styles]
        for name in others:
            _draw_curve(left, right, drawn[name], {"color": _GREY, "linewidth": 0.6, "zorder": 1})
        for name, style in styles.items():
            _draw_curve(left, right, drawn[name], style)
        _legend(below, styles, areas, others, [name for name in curves if name not in drawn])
        if not drawn:
            _write_in_the_middle(left, "No curve: real and fake\nvideos are both needed")

    return write_figure(path, draw, title)


def distribution_plot(
    path: Path,
    groups: Mapping[str, Sequence[float]],
    *,
    clear_below: float,
    fake_from: float,
    title: str,
) -> bytes:
    """How scores of real and of fake videos are distributed, with the thresholds of the verdicts.

    groups: scores in [0, 1], under "real" and each method of fakes (more than 4 are one group).
    Above, the share per bin of 0.05; below, every score of a group of up to 200 videos, and the
    median with the middle 50 and 90 per cent of a larger one.
    """
    arrays = {name: np.asarray(scores, np.float64) for name, scores in groups.items()}
    fakes = {name: scores for name, scores in arrays.items() if name != "real" and len(scores)}
    if len(fakes) > _METHODS_APART:
        fakes = {f"fake, {len(fakes)} methods": np.concatenate(list(fakes.values()))}
    real = arrays.get("real", np.zeros(0))
    rows = ({"real": real} if len(real) else {}) | fakes

    def draw(figure: Figure) -> None:
        above, below = figure.subplots(
            2, 1, sharex=True, height_ratios=[2.2, 0.3 + 0.27 * max(len(rows), 1)]
        )
        above.set(ylabel="share of the group's videos, per cent", xlim=(-0.01, 1.01))
        below.set(xlabel="score", ylim=(max(len(rows), 1) - 0.4, -0.6))
        below.set_yticks(range(len(rows)), [short(name, 20) for name in rows])
        left = iter(c for c in COLOURS if c != REAL)
        edges = np.linspace(0.0, 1.0, _BINS + 1)
        handles: list[Artist] = []
        for row, (name, scores) in enumerate(rows.items()):
            colour = REAL if name == "real" else next(left)
            share = 100.0 * np.histogram(scores, edges)[0] / len(scores)
            solid = name == "real" or len(fakes) == 1
            if solid:
                above.stairs(share, edges, color=colour, fill=True, alpha=0.25)
            dash = "-" if solid else _DASHES[row % len(_DASHES)]
            handles.append(above.stairs(share, edges, color=colour, linewidth=1.3, linestyle=dash))
            _draw_row(below, row, scores, colour)
        _draw_thresholds(above, below, clear_below, fake_from)
        if handles:
            texts = [
                f"{short(name, 40)}, {len(group)} video{'' if len(group) == 1 else 's'}"
                for name, group in rows.items()
            ]
            above.set(ylim=(0, above.get_ylim()[1] * (1 + 0.08 * len(texts))))
            _named(above, handles, texts)
        else:
            _write_in_the_middle(above, "No video was scored")

    return write_figure(path, draw, title)


def robustness_plot(
    path: Path,
    curves: Mapping[str, Sequence[float | None]],
    *,
    clean: float | None,
    title: str,
    notes: Mapping[str, str] | None = None,
) -> bytes:
    """AUC against the level of each corruption, after the paper's Figure 5.

    curves: AUC in 0..1 at levels 1 to 5 by corruption, None where there is none. clean: level 0.
    notes: a sentence for a corruption that does nothing to some or all videos; it takes the curve's
    place where all levels equal level 0. The last panel is the mean, video compression excepted.
    """
    notes = notes or {}
    idle = {name for name in notes if all(v in (None, clean) for v in curves.get(name, ()))}
    averaged = [
        values
        for name, values in curves.items()
        if name not in idle and name not in _NOT_AVERAGED and any(v is not None for v in values)
    ]
    mean = [_mean(level) for level in zip(*averaged, strict=True)] or [None] * 5
    panels = [(_capitalised(TITLES.get(name, name)), name, curves[name]) for name in curves]
    panels.append((f"Average of {len(averaged)}", "", mean))
    known = [v for _, name, values in panels if name not in idle for v in (clean, *values)]
    lowest = 100.0 * min((v for v in known if v is not None), default=0.5)
    floor = max(0.0, 10.0 * np.floor(min(lowest - 8.0, 90.0) / 10.0))

    def draw(figure: Figure) -> None:
        columns = min(len(panels), 4)
        grid = figure.subplots(
            -(-len(panels) // columns), columns, sharex=True, sharey=True, squeeze=False
        )
        for axes in grid.flat[len(panels) :]:
            axes.axis("off")
        for axes, (name, key, values) in zip(grid.flat, panels, strict=False):
            axes.set(xlim=(-0.3, 5.3), xticks=range(6), ylim=(floor, 101.5))
            axes.set_title(short(name, 22), fontweight="normal" if key else "bold")
            axes.grid(color="#e4e4e4", linewidth=0.5)
            axes.axhline(50, color="black", linewidth=0.6, dashes=(2, 3))
            axes.tick_params(labelbottom=True, labelleft=True)
            note = textwrap.wrap(shown(notes.get(key, "")), 19 if key in idle else 26)
            if key in idle:
                _write_in_the_middle(axes, "\n".join(note))
                continue
            if all(v is None for v in values):
                _write_in_the_middle(axes, "No AUC:\nreal and fake videos\nare both needed")
                continue
            axes.text(0.04, 0.02, "\n".join(note), fontsize=5, transform=axes.transAxes)
            _draw_levels(axes, (clean, *values), "black" if not key else REAL)
        figure.supxlabel("level of the corruption (0: none)", fontsize=7)
        figure.supylabel("AUC, per cent", fontsize=7)

    return write_figure(path, draw, title)


def _capitalised(title: str) -> str:
    return title[:1].upper() + title[1:]


def _draw_levels(axes: Axes, values: Sequence[float | None], colour: str) -> None:
    """AUCs at levels 0 to 5, the last one in numbers."""
    points = [np.nan if v is None else 100.0 * v for v in values]
    axes.plot(range(6), points, color=colour, marker="o", markersize=3)
    last = next((level for level in range(5, 0, -1) if not np.isnan(points[level])), 0)
    axes.annotate(
        f"{points[last]:.1f}", (last, points[last]), (3, -5), textcoords="offset points",
        ha="right", va="top", fontsize=6,
    )  # fmt: skip


def write_figure(path: Path, draw: Callable[[Figure], None], title: str) -> bytes:
    """Make a figure of SIZE in this module's style, write it as PNG and return its bytes."""
    with needs("a plot", "fakestormer[train]"):
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    target = io.BytesIO()
    with matplotlib.rc_context(), warnings.catch_warnings():
        # Names may hold characters that the font has not; it draws a box in their place.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        inches = (SIZE[0] / _DPI, SIZE[1] / _DPI)
        figure = Figure(figsize=inches, dpi=_DPI, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        figure.suptitle(short(title, 90), fontsize=9)
        draw(figure)
        # Not `savefig`, which draws everything once more before.
        canvas.print_png(target, metadata={"Software": None})  # type: ignore[no-untyped-call]
    write_atomically(path, target.getvalue())
    return target.getvalue()


def _in_colour(areas: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    """How the curves that have a colour of their own are drawn, in the order of the legend."""
    names = list(areas)
    if len(names) > _CURVES_IN_COLOUR:
        first, *rest = names
        rest.sort(key=areas.__getitem__)
        names = [first, *rest[:_LOWEST], *rest[-_HIGHEST:]]
    styles: dict[str, dict[str, Any]] = {}
    for number, name in enumerate(names):
        colour, dash = COLOURS[(number - 1) % len(COLOURS)], _DASHES[number % len(_DASHES)]
        styles[name] = {"color": colour, "linestyle": dash}
        if number == 0:
            styles[name] = {"color": "black", "linestyle": "-", "linewidth": 1.8}
    return styles


def _draw_curve(
    left: Axes, right: Axes, curve: tuple[np.ndarray, np.ndarray], style: Mapping[str, Any]
) -> None:
    false_positive, true_positive, _ = roc_curve(*curve)
    left.plot(100 * false_positive, 100 * true_positive, **style)
    # Steps here: what a threshold reaches at that false positive rate or a lower one.
    at_least = np.maximum(100 * false_positive, _LOWEST_FPR / 2)
    right.plot(at_least, 100 * true_positive, drawstyle="steps-post", **style)


def _mark_unresolved(axes: Axes, curves: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """Shade the rates below one real video, which no threshold can tell from 0."""
    real = max((int((labels == 0).sum()) for labels, _ in curves.values()), default=0)
    if not real or 100 / real <= _LOWEST_FPR:
        return
    axes.axvspan(_LOWEST_FPR, 100 / real, color="#ececec", zorder=0, linewidth=0)
    axes.text(
        _LOWEST_FPR * 1.15, 4, f"grey: less than one\nof {real} real videos", fontsize=6,
        va="bottom", color="#555555",
    )  # fmt: skip


def _legend(
    axes: Axes,
    styles: Mapping[str, Mapping[str, Any]],
    areas: Mapping[str, float],
    others: Sequence[str],
    single: Sequence[str],
) -> None:
    from matplotlib.lines import Line2D

    handles: list[Artist] = [Line2D([], [], **style) for style in styles.values()]
    texts = [f"{short(name, 34)}: {100 * areas[name]:.1f}" for name in styles]
    if others:
        low, high = (100 * f(areas[name] for name in others) for f in (min, max))
        handles.append(Line2D([], [], color=_GREY, linewidth=0.6))
        texts.append(f"{len(others)} between: {low:.1f} to {high:.1f}")
    if single:
        handles.append(Line2D([], [], linestyle="none"))
        names = short(single[0], 24) if len(single) == 1 else f"{len(single)} groups"
        texts.append(f"{names}: one class only")
    if handles:
        columns = 3 if len(texts) > 6 else 2
        _named(axes, handles, texts, columns=columns, title="AUC in per cent")


def _named(
    axes: Axes,
    handles: Sequence[Artist],
    texts: Sequence[str],
    *,
    columns: int = 1,
    title: str = "",
) -> None:
    """A legend whose texts are printed as they are, also where they start with "_"."""
    legend = axes.legend(
        handles, ["x"] * len(texts), loc="upper center", ncols=columns, title=title or None,
        edgecolor="none", framealpha=1, handlelength=3.2, fontsize=6.5, title_fontsize=6.5,
    )  # fmt: skip
    for text, wanted in zip(legend.get_texts(), texts, strict=True):
        text.set_text(wanted)


def _draw_thresholds(above: Axes, below: Axes, clear_below: float, fake_from: float) -> None:
    for threshold, text, side in (
        (clear_below, "nothing found", "right"),
        (fake_from, "likely fake", "left"),
    ):
        for axes in (above, below):
            axes.axvline(threshold, color="black", linewidth=0.8, dashes=(4, 3))
        above.text(
            threshold, 1.01, f"{text} {threshold:.3g}", fontsize=6, ha=side, va="bottom",
            transform=above.get_xaxis_transform(),
        )  # fmt: skip


def _draw_row(axes: Axes, row: int, scores: np.ndarray, colour: str) -> None:
    if len(scores) <= _SINGLE_VALUES:
        # Spread up and down by a fixed sequence, so that equal scores do not hide each other.
        golden = (np.arange(len(scores)) * 0.6180339887498949) % 1.0
        axes.scatter(scores, row + 0.6 * (golden - 0.5), s=7, color=colour, alpha=0.75, linewidth=0)
        return
    low, first, middle, third, high = np.percentile(scores, (5, 25, 50, 75, 95))
    axes.plot((low, high), (row, row), color=colour, linewidth=1.0)
    axes.plot((first, third), (row, row), color=colour, linewidth=5.0, alpha=0.6)
    axes.plot(middle, row, color="white", marker="o", markersize=3.5, markeredgecolor=colour)


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean, or None where one is missing: another set of panels is another number."""
    known = [v for v in values if v is not None]
    return sum(known) / len(known) if len(known) == len(values) and known else None


def _write_in_the_middle(axes: Axes, text: str) -> None:
    box = {"facecolor": "white", "edgecolor": "none"}
    axes.text(
        0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color="#444444",
        bbox=box,
    )  # fmt: skip


def short(text: str, most: int) -> str:
    """Text from a stranger, fit for print and no longer than that."""
    clean = shown(text)
    return clean if len(clean) <= most else clean[: most - 1] + "…"
