"""A store from videos that are objects: each is fetched where it is prepared, and dropped."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

from fakestormer.data import units
from fakestormer.data.layouts.options import Options
from fakestormer.data.manifest import read_manifest
from fakestormer.data.origin import Origin, entries_of, read_origin, root_of
from fakestormer.data.prepare import prepare_listing
from fakestormer.errors import InputError
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
