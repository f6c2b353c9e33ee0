"""Many videos over the processes of a Ray cluster, where processes and whole nodes may die.

The same contract as `pool.map_videos`. Plain Ray tasks, one a video: a video needs nothing of the
others, so there is no stream of data for ray.data to plan; and unlike a call of an actor, a task
that is lost says whether its process or its node died, which is what decides about its video.

The videos, the store and whatever else `work` opens must lie under the same path on every node (a
shared file system), and every node must have this version of fakestormer installed: nothing but
`work` itself and the names is sent.
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from types import ModuleType
from typing import Any, TypeVar

from fakestormer.errors import InputError, needs

Result = TypeVar("Result")

#: Handed over per CPU of the cluster, with the one that it works on.
QUEUED = 2
#: A video has crashed for good when its process died this often, its node living on.
CRASHES = 2
#: An address that has not answered by then is taken to be no cluster.
CONNECT_SECONDS = 30.0
#: How often to look for nodes that joined, while nothing finishes.
LOOK_SECONDS = 2.0
#: A cluster that has no CPU for this long, at the beginning or later, is given up.
PATIENCE_SECONDS = 300.0
#: Shared memory of a cluster that is started here; it holds `work` and the results, all small.
STORE_BYTES = 80 * 2**20

# ray.init retries for minutes and may end its process: so it is tried in another one first.
_TRY = """
import sys, ray
try:
    ray.init(sys.argv[1], log_to_driver=False, logging_level="error")
except Exception as error:
    sys.exit("REASON " + " ".join(str(error).split()))
