"""Servers that are killed, stopped and started again: every job is there, and goes on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from fakestormer.server import supervisor
from fakestormer.server.jobs import Job, new_id, now
from fakestormer.server.run import ServerSettings
from fakestormer.server.store import UPLOAD, JobStore
from served import ended, send, server_process, serving, until


def children_of(pid: int) -> set[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {int(child) for child in found}


def gone(pids: set[int]) -> bool:
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}/stat").is_file() and state_of(pid) != "Z" for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def state_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux's /proc")
def test_a_killed_server_loses_no_job_and_leaves_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_LOOK", 0.05)
    with server_process(tmp_path) as (process, client):
        done = ended(client, send(client, b"film", "done.mp4"))
        until(client, running := send(client, b"slow", "running.mp4"), "running")
        waiting = send(client, b"film", "waiting.mp4")
        workers = children_of(process.pid)
        assert workers
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert gone(workers), "a worker outlived its server"
    # An upload that was under way when the server died, and a half-written file.
    (tmp_path / "jobs" / new_id()).mkdir()
    (tmp_path / "jobs" / running["id"] / ".x.partial").write_bytes(b"half")
    (tmp_path / "jobs" / running["id"] / "upload").write_bytes(b"film")  # it would never end
    with serving(ServerSettings(store=tmp_path, port=0)) as client:
        jobs = {job["name"]: job for job in client.get("/v1/jobs").json()["jobs"]}
        assert jobs.keys() == {"done.mp4", "running.mp4", "waiting.mp4"}
        assert jobs["done.mp4"].pop("revision") > done.pop("revision")
        assert jobs["done.mp4"] == done
        assert client.get(done["links"]["result"]).json()["path"] == "done.mp4"
        for job in (running, waiting):
            assert ended(client, job)["state"] == "done"
        deadline = time.monotonic() + 20
        while len(list((tmp_path / "jobs").iterdir())) > 3:  # the upload's goes after a while, too
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert list((tmp_path / "jobs").rglob("*.partial")) == []
        while len(list((tmp_path / "servers").glob("[!.]*"))) > 1:  # the dead server's sign of life
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_ctrl_c_ends_it_well_with_streams_open(tmp_path: Path) -> None:
    with server_process(tmp_path) as (process, client):
        until(client, job := send(client, b"slow"), "running")
        workers = children_of(process.pid)
        with client.stream("GET", "/v1/events") as stream:
            next(lines := stream.iter_lines())
            began = time.monotonic()
            process.send_signal(signal.SIGINT)
            list(lines)  # ends, rather than breaks off
        assert process.wait(30) == 0
        assert time.monotonic() - began < 10
    assert gone(workers)
    kept = json.loads((tmp_path / "jobs" / job["id"] / "job.json").read_text())
    # Stopping is not the job's fault, and does not count as an attempt.
    assert (kept["state"], kept["attempts"]) == ("queued", 0)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux's /proc")
def test_sigterm_to_every_process_of_the_group_puts_back_what_runs(tmp_path: Path) -> None:
    """As systemd and docker stop send it; the workers leave it to the server."""
    with server_process(tmp_path) as (process, client):
        until(client, job := send(client, b"slow"), "running")
        for worker in children_of(process.pid):
            os.kill(worker, signal.SIGTERM)
        time.sleep(0.5)
        assert client.get(job["links"]["job"]).json()["state"] == "running"
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(30) == 0
    kept = json.loads((tmp_path / "jobs" / job["id"] / "job.json").read_text())
    assert (kept["state"], kept["attempts"]) == ("queued", 0)


def job(fields: dict[str, object]) -> Job:
    return Job.model_validate(
        {"id": new_id(), "name": "a.mp4", "size": 4, "created": now()} | fields
    )


def test_what_cannot_be_begun_again_has_failed(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    jobs = {
        "gone": job({}),
        "killer": job({"state": "running", "attempts": 3, "started": now()}),
        "unlucky": job({"state": "running", "attempts": 2, "started": now()}),
    }
    for entry in jobs.values():
        store.write(entry)
        store.file(entry.id, UPLOAD).write_bytes(b"film")
    store.file(jobs["gone"].id, UPLOAD).unlink()
    damaged = tmp_path / "jobs" / new_id()
    shutil.copytree(tmp_path / "jobs" / jobs["gone"].id, damaged)
    (damaged / "job.json").write_text('{"id": ')
    with serving(ServerSettings(store=tmp_path, port=0)) as client:

        def now_of(name: str) -> dict[str, object]:
            links = {"events": f"/v1/jobs/{jobs[name].id}/events"}
            return ended(client, {"links": links})

        assert now_of("gone")["error"] == "a.mp4: its upload is gone; send it again"
        assert now_of("killer")["error"] == "a.mp4: the server died 3 times while judging it"
        assert now_of("unlucky")["state"] == "done"
        assert client.get("/v1/jobs").json()["total"] == 3
    assert damaged.is_dir(), "what cannot be read is not deleted"
