"""The process that judges: the same answer as the detector's, within limits, for whatever comes."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakestormer.detection.batch import DetectOne, DetectorSettings
from fakestormer.detection.detector import Detector
from fakestormer.errors import InputError
from fakestormer.server import worker
from fakestormer.server.limits import Limits
from fakestormer.server.worker import WorkerSettings, judge_videos
from fakestormer.video.decode import probe
from odd_files import several

pytestmark = pytest.mark.usefixtures("face_backend_ready")

MakeVideo = Callable[..., Path]


@pytest.fixture(scope="module")
def detector(untrained_model: Path) -> Detector:
    return Detector(untrained_model)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, astronaut_video: MakeVideo) -> Path:
    return astronaut_video(tmp_path_factory.mktemp("film") / "face.mp4", count=8)


@pytest.fixture(scope="module")
def process(untrained_model: Path) -> Iterator[Connection]:
    """A real worker process; what is sent to it is answered."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    settings = WorkerSettings(
        detector=DetectorSettings(model=untrained_model),
        limits=Limits(gigabytes=2.0),
        threads=1,
    )
    running = context.Process(target=judge_videos, args=(theirs, settings), daemon=True)
    running.start()
    theirs.close()
    ready = json.loads(ours.recv_bytes())
    assert (ready["say"], ready["model"]["recipe"]) == ("ready", "untrained")
    yield ours
    ours.close()
    running.join(20)
    assert running.exitcode == 0


def judge(
    connection: Connection, path: Path, folder: Path, name: str, options: str = "{}"
) -> list[dict[str, Any]]:
    """All that a worker says about a job."""
    order = {"path": str(path), "folder": str(folder), "name": name, "options": options}
    connection.send_bytes(json.dumps(order).encode())
    said = [json.loads(connection.recv_bytes())]
    while said[-1]["say"] == "progress":
        said.append(json.loads(connection.recv_bytes()))
    return said


def test_a_process_says_what_the_detector_says(
    process: Connection, detector: Detector, film: Path, tmp_path: Path
) -> None:
    *progress, done = judge(process, film, tmp_path, "holiday.mp4", '{"overlay": true}')
    report = detector.detect(film)
    assert (done["say"], done["verdict"]) == ("done", report.verdict)
    assert done["probability"] == pytest.approx(report.probability, abs=1e-5)
    assert done["reasons"] == [reason.text for reason in report.reasons]
    assert done["interval"] == pytest.approx(report.interval, abs=1e-5)
    assert done["probability"] == round(done["probability"], 6), "rounded as in the result"
    assert done["warnings"] == [*report.warnings, *report.faces[0].warnings]
    assert [said["stage"] for said in progress][-1] == "report"
    assert {"faces", "scores", "overlay"} <= {said["stage"] for said in progress}
    kept = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert kept == {"result.json", "report.html", "thumbnail.jpg", "overlay.mp4"}
    drawn = probe(tmp_path / "overlay.mp4")
    assert (drawn.width, drawn.frame_count) == (report.video["width"], 8)
    # All of it but the name, which is the sender's: where it lies here is nobody's business.
    found, own = json.loads((tmp_path / "result.json").read_text()), report.to_dict()
    assert str(film.parent) not in json.dumps(found)
    assert found.pop("path") == found["video"].pop("path") == "holiday.mp4"
    assert own.pop("path") == own["video"].pop("path") == str(film)
    for result in (found, own):
        for entry in (result, *result["faces"]):
            entry["probability"] = round(entry["probability"], 4)
        for face in result["faces"]:
            face["shots"] = [round(score, 4) for score in face["shots"]["each"]]
            for clip in face["clips"]:
                clip["probability"] = round(clip["probability"], 4)
                clip["frame_probabilities"] = [
                    round(score, 4) for score in clip["frame_probabilities"] or []
                ]
    assert found == json.loads(json.dumps(own))
    page = (tmp_path / "report.html").read_text()
    assert "holiday.mp4" in page
    assert 'href="overlay.mp4"' in page
    assert str(film.parent) not in page


