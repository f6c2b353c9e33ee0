"""The jobs and the processes that work on them; no job is ever lost.

queued -> running -> done | failed | cancelled; a stopped server queues running jobs again.

All of this runs in the thread of the event loop, so nothing needs a lock.
"""

from __future__ import annotations

import asyncio
import http.client
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import ValidationError

from fakestormer.errors import InputError, SetupError
from fakestormer.server.jobs import Job, Progress, now
from fakestormer.server.process import Entry, WorkerProcess
from fakestormer.server.store import UPLOAD, JobStore
from fakestormer.server.watch import Watches
from fakestormer.server.webhooks import WebhookError, Webhooks

log = logging.getLogger("fakestormer.server")

#: A job that ran each time the server was killed fails after so many attempts.
MOST_ATTEMPTS = 3
#: Seconds between two searches for uploads to delete.
_SWEEP = 30.0
#: Most seconds before a worker that cannot start is started again: 1, 2, 4, ... up to this.
_LONGEST_PAUSE = 30.0
_REMEMBERED = 20
#: The fields of a finished job that a worker reports.
_RESULT = ("verdict", "probability", "interval", "reasons", "warnings")


@dataclass(slots=True)
class Tally:
    """What happened since the server began. ended: jobs by verdict, or by state without one."""

    ended: Counter[str] = field(default_factory=Counter)
    webhooks: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


