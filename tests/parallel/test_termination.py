"""Worker processes leave Ctrl-C and SIGTERM to the process that started them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from multiprocessing.synchronize import Event

from fakestormer.parallel.pool import map_videos
from fakestormer.parallel.termination import obey_only_the_parent, signals_held


def signalled(name: str) -> str:
    """Work that is sent both signals, as every process of a group is."""
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(os.getpid(), number)
    return name.upper()


def test_no_video_is_lost_to_a_signal_for_the_parent() -> None:
    assert dict(map_videos(signalled, ["a", "b"], workers=1)) == {"a": "A", "b": "B"}


def obedient(signalled_itself: Event) -> None:
    obey_only_the_parent()
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(os.getpid(), number)
    signalled_itself.set()
    time.sleep(300)


def test_a_worker_that_obeys_its_parent_obeys_nobody_else() -> None:
    context = multiprocessing.get_context("spawn")
    signalled_itself = context.Event()
    with signals_held():
        process = context.Process(target=obedient, args=(signalled_itself,))
        process.start()
        process.terminate()  # before it has begun: it waits
    process.join(120)
    assert process.exitcode == 0
    with signals_held():
        process = context.Process(target=obedient, args=(signalled_itself,))
        process.start()
    try:
        assert signalled_itself.wait(120)
        process.join(0.5)
        assert process.is_alive(), process.exitcode
        process.terminate()
        process.join(120)
        assert process.exitcode == 0
    finally:
        process.kill()
