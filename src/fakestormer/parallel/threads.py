"""How many threads a process computes with."""

from __future__ import annotations

import os
import sys

import cv2

_VARIABLE = "OMP_NUM_THREADS"


def thread_count() -> int:
    """OMP_NUM_THREADS where it is set, as torch and NumPy take it, else the cores there are."""
    wanted = os.environ.get(_VARIABLE, "")
    return int(wanted) if wanted.isdecimal() and int(wanted) else core_count()


def core_count() -> int:
    """Cores that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return cores or 1


def use_threads(count: int) -> None:
    """From now on this process, and what it starts, computes with so many threads."""
    os.environ[_VARIABLE] = str(count)
    cv2.setNumThreads(count)
    if "torch" in sys.modules:  # else it reads the variable when it is imported
        sys.modules["torch"].set_num_threads(count)
