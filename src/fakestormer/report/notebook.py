"""A report in a notebook: as a few lines of HTML, and as a figure of Matplotlib.

`Report` calls these when a notebook shows it and for `Report.plot`; importing this file is what
connects them.
"""

from __future__ import annotations

from html import escape
from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np
from einops import rearrange

from fakestormer.detection.printable import face_name, number, shown
from fakestormer.drawing import timeline
from fakestormer.drawing.drawing import laid_over
from fakestormer.errors import needs
from fakestormer.report.page import clear_threshold, decision_threshold
from fakestormer.report.pictures import map_layers, moment_crop, picture_url_of
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
_WIDTH, _HEIGHT = 360, 90


def notebook_html(report: Report) -> str:
    """The report as a piece of HTML with its pictures inside; small, and without scripts."""
    face = report.decisive
    name = escape(shown(PurePath(report.path).name))
    score = "" if report.probability is None else f", probability {report.probability:.2f}"
    if report.interval is not None:
        score += " ({:.2f} to {:.2f} over its clips)".format(*report.interval)
    lines = [
        f"<b>{name}</b>",
        f'<b style="color:{_COLOUR[report.verdict]}">{report.verdict}</b>{score}',
        *(escape(shown(reason.text)) for reason in report.reasons),
    ]
    pictures = ""
    if face is not None:
        others = f", one of {len(report.faces)} faces" if len(report.faces) > 1 else ""
        strongest = "" if face.moment is None else f"Strongest: {face.moment.sentence}. "
        lines += [f"{strongest}{face_name(face.number)}{others}; the probability of each clip:"]
        lines += [_time_line(face, report)]
        pictures = "".join(
            f'<img src="{picture_url_of(picture, quality=85)}" alt="{alt}" style="height:180px">'
            for alt, picture in _moment(face)
        )
    text = "".join(f"<div>{line}</div>" for line in lines)
    return (
        '<div style="display:flex;flex-wrap:wrap;gap:1rem;align-items:center">'
        f"<div>{pictures}</div><div>{text}</div></div>"
    )


def plotted(report: Report) -> Figure:
    """The face of the most suspicious moment, plain and with the map, over the time line."""
    with needs("a plot", "matplotlib"):
        from matplotlib.figure import Figure
    figure = Figure(figsize=(8, 5), layout="constrained")
    name, face = shown(PurePath(report.path).name), report.decisive
    score = "" if report.probability is None else f", probability {report.probability:.2f}"
    figure.suptitle(f"{name}: {report.verdict}{score}", color=_COLOUR[report.verdict])
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
    thresholds = (clear_threshold(report), decision_threshold(report))
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


def _moment(face: FaceReport) -> list[tuple[str, np.ndarray]]:
    """The face at its moment as (what it is, RGB), plain and, where explained, with the map."""
    crop_3hw = moment_crop(face)
    if crop_3hw is None:
        return []
    picture = rearrange(crop_3hw, "c h w -> h w c")
    plain, layers = (face_name(face.number), picture), map_layers(face)
    if layers is None or face.moment is None:
        return [plain]
    drawn = laid_over(picture, layers[face.moment.clip][face.moment.frame])
    return [plain, (face.moment.sentence, drawn)]


def _time_line(face: FaceReport, report: Report) -> str:
    times = [(float(row[0]), float(row[-1])) for row in face.prediction.pts_seconds]
    axis = timeline.axis(times, number(report.video, "duration_seconds"))
    thresholds = (clear_threshold(report), decision_threshold(report))
    threshold = timeline.height(thresholds[1])
    scores = face.prediction.clip_probabilities.tolist()
    dots = "".join(
        f'<circle cx="{point.middle}%" cy="{point.y}%" r="4" '
        f'fill="{_TONE[tone(score, thresholds)]}"/>'
        for (first, last), score in zip(times, scores, strict=True)
        for point in (timeline.point(axis, first, last, score),)
    )
    labels = "".join(
        f'<text x="{tick.x}%" y="100%" dy="14" text-anchor="middle" font-size="10" '
        f'fill="currentColor">{tick.label}</text>'
        for tick in axis.ticks()
    )
    return (
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" role="img" '
        'aria-label="probability over time" '
        'style="overflow:visible;margin:8px 16px 20px 8px">'
        '<rect width="100%" height="100%" fill="none" stroke="currentColor" stroke-opacity=".3"/>'
        f'<line x1="0" x2="100%" y1="{threshold}%" y2="{threshold}%" stroke="currentColor" '
        f'stroke-dasharray="5 4"/>{dots}{labels}</svg>'
    )


notebook_drawings[:] = [notebook_html, plotted]
