"""Memory that a process has freed: kept for the next picture, or given back to the system."""

from __future__ import annotations

import ctypes
import sys
from typing import Final

#: Options of glibc's `mallopt`: what is freed at the end of the heap goes back to the system above
#: the first, and what is larger than the second always does.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_KEPT_BYTES: Final = 256 * 2**20
_LARGEST_BYTES: Final = 32 * 2**20  # glibc takes no more


def keep_freed_memory() -> None:
    """Let this process keep freed memory up to 256 MiB: for loops that make and drop pictures.

    The system hands out memory page by page and zeroes each, which takes longer than to fill a
    picture. Does nothing where the C library is not glibc.
    """
    _call_glibc("mallopt", _M_MMAP_THRESHOLD, _LARGEST_BYTES)
    _call_glibc("mallopt", _M_TRIM_THRESHOLD, _KEPT_BYTES)


def give_back_memory() -> None:
    """Let the system have freed memory again, where the C library is glibc.

    Clips that are freed between small things that stay leave holes which glibc neither fills again
    nor gives back: it took 4 MB more for each face, whether its crops were kept or not.
    """
    _call_glibc("malloc_trim", 0)


def _call_glibc(name: str, *numbers: int) -> None:
    function = getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
    if function is not None:
        function(*numbers)
