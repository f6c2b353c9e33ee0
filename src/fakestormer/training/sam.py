"""Sharpness-aware minimisation (Foret et al., 2021) around any optimizer.

One step, with the paper's rho of 0.05:

    loss(network(batch)).backward()                  # gradient at w
    with sam.perturbed(), frozen_statistics(network):
        optimizer.zero_grad()
        loss(network(batch)).backward()              # gradient at w + e
    optimizer.step()                                 # from w, along the gradient at w + e

e = rho * g / ||g||, the norm over all parameters together. The step itself is the optimizer's, so
gradient scalers, Fabric's and DDP's wrappers work as they always do: e does not change when g is
scaled, and under DDP `backward` has already averaged g, so every process goes to the same w + e.
With gradient accumulation g is the gradient of all micro-batches together, in both passes (`step`).
Parameters sharded over processes (FSDP) are not supported: each would see the norm of its shard.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer


class SAM:
    """Moves the parameters of `optimizer` uphill for the second gradient of a step, and back."""

    def __init__(self, optimizer: Optimizer, rho: float = 0.05) -> None:
        if rho < 0:
            raise ValueError(f"SAM: rho must not be negative, got {rho}")
        self.optimizer = optimizer
        self.rho = rho

    @contextmanager
    def perturbed(self) -> Iterator[float]:
        """Within: the parameters are w + e. After, whatever happens within: w again, bit for bit.

        Yields ||g||, as the gradients are, scaled or not. Where it is zero or not finite (a
        gradient scaler that overflowed) there is no direction: e is 0. Parameters without a
        gradient (frozen ones) stay where they are.
        """
        parameters = self._parameters_with_gradient()
        norm = gradient_norm([p.grad for p in parameters if p.grad is not None])
        usable = bool(torch.isfinite(norm)) and float(norm) > 0
        moved = parameters if usable and self.rho > 0 else []
        before = [p.detach().clone() for p in moved]
        try:
            with torch.no_grad():
                for p in moved:
                    assert p.grad is not None
                    p.add_(p.grad.to(p.dtype) * (self.rho / norm).to(p.device, p.dtype))
            yield float(norm)
        finally:
            with torch.no_grad():
                for p, original in zip(moved, before, strict=True):
                    p.copy_(original)

    def _parameters_with_gradient(self) -> list[Tensor]:
        return [
            p
            for group in self.optimizer.param_groups
            for p in group["params"]
            if p.grad is not None
        ]


def gradient_norm(gradients: list[Tensor]) -> Tensor:
    """||g|| over all tensors together, float32 scalar; 0 for no gradients."""
    if not gradients:
        return torch.zeros(())
    device = gradients[0].device
    norms = [torch.linalg.vector_norm(g.detach().float()).to(device) for g in gradients]
    total: Tensor = torch.linalg.vector_norm(torch.stack(norms))
    return total


@contextmanager
def frozen_statistics(network: nn.Module) -> Iterator[None]:
    """Within: BatchNorm layers that train leave their running statistics alone.

    They still normalise with the batch's own statistics. For SAM's second pass, which sees the
    same batch again with other weights: each batch counts once, with the weights it met.
    """
    layers = [
        layer
        for layer in network.modules()
        if isinstance(layer, _BatchNorm) and layer.training and layer.track_running_stats
    ]
    try:
        for layer in layers:
            layer.track_running_stats = False
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True
