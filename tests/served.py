"""A server for tests: in a thread of this process, with workers that do as the upload tells them.

An upload of `b"slow"` is worked on until it is cancelled; `die` kills the worker, `fail`, `lie`,
`chatter` and `memory` are what they say; everything else is done at once. SERVED_BEGUN in the
environment names a file that gets the name of each video that is begun. Nothing heavy is imported
here: every worker process of such a server imports this file.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from subprocess import PIPE, Popen
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

    from fakestormer.server.process import Entry
    from fakestormer.server.run import ServerSettings

PATIENCE = 90.0

_SCORES: dict[str, Any] = {
    "probability": 0.9, "interval": [0.8, 1.0], "verdict": "likely fake", "reasons": [],
    "warnings": ["Only a stub."],
}  # fmt: skip
_CLIP = {"probability": 0.9, "frames": [0], "seconds": [0.0], "frame_probabilities": [0.9],
         "boxes": [[0, 0, 9, 9]]}  # fmt: skip
#: A result as `results.schema.json` has it.
RESULT: dict[str, Any] = _SCORES | {
    "path": "a.mp4", "sha256": "0" * 64, "face": 1, "video": {}, "settings": {},
    "model": {"name": "stub", "weights_sha256": "0" * 64},
    "faces": [_SCORES | {"number": 1, "clips": [_CLIP],
                         "shots": {"last": 0.9, "mean": 0.9, "each": [0.9]}}],
}  # fmt: skip


def stub_worker(connection: Connection) -> None:
    """Speaks as `fakestormer.server.worker.judge_videos` does, without a model."""

    def say(message: Any) -> None:
        connection.send_bytes(json.dumps(message).encode())

    found = {"say": "done", "verdict": "likely fake", "probability": 0.9, "interval": [0.8, 1.0]}
    found |= {"reasons": [], "warnings": ["Only a stub."]}
    say({"say": "ready", "model": {"name": "stub", "error_rates": "Of 3 real videos, 1."}})
    while True:
        try:
            order = json.loads(connection.recv_bytes())
        except EOFError:
            return
        name, folder = order["name"], Path(order["folder"])
        content = Path(order["path"]).read_bytes()
        if begun := os.environ.get("SERVED_BEGUN"):
            with open(begun, "a") as file:
                file.write(f"{name}\n")
        if content == b"slow":
            for done in range(10**9):
                say({"say": "progress", "stage": "faces", "done": done, "total": 1000})
                time.sleep(0.05)
        elif content == b"die":
            os._exit(3)
        elif content == b"fail":
            say({"say": "failed", "sentence": f"{name}: is no video"})
        elif content == b"memory":
            say({"say": "failed", "sentence": f"{name}: needs more memory", "last": True})
            return
        elif content == b"lie":
            say(found | {"verdict": "real"})
        elif content == b"chatter":
            connection.send_bytes(b"[" * 100_000)
        else:
            for stage in ("faces", "scores"):
                say({"say": "progress", "stage": stage, "done": 1, "total": 1})
            options = json.loads(order["options"])
            link = '<a href="overlay.mp4">film</a>' if options["overlay"] else ""
            if link:
                (folder / "overlay.mp4").write_bytes(b"a film")
            (folder / "report.html").write_text(
                f"<!DOCTYPE html><title>report</title><p>Stub{link}"
            )
            result = RESULT | {"path": name, "options": options}
            (folder / "result.json").write_text(json.dumps(result))
            (folder / "thumbnail.jpg").write_bytes(b"\xff\xd8 a picture")
            say(found)


@contextmanager
def serving(settings: ServerSettings, entry: Entry = stub_worker) -> Iterator[httpx.Client]:
    """A client of a server that runs meanwhile; it has the server's address as its base."""
    import queue
    import threading

    import httpx

    from fakestormer.server.run import Running, serve

    news: queue.Queue[Running | BaseException] = queue.Queue()

    def run() -> None:
        try:
            serve(settings, entry, ready=news.put)
        except BaseException as error:  # noqa: BLE001 - raised below, in the thread that waits
            news.put(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    running = news.get(timeout=PATIENCE)
    if isinstance(running, BaseException):
        raise running
    try:
        with httpx.Client(base_url=running.url, timeout=PATIENCE) as client:
            yield client
    finally:
        running.stop()
        thread.join(30)
    assert not thread.is_alive(), "the server did not stop"
    assert news.empty(), news.get()


def send(client: httpx.Client, content: bytes = b"film", name: str = "a.mp4") -> dict[str, Any]:
    """Upload, and the job as the server answered it."""
    answer = client.post("/v1/jobs", files={"video": (name, content)})
    assert answer.status_code == 201, answer.text
    job: dict[str, Any] = answer.json()
    return job


def ended(client: httpx.Client, job: dict[str, Any]) -> dict[str, Any]:
    """The job once it has ended, through its events."""
    return list(events(client, job))[-1]


def events(client: httpx.Client, job: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What the server says about a job until it has ended, as it says it."""
    with client.stream("GET", job["links"]["events"]) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        for line in stream.iter_lines():
            if line.startswith("data: "):
                yield json.loads(line.removeprefix("data: "))


def until(client: httpx.Client, job: dict[str, Any], state: str) -> dict[str, Any]:
    """The job once it is in this state."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        now: dict[str, Any] = client.get(job["links"]["job"]).json()
        if now["state"] == state:
            return now
        time.sleep(0.05)
    raise AssertionError(f"still {now['state']}")


@contextmanager
def server_process(store: Path, **environment: str) -> Iterator[tuple[Popen[str], httpx.Client]]:
    """A server as a process of its own, killed in the end, and a client of it."""
    import httpx

    with Popen(
        [sys.executable, __file__, str(store)], stdout=PIPE, text=True, start_new_session=True,
        env=os.environ | environment,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        try:
            with httpx.Client(base_url=url, timeout=PATIENCE) as client:
                yield process, client
        finally:
            process.kill()


def main() -> None:
    """A server that looks often at what others do, and sends news to this machine."""
    from fakestormer.server import supervisor
    from fakestormer.server.run import ServerSettings, serve
    from fakestormer.server.webhooks import Webhooks

    supervisor._LOOK = 0.15
    news = Webhooks(hosts=frozenset({"127.0.0.1"}), secret="a secret of the operator")
    serve(
        ServerSettings(store=Path(sys.argv[1]), port=0, queue=4, webhooks=news),
        stub_worker,
        ready=lambda at: print(at.url, flush=True),
    )


if __name__ == "__main__":
    main()
