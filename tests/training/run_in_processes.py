"""Runs in which something happens within a process: importable there by this name."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from fakestormer.data.loaders import PairBatch
from fakestormer.training import loop

#: The step, counted from 0, at which it happens.
STEP = 2

_run, _training_step, _batches = loop._run, loop.training_step, loop.training_batches


def poison(batch: PairBatch, pair: int) -> PairBatch:
    """One number of the target of a pair's fake clip is none."""
    derivative = batch.targets.derivative.clone()
    derivative[len(batch.sources) + pair, 1, 0, 0] = torch.nan
    kept = batch.targets.kept.clone()
    kept[len(batch.sources) + pair] = True
    return replace(batch, targets=replace(batch.targets, derivative=derivative, kept=kept))


def poisoned_batches(*args: Any, rank: int = 0, world_size: int = 1, **named: Any) -> Iterator[Any]:
    """The last process's first pair of step STEP is poisoned."""
    batches = _batches(*args, rank=rank, world_size=world_size, **named)
    for step, batch in enumerate(batches):
        yield poison(batch, 0) if step == STEP and rank == world_size - 1 else batch


def interrupted_step(*args: Any, step: int, **named: Any) -> Any:
    """Ctrl-C arrives during step STEP."""
    if step == STEP:
        os.kill(os.getpid(), signal.SIGINT)
    return _training_step(*args, step=step, **named)


def run_poisoned(fabric: Any, job: Any) -> Any:
    """`loop._run`, in a process of its own, with poisoned batches."""
    loop.training_batches = poisoned_batches
    return _run(fabric, job)


def run_interrupted(fabric: Any, job: Any) -> Any:
    """`loop._run`, in a process of its own, of which the first is interrupted."""
    if fabric.is_global_zero:
        loop.training_step = interrupted_step
    return _run(fabric, job)
