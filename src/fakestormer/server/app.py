"""The web application, put together: the API, the pages, and the guard before them."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from fakestormer.server.api import api_router
from fakestormer.server.description import TAGS, describe
from fakestormer.server.guard import Access, Guard
from fakestormer.server.limits import Limits
from fakestormer.server.pages import pages_router
from fakestormer.server.supervisor import Supervisor


def build_app(supervisor: Supervisor, access: Access, limits: Limits) -> FastAPI:
    """An ASGI application; whoever runs it starts and stops the supervisor."""
    app = FastAPI(
        title="FakeSTormer",
        version=version("fakestormer"),
        summary="Send a video, get a verdict with its reasons.",
        # FastAPI's own pages fetch their scripts from other hosts; ours is at /docs all the same.
        docs_url=None,
        redoc_url=None,
        openapi_tags=TAGS,
    )
    app.include_router(api_router(supervisor, limits))
    describe(app, token=access.token is not None)
    app.include_router(pages_router(supervisor, access, limits, app.openapi))
    app.add_exception_handler(RequestValidationError, _not_as_described)
    app.add_middleware(Guard, access=access)
    return app


async def _not_as_described(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = " ".join(str(part) for part in first["loc"])
    return JSONResponse({"detail": f"{where}: {first['msg']}"}, status_code=422)
