"""Work for the processes of a cluster: importable there by this name (see test_cluster.py)."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fakestormer.errors import InputError


@dataclass(frozen=True)
class Done:
    """What a process says of a name. parent: the raylet, that is, the node."""

    text: str
    process: int
    parent: int


class Work:
    """Notes in `folder` which names were begun, and does what the name says."""

    def __init__(self, folder: Path, seconds: float = 0.05) -> None:
        self.folder, self.seconds = folder, seconds

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self.note("unpickled")

    def __call__(self, name: str) -> Done:
        self.note(name)
        if " of " in name:  # goes on once so many processes have begun
            while self.begun().count("unpickled") < int(name.split()[-1]):
                time.sleep(0.05)
        if name == "exit":
            os._exit(3)
        if name == "segfault":
            ctypes.string_at(0)
        if name == "raise":
            raise Refused(name, "because")
        if name == "node dies" and self.begun().count(name) <= 2:
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(0.2)
            os._exit(3)  # with its node, as in a machine that loses power
        time.sleep(60 if name == "endless" else self.seconds)
        return Done(name.upper(), os.getpid(), os.getppid())

    def note(self, text: str) -> None:
        with (self.folder / "begun").open("a") as file:  # O_APPEND: lines of processes do not mix
            file.write(f"{text}\n")

    def begun(self) -> list[str]:
        path = self.folder / "begun"
        return path.read_text().splitlines() if path.exists() else []


class Refused(Exception):
    """With more than a text, to see that it arrives as it was."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(name, why)
        self.name = name


def refuse(name: str) -> None:
    raise InputError(f"{name}: no")


class Threads:
    """Says how many threads cv2 and torch use; brings torch when unpickled, as prepare does."""

    def __reduce__(self) -> tuple[Callable[[], Threads], tuple[()]]:
        return _bring_torch, ()

    def __call__(self, name: str) -> tuple[int, int]:
        import cv2
        import torch

        return cv2.getNumThreads(), torch.get_num_threads()


def _bring_torch() -> Threads:
    import torch  # noqa: F401

    return Threads()


class DiesWhenUnpickled:
    """No process of the cluster survives the start with this work."""

    def __reduce__(self) -> tuple[object, tuple[int]]:
        return os._exit, (3,)

    def __call__(self, name: str) -> None:
        raise AssertionError("never reached")
