"""Leaving out what looks least like training: the curve by hand, and the picture."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from fakestormer.evaluation.abstention_plot import abstention_curve, abstention_plot
from fakestormer.evaluation.plots import SIZE
from fakestormer.evaluation.score import VideoScore
from fakestormer.recipe.prediction import PredictionConfig


def video(label: str, score: float | None, distance: float | None) -> VideoScore:
    return VideoScore(
        data="", video="", sha256="", label=label, method="", source="", score=score,
        distance=distance,
    )  # fmt: skip


VIDEOS = [
    video("real", 0.9, 1.4), video("fake", 0.1, 1.2), video("real", 0.2, 0.9),
    video("fake", 0.5, 0.8), video("real", 0.1, 0.3), video("fake", 0.8, 0.2),
    video("real", None, None),
]  # fmt: skip


def test_the_curve_by_hand() -> None:
    curve = abstention_curve(VIDEOS, PredictionConfig())
    assert [kept.distance for kept in curve] == [1.4, 1.2, 0.9, 0.8]
    assert [kept.left_out for kept in curve] == pytest.approx([0, 1 / 6, 2 / 6, 3 / 6])
    # Pairs in order: the fake of 0.1 ties with one real video, and loses to two.
    assert [kept.auc for kept in curve] == pytest.approx([4.5 / 9, 4.5 / 6, 1.0, 1.0])
    assert [kept.real_called_fake for kept in curve] == pytest.approx([1 / 3, 0, 0, 0])
    assert [kept.fakes_cleared for kept in curve] == pytest.approx([1 / 3, 1 / 3, 0, 0])


def test_many_videos_take_about_a_hundred_steps() -> None:
    videos = [video(("real", "fake")[n % 2], n / 5000, n / 5000) for n in range(5000)]
    curve = abstention_curve(videos, PredictionConfig())
    assert 100 <= len(curve) <= 102
    assert curve[0].left_out == 0
    assert curve[-1].left_out == pytest.approx(0.6, abs=0.01)


def test_there_is_none_without_distances_or_a_class() -> None:
    assert (
        abstention_curve([video("real", 0.1, None), video("fake", 0.9, None)], PredictionConfig())
        == []
    )
    assert abstention_curve([video("real", 0.1, 0.5)] * 3, PredictionConfig()) == []


def test_the_picture(tmp_path: Path) -> None:
    path = tmp_path / "abstention.png"
    content = abstention_plot(
        path, abstention_curve(VIDEOS, PredictionConfig()), title="six videos"
    )
    assert path.read_bytes() == content
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape[1::-1] == SIZE
