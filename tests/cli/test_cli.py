"""The command line as a user meets it: sentences, exit codes, files; and that all is documented."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import get_args

import pytest
from typer.main import get_command

from command_line import run
from fakestormer.cli import ExitCode, app
from fakestormer.cli.options import RecipeName
from fakestormer.recipe.named import RECIPES

ROOT = Path(__file__).resolve().parents[2]
MakeVideo = Callable[..., Path]


BAD_FILES = {
    "missing.mp4": None,
    "empty.mp4": b"",
    "text.mp4": b"this is not a video\n" * 200,
    "header.mp4": b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2avc1mp41" + b"\x00" * 64,
}


@pytest.mark.usefixtures("face_backend_ready")
@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_gets_one_sentence_and_its_code(
    name: str,
    untrained_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / name
    content = BAD_FILES[name]
    if content is not None:
        path.write_bytes(content)
    results = tmp_path / "results.json"
    code, out, err = run(
        ["detect", path, "--model", untrained_model, "--json", results], monkeypatch, capfd
    )
    assert code == ExitCode.ALL_FAILED
    assert out == ""
    assert len(err.strip().splitlines()) == 1, err
    assert str(path) in err
    (result,) = json.loads(results.read_text())["results"]
    assert result["path"] == str(path)
    assert result["probability"] is None
    assert result["verdict"] is None
    assert result["error"] == err.strip()


@pytest.mark.usefixtures("face_backend_ready")
def test_one_bad_file_does_not_stop_the_others(
    untrained_model: Path,
    astronaut_video: MakeVideo,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    good = astronaut_video(tmp_path / "good.mp4", count=8)
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"")
    results, reports = tmp_path / "out" / "results.json", tmp_path / "reports"
    code, out, err = run(
        ["detect", bad, good, "--model", untrained_model, "--json", results, "--report", reports],
        monkeypatch,
        capfd,
    )
    assert code == ExitCode.SOME_FAILED
    assert str(bad) in err
    first, second = json.loads(results.read_text())["results"]
    assert first["probability"] is None
    assert second["path"] == str(good)
    # Printed from the number itself, which the JSON has rounded to six digits.
    printed = re.search(rf"^{re.escape(str(good))}: (.+) \((\d\.\d+)\)", out, re.MULTILINE)
    assert printed is not None
    assert printed[1] == second["verdict"]
    assert float(printed[2]) == pytest.approx(second["probability"], abs=6e-4)
    assert 0 <= second["probability"] <= 1
    (face,) = second["faces"]
    assert len(face["clips"]) == 2  # 8 frames in clips of 4
    assert face["clips"][0]["frames"] == [0, 1, 2, 3]
    page, index = sorted(reports.glob("*.html"))
    assert index.name == "index.html"
    assert str(page) in out
    assert "The most suspicious moment" in page.read_text(encoding="utf-8")


VIDEOS = {
    "one frame": ({"count": 1}, ExitCode.ALL_FAILED, "has a single frame"),
    "two faces": ({"count": 8, "faces": 2}, ExitCode.DONE, ""),
    "rotated": ({"count": 8, "how": {"rotation": 180}}, None, ""),
    "fewer frames than a clip": ({"count": 3}, ExitCode.DONE, ""),
    "wider than high": ({"count": 8, "width": 640, "height": 300}, ExitCode.DONE, ""),
}


@pytest.mark.usefixtures("face_backend_ready")
@pytest.mark.parametrize("case", VIDEOS)
def test_the_exit_code_of_every_kind_of_video(
    case: str,
    untrained_model: Path,
    astronaut_video: MakeVideo,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    how, expected, sentence = VIDEOS[case]
    video = astronaut_video(tmp_path / "video.mp4", **how)
    code, out, err = run(["detect", video, "--model", untrained_model], monkeypatch, capfd)
    if expected is None:  # upside down: found or not, but never a crash
        assert code in (ExitCode.DONE, ExitCode.ALL_FAILED)
        return
    assert code == expected
    assert sentence in err
    assert out.count("  Face ") == (0 if code else how.get("faces", 1))


@pytest.mark.usefixtures("face_backend_ready")
def test_no_face_and_a_cut_off_file(
    untrained_model: Path,
    make_video: MakeVideo,
    astronaut_video: MakeVideo,
    numbered_frames: Callable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    blocks = make_video(numbered_frames(12), tmp_path / "blocks.mp4")
    code, _, err = run(["detect", blocks, "--model", untrained_model], monkeypatch, capfd)
    assert (code, err.count("\n")) == (ExitCode.ALL_FAILED, 1)
    assert "no face could be followed in its 12 frames" in err

    whole = astronaut_video(tmp_path / "whole.mkv", count=60, how={"options": {"g": "5"}})
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    code, out, _ = run(["detect", cut, "--model", untrained_model], monkeypatch, capfd)
    assert code == ExitCode.DONE
    assert "truncated or damaged" in out


def test_where_results_cannot_go(
    untrained_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    code, _, err = run(
        ["detect", "a.mp4", "--model", untrained_model, "--json", tmp_path], monkeypatch, capfd
    )
    assert code == ExitCode.USAGE
    assert "folder" in err


@pytest.mark.usefixtures("face_backend_ready")
def test_a_file_name_that_is_not_unicode(
    untrained_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    strange = os.fsdecode(bytes(tmp_path) + b"/f\xe9.mp4")
    Path(strange).write_bytes(b"")
    results = tmp_path / "results.json"
    code, _, err = run(
        ["detect", strange, "--model", untrained_model, "--json", results], monkeypatch, capfd
    )
    assert code == ExitCode.ALL_FAILED
    assert err.strip()
    assert json.loads(results.read_text())["results"][0]["path"] == strange


@pytest.mark.slow
@pytest.mark.usefixtures("face_backend_ready")
def test_from_a_folder_of_videos_to_a_verdict(
    astronaut_video: MakeVideo,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The commands of the README, on a folder with one bad file among the videos."""
    videos, trained = tmp_path / "videos", tmp_path / "run"
    for number in range(4):
        source = "kept" if number == 3 else "other"
        astronaut_video(videos / f"{source}_{number}.mp4", count=12, width=400 + 10 * number)
    (videos / "other_9.mp4").write_bytes(b"not a video")
    small = ["model.image_size=32", "model.patch_size=8", "model.width=16", "model.depth=1"]
    small += ["model.heads=2", "training.batch_size=4", "training.epochs=2"]
    sets = [word for assignment in small for word in ("--set", assignment)]

    code, out, err = run(
        ["train", videos, "--out", trained, "--hold-out", "kept", "--workers", 0, *sets],
        monkeypatch,
        capfd,
    )
    assert code == ExitCode.DONE, err
    assert "4 face tracks (3 for train, 1 for validation), 48 frames, from 5 videos" in out
    assert "other_9.mp4: not used: undecodable" in err
    assert "validation AUC" in out
    assert {path.name for path in trained.iterdir()} >= {
        "model.safetensors", "model.json", "checkpoints", "tensorboard", "store",
    }  # fmt: skip

    code, _, err = run(["train", trained / "store", "--out", trained, *sets], monkeypatch, capfd)
    assert code == ExitCode.ALL_FAILED
    assert "holds a run already" in err

    code, out, _ = run(["detect", videos / "kept_3.mp4", "--model", trained], monkeypatch, capfd)
    assert code == ExitCode.DONE
    assert "Face 1" in out


