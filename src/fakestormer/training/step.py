"""One training step: SAM's two passes over one batch, on any device and in several processes.

A batch is taken in equal parts: each of W processes has a share, and takes it in `accumulate`
micro-batches. Part r + W m is the m-th of process r, and holds every (W accumulate)-th pair. So a
part's clips, its draws and its BatchNorm depend on W accumulate alone: two processes, or one that
accumulates twice, do the same up to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricModule, _FabricOptimizer
from torch import Tensor, nn

from fakestormer.data.loaders import PairBatch
from fakestormer.errors import TrainingError
from fakestormer.model.network import VideoNetwork
from fakestormer.recipe.training import TrainingConfig
from fakestormer.training.losses import fakestormer_loss
from fakestormer.training.sam import SAM, frozen_statistics, gradient_norm
from fakestormer.types.network import Losses, Outputs
from fakestormer.types.tensors import changed, fields_of, joined


class PartLosses(NamedTuple):
    """The losses of one part of a batch (eq. 13)."""

    total: float
    classification: float
    temporal: float
    spatial: float
    boundary: float

    def as_text(self) -> dict[str, str]:
        """{"total": "nan", ...}: to the last bit of float32, whatever the values."""
        return {name: f"{value:.9g}" for name, value in self._asdict().items()}


class NonFiniteLossError(TrainingError):
    """A loss or a gradient stopped being a number; the step was not taken.

    step: counted from 0. what: of which number. losses: by part, of the parts that this process has
    seen. clips: those of its parts whose loss is not finite; none where only another process has
    such clips, or where the gradient alone is not finite. kept: the folder where the step is kept.
    """

    def __init__(
        self,
        step: int,
        what: str,
        losses: dict[int, PartLosses],
        clips: tuple[str, ...],
        *,
        kept: Path | None = None,
    ) -> None:
        total, f, h, g, b = (
            sum(values) / len(losses) for values in zip(*losses.values(), strict=True)
        )
        on = f" on the clips {', '.join(clips)}" if clips else ""
        advice = ", or look at these clips" if clips else ""
        where = f"; kept in {kept}" if kept else ""
        super().__init__(
            f"step {step}: the loss is {total:g} (f {f:g}, h {h:g}, g {g:g}, b {b:g}){what}{on}; "
            f"lower the learning rate{advice}{where}"
        )
        self.step, self.what, self.losses, self.clips = step, what, losses, clips


class AsTensors(nn.Module):
    """The network for Fabric and DDP, which pass dicts of tensors through but not Outputs."""

    def __init__(self, network: VideoNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, frames_btchw: Tensor) -> dict[str, Tensor | None]:
        return fields_of(self.network(frames_btchw))


def training_step(
    fabric: Fabric,
    module: _FabricModule,
    stepper: _FabricOptimizer,
    sam: SAM,
    batch: PairBatch,
    config: TrainingConfig,
    *,
    step: int,
) -> Losses:
    """One step; returns the losses at the weights before it, of this process's share of the batch.

    module: `AsTensors` around the network, set up by Fabric, as is `stepper`, the optimizer that
    steps. sam: around the optimizer itself. step: counted from 0.

    SAM perturbs along the gradient of the whole batch: over all parts, of all processes. Drop path
    and dropout are seeded by the step and the part, so they do not depend on what ran before, and
    both of SAM's passes see the same ones: the gradient is taken of the function perturbed. Of a
    step's parts the first one alone moves BatchNorm's running statistics, as under DDP.

    Raises NonFiniteLossError, in all processes at once, when a loss or a gradient is not finite;
    weights and statistics are then what they were before the step.
    """
    passes = _Passes(fabric, module, batch, config, step)
    with passes.statistics_kept_on_failure():
        losses = passes.backward()
        passes.check_gradient(", the norm of its gradient is {}")
        if sam.rho > 0:
            with sam.perturbed(), frozen_statistics(module):
                stepper.zero_grad()
                passes.backward(", at the weights that SAM perturbed,")
                passes.check_gradient(
                    ", the norm of its gradient at the weights that SAM perturbed is {}"
                )
    if config.gradient_clip is not None:
        nn.utils.clip_grad_norm_(module.parameters(), config.gradient_clip)
    stepper.step()
    stepper.zero_grad()
    return losses


class _Passes:
    """Forward and backward over all parts of one step's batch."""

    def __init__(
        self,
        fabric: Fabric,
        module: _FabricModule,
        batch: PairBatch,
        config: TrainingConfig,
        step: int,
    ) -> None:
        self.fabric, self.module, self.config, self.step = fabric, module, config, step
        parts = split_pairs(batch, config.accumulate)
        self.parts = {
            fabric.global_rank + fabric.world_size * number: part
            for number, part in enumerate(parts)
        }
        self.seen: dict[int, PartLosses] = {}

    def backward(self, where: str = "") -> Losses:
        """Add the gradient of the mean loss; that mean over this process's parts is returned."""
        self.seen = {}
        clips: tuple[str, ...] = ()
        done: list[Losses] = []
        for place, part in self.parts.items():
            last = len(done) == len(self.parts) - 1
            with self.fabric.no_backward_sync(self.module, enabled=not last):
                losses = self._forward(place, part, first=not done)
                self.seen[place] = _numbers(losses)
                if not math.isfinite(self.seen[place].total):
                    clips += part.sources
                # All stop or none: a process that went on would wait for the others in `backward`.
                if last and not self.fabric.strategy.reduce_boolean_decision(not clips):
                    raise NonFiniteLossError(self.step, where, self.seen, clips)
                self.fabric.backward(losses.total / len(self.parts))
            done.append(losses)
        return _mean(done)

    def check_gradient(self, what: str) -> None:
        """Needs no exchange: after DDP's averaging all processes hold the same gradient."""
        norm = gradient_norm([p.grad for p in self.module.parameters() if p.grad is not None])
        if not bool(torch.isfinite(norm)):
            raise NonFiniteLossError(self.step, what.format(f"{float(norm):g}"), self.seen, ())

    @contextmanager
    def statistics_kept_on_failure(self) -> Iterator[None]:
        """Put BatchNorm's statistics back and drop the gradients where the step is not taken."""
        before = [(buffer, buffer.clone()) for buffer in self.module.buffers()]
        try:
            yield
        except NonFiniteLossError:
            with torch.no_grad():
                for buffer, kept in before:
                    buffer.copy_(kept)
            self.module.zero_grad()
            raise

    def _forward(self, place: int, part: PairBatch, *, first: bool) -> Losses:
        seed = np.random.SeedSequence(self.config.seed, spawn_key=(3, self.step, place))
        torch.manual_seed(int(seed.generate_state(1, np.uint64)[0] >> np.uint64(1)))
        with nullcontext() if first else frozen_statistics(self.module):
            outputs = Outputs(**self.module(part.frames))
        return fakestormer_loss(outputs, part.targets, self.config.loss)


def split_pairs(batch: PairBatch, parts: int) -> list[PairBatch]:
    """Part m of n gets the pairs m, m + n, m + 2n, ... in order.

    Raises ValueError where they are not a multiple of n.
    """
    pairs = len(batch.sources)
    if pairs % parts:
        raise ValueError(f"{pairs} pairs cannot be taken in {parts} equal parts")
    if parts == 1:
        return [batch]
    batches = []
    for part in range(parts):
        real = torch.arange(part, pairs, parts)
        chosen = torch.cat([real, pairs + real]).to(batch.frames.device)
        batches.append(
            PairBatch(
                frames=batch.frames[chosen],
                targets=changed(batch.targets, itemgetter(chosen)),
                sources=batch.sources[part::parts],
            )
        )
    return batches


def _mean(losses: list[Losses]) -> Losses:
    if len(losses) == 1:
        return losses[0]
    return joined(losses, lambda parts: torch.stack([part.detach() for part in parts]).mean())


def _numbers(losses: Losses) -> PartLosses:
    parts = [part.detach().float() for part in fields_of(losses).values()]
    return PartLosses(*torch.stack(parts).tolist())
