"""Corrupted videos: whole frames before faces are found, or stored crops."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

from fakestormer.data.listing import Entry, Listing
from fakestormer.data.manifest import read_manifest, read_settings, write_manifest
from fakestormer.data.origin import entries_of
from fakestormer.data.prepare import prepare_listing
from fakestormer.data.units import units_of
from fakestormer.errors import InputError
from fakestormer.evaluation.corrupted import corrupted_unit, crops_reader
from fakestormer.evaluation.corruptions import corrupt_frame, frame_rng
from fakestormer.evaluation.plan import CLEAN, Condition, Plan, Task, VideoSet, videos_of
from fakestormer.evaluation.score import VideoScore, store_reader
from fakestormer.evaluation.score_task import ScoreTask
from fakestormer.model.model_file import load_model
from fakestormer.recipe.prediction import PredictionConfig
from fakestormer.runtimes.engine import Engine
from fakestormer.runtimes.torch_engine import TorchEngine
from folder_stores import prepare_folder
from store_fixtures import CROP

BLOCKS = Condition(corruption="block_wise", level=5)  # does nothing on frames of 96 px
DARK = Condition(corruption="contrast", level=5)
NOISE = Condition(corruption="gaussian_noise", level=2)
FILM = Condition(corruption="video", level=3)


@pytest.fixture(scope="module")
def engine(drawn_model: Path) -> Engine:
    return TorchEngine(load_model(drawn_model)[0])


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory, drawn: ModuleType) -> Path:
    """Two drawn faces and a film in which there is none."""
    folder = tmp_path_factory.mktemp("corrupted") / "videos"
    for number in range(2):
        frames, _ = drawn.draw(10, seed=number)
        drawn.write_video(folder / f"face_{number}.mp4", frames)
    drawn.write_video(folder / "nobody.mp4", drawn.draw(8)[0] * 0)
    return folder


@pytest.fixture(scope="module")
def store(videos: Path, drawn: ModuleType) -> Path:
    folder = videos.parent / "store"
    prepare_folder(videos, folder, backend=drawn.DrawnFaces, crop=CROP, split="test")
    return folder


def _score(
    store: Path,
    engine: Engine,
    drawn: ModuleType,
    condition: Condition,
    applied_to: str,
    entries: Mapping[str, Entry] | None = None,
    *,
    final: bool = True,
    **changes: Any,
) -> dict[str, VideoScore]:
    test = VideoSet(
        store=store,
        settings=read_settings(store),
        videos=dict(videos_of(store, CROP, "test")),
        entries=entries_of(store) if entries is None else entries,
    )
    fields: dict[str, Any] = {
        "open_engine": lambda: engine,
        "open_faces": drawn.DrawnFaces,
        "predictions": {"windows": PredictionConfig(frames=8)},
        "face": "largest",
    }
    work = ScoreTask(sets={"data": test}, **{**fields, **changes})
    found: dict[str, VideoScore] = {}
    for name in test.videos:
        task = Task(data="data", name=name, condition=condition, applied_to=applied_to)
        scored = work(task.key())
        assert scored.final == final
        found[name] = scored.scores["windows"]
        assert found[name].video == name
    return found


def test_frames_that_nothing_was_done_to_score_as_the_store_does(
    store: Path, engine: Engine, drawn: ModuleType
) -> None:
    clean = _score(store, engine, drawn, CLEAN, "frames")
    assert _score(store, engine, drawn, BLOCKS, "frames") == clean
    assert _score(store, engine, drawn, BLOCKS, "crops") == clean
    assert [(s.video, s.score is None, s.reason) for s in clean.values()] == [
        ("face_0.mp4", False, ""), ("face_1.mp4", False, ""), ("nobody.mp4", True, "no face")
    ]  # fmt: skip


def test_corrupted_frames_and_crops_score_otherwise_and_alike_each_time(
    store: Path, engine: Engine, drawn: ModuleType
) -> None:
    clean = _score(store, engine, drawn, CLEAN, "frames")
    for condition in (NOISE, FILM):
        for applied_to in ("frames", "crops"):
            found = _score(store, engine, drawn, condition, applied_to)
            assert found.keys() == clean.keys()
            for video in ("face_0.mp4", "face_1.mp4"):
                assert found[video].score not in (None, clean[video].score)
            assert _score(store, engine, drawn, condition, applied_to) == found


def test_where_the_corruption_hides_the_face_the_video_is_left_out_with_the_reason(
    store: Path, engine: Engine, drawn: ModuleType
) -> None:
    # At 0.35 of the contrast nothing is as bright as the drawn faces that the backend looks for.
    found = _score(store, engine, drawn, DARK, "frames")
    assert [(s.score, s.reason) for s in found.values()] == [(None, "no face")] * 3
    assert (
        found["face_0.mp4"].sha256
        == _score(store, engine, drawn, CLEAN, "frames")["face_0.mp4"].sha256
    )
    # Crops have their face, however dark.
    assert _score(store, engine, drawn, DARK, "crops")["face_0.mp4"].score is not None


def test_a_corrupted_unit_gives_the_same_pixels_whole_and_in_part(
    store: Path, tmp_path: Path
) -> None:
    entry = entries_of(store)["face_0.mp4"]
    with units_of(entry, max_frames=None, scratch=tmp_path) as (unit,):
        plain = {index: rgb for index, _, rgb in unit.frames()}
        for condition in (NOISE, FILM, replace(NOISE, level=3)):
            with corrupted_unit(unit, condition, tmp_path) as (corrupted, frames_at):
                whole = {index: rgb for index, _, rgb in corrupted.frames()}
                part = {index: rgb for index, _, rgb in frames_at({2, 7})}
            assert whole.keys() == plain.keys()
            assert part.keys() == {2, 7}
            assert all(np.array_equal(part[index], whole[index]) for index in part)
            assert not np.array_equal(whole[3], plain[3])


def test_crops_are_corrupted_frame_by_frame(store: Path) -> None:
    row = next(row for row in read_manifest(store) if not row.rejected)
    positions = np.array([[0, 1, 2, 3], [3, 4, 5, 6]])
    plain, noisy = (
        reader(row)(positions) for reader in (store_reader(store), crops_reader(store, NOISE))
    )
    expected = corrupt_frame(
        plain[1].frames[2].transpose(1, 2, 0),
        "gaussian_noise",
        2,
        frame_rng(row.sha256, "gaussian_noise", 2, int(plain[1].indices[2])),
    )
    assert np.array_equal(noisy[1].frames[2].transpose(1, 2, 0), expected)
    # A frame that two clips share is the same in both.
    assert np.array_equal(noisy[0].frames[3], noisy[1].frames[0])
    assert np.array_equal(noisy[0].landmarks, plain[0].landmarks)


@pytest.mark.parametrize("what", ["changed", "gone"])
def test_a_video_that_has_changed_or_is_gone_is_left_out_this_time(
    engine: Engine, drawn: ModuleType, tmp_path: Path, what: str
) -> None:
    drawn.write_video(tmp_path / "videos" / "one.mp4", drawn.draw(9, seed=5)[0])
    store = tmp_path / "store"
    prepare_folder(tmp_path / "videos", store, backend=drawn.DrawnFaces, crop=CROP, split="test")
    entries = entries_of(store)
    if what == "changed":
        drawn.write_video(tmp_path / "other.mp4", drawn.draw(9, seed=6)[0])
    entries["one.mp4"] = replace(entries["one.mp4"], path=tmp_path / "other.mp4")
    found = _score(store, engine, drawn, NOISE, "frames", entries, final=False)
    assert found["one.mp4"].score is None
    said = {"changed": "one.mp4: has changed since", "gone": "other.mp4: cannot be read"}[what]
    assert said in found["one.mp4"].reason


def test_a_video_that_crashed_the_decoder_is_not_decoded_again(
    store: Path, engine: Engine, drawn: ModuleType, tmp_path: Path
) -> None:
    copy = tmp_path / "store"
    shutil.copytree(store, copy)
    rows = [
        replace(row, rejected="decoder crashed", track=-1) if row.video == "face_0.mp4" else row
        for row in read_manifest(copy)
    ]
    write_manifest(copy, rows)
    entries = entries_of(copy)
    entries["face_0.mp4"] = replace(entries["face_0.mp4"], path=tmp_path / "must not be opened")
    found = _score(copy, engine, drawn, NOISE, "frames", entries)
    assert (found["face_0.mp4"].score, found["face_0.mp4"].reason) == (None, "decoder crashed")
    assert found["face_1.mp4"].score is not None


def test_another_face_backend_than_the_stores_is_refused(
    store: Path, engine: Engine, drawn: ModuleType
) -> None:
    class Other(drawn.DrawnFaces):  # type: ignore[name-defined, misc]
        name = "other"

    with pytest.raises(InputError, match="found by drawn, here they would be found by other"):
        _score(store, engine, drawn, NOISE, "frames", open_faces=Other)


def test_sequences_in_an_archive(engine: Engine, drawn: ModuleType, tmp_path: Path) -> None:
    """Pictures of two sequences, the second of a fake: scored as stored, and not corrupted."""
    for label, seed in (("real", 0), ("fake", 1)):
        for number, frame in enumerate(drawn.draw(9, seed=seed)[0]):
            path = tmp_path / "7" / label / "3" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), frame[..., ::-1])
    archive = tmp_path / "7.tar.gz"
    with tarfile.open(archive, "w:gz") as members:
        members.add(tmp_path / "7", arcname="7")
    entry = Entry(
        video="test/7.tar.gz",
        path=archive,
        label="real",
        kind="sequences",
        split="test",
    )
    listing = Listing(dataset="wild", entries=(entry,))
    store = tmp_path / "store"
    prepare_listing(listing, store, backend=drawn.DrawnFaces, crop=CROP)
    rows = {row.video: row for row in read_manifest(store)}
    assert {name: (row.label, row.split, row.frames) for name, row in rows.items()} == {
        "test/7.tar.gz/7/fake/3": ("fake", "test", 9),
        "test/7.tar.gz/7/real/3": ("real", "test", 9),
    }
    assert not list(store.glob(".unpacked-*"))
    entries = {entry.video: entry}
    clean = _score(store, engine, drawn, CLEAN, "frames", entries)
    assert [s.score is None for s in clean.values()] == [False, False]
    plan = Plan(
        stores={"wild": store},
        crop=CROP,
        weights_sha256="ab" * 32,
        open_engine=lambda: engine,
        open_faces=drawn.DrawnFaces,
        predictions={"windows": PredictionConfig(frames=8)},
        conditions=(CLEAN, NOISE),
        entries={"wild": entries},
    )
    with pytest.raises(InputError, match="its videos are sequences in archives; whole frames"):
        plan.video_sets()


def test_conditions_and_keys() -> None:
    task = Task(data="a b", name='x/"y".mp4', condition=NOISE)
    assert Task.of(task.key()) == task
    assert Task.of(Task(data="d", name="n").key()).condition == CLEAN
    crops = replace(task, applied_to="crops")
    assert Task.of(crops.key()) == crops
    assert crops.key() != task.key()
    # What is not corrupted is the same, whatever would have been.
    clean = Task(data="d", name="n")
    assert replace(clean, applied_to="crops").key() == clean.key()
