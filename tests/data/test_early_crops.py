"""Crops that are cut while faces are followed are those of a second decoding."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from fakestormer.data import early_crops, units
from fakestormer.data.listing import Entry
from fakestormer.data.manifest import StoreSettings
from fakestormer.data.prepare_one import prepare_entry
from fakestormer.recipe.faces import CropConfig, TrackingConfig
from fakestormer.video.decode import Frame, stream_frames


def test_a_video_is_decoded_once_and_large_frames_twice(
    drawn: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    face = drawn.draw(50)[0]
    gone = face[:1] // 4
    # A face that is lost and comes back, one that ends with its shot, and one with the video.
    shots = [face[:14], gone, gone, face[16:24], *[gone] * 7, face[24:]]
    path = tmp_path / "face.mp4"
    drawn.write_video(path, np.concatenate(shots))
    decoded = []

    def counted(*arguments: Any, **settings: Any) -> Iterator[Frame]:
        decoded.append(path)
        return stream_frames(*arguments, **settings)

    monkeypatch.setattr(units, "stream_frames", counted)

    def prepared(name: str) -> dict[str, bytes]:
        decoded.clear()
        rows = prepare_entry(
            Entry(video="face.mp4", path=path, label="real"),
            tmp_path / name,
            drawn.DrawnFaces(),
            StoreSettings(
                backend="drawn",
                crop=CropConfig(stored_size=64),
                tracking=TrackingConfig(),
                max_frames=None,
                min_frames=4,
            ),
            max_frames=None,
        )
        assert [row.frames for row in rows] == [24, 26]
        return {row.file: (tmp_path / name / row.file).read_bytes() for row in rows}

    once = prepared("once")
    assert len(decoded) == 1
    monkeypatch.setattr(early_crops, "_MOST_HELD", 0)
    twice = prepared("twice")
    assert len(decoded) == 2
    assert once == twice
