"""A report in a notebook: the face, its time line and the verdict, in a few lines of HTML.

`Report` calls this when a notebook shows it; importing this file is what connects the two.
"""

from __future__ import annotations

from html import escape
from pathlib import PurePath

from fakestormer.detection.printable import face_name, number, shown
from fakestormer.drawing import timeline
from fakestormer.report.page import clip_threshold
from fakestormer.report.pictures import thumbnail
from fakestormer.report.views import scene_view
from fakestormer.types import FaceReport, Report
from fakestormer.types.report import notebook_drawings

_COLOUR = {
    "likely fake": "#c8321e",
    "no manipulation found": "#1f6fb2",
    "inconclusive": "#a87400",
}
_WIDTH, _HEIGHT = 360, 90


def notebook_html(report: Report) -> str:
    """The report as a piece of HTML with its pictures inside; small, and without scripts."""
    face, scene = report.decisive, scene_view(report)
    name = escape(shown(PurePath(report.path).name))
    score = "" if report.probability is None else f", probability {report.probability:.3f}"
    if report.interval is not None:
        score += " ({:.3f} to {:.3f} over its clips)".format(*report.interval)
    lines = [
        f"<b>{name}</b>",
        f'<b style="color:{_COLOUR[report.verdict]}">{report.verdict}</b>{score}',
        *(escape(shown(reason.text)) for reason in report.reasons),
    ]
    picture = ""
    if face is not None:
        others = f", one of {len(report.faces)} faces" if len(report.faces) > 1 else ""
        lines += [f"{face_name(face.number)}{others}; the score of each clip over time:"]
        lines += [_time_line(face, report)]
        source = thumbnail(face) if scene is None else scene.drawn
        if source is not None:
            alt = f"{face_name(face.number)} of {name}"
            picture = f'<img src="{source}" alt="{alt}" style="max-width:320px;max-height:240px">'
    text = "".join(f"<div>{line}</div>" for line in lines)
    return (
        '<div style="display:flex;flex-wrap:wrap;gap:1rem;align-items:center">'
        f"{picture}<div>{text}</div></div>"
    )


def _time_line(face: FaceReport, report: Report) -> str:
    times = [(float(row[0]), float(row[-1])) for row in face.prediction.pts_seconds]
    axis = timeline.axis(times, number(report.video, "duration_seconds"))
    threshold = timeline.height(clip_threshold(report))
    points = [
        timeline.point(axis, first, last, score)
        for (first, last), score in zip(
            times, face.prediction.clip_probabilities.tolist(), strict=True
        )
    ]
    colour = _COLOUR[face.verdict]
    dots = "".join(f'<circle cx="{p.middle}%" cy="{p.y}%" r="4" fill="{colour}"/>' for p in points)
    labels = "".join(
        f'<text x="{tick.x}%" y="100%" dy="14" text-anchor="middle" font-size="10" '
        f'fill="currentColor">{tick.label}</text>'
        for tick in axis.ticks()
    )
    return (
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-label="score over time" '
        'style="overflow:visible;margin:8px 16px 20px 8px">'
        '<rect width="100%" height="100%" fill="none" stroke="currentColor" stroke-opacity=".3"/>'
        f'<line x1="0" x2="100%" y1="{threshold}%" y2="{threshold}%" stroke="currentColor" '
        f'stroke-dasharray="5 4"/>{dots}{labels}</svg>'
    )


notebook_drawings[:] = [notebook_html]
