"""The public names: documented, typed for users, shown by dir(), and what a report can do."""

from __future__ import annotations

import importlib.metadata
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import fakestormer
from fakestormer import (
    Detector,
    DetectorSettings,
    FaceReport,
    InputError,
    NoFaceError,
    Report,
    ResultFiles,
    detect_many,
    load_recipe,
)
from video_fixtures import astronaut_frames, write_video

ROOT = Path(__file__).resolve().parents[1]
FUNCTIONS = (
    "detect_many", "evaluate", "fit", "load_recipe", "prepare", "synthesize", "train",
    "write_index", "write_pdf", "write_report", "write_thumbnail",
)  # fmt: skip


def test_names_are_shown_and_there() -> None:
    assert dir(fakestormer) == sorted(fakestormer.__all__)
    assert {"Detector", "InputError", "Report", "__version__", *FUNCTIONS} <= set(dir(fakestormer))
    for name in fakestormer.__all__:
        assert getattr(fakestormer, name) is not None
    assert fakestormer.__version__ == importlib.metadata.version("fakestormer")
    with pytest.raises(AttributeError, match="has no attribute 'detectr'"):
        _ = fakestormer.detectr


@pytest.mark.parametrize(
    "function",
    [
        *(getattr(fakestormer, name) for name in FUNCTIONS),
        Detector.__init__,
        Detector.detect,
        Detector.predicting,
        Detector.write_overlay,
    ],
    ids=lambda function: function.__qualname__,
)
def test_functions_are_documented(function: Callable[..., object]) -> None:
    text = inspect.getdoc(function) or ""
    assert "Args:\n" in text
    assert "Raises:\n" in text
    assert "Returns:\n" in text or function is Detector.__init__
    names = [name for name in inspect.signature(function).parameters if name != "self"]
    assert len(names) <= 8
    for name in names:
        assert re.search(rf"^    {name}: ", text, re.MULTILINE), name


@pytest.mark.timeout(1800)
def test_a_users_file_is_typed() -> None:
    user = ROOT / "tests" / "user_typing.py"
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", str(user)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


@pytest.mark.usefixtures("face_backend_ready")
def test_every_kind_of_video_gives_the_same_scores(untrained_model: Path, tmp_path: Path) -> None:
    # Few colours, lossless: the pixels of the array are those that decode from the file.
    frames = astronaut_frames(10)
    path = write_video(frames, tmp_path / "a.mkv", codec="ffv1", pixel_format="bgr0", audio=False)
    detector = Detector(untrained_model)
    report = detector.detect(path, every_second=True)
    expected = report.to_dict()
    with path.open("rb") as file:
        by_file = detector.detect(file, every_second=True)
    assert by_file.to_dict() == expected
    by_bytes = detector.detect(path.read_bytes(), name="b.mkv", every_second=True).to_dict()
    assert (by_bytes["path"], by_bytes["video"]["path"]) == ("b.mkv", "b.mkv")
    assert by_bytes["sha256"] == expected["sha256"]
    array = detector.detect(np.stack(frames), frames_per_second=25, every_second=True).to_dict()
    assert (array["path"], array["video"]["container"]) == ("video", "array")
    for face, same in zip(array["faces"], expected["faces"], strict=True):
        assert face["probability"] == pytest.approx(same["probability"], abs=1e-6)
        assert face["every_second"] == same["every_second"]
    assert json.loads(report.to_json()) == json.loads(json.dumps(expected))


def test_what_is_no_video_is_named(untrained_model: Path, tmp_path: Path) -> None:
    detector = Detector(untrained_model)
    with pytest.raises(InputError, match=r"^clip: cannot be opened as a video"):
        detector.detect(b"no film", name="clip")
    with pytest.raises(InputError, match=r"^video: is empty"):
        detector.detect(b"")
    with pytest.raises(InputError, match=r"expected frames as uint8 \(T, H, W, 3\), got float64"):
        detector.detect(np.zeros((2, 8, 8, 3)), frames_per_second=25)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="give frames_per_second"):
        detector.detect(np.zeros((2, 8, 8, 3), np.uint8))
    with pytest.raises(InputError, match="frames_per_second is for frames only"):
        detector.detect("a.mp4", frames_per_second=25)
    (text := tmp_path / "a.txt").write_text("text")
    with text.open() as file, pytest.raises(InputError, match="a video cannot be a TextIOWrapper"):
        detector.detect(file)  # type: ignore[arg-type]


