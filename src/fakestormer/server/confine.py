"""What a worker process may not do: take the machine's memory."""

from __future__ import annotations

import resource


def bound_memory(gigabytes: float) -> None:
    """From here on an allocation beyond fails; and no core file with somebody's video in it.

    RLIMIT_DATA, not RLIMIT_AS: a GPU driver maps far more addresses than it uses memory.
    """
    most = int(gigabytes * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
