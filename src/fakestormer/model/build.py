"""A configuration -> the network it describes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fakestormer.model.config import Architecture, ModelConfig
from fakestormer.model.fakestormer import build_fakestormer
from fakestormer.model.network import VideoNetwork

_BUILDERS: Mapping[Architecture, Callable[[ModelConfig], VideoNetwork]] = {
    "fakestormer": build_fakestormer,
}


def build(config: ModelConfig) -> VideoNetwork:
    """The whole network. Random weights come from torch's global generator: seed it to repeat."""
    return _BUILDERS[config.architecture](config)
