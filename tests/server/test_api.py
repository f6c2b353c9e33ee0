"""The API over real HTTP, with workers that do as they are told: no job is lost, none blocks."""

from __future__ import annotations

import concurrent.futures
import errno
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from fakestormer.server import supervisor as supervising
from fakestormer.server.limits import Limits
from fakestormer.server.run import ServerSettings
from fakestormer.server.store import JobStore
from served import ended, events, send, serving, until

#: All that is kept of a finished job.
FILES = {"job.json", "upload", "result.json", "report.html", "thumbnail.jpg"}
PART = b'--b\r\nContent-Disposition: form-data; name="video"\r\n\r\nx\r\n'


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def client(store: Path) -> Iterator[httpx.Client]:
    limits = Limits(megabytes=1)
    with serving(ServerSettings(store=store, port=0, queue=4, limits=limits)) as client:
        yield client


def files_of(store: Path, job: dict) -> set[str]:
    return {path.name for path in (store / "jobs" / job["id"]).iterdir()}


def test_a_video_is_judged_and_its_result_and_report_are_there(
    client: httpx.Client, store: Path
) -> None:
    answer = client.post("/v1/jobs", files={"video": ("holiday.mp4", b"film" * 10)})
    assert answer.status_code == 201
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}" == job["links"]["job"]
    assert (job["name"], job["size"], job["verdict"]) == ("holiday.mp4", 40, None)
    done = ended(client, job)
    assert (done["state"], done["verdict"], done["probability"]) == ("done", "likely fake", 0.9)
    assert done["warnings"] == ["Only a stub."]
    assert (done["interval"], done["reasons"]) == ([0.8, 1.0], [])
    assert client.get(done["links"]["result"]).json()["path"] == "holiday.mp4"
    report = client.get(done["links"]["report"])
    assert report.headers["content-type"] == "text/html; charset=utf-8"
    # A report is of no origin of ours, so that nothing in it could use a visitor's session.
    assert report.headers["content-security-policy"].startswith("sandbox allow-scripts")
    assert "allow-same-origin" not in report.headers["content-security-policy"]
    kept = client.get(done["links"]["report"], params={"download": "true"})
    assert kept.headers["content-disposition"].startswith("attachment; filename=")
    assert client.get("/v1/jobs").json()["jobs"][0] == client.get(job["links"]["job"]).json()
    assert files_of(store, job) == FILES
    assert client.delete(job["links"]["job"]).status_code == 204
    assert not (store / "jobs" / job["id"]).exists()
    assert client.get(job["links"]["job"]).status_code == 404
    assert client.delete(job["links"]["job"]).status_code == 404


def test_events_tell_every_stage_and_end(client: httpx.Client) -> None:
    running = until(client, slow := send(client, b"slow"), "running")
    assert running["progress"]["stage"] in ("starting", "faces")
    job = send(client)
    assert client.get(job["links"]["job"]).json()["place"] == 1
    said = []
    for event in events(client, job):
        if not said:
            assert client.post(slow["links"]["job"] + "/cancel").status_code == 200
        said.append(event)
    stages = [event["progress"]["stage"] for event in said if event["progress"]]
    assert said[0]["state"] == "queued"
    assert stages == sorted(stages, key=["starting", "faces", "scores"].index)
    assert said[-1]["state"] == "done"
    # One that is asked for when all is over: its last state, and an end.
    assert [event["state"] for event in events(client, job)] == ["done"]


