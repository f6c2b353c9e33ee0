"""Warnings about a file: measured on numbers and pictures made for the purpose."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from fakestormer.detection import quality
from fakestormer.video.decode import stream_frames


def test_a_constant_rate_with_one_gap_by_hand() -> None:
    pace = quality.pace_of(np.array([0.0, 0.04, 0.08, 0.12, 0.2, 0.24]))
    assert not pace.variable
    assert pace.gaps == (pytest.approx((0.12, 0.08)),)
    assert quality.pace_of(np.array([0.0])).gaps == ()


def test_millisecond_times_are_a_constant_rate() -> None:
    """30 frames per second as Matroska writes it: 33, 33 and 34 ms; and 120 as 8, 8, 9 ms."""
    for rate in (30, 120, 240):
        pace = quality.pace_of(np.round(np.arange(600) / rate, 3))
        assert not pace.variable
        assert pace.gaps == ()


def test_a_variable_rate_is_no_row_of_gaps() -> None:
    steps = np.tile([0.02, 0.02, 0.06], 20)
    times = np.cumsum(steps)
    pace = quality.pace_of(times)
    assert pace.variable
    assert (pace.slowest, pace.fastest) == (pytest.approx(1 / 0.06), pytest.approx(50))
    watched = quality.Watched()
    watched.times.extend(times.tolist())
    (warning,) = watched.warnings()
    assert "varies, between about 16.7 and 50 frames" in warning
    assert watched.facts()["frame_rate"] == "variable"


def test_gaps_and_cuts_are_told_with_their_times(
    make_video: Callable[..., Path], tmp_path: Path
) -> None:
    dark, bright = np.full((90, 160, 3), 20, np.uint8), np.full((90, 160, 3), 230, np.uint8)
    cv2.circle(dark, (40, 40), 30, (200, 30, 30), -1)
    cv2.circle(bright, (120, 50), 30, (30, 30, 90), -1)
    watched = quality.Watched()
    video = make_video([dark] * 20 + [bright] * 20, tmp_path / "cut.mp4")
    for index, seconds, rgb in stream_frames(video):
        if index not in (9, 10):
            watched.see(seconds, rgb)
    watched.cuts.append(0.8)
    missing, scenes = watched.warnings()
    assert "missing in 1 place, the longest 0.12 s at 0:00.32" in missing
    assert "1 cut was found (0:00.80)" in scenes
    assert watched.facts() == {
        "frame_rate": "constant", "gaps": 1, "cuts": [0.8], "cuts_found": 1,
    }  # fmt: skip


def test_bits_per_pixel_by_hand() -> None:
    # 100 kbit/s at 25/s.
    assert quality.bits_per_pixel(4000, 256 * 256, "h264") == pytest.approx(0.0610, abs=1e-4)
    # AV1 makes the same picture of half the bits.
    assert quality.bits_per_pixel(4000, 256 * 256, "av1") == pytest.approx(0.122, abs=1e-3)
    assert quality.bits_per_pixel(None, 256 * 256, "h264") is None
    assert quality.compression_warnings(0.03, "h264") == []
    assert "0.020 for" in quality.compression_warnings(0.02, "h264")[0]
    assert quality.compression_warnings(None, "h264") == []


def test_blur_is_found_and_smallness_is_not_blur(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    face = cv2.GaussianBlur(rng.uniform(0, 255, (224, 224)), (0, 0), 6)
    face = 10 * (face - face.mean()) + 128 + rng.normal(0, 12, face.shape)
    face = np.repeat(face[..., None], 3, axis=-1)
    whole = np.array([[[0.0, 0.0, 224.0, 224.0]]], np.float32)

    def crop(picture: np.ndarray) -> np.ndarray:
        return np.asarray(picture.clip(0, 255).astype(np.uint8)).transpose(2, 0, 1)[None, None]

    assert quality.blur_warnings(crop(face), whole) == []
    soft = cv2.GaussianBlur(face, (0, 0), 4)
    (warning,) = quality.blur_warnings(crop(soft), whole)
    assert "blurred" in warning
    monkeypatch.setattr(quality, "sharpness", lambda *_: 0.0199)
    (warning,) = quality.blur_warnings(crop(soft), whole)
    assert "(sharpness 0.019, usually above 0.020)" in warning
    monkeypatch.undo()
    # A face of 56 pixels, enlarged for the network, is as sharp as it was.
    small = cv2.resize(face[84:140, 84:140].astype(np.float32), (224, 224))
    assert quality.blur_warnings(crop(small), whole / 4) == []
    assert quality.blur_warnings(crop(small), whole) != []
    assert quality.sharpness(crop(np.full((224, 224, 3), 90.0)), whole) is None


def test_tags_name_who_wrote_a_file() -> None:
    converted = {"container encoder": "HandBrake 1.7.0"}
    assert "HandBrake" in str(quality.written_by(converted))
    assert quality.editing_warnings(converted) == [], "says nothing about manipulation"
    edited = {"container encoder": "Adobe Premiere Pro 24"}
    assert "editor by Adobe" in str(quality.written_by(edited))
    assert "editor by Adobe" in quality.editing_warnings(edited)[0]
    # What somebody wrote about a film is not who wrote the file.
    for tags in ({"container com.apple.quicktime.make": "Apple"}, {"container TITLE": "On Google"}):
        assert quality.written_by(tags) is None
        assert quality.editing_warnings(tags) == []


def test_tags_of_a_file(make_video: Callable[..., Path], tmp_path: Path) -> None:
    video = make_video([np.zeros((64, 64, 3), np.uint8)] * 5, tmp_path / "a.mkv")
    tags = quality.container_tags(video)
    assert tags["container ENCODER"].startswith("Lavf")
    assert list(tags) == sorted(tags)
    assert "FFmpeg" in str(quality.written_by(tags))
    assert quality.editing_warnings(tags) == []


def test_where_somebody_was_is_not_shown(tmp_path: Path) -> None:
    import av

    video = tmp_path / "place.mkv"
    with av.open(str(video), "w") as container:
        container.metadata["location"] = "+48.1+011.5/"
        container.metadata["comment"] = "x" * 1000
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 64
        frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    tags = quality.container_tags(video)
    assert tags["container LOCATION"] == "present, not shown"
    assert tags["container COMMENT"] == "x" * 200
