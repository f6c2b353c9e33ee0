"""The REST API: jobs are created, watched, read, cancelled and deleted."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import logging
from collections.abc import AsyncIterator
from importlib.metadata import version
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse

from fakestormer.detection.collected import table
from fakestormer.server.description import RESULT_SCHEMA
from fakestormer.server.guard import FILM_POLICY, REPORT_POLICY
from fakestormer.server.intake import MOST_AT_ONCE, form_schema, take
from fakestormer.server.jobs import Job
from fakestormer.server.limits import MIB, Limits
from fakestormer.server.store import OVERLAY, REPORT, RESULT, THUMBNAIL
from fakestormer.server.supervisor import QueueFullError, Supervisor
from fakestormer.server.upload import RefusedError, drain
from fakestormer.server.views import (
    Deleted,
    JobIds,
    JobList,
    JobView,
    LimitsView,
    Problem,
    SentJobs,
    ServerView,
    job_view,
)

log = logging.getLogger("fakestormer.server")

#: Seconds without events after which a stream sends a sign of life.
_KEEP_ALIVE = 15.0

_MEANING = {
    400: "The form or the JSON is cut off or not as described",
    401: "The token is missing or wrong",
    403: "Sent by a page of another site, or asks for news to a host that is not listed",
    404: "No such job, or no such part of it",
    408: "The upload stalled",
    409: "The job is not in a state for that",
    413: "The file is too large",
    415: "Not a multipart form",
    421: "Sent to a host name that is not this server's",
    422: "A parameter is not as described",
    429: "The queue is full; Retry-After says when to try again",
    507: "The server's disk is full",
}

Search = Annotated[
    str, Query(max_length=200, description="words of the name, of the verdict or of the state")
]
JobId = Annotated[str, Path(description="the `id` of a job", pattern="^[0-9a-f]{32}$")]


def api_router(supervisor: Supervisor, limits: Limits) -> APIRouter:
    """Everything below /v1."""
    router = APIRouter(prefix="/v1", responses=problems(401, 403, 421))
    max_bytes = limits.megabytes * MIB

    def known(job_id: str) -> Job:
        supervisor.shared.refresh(job_id)
        job = supervisor.jobs.get(job_id)
        if job is None:
            raise HTTPException(404, "there is no such job")
        return job

    def finished(job_id: str) -> Job:
        job = known(job_id)
        if job.state != "done":
            raise HTTPException(409, job.error or f"the job is {job.state}")
        return job

    @router.get("/server", tags=["server"], summary="What this server is and takes")
    async def server() -> ServerView:
        return ServerView(
            version=version("fakestormer"),
            model=supervisor.model,
            limits=LimitsView(bytes=max_bytes, **dataclasses.asdict(limits)),
            workers=supervisor.workers,
            waiting=len(supervisor.shared.queued()),
            queue=supervisor.queue,
            retain_hours=supervisor.shared.retain.total_seconds() / 3600,
        )

    async def taken(request: Request, most: int) -> list[JobView]:
        try:
            return await take(request, supervisor, limit=max_bytes, most=most)
        except QueueFullError as error:
            await drain(request)
            raise HTTPException(
                429, "the queue is full; try again later", {"Retry-After": str(error.seconds)}
            ) from error
        except RefusedError as error:
            await drain(request)
            raise HTTPException(error.status, error.sentence) from error
        except OSError as error:
            log.warning("an upload cannot be kept (%s)", error.strerror)
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            raise HTTPException(507 if full else 500, "the upload cannot be kept") from error

    @router.post(
        "/jobs",
        tags=["jobs"],
        status_code=201,
        summary="Send a video",
        description="The job waits in the queue. The file type is detected by decoding; the name "
        "is ignored.",
        responses=problems(400, 408, 413, 415, 422, 429, 507),
        openapi_extra=form_schema(several=False),
    )
    async def create(request: Request, response: Response) -> JobView:
        (job,) = await taken(request, 1)
        response.headers["Location"] = job.links.job
        return job

    @router.post(
        "/batches",
        tags=["jobs"],
        status_code=201,
        summary="Send several videos",
        description="All become jobs, or none. Options hold for the videos after them, up to the "
        "next options.",
        responses=problems(400, 408, 413, 415, 422, 429, 507),
        openapi_extra=form_schema(several=True),
    )
    async def create_batch(request: Request) -> SentJobs:
        return SentJobs(jobs=await taken(request, MOST_AT_ONCE))

    def fitting(search: str) -> list[Job]:
        supervisor.shared.refresh_all()
        words = search.casefold().split()
        return [
            job
            for job in reversed(supervisor.jobs.values())
            if all(word in f"{job.name} {job.verdict or job.state}".casefold() for word in words)
        ]

    @router.get("/jobs", tags=["jobs"], summary="Jobs, the newest first", responses=problems(422))
    async def index(
        limit: Annotated[int, Query(ge=1, le=1000, description="how many at most")] = 100,
        offset: Annotated[int, Query(ge=0, le=2**31, description="how many to leave out")] = 0,
        search: Search = "",
    ) -> JobList:
        jobs = fitting(search)
        views = [job_view(supervisor, job) for job in jobs[offset : offset + limit]]
        return JobList(jobs=views, total=len(jobs))

    @router.get(
        "/results.csv",
        tags=["jobs"],
        summary="Results as a table",
        description="A line per job that is done or has failed, as `fakestormer detect --csv` "
        "writes them, the newest first.",
        response_class=Response,
        responses=problems(422) | {200: {"content": {"text/csv": {}}}},
    )
    async def as_table(search: Search = "") -> Response:
        text = table(await asyncio.to_thread(supervisor.store.entries, fitting(search)))
        return Response(
            text.encode(errors="backslashreplace"),
            media_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": 'attachment; filename="fakestormer-results.csv"'},
        )

    @router.post("/jobs/delete", tags=["jobs"], summary="Delete jobs", responses=problems(400, 422))
    async def delete_all(asked: JobIds) -> Deleted:
        supervisor.shared.refresh_all()
        there = [job_id for job_id in dict.fromkeys(asked.ids) if job_id in supervisor.jobs]
        for job_id in there:
            supervisor.delete(job_id)
        return Deleted(deleted=len(there))

    @router.get("/jobs/{job_id}", tags=["jobs"], summary="One job", responses=problems(404, 422))
    async def read(job_id: JobId) -> JobView:
        return job_view(supervisor, known(job_id))

    @router.delete(
        "/jobs/{job_id}",
        tags=["jobs"],
        status_code=204,
        summary="Delete a job",
        description="With its video, result and report; one that runs is stopped first.",
        responses=problems(404, 422),
    )
    async def delete(job_id: JobId) -> None:
        known(job_id)
        supervisor.delete(job_id)

    @router.post(
        "/jobs/{job_id}/cancel",
        tags=["jobs"],
        summary="Stop a job",
        responses=problems(404, 409, 422),
    )
    async def cancel(job_id: JobId) -> JobView:
        job = known(job_id)
        if not supervisor.cancel(job_id):
            raise HTTPException(409, f"the job is {job.state} already")
        return job_view(supervisor, known(job_id))

    @router.get(
        "/jobs/{job_id}/events",
        tags=["jobs"],
        summary="What happens to a job",
        description="Server-sent events: `job` with the job as JSON, at once, with each change, "
        "and for the last time when it has ended; `deleted` with its id.",
        response_class=StreamingResponse,
        responses=problems(404, 422) | {200: {"content": {"text/event-stream": {}}}},
    )
    async def events(job_id: JobId) -> StreamingResponse:
        known(job_id)
        return _stream(_events(supervisor, job_id))

    @router.get(
        "/events",
        tags=["server"],
        summary="What happens to all jobs",
        description="Server-sent events as for one job, without an end; only news.",
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {}}}},
    )
    async def all_events() -> StreamingResponse:
        return _stream(_events(supervisor, None))

    @router.get(
        "/jobs/{job_id}/result",
        tags=["jobs"],
        summary="The result",
        description="One entry of the `results` that `fakestormer detect --json` writes.",
        response_class=FileResponse,
        responses=problems(404, 409, 422)
        | {200: {"content": {"application/json": {"schema": {"$ref": RESULT_SCHEMA}}}}},
    )
    async def result(job_id: JobId) -> FileResponse:
        job = finished(job_id)
        return FileResponse(supervisor.store.file(job.id, RESULT), media_type="application/json")

    @router.get(
        "/jobs/{job_id}/thumbnail",
        tags=["jobs"],
        summary="A small picture",
        description="A frame of the face that the verdict rests on.",
        response_class=FileResponse,
        responses=problems(404, 409, 422) | {200: {"content": {"image/jpeg": {}}}},
    )
    async def thumbnail(job_id: JobId) -> FileResponse:
        file = supervisor.store.file(finished(job_id).id, THUMBNAIL)
        if not file.is_file():
            raise HTTPException(404, "this job has no picture")
        return FileResponse(file, media_type="image/jpeg")

    @router.get(
        f"/jobs/{{job_id}}/{OVERLAY}",
        tags=["jobs"],
        summary="The film",
        description="The video with the map, boxes and numbers drawn in, of a job with the option "
        "`overlay`.",
        response_class=FileResponse,
        responses=problems(404, 409, 422) | {200: {"content": {"video/mp4": {}}}},
    )
    async def overlay(job_id: JobId) -> FileResponse:
        file = supervisor.store.file(finished(job_id).id, OVERLAY)
        if not file.is_file():
            raise HTTPException(404, "this job has no film; send the video with the option overlay")
        return FileResponse(
            file, media_type="video/mp4", headers={"Content-Security-Policy": FILM_POLICY}
        )

    @router.get(
        "/jobs/{job_id}/report",
        tags=["jobs"],
        summary="The report",
        description="One HTML page that needs nothing else.",
        response_class=FileResponse,
        responses=problems(404, 409, 422) | {200: {"content": {"text/html": {}}}},
    )
    async def report(
        job_id: JobId,
        download: Annotated[bool, Query(description="as a file to keep")] = False,
    ) -> FileResponse:
        job = finished(job_id)
        return FileResponse(
            supervisor.store.file(job.id, REPORT),
            media_type="text/html; charset=utf-8",
            filename=f"fakestormer-report-{job.id[:12]}.html",
            content_disposition_type="attachment" if download else "inline",
            headers={"Content-Security-Policy": REPORT_POLICY},
        )

    return router


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """These answers, for the OpenAPI description."""
    return {status: {"model": Problem, "description": _MEANING[status]} for status in statuses}


def _stream(events: AsyncIterator[str]) -> StreamingResponse:
    return StreamingResponse(events, media_type="text/event-stream")


async def _events(supervisor: Supervisor, only: str | None) -> AsyncIterator[str]:
    """Of one job until it has ended, or of all."""
    with supervisor.shared.watches.watch(only) as watch:
        yield ": here\n\n"
        changed = [] if only is None else [only]
        while True:
            for job_id in changed:
                job = supervisor.jobs.get(job_id)
                if job is None:
                    yield f'event: deleted\ndata: {{"id": "{job_id}"}}\n\n'
                else:
                    yield f"event: job\ndata: {job_view(supervisor, job).model_dump_json()}\n\n"
                if only is not None and (job is None or job.ended):
                    return
            if watch.closed:
                return
            changed = await watch.changes(_KEEP_ALIVE)
            if not changed:
                yield ": still here\n\n"
