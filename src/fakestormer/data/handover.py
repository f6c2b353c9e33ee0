"""How loading processes hand over batches: in shared memory, or by pipes where that is too small.

Shared memory is a file system of a fixed size; in a container it often has 64 MB. A loading process
that finds no room there fails in a thread of its own, and whoever waits for its batch waits for
ever. So it is found out before the processes are started whether there is room.
"""

from __future__ import annotations

import logging
import os
import pickle
import resource
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Generic, TypeVar

import cv2

from fakestormer.parallel.memory import keep_freed_memory
from fakestormer.parallel.termination import obey_only_the_parent, signals_held

log = logging.getLogger(__name__)

_SHARED = Path("/dev/shm")
#: Batches that each loading process has ready or under way (PyTorch's own number), and those that
#: the training process holds: the one in use and the one before it.
_AHEAD, _IN_USE = 2, 2

Item = TypeVar("Item")
Batch = TypeVar("Batch")


@dataclass(frozen=True, slots=True)
class ByPipe(Generic[Item, Batch]):
    """A `collate_fn` that sends a batch itself, rather than the place where it lies."""

    make: Callable[[list[Item]], Batch]

    def __call__(self, items: list[Item]) -> bytes:
        return pickle.dumps(self.make(items), pickle.HIGHEST_PROTOCOL)


def opened(batches: Iterable[Batch | bytes]) -> Iterator[Batch]:
    """The batches of a loader, whichever way they come; its processes leave signals to this one."""
    with signals_held():
        started = iter(batches)
    for batch in started:
        # From processes of ours, as everything that a pipe of multiprocessing brings.
        yield pickle.loads(batch) if isinstance(batch, bytes) else batch


def has_room(batch_bytes: int, *, workers: int, processes: int) -> bool:
    """Whether shared memory holds all batches that can be under way; else that is logged."""
    room = shared_memory()
    needed = processes * (_AHEAD * workers + _IN_USE) * batch_bytes
    if room is None or needed <= room:
        return True
    log.warning(
        "Shared memory (%s) has room for %.0f MB, and the batches under way may need %.0f MB: they "
        "go through pipes, which is a little slower. A container gets more with --shm-size.",
        *(_SHARED, room / 1e6, needed / 1e6),
    )
    return False


def shared_memory() -> int | None:
    """Bytes that are free there; None where that is not known."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        disk = os.statvfs(_SHARED)
    except OSError:
        return 0
    free = disk.f_bavail * disk.f_frsize
    largest = resource.getrlimit(resource.RLIMIT_FSIZE)[0]  # what lies there are files
    return free if largest == resource.RLIM_INFINITY else min(free, largest)


def start_worker(_: int) -> None:
    """One thread per loading process; what a signal means is decided by the one that trains."""
    cv2.setNumThreads(1)
    keep_freed_memory()
    obey_only_the_parent()
    # A loading process that is told to end may still have a batch in PyTorch's sending thread.
    # Python ends such a thread inside C++ code, which aborts the process. So the process leaves
    # without that, as the last of its finalizers: what has to be sent has been sent by then.
    Finalize(None, os._exit, args=(0,), exitpriority=-100)
