"""Memory that a process frees and needs again at once."""

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
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
