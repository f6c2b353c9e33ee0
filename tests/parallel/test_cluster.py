"""A real cluster of several node processes on this machine: some of them are killed."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fakestormer.errors import InputError, SetupError
from fakestormer.parallel import cluster as cluster_module
from fakestormer.parallel.cluster import map_on_cluster
from ray_nodes import Nodes, ended, lives, node_settings

pytest.importorskip("ray")
_spec = importlib.util.spec_from_file_location(
    "cluster_work", Path(__file__).with_name("cluster_work.py")
)
cluster_work: Any = importlib.util.module_from_spec(_spec)
sys.modules["cluster_work"] = cluster_work
_spec.loader.exec_module(cluster_work)


@pytest.fixture(scope="module", autouse=True)
def _each_address_tried_once() -> Iterator[None]:
    """Another process tries an address first; of one that has answered once it need not again."""
    try_in_a_process, answered = cluster_module._check_reachable, set[str]()

    def try_once(address: str) -> None:
        if address not in answered:
            try_in_a_process(address)
            answered.add(address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster_module, "_check_reachable", try_once)
        yield


@pytest.fixture
def nodes(head: Nodes) -> Nodes:
    """Two nodes for the tests that kill none."""
    head.exactly(2)
    return head


def test_each_video_once_by_one_process_per_cpu(nodes: Nodes, tmp_path: Path) -> None:
    names = [f"v{number} of 2" for number in range(12)]
    work = cluster_work.Work(tmp_path, 0.2)
    results = list(map_on_cluster(work, names, address=nodes.address))
    assert sorted(name for name, _ in results) == sorted(names)
    assert all(done is not None and done.text == name.upper() for name, done in results)
    done = [done for _, done in results if done is not None]
    assert len({each.process for each in done}) == len({each.parent for each in done}) == 2
    assert sorted(work.begun()) == sorted([*names, "unpickled", "unpickled"])
    assert ended({each.process for each in done})


def test_a_slow_video_holds_up_no_other_and_few_are_handed_over_ahead(
    nodes: Nodes, tmp_path: Path
) -> None:
    work = cluster_work.Work(tmp_path)
    names = ["endless", *(f"v{number}" for number in range(1000))]
    results = map_on_cluster(work, names, address=nodes.address)
    first = [next(results)[0] for _ in range(5)]
    time.sleep(1)  # QUEUED = 2 for each of 2 CPUs are out: the endless one and three more
    results.close()
    begun = [name for name in work.begun() if name.startswith("v")]
    assert set(first) < set(begun)
    assert len(begun) <= 8


def test_closing_and_ctrl_c_end_the_processes_but_not_the_cluster(
    nodes: Nodes, tmp_path: Path
) -> None:
    work = cluster_work.Work(tmp_path, 0.1)
    names = [f"v{number}" for number in range(1000)]
    results = map_on_cluster(work, names, address=nodes.address)
    _, done = next(results)
    with pytest.raises(InputError, match="connected to a Ray cluster already"):
        next(map_on_cluster(work, names, address=nodes.address))
    assert done is not None
    assert lives(done.process)
    results.close()
    assert ended({done.process})

    results = map_on_cluster(work, ["v", *["endless"] * 3], address=nodes.address)
    _, done = next(results)
    assert done is not None
    # Started in the background of a shell, this process would ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            next(results)
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended({done.process})
    assert lives(done.parent)


def test_a_video_that_kills_its_process_costs_only_itself(
    nodes: Nodes, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    work = cluster_work.Work(tmp_path)
    names = ["a", "exit", "b", "segfault", "c"]
    results = list(map_on_cluster(work, names, address=nodes.address))
    assert sorted(name for name, _ in results) == sorted(names)
    texts = {name: done and done.text for name, done in results}
    assert texts == {"a": "A", "exit": None, "b": "B", "segfault": None, "c": "C"}
    begun = work.begun()
    assert {name: begun.count(name) for name in names} == {
        "a": 1, "exit": 2, "b": 1, "segfault": 2, "c": 1
    }  # fmt: skip
    assert "".join(capfd.readouterr()) == ""


def test_no_video_is_blamed_where_processes_do_not_start(nodes: Nodes) -> None:
    with pytest.raises(InputError, match="die before they begin"):
        list(map_on_cluster(cluster_work.DiesWhenUnpickled(), ["a", "b"], address=nodes.address))


def test_exceptions_come_out_as_themselves(nodes: Nodes, tmp_path: Path) -> None:
    work = cluster_work.Work(tmp_path)
    with pytest.raises(cluster_work.Refused) as caught:
        list(map_on_cluster(work, ["a", "raise", "b"], address=nodes.address))
    assert type(caught.value) is cluster_work.Refused
    assert (caught.value.name, caught.value.args) == ("raise", ("raise", "because"))
    with pytest.raises(InputError) as refused:
        list(map_on_cluster(cluster_work.refuse, ["clip.mp4"], address=nodes.address))
    assert type(refused.value) is InputError
    assert str(refused.value) == "clip.mp4: no"


def test_auto_finds_the_cluster_and_processes_have_one_thread(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", nodes.address)
    results = list(map_on_cluster(cluster_work.Threads(), ["a"], address="auto"))
    assert results == [("a", (1, 1))]


def test_another_version_on_a_node_is_refused(
    nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = cluster_module.version("fakestormer")
    monkeypatch.setattr(cluster_module, "version", lambda _: "9.9.9")
    work = cluster_work.Work(tmp_path)
    with pytest.raises(InputError, match=rf"has fakestormer {there}, but .* fakestormer 9\.9\.9"):
        list(map_on_cluster(work, ["a"], address=nodes.address))
    assert work.begun() == []


def test_a_node_without_fakestormer_can_still_say_so() -> None:
    from ray import cloudpickle

    code = """
