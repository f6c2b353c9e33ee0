"""The jobs and the processes that work on them; no job is ever lost.

queued -> running -> done | failed | cancelled; a stopped server queues running jobs again.

All of this runs in the thread of the event loop, so nothing needs a lock. Several servers may share
the folder of jobs: what the others did is looked up once a second and before each answer, and a
server works on a job, or sends news of it, while it holds the job's claim.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fakestormer.errors import InputError, SetupError
from fakestormer.server.jobs import Job, Progress, now
from fakestormer.server.process import Entry, WorkerProcess
from fakestormer.server.shared import SharedJobs
from fakestormer.server.store import UPLOAD, JobStore
from fakestormer.server.webhooks import Webhooks

log = logging.getLogger("fakestormer.server")

#: A job that ran each time the server was killed fails after so many attempts.
MOST_ATTEMPTS = 3
#: Seconds between two looks at what other servers did.
_LOOK = 1.0
#: Seconds between two searches for uploads to delete.
_SWEEP = 30.0
#: Most seconds before a worker that cannot start is started again: 1, 2, 4, ... up to this.
_LONGEST_PAUSE = 30.0
_REMEMBERED = 20
#: The fields of a finished job that a worker reports.
_RESULT = ("verdict", "probability", "interval", "reasons", "warnings")


class QueueFullError(Exception):
    """The queue has no room. seconds: when to try again."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"try again in {seconds} s")
        self.seconds = seconds