def test_a_job_may_name_the_stream_to_judge(
    process: Connection, film: Path, tmp_path: Path, make_video: MakeVideo
) -> None:
    black = make_video([np.zeros((360, 480, 3), np.uint8)] * 8, tmp_path / "black.mp4")
    both = several(tmp_path / "two.mkv", black, film, default=(0,))
    assert judge(process, both, tmp_path, "two.mkv")[-1]["say"] == "failed"
    done = judge(process, both, tmp_path, "two.mkv", options='{"stream": 1}')[-1]
    assert done["say"] == "done"
    assert json.loads((tmp_path / "result.json").read_text())["video"]["stream"] == 1


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "a.mp4: is empty (0 bytes); copy or download it again"),
        (b"no film" * 100, "a.mp4: cannot be opened as a video"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "a.mp4: "),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 100, "a.mp4: "),
    ],
)
def test_what_is_no_video_is_said_in_one_sentence(
    process: Connection, tmp_path: Path, content: bytes, sentence: str
) -> None:
    (tmp_path / "upload").write_bytes(content)
    (said,) = judge(process, tmp_path / "upload", tmp_path, "a.mp4")
    assert said["say"] == "failed"
    assert said["sentence"].startswith(sentence)
    assert str(tmp_path) not in said["sentence"]
    assert "\n" not in said["sentence"]
    assert {path.name for path in tmp_path.iterdir()} == {"upload"}


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        (Limits(seconds=0.2), "a.mp4: is 0 s long, and this server takes up to 0.2 s"),
        (Limits(side=400), "a.mp4: its picture is 480 x 360, and this server takes up to 400"),
        (Limits(frames=7), "a.mp4: has more than 7 frames"),
    ],
)
def test_what_is_too_much_is_refused_before_it_is_decoded(
    detector: Detector, film: Path, tmp_path: Path, limits: Limits, sentence: str
) -> None:
    said = asked(detector, limits, film, tmp_path)
    assert len(said) == 1
    assert said[0]["sentence"].startswith(sentence)


def test_frames_are_counted_whatever_the_container_announces(
    detector: Detector, tmp_path: Path, make_video: MakeVideo, numbered_frames: Callable[..., list]
) -> None:
    # A transport stream says nothing about how many frames it has.
    film = make_video(numbered_frames(12), tmp_path / "a.ts")
    *progress, last = asked(detector, Limits(frames=10), film, tmp_path)
    assert [said["stage"] for said in progress] == ["faces"] * len(progress)
    assert last["sentence"].startswith("a.mp4: has more than 10 frames")


def asked(detector: Detector, limits: Limits, film: Path, folder: Path) -> list[dict[str, Any]]:
    """What a worker of this process says."""
    ours, theirs = multiprocessing.Pipe()
    order = {"path": str(film), "folder": str(folder), "name": "a.mp4", "options": "{}"}
    work = DetectOne(DetectorSettings(), detector)
    answer = worker._judge(theirs, work, limits, order)
    theirs.close()
    said = []
    while True:
        try:
            said.append(json.loads(ours.recv_bytes()))
        except EOFError:
            return [*said, answer]


def test_a_lack_of_memory_is_told_from_a_damaged_file(
    detector: Detector, film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def detect(self: Detector, path: str, **options: object) -> None:
        raise InputError("its pixel format cannot be converted") from MemoryError()

    monkeypatch.setattr(Detector, "detect", detect)
    with pytest.raises(MemoryError):
        asked(detector, Limits(), film, tmp_path)


def test_memory_is_bounded() -> None:
    code = (
        "from fakestormer.server.confine import bound_memory\n"
        "import resource\n"
        "bound_memory(1.0)\n"
        "kept = bytearray(2**26)\n"
        "try:\n"
        "    bytearray(2**30)\n"
        "except MemoryError:\n"
        "    print('refused', resource.getrlimit(resource.RLIMIT_CORE))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "refused (0, 0)"


def test_a_model_that_does_not_load_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "leave_signals_to_parent", lambda: None)
    ours, theirs = multiprocessing.Pipe()
    missing = tmp_path / "none.safetensors"
    judge_videos(theirs, WorkerSettings(detector=DetectorSettings(model=missing), limits=Limits()))
    said = json.loads(ours.recv_bytes())
    assert (said["say"], said["setup"]) == ("unusable", False)
    assert said["sentence"].startswith(str(missing))


def test_the_server_says_the_error_rates_of_the_weights_that_ship() -> None:
    detector = Detector()
    said = worker.described(detector)
    assert said["error_rates"] == detector.settings()["error_rates"]
    assert {name: said[name] for name in detector.fingerprint()} == detector.fingerprint()
