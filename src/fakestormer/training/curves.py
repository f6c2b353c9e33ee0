"""Curves of a run as drawings of a page: points, ticks and labels in the units of an SVG.

A curve of more steps than fit is averaged over equal stretches of steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

#: The drawing's size, without the room for labels.
WIDTH, HEIGHT = 400, 150
_POINTS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A curve. name: in the legend. points: as an SVG polyline has them. last: its last value."""

    name: str
    points: str
    last: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One drawing: at most 3 lines over the run's steps. x_ticks, y_ticks: (position, label)."""

    title: str
    remark: str
    lines: tuple[Line, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]


def chart(
    title: str,
    series: Sequence[tuple[str, Sequence[tuple[float, float]]]],
    *,
    steps: int,
    remark: str = "",
    limits: tuple[float, float] | None = None,
) -> Chart | None:
    """Lines of (step, value) by name; None where no series has a point.

    steps: where the axis ends. limits: of the values; else what the curves reach, with 0 where that
    is near. Values that are not finite are left out.
    """
    thinned = [
        (name, _thinned([(x, y) for x, y in points if math.isfinite(y)])) for name, points in series
    ]
    thinned = [(name, points) for name, points in thinned if points]
    if not thinned:
        return None
    values = [y for _, points in thinned for _, y in points]
    low, high = limits or (min(values), max(values))
    if limits is None and 0 < low < high / 2:
        low = 0.0
    ticks = _ticks(low, high)
    low, high = min(low, ticks[0]), max(high, ticks[-1])
    right = max(steps, 1)

    def x_of(step: float) -> float:
        return WIDTH * step / right

    def y_of(value: float) -> float:
        return HEIGHT * (1 - (min(max(value, low), high) - low) / (high - low))

    x_ticks = [x for x in _ticks(0, right) if x <= right]
    return Chart(
        title=title,
        remark=remark,
        lines=tuple(
            Line(
                name=name,
                points=" ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in points),
                last=f"{points[-1][1]:.4g}",
            )
            for name, points in thinned
        ),
        x_ticks=tuple((x_of(x), f"{x:g}") for x in x_ticks),
        y_ticks=tuple((y_of(y), f"{y:.6g}") for y in ticks),
    )


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most `_POINTS`: the means of stretches of equally many points, the last one too."""
    stretch = -(-len(points) // _POINTS)
    return [
        (math.fsum(x for x, _ in part) / len(part), math.fsum(y for _, y in part) / len(part))
        for part in (points[i : i + stretch] for i in range(0, len(points), max(stretch, 1)))
    ]


def _ticks(low: float, high: float) -> list[float]:
    """3 to 6 round numbers that enclose low..high.

    # 0, 1 -> [0, 0.2, 0.4, 0.6, 0.8, 1];  3, 3 -> [2, 3, 4] or closer
    """
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        room = abs(low) / 2 or 1.0
        low, high = low - room, high + room
    rough = (high - low) / 4
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * size for factor in (1, 2, 5, 10) if factor * size >= rough)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]
