"""Checks before every request, headers of every answer, and the access log.

Every page that a user of this machine has open can send requests to this server. So the Host header
must name this server (a page whose host name was redirected to this machine sends its own name), a
request that changes something must not come from another page, and no other origin may read or
frame an answer.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import logging
import time
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("fakestormer.server.access")

COOKIE = "fakestormer"
#: Paths that need no token: the health check, the log-in form and its style.
OPEN = frozenset({"/health", "/login", "/assets/style.css", "/assets/page.css", "/assets/icon.svg"})

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
#: A report shows metadata of strangers' files, so it gets an origin of its own.
REPORT_POLICY = (
    "sandbox allow-scripts allow-modals allow-popups allow-downloads; default-src 'none'; "
    "img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)

#: Of a film; a browser shows it in a page of its own making.
FILM_POLICY = "default-src 'none'; media-src 'self'; style-src 'unsafe-inline'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Which requests are answered. token: None answers all. names: host names of this server.

    addresses: "loopback" or "any": which IP addresses a Host header may have; an address cannot be
    redirected as a name can.
    """

    token: str | None
    names: frozenset[str]
    addresses: str = "loopback"

    def is_ours(self, host: str) -> bool:
        """Whether a Host header names this server; its port may be that of a forwarder."""
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            return False
        if name is None or any(c in host for c in "@/?#\\ "):
            return False
        if name in self.names or name == "localhost":
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return self.addresses == "any" or address.is_loopback

    def knows_token(self, given: str) -> bool:
        """Compares in constant time."""
        return self.token is None or hmac.compare_digest(given.encode(), self.token.encode())

    def session(self) -> str:
        """The content of the cookie for browsers that gave the token; not the token itself."""
        assert self.token is not None, "there is nothing to log in to"
        return hmac.new(self.token.encode(), b"fakestormer session", hashlib.sha256).hexdigest()

    def admits(self, headers: Headers) -> bool:
        """Whether a request carries the token, or the cookie that was given for it."""
        if self.token is None:
            return True
        scheme, _, credentials = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self.knows_token(credentials.strip())
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        given = "" if cookie is None else cookie.value
        return hmac.compare_digest(given.encode(), self.session().encode())


class Guard:
    """ASGI middleware: refuses a request, or passes it on and adds headers to the answer."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app = app
        self.access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        began, status = time.monotonic(), 0

        async def sealed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(raw=message["headers"])
                headers.setdefault("Content-Security-Policy", PAGE_POLICY)
                headers.setdefault("Cache-Control", "no-store")
                headers["X-Content-Type-Options"] = "nosniff"
                # Not "no-referrer": forms would then come from the origin "null".
                headers["Referrer-Policy"] = "same-origin"
                headers["Cross-Origin-Resource-Policy"] = "same-origin"
                headers["Cross-Origin-Opener-Policy"] = "same-origin"
                message["headers"] = headers.raw
            await send(message)

        try:
            refusal = self._refusal(scope)
            await (refusal or self.app)(_as_get(scope), receive, sealed)
        finally:
            # Without the query, which may hold private data.
            client = scope.get("client") or ("-",)
            path = ascii(scope["path"])[1:-1]
            milliseconds = 1000 * (time.monotonic() - began)
            log.info("%s %s %s %s %.0f ms", client[0], scope["method"], path, status, milliseconds)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self.access.is_ours(hosts[0]):
            return _no(
                421, "this server does not go by that name; see --name of `fakestormer serve`"
            )
        changes = scope["method"] not in ("GET", "HEAD", "OPTIONS")
        if changes and not _same_origin(headers, hosts[0]):
            return _no(403, "this came from a page of another site, and changes nothing here")
        if scope["path"] in OPEN or self.access.admits(headers):
            return None
        if scope["method"] in ("GET", "HEAD") and "text/html" in headers.get("accept", ""):
            return RedirectResponse("/login", status_code=303)
        refusal = _no(401, "this server asks for its token: Authorization: Bearer TOKEN")
        refusal.headers["WWW-Authenticate"] = "Bearer"
        return refusal


def _as_get(scope: Scope) -> Scope:
    """HEAD is answered as GET, and the server leaves the body out; a stream has no end to wait for.

    Load balancers and `curl --head` ask so.
    """
    if scope["method"] != "HEAD" or scope["path"].endswith("/events"):
        return scope
    return {**scope, "method": "GET"}


def _same_origin(headers: Headers, host: str) -> bool:
    """Browsers always send their origin; programs send none."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    if origin is None:
        return True
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


def _no(status: int, sentence: str) -> Response:
    return JSONResponse({"detail": sentence}, status_code=status)
