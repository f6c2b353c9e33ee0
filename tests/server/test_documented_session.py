"""docs/server.md: its session, its client and its check of webhooks, against a running server."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fakestormer.server.run import ServerSettings
from fakestormer.server.webhooks import signature
from served import serving

PAGE = Path(__file__).resolve().parents[2] / "docs" / "server.md"
TEXT = PAGE.read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:8000"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def test_the_session_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    for name in ("interview.mp4", "other.mp4"):
        (tmp_path / name).write_bytes(b"film")
    monkeypatch.chdir(tmp_path)
    (session,) = blocks("sh")
    client_snippet, check = blocks("python")
    with serving(ServerSettings(store=tmp_path / "store", port=0)) as client:
        here = str(client.base_url).rstrip("/")
        assert session.count(ADDRESS) == 4
        script = session.replace(ADDRESS, here).replace("curl ", "curl --silent --fail-with-body ")
        done = subprocess.run(["bash", "-e", "-c", script], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert client.get("/v1/jobs").json()["total"] == 3
        exec(compile(client_snippet.replace(ADDRESS, here), PAGE.name, "exec"), {})
        printed = capsys.readouterr().out
        assert printed.count("done likely fake 0.9 None") == 2
        assert "Stub" in (tmp_path / "other.mp4.html").read_text()
        assert client.get("/v1/jobs").json()["total"] == 3
    names: dict[str, Any] = {}
    exec(compile(check, PAGE.name, "exec"), names)
    signed = f"sha256={signature('secret', '5', b'news')}"
    headers = {"x-fakestormer-timestamp": "5", "x-fakestormer-signature": signed}
    assert names["is_ours"](headers, b"news", "secret")
    assert not names["is_ours"](headers, b"other", "secret")
