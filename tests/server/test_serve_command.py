"""`fakestormer serve` as a command: what it refuses, and one video through all of it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from typer.testing import CliRunner

from fakestormer.cli import ExitCode, app
from fakestormer.detection.detector import Detector
from served import ended, send


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--host", "0.0.0.0"], "needs a token"),
        (["--token", ""], "the token must be"),
        (["--host", "no-such-host.invalid"], "is no address of this machine"),
        (["--queue", "0"], "--queue"),
        (["--workers", "0"], "--workers"),
        (["--retain", "-1"], "--retain"),
    ],
)
def test_what_is_refused_is_wrong_usage(
    untrained_model: Path, tmp_path: Path, options: list[str], sentence: str
) -> None:
    store = tmp_path / "store"
    command = ["serve", "--model", str(untrained_model), "--store", str(store), *options]
    done = CliRunner().invoke(app, command, env={"COLUMNS": "300"})
    assert done.exit_code == ExitCode.USAGE
    assert sentence in " ".join(done.output.split())
    assert not store.exists()


@contextmanager
def running(command: list[str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server and the address that it says it has."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            said = process.stdout.readline().split()
            assert said[:1] == ["FakeSTormer:"], process.communicate()
            yield process, said[1]
        finally:
            process.kill()


@pytest.mark.usefixtures("face_backend_ready")
def test_one_video_through_all_of_it(
    untrained_model: Path,
    tmp_path: Path,
    astronaut_video: Callable[..., Path],
    make_video: Callable[..., Path],
) -> None:
    """And one that asks for more memory than a worker may have: it fails, and nothing else does."""
    black_hwc = np.zeros((8192, 8192, 3), np.uint8)
    giant = make_video([black_hwc], tmp_path / "a.mkv", codec="mjpeg", pixel_format="yuvj420p")
    film = astronaut_video(tmp_path / "face.mp4", count=8)
    command = [sys.executable, "-m", "fakestormer", "serve", "--model", str(untrained_model)]
    command += ["--port", "0", "--store", str(tmp_path / "store"), "--retain", "0"]
    command += ["--max-memory", "1.0", "--max-side", "8192"]
    with running(command) as (process, url):
        with httpx.Client(base_url=url, timeout=60) as client:
            eats = ended(client, send(client, giant.read_bytes(), "giant.mkv"))
            job = ended(client, send(client, film.read_bytes(), "face.mp4"))
            bad = ended(client, send(client, b"no film", "notes.txt"))
            assert job["state"] == "done", job["error"]
            result = client.get(job["links"]["result"]).json()
            report = client.get(job["links"]["report"]).text
            assert client.get("/v1/server").json()["model"]["recipe"] == "untrained"
        process.send_signal(signal.SIGTERM)
        said = process.communicate()[1]
        assert process.returncode == ExitCode.DONE
    own = Detector(untrained_model).detect(film).to_dict()
    assert result["verdict"] == own["verdict"] == job["verdict"]
    assert result["probability"] == pytest.approx(own["probability"], abs=1e-5)
    assert result["sha256"] == own["sha256"]
    assert result["model"] == own["model"]
    assert result.keys() == own.keys()
    assert "face.mp4" in report
    assert bad["error"].startswith("notes.txt: cannot be opened as a video")
    assert not job["upload_kept"]
    # Which allocation fails first, and whether the process survives it, is not ours to say.
    assert eats["state"] == "failed"
    assert re.match(
        "giant.mkv: (needs more memory|not one frame|has a single frame|the process .* died)",
        eats["error"],
    )
    assert "POST /v1/jobs 201" in said
    kept = tmp_path / "store" / "jobs" / job["id"]
    assert {path.name for path in kept.iterdir()} == {
        "job.json", "result.json", "report.html", "thumbnail.jpg"
    }  # fmt: skip
    assert json.loads((kept / "job.json").read_text())["state"] == "done"
