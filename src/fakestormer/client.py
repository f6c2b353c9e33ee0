"""A client of `fakestormer serve`, with the standard library alone.

client = Client("http://127.0.0.1:8000", token="...")
for job in client.send(["a.mp4", "b.mp4"], every_second=True):
    job = client.wait(job.id)
    print(job.name, job.verdict, job.probability)
    client.save_report(job.id, "a.html")
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

_CHUNK = 2**20


class ServerError(Exception):
    """The server refused a request. status: of HTTP. retry_after: seconds, if it says so."""

    def __init__(self, status: int, sentence: str, retry_after: int | None = None) -> None:
        super().__init__(f"{status}: {sentence}")
        self.status = status
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A video on the server. state: "queued", "running", "done", "failed" or "cancelled".

    verdict, probability: of a job that is done. error: why it failed. content: all that the server
    says about it.
    """

    id: str
    name: str
    state: str
    verdict: str | None
    probability: float | None
    error: str | None
    content: Mapping[str, Any]

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Job:
        """From the server's JSON."""
        names = ("id", "name", "state", "verdict", "probability", "error")
        return cls(**{name: content[name] for name in names}, content=content)


class Client:
    """A connection for each request; can be shared by threads."""

    def __init__(self, url: str, *, token: str | None = None, seconds: float = 60.0) -> None:
        """url: of the server. token: where it wants one. seconds: without data before it gives up.

        Raises ValueError for what is no address of a server.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or parts.hostname is None:
            raise ValueError(f"{url}: expected http://HOST:PORT or https://HOST:PORT")
        self._tls, self._host, self._seconds = parts.scheme == "https", parts.netloc, seconds
        self._base = parts.path.rstrip("/")
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    def send(self, videos: Iterable[str | os.PathLike[str]], **options: Any) -> list[Job]:
        """Send videos in one request, all with the same options (`JobOptions` of the API).

        Raises ServerError where the server refuses them, OSError where a file cannot be read or the
        server not reached.
        """
        files = [Path(video) for video in videos]
        boundary = secrets.token_hex(16)
        heads = [_head(boundary, file.name) for file in files]
        before = _options(boundary, options)
        end = f"--{boundary}--\r\n".encode()
        sizes = sum(
            len(head) + file.stat().st_size + 2 for head, file in zip(heads, files, strict=True)
        )

        def body() -> Iterator[bytes]:
            yield before
            for head, file in zip(heads, files, strict=True):
                yield head
                with file.open("rb") as opened:
                    while chunk := opened.read(_CHUNK):
                        yield chunk
                yield b"\r\n"
            yield end

        headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(len(before) + sizes + len(end)),
        }
        answer = json.loads(self._ask("POST", "/v1/batches", body(), headers))
        return [Job.of(content) for content in answer["jobs"]]

    def jobs(self, search: str = "", *, limit: int = 100) -> list[Job]:
        """The newest jobs; search: words of the name, of the verdict or of the state."""
        query = urlencode({"search": search, "limit": limit})
        answer = json.loads(self._ask("GET", f"/v1/jobs?{query}"))
        return [Job.of(content) for content in answer["jobs"]]

    def job(self, job_id: str) -> Job:
        """A job as it is now."""
        return Job.of(json.loads(self._ask("GET", f"/v1/jobs/{job_id}")))

    def wait(self, job_id: str) -> Job:
        """The job once it has ended: done, failed or cancelled."""
        while (job := self.job(job_id)).state in ("queued", "running"):
            self._ask("GET", f"/v1/jobs/{job_id}/events")  # ends with the job, or with the server
        return job

    def result(self, job_id: str) -> dict[str, Any]:
        """What was found: an entry of the "results" of `fakestormer detect --json`."""
        result: dict[str, Any] = json.loads(self._ask("GET", f"/v1/jobs/{job_id}/result"))
        return result

    def save_report(self, job_id: str, file: str | os.PathLike[str]) -> None:
        """Write the HTML report of a finished job."""
        Path(file).write_bytes(self._ask("GET", f"/v1/jobs/{job_id}/report"))

    def save_overlay(self, job_id: str, file: str | os.PathLike[str]) -> None:
        """Write the film with the map drawn in, of a finished job with the option `overlay`."""
        Path(file).write_bytes(self._ask("GET", f"/v1/jobs/{job_id}/overlay.mp4"))

    def delete(self, job_id: str) -> None:
        """Delete a job with its video, result and report."""
        self._ask("DELETE", f"/v1/jobs/{job_id}")

    def _ask(
        self,
        method: str,
        path: str,
        body: Iterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        kind = http.client.HTTPSConnection if self._tls else http.client.HTTPConnection
        connection = kind(self._host, timeout=self._seconds)
        try:
            connection.request(
                method, self._base + path, body, {**self._headers, **(headers or {})}
            )
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status < 300:
            return content
        try:
            sentence = json.loads(content)["detail"]
        except (ValueError, KeyError, TypeError):  # another server in between
            sentence = answer.reason
        after = answer.getheader("Retry-After", "")
        raise ServerError(answer.status, sentence, int(after) if after.isdigit() else None)


def _head(boundary: str, name: str) -> bytes:
    plain = name.replace("\\", "_").replace('"', "_").replace("\r", "_").replace("\n", "_")
    return (
        f'--{boundary}\r\nContent-Disposition: form-data; name="video"; filename="{plain}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode("utf-8", errors="replace")


def _options(boundary: str, options: Mapping[str, Any]) -> bytes:
    return (
        f'--{boundary}\r\nContent-Disposition: form-data; name="options"\r\n\r\n'
        f"{json.dumps(dict(options))}\r\n"
    ).encode()
