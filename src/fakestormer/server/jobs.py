"""A job: one video that somebody sent, and what became of it."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from fakestormer.detection.printable import shown
from fakestormer.types import Verdict

State = Literal["queued", "running", "done", "failed", "cancelled"]
FINAL = frozenset({"done", "failed", "cancelled"})

_LONGEST_NAME = 150


class Job(BaseModel):
    """What is kept of a job on disk.

    name: what the sender called the file; shown, and used for nothing else. attempts: how often it
    was begun. error: the sentence why there is no verdict. upload_kept: whether the video is still
    there. Times are in UTC.
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

    @property
    def ended(self) -> bool:
        """Nothing will change about it any more."""
        return self.state in FINAL


class Progress(BaseModel):
    """How far a running job is. stage: "starting", or the detector's name of it; total: if known.

    Kept in memory alone.
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