def test_news_of_all_jobs_come_over_one_stream(client: httpx.Client) -> None:
    with client.stream("GET", "/v1/events") as stream:
        lines = stream.iter_lines()
        assert next(lines) == ": here"
        job = send(client)
        told = []
        for line in lines:
            if line.startswith("data: "):
                told.append(json.loads(line.removeprefix("data: ")))
                if told[-1].get("state") == "done":
                    client.delete(job["links"]["job"])
                if told[-1] == {"id": job["id"]}:
                    break
    assert {event["id"] for event in told} == {job["id"]}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"fail", "b.mp4: is no video"),
        (b"memory", "b.mp4: needs more memory"),
        (b"die", "b.mp4: the process that judged it died (exit code 3); the file may be damaged"),
        # A worker that was taken over says what it likes; it is not believed, and ended.
        (b"lie", "b.mp4: the process that judged it died (signal SIGKILL)"),
        (b"chatter", "b.mp4: the process that judged it died (signal SIGKILL)"),
    ],
)
def test_a_job_that_fails_says_why_and_the_next_one_runs(
    client: httpx.Client, content: bytes, sentence: str
) -> None:
    bad, good = send(client, content, "b.mp4"), send(client)
    failed = ended(client, bad)
    assert failed["state"] == "failed"
    assert failed["error"].startswith(sentence)
    assert failed["verdict"] is None
    for part in ("result", "report"):
        answer = client.get(f"{bad['links']['job']}/{part}")
        assert (answer.status_code, answer.json()["detail"]) == (409, failed["error"])
    assert ended(client, good)["state"] == "done"


def test_cancelling_stops_a_job_and_frees_its_worker(client: httpx.Client) -> None:
    running, waiting = send(client, b"slow"), send(client, b"slow")
    until(client, running, "running")
    for job in (waiting, running):
        answer = client.post(job["links"]["job"] + "/cancel")
        assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
        assert client.post(job["links"]["job"] + "/cancel").status_code == 409
    assert ended(client, send(client))["state"] == "done"
    assert client.get(running["links"]["result"] or "/v1/none").status_code == 404
    # Deleting one that runs stops it, too.
    until(client, running := send(client, b"slow"), "running")
    assert client.delete(running["links"]["job"]).status_code == 204
    assert ended(client, send(client))["state"] == "done"


def test_a_full_queue_says_when_to_come_back(client: httpx.Client) -> None:
    until(client, running := send(client, b"slow"), "running")
    waiting = [send(client) for _ in range(4)]
    for body in (b"film", b"film" * 200_000):
        answer = client.post("/v1/jobs", files={"video": ("a.mp4", body)})
        assert answer.status_code == 429
        assert 1 <= int(answer.headers["retry-after"]) <= 600
    assert [client.get(job["links"]["job"]).json()["place"] for job in waiting] == [1, 2, 3, 4]
    assert client.get("/v1/server").json()["waiting"] == 4
    client.delete(running["links"]["job"])
    assert {ended(client, job)["state"] for job in waiting} == {"done"}


def test_a_file_that_is_too_large_is_cut_off(client: httpx.Client, store: Path) -> None:
    before = set((store / "jobs").iterdir())
    announced = client.post("/v1/jobs", files={"video": ("a.mp4", b"x" * (2**20 + 70_000))})
    assert announced.status_code == 413

    def body() -> Iterator[bytes]:  # sent in chunks, without a length
        yield b'--b\r\nContent-Disposition: form-data; name="video"; filename="a"\r\n\r\n'
        for _ in range(40):
            yield b"x" * 2**15
        yield b"\r\n--b--\r\n"

    headers = {"content-type": "multipart/form-data; boundary=b"}
    streamed = client.post("/v1/jobs", content=body(), headers=headers)
    assert streamed.status_code == 413
    assert streamed.json()["detail"] == (
        "the file is larger than 1 MiB, the most that this server takes"
    )
    assert set((store / "jobs").iterdir()) == before
    # The limit itself is no offence.
    assert send(client, b"x" * 2**20)["size"] == 2**20


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"", "multipart/form-data; boundary=b", 400),
        (b"film", "video/mp4", 415),
        (b"film", "multipart/form-data", 415),
        (b"not a form", "multipart/form-data; boundary=b", 400),
        (b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n--b--', None, 400),
        (PART, None, 400),
        (b"--b\r\n\r\nx\r\n--b--\r\n", None, 400),
        (b"--b\r\n" + b"A" * 10_000 + b": x\r\n\r\nx\r\n--b--\r\n", None, 400),
        (2 * PART + b"--b--", None, 400),
    ],
)  # fmt: skip
def test_what_is_no_upload_is_refused_in_one_sentence(
    client: httpx.Client, store: Path, content: bytes, kind: str | None, status: int
) -> None:
    before = set((store / "jobs").iterdir())
    headers = {"content-type": kind or "multipart/form-data; boundary=b"}
    answer = client.post("/v1/jobs", content=content, headers=headers)
    assert answer.status_code == status
    assert answer.json()["detail"]
    assert set((store / "jobs").iterdir()) == before


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\films\\my  film.mp4", "my film.mp4"),
        ("/", "video"),
        ("<b>x</b>.mp4", "b>.mp4"),
        ("a\u202eb.mp4", "a�b.mp4"),
        ("x" * 500 + ".mp4", "x" * 75 + "…" + "x" * 71 + ".mp4"),
    ],
)
def test_a_senders_file_name_is_shown_and_names_nothing(
    client: httpx.Client, store: Path, sent: str, shown: str
) -> None:
    job = ended(client, send(client, name=sent))
    assert job["name"] == shown
    assert files_of(store, job) == FILES
    assert {path.name for path in store.iterdir()} == {"jobs", "servers"}


