"""News of jobs that have ended, sent to addresses that clients named and the operator allows.

A request from inside a network reaches what strangers cannot. So the host must be on the operator's
list, its address must be public unless that very address is on the list too, the connection goes to
the address that was checked, and no redirect is followed.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import http.client
import ipaddress
import logging
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

log = logging.getLogger("fakestormer.server")

#: Seconds before each attempt.
PAUSES = (0.0, 2.0, 10.0, 60.0, 300.0)
_SECONDS = 10.0


class WebhookError(ValueError):
    """An address that news are not sent to; says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhooks:
    """Where news may be sent. hosts: names and addresses; empty sends none. secret: signs news.

    pauses: seconds before each attempt. now: the time, in seconds since 1970.
    """

    hosts: frozenset[str] = frozenset()
    secret: str = ""
    pauses: tuple[float, ...] = PAUSES
    now: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        if self.hosts and len(self.secret) < 16:
            raise ValueError(
                "webhooks need a secret of at least 16 letters, which signs them: set "
                "FAKESTORMER_WEBHOOK_SECRET"
            )

    def check(self, url: str) -> SplitResult:
        """The parts of an address; WebhookError where nothing may be sent there."""
        if not self.hosts:
            raise WebhookError("this server sends no webhooks; see --webhook-host")
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname or "", parts.port
        except ValueError as error:
            raise WebhookError(f"is no address ({error})") from error
        if not url.isascii() or not url.isprintable() or " " in url or parts.username is not None:
            raise WebhookError("expected an address without spaces and names of users")
        if host not in self.hosts:
            raise WebhookError(f"'{host}' is not a host that this server sends to")
        # Plain HTTP only to an address that the operator listed, such as this machine's.
        if parts.scheme != "https" and not (parts.scheme == "http" and _is_address(host)):
            raise WebhookError("expected an address that begins with https://")
        return parts

    def send(self, url: str, body: bytes) -> int:
        """POST once; returns the status. Raises WebhookError, OSError or HTTPException."""
        parts = self.check(url)
        host = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        connection = _Connection(host, port, address=self._address(host, port), tls=parts.scheme)
        stamp = str(int(self.now()))
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            connection.request(
                "POST",
                path,
                body,
                {
                    "Content-Type": "application/json",
                    "User-Agent": "fakestormer",
                    "X-FakeSTormer-Timestamp": stamp,
                    "X-FakeSTormer-Signature": f"sha256={signature(self.secret, stamp, body)}",
                },
            )
            return connection.getresponse().status
        finally:
            connection.close()

    async def deliver(self, url: str, body: bytes, *, wanted: Callable[[], bool]) -> bool | None:
        """Send news, some times; whether they arrived, or None once nobody wants them any more."""
        for pause in self.pauses:
            await asyncio.sleep(pause)
            if not wanted():
                return None
            try:
                status = await asyncio.to_thread(self.send, url, body)
            except WebhookError as error:
                log.warning("webhook: %s", error)
                return False
            except (OSError, http.client.HTTPException) as error:
                log.warning("webhook: %s", error)
                continue
            if 200 <= status < 300:
                return True
            log.warning("webhook: answered %d", status)
            if status < 500 and status not in (408, 429):
                return False
        return False

    def _address(self, host: str, port: int) -> str:
        """An address of the host that may be connected to."""
        for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            address = str(entry[4][0])
            if address in self.hosts or ipaddress.ip_address(address).is_global:
                return address
        raise WebhookError(f"'{host}' has no public address")


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """HMAC-SHA-256, in hexadecimal digits, of the timestamp, a dot and the body."""
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class _Connection(http.client.HTTPConnection):
    """A connection to an address that was checked, under the name of its host."""

    def __init__(self, host: str, port: int, *, address: str, tls: str) -> None:
        super().__init__(host, port, timeout=_SECONDS)
        self._address = address
        self._tls = ssl.create_default_context() if tls == "https" else None

    def connect(self) -> None:
        self.sock = socket.create_connection((self._address, self.port), self.timeout)
        if self._tls is not None:
            self.sock = self._tls.wrap_socket(self.sock, server_hostname=self.host)
