from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory, make_store: Callable[..., Path]) -> Path:
    return make_store(tmp_path_factory.mktemp("drawn") / "store", train=4, validation=2)


@pytest.fixture(scope="session")
def processes() -> Iterator[Any]:
    """The module run_in_processes, under a name by which started processes find it too."""
    here = str(Path(__file__).parent)
    sys.path.insert(0, here)
    yield import_module("run_in_processes")
    sys.path.remove(here)
