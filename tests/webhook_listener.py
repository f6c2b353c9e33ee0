"""A server on this machine that gets news of ended jobs."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

HERE = "127.0.0.1"


class Listener(HTTPServer):
    """Keeps what it gets, and answers with the statuses it is given."""

    def __init__(self, *statuses: int) -> None:
        super().__init__((HERE, 0), _Handler)
        self.statuses = list(statuses)
        self.got: list[tuple[dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://{HERE}:{self.server_port}/news?from=us"


class _Handler(BaseHTTPRequestHandler):
    server: Listener

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append(({k.lower(): v for k, v in self.headers.items()}, body))
        status = self.server.statuses.pop(0)
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "http://127.0.0.1:9/")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        return