@pytest.mark.usefixtures("face_backend_ready")
def test_frames_without_a_face(untrained_model: Path) -> None:
    with pytest.raises(NoFaceError, match=r"^grey: no face could be followed in its 3 frames"):
        Detector(untrained_model).detect(
            np.full((3, 64, 64, 3), 128, np.uint8), frames_per_second=25, name="grey"
        )


@pytest.mark.usefixtures("face_backend_ready")
def test_many_files_are_resumed(
    untrained_model: Path, astronaut_video: Callable[..., Path], tmp_path: Path
) -> None:
    first = astronaut_video(tmp_path / "videos" / "a.mp4", count=4)
    (tmp_path / "videos" / "b.mp4").write_bytes(b"no film")
    settings = DetectorSettings(model=untrained_model, scene=False)
    files = ResultFiles(json_file=str(tmp_path / "results.json"), resume=True)
    stages: list[str] = []
    detections = list(
        detect_many(
            [tmp_path / "videos"],
            settings=settings,
            files=files,
            progress=lambda path, stage, done, total: stages.append(stage),
        )
    )
    assert [detection.report is None for detection in detections] == [False, True]
    assert stages == ["faces"] * 4 + ["scores", "files", "files"]
    again = list(detect_many([str(tmp_path / "videos")], settings=settings, files=files))
    assert [(done.path, done.report) for done in again] == [
        (str(first), None), (str(tmp_path / "videos" / "b.mp4"), None)
    ]  # fmt: skip
    assert again[0].error is None
    assert again[0].result["verdict"] == detections[0].result["verdict"]
    assert isinstance(again[1].error, InputError)


def test_recipes_by_name_and_of_models(untrained_model: Path, tmp_path: Path) -> None:
    recipe = load_recipe("tiny", ["training.epochs=3"])
    assert (recipe.name, recipe.training.epochs) == ("tiny", 3)
    for model in (untrained_model, untrained_model / "model.safetensors"):
        assert load_recipe(model).name == "untrained"
    for wrong in (["training.epochs=x"], ["nothing=1"]):
        with pytest.raises(InputError):
            load_recipe("tiny", wrong)
    with pytest.raises(InputError, match=r"no recipe named 'huge'; there are paper, "):
        load_recipe("huge")


def test_reports_are_readable(fake_report: Callable[..., Report]) -> None:
    report = fake_report(path="/home/<b>/interview.mp4")
    assert repr(report) == "Report('interview.mp4': likely fake, probability 0.871, 1 face)"
    _ = fakestormer.Report  # connects reports and their drawings
    html = report._repr_html_()
    assert html is not None
    assert len(html) < 100_000
    assert html.count("<circle") == 3
    assert html.count("data:image/webp;base64,") == 1
    for word in ("likely fake", "probability 0.87", "interview.mp4", "Face 1"):
        assert word in html
    assert "/home" not in html
    unscored = fake_report(faces=(), probability=None, face_number=None, verdict="inconclusive")
    assert "inconclusive" in str(unscored._repr_html_())
    strange = fake_report(path='x"><script>.mp4')._repr_html_()
    assert strange is not None
    assert "<script>" not in strange


def test_a_report_is_plotted(
    fake_face: Callable[..., FaceReport], fake_report: Callable[..., Report], tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    _ = fakestormer.Report  # connects reports and their drawings
    figure = fake_report((fake_face(explained=True),)).plot()
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["Face 1", "left jaw line, 1.6 to 1.7 s", ""], "plain, with the map, over time"
    (points,) = figure.axes[-1].collections
    assert [y for _, y in points.get_offsets().tolist()] == pytest.approx([0.12, 0.93, 0.41])
    figure.savefig(tmp_path / "report.png")
    assert len(fake_report((fake_face(),)).plot().axes) == 2
    unscored = fake_report(faces=(), probability=None, face_number=None, verdict="inconclusive")
    assert unscored.plot().axes == []
