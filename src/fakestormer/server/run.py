"""`fakestormer serve`: an address, a store and workers, until a signal says stop."""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import FrameType

import uvicorn

from fakestormer.server.app import build_app
from fakestormer.server.guard import Access
from fakestormer.server.limits import Limits
from fakestormer.server.process import Entry
from fakestormer.server.store import JobStore
from fakestormer.server.supervisor import Supervisor
from fakestormer.server.webhooks import Webhooks

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class AddressError(ValueError):
    """The server cannot or must not listen on this address; says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """How to serve. port: 0 takes a free one. names: host names of ours beside the address.

    queue: jobs that may wait. webhooks: where news of ended jobs may be sent. retain_hours: how
    long uploads are kept after their job ended.
    """

    store: Path
    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    names: tuple[str, ...] = ()
    workers: int = 1
    queue: int = 16
    retain_hours: float = 24.0
    limits: Limits = field(default_factory=Limits)
    webhooks: Webhooks = field(default_factory=Webhooks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A server that answers. url: of its page. stop: ends it as SIGTERM does, from any thread."""

    url: str
    stop: Callable[[], None]


def serve(settings: ServerSettings, entry: Entry, *, ready: Callable[[Running], None]) -> None:
    """Serve until SIGINT or SIGTERM; `ready` is called once the model is loaded.

    entry: what each worker process runs. Raises AddressError for an address that cannot be had or
    needs a token, and what `JobStore.make` and `Supervisor.start` raise.
    """
    access = access_to(settings)
    with listening(settings.host, settings.port) as sock:
        JobStore(settings.store).make()
        asyncio.run(_serve(settings, access, entry, sock, ready))


def access_to(settings: ServerSettings) -> Access:
    """Which requests are answered. Raises AddressError where a token is needed and missing."""
    token = settings.token
    if token is not None and not (token and token.isascii() and token.isprintable()):
        raise AddressError("the token must be letters, digits and signs of ASCII, at least one")
    local = all(address.is_loopback for address in _addresses(settings.host))
    if token is None and not local:
        raise AddressError(
            f"{settings.host} can be reached from other machines, which needs a token: set "
            "FAKESTORMER_TOKEN (or --token), or listen on 127.0.0.1"
        )
    names = {name.lower() for name in settings.names}
    if not local:
        names.add(settings.host.lower())
    return Access(token=token, names=frozenset(names), addresses="loopback" if local else "any")


def _addresses(host: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    try:
        entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise AddressError(f"{host}: is no address of this machine ({error.strerror})") from error
    return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in entries]


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens on an address; AddressError where it cannot."""
    family = socket.AF_INET6 if _addresses(host)[0].version == 6 else socket.AF_INET
    try:
        sock = socket.create_server((host, port), family=family, backlog=256)
    except OSError as error:
        raise AddressError(
            f"cannot listen on {host}, port {port} ({error.strerror}); choose another with --port"
        ) from error
    with sock:
        yield sock


async def _serve(
    settings: ServerSettings,
    access: Access,
    entry: Entry,
    sock: socket.socket,
    ready: Callable[[Running], None],
) -> None:
    supervisor = Supervisor(
        JobStore(settings.store),
        entry,
        workers=settings.workers,
        queue=settings.queue,
        seconds=settings.limits.minutes * 60,
        retain=timedelta(hours=settings.retain_hours),
        webhooks=settings.webhooks,
    )
    config = uvicorn.Config(
        build_app(supervisor, access, settings.limits),
        access_log=False,  # the guard's leaves out the query
        log_config=None,
        ws="none",
        lifespan="off",
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=5,
    )
    server = _Server(config, before_stop=supervisor.shared.watches.close)
    with server.capture_signals():
        starting = asyncio.ensure_future(supervisor.start())
        try:
            stopped = asyncio.ensure_future(server.asked.wait())
            await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                if not server.asked.is_set():
                    stop = functools.partial(server.handle_exit, signal.SIGTERM, None)
                    ready(Running(url=_url(sock), stop=stop))
                    await server.serve(sockets=[sock])
        finally:
            starting.cancel()
            await supervisor.stop()


def _url(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


class _Server(uvicorn.Server):
    """Ends its streams before it waits for them, and a signal ends it without an error."""

    def __init__(self, config: uvicorn.Config, *, before_stop: Callable[[], None]) -> None:
        super().__init__(config)
        self.asked = asyncio.Event()
        self._before_stop = before_stop
        self._loop = asyncio.get_running_loop()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._loop.call_soon_threadsafe(self.asked.set)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Unlike uvicorn's: does not raise the signal again once everything has ended well."""
        try:
            before = {number: signal.signal(number, self.handle_exit) for number in _SIGNALS}
        except ValueError:  # not in the main thread: the caller sets should_exit
            before = {}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._before_stop()
        await super().shutdown(sockets)


def worker_entry(function: Callable[..., None], settings: object) -> Entry:
    """A worker's function with its settings, for another process."""
    return functools.partial(function, settings=settings)
