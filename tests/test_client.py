"""The client against a running server, as a program uses it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fakestormer.client import Client, ServerError
from fakestormer.server.run import ServerSettings
from served import serving

TOKEN = "a token of the operator"


def test_videos_are_sent_waited_for_and_deleted(tmp_path: Path) -> None:
    films = {"first.mp4": b"film" * 400_000, 'odd " ä.mp4': b"film", "bad.mp4": b"fail"}
    for name, content in films.items():
        (tmp_path / name).write_bytes(content)
    settings = ServerSettings(store=tmp_path / "store", port=0, token=TOKEN, queue=3)
    with serving(settings) as served:
        client = Client(str(served.base_url), token=TOKEN)
        sent = client.send([tmp_path / name for name in films], threshold=0.75, overlay=True)
        jobs = [client.wait(job.id) for job in sent]
        assert [job.name for job in jobs] == ["first.mp4", "odd _ ä.mp4", "bad.mp4"]
        assert [job.state for job in jobs] == ["done", "done", "failed"]
        assert (jobs[0].verdict, jobs[0].probability) == ("likely fake", 0.9)
        assert jobs[0].content["size"] == 1_600_000
        assert jobs[0].content["options"]["threshold"] == 0.75
        assert jobs[2].error == "bad.mp4: is no video"
        assert client.result(jobs[0].id)["path"] == "first.mp4"
        client.save_report(jobs[0].id, tmp_path / "report.html")
        assert "Stub" in (tmp_path / "report.html").read_text()
        client.save_overlay(jobs[0].id, tmp_path / "film.mp4")
        assert (tmp_path / "film.mp4").read_bytes() == b"a film"
        with pytest.raises(ServerError, match="409"):
            client.save_overlay(jobs[2].id, tmp_path / "film.mp4")
        assert [job.id for job in client.jobs("odd fake")] == [jobs[1].id]
        client.delete(jobs[0].id)
        with pytest.raises(ServerError, match="404: there is no such job"):
            client.job(jobs[0].id)
        with pytest.raises(ServerError, match="the queue is full") as full:
            client.send([tmp_path / "bad.mp4"] * 4)
        assert (full.value.status, (full.value.retry_after or 0) > 0) == (429, True)
        with pytest.raises(ServerError, match="401: this server asks for its token"):
            Client(str(served.base_url)).jobs()
    with pytest.raises(OSError, match="efused"):
        client.jobs()
    with pytest.raises(ValueError, match="expected http://HOST:PORT"):
        Client("127.0.0.1:8000")


def test_a_job_is_waited_for_over_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    job = {"id": "1", "name": "a.mp4", "verdict": None, "probability": None, "error": None}
    states = iter(["queued", "running", "done"])

    def ask(_: Client, method: str, path: str) -> bytes:
        if path.endswith("/events"):
            return b""  # the server stops, and starts again
        return json.dumps(job | {"state": next(states)}).encode()

    monkeypatch.setattr(Client, "_ask", ask)
    assert Client("http://127.0.0.1:8000").wait("1").state == "done"
