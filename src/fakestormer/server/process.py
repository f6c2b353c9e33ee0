"""One worker process as the server sees it: started, spoken to, heard, killed."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from fakestormer.parallel.termination import signals_held

#: What a worker process runs; picklable, because it goes to a fresh interpreter.
Entry = Callable[[Connection], None]

#: A worker's message is short; one that is not is cut off, with its worker.
_LONGEST_MESSAGE = 2**20


class WorkerProcess:
    """A process and the pipe to it. `heard` gets each message, `lost` is called once at its end.

    Both are called in the event loop that made it. job: the id of what it works on.
    """

    def __init__(
        self,
        entry: Entry,
        *,
        heard: Callable[[WorkerProcess, dict[str, Any]], None],
        lost: Callable[[WorkerProcess], None],
    ) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=entry, args=(theirs,), daemon=True)
        with signals_held():  # the server decides what ends a worker
            self._process.start()
        theirs.close()  # so that the pipe ends when the process does
        self._heard = heard
        self._lost = lost
        self._over = False
        self.ready = False
        self.job: str | None = None
        self.deadline: asyncio.TimerHandle | None = None
        asyncio.get_running_loop().add_reader(self._connection.fileno(), self._read)

    def order(self, job_id: str, message: dict[str, str]) -> bool:
        """Hand it a job; False when it has just died, which `lost` will tell soon."""
        try:
            self._connection.send_bytes(json.dumps(message).encode())
        except OSError:
            return False
        self.job = job_id
        return True

    def release(self) -> None:
        """It works on nothing any more."""
        self.job = None
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None

    def kill(self) -> None:
        """End it now; `lost` is not called."""
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
                self._heard(self, message)
        except EOFError:
            self._process.join(1)  # it is ending by itself: give it the time to have an exit code
            self._end(True)
        except (OSError, ValueError, RecursionError):
            self._end(True)

    def _end(self, tell: bool) -> None:
        if self._over:
            return
        self._over = True
        asyncio.get_running_loop().remove_reader(self._connection.fileno())
        self._process.kill()
        self._process.join(5)
        self._connection.close()
        if self.deadline is not None:
            self.deadline.cancel()
        if tell:
            self._lost(self)