class QueueFullError(Exception):
    """The queue has no room. seconds: when to try again."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"try again in {seconds} s")
        self.seconds = seconds


class Supervisor:
    """All jobs of a store, and the worker processes that do them.

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
        self.webhooks = webhooks or Webhooks()
        self.store = store
        self.queue = queue
        self.workers = workers
        self.retain = retain
        self.jobs: dict[str, Job] = {}
        self.progress: dict[str, Progress] = {}
        self.watches = Watches()
        #: Grows with every change of any job, over restarts too.
        self.revision = time.time_ns() // 1_000_000
        self.model: dict[str, str] = {}
        self._entry = entry
        self._seconds = seconds
        self._waiting: deque[str] = deque()
        self._arriving = 0
        self._processes: list[WorkerProcess] = []
        self._took: deque[float] = deque(maxlen=_REMEMBERED)
        self._false_starts = 0
        self._stopping = False
        self._unusable: InputError | SetupError | None = None
        self._first_ready: asyncio.Future[None] | None = None
        self._timers: set[asyncio.TimerHandle] = set()
        self._deliveries: set[asyncio.Future[None]] = set()
        self.tally = Tally()

    async def start(self) -> None:
        """Take up the jobs of earlier runs and wait for the first worker to be ready.

        Raises what opening the detector raised there, or SetupError when workers do not start.
        """
        for job in self.store.read():
            self.jobs[job.id] = job
            if job.state == "running" and job.attempts >= MOST_ATTEMPTS:
                self._fail(
                    job.id, f"{job.name}: the server died {job.attempts} times while judging it"
                )
            elif not job.ended and not self.store.file(job.id, UPLOAD).is_file():
                self._fail(job.id, f"{job.name}: its upload is gone; send it again")
            elif not job.ended:
                self._change(job.id, {"state": "queued", "started": None})
                self._waiting.append(job.id)
            elif job.webhook == "pending":
                self._begin_delivery(job.id)
        self._sweep()
        self._first_ready = asyncio.get_running_loop().create_future()
        for _ in range(self.workers):
            self._hire()
        await self._first_ready

    async def stop(self) -> None:
        """End the workers; their jobs are queued again, for the next start."""
        self._stopping = True
        for timer in self._timers:
            timer.cancel()
        for delivery in self._deliveries:  # they begin again with the next start
            delivery.cancel()
        for process in self._processes:
            process.kill()
            if process.job is not None:
                job = self.jobs[process.job]
                self._change(
                    job.id, {"state": "queued", "started": None, "attempts": job.attempts - 1}
                )
        self._processes.clear()
        self.watches.close()

    async def _deliver(self, job_id: str) -> None:
        """Send the news of an ended job, some times; a job that was deleted has none."""
        outcome: Literal["delivered", "failed"] = "failed"
        for pause in self.webhooks.pauses:
            await asyncio.sleep(pause)
            job = self.jobs.get(job_id)
            if job is None or job.options.webhook_url is None:
                return
            body = job.model_dump_json(exclude={"attempts", "options", "webhook"}).encode()
            try:
                status = await asyncio.to_thread(self.webhooks.send, job.options.webhook_url, body)
            except WebhookError as error:
                log.warning("webhook of job %s: %s", job_id, error)
                break
            except (OSError, http.client.HTTPException) as error:
                log.warning("webhook of job %s: %s", job_id, error)
                continue
            if 200 <= status < 300:
                outcome = "delivered"
                break
            log.warning("webhook of job %s: answered %d", job_id, status)
            if status < 500 and status not in (408, 429):
                break
        if job_id in self.jobs:
            self.tally.webhooks[outcome] += 1
            self._change(job_id, {"webhook": outcome})

    def _begin_delivery(self, job_id: str) -> None:
        delivery = asyncio.ensure_future(self._deliver(job_id))
        self._deliveries.add(delivery)
        delivery.add_done_callback(self._deliveries.discard)

    # Requests.

    @contextmanager
    def room(self) -> Iterator[None]:
        """Within: a place in the queue for a job that is arriving. Raises QueueFullError."""
        if len(self._waiting) + self._arriving >= self.queue:
            raise QueueFullError(self._when())
        self._arriving += 1
        try:
            yield
        finally:
            self._arriving -= 1

    def submit(self, job: Job) -> None:
        """Queue a job that has been uploaded. Raises OSError where it cannot be written."""
        self.store.write(job)
        self.jobs[job.id] = job
        self._waiting.append(job.id)
        self._tell(job.id)
        self._dispatch()

    def cancel(self, job_id: str) -> bool:
        """Stop a job; False when it had ended before."""
        if self.jobs[job_id].ended:
            return False
        if job_id in self._waiting:
            self._waiting.remove(job_id)
        self._finish(job_id, {"state": "cancelled"})
        for process in [p for p in self._processes if p.job == job_id]:
            process.kill()
            self._replace(process)
        self.store.sweep(job_id)
        return True

    def delete(self, job_id: str) -> None:
        """Stop a job where it has not ended, and delete everything of it."""
        self.cancel(job_id)
        del self.jobs[job_id]
        self.store.remove(job_id)
        self._tell(job_id)

    def ready(self) -> int:
        """How many worker processes have a model."""
        return sum(process.ready for process in self._processes)

    def waiting(self) -> int:
        """How many jobs wait for a worker."""
        return len(self._waiting)

    def place(self, job_id: str) -> int | None:
        """Its place in the queue, from 1; None when it does not wait."""
        return self._waiting.index(job_id) + 1 if job_id in self._waiting else None

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
                self._tell(job_id)
            elif kind in ("done", "failed") and job_id is not None:
                if kind == "done":
                    result = {name: message[name] for name in _RESULT}
                    self._finish(job_id, {"state": "done"} | result)
                else:
                    self._fail(job_id, str(message["sentence"]))
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
            job = self.jobs[job_id]
            log.warning("worker lost (%s) over job %s", process.death(), job_id)
            self._fail(
                job_id,
                f"{job.name}: the process that judged it died ({process.death()}); the file may be "
                "damaged: convert it to MP4 and send it again",
            )
            self.store.sweep(job_id)
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
        self._fail(
            job_id,
            f"{self.jobs[job_id].name}: took longer than the {self._seconds / 60:g} minutes that a "
            "job may take; cut out the part that matters",
        )
        self.store.sweep(job_id)
        self._replace(process)

    # Consequences.

    def _dispatch(self) -> None:
        for process in self._processes:
            if not process.ready or process.job is not None or not self._waiting or self._stopping:
                continue
            job = self.jobs[self._waiting[0]]
            upload = self.store.file(job.id, UPLOAD)
            order = {"path": str(upload), "folder": str(upload.parent), "name": job.name}
            order["options"] = job.options.model_dump_json()
            if not process.order(job.id, order):
                continue
            self._waiting.popleft()
            self.progress[job.id] = Progress(stage="starting")
            begun = {"state": "running", "started": now(), "attempts": job.attempts + 1}
            self._change(job.id, begun)
            loop = asyncio.get_running_loop()
            process.deadline = loop.call_later(self._seconds, self._overdue, process)
            for job_id in self._waiting:  # they have moved up
                self._tell(job_id)

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

    def _fail(self, job_id: str, sentence: str) -> None:
        self._finish(job_id, {"state": "failed", "error": sentence})

    def _finish(self, job_id: str, fields: dict[str, Any]) -> None:
        job = self.jobs[job_id]
        if job.started is not None:
            self._took.append((now() - job.started).total_seconds())
            self.tally.seconds += self._took[-1]
        self.tally.ended[fields.get("verdict") or fields["state"]] += 1
        self.progress.pop(job_id, None)
        news = {} if job.options.webhook_url is None else {"webhook": "pending"}
        self._change(job_id, {"finished": now()} | news | fields)
        if news:
            self._begin_delivery(job_id)
        self._expire(job_id, now())

    def _change(self, job_id: str, fields: dict[str, Any]) -> None:
        """Keep the new state of a job, on disk too, and notify its watchers."""
        job = Job.model_validate(self.jobs[job_id].model_dump() | fields)
        self.jobs[job_id] = job
        try:
            self.store.write(job)
        except OSError as error:  # the job goes on; only a restart would begin it again
            log.warning("job %s cannot be written (%s)", job_id, error.strerror)
        self._tell(job_id)

    def _tell(self, job_id: str) -> None:
        self.revision += 1
        self.watches.tell(job_id)

    def _sweep(self) -> None:
        moment = now()
        for job_id in list(self.jobs):
            self._expire(job_id, moment)
        self._later(_SWEEP, self._sweep)

    def _expire(self, job_id: str, moment: datetime) -> None:
        job = self.jobs[job_id]
        if job.upload_kept and job.finished is not None and moment >= job.finished + self.retain:
            self.store.forget_upload(job_id)
            self._change(job_id, {"upload_kept": False})

    def _when(self) -> int:
        """Estimated seconds until the queue has one place more, 1 to 600."""
        mean = sum(self._took) / len(self._took) if self._took else 10.0
        return max(1, min(600, round(mean / self.workers)))