import pickle, sys
sys.modules["fakestormer"] = None
print(pickle.load(sys.stdin.buffer)(b"", "9.9.9", "a")[2])
"""
    sent = cloudpickle.dumps(cluster_module._task())
    done = subprocess.run([sys.executable, "-c", code], input=sent, capture_output=True)
    assert (done.returncode, done.stdout) == (0, b"None\n"), done.stderr
    with pytest.raises(InputError, match="the node n7 has no fakestormer, but"):
        cluster_module._check_version("n7", "", "0.1.0")


def test_a_node_that_dies_takes_nothing_with_it(fragile: Nodes, tmp_path: Path) -> None:
    raylets = [fragile.add(), fragile.add()]
    # The first ones wait for both nodes, the later ones for the one that joins.
    names = [f"v{number} of {2 if number < 12 else 3}" for number in range(24)]
    work = cluster_work.Work(tmp_path, 0.2)
    results, by_node = [], {}
    for name, done in map_on_cluster(work, names, address=fragile.address):
        results.append(name)
        assert done is not None
        assert done.text == name.upper()
        by_node.setdefault(done.parent, []).append(name)
        if len(results) >= 6 and len(by_node) == 2 and len(raylets) == 2:
            os.kill(raylets[0], signal.SIGKILL)
            raylets.append(fragile.add())
    assert sorted(results) == sorted(names)
    assert by_node.keys() == set(raylets)  # the one that joined has worked, too
    again = [name for name in names if work.begun().count(name) > 1]
    assert len(again) <= 2
    assert len(work.begun()) == 24 + len(again) + 3  # one process on each of three nodes


def test_a_cluster_without_cpus_is_not_waited_for_without_end(
    fragile: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_module, "PATIENCE_SECONDS", 0.5)
    with pytest.raises(InputError, match="the cluster has no CPUs"):
        list(map_on_cluster(cluster_work.Work(tmp_path), ["a"], address=fragile.address))


def test_a_video_is_not_to_blame_for_nodes_that_die_under_it(
    fragile: Nodes, tmp_path: Path
) -> None:
    raylets = {fragile.add() for _ in range(3)}
    work = cluster_work.Work(tmp_path)
    names = ["a", "node dies", "b", "c"]
    results = list(map_on_cluster(work, names, address=fragile.address))
    assert sorted(name for name, _ in results) == sorted(names)
    assert all(done is not None and done.text == name.upper() for name, done in results)
    assert work.begun().count("node dies") == 3
    assert sum(map(lives, raylets)) == 1


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1:1", "ray://127.0.0.1:1", "no-such-host.invalid:6379", "127.0.0.1:99999", "what"],
)
def test_an_address_without_a_cluster_is_one_sentence(address: str) -> None:
    began = time.monotonic()
    with pytest.raises(InputError, match=f"^{address}: no Ray cluster can be reached") as caught:
        list(map_on_cluster(len, ["a"], address=address))
    assert "\n" not in str(caught.value)
    assert time.monotonic() - began < 20


def test_a_server_that_is_no_cluster_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "CONNECT_SECONDS", 3.0)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"127.0.0.1:{mute.getsockname()[1]}"
        with pytest.raises(InputError, match="nothing that speaks Ray answered within 3 s"):
            list(map_on_cluster(len, ["a"], address=address))


def test_without_ray_the_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SetupError, match=r"`pip install 'fakestormer\[cluster\]'`"):
        list(map_on_cluster(len, ["a"], address="auto"))


def test_a_local_cluster_is_started_and_ended(tmp_path: Path) -> None:
    with node_settings():
        results = dict(map_on_cluster(cluster_work.Work(tmp_path), ["a", "b"], address="local"))
    assert {name: done and done.text for name, done in results.items()} == {"a": "A", "b": "B"}
    assert ended({pid for done in results.values() for pid in (done.process, done.parent)})
