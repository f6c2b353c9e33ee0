"""Jobs on disk, so that they outlive the server; several servers may share them.

store/jobs/ID/job.json      written last when a job is made: a folder without it is no job
store/jobs/ID/claim-N       which server works on it (claims.py)
store/jobs/ID/upload        the video, under this name whatever its sender called it
store/jobs/ID/result.json   of a finished job
store/jobs/ID/report.html   of a finished job
store/jobs/ID/thumbnail.jpg of a finished job
store/jobs/ID/overlay.mp4   of a finished job that wanted it
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fakestormer.detection.results import failure_of
from fakestormer.errors import InputError
from fakestormer.files import PARTIAL, write_atomically
from fakestormer.server.claims import Claims
from fakestormer.server.jobs import Job

UPLOAD, RESULT, REPORT, THUMBNAIL = "upload", "result.json", "report.html", "thumbnail.jpg"
#: The report links to this name beside its own address.
OVERLAY = "overlay.mp4"

log = logging.getLogger("fakestormer.server")


class JobStore:
    """A folder of jobs. Paths contain ids only, no names of senders."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.claims = Claims(folder)
        #: Every job that can be read, oldest first, as it was when it was last looked at.
        self.jobs: dict[str, Job] = {}
        #: How many videos arrive, at any server.
        self.arriving = 0
        self._jobs = folder / "jobs"
        #: What tells each job.json from the one before; of damaged ones too.
        self._stamps: dict[str, tuple[int, int]] = {}

    def make(self) -> None:
        """Make the folder, readable for its owner alone. Raises InputError where it cannot be."""
        try:
            for folder in (self._jobs, self.folder / "servers"):
                folder.mkdir(parents=True, exist_ok=True)
                folder.chmod(0o700)
        except OSError as error:
            raise InputError(
                f"{self.folder}: jobs cannot be kept there ({error.strerror}); name a folder you "
                "may write to with --store"
            ) from error

    def begin(self, job_id: str) -> Path:
        """Make the folder of a job that arrives; returns where its video goes. Raises OSError."""
        upload = self.file(job_id, UPLOAD)
        upload.parent.mkdir(mode=0o700)
        self.claims.take(job_id)  # or others would take it for what a dead server left
        self.arriving += 1
        return upload

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
        """Raises OSError where it cannot be written; the older state then stays on the disk."""
        self.jobs[job.id] = job
        write_atomically(self._jobs / job.id / "job.json", job.model_dump_json(indent=2).encode())
        self._stamps.pop(job.id, None)

    def refresh(self, job_id: str) -> bool:
        """Read a job again where its file is another one; whether there is news of it."""
        before = self.jobs.get(job_id)
        try:
            with (self._jobs / job_id / "job.json").open("rb") as file:
                stat = os.fstat(file.fileno())
                if self._stamps.get(job_id) == (stamp := (stat.st_ino, stat.st_mtime_ns)):
                    return False
                self._stamps[job_id] = stamp
                job = Job.model_validate_json(file.read())
        except FileNotFoundError:
            self._stamps.pop(job_id, None)
            return self.jobs.pop(job_id, None) is not None
        except (OSError, ValidationError) as error:
            self._stamps.setdefault(job_id, (0, 0))  # so that it is said once
            log.warning("job %s: cannot be read and is left alone: %s", job_id, error)
            return False
        if job.id == job_id:
            self.jobs[job_id] = job
        return job != before

    def look(self) -> list[str]:
        """Read what may have changed; returns the ids of the jobs of which there is news.

        What a dead server left of an upload is removed. Raises OSError.
        """
        names = set(os.listdir(self._jobs))
        moving = [job.id for job in self.jobs.values() if not job.ended or job.webhook == "pending"]
        new = {name for name in names - self._stamps.keys() if re.fullmatch("[0-9a-f]{32}", name)}
        gone = self._stamps.keys() - names
        changed = [job_id for job_id in {*moving, *new, *gone} if self.refresh(job_id)]
        if new & self.jobs.keys():
            in_order = sorted(self.jobs.values(), key=lambda job: (job.created, job.id))
            self.jobs.clear()
            self.jobs.update({job.id: job for job in in_order})
        arriving = new - self._stamps.keys()
        for job_id in arriving:
            if self.claims.is_abandoned(job_id):
                self.remove(job_id)
        self.arriving = len(arriving)
        return changed

    def sweep(self, job_id: str) -> None:
        """Remove what a killed process was writing, unless the job is another server's now."""
        mine = self.claims.is_mine(job_id)
        for leftover in (self._jobs / job_id).glob(f".*{PARTIAL}") if mine else ():
            leftover.unlink(missing_ok=True)

    def forget_upload(self, job_id: str) -> None:
        """Delete the video of a job."""
        self.file(job_id, UPLOAD).unlink(missing_ok=True)

    def remove(self, job_id: str) -> None:
        """Delete everything of a job, its state first: a job that is half gone is none."""
        self.jobs.pop(job_id, None)
        self._stamps.pop(job_id, None)
        (self._jobs / job_id / "job.json").unlink(missing_ok=True)
        shutil.rmtree(self._jobs / job_id, ignore_errors=True)
