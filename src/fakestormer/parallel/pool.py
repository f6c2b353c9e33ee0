"""Many videos over several processes, where any one of them may kill its process."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from fakestormer.parallel.memory import keep_freed_memory
from fakestormer.parallel.termination import leave_signals_to_parent, signals_held
from fakestormer.parallel.threads import use_threads

Result = TypeVar("Result")

#: Handed over per process beyond the one it works on; few, so that a crash has few suspects.
QUEUED = 2

_work: Callable[[str], object] | None = None  # in worker processes only, set once when they start


def map_videos(
    work: Callable[[str], Result],
    names: Sequence[str],
    *,
    workers: int,
    cluster: str | None = None,
) -> Iterator[tuple[str, Result | None]]:
    """(name, work(name)) in order of completion; (name, None) when its process died of it.

    work: picklable; every process gets one copy for its lifetime. workers: 0 runs everything in
    this process. Exceptions of `work` are raised here. After a crash the videos that were under
    way are tried again one at a time, each in a process of its own, so the guilty one is known.
    Closing the iterator, or an exception such as Ctrl-C, stops the processes. cluster: the address
    of a Ray cluster instead of processes here (`map_on_cluster`).
    """
    if cluster is not None:
        from fakestormer.parallel.cluster import map_on_cluster

        yield from map_on_cluster(work, names, address=cluster)
        return
    if workers == 0:
        for name in names:
            yield name, work(name)
        return
    remaining = list(names)
    while remaining:
        suspects: list[str] = []
        for name, future in _run(work, tuple(remaining), workers):
            if isinstance(future.exception(), BrokenProcessPool):
                suspects.append(name)
            else:
                yield name, future.result()
                remaining.remove(name)
        if suspects and not _can_start(work):
            raise RuntimeError(
                "worker processes do not start on this machine (out of memory, or called from a "
                "script without `if __name__ == '__main__'`); use workers=0"
            )
        for name in suspects:
            remaining.remove(name)
            for _, future in _run(work, [name], 1):
                crashed = isinstance(future.exception(), BrokenProcessPool)
                yield name, None if crashed else future.result()


def _run(
    work: Callable[[str], Result], names: Sequence[str], workers: int
) -> Iterator[tuple[str, Future[Result]]]:
    """Finished futures, until all are done or the pool is broken."""
    pool = _pool(work, workers)
    try:
        ahead = iter(names)
        running: dict[Future[Result], str] = {}
        broken = False
        while True:
            while not broken and len(running) < workers * QUEUED:
                name = next(ahead, None)
                if name is None:
                    break
                try:
                    with signals_held():  # it starts processes
                        running[pool.submit(_call, name)] = name
                except BrokenProcessPool:
                    broken = True
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                broken = broken or isinstance(future.exception(), BrokenProcessPool)
                yield running.pop(future), future
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _can_start(work: Callable[[str], object]) -> bool:
    """Whether a process with nothing to do survives: else no video is to blame for a crash."""
    with _pool(work, 1) as pool:
        return pool.submit(os.getpid).exception() is None


def _pool(work: Callable[[str], object], workers: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, context, initializer=_start, initargs=(work,))


def _start(work: Callable[[str], object]) -> None:
    """Set up a worker process: its work, one thread, memory, and an end when its parent ends."""
    global _work
    _work = work
    leave_signals_to_parent()
    use_threads(1)
    keep_freed_memory()


def _call(name: str) -> Result:  # type: ignore[type-var]
    assert _work is not None
    return _work(name)  # type: ignore[return-value]
