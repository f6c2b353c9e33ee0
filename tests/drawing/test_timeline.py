"""Places on the time line."""

from __future__ import annotations

import pytest

from fakestormer.drawing import timeline


@pytest.mark.parametrize(
    ("seconds", "code"),
    [
        (0.0, "0:00.00"),
        (6.4, "0:06.40"),
        (59.999, "1:00.00"),
        (83.04, "1:23.04"),
        (3723.5, "1:02:03.50"),
        (-0.04, "-0:00.04"),
    ],
)
def test_time_codes(seconds: float, code: str) -> None:
    assert timeline.time_code(seconds) == code


def test_axis_shows_the_whole_video_where_clips_are_spread() -> None:
    axis = timeline.axis([0.0, 0.12, 9.0, 9.12], 12.0)
    assert (axis.start, axis.end, axis.cut) == (0.0, 12.0, False)
    point = timeline.point(axis, 9.0, 9.12, 0.75)
    assert (point.start, point.middle, point.end, point.y) == (75.0, 75.5, 76.0, 25.0)
    assert [tick.label for tick in axis.ticks()] == [f"{s} s" for s in (0, 2, 4, 6, 8, 10, 12)]
    assert axis.ticks()[1].x == pytest.approx(16.67)


def test_axis_closes_in_on_clips_that_lie_together() -> None:
    axis = timeline.axis([10.0, 10.12, 11.0, 11.25], 60.0)
    assert axis.cut
    assert axis.start == pytest.approx(9.9)
    assert axis.end == pytest.approx(11.35)
    assert [tick.label for tick in axis.ticks()] == ["10.0 s", "10.5 s", "11.0 s"]


def test_axis_never_leaves_the_video() -> None:
    axis = timeline.axis([0.0, 1.24], 60.0)
    assert axis.start == 0.0
    assert axis.cut


@pytest.mark.parametrize("times", [[], [0.0]])
def test_axis_without_any_time(times: list[float]) -> None:
    axis = timeline.axis(times, None)
    assert axis.end > axis.start
    assert axis.ticks()


def test_axis_is_at_least_as_long_as_its_clips() -> None:
    """Metadata may understate the duration."""
    axis = timeline.axis([0.0, 0.1, 8.0, 9.0], 3.0)
    assert axis.end == 9.0


@pytest.mark.parametrize("duration", [0.02, 0.7, 4.0, 31.0, 100.0, 359.0, 5400.0, 40000.0])
def test_ticks_are_few_and_inside(duration: float) -> None:
    ticks = timeline.axis([0.0, duration], duration).ticks()
    assert 2 <= len(ticks) <= 8
    assert all(0.0 <= tick.x <= 100.0 for tick in ticks)
    assert len({tick.label for tick in ticks}) == len(ticks)


def test_long_videos_are_labelled_like_a_clock() -> None:
    labels = [tick.label for tick in timeline.axis([0.0, 600.0], 600.0).ticks()]
    assert labels == ["0:00", "2:00", "4:00", "6:00", "8:00", "10:00"]