@pytest.mark.parametrize("job_id", ["..", "%2e%2e", "..%2f..%2flock", "0" * 32, "A" * 32, "lock"])
def test_ids_are_looked_up_and_never_made_paths(client: httpx.Client, job_id: str) -> None:
    answers = [client.get(f"/v1/jobs/{job_id}{part}") for part in ("", "/result", "/report")]
    # Dots that the client resolves itself ask for another page.
    assert {answer.status_code for answer in answers} <= {404, 422}


def test_a_job_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    limits = Limits(minutes=1 / 60)
    with serving(ServerSettings(store=tmp_path, port=0, limits=limits)) as client:
        slow, good = send(client, b"slow", "s.mp4"), send(client)
        failed = ended(client, slow)
        assert failed["error"].startswith("s.mp4: took longer than the 0.0166667 minutes")
        assert ended(client, good)["state"] == "done"


def test_uploads_go_after_a_while_and_results_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervising, "_SWEEP", 0.1)
    for hours, number in ((0.0, 0), (0.5 / 3600, 1)):
        store = tmp_path / str(number)
        settings = ServerSettings(store=store, port=0, retain_hours=hours)
        with serving(settings) as client:
            jobs = [ended(client, send(client, content)) for content in (b"film", b"fail")]
            deadline = time.monotonic() + 20
            while any(client.get(j["links"]["job"]).json()["upload_kept"] for j in jobs):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert files_of(store, jobs[0]) == FILES - {"upload"}
            assert files_of(store, jobs[1]) == {"job.json"}


def test_a_full_disk_is_said_and_leaves_nothing(
    client: httpx.Client, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: JobStore, job: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = set((store / "jobs").iterdir())
    with monkeypatch.context() as patched:
        patched.setattr(JobStore, "write", full)
        assert client.post("/v1/jobs", files={"video": b"film"}).status_code == 507
    assert set((store / "jobs").iterdir()) == before
    assert ended(client, send(client))["state"] == "done"


def test_fifty_clients_at_once_are_all_answered_and_no_job_is_lost(tmp_path: Path) -> None:
    settings = ServerSettings(store=tmp_path, port=0, workers=2, queue=12)
    with serving(settings) as client:

        def use(number: int) -> tuple[int, dict]:
            body, refused = b"film" * number, 0
            with httpx.Client(base_url=client.base_url, timeout=90) as mine:
                while True:
                    answer = mine.post("/v1/jobs", files={"video": (f"{number}.mp4", body)})
                    if answer.status_code == 201:
                        break
                    assert answer.status_code == 429
                    refused += 1
                    time.sleep(0.1)
                job = ended(mine, answer.json())
                return refused, mine.get(job["links"]["result"]).json()

        with concurrent.futures.ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(use, range(50)))
        for number, (_, result) in enumerate(answers):
            assert result["path"] == f"{number}.mp4"
        assert sum(refused for refused, _ in answers) > 0, "the queue was never full"
        jobs = client.get("/v1/jobs").json()
        assert jobs["total"] == len(jobs["jobs"]) == 50
        assert {job["state"] for job in jobs["jobs"]} == {"done"}


