"""Videos and results in an object store that speaks S3; nothing of them stays on this machine."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from fakestormer.cli import ExitCode
from fakestormer.detection.batch import DetectorSettings, ResultFiles, detect_many
from fakestormer.errors import InputError, OutputError
from fakestormer.video.objects import fetched, is_object, read, size_and_time, videos_at, write
from miniature_material import call
from object_stores import Bucket


@pytest.fixture(scope="module")
def films(
    bucket: Bucket, tmp_path_factory: pytest.TempPathFactory, astronaut_video: Callable[..., Path]
) -> str:
    """s3://BUCKET with FOLDER/one.mp4, FOLDER/deeper/two.mp4, FOLDER/broken.mp4 and notes."""
    film = astronaut_video(tmp_path_factory.mktemp("films") / "film.mp4", count=8).read_bytes()
    for key, content in (
        ("films/one.mp4", film),
        ("films/deeper/two.mp4", film),
        ("films/broken.mp4", b"no film"),
        ("films/notes.txt", b"no video"),
    ):
        bucket.put(key, content)
    return bucket.address


def test_addresses_of_objects() -> None:
    assert is_object("s3://bucket/key")
    assert is_object("file:///folder")
    for name in ("https://example.org/a.mp4", "s3:/bucket", "folder/a.mp4", Path("a")):
        assert not is_object(name)


def test_what_lies_in_a_store(films: str) -> None:
    below = ["broken.mp4", "deeper/two.mp4", "one.mp4"]
    assert videos_at(f"{films}/films") == [f"{films}/films/{name}" for name in below]
    assert videos_at(f"{films}/films/notes.txt") == [f"{films}/films/notes.txt"]
    with fetched(f"{films}/films/notes.txt") as file:
        assert (file.name, file.read_bytes()) == ("notes.txt", b"no video")
    assert not file.parent.exists()
    assert size_and_time(f"{films}/films/absent.mp4") is None
    with pytest.raises(FileNotFoundError):
        read(f"{films}/absent.json")
    with pytest.raises(InputError, match="no video is there"):
        videos_at(f"{films}/nothing")
    with pytest.raises(OutputError, match=r"s3://absent/a\.json: cannot be written"):
        write("s3://absent/a.json", b"{}")


def test_local_files_by_address(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"film")
    address = f"file://{tmp_path}"
    assert videos_at(address) == [f"{address}/a.mp4"]
    write(f"{address}/new/results.json", b"{}")
    assert (tmp_path / "new" / "results.json").read_bytes() == b"{}"


def test_results_name_the_objects_and_nothing_stays_here(
    films: str,
    untrained_model: Path,
    face_backend_ready: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """By the command: one bad object costs only itself; resumed, only it is tried again."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    places = [f"{films}/results/{name}" for name in ("all.json", "all.csv")]
    command = ["detect", f"{films}/films", "--model", str(untrained_model)]
    command += ["--json", places[0], "--csv", places[1]]
    assert call(command, capfd)[0] == ExitCode.SOME_FAILED
    results = {entry["path"]: entry for entry in json.loads(read(places[0]))["results"]}
    assert sorted(results) == videos_at(f"{films}/films")
    broken = results.pop(f"{films}/films/broken.mp4")
    assert broken["error"].startswith(f"{films}/films/broken.mp4: ")
    assert all(entry["verdict"] for entry in results.values())
    assert f"{films}/films/one.mp4" in read(places[1]).decode()
    assert not list((tmp_path / "temporary").iterdir())

    settings = DetectorSettings(model=untrained_model)
    again = list(
        detect_many(
            [f"{films}/films"],
            settings=settings,
            files=ResultFiles(json_file=places[0], resume=True),
        )
    )
    kept = {detection.path for detection in again if not detection.error and not detection.report}
    assert kept == set(results)


def test_a_bucket_that_is_not_there_costs_only_itself(
    films: str, untrained_model: Path, face_backend_ready: None
) -> None:
    settings = DetectorSettings(model=untrained_model)
    given = ["s3://absent/videos", f"{films}/films/one.mp4"]
    detections = {d.path: d for d in detect_many(given, settings=settings)}
    assert str(detections["s3://absent/videos"].error).startswith("s3://absent/videos: ")
    assert detections[f"{films}/films/one.mp4"].report is not None
