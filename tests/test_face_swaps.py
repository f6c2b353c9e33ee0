"""`runs/face_swaps.py`: films of swapped faces, and the table about them."""

from __future__ import annotations

import csv
import dataclasses
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from conftest import ROOT
from fakestormer.data.manifest import read_manifest
from fakestormer.data.store import read_clip
from fakestormer.video.decode import stream_frames

WAYS = ("pasted", "mesh", "multiband", "generated")

SCRIPT = str(ROOT / "runs" / "face_swaps.py")


def test_the_donor_is_inside_and_the_target_outside(
    make_store: Callable[..., Path], tmp_path: Path
) -> None:
    """Both with the same landmarks: what is inside correlates with the donor, and only there."""
    store = make_store(tmp_path / "store", train=1, frames=3)
    (row,) = read_manifest(store)
    drawn = read_clip(store / row.file, range(3), video=row.video, number=0)
    rng = np.random.default_rng(0)
    pictures = [
        np.stack([cv2.resize(rng.integers(40, 215, (9, 9, 3)).astype("u1"), (64, 64))] * 3)
        for _ in range(2)
    ]
    donor, target = (
        dataclasses.replace(drawn, frames=np.ascontiguousarray(picture.transpose(0, 3, 1, 2)))
        for picture in pictures
    )
    script = runpy.run_path(SCRIPT)
    for name in WAYS:
        fake = script["swapped"](donor, target, script["WAYS"][name])
        assert fake.shape == target.frames.shape
        assert fake.dtype == np.uint8
        inside = (..., slice(22, 46), slice(22, 42))
        pairs = [(fake[inside], clip.frames[inside]) for clip in (donor, target)]
        to_donor, to_target = (float(np.corrcoef(x.ravel(), y.ravel())[0, 1]) for x, y in pairs)
        assert to_donor > 0.6, name
        assert to_target < 0.5, name
        for outside in ((..., slice(0, 4), slice(None)), (..., slice(60, 64), slice(None))):
            # The coarsest bands of a pyramid reach far.
            apart = np.abs(fake[outside].astype(int) - target.frames[outside])
            assert int(apart.max()) <= (3 if name == "multiband" else 1), name


def test_films_and_their_table(
    make_store: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, out = make_store(tmp_path / "store", train=1, validation=3, frames=5), tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["face_swaps.py", str(store), "--out", str(out)])
    runpy.run_path(SCRIPT, run_name="__main__")
    with (out / "videos.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["path"] for row in rows} == {
        path.relative_to(out).as_posix() for path in out.rglob("*.mp4")
    }
    assert [row["method"] for row in rows] == ["", *WAYS] * 3
    assert {row["label"] for row in rows if row["method"]} == {"fake"}
    assert all(len(list(stream_frames(out / row["path"]))) == 5 for row in rows)

    # It goes on where it was.
    (film,) = out.glob("fake/mesh/validation_1*")
    others = {path: path.stat().st_mtime_ns for path in out.rglob("*.mp4") if path != film}
    made = film.read_bytes()
    film.unlink()
    runpy.run_path(SCRIPT, run_name="__main__")
    assert film.read_bytes() == made
    assert {path: path.stat().st_mtime_ns for path in others} == others
