"""Pages that the system hands out anew while pictures are made and dropped."""

from __future__ import annotations

import subprocess
import sys

import pytest

_LOOP = """
import resource, sys
import numpy as np
from fakestormer.parallel.memory import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
for round in range(12):
    if round == 2:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    pictures = [np.ones((4, 256, 256), np.float32) for _ in range(8)]
    del pictures
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(how: str) -> int:
    command = [sys.executable, "-c", _LOOP, how]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of glibc's allocator")
def test_freed_memory_is_used_again() -> None:
    plain, kept = _faults("plain"), _faults("kept")
    assert kept < 100
    assert plain > 10 * max(1, kept)
