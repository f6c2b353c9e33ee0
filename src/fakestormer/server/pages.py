"""The pages for people: what they write is in the templates, what moves in page.js.

Everything comes from this server: its style is the report's, and the page that describes the API
is drawn here from its OpenAPI description.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib.metadata import version
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from fakestormer.report.templates import template_environment
from fakestormer.server.guard import COOKIE, Access
from fakestormer.server.limits import MIB, Limits
from fakestormer.server.metrics import CONTENT_TYPE, metrics_text
from fakestormer.server.supervisor import Supervisor

#: Seconds that a wrong token costs.
_SLOW_DOWN = 0.5
_LONGEST_FORM = 4096
_TYPES = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}


def pages_router(
    supervisor: Supervisor,
    access: Access,
    limits: Limits,
    described: Callable[[], dict[str, Any]],
) -> APIRouter:
    """/, /health, /metrics, /login, /logout, /docs and /assets/*.

    described: the OpenAPI description.
    """
    router = APIRouter(include_in_schema=False)
    templates = template_environment("server")
    here = files("fakestormer") / "server"
    assets = {name: (here / name).read_bytes() for name in _TYPES}
    style = files("fakestormer") / "report" / "style.html.jinja"
    assets["style.css"] = style.read_bytes()

    def page(name: str, values: dict[str, Any], status: int = 200) -> HTMLResponse:
        common = {"version": version("fakestormer"), "has_token": access.token is not None}
        text = templates.get_template(name).render(common | values)
        return HTMLResponse(text, status_code=status)

    @router.get("/")
    async def home() -> HTMLResponse:
        return page(
            "page.html.jinja",
            {
                "limits": limits,
                "max_bytes": limits.megabytes * MIB,
                "model": supervisor.model,
                "retain_hours": supervisor.shared.retain.total_seconds() / 3600,
            },
        )

    @router.get("/health")
    async def health() -> Response:
        # The server answers once its model is loaded.
        return Response("ok\n", media_type="text/plain")

    @router.get("/metrics")
    async def metrics() -> Response:
        return Response(metrics_text(supervisor), headers={"Content-Type": CONTENT_TYPE})

    @router.get("/login")
    async def ask() -> Response:
        if access.token is None:
            return RedirectResponse("/", status_code=303)
        return page("login.html.jinja", {"wrong": False})

    @router.post("/login")
    async def log_in(request: Request) -> Response:
        if access.token is None:
            return RedirectResponse("/", status_code=303)
        if not access.knows_token(await _said(request)):
            await asyncio.sleep(_SLOW_DOWN)
            return page("login.html.jinja", {"wrong": True}, 401)
        response = RedirectResponse("/", status_code=303)
        response.set_cookie(
            COOKIE,
            access.session(),
            httponly=True,
            # Not "strict": a report is of no origin, and its link to the film needs the cookie.
            # What changes something is checked by the guard.
            samesite="lax",
            secure=request.headers.get("x-forwarded-proto") == "https",
        )
        return response

    @router.post("/logout")
    async def log_out() -> Response:
        response = RedirectResponse("/login", status_code=303)
        response.delete_cookie(COOKIE, httponly=True, samesite="lax")
        return response

    @router.get("/docs")
    async def docs() -> HTMLResponse:
        return page("docs.html.jinja", {"api": described()})

    @router.get("/assets/{name}")
    async def asset(name: str) -> Response:
        if name not in assets:
            return Response(status_code=404)
        kind = _TYPES.get(name, "text/css")
        return Response(assets[name], media_type=kind, headers={"Cache-Control": "no-cache"})

    return router


async def _said(request: Request) -> str:
    """The token in a form that was sent; "" for anything else."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LONGEST_FORM:
            return ""
    fields = parse_qs(body.decode("ascii", errors="replace"), max_num_fields=4)
    return fields.get("token", [""])[0]
