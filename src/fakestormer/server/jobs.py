"""A job: one uploaded video and its result."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from fakestormer.detection.printable import shown
from fakestormer.server.options import JobOptions
from fakestormer.types import Verdict

State = Literal["queued", "running", "done", "failed", "cancelled"]
FINAL = frozenset({"done", "failed", "cancelled"})

_LONGEST_NAME = 150


class Job(BaseModel):
    """A job as it is kept on disk.

    name: the sender's name of the file, for display only. attempts: how often the job was started.
    error: why there is no verdict, in one sentence. upload_kept: whether the video is still on
    disk. webhook: what became of the news, null where none were asked for. Times are in UTC.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern="^[0-9a-f]{32}$")
    name: str
    size: int
    state: State = "queued"
    created: datetime
    started: datetime | None = None
    finished: datetime | None = None
    attempts: int = 0
    verdict: Verdict | None = None
    probability: float | None = None
    interval: tuple[float, float] | None = None
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    error: str | None = None
    upload_kept: bool = True
    options: JobOptions = JobOptions()
    webhook: Literal["pending", "delivered", "failed"] | None = None

    @property
    def ended(self) -> bool:
        """Whether the state is final."""
        return self.state in FINAL


class Progress(BaseModel):
    """The progress of a running job. stage: "starting", or a stage of the detector. total: None if
    it is not known.

    It is kept in memory only.
    """

    model_config = ConfigDict(frozen=True)

    stage: str
    done: int = 0
    total: int | None = None


def new_id() -> str:
    """Nobody can guess it, and it is a name that every file system takes."""
    return secrets.token_hex(16)


def now() -> datetime:
    """The time in UTC."""
    return datetime.now(UTC)


def display_name(sent: str) -> str:
    """What a sender called a file, without its folder, fit to be shown; "video" for nothing.

    # "C:\\films\\a  b.mp4" -> "a b.mp4"
    """
    last = re.split(r"[/\\]", sent)[-1]
    name = shown(" ".join(last.split()))
    if len(name) > _LONGEST_NAME:
        half = _LONGEST_NAME // 2
        name = f"{name[:half]}…{name[-half:]}"
    return name or "video"
