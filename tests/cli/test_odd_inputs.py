"""What is given to commands by mistake, and output that cannot be written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import fakestormer
from command_line import run
from fakestormer.cli import ExitCode

MakeVideo = Callable[..., Path]

pytestmark = pytest.mark.usefixtures("face_backend_ready")


def detect(
    *arguments: object, stdin: bytes = b"", cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """The command in a process of its own."""
    source = str(Path(fakestormer.__file__).parents[1])
    return subprocess.run(
        [sys.executable, "-m", "fakestormer", "detect", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        check=False,
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": source, "OMP_NUM_THREADS": "1"} | environment,
        timeout=280,
    )


def test_rows_of_a_table_without_a_video_make_exit_code_3(
    astronaut_video: MakeVideo,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    astronaut_video(tmp_path / "set" / "one.mp4", count=8)
    table = tmp_path / "labels.csv"
    arguments = ["prepare", tmp_path / "set", "--out", tmp_path / "store", "--table", table]
    arguments += ["--workers", "0"]
    table.write_text("path,label\none.mp4,fake\n")
    code, _, err = run(arguments, monkeypatch, capfd)
    assert code == ExitCode.ALL_FAILED
    assert "labels.csv: none of its 1 rows is about a video in" in err
    assert not (tmp_path / "store").exists()

    table.write_text("path,label\nset/one.mp4,fake\nset/two.mp4,fake\n")
    code, _, err = run(arguments, monkeypatch, capfd)
    assert code == ExitCode.SOME_FAILED
    assert "labels.csv: line 3: set/two.mp4: is about no video here" in err


def test_video_bytes_on_standard_input_are_no_list(untrained_model: Path, crowd: Path) -> None:
    """Split at zero bytes they hold names such as "/"."""
    done = detect("-", "--model", untrained_model, stdin=crowd.read_bytes())
    assert done.returncode == ExitCode.ALL_FAILED
    (sentence,) = done.stderr.decode().splitlines()
    assert sentence == (
        "standard input: is no list of names but a file itself; name the file instead: "
        "fakestormer detect FILE"
    )


@pytest.fixture(scope="module")
def crowd(astronaut_video: MakeVideo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return astronaut_video(tmp_path_factory.mktemp("crowd") / "b\u00e9b\u00e9 \u4f60.mp4", count=8)


@pytest.mark.parametrize("how", ["cp1252", "ascii", "closed", "broken"])
def test_output_that_cannot_be_written_costs_no_result(
    how: str, untrained_model: Path, crowd: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results.json"
    arguments = [crowd, "--model", untrained_model, "--json", results]
    if how in ("cp1252", "ascii"):
        done = detect(*arguments, PYTHONIOENCODING=how, PYTHONUTF8="0")
    else:
        redirected = ">&-" if how == "closed" else "| true"
        line = f'"$0" -m fakestormer detect "$@" {redirected}'
        source = str(Path(fakestormer.__file__).parents[1])
        done = subprocess.run(
            ["bash", "-c", line, sys.executable, *map(str, arguments)],
            capture_output=True,
            check=False,
            env=os.environ | {"PYTHONPATH": source, "OMP_NUM_THREADS": "1"},
            timeout=280,
        )
    (result,) = json.loads(results.read_text(encoding="utf-8"))["results"]
    assert result["probability"] is not None
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    assert done.returncode == 0, done.stderr.decode()
    if how in ("cp1252", "ascii"):
        assert b"inconclusive" in done.stdout or b"found" in done.stdout or b"fake" in done.stdout


def test_what_lies_beside_videos_is_no_failure(
    untrained_model: Path,
    crowd: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "one.mp4").write_bytes(crowd.read_bytes())
    for name in ("one.vtt", "two.mp4.part", "one.mp3", "desktop.ini", "one.description",
                 "Thumbs.db", "one.info.json", "one.ass", "one.nfo", "one.ytdl", "one.m4a",
                 "one.avif", "one.mp4.crdownload", "README", "SHA256SUMS", "one.xyz"):  # fmt: skip
        (tmp_path / name).write_bytes(b"beside")
    (tmp_path / "unnamed").write_bytes(crowd.read_bytes())
    code, out, err = run(["detect", tmp_path, "--model", untrained_model], monkeypatch, capfd)
    assert code == 0
    (line,) = err.splitlines()
    assert line.startswith(f"{tmp_path}: left out as no videos: 1 .ass, 1 .avif, 1 .crdownload, ")
    assert line.endswith(", 1 .xyz, 1 .ytdl, 1 README, 1 SHA256SUMS")
    assert "one.mp4" in out
    assert "unnamed" in out


@pytest.mark.parametrize("url", ["https://example.org/a.mp4", "rtsp://example.org/live"])
def test_addresses_are_not_fetched_and_that_is_said(
    url: str,
    untrained_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    code, _, err = run(["detect", url, "--model", untrained_model], monkeypatch, capfd)
    assert code == ExitCode.ALL_FAILED
    (sentence,) = err.splitlines()
    assert sentence == (
        f"{url}: is an address, and nothing is fetched unless you ask for it: `fakestormer detect "
        "ADDRESS --fetch FOLDER`; or download the video, and give the file"
    )


@pytest.mark.parametrize("command", ["saliency", "synthesize", "prepare"])
def test_no_command_takes_an_address_for_a_file(
    command: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run([command, "https://example.org/a.mp4", "--out", "x"], monkeypatch, capfd)
    assert code == ExitCode.ALL_FAILED
    assert err.startswith("https://example.org/a.mp4: is an address")


@pytest.fixture
def site(tmp_path: Path, crowd: Path) -> Iterator[str]:
    """A server on this machine with a video, and another of that name; gives its address."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "clip.mp4").write_bytes(crowd.read_bytes())
    (folder / "other").mkdir()
    (folder / "other" / "clip.mp4").write_bytes(b"\0\0\0\x14ftypisom" + bytes(8))
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_addresses_are_fetched_where_that_is_asked_for(
    site: str, untrained_model: Path, crowd: Path, tmp_path: Path
) -> None:
    pytest.importorskip("yt_dlp", reason="the extra `fetch` is not installed")
    results, kept = tmp_path / "results.json", tmp_path / "kept 100%"
    arguments = ["--fetch", kept, "--model", untrained_model, "--json", results]
    addresses = [f"{site}/{name}" for name in ("clip.mp4", "other/clip.mp4", "absent.mp4")]
    done = detect(*addresses, *arguments, no_proxy="127.0.0.1")
    assert done.returncode == ExitCode.SOME_FAILED, done.stderr.decode()
    judged, other, failed = json.loads(results.read_text(encoding="utf-8"))["results"]
    assert Path(judged["path"]).read_bytes() == crowd.read_bytes()
    assert {Path(result["path"]) for result in (judged, other)} == set(kept.iterdir())
    assert failed["path"] == f"{site}/absent.mp4"
    assert failed["error"].startswith(f"{site}/absent.mp4: cannot be fetched (")
    assert failed["error"] in done.stderr.decode()


@pytest.mark.parametrize("device", ["meta", "nonsense", "cuda:99", "mps:1"])
def test_a_device_that_cannot_compute_is_refused(
    device: str,
    untrained_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    arguments = ["detect", "x.mp4", "--model", untrained_model, "--device", device]
    code, _, err = run(arguments, monkeypatch, capfd)
    assert code == ExitCode.ALL_FAILED
    (sentence,) = err.splitlines()
    assert sentence.startswith(f"device '{device}' cannot be used here (")
    assert len(sentence) < 300


def test_a_folder_that_is_gone_is_one_sentence(untrained_model: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    source = str(Path(fakestormer.__file__).parents[1])
    line = 'cd "$1" && rmdir "$1" && "$0" -m fakestormer detect x.mp4 --model "$2"'
    done = subprocess.run(
        ["bash", "-c", line, sys.executable, str(gone), str(untrained_model)],
        capture_output=True,
        check=False,
        env=os.environ | {"PYTHONPATH": source, "OMP_NUM_THREADS": "1"},
        timeout=280,
    )
    assert done.returncode == ExitCode.ALL_FAILED
    assert b"Traceback" not in done.stderr, done.stderr.decode()
