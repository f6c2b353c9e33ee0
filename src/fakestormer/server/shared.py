"""The jobs of a store as one server knows them, while other servers change them too.

What others did is seen when a job is looked up again. To work on a job, or to send the news of its
end, a server first claims it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from fakestormer.server.jobs import Job, now
from fakestormer.server.store import JobStore
from fakestormer.server.watch import Watches
from fakestormer.server.webhooks import Webhooks

log = logging.getLogger("fakestormer.server")


@dataclass(slots=True)
class Tally:
    """What happened since the server began. ended: jobs by verdict, or by state without one."""

    ended: Counter[str] = field(default_factory=Counter)
    webhooks: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


class SharedJobs:
    """All jobs of a store; changes are written, and told to those who watch.

    retain: how long an upload is kept after its job ended. webhooks: where news may be sent.
    """

    def __init__(self, store: JobStore, *, retain: timedelta, webhooks: Webhooks) -> None:
        self.store = store
        self.retain = retain
        self.webhooks = webhooks
        self.watches = Watches()
        self.tally = Tally()
        #: Grows with every change of any job, over restarts too.
        self.revision = 0
        self._deliveries: dict[str, asyncio.Future[None]] = {}

    def close(self) -> None:
        """Give up the deliveries, for other servers and the next start."""
        for job_id, delivery in self._deliveries.items():
            delivery.cancel()
            self.store.claims.release(job_id)
        self.watches.close()

    def refresh(self, job_id: str) -> Job | None:
        """Look a job up again; None where there is none any more."""
        if self.store.refresh(job_id):
            self.tell(job_id)
        return self.store.jobs.get(job_id)

    def refresh_all(self) -> None:
        """Look all jobs up again that may have changed. Raises OSError."""
        for job_id in self.store.look():
            self.tell(job_id)

    def claim(self, job_id: str) -> Job | None:
        """The job, once it is this server's; None where it is another's, or gone."""
        try:
            mine = self.store.claims.take(job_id)
        except OSError as error:
            log.warning("job %s cannot be claimed (%s)", job_id, error.strerror)
            return None
        return self.refresh(job_id) if mine else None  # it may have changed before it was claimed

    def change(self, job_id: str, fields: dict[str, Any]) -> None:
        """Keep the new state of a job, on disk too; nothing for one that was deleted."""
        before = self.refresh(job_id)
        if before is None:
            return
        job = Job.model_validate(before.model_dump() | fields)
        try:
            self.store.write(job)
        except OSError as error:  # the job goes on; only a restart would begin it again
            log.warning("job %s cannot be written (%s)", job_id, error.strerror)
        self.tell(job_id)

    def tell(self, job_id: str) -> None:
        """Notify the watchers of a job."""
        # By the clock, so that views of a job compare whichever server they come from.
        self.revision = max(self.revision + 1, time.time_ns() // 1_000_000)
        self.watches.tell(job_id)

    def queued(self) -> list[str]:
        """The jobs that wait for a worker of any server, the next one first."""
        return [job.id for job in self.store.jobs.values() if job.state == "queued"]

    def expire(self, job_id: str) -> None:
        """Delete the upload of a job that ended long enough ago; any server does so."""
        job = self.store.jobs.get(job_id)
        if job is None or not job.upload_kept or job.finished is None:
            return
        if now() >= job.finished + self.retain:
            self.store.forget_upload(job_id)
            self.change(job_id, {"upload_kept": False})

    def send_news(self) -> None:
        """Begin the deliveries that no server has begun, or that a dead one had."""
        for job_id in [job.id for job in self.store.jobs.values() if job.webhook == "pending"]:
            if job_id in self._deliveries or (job := self.claim(job_id)) is None:
                continue
            if job.webhook == "pending":
                self._deliveries[job_id] = asyncio.ensure_future(self._deliver(job))
            else:
                self.store.claims.release(job_id)

    async def _deliver(self, job: Job) -> None:
        """Send the news of an ended job; one that was deleted has none."""
        body = job.model_dump_json(exclude={"attempts", "options", "webhook"}).encode()
        arrived = await self.webhooks.deliver(
            job.options.webhook_url or "", body, wanted=lambda: job.id in self.store.jobs
        )
        if arrived is not None:
            outcome = "delivered" if arrived else "failed"
            self.tally.webhooks[outcome] += 1
            self.change(job.id, {"webhook": outcome})
        self._deliveries.pop(job.id)
        self.store.claims.release(job.id)