"""

_work: Callable[[str], Any] | None = None  # in worker processes only, set at their first task


def map_on_cluster(
    work: Callable[[str], Result], names: Sequence[str], *, address: str
) -> Iterator[tuple[str, Result | None]]:
    """(name, work(name)) in order of completion; (name, None) when its process died of it.

    work: picklable; every process gets one copy for its lifetime. address: "auto" (the cluster
    that this machine belongs to), "host:port", "ray://host:port", or "local", which starts one on
    this machine for the time being. One process per CPU of the cluster, also of nodes that join.

    A video is run again when its node died, however often, and once when only its process did; so
    `work` may be done more than once for a video, but each is yielded once. Exceptions of `work`
    are raised here as they were raised there. When no CPU is left it waits for nodes to join, for
    PATIENCE_SECONDS. Closing the iterator, or an exception such as Ctrl-C, stops the processes and
    leaves the cluster (and ends a "local" one).

    Raises SetupError when Ray is not installed; InputError when the address does not lead to a
    cluster, when this process is connected to one already, when a node has another version of
    fakestormer, when a node's processes die before they begin, and when there are no CPUs.
    """
    ray = _connect(address)
    try:
        yield from _run(ray, work, names, address)
    finally:
        ray.shutdown()  # ends the tasks of this run wherever they are


def _run(
    ray: ModuleType, work: Callable[[str], Result], names: Sequence[str], address: str
) -> Iterator[tuple[str, Result | None]]:
    from ray import exceptions

    run = ray.remote(num_cpus=1, max_retries=0)(_task())
    # By reference, not as a value: then it is fetched once per node, not with every task.
    sent, here = ray.put(ray.cloudpickle.dumps(work)), version("fakestormer")
    ahead = deque(names)
    running: dict[Any, str] = {}
    crashes: Counter[str] = Counter()
    last_cpu = time.monotonic()
    while ahead or running:
        cpus = int(ray.cluster_resources().get("CPU", 0))
        if cpus:
            last_cpu = time.monotonic()
        elif time.monotonic() - last_cpu > PATIENCE_SECONDS:
            raise InputError(f"{address}: the cluster has no CPUs; start nodes and run this again")
        while ahead and len(running) < max(cpus, 1) * QUEUED:
            name = ahead.popleft()
            running[run.remote(sent, here, name)] = name
        for ref in ray.wait(list(running), timeout=LOOK_SECONDS)[0]:
            name = running.pop(ref)
            try:
                node, there, result = ray.get(ref)
            except exceptions.RayTaskError as error:
                raise error.cause from error
            except (exceptions.WorkerCrashedError, exceptions.OutOfMemoryError):
                crashes[name] += 1
                if crashes[name] < CRASHES:
                    ahead.appendleft(name)
                    continue
                _check_start(ray, run, sent, here)
                yield name, None
            except (exceptions.NodeDiedError, exceptions.ObjectLostError):
                ahead.appendleft(name)
            else:
                _check_version(node, there, here)
                yield name, result


def _task() -> Callable[[bytes, str, str | None], tuple[str, str, Any]]:
    """What a node runs: (its host name, its version of fakestormer, the result)."""

    # Ray sends this inner function as code, not by its name: it runs where fakestormer is missing.
    def fakestormer_video(sent: bytes, wanted: str, name: str | None) -> tuple[str, str, Any]:
        import socket
        from importlib.metadata import PackageNotFoundError, version

        try:
            there = version("fakestormer")
        except PackageNotFoundError:
            there = ""
        if there != wanted:
            return socket.gethostname(), there, None
        from fakestormer.parallel.cluster import call_here

        return socket.gethostname(), there, call_here(sent, name)

    return fakestormer_video


def call_here(sent: bytes, name: str | None) -> Any:
    """In a worker process: set it up if it is new, and do the work for `name`, if any."""
    global _work
    if _work is None:
        from ray import cloudpickle

        from fakestormer.parallel.memory import keep_freed_memory
        from fakestormer.parallel.threads import use_threads

        _work = cloudpickle.loads(sent)
        use_threads(1)
        keep_freed_memory()
    return None if name is None else _work(name)


def _check_version(node: str, there: str, here: str) -> None:
    if there != here:
        program = f"fakestormer {there}" if there else "no fakestormer"
        raise InputError(
            f"the node {node} has {program}, but this machine has fakestormer {here}; install the "
            "same version on all nodes"
        )


def _check_start(ray: ModuleType, run: Any, sent: Any, here: str) -> None:
    """Raise InputError when a process with nothing to do dies: else no video is to blame."""
    from ray import exceptions
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    tries = {}
    for node in ray.nodes():
        if node["Alive"] and node["Resources"].get("CPU", 0) >= 1:
            where = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            idle = run.options(num_cpus=0, scheduling_strategy=where).remote(sent, here, None)
            tries[idle] = node["NodeManagerHostname"]
    for idle, node in tries.items():
        try:
            ray.get(idle)
        except (exceptions.WorkerCrashedError, exceptions.OutOfMemoryError) as error:
            raise InputError(
                f"the node {node} cannot run fakestormer: its processes die before they begin; "
                "try `python -c 'import fakestormer.parallel.cluster'` there, and look at its "
                "memory"
            ) from error
        except (exceptions.NodeDiedError, exceptions.TaskUnschedulableError):
            continue  # it has left since


def _connect(address: str) -> ModuleType:
    """The module ray, connected to the cluster at `address`."""
    # Ray reads these when it is imported, or when it starts a cluster.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"  # it would send this folder to the nodes
    with needs("running on a cluster", "fakestormer[cluster]"):
        import ray
    if ray.is_initialized():
        raise InputError(
            f"{address}: this process is connected to a Ray cluster already; disconnect it first"
        )
    small: dict[str, Any] = {}
    if address == "local":
        small = {"include_dashboard": False, "object_store_memory": STORE_BYTES}
    else:
        _check_reachable(address)
    ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **small)
    # What Ray learns of processes and nodes that die it prints on stdout, whatever it was told.
    ray._private.worker._worker_logs_enabled = False
    return ray


def _check_reachable(address: str) -> None:
    """Raise InputError unless a process can connect to `address` within CONNECT_SECONDS."""
    reason = ""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    try:
        if colon and port.isdecimal():  # says at once what Ray says after minutes
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
        done = subprocess.run(
            [sys.executable, "-c", _TRY, address],
            capture_output=True,
            text=True,
            timeout=CONNECT_SECONDS,
            check=False,
        )
        if done.returncode == 0:
            return
        _, _, reason = done.stderr.rpartition("REASON ")
    except subprocess.TimeoutExpired:
        reason = f"nothing that speaks Ray answered within {CONNECT_SECONDS:.0f} s"
    except (OSError, OverflowError) as error:
        reason = str(error)
    raise InputError(
        f"{address}: no Ray cluster can be reached there ({reason.strip()}); give host:port of its "
        "head node, `auto` on one of its machines, or `local` to use this machine alone"
    )
