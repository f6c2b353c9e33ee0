"""A report in a notebook: as a few lines of HTML, and as a figure of Matplotlib.

`Report` calls these when a notebook shows it and for `Report.plot`; importing this file is what
connects them.
"""

from __future__ import annotations

import itertools
from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np
from einops import rearrange

from fakestormer.detection.printable import face_name, number, shown
from fakestormer.drawing import timeline
from fakestormer.drawing.drawing import laid_over
from fakestormer.errors import needs
from fakestormer.report.page import thresholds_of
from fakestormer.report.pictures import map_layers, moment_crop, picture_url_of
from fakestormer.report.templates import template_environment
from fakestormer.report.views import tone
from fakestormer.types import FaceReport, Report
from fakestormer.types.report import notebook_drawings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOUR = {
    "likely fake": "#c8321e",
    "no manipulation found": "#1f6fb2",
    "inconclusive": "#a87400",
}
_TONE = {"alarm": "#c8321e", "unsure": "#a87400", "calm": "#1f6fb2"}


def notebook_html(report: Report) -> str:
    """The report as a piece of HTML with its pictures inside; small, and without scripts."""
    face, thresholds = report.decisive, thresholds_of(report)
    score = _score(report)
    if report.interval is not None:
        score += " ({:.2f} to {:.2f} over its clips)".format(*report.interval)
    times = [] if face is None else face.prediction.pts_seconds[:, [0, -1]].tolist()
    scores = [] if face is None else face.prediction.clip_probabilities.tolist()
    axis = timeline.axis([*itertools.chain(*times)], number(report.video, "duration_seconds"))
    template = template_environment("report").get_template("notebook.html.jinja")
    return template.render(
        report=report,
        face=face,
        name=_name(report),
        score=score,
        colour=_COLOUR[report.verdict],
        pictures=[(title, picture_url_of(rgb, quality=85)) for title, rgb in _moment(face)],
        threshold=thresholds[1],
        axis=axis,
        points=[
            (timeline.point(axis, first, last, score), _TONE[tone(score, thresholds)])
            for (first, last), score in zip(times, scores, strict=True)
        ],
    )


def plotted(report: Report) -> Figure:
    """The face of the most suspicious moment, plain and with the map, over the time line."""
    with needs("a plot", "matplotlib"):
        from matplotlib.figure import Figure
    figure = Figure(figsize=(8, 5), layout="constrained")
    face, thresholds = report.decisive, thresholds_of(report)
    title = f"{_name(report)}: {report.verdict}{_score(report)}"
    figure.suptitle(title, color=_COLOUR[report.verdict])
    if face is None:
        return figure
    pictures = _moment(face)
    grid = figure.add_gridspec(2, max(1, len(pictures)), height_ratios=(3, 2))
    for column, (title, picture) in enumerate(pictures):
        axes = figure.add_subplot(grid[0, column])
        axes.imshow(picture)
        axes.set_title(title, fontsize=9)
        axes.axis("off")
    axes = figure.add_subplot(grid[1, :])
    middles = face.prediction.pts_seconds.mean(axis=1).tolist()
    values = face.prediction.clip_probabilities.tolist()
    axes.scatter(middles, values, c=[_TONE[tone(value, thresholds)] for value in values])
    if (line := face.every_second) is not None:
        axes.plot(line.seconds, line.probabilities, color="grey", linewidth=1)
    label = f"likely fake from {thresholds[1]:.2f}"
    axes.axhline(thresholds[1], color=_TONE["alarm"], linestyle="--", label=label)
    axes.set(xlabel="seconds", ylabel="probability", ylim=(0, 1.02))
    axes.legend(loc="lower right", fontsize=8)
    return figure


def _moment(face: FaceReport | None) -> list[tuple[str, np.ndarray]]:
    """The face at its moment as (what it is, RGB), plain and, where explained, with the map."""
    crop_3hw = None if face is None else moment_crop(face)
    if face is None or crop_3hw is None:
        return []
    picture = rearrange(crop_3hw, "c h w -> h w c")
    plain, layers = (face_name(face.number), picture), map_layers(face)
    if layers is None or face.moment is None:
        return [plain]
    drawn = laid_over(picture, layers[face.moment.clip][face.moment.frame])
    return [plain, (face.moment.sentence, drawn)]


def _name(report: Report) -> str:
    return shown(PurePath(report.path).name)


def _score(report: Report) -> str:
    return "" if report.probability is None else f", probability {report.probability:.2f}"


notebook_drawings[:] = [notebook_html, plotted]
