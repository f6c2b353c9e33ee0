"""One worker process as the server sees it: started, given orders, killed."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from fakestormer.parallel.termination import signals_held

#: The function of a worker process; picklable, because it runs in a new interpreter.
Entry = Callable[[Connection], None]

#: Bytes of a message; a worker that sends more is ended.
_LONGEST_MESSAGE = 2**20


class WorkerProcess:
    """A process and the pipe to it.

    on_message: called with each message. on_end: called once, when the process has ended. Both are
    called in the event loop that made it. job: the id of the job that it works on.
    """

    def __init__(
        self,
        entry: Entry,
        *,
        on_message: Callable[[WorkerProcess, dict[str, Any]], None],
        on_end: Callable[[WorkerProcess], None],
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=entry, args=(theirs,), daemon=True)
        with signals_held():  # the server decides what ends a worker
            self._process.start()
        theirs.close()  # so that the pipe ends when the process does
        self._on_message = on_message
        self._on_end = on_end
        self._over = False
        self.ready = False
        self.job: str | None = None
        self.deadline: asyncio.TimerHandle | None = None
        asyncio.get_running_loop().add_reader(self._connection.fileno(), self._read)

    def order(self, job_id: str, message: dict[str, str]) -> bool:
        """Hand it a job; False when it has just died, which `on_end` reports soon."""
        try:
            self._connection.send_bytes(json.dumps(message).encode())
        except OSError:
            return False
        self.job = job_id
        return True

    def release(self) -> None:
        """It has no job any more."""
        self.job = None
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None

    def kill(self) -> None:
        """End it now; `on_end` is not called."""
        self._end(False)

    def death(self) -> str:
        """How the process ended, for people."""
        code = self._process.exitcode
        if code is not None and code < 0:
            return f"signal {signal.Signals(-code).name}"
        return f"exit code {code}"

    def _read(self) -> None:
        try:
            while not self._over and self._connection.poll():
                message = json.loads(self._connection.recv_bytes(_LONGEST_MESSAGE))
                if not isinstance(message, dict):
                    raise ValueError("a message is an object")
                self._on_message(self, message)
        except EOFError:
            self._process.join(1)  # it ends by itself: wait for its exit code
            self._end(True)
        except (OSError, ValueError, RecursionError):
            self._end(True)

    def _end(self, report: bool) -> None:
        if self._over:
            return
        self._over = True
        asyncio.get_running_loop().remove_reader(self._connection.fileno())
        self._process.kill()
        self._process.join(5)
        self._connection.close()
        if self.deadline is not None:
            self.deadline.cancel()
        if report:
            self._on_end(self)
