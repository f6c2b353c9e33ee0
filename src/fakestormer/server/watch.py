"""Clients that wait for changes of jobs; a slow client gets the newest state, not every one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Watch:
    """Changes of one job, or of all; a job that changes ten times is reported once."""

    def __init__(self, only: str | None) -> None:
        self._only = only
        self._changed: dict[str, None] = {}
        self._news = asyncio.Event()
        self.closed = False

    def tell(self, job_id: str) -> None:
        """A job changed."""
        if self._only in (None, job_id):
            self._changed[job_id] = None
            self._news.set()

    def close(self) -> None:
        """There will be no more news."""
        self.closed = True
        self._news.set()

    async def changes(self, seconds: float) -> list[str]:
        """Ids of the jobs that changed since the last call; empty when so long none did."""
        try:
            await asyncio.wait_for(self._news.wait(), seconds)
        except TimeoutError:
            return []
        changed = list(self._changed)
        self._changed.clear()
        if not self.closed:
            self._news.clear()
        return changed


class Watches:
    """All of them."""

    def __init__(self) -> None:
        self._open: set[Watch] = set()

    @contextmanager
    def watch(self, only: str | None = None) -> Iterator[Watch]:
        """News from now on."""
        watch = Watch(only)
        self._open.add(watch)
        try:
            yield watch
        finally:
            self._open.discard(watch)

    def tell(self, job_id: str) -> None:
        """A job changed."""
        for watch in self._open:
            watch.tell(job_id)

    def close(self) -> None:
        """End all of them, so that the streams that serve them end."""
        for watch in self._open:
            watch.close()
