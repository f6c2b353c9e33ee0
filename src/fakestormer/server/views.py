"""The answers of the API, as types; they are its OpenAPI description too."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from fakestormer.server.jobs import Job, Progress, State
from fakestormer.server.options import JobOptions
from fakestormer.server.store import OVERLAY, THUMBNAIL
from fakestormer.server.supervisor import Supervisor
from fakestormer.types import Verdict

_ID = "3f1c9b2e7a5d4086b1e2c3d4f5a60718"
_JOB: JsonDict = {
    "id": _ID,
    "name": "interview.mp4",
    "size": 1843200,
    "state": "done",
    "place": None,
    "progress": None,
    "verdict": "likely fake",
    "probability": 0.93,
    "interval": [0.88, 0.97],
    "reasons": [],
    "warnings": [],
    "error": None,
    "created": "2026-11-29T12:00:00Z",
    "started": "2026-11-29T12:00:01Z",
    "finished": "2026-11-29T12:00:04Z",
    "revision": 1764417604000,
    "upload_kept": True,
    "options": {"overlay": True, "threshold": 0.9},
    "webhook": None,
    "links": {
        "job": f"/v1/jobs/{_ID}",
        "events": f"/v1/jobs/{_ID}/events",
        "result": f"/v1/jobs/{_ID}/result",
        "report": f"/v1/jobs/{_ID}/report",
        "thumbnail": f"/v1/jobs/{_ID}/thumbnail",
        "overlay": f"/v1/jobs/{_ID}/overlay.mp4",
    },
}


class Problem(BaseModel):
    """Why a request was refused."""

    detail: str = Field(
        description="one sentence for people",
        examples=["the queue is full; try again later"],
    )


class Links(BaseModel):
    """The addresses of a job; all but the first two exist once it is done, `overlay` if wanted."""

    job: str
    events: str
    result: str | None
    report: str | None
    thumbnail: str | None
    overlay: str | None


class JobView(BaseModel):
    """One video and its result."""

    model_config = ConfigDict(title="Job", json_schema_extra={"example": _JOB})

    id: str
    name: str = Field(description="the sender's name of the file, for display only")
    size: int = Field(description="bytes")
    state: State
    place: int | None = Field(
        description="place in the queue, 1 is next; null when it does not wait"
    )
    progress: Progress | None = Field(description="null when it is not running")
    verdict: Verdict | None
    probability: float | None = Field(
        description="probability of manipulation, 0 to 1; null without a verdict"
    )
    interval: list[float] | None = Field(
        description="interval of the probability over the clips: low, high"
    )
    reasons: list[str] = Field(description="why the verdict is inconclusive, if it is")
    warnings: list[str] = Field(description="what to consider beside the verdict")
    error: str | None = Field(description="why the job failed, in one sentence")
    created: datetime
    started: datetime | None
    finished: datetime | None
    revision: int = Field(description="the newer of two views of a job has the larger number")
    upload_kept: bool = Field(description="whether the server still keeps the video")
    options: JobOptions
    webhook: Literal["pending", "delivered", "failed"] | None = Field(
        description="the news of the job's end; null where none were asked for, or not yet"
    )
    links: Links


class JobList(BaseModel):
    """The newest jobs first."""

    jobs: list[JobView]
    total: int = Field(description="number of jobs that fit, listed or not")


class SentJobs(BaseModel):
    """The jobs of a batch, in the order sent."""

    jobs: list[JobView]


class JobIds(BaseModel):
    """Jobs to delete."""

    model_config = ConfigDict(extra="forbid")

    ids: list[Annotated[str, Field(pattern="^[0-9a-f]{32}$")]] = Field(max_length=1000)


class Deleted(BaseModel):
    """How many of the jobs there were, and are gone."""

    deleted: int


class LimitsView(BaseModel):
    """Limits of one video; see `fakestormer serve --help`."""

    model_config = ConfigDict(title="Limits")

    bytes: int
    seconds: float
    side: int = Field(description="longer side of the picture, in pixels")
    frames: int
    minutes: float = Field(description="time that a job may take")


class ServerView(BaseModel):
    """The server and its limits."""

    model_config = ConfigDict(title="Server")

    version: str
    model: dict[str, str]
    limits: LimitsView
    workers: int
    waiting: int
    queue: int = Field(
        description="number of jobs that may wait; the next one is answered with 429"
    )
    retain_hours: float = Field(description="hours that a video is kept after its job ended")


def job_view(supervisor: Supervisor, job: Job) -> JobView:
    """A job as the API shows it."""
    base = f"/v1/jobs/{job.id}"
    done = job.state == "done"
    files = (THUMBNAIL, OVERLAY)
    waiting = supervisor.shared.queued() if job.state == "queued" else []
    kept = {name for name in files if supervisor.store.file(job.id, name).is_file()}
    return JobView(
        **job.model_dump(exclude={"attempts"}),
        revision=supervisor.shared.revision,
        place=waiting.index(job.id) + 1 if waiting else None,
        progress=supervisor.progress.get(job.id) if job.state == "running" else None,
        links=Links(
            job=base,
            events=f"{base}/events",
            result=f"{base}/result" if done else None,
            report=f"{base}/report" if done else None,
            thumbnail=f"{base}/thumbnail" if THUMBNAIL in kept else None,
            overlay=f"{base}/{OVERLAY}" if OVERLAY in kept else None,
        ),
    )
