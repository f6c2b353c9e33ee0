"""Many files over several processes: the same answers, and no file can stop the others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fakestormer.detection.batch import DetectOne, DetectorSettings, detect_many, files_of
from fakestormer.detection.detector import Detector
from fakestormer.detection.results import result_of
from fakestormer.errors import InputError, OutputError
from fakestormer.types import Report


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory,
    astronaut_video: Callable[..., Path],
    make_video: Callable[..., Path],
    numbered_frames: Callable[..., list],
) -> Path:
    """Two faces at two depths, a film without any, and a file that is no film."""
    folder = tmp_path_factory.mktemp("batch") / "videos"
    astronaut_video(folder / "one.mp4", count=8)
    astronaut_video(folder / "deeper" / "two.mp4", count=9)
    make_video(numbered_frames(6), folder / "nobody.mp4")
    (folder / "broken.mp4").write_bytes(b"no film")
    (folder / "notes.txt").write_text("not tried")
    return folder


def test_files_are_those_given_and_those_below_folders_each_once(folder: Path) -> None:
    names = ["broken.mp4", "deeper/two.mp4", "nobody.mp4", "one.mp4"]
    assert files_of([folder]) == [folder / name for name in names]
    # A file that is named is tried, whatever its name.
    given = [folder / "notes.txt", folder / "one.mp4", folder]
    assert files_of(given) == [
        folder / name
        for name in ("notes.txt", "one.mp4", "broken.mp4", "deeper/two.mp4", "nobody.mp4")
    ]
    (empty := folder.parent / "empty").mkdir()
    with pytest.raises(InputError, match="empty: no videos in this folder"):
        files_of([empty])
    told: list[tuple[Path, str]] = []
    files = files_of([empty, folder / "one.mp4"], unusable=lambda *of: told.append(of))
    assert files == [folder / "one.mp4"]
    ((which, why),) = told
    assert which == empty
    assert "no videos in this folder" in str(why)


def test_processes_say_what_one_detector_says(
    folder: Path, untrained_model: Path, face_backend_ready: None
) -> None:
    films = folder.parent / "films"
    settings = DetectorSettings(
        model=untrained_model, sampling="spread", scene=False, overlay=films
    )
    files = [str(path) for path in files_of([folder])]
    found = dict(detect_many(settings, files, workers=2))
    assert found.keys() == set(files)
    alone = settings.open()
    for path, said in found.items():
        if Path(path).name in ("broken.mp4", "nobody.mp4"):
            assert isinstance(said, str)
            assert said.startswith(path)
        else:
            assert isinstance(said, Report)
            report = alone.detect(path)
            assert result_of(said) == result_of(report)
            assert (said.scene, report.scene is None) == (None, False)
            film = alone.write_overlay(report, folder.parent / "alone")
            assert (films / film.name).read_bytes() == film.read_bytes()
            assert said.settings["sampling"] == "spread"
    assert len(list(films.iterdir())) == 2


def test_a_file_that_kills_its_process_is_named(
    folder: Path, untrained_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "fakestormer.detection.batch.map_videos",
        lambda work, names, workers: iter([(names[0], None)]),
    )
    ((path, said),) = detect_many(DetectorSettings(model=untrained_model), ["a.mp4"], workers=1)
    assert path == "a.mp4"
    assert isinstance(said, str)
    assert said.startswith("a.mp4: the process that decoded it died")


def test_a_film_that_is_gone_before_its_overlay_stops_nothing(
    folder: Path, untrained_model: Path, face_backend_ready: None, tmp_path: Path
) -> None:
    """Scored, then replaced by something else; a folder that cannot be written ends the run."""
    film = tmp_path / "going.mp4"
    film.write_bytes((folder / "one.mp4").read_bytes())

    class Going(Detector):
        def detect(self, path: str | Path, **options: Any) -> Report:
            report = super().detect(path, **options)
            film.write_bytes(b"no film")
            return report

    settings = DetectorSettings(model=untrained_model, overlay=tmp_path / "films")
    work = DetectOne(settings)
    detector = settings.open()
    detector.__class__ = Going
    work._detector = detector
    said = work(str(film))
    assert isinstance(said, str)
    assert said.startswith(str(film))
    film.write_bytes((folder / "one.mp4").read_bytes())
    (tmp_path / "file").write_text("no folder")
    nowhere = DetectOne(DetectorSettings(model=untrained_model, overlay=tmp_path / "file" / "x"))
    with pytest.raises(OutputError, match="cannot be written there"):
        nowhere(str(film))
