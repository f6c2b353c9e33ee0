"""Several processes on the CPU: the same numbers as one, stopping together, going on as another
number of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from fakestormer.recipe.recipe import Recipe, override
from fakestormer.training import loop
from fakestormer.training.checkpoint import read_state
from fakestormer.training.history import StepRecord, read_lines
from store_fixtures import train_here, write_image_model


def _steps(run: Path) -> list[StepRecord]:
    """The steps of a run's history."""
    return [StepRecord(**line) for line in read_lines(run) if "step" in line]


def _same(one: Sequence[StepRecord], other: Sequence[StepRecord]) -> None:
    assert [a.step for a in one] == [b.step for b in other]
    for a, b in zip(one, other, strict=True):
        assert (a.total, a.classification, a.temporal, a.spatial) == pytest.approx(
            (b.total, b.classification, b.temporal, b.spatial), rel=1e-3, abs=1e-4
        )


@pytest.mark.slow
def test_two_processes_are_one_that_accumulates_twice_and_it_can_go_on_for_them(
    recipe: Recipe, store: Path, tmp_path: Path, processes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With SAM, drop path, dropout and BatchNorm: parts and their draws are the same."""
    twice = override(recipe, ["training.accumulate=2"])
    one = train_here(twice, store, tmp_path / "one")
    monkeypatch.setattr(loop, "_run", processes.run_interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_here(recipe, store, tmp_path / "two", devices=2)
    monkeypatch.undo()
    state, _ = read_state(tmp_path / "two/checkpoints/last")
    assert (state.step, state.processes) == (processes.STEP + 1, 2)
    resumed = train_here(twice, store, tmp_path / "two", resume=True)
    _same(resumed.history, one.history[processes.STEP + 1 :])
    _same(_steps(tmp_path / "two"), one.history)
    a, b = (load_file(tmp_path / run / "checkpoints/last/weights.safetensors")
            for run in ("one", "two"))  # fmt: skip
    for name in a:
        if "running" in name:  # of one part in both
            assert float((a[name] - b[name]).abs().max()) < 1e-3, name


@pytest.mark.slow
def test_two_processes_train_like_one_and_go_on_for_it(
    recipe: Recipe, store: Path, tmp_path: Path, processes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SAM included: without stochastic layers and BatchNorm (h) only rounding changes.

    What came from an image model stands still for one epoch, then trains, under DDP too.
    """
    alike = override(
        recipe,
        ['model.branches=["g"]', "model.drop_path=0", "model.head_dropout=0",
         "training.freeze_epochs=1"],
    )  # fmt: skip
    image_model = write_image_model(alike, tmp_path / "vit.safetensors")
    whole = train_here(alike, store, tmp_path / "whole", initial_weights=image_model)
    monkeypatch.setattr(processes, "STEP", 0)
    monkeypatch.setattr(loop, "training_step", processes.interrupted_step)
    with pytest.raises(KeyboardInterrupt):
        train_here(alike, store, tmp_path / "run", initial_weights=image_model)
    monkeypatch.undo()
    resumed = train_here(
        alike, store, tmp_path / "run", initial_weights=image_model, resume=True, devices=2
    )
    assert {record.epoch for record in resumed.history} == {0, 1}
    _same(resumed.history, whole.history[1:])
    assert resumed.best == pytest.approx(whole.best, abs=1e-4)
    before = load_file(image_model)["blocks.0.attn.qkv.weight"]
    one, two = (
        load_file(tmp_path / run / "checkpoints/last/weights.safetensors")[
            "backbone.blocks.0.spatial_attention.qkv.weight"
        ]
        for run in ("whole", "run")
    )
    moved = float((one - before).abs().max())
    assert moved > 1e-4
    torch.testing.assert_close(two, one, atol=1e-3 * moved, rtol=0)


def _command(recipe: Recipe, store: Path, out: Path, *options: str) -> list[str]:
    """The command line that trains a network like the recipe's, for a thousand epochs."""
    m, c = recipe.model, recipe.crop
    sets = [
        f"crop.stored_size={c.stored_size}", f"model.image_size={m.image_size}",
        f"model.patch_size={m.patch_size}", f"model.width={m.width}", f"model.frames={m.frames}",
        "training.epochs=1000", "training.batch_size=4", "training.validate_every=1000",
    ]  # fmt: skip
    command = [sys.executable, "-m", "fakestormer", "train", str(store), "--out", str(out)]
    command += ["--workers", "0", "--accelerator", "cpu", *options]
    return command + [word for field in sets for word in ("--set", field)]


def _start(command: list[str], log: Path, **environment: str) -> subprocess.Popen[bytes]:
    with log.open("wb") as stream:
        return subprocess.Popen(
            command,
            env=os.environ | environment,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _ends_saved(
    nodes: Sequence[subprocess.Popen[bytes]],
    run: Path,
    log: Path,
    *,
    processes: int,
) -> None:
    """After the first steps all of the last node's group get SIGTERM: all end, all is saved."""
    try:
        deadline = time.monotonic() + 200
        while not _steps(run) and all(node.poll() is None for node in nodes):
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        os.killpg(nodes[-1].pid, signal.SIGTERM)
        codes = [node.wait(200) for node in nodes]
    finally:
        for node in nodes:
            node.kill()
    assert codes == [130] * len(nodes), log.read_text()
    assert "the same command with --resume goes on" in log.read_text()
    state, _ = read_state(run / "checkpoints/last")
    assert state.step == len(_steps(run))
    assert state.processes == processes


@pytest.mark.slow
def test_sigterm_to_every_process_of_the_group_saves_and_ends(
    recipe: Recipe, store: Path, tmp_path: Path
) -> None:
    """As systemd, SLURM and `timeout` send it: the processes that load clips get it too."""
    run, log = tmp_path / "run", tmp_path / "log"
    node = _start(_command(recipe, store, run, "--workers", "2"), log)
    _ends_saved([node], run, log, processes=1)
    assert "Traceback" not in log.read_text()


@pytest.mark.slow
def test_two_nodes_train_one_model_and_stop_together(
    recipe: Recipe, store: Path, tmp_path: Path
) -> None:
    """The same command twice, as on two machines with a folder in common.

    SIGTERM reaches every process of the second one: those that train and those that load clips.
    """
    port = str(20_000 + os.getpid() % 10_000)  # below those that the system gives to others
    run, log = tmp_path / "run", tmp_path / "log0"
    command = _command(recipe, store, run, "--num-nodes", "2", "--workers", "1")
    nodes = [
        _start(command, tmp_path / f"log{number}", MASTER_ADDR="127.0.0.1", MASTER_PORT=port,
               NODE_RANK=str(number))
        for number in range(2)
    ]  # fmt: skip
    _ends_saved(nodes, run, log, processes=2)
    assert "Traceback" not in "".join(path.read_text() for path in tmp_path.glob("log*"))