def test_wrong_usage(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(["detect", "--model", "m"], monkeypatch, capfd)
    assert code == ExitCode.USAGE
    assert "Missing argument" in err
    code, _, err = run(["recipe", "huge"], monkeypatch, capfd)
    assert code == ExitCode.USAGE
    assert "paper, release, foundation, small, tiny" in " ".join(err.replace("│", " ").split())
    code, _, err = run(["recipe", "tiny", "--set", "training.epoch=3"], monkeypatch, capfd)
    assert code == ExitCode.USAGE
    assert "training.epoch" in err


def test_a_model_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(["detect", "a.mp4", "--model", tmp_path / "none"], monkeypatch, capfd)
    assert code == ExitCode.ALL_FAILED
    assert "none" in err
    assert len(err.strip().splitlines()) == 1


def test_without_face_models_it_says_what_to_run(
    untrained_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("FAKESTORMER_CACHE", str(tmp_path / "no models here"))
    code, _, err = run(
        ["detect", "a.mp4", "--model", untrained_model, "--faces", "blazeface"], monkeypatch, capfd
    )
    assert code == ExitCode.SETUP_NEEDED
    assert "fakestormer setup" in err


def test_recipe_prints_what_set_changes(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(
        ["recipe", "paper", "--set", "training.epochs=7", "--set", "synthesis.mode=frame-wise"],
        monkeypatch,
        capfd,
    )
    assert code == ExitCode.DONE
    lines = [line.split() for line in out.splitlines()]
    assert ["training.epochs=7", "ours"] in lines
    assert ['synthesis.mode="frame-wise"', "ours"] in lines


def test_every_command_and_exit_code_is_documented() -> None:
    documentation = (ROOT / "docs" / "quickstart.md").read_text()
    commands = get_command(app).commands  # type: ignore[attr-defined]
    for name in commands:
        assert f"fakestormer {name}" in documentation, f"docs/quickstart.md does not show {name}"
    for code in ExitCode:
        assert f"| {code.value} |" in documentation, f"docs/quickstart.md: no exit code {code}"


def test_help_needs_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fakestormer", "--help"], capture_output=True, text=True, check=True
    )
    assert "detect" in done.stdout


def test_ctrl_c_says_that_finished_work_is_kept(
    tmp_path: Path, astronaut_video: MakeVideo, untrained_model: Path, face_backend_ready: None
) -> None:
    """In a process of its own, which a shell did not start in the background."""
    videos = [astronaut_video(tmp_path / "0.mp4", count=25)]
    for number in range(1, 12):
        videos.append(tmp_path / f"{number}.mp4")
        os.link(videos[0], videos[-1])
    command = [sys.executable, "-m", "fakestormer", "detect", *videos]
    process = subprocess.Popen(
        [*map(str, command), "--model", str(untrained_model), "--json", str(tmp_path / "r.json")],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "r.json").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == ExitCode.INTERRUPTED
    assert "Interrupted; what was finished is kept." in err


def test_ctrl_c_stays_one_where_a_library_says_something_else(tmp_path: Path) -> None:
    """As C code does that is interrupted while it is loaded."""
    code = (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import fakestormer.detection.batch\n"
        "def opened(settings):\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        time.sleep(30)\n"
        "    except KeyboardInterrupt:\n"
        "        pass\n"
        "    raise ImportError('initialization failed')\n"
        "fakestormer.detection.batch.DetectorSettings.open = opened\n"
        "sys.argv = ['fakestormer', 'detect', 'x.mp4']\n"
        "from fakestormer.cli import main\n"
        "main()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.returncode == ExitCode.INTERRUPTED, ended.stderr
    assert "Interrupted; what was finished is kept." in ended.stderr
    assert "Traceback" not in ended.stderr


def test_version_is_printed_alone() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "fakestormer", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == f"fakestormer {version('fakestormer')}\n"
    assert result.stderr == ""


def test_shells_complete_commands_and_options() -> None:
    for typed, wanted in (("fakestormer det", "detect"), ("fakestormer detect --jso", "--jsonl")):
        asked = {"_FAKESTORMER_COMPLETE": "complete_bash", "COMP_WORDS": typed}
        done = subprocess.run(
            [sys.executable, "-c", "from fakestormer.cli import app; app(prog_name='fakestormer')"],
            env={**os.environ, **asked, "COMP_CWORD": str(len(typed.split()) - 1)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert wanted in done.stdout.split(), done.stderr


def test_the_recipes_of_the_option_are_those_there_are() -> None:
    names, _ = get_args(RecipeName)
    assert get_args(names) == tuple(RECIPES)


def test_shells_complete_commands_options_and_values(tmp_path: Path) -> None:
    for words, completed in (
        ("fakestormer de", "detect"),
        ("fakestormer detect --fail-on lik", "likely-fake"),
        ("fakestormer detect --sampling sp", "spread"),
    ):
        asked = {
            "_FAKESTORMER_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split()) - 1),
        }
        done = subprocess.run(
            [sys.executable, "-c", "from fakestormer.cli import app; app(prog_name='fakestormer')"],
            capture_output=True, text=True, cwd=tmp_path, env=os.environ | asked,
        )  # fmt: skip
        assert done.stdout.split() == [completed], done.stderr
