"""One training step: SAM's two passes over one batch, on any device and in several processes."""

from __future__ import annotations

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricOptimizer
from torch import Tensor, nn

from fakestormer.data.loaders import PairBatch
from fakestormer.errors import TrainingError
from fakestormer.model.network import VideoNetwork
from fakestormer.training.config import TrainingConfig
from fakestormer.training.losses import fakestormer_loss
from fakestormer.training.sam import SAM, frozen_statistics
from fakestormer.types import Losses, Outputs


class NonFiniteLossError(TrainingError):
    """A loss stopped being a number; says at which step and on which clips."""


class AsTensors(nn.Module):
    """The network for Fabric and DDP, which pass tuples of tensors through but not Outputs."""

    def __init__(self, network: VideoNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, frames_btchw: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
        outputs = self.network(frames_btchw)
        return outputs.logit, outputs.derivative, outputs.frame_logits


def training_step(
    fabric: Fabric,
    module: nn.Module,
    stepper: _FabricOptimizer,
    sam: SAM,
    batch: PairBatch,
    config: TrainingConfig,
    *,
    step: int,
) -> Losses:
    """One step; returns the losses at the weights before it.

    module: `AsTensors` around the network, set up by Fabric, as is `stepper`, the optimizer that
    steps. sam: around the optimizer itself. step: counted from 0.

    Drop path and dropout are seeded by the step, so they do not depend on what ran before, and
    both of SAM's passes see the same ones: the gradient is taken of the function perturbed.
    """
    seed = np.random.SeedSequence(config.seed, spawn_key=(3, step, fabric.global_rank))
    draws = int(seed.generate_state(1, np.uint64)[0] >> np.uint64(1))

    def backward() -> Losses:
        torch.manual_seed(draws)
        logit, derivative, frame_logits = module(batch.frames)
        outputs = Outputs(logit=logit, derivative=derivative, frame_logits=frame_logits)
        losses = fakestormer_loss(outputs, batch.targets, config.loss)
        if not bool(torch.isfinite(losses.total)):
            parts = f"f {losses.classification:g}, h {losses.temporal:g}, g {losses.spatial:g}"
            raise NonFiniteLossError(
                f"step {step}: the loss is {losses.total:g} ({parts}) on the clips "
                f"{', '.join(batch.sources)}; lower the learning rate, or look at these clips"
            )
        fabric.backward(losses.total)
        return losses

    losses = backward()
    if sam.rho > 0:
        with sam.perturbed(), frozen_statistics(module):
            stepper.zero_grad()
            backward()
    if config.gradient_clip is not None:
        nn.utils.clip_grad_norm_(module.parameters(), config.gradient_clip)
    stepper.step()
    stepper.zero_grad()
    return losses
