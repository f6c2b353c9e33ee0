"""Two server processes on one folder of jobs: either answers for all, one works on each."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from subprocess import Popen
from typing import Any

import httpx
import pytest

from served import PATIENCE, ended, send, server_process, until
from webhook_listener import Listener


@dataclass(frozen=True)
class Pair:
    """begun: a line for each time that a video is begun. process: of the first server."""

    store: Path
    begun: Path
    first: httpx.Client
    second: httpx.Client
    process: Popen[str]

    def job(self, job: dict[str, Any]) -> dict[str, Any]:
        """A job as it is kept."""
        kept: dict[str, Any] = json.loads(
            (self.store / "jobs" / job["id"] / "job.json").read_text()
        )
        return kept

    def servers_of(self, jobs: list[dict[str, Any]]) -> set[str]:
        return {
            claim.read_text()
            for job in jobs
            for claim in (self.store / "jobs" / job["id"]).glob("claim-*")
        }


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("shared")
    store, begun = folder / "store", folder / "begun"
    with (
        server_process(store, SERVED_BEGUN=str(begun)) as (process, first),
        server_process(store, SERVED_BEGUN=str(begun)) as (_, second),
    ):
        yield Pair(store, begun, first, second, process)


def eventually(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def finds_faces(client: httpx.Client, job: dict[str, Any]) -> bool:
    stage: str = client.get(job["links"]["job"]).json()["progress"]["stage"]
    return stage == "faces"


def both_busy(pair: Pair) -> list[dict[str, Any]]:
    """Two jobs that run, one at each server, though the first took both."""
    jobs = [send(pair.first, b"slow", f"slow{number}.mp4") for number in range(2)]
    for job in jobs:
        until(pair.second, job, "running")
    assert len(pair.servers_of(jobs)) == 2
    return jobs


def test_either_server_answers_for_a_job(pair: Pair) -> None:
    job = send(pair.first, b"film", "a.mp4")
    links = job["links"]
    assert pair.second.get(links["job"]).json()["name"] == "a.mp4"
    done = ended(pair.second, job)  # through its events
    for client in (pair.first, pair.second):
        assert client.get(links["job"]).json()["verdict"] == "likely fake" == done["verdict"]
        assert client.get(done["links"]["result"]).json()["path"] == "a.mp4"
        assert client.get(done["links"]["report"]).status_code == 200
        assert [j["id"] for j in client.get("/v1/jobs").json()["jobs"]] == [job["id"]]
    assert pair.second.delete(links["job"]).status_code == 204
    assert pair.first.get(links["job"]).status_code == 404
    assert pair.first.get(done["links"]["result"]).status_code == 404
    assert not (pair.store / "jobs" / job["id"]).exists()


def test_the_queue_is_one_and_either_server_stops_a_job(pair: Pair) -> None:
    jobs = both_busy(pair)
    waiting = [send(client, b"film") for client in (pair.first, pair.second) * 2]
    for client in (pair.first, pair.second):
        assert client.post("/v1/jobs", files={"video": ("a.mp4", b"film")}).status_code == 429
        assert [client.get(job["links"]["job"]).json()["place"] for job in waiting] == [1, 2, 3, 4]
        for job in jobs:  # of its own and of the other one
            assert eventually(partial(finds_faces, client, job))
    assert pair.second.post(jobs[0]["links"]["job"] + "/cancel").json()["state"] == "cancelled"
    assert pair.second.delete(jobs[1]["links"]["job"]).status_code == 204
    assert {ended(pair.first, job)["state"] for job in waiting} == {"done"}
    # The server that works on it lets go at its next look; the other may do all that waits by then.
    assert eventually(lambda: not (pair.store / "jobs" / jobs[1]["id"]).exists())
    assert pair.job(jobs[0])["state"] == "cancelled"


def test_no_job_is_begun_twice_and_its_news_are_sent_once(pair: Pair) -> None:
    jobs = []
    with Listener(*[200] * 100) as listener:
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        options = ("options", (None, json.dumps({"webhook_url": listener.url})))
        for number in range(40):
            client = (pair.first, pair.second)[number % 2]
            video = ("video", (f"once{number}.mp4", b"film"))
            while (answer := client.post("/v1/jobs", files=[options, video])).status_code == 429:
                time.sleep(0.05)
            jobs.append(answer.json())
        assert eventually(lambda: all(pair.job(job)["webhook"] == "delivered" for job in jobs))
        listener.shutdown()
    news = Counter(json.loads(body)["id"] for _, body in listener.got)
    assert news == {job["id"]: 1 for job in jobs}
    begun = Counter(line for line in pair.begun.read_text().split() if line.startswith("once"))
    assert begun == {f"once{number}.mp4": 1 for number in range(40)}
    assert {pair.job(job)["attempts"] for job in jobs} == {1}
    assert pair.servers_of(jobs) == set(), "claims are given up"


def test_a_killed_servers_job_is_done_by_the_other(pair: Pair) -> None:
    until(pair.second, job := send(pair.first, b"slow", "taken.mp4"), "running")
    (dead,) = pair.servers_of([job])
    (pair.store / "jobs" / job["id"] / "upload").write_bytes(b"film")  # it would never end
    os.kill(pair.process.pid, signal.SIGKILL)
    assert ended(pair.second, job)["state"] == "done"
    assert pair.job(job)["attempts"] == 2
    assert pair.begun.read_text().split().count("taken.mp4") == 2
    assert eventually(lambda: not (pair.store / "servers" / dead).exists())
