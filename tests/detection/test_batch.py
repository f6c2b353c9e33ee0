"""Many files over several processes: the same answers, and no file can stop the others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fakestormer.detection.batch import DetectOne, DetectorSettings, detect_many, files_of
from fakestormer.detection.detector import Detector
from fakestormer.errors import InputError, NoFaceError, OutputError
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
    assert _files([folder]) == [folder / name for name in names]
    # A file that is named is tried, whatever its name.
    given = [folder / "notes.txt", folder / "one.mp4", folder]
    assert _files(given) == [
        folder / name
        for name in ("notes.txt", "one.mp4", "broken.mp4", "deeper/two.mp4", "nobody.mp4")
    ]
    (empty := folder.parent / "empty").mkdir()
    failures: list[tuple[Path, InputError]] = []
    files = files_of([empty, folder / "one.mp4"], unusable=lambda *of: failures.append(of))
    assert files == [folder / "one.mp4"]
    ((which, why),) = failures
    assert which == empty
    assert "no videos in this folder" in str(why)


def _files(inputs: list[Path]) -> list[Path]:
    def refuse(folder: Path, error: InputError) -> None:
        raise error

    return files_of(inputs, unusable=refuse)


def test_processes_say_what_one_detector_says(
    folder: Path, untrained_model: Path, face_backend_ready: None
) -> None:
    films = folder.parent / "films"
    settings = DetectorSettings(
        model=untrained_model, sampling="spread", scene=False, overlay=films
    )
    events: list[tuple[str, str, int, int | None]] = []
    detections = list(
        detect_many(
            [folder], settings=settings, workers=2, progress=lambda *event: events.append(event)
        )
    )
    assert events == [("", "files", done, 4) for done in (1, 2, 3, 4)]
    detections.sort(key=lambda detection: detection.place)
    assert [detection.path for detection in detections] == [str(p) for p in _files([folder])]
    alone = settings.open()
    for detection in detections:
        path, said = detection.path, detection.report
        if Path(path).name in ("broken.mp4", "nobody.mp4"):
            assert said is None
            assert str(detection.error).startswith(path)
            assert isinstance(detection.error, NoFaceError) == path.endswith("nobody.mp4")
            assert detection.result["error"] == str(detection.error)
        else:
            assert said is not None
            report = alone.detect(path, scene=False)
            assert detection.result == said.to_dict() == report.to_dict()
            assert said.scene is None
            film = alone.write_overlay(report, folder.parent / "alone")
            assert (films / film.name).read_bytes() == film.read_bytes()
            assert said.settings["sampling"] == "spread"
    assert len(list(films.iterdir())) == 2


def test_a_file_that_kills_its_process_is_named(
    folder: Path, untrained_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "fakestormer.detection.batch.map_videos",
        lambda work, names, **how: iter([(names[0], None)]),
    )
    settings = DetectorSettings(model=untrained_model)
    (detection,) = detect_many(["a.mp4"], settings=settings, workers=1)
    assert (detection.path, detection.report) == ("a.mp4", None)
    assert str(detection.error).startswith("a.mp4: the process that decoded it died")


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
    outcome = work(str(film))
    assert isinstance(outcome, InputError)
    assert str(outcome).startswith(str(film))
    film.write_bytes((folder / "one.mp4").read_bytes())
    (tmp_path / "file").write_text("no folder")
    nowhere = DetectOne(DetectorSettings(model=untrained_model, overlay=tmp_path / "file" / "x"))
    with pytest.raises(OutputError, match="cannot be written"):
        nowhere(str(film))