def test_health_checks_are_answered(client: httpx.Client) -> None:
    for path in ("/", "/docs", "/health", "/metrics", "/assets/page.css", "/v1/jobs"):
        answer = client.head(path)
        assert answer.status_code == 200
        assert answer.content == b""
    assert client.get("/health").text == "ok\n"


def test_several_videos_in_one_request_each_with_its_options(client: httpx.Client) -> None:
    parts = [
        ("options", (None, json.dumps({"every_second": True}))),
        ("video", ("first.mp4", b"film")),
        ("options", (None, json.dumps({"threshold": 0.9}))),
        ("video", ("second.mp4", b"film")),
        ("video", ("third.mp4", b"fail")),
    ]
    answer = client.post("/v1/batches", files=parts)
    assert answer.status_code == 201, answer.text
    jobs = [ended(client, job) for job in answer.json()["jobs"]]
    assert [job["name"] for job in jobs] == ["first.mp4", "second.mp4", "third.mp4"]
    assert [job["options"]["threshold"] for job in jobs] == [None, 0.9, 0.9]
    sent = client.get(jobs[0]["links"]["result"]).json()["options"]
    assert (sent["every_second"], sent["threshold"]) == (True, None)

    searched = client.get("/v1/jobs", params={"search": "SECOND fake"}).json()
    assert [job["id"] for job in searched["jobs"]] == [jobs[1]["id"]]
    assert searched["total"] == 1
    table = client.get("/v1/results.csv", params={"search": "ir"})  # first, third
    assert table.headers["content-type"] == "text/csv; charset=utf-8"
    lines = table.text.splitlines()
    assert [line.split(",")[0] for line in lines] == ["path", "third.mp4", "first.mp4"]
    picture = client.get(jobs[0]["links"]["thumbnail"])
    assert (picture.headers["content-type"], picture.content[:2]) == ("image/jpeg", b"\xff\xd8")
    assert jobs[2]["links"]["thumbnail"] is None

    ids = [job["id"] for job in jobs]
    assert client.post("/v1/jobs/delete", json={"ids": [*ids, "0" * 32]}).json() == {"deleted": 3}
    assert client.get(jobs[0]["links"]["job"]).status_code == 404


def test_a_batch_is_taken_whole_or_not_at_all(client: httpx.Client, store: Path) -> None:
    before = set((store / "jobs").iterdir())
    video = ("video", ("a.mp4", b"film"))
    for parts, status, word in (
        ([video] * 5, 429, "the queue is full"),  # it has four places
        ([video, ("video", ("b.mp4", b"x" * (2**20 + 1)))], 413, "1 MiB"),
        ([("options", (None, '{"shots": 0}')), video], 422, "options: shots: "),
        ([("options", (None, '{"shot": 1}')), video], 422, "options: shot: "),
        ([("options", (None, '{"webhook_url": "https://a.example/"}')), video], 403, "no webhooks"),
        ([("options", (None, "{}"))], 400, "no file"),
    ):
        answer = client.post("/v1/batches", files=parts)
        assert (answer.status_code, word in answer.json()["detail"]) == (status, True), answer.text
    assert set((store / "jobs").iterdir()) == before


def test_numbers_for_a_monitoring_system(client: httpx.Client) -> None:
    ended(client, send(client))
    answer = client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    values = {}
    for line in answer.text.splitlines():
        if not line.startswith("#"):
            name, value = re.fullmatch(r"([a-z_]+(?:\{[^{}]*\})?) ([0-9.e+]+)", line).groups()
            values[name] = float(value)
    jobs = client.get("/v1/jobs", params={"search": "done"})
    assert jobs.status_code == 200
    assert values['fakestormer_jobs_ended_total{outcome="likely fake"}'] >= 1
    assert values["fakestormer_queue_capacity"] == 4
    assert values['fakestormer_workers{ready="true"}'] == 1
    assert values["fakestormer_job_seconds_total"] > 0
