"""A configuration -> the network it describes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fakestormer.model.baselines import build_resnet3d, build_timesformer
from fakestormer.model.fakestormer import build_fakestormer
from fakestormer.model.network import VideoNetwork
from fakestormer.model.release import build_release
from fakestormer.recipe.model import Architecture, ModelConfig

_BUILDERS: Mapping[Architecture, Callable[[ModelConfig], VideoNetwork]] = {
    "fakestormer": build_fakestormer,
    "timesformer": build_timesformer,
    "resnet3d": build_resnet3d,
    "release": build_release,
}


def build(config: ModelConfig) -> VideoNetwork:
    """The whole network. Random weights come from torch's global generator: seed it to repeat."""
    return _BUILDERS[config.architecture](config)
