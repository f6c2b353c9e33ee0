"""Worker processes leave termination to the process that started them.

A service manager, a queue system or a terminal sends its signal to every process of a group. The
parent then saves or puts back what is under way, and it needs its workers for that; they end when
it tells them to, or when it has ended. A worker is deaf from its first instruction on: signals are
held while it is started, and a started process inherits that.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
#: Where signals can be held, and their senders asked for: not on Windows, nor all on macOS.
_CAN_HOLD = hasattr(signal, "pthread_sigmask")
_KNOWS_SENDER = hasattr(signal, "sigwaitinfo")


@contextmanager
def signals_held() -> Iterator[None]:
    """Within: a process that is started has Ctrl-C and SIGTERM wait from its first instruction on.

    Here another thread may take them meanwhile, as ever. That process has to call
    `leave_signals_to_parent` or `obey_only_the_parent`.
    """
    if not _CAN_HOLD:
        yield
        return
    resource_tracker.ensure_running()  # it lets go of them
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> int | None:
    """In a worker: it ends when its parent has ended, also with one that was gone before this.

    Returns the parent's process id.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker is another process's child"
    threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    return parent.pid


def leave_signals_to_parent() -> None:
    """In a worker: Ctrl-C and SIGTERM mean nothing here, and it ends when its parent has ended.

    For parents that end workers otherwise.
    """
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if _CAN_HOLD:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    _end_with_parent()


def obey_only_the_parent() -> None:
    """In a worker: Ctrl-C means nothing, SIGTERM ends it at once where the parent sent it.

    It ends with the parent, too.
    """
    parent = _end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if not _CAN_HOLD:
        return
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    if not _KNOWS_SENDER:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        return
    # Held for ever; the thread below takes them. Libraries' threads that began before inherited it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_end_when_told, args=(parent,), daemon=True).start()


def _end_when_told(parent: int | None) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)


def _end_with(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)
