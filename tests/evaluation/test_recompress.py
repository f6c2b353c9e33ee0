"""Recompression as H.264: number, sizes, times and colours stay; higher levels lose more."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fakestormer.evaluation.corruptions import recompress
from fakestormer.video.decode import probe, stream_frames
from video_fixtures import RGB, astronaut_frames, number_frames


def difference(one: RGB, other: RGB) -> np.ndarray:
    return one.astype(float) - other


def psnr(one: RGB, other: RGB) -> float:
    return float(20 * np.log10(255 / np.sqrt((difference(one, other) ** 2).mean())))


def film_of(pictures: list[RGB], times: list[float]) -> list[tuple[int, float, RGB]]:
    return list(zip(range(len(pictures)), times, pictures, strict=True))


def test_recompression_loses_more_at_higher_levels(tmp_path: Path) -> None:
    pictures = astronaut_frames(8)
    film = film_of(pictures, [index / 25 for index in range(8)])
    quality, size = [], []
    for level in range(1, 6):
        path = tmp_path / f"{level}.mp4"
        recompress(film, path, level)
        again = [rgb for _, _, rgb in stream_frames(path)]
        assert [rgb.shape for rgb in again] == [rgb.shape for rgb in pictures]
        quality.append(np.mean([psnr(*pair) for pair in zip(again, pictures, strict=True)]))
        size.append(path.stat().st_size)
    assert quality == sorted(quality, reverse=True)
    assert size == sorted(size, reverse=True)
    assert quality[0] - quality[4] > 2
    assert 25 < quality[4] < quality[0] < 45


@pytest.mark.parametrize(
    "steps",
    [[1001 / 24000] * 11, [1001 / 30000] * 11, [1 / 25] * 11, [0.04, 0.2, 0.001, 0.5, 0.033, 3.0]],
    ids=["23.976", "29.97", "25", "variable"],
)
def test_recompression_keeps_number_order_and_times(steps: list[float], tmp_path: Path) -> None:
    """Also where the first frame given is not the video's first."""
    times = (7.3 + np.cumsum([0.0, *steps])).tolist()
    pictures = number_frames(len(times))
    path = tmp_path / "film.mp4"
    recompress(film_of(pictures, times), path, 3)
    again = list(stream_frames(path))
    assert [index for index, _, _ in again] == list(range(len(times)))
    got = [seconds for _, seconds, _ in again]
    assert got == pytest.approx([seconds - 7.3 for seconds in times], abs=1e-6)
    for (_, _, rgb_hwc), picture in zip(again, pictures, strict=True):
        assert psnr(rgb_hwc, picture) > 20  # another frame's number gives 10 or so
    info = probe(path)
    assert (info.codec, info.pixel_format, info.container.split(",")[1]) == (
        "h264", "yuv420p", "mp4",
    )  # fmt: skip


@pytest.mark.parametrize(("height", "width"), [(33, 47), (1, 1), (64, 31)])
def test_recompression_of_odd_sizes(height: int, width: int, tmp_path: Path) -> None:
    """The last row and column are there twice."""
    x = np.linspace(20, 220, width)
    picture = np.repeat(np.tile(x, (height, 1))[..., None], 3, axis=2).astype(np.uint8)
    path = tmp_path / "film.mp4"
    recompress(film_of([picture] * 3, [0.0, 0.04, 0.08]), path, 1)
    again = [rgb for _, _, rgb in stream_frames(path)]
    assert len(again) == 3
    assert again[0].shape == (height + height % 2, width + width % 2, 3)
    assert psnr(again[0][:height, :width], picture) > 28
    edge = difference(again[0][:height, -1], picture[:, -1])
    assert np.abs(edge).mean() < 12


@pytest.mark.parametrize("size", [(64, 96), (720, 1280)], ids=["small", "HD"])
def test_recompression_keeps_colours(size: tuple[int, int], tmp_path: Path) -> None:
    """Untagged, the HD film would come back through another matrix, off by 15 levels."""
    picture = np.zeros((*size, 3), np.uint8)
    picture[:] = (40, 180, 60)
    picture[:, : size[1] // 2] = (200, 40, 90)
    path = tmp_path / "film.mp4"
    recompress(film_of([picture] * 2, [0.0, 0.04]), path, 1)
    for _, _, rgb_hwc in stream_frames(path):
        assert np.abs(difference(rgb_hwc[8, 8], picture[8, 8])).max() <= 4
        assert np.abs(difference(rgb_hwc[8, -8], picture[8, -8])).max() <= 4


AGAIN = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from video_fixtures import number_frames
from fakestormer.evaluation.corruptions import recompress
frames = number_frames(12, width=272, height=290)
recompress([(k, k / 25, rgb) for k, rgb in enumerate(frames)], Path(sys.argv[2]), 1)
"""


def test_recompression_repeats_itself(tmp_path: Path) -> None:
    """272 px wide, and again where memory that nobody wrote is full (glibc's MALLOC_PERTURB_)."""
    here, there = tmp_path / "here.mp4", tmp_path / "there.mp4"
    frames = number_frames(12, width=272, height=290)
    recompress(film_of(frames, [index / 25 for index in range(12)]), here, 1)
    subprocess.run(
        [sys.executable, "-c", AGAIN, str(Path(__file__).parents[1]), str(there)],
        env={**os.environ, "MALLOC_PERTURB_": "1"},
        check=True,
    )
    assert here.read_bytes() == there.read_bytes()


def test_what_is_no_film_is_refused(tmp_path: Path) -> None:
    frame = np.zeros((16, 16, 3), np.uint8)
    for frames, said in [
        ([], "no frames"),
        ([(0, 0.0, frame), (1, 0.0, frame)], "times must increase"),
        ([(0, 0.0, frame), (1, float("nan"), frame)], "must be a number"),
        ([(0, 0.0, frame), (1, 0.1, frame[:8])], "two sizes"),
    ]:
        with pytest.raises(ValueError, match=said):
            recompress(frames, tmp_path / "film.mp4", 1)
