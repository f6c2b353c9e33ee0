"""Real Ray nodes on this machine, for tests that kill some of them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

STORE = {"object_store_memory": 80 * 2**20}


class Nodes:
    """A head without CPUs and nodes of one CPU each, every one a raylet process of its own."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self.cluster = Cluster()
        try:
            with node_settings():
                self.cluster.add_node(num_cpus=0, include_dashboard=False, **STORE)
        except BaseException:
            self.close()
            raise

    @property
    def address(self) -> str:
        return self.cluster.address

    def add(self) -> int:
        """The process id of one more node."""
        with node_settings():
            node = self.cluster.add_node(num_cpus=1, **STORE)
        return node.all_processes["raylet"][0].process.pid

    def remove_all(self) -> None:
        """But the head."""
        for node in list(self.cluster.worker_nodes):
            self.cluster.remove_node(node, allow_graceful=False)

    def exactly(self, count: int) -> None:
        """Beside the head so many nodes, all of them alive."""
        if len(self.cluster.worker_nodes) != count:
            self.remove_all()
            for _ in range(count):
                self.add()

    def close(self) -> None:
        pids = [
            info.process.pid
            for node in self.cluster.list_all_nodes()
            for infos in node.all_processes.values()
            for info in infos
        ]
        try:
            self.cluster.shutdown()
        finally:
            for pid in pids:
                if lives(pid):
                    os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def head() -> Iterator[Nodes]:
    """One head without CPUs for the tests of a file, which add nodes to it and kill them."""
    started = Nodes()
    yield started
    started.close()


@pytest.fixture
def fragile(head: Nodes) -> Iterator[Nodes]:
    """The head alone, for the test to add nodes and kill them."""
    head.exactly(0)
    yield head
    head.remove_all()


@contextmanager
def node_settings() -> Iterator[None]:
    """The environment that nodes start in; their processes can import what tests here hand over."""
    with pytest.MonkeyPatch.context() as patch:
        here = Path(__file__).parent
        paths = [str(here), str(here / "parallel"), os.environ.get("PYTHONPATH", "")]
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("OMP_NUM_THREADS", "2")
        patch.setenv("RAY_worker_niceness", "0")  # else they starve on a busy machine
        # A dead node is noticed after 1 s, not 15; a slow one still has its 10 s to answer.
        patch.setenv("RAY_health_check_initial_delay_ms", "0")
        patch.setenv("RAY_health_check_period_ms", "500")
        patch.setenv("RAY_health_check_failure_threshold", "2")
        yield


def lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def ended(pids: set[int], seconds: float = 10) -> bool:
    """Whether all of them end within that time."""
    deadline = time.monotonic() + seconds
    while any(map(lives, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(map(lives, pids))
