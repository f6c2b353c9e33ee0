"""A store from videos that are objects: each is fetched where it is prepared, and dropped."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

import fakestormer.video.objects as objects
from fakestormer.data import units
from fakestormer.data.layouts.options import Options
from fakestormer.data.manifest import read_manifest
from fakestormer.data.origin import Origin, entries_of, read_origin, root_of
from fakestormer.data.prepare import prepare_listing
from fakestormer.errors import InputError, OutputError
from fakestormer.evaluation.evaluate import EvaluationSettings, evaluate
from fakestormer.recipe.named import tiny
from fakestormer.tools import commands
from fakestormer.tools.commands import PrepareSettings, prepare
from folder_stores import prepare_folder
from object_stores import Bucket


def test_a_store_of_objects_is_that_of_their_files(
    bucket: Bucket, drawn: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos, local, store = tmp_path / "videos", tmp_path / "local", tmp_path / "store"
    for seed, name in enumerate(("a.mp4", "fake/swap/b.mp4")):
        drawn.write_video(videos / name, drawn.draw(8, seed=seed)[0])
    (videos / "broken.mp4").write_bytes(b"no film")
    prepare_folder(videos, local, backend=drawn.DrawnFaces)
    for file in (path for path in videos.rglob("*") if path.is_file()):
        bucket.put(f"set/{file.relative_to(videos).as_posix()}", file.read_bytes())
    address = f"{bucket.address}/set"
    root = root_of(f"{address}/")
    assert root == address
    origin = Origin(layout="folder", root=root, options=Options(store=store))

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    fetched_before, asked = units.fetched, list[str]()
    resets = [f"{address}/a.mp4"]

    @contextmanager
    def fails_once(name: str) -> Iterator[Path]:
        asked.append(name.rpartition("/")[2])
        if name in resets:
            resets.remove(name)
            raise InputError(f"{name}: cannot be read (reset)")
        with fetched_before(name) as file:
            yield file

    monkeypatch.setattr(units, "fetched", fails_once)

    def prepared() -> dict[str, tuple[str, str]]:
        prepare_listing(origin.listing(), store, backend=drawn.DrawnFaces, origin=origin)
        assert not list((tmp_path / "temporary").iterdir())
        return {row.video: (row.rejected, row.detail) for row in read_manifest(store)}

    first = prepared()
    assert first["a.mp4"] == ("not fetched", f"{address}/a.mp4: cannot be read (reset)")
    assert first["broken.mp4"][0] == "undecodable"
    assert first["broken.mp4"][1].startswith(f"{address}/broken.mp4: ")
    asked.clear()
    assert prepared()["a.mp4"] == ("", "")
    assert asked == ["a.mp4"], "what was not fetched is tried again, and nothing else"
    tracks = [sorted((path / "tracks").rglob("*.zip")) for path in (local, store)]
    assert [p.read_bytes() for p in tracks[0]] == [p.read_bytes() for p in tracks[1]]
    assert len(tracks[0]) == 2
    assert read_origin(store).root == address
    with pytest.raises(InputError, match="whole frames are corrupted from files; fetch them"):
        entries_of(store)
    with pytest.raises(InputError, match="is one object; give the folder"):
        Origin(layout="folder", root=f"{address}/a.mp4", options=Options()).listing()


def test_a_store_and_an_evaluation_at_an_address_are_those_of_a_folder(
    bucket: Bucket,
    drawn: ModuleType,
    untrained_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(commands, "_faces_of", lambda _: drawn.DrawnFaces)
    monkeypatch.setattr(objects, "_PAUSE", 0.0)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    for seed, name in enumerate(("a.mp4", "b.mp4", "fake/swap/a.mp4")):
        drawn.write_video(tmp_path / "videos" / name, drawn.draw(8, seed=seed)[0])
    (tmp_path / "videos" / "broken.mp4").write_bytes(b"no film")
    at, here = f"{bucket.address}/made", str(tmp_path / "here")
    known: list[int] = []

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    def make(place: str, stops: bool = False) -> int:
        summary = prepare(
            tmp_path / "videos", f"{place}/store", recipe=tiny(),
            settings=PrepareSettings(workers=0), progress=stop if stops else None,
        )  # fmt: skip
        return summary.resumed

    def score(place: str, stops: bool = False) -> None:
        def progress(done: int, total: int, task: str) -> None:
            known.append(done)
            if stops and done:
                raise KeyboardInterrupt

        evaluate(
            untrained_model, {"drawn": f"{place}/store"}, f"{place}/evaluation",
            EvaluationSettings(split="all"), progress=progress,
        )  # fmt: skip

    make(here)
    score(here)
    with pytest.raises(KeyboardInterrupt):
        make(at, stops=True)
    assert make(at) == 1, "what was finished before it was stopped is there"
    with pytest.raises(KeyboardInterrupt):
        score(at, stops=True)
    known.clear()
    score(at)
    assert known[0] == 1
    assert not list((tmp_path / "temporary").iterdir())

    make(f"file://{tmp_path}/made")
    for place in (at, f"file://{tmp_path}/made"):
        with objects.copied(f"{place}/store", deep=True) as store:
            assert read_manifest(store) == read_manifest(tmp_path / "here" / "store")
            assert not (store / "tracks").exists(), "whoever needs a track fetches it"
    tracks = sorted((tmp_path / "here" / "store" / "tracks").rglob("*.zip"))
    assert len(tracks) == 3
    for file in tracks:
        name = file.relative_to(tmp_path / "here").as_posix()
        assert objects.read(f"{at}/{name}") == file.read_bytes()
        assert (tmp_path / "made" / name).read_bytes() == file.read_bytes()
    scores = objects.read(f"{at}/evaluation/scores.csv")
    assert scores == (tmp_path / "here" / "evaluation" / "scores.csv").read_bytes()
    assert len(list(csv.reader(io.StringIO(scores.decode())))) == 5
    assert b"<html" in objects.read(f"{at}/evaluation/evaluation.html")


def test_an_address_that_cannot_be_used_is_said_before_any_work(
    bucket: Bucket, untrained_model: Path, drawn: ModuleType, tmp_path: Path
) -> None:
    drawn.write_video(tmp_path / "a.mp4", drawn.draw(8)[0])
    with pytest.raises(InputError, match=r"^s3://absent/store: cannot be read \(The specified b"):
        prepare(tmp_path, "s3://absent/store", recipe=tiny())
    nowhere = f"file://{tmp_path}/a.mp4/store"
    with pytest.raises(OutputError, match=rf"^{nowhere}/\.trial: cannot be written \("):
        prepare(tmp_path, nowhere, recipe=tiny())
    with pytest.raises(InputError, match=r"^s3://bucket/nothing: not a track store"):
        evaluate(untrained_model, {"none": f"{bucket.address}/nothing"}, tmp_path / "out")
