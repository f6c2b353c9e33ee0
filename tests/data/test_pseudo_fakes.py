"""Pairs of video files: what is in them, and that a second call leaves them alone."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

from fakestormer.data import pseudo_fakes
from fakestormer.data.manifest import Row, read_manifest
from fakestormer.data.pseudo_fakes import draw, write_pairs
from fakestormer.data.store import read_clip
from fakestormer.errors import InputError
from fakestormer.recipe.faces import CropConfig
from fakestormer.recipe.synthesis import BeyondConfig, SynthesisConfig
from fakestormer.synthesis.render import render_clip
from fakestormer.video.decode import probe, stream_frames
from folder_stores import prepare_folder

# A multiple of 64 px, as most stored crops have.
SIDE = 128
#: A change that is seen: a strong colour shift, the whole copy blended in, no JPEG on top.
PLAIN = SynthesisConfig(
    blend_ratios=(1.0,),
    jpeg_probability=0.0,
    change=SynthesisConfig().change.model_copy(update={"rgb_probability": 1.0, "rgb_limit": 60.0}),
)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory, drawn: ModuleType) -> Path:
    """Two videos that differ in their suffix only, and one in a folder; with identities."""
    folder = tmp_path_factory.mktemp("faces")
    for seed, name in enumerate(("grid_1.mp4", "grid_1.mov", "news/take.mp4")):
        drawn.write_video(folder / "videos" / name, drawn.draw(6, seed=seed)[0])
    table = folder / "videos" / "table.csv"
    table.write_text("path,identity\ngrid_1.mp4,anna\ngrid_1.mov,anna\n")
    prepare_folder(
        folder / "videos",
        folder / "store",
        backend=drawn.DrawnFaces,
        crop=CropConfig(stored_size=SIDE),
        table=table,
    )
    return folder / "store"


@pytest.fixture(scope="module")
def pairs(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs") / "out"
    assert _write(faces, folder) == folder / "videos.csv"
    return folder


def _write(store: Path, out: Path, **changes: Any) -> Path:
    return write_pairs(store, read_manifest(store), out, **{"synthesis": PLAIN, **changes})


def _frames(path: Path) -> np.ndarray:
    return np.stack([rgb_hwc for _, _, rgb_hwc in stream_frames(path)])


def _films(folder: Path) -> dict[str, int]:
    return {
        path.relative_to(folder).as_posix(): path.stat().st_mtime_ns
        for path in folder.rglob("*.mp4")
    }


def test_every_track_gives_two_films_alike(pairs: Path) -> None:
    names = ("grid_1.0.mp4", "grid_1.mov.0.mp4", "news/take.0.mp4")
    assert set(_films(pairs)) == {
        f"{kind}/{name}" for kind in ("real", "fake/self-blended") for name in names
    }
    for name in names:
        real, fake = (probe(pairs / kind / name) for kind in ("real", "fake/self-blended"))
        assert (real.frames_per_second, real.codec) == (fake.frames_per_second, fake.codec)
        assert real.frames_per_second == 25
        assert _frames(pairs / "real" / name).shape == (6, SIDE, SIDE, 3)
        assert _frames(pairs / "fake/self-blended" / name).shape == (6, SIDE, SIDE, 3)
    assert not list(pairs.rglob("*.partial"))


def test_prepare_takes_the_folder_and_its_table(
    pairs: Path, drawn: ModuleType, tmp_path: Path
) -> None:
    """No name is used twice, and both films of a pair stay together in any split."""
    prepare_folder(
        pairs,
        tmp_path / "store",
        backend=drawn.DrawnFaces,
        table=pairs / "videos.csv",
        split="test",
    )
    rows = {row.video: row for row in read_manifest(tmp_path / "store")}
    assert set(rows) == set(_films(pairs))
    for name, group, source in (
        ("grid_1.0.mp4", "anna", "grid"),
        ("grid_1.mov.0.mp4", "anna", "grid"),
        ("news/take.0.mp4", "news/take.mp4", "news"),
    ):
        real, fake = rows[f"real/{name}"], rows[f"fake/self-blended/{name}"]
        assert (real.label, real.method) == ("real", "")
        assert (fake.label, fake.method) == ("fake", "self-blended")
        for row in (real, fake):
            assert (row.source, row.group, row.split) == (source, group, "test")
            assert (row.rejected, row.frames) == ("", 6)


def test_the_twins_differ_inside_the_mask_alone(faces: Path, pairs: Path) -> None:
    for row in read_manifest(faces):
        clip = read_clip(faces / row.file, range(row.frames), video=row.video, number=row.track)
        params = draw(row, PLAIN, seed=0)
        blended = render_clip(clip, params, size=SIDE)
        mask_thw = blended.mask[0].numpy()
        stem = f"{row.video.removesuffix('.mp4')}.0.mp4"
        real, fake = (
            _frames(pairs / kind / stem).astype(int) for kind in ("real", "fake/self-blended")
        )
        # Compression bleeds into neighbouring blocks, and leaves single levels everywhere.
        around = np.ones((17, 17), np.uint8)
        near = np.stack([cv2.dilate(mask_hw, around) for mask_hw in mask_thw]) > 0
        difference = np.abs(real - fake).max(axis=-1)
        assert (~near).mean() > 0.05
        assert difference[~near].mean() < 2
        assert difference[mask_thw > 0.9].mean() > 8
        # And the real one is the pair's background, the whole crop of it.
        truth = blended.real[0].permute(0, 2, 3, 1).numpy().astype(int)
        assert np.abs(real - truth).mean() < 3


def test_a_draw_belongs_to_the_seed_and_the_track_alone() -> None:
    row = Row(video="a.mp4", sha256="0" * 64, track=0, frames=9, split="train", source="s")
    drawn = draw(row, PLAIN, seed=1)
    same = dataclasses.replace(row, split="test", source="t", sha256="1" * 64)
    assert draw(same, PLAIN, seed=1) == drawn
    others = [
        draw(row, PLAIN, seed=2),
        draw(dataclasses.replace(row, track=1), PLAIN, seed=1),
        draw(dataclasses.replace(row, video="b.mp4"), PLAIN, seed=1),
    ]
    assert len({params.model_dump_json() for params in (drawn, *others)}) == 4
    # As in a fake that someone made, nothing is cut out or off; and the real clip is real.
    beyond = BeyondConfig(moved_real_probability=1.0, shift=9)
    cut_out = PLAIN.model_copy(update={"cutout_probability": 1.0, "beyond": beyond})
    params = draw(row, cut_out, seed=1)
    assert (params.cutout, params.margin, params.shift) == (None, 0, (0, 0))
    assert not params.moved_real
    # One draw for the whole video.
    assert len(params.frames) == 1


def test_a_second_call_goes_on_and_touches_nothing(
    faces: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    rows = read_manifest(faces)
    write_pairs(faces, rows[:1], out, synthesis=PLAIN)
    before = _films(out)
    assert len(before) == 2
    told: list[tuple[int, int]] = []
    _write(faces, out, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]
    after = _films(out)
    assert len(after) == 6
    assert {name: after[name] for name in before} == before
    # Half a pair is made anew, and no other is.
    (out / "real" / "news/take.0.mp4").unlink()
    monkeypatch.setattr(pseudo_fakes, "read_clip", _only(rows[-1].video))
    _write(faces, out)
    # The same as in one go.
    assert (out / "videos.csv").read_bytes() == (pairs / "videos.csv").read_bytes()
    for name in after:
        assert np.array_equal(_frames(out / name), _frames(pairs / name)), name


def _only(video: str) -> Any:
    def read(*args: Any, **kwargs: Any) -> Any:
        assert kwargs["video"] == video, "a finished pair is read again"
        return read_clip(*args, **kwargs)

    return read


def test_another_draw_into_the_same_folder_is_refused(faces: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_pairs(faces, read_manifest(faces)[:1], out, synthesis=PLAIN, seed=3)
    before = _films(out)
    other = PLAIN.model_copy(update={"tau": 0.5})
    for changes in ({"seed": 4}, {"seed": 3, "synthesis": other}):
        with pytest.raises(InputError, match="drawn with another seed or synthesis"):
            _write(faces, out, **changes)
    assert _films(out) == before
    assert json.loads((out / "pairs.json").read_text())["seed"] == 3
    # One written before a field was there says the same without it; a damaged one nothing.
    content = json.loads((out / "pairs.json").read_text())
    del content["synthesis"]["beyond"]["donor_probability"]
    (out / "pairs.json").write_text(json.dumps(content))
    write_pairs(faces, read_manifest(faces)[:1], out, synthesis=PLAIN, seed=3)
    for damaged in ("{", "[]", '{"seed": 3}'):
        (out / "pairs.json").write_text(damaged)
        with pytest.raises(InputError, match="drawn with another seed or synthesis"):
            write_pairs(faces, read_manifest(faces)[:1], out, synthesis=PLAIN, seed=3)
    assert _films(out) == before


def test_nothing_half_is_left_behind(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_film = pseudo_fakes.write_film
    calls = []

    def stopped(path: Path, pictures_tchw: np.ndarray, rate: Any) -> None:
        write_film(path, pictures_tchw, rate)
        calls.append(path)
        if len(calls) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(pseudo_fakes, "write_film", stopped)
    with pytest.raises(KeyboardInterrupt):
        _write(faces, tmp_path / "out")
    first = sorted(read_manifest(faces), key=lambda row: row.video)[:2]
    stems = [f"{row.video.removesuffix('.mp4')}.0.mp4" for row in first]
    assert set(_films(tmp_path / "out")) == {
        f"real/{stems[0]}", f"fake/self-blended/{stems[0]}", f"real/{stems[1]}",
    }  # fmt: skip
    assert not [path for path in (tmp_path / "out").rglob("*") if path.name.endswith(".partial")]
    assert not (tmp_path / "out" / "videos.csv").exists()
    monkeypatch.undo()
    table = _write(faces, tmp_path / "out")
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["path"] for row in rows} == set(_films(tmp_path / "out"))


@pytest.mark.parametrize("blocked", ["", "real", "fake", "videos.csv/"])
def test_where_nothing_can_be_written(faces: Path, tmp_path: Path, blocked: str) -> None:
    """A file where a folder must be, or the reverse; root may write everywhere else."""
    out = tmp_path / "out"
    path = out / blocked
    if blocked.endswith("/"):
        path.mkdir(parents=True)
    else:
        path.parent.mkdir(exist_ok=True)
        path.write_text("in the way")
    with pytest.raises(InputError, match=r"out.*cannot be written"):
        _write(faces, out)


def test_what_cannot_be_blended_names_its_track(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: Any, **kwargs: Any) -> None:
        raise ValueError("render: the landmarks of a frame lie outside its crop")

    monkeypatch.setattr(pseudo_fakes, "render_clip", fails)
    with pytest.raises(InputError, match=r"grid_1\.mov#0@0: no pseudo-fake .*outside its crop"):
        _write(faces, tmp_path / "out")
