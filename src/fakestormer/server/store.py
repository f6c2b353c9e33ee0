"""Jobs on disk, so that they outlive the server.

store/lock                  held by the one server that uses it
store/jobs/ID/job.json      written last when a job is made: a folder without it is no job
store/jobs/ID/upload        the video, under this name whatever its sender called it
store/jobs/ID/result.json   of a finished job
store/jobs/ID/report.html   of a finished job
store/jobs/ID/thumbnail.jpg of a finished job
store/jobs/ID/overlay.mp4   of a finished job that wanted it
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fakestormer.data.journal import hold
from fakestormer.detection.results import failure_of
from fakestormer.errors import InputError
from fakestormer.files import PARTIAL, write_atomically
from fakestormer.server.jobs import Job

UPLOAD, RESULT, REPORT, THUMBNAIL = "upload", "result.json", "report.html", "thumbnail.jpg"
#: The report links to this name beside its own address.
OVERLAY = "overlay.mp4"

log = logging.getLogger("fakestormer.server")


class JobStore:
    """A folder of jobs. Paths contain ids only, no names of senders."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._jobs = folder / "jobs"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder, readable for its owner alone, and hold it; InputError if one cannot."""
        try:
            self._jobs.mkdir(parents=True, exist_ok=True)
            self._jobs.chmod(0o700)
        except OSError as error:
            raise InputError(
                f"{self.folder}: jobs cannot be kept there ({error.strerror}); name a folder you "
                "may write to with --store"
            ) from error
        with hold(self.folder, "server"):
            yield

    def file(self, job_id: str, name: str) -> Path:
        """Where a file of a job lies, or would lie: "upload", RESULT, REPORT, ..."""
        return self._jobs / job_id / name

    def entries(self, jobs: Iterable[Job]) -> list[dict[str, Any]]:
        """The entries of "results" of the jobs that are done or have failed."""
        entries = []
        for job in jobs:
            if job.state == "failed":
                entries.append(failure_of(job.name, job.error or ""))
            elif job.state == "done":
                try:
                    entries.append(json.loads(self.file(job.id, RESULT).read_bytes()))
                except (OSError, ValueError) as error:  # deleted meanwhile, or damaged
                    log.warning("the result of job %s cannot be read: %s", job.id, error)
        return entries

    def write(self, job: Job) -> None:
        """Raises OSError where it cannot be written; the older state then stays."""
        write_atomically(self._jobs / job.id / "job.json", job.model_dump_json(indent=2).encode())

    def read(self) -> list[Job]:
        """All jobs, oldest first, after sweeping up what a killed server left unfinished."""
        jobs = []
        for folder in sorted(self._jobs.iterdir()):
            if not (folder / "job.json").is_file():  # its upload never ended
                shutil.rmtree(folder, ignore_errors=True)
                continue
            try:
                job = Job.model_validate_json((folder / "job.json").read_bytes())
            except (OSError, ValidationError) as error:
                log.warning("%s: cannot be read and is left alone: %s", folder, error)
                continue
            if job.id == folder.name:
                self.sweep(job.id)
                jobs.append(job)
        return sorted(jobs, key=lambda job: (job.created, job.id))

    def sweep(self, job_id: str) -> None:
        """Remove what a killed process was writing."""
        for leftover in (self._jobs / job_id).glob(f".*{PARTIAL}"):
            leftover.unlink(missing_ok=True)

    def forget_upload(self, job_id: str) -> None:
        """Delete the video of a job."""
        self.file(job_id, UPLOAD).unlink(missing_ok=True)

    def remove(self, job_id: str) -> None:
        """Delete everything of a job, its state first: a job that is half gone is none."""
        (self._jobs / job_id / "job.json").unlink(missing_ok=True)
        shutil.rmtree(self._jobs / job_id, ignore_errors=True)