class Supervisor:
    """All jobs of a store, and the worker processes of this server that do them.

    queue: how many jobs may wait, uploads under way included. seconds: how long a job may run.
    retain: how long an upload is kept after its job ended. webhooks: where news may be sent.
    """

    def __init__(
        self,
        store: JobStore,
        entry: Entry,
        *,
        workers: int,
        queue: int,
        seconds: float,
        retain: timedelta,
        webhooks: Webhooks | None = None,
    ) -> None:
        self.store = store
        self.shared = SharedJobs(store, retain=retain, webhooks=webhooks or Webhooks())
        self.queue = queue
        self.workers = workers
        self.jobs = store.jobs
        self.progress: dict[str, Progress] = {}
        self.model: dict[str, str] = {}
        self._entry = entry
        self._seconds = seconds
        self._processes: list[WorkerProcess] = []
        self._took: deque[float] = deque(maxlen=_REMEMBERED)
        self._false_starts = 0
        self._stopping = False
        self._unusable: InputError | SetupError | None = None
        self._first_ready: asyncio.Future[None] | None = None
        self._timers: set[asyncio.TimerHandle] = set()

    async def start(self) -> None:
        """Take up the jobs of earlier runs and wait for the first worker to be ready.

        Raises what opening the detector raised there, or SetupError when workers do not start.
        """
        self._look()
        self._sweep()
        self._first_ready = asyncio.get_running_loop().create_future()
        for _ in range(self.workers):
            self._hire()
        await self._first_ready

    async def stop(self) -> None:
        """End the workers; their jobs are queued again, for other servers and the next start."""
        self._stopping = True
        for timer in self._timers:
            timer.cancel()
        for process in self._processes:
            process.kill()
            if process.job is not None:
                job = self.shared.refresh(process.job)
                if job is not None and self._works_on(job):
                    again = {"state": "queued", "started": None, "attempts": job.attempts - 1}
                    self.shared.change(job.id, again)
                self.store.claims.release(process.job)
        self._processes.clear()
        self.shared.close()
        self.store.claims.leave()

    # What other servers did.

    def _look(self) -> None:
        """See what other servers did, take their jobs where they are dead, and live on."""
        ours = {
            process.job: self.progress[process.job]
            for process in self._processes
            if process.job in self.progress
        }
        try:
            self.store.claims.look(ours)
            self.shared.refresh_all()
        except OSError as error:  # a file system that is away for a while comes back
            log.warning("%s cannot be read (%s)", self.store.folder, error.strerror)
        before, self.progress = self.progress, self.store.claims.progress | ours
        for job_id in self.progress.keys() - ours.keys():
            if self.progress[job_id] != before.get(job_id):
                self.shared.tell(job_id)
        for job_id in [process.job for process in self._processes if process.job is not None]:
            job = self.jobs.get(job_id)
            if job is None or not self._works_on(job):
                self._end_work(job_id)
                self.store.claims.release(job_id)
            if job is None:  # the process may have made its folder anew
                self.store.remove(job_id)
        self.shared.send_news()
        self._dispatch()
        self._later(_LOOK, self._look)

    def _works_on(self, job: Job) -> bool:
        """Whether a job runs here, and no other server has ended or taken it."""
        return job.state == "running" and self.store.claims.is_mine(job.id)

    def _end_work(self, job_id: str) -> None:
        for process in [p for p in self._processes if p.job == job_id]:
            process.kill()
            self.store.sweep(job_id)
            self._replace(process)

    # Requests.

    def admit(self, job_id: str) -> Path:
        """Make room for a job that arrives; returns where its video goes.

        Raises QueueFullError, and OSError where nothing can be written.
        """
        self.shared.refresh_all()
        if len(self.shared.queued()) + self.store.arriving >= self.queue:
            raise QueueFullError(self._when())
        return self.store.begin(job_id)

    def submit(self, job: Job) -> None:
        """Queue a job that has been uploaded. Raises OSError where it cannot be written."""
        self.store.write(job)
        self.store.claims.release(job.id)
        self.shared.tell(job.id)
        self._dispatch()

    def cancel(self, job_id: str) -> bool:
        """Stop a job; False when it had ended before."""
        if self.jobs[job_id].ended:
            return False
        self._end_work(job_id)
        self._finish(job_id, {"state": "cancelled"})
        return True

    def delete(self, job_id: str) -> None:
        """Stop a job where it has not ended, and delete everything of it."""
        self.cancel(job_id)
        self.store.remove(job_id)
        self.shared.tell(job_id)

    def ready(self) -> int:
        """How many worker processes have a model."""
        return sum(process.ready for process in self._processes)

    # Messages of workers.

    def _on_message(self, process: WorkerProcess, message: dict[str, Any]) -> None:
        """A message of a process that has read a stranger's file, so it is checked."""
        kind, job_id = message.get("say"), process.job
        try:
            if kind == "ready" and not process.ready:
                process.ready = True
                self._false_starts = 0
                self.model = {str(k): str(v) for k, v in dict(message["model"]).items()}
                if self._first_ready is not None and not self._first_ready.done():
                    self._first_ready.set_result(None)
            elif kind == "unusable" and not process.ready:
                error = SetupError if message["setup"] else InputError
                self._unusable = error(message["sentence"])
            elif kind == "progress" and job_id is not None:
                self.progress[job_id] = Progress.model_validate(
                    {name: message[name] for name in ("stage", "done", "total")}
                )
                self.shared.tell(job_id)
            elif kind in ("done", "failed") and job_id is not None:
                if kind == "done":
                    result = {name: message[name] for name in _RESULT}
                    self._finish(job_id, {"state": "done"} | result)
                else:
                    failed = {"state": "failed", "error": str(message["sentence"])}
                    self._finish(job_id, failed)
                process.release()
                if message.get("last"):
                    process.kill()
                    self._replace(process)
        except (KeyError, TypeError, ValidationError) as error:
            raise ValueError(f"no message of a worker: {error}") from error
        self._dispatch()

    def _on_end(self, process: WorkerProcess) -> None:
        job_id = process.job
        if job_id is not None:
            log.warning("worker lost (%s) over job %s", process.death(), job_id)
            self.store.sweep(job_id)
            self._fail(
                job_id,
                f"the process that judged it died ({process.death()}); the file may be damaged: "
                "convert it to MP4 and send it again",
            )
        if not process.ready:
            self._false_starts += 1
            if self._first_ready is not None and not self._first_ready.done():
                self._first_ready.set_exception(
                    self._unusable
                    or SetupError(
                        f"worker processes do not start here ({process.death()}); is there enough "
                        "memory? Their messages stand above"
                    )
                )
                self._processes.remove(process)
                return
        self._replace(process)

    def _overdue(self, process: WorkerProcess) -> None:
        job_id = process.job
        if job_id is None:
            return
        process.kill()
        self.store.sweep(job_id)
        self._fail(
            job_id,
            f"took longer than the {self._seconds / 60:g} minutes that a job may take; cut out the "
            "part that matters",
        )
        self._replace(process)

    # Consequences.

    def _dispatch(self) -> None:
        for process in self._processes:
            if not process.ready or process.job is not None or self._stopping:
                continue
            job = self._next()
            if job is None:
                return
            upload = self.store.file(job.id, UPLOAD)
            order = {"path": str(upload), "folder": str(upload.parent), "name": job.name}
            order["options"] = job.options.model_dump_json()
            if not process.order(job.id, order):
                self.store.claims.release(job.id)
                continue
            self.progress[job.id] = Progress(stage="starting")
            begun = {"state": "running", "started": now(), "attempts": job.attempts + 1}
            self.shared.change(job.id, begun)
            loop = asyncio.get_running_loop()
            process.deadline = loop.call_later(self._seconds, self._overdue, process)
            for job_id in self.shared.queued():  # they have moved up
                self.shared.tell(job_id)

    def _next(self) -> Job | None:
        """Claim the first job that waits, or that a dead server ran."""
        here = {process.job for process in self._processes}
        for job_id in [job.id for job in self.jobs.values() if not job.ended]:
            job = None if job_id in here else self.shared.claim(job_id)
            if job is None:
                continue
            if job.ended:
                self.store.claims.release(job_id)
                continue
            self.store.sweep(job_id)
            if job.state == "running" and job.attempts >= MOST_ATTEMPTS:
                self._fail(job_id, f"the server died {job.attempts} times while judging it")
            elif not self.store.file(job_id, UPLOAD).is_file():
                self._fail(job_id, "its upload is gone; send it again")
            else:
                return job
        return None

    def _replace(self, process: WorkerProcess) -> None:
        self._processes.remove(process)
        if self._stopping:
            return
        pause = min(2.0 ** (self._false_starts - 1), _LONGEST_PAUSE) if self._false_starts else 0.0
        self._later(pause, self._hire)

    def _hire(self) -> None:
        if not self._stopping:
            process = WorkerProcess(self._entry, on_message=self._on_message, on_end=self._on_end)
            self._processes.append(process)

    def _later(self, seconds: float, what: Callable[[], None]) -> None:
        def run() -> None:
            self._timers.discard(timer)
            what()

        timer = asyncio.get_running_loop().call_later(seconds, run)
        self._timers.add(timer)

    def _fail(self, job_id: str, why: str) -> None:
        job = self.jobs.get(job_id)
        if job is not None:  # deleted meanwhile
            self._finish(job_id, {"state": "failed", "error": f"{job.name}: {why}"})

    def _finish(self, job_id: str, fields: dict[str, Any]) -> None:
        job = self.shared.refresh(job_id)
        # Any server may cancel a job; its result comes from the one that it belongs to.
        cancelled = fields["state"] == "cancelled"
        mine = self.store.claims.is_mine(job_id)
        if job is not None and not job.ended and (mine or cancelled):
            if job.started is not None:
                self._took.append((now() - job.started).total_seconds())
                self.shared.tally.seconds += self._took[-1]
            self.shared.tally.ended[fields.get("verdict") or fields["state"]] += 1
            news = {} if job.options.webhook_url is None else {"webhook": "pending"}
            self.shared.change(job_id, {"finished": now()} | news | fields)
        self.progress.pop(job_id, None)
        self.store.claims.release(job_id)
        self.shared.send_news()
        self.shared.expire(job_id)

    def _sweep(self) -> None:
        for job_id in list(self.jobs):
            self.shared.expire(job_id)
        self._later(_SWEEP, self._sweep)

    def _when(self) -> int:
        """Estimated seconds until the queue has one place more, 1 to 600."""
        mean = sum(self._took) / len(self._took) if self._took else 10.0
        return max(1, min(600, round(mean / self.workers)))
