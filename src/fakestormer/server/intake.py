"""From a form to jobs in the queue: all of its videos, or none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from starlette.requests import Request

from fakestormer.server.jobs import Job, display_name, new_id, now
from fakestormer.server.supervisor import Supervisor
from fakestormer.server.upload import FIELD, OPTIONS, RefusedError, Upload, receive
from fakestormer.server.views import JobView, job_view
from fakestormer.server.webhooks import WebhookError

#: Videos of one form.
MOST_AT_ONCE = 100


async def take(request: Request, supervisor: Supervisor, *, limit: int, most: int) -> list[JobView]:
    """Receive the videos of a form and queue them.

    limit: bytes of a video. most: videos. Raises QueueFullError where the queue has no room for
    all, RefusedError as `receive` does and for an address that no webhook may be sent to, and
    OSError where they cannot be kept. Nothing of them is then left.
    """
    ids: list[str] = []

    def new_path() -> Path:
        ids.append(new_id())
        return supervisor.admit(ids[-1])

    whole = False
    try:
        uploads = await receive(request, new_path, limit=limit, most=most)
        for upload in uploads:
            _check_webhook(supervisor, upload)
        for job_id, upload in zip(ids, uploads, strict=True):
            name = display_name(upload.name)
            supervisor.submit(
                Job(id=job_id, name=name, size=upload.size, created=now(), options=upload.options)
            )
        whole = True
    finally:
        for job_id in [] if whole else ids:
            if job_id in supervisor.jobs:
                supervisor.delete(job_id)
            supervisor.store.remove(job_id)
    return [job_view(supervisor, supervisor.jobs[job_id]) for job_id in ids]


def _check_webhook(supervisor: Supervisor, upload: Upload) -> None:
    url = upload.options.webhook_url
    try:
        if url is not None:
            supervisor.shared.webhooks.check(url)
    except WebhookError as error:
        raise RefusedError(403, f"{OPTIONS}: webhook_url: {error}") from error


def form_schema(*, several: bool) -> dict[str, Any]:
    """What a form consists of, for the OpenAPI description."""
    video: dict[str, Any] = {"type": "string", "format": "binary"}
    about = {"description": "the video file"}
    if several:
        video = {"type": "array", "items": video, "minItems": 1, "maxItems": MOST_AT_ONCE}
        about = {"description": f"the video files, up to {MOST_AT_ONCE}"}
    options = {
        "$ref": "#/components/schemas/JobOptions",
        "description": "options of the videos after it, as JSON",
    }
    schema = {
        "type": "object",
        "required": [FIELD],
        "additionalProperties": False,
        "properties": {OPTIONS: options, FIELD: video | about},
    }
    encoding = {OPTIONS: {"contentType": "application/json"}}
    form = {"schema": schema, "encoding": encoding}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": form}}}
