"""Where things lie on the time line of a report: plain numbers, drawn by the template.

Positions are per cent of the plot's width and height (y down), so that the drawing stretches to
any screen while its lettering keeps its size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

MOST_TICKS = 6
CROWDED = 0.3
"""Clips that fill less of the video than this are shown on an axis of their own length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A labelled place on the time axis."""

    x: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One clip: x of its first and last frame and of their middle, y of its score."""

    start: float
    middle: float
    end: float
    y: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """The seconds that the time line shows. `cut` says that the video is longer than that."""

    start: float
    end: float
    cut: bool

    def x(self, seconds: float) -> float:
        """Per cent of the width."""
        return round(100.0 * (seconds - self.start) / (self.end - self.start), 2)

    def ticks(self) -> tuple[Tick, ...]:
        """Round times inside the axis, at most about six."""
        # 0 .. 12 s -> 0, 2, 4, ..., 12; 0 .. 1.3 s -> 0, 0.5, 1
        step = _round_step((self.end - self.start) / MOST_TICKS)
        first, last = math.ceil(self.start / step - 1e-9), math.floor(self.end / step + 1e-9)
        return tuple(
            Tick(x=self.x(i * step), label=_tick_label(i * step, step))
            for i in range(first, last + 1)
        )


def axis(times: Sequence[float], duration: float | None) -> Axis:
    """The axis for clips that show these seconds: the whole video where its length is readable.

    Clips crowded into a small part of the video (`CROWDED`) get that part only, with some air.
    """
    first, last = min(times, default=0.0), max(times, default=0.0)
    whole = max(last, duration or 0.0)
    if whole <= 0.0:
        return Axis(start=0.0, end=1.0, cut=False)
    if not times or last - first >= CROWDED * whole:
        return Axis(start=min(0.0, first), end=whole, cut=False)
    air = max(0.08 * (last - first), 0.1)
    start, end = max(0.0, first - air), min(whole, last + air)
    return Axis(start=start, end=end, cut=start > 0.0 or end < whole)


def point(on: Axis, first: float, last: float, probability: float) -> Point:
    """A clip from `first` to `last` seconds with its score."""
    return Point(
        start=on.x(first),
        middle=on.x((first + last) / 2.0),
        end=on.x(last),
        y=height(probability),
    )


def height(probability: float) -> float:
    """Per cent from the top: 1 is at the top."""
    return round(100.0 * (1.0 - probability), 2)


def time_code(seconds: float) -> str:
    """6.4 -> "0:06.40", 3723 -> "1:02:03.00": what a player shows."""
    sign = "-" if seconds < 0 else ""
    minutes, hundredths = divmod(round(abs(seconds) * 100.0), 6000)
    hours, minutes = divmod(minutes, 60)
    rest = f"{hundredths // 100:02d}.{hundredths % 100:02d}"
    return f"{sign}{hours}:{minutes:02d}:{rest}" if hours else f"{sign}{minutes}:{rest}"


def span(first: float, last: float) -> str:
    """As people say it: 4.21, 5.02 -> "4.2 to 5.0 s"; from a minute on "1:04.20 to 1:05.00"."""
    if last < 60.0:
        return f"{first:.1f} to {last:.1f} s"
    return f"{time_code(first)} to {time_code(last)}"


def _round_step(least: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten (1, 2, 5 s) that is not below `least`.

    Beyond a minute, steps are those of a clock: 60, 120, 300, 600 s, ...
    """
    if least > 50.0:
        clock = (60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0)
        return next((s for s in clock if s >= least), 3600.0 * math.ceil(least / 3600.0))
    power = 10.0 ** math.floor(math.log10(least))
    return next(m * power for m in (1.0, 2.0, 5.0, 10.0) if m * power >= least * (1 - 1e-9))


def _tick_label(seconds: float, step: float) -> str:
    if step >= 60.0 or seconds >= 120.0:
        return time_code(seconds).partition(".")[0]
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{seconds:.{decimals}f} s"
