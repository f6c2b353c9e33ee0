"""The exponential moving average of the weights of a run, which often judges better than the last.

    decay at update t, counted from 0:   d = min(decay, (1 + t) / (10 + t))
    average <- d average + (1 - d) weights

The growing decay forgets the random weights of the beginning: without it, a decay of 0.999 would
still hold a third of them after a thousand steps. BatchNorm's running statistics are averaged like
the weights, because statistics of the newest weights would belong to another network than the
averaged one; its counters are copied.
"""

from __future__ import annotations

import copy

import torch

from fakestormer.model.network import VideoNetwork


def decay_at(update: int, decay: float) -> float:
    """The decay of update number `update`, counted from 0.

    # decay 0.999 -> 0.1, 0.182, 0.25, ..., 0.5 at 8, 0.9 at 80, 0.99 at 890, 0.999 from 8990 on
    """
    return min(decay, (1 + update) / (10 + update))


class Average:
    """Keeps `network`, a copy whose weights are the average; in evaluation mode, trains nothing."""

    def __init__(self, network: VideoNetwork, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, network: VideoNetwork, update: int) -> None:
        """After a step: take the network's weights in. `update`: the step, counted from 0."""
        share = 1.0 - decay_at(update, self.decay)
        averaged = self.network.state_dict()
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                averaged[name].lerp_(tensor, share)
            else:
                averaged[name].copy_(tensor)
