"""What a worker process may not do: outlive its server, or take the machine's memory."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import resource
import threading

from fakestormer.parallel.termination import leave_signals_to_parent


def end_with_parent() -> None:
    """Let Ctrl-C and SIGTERM be the server's affair, and end when the server is killed."""
    leave_signals_to_parent()
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker is another process's child"
    threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)


def bound_memory(gigabytes: float) -> None:
    """From here on an allocation beyond fails; and no core file with somebody's video in it.

    RLIMIT_DATA, not RLIMIT_AS: a GPU driver maps far more addresses than it uses memory.
    """
    most = int(gigabytes * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
