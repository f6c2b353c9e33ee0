"""A network as a graph of torch.export, and that graph as ONNX: written, read back, run, compared.

network -> ByName -> program_of -> write_onnx.

Frames uint8 (B, T, 3, H, W) go in, a dictionary of the outputs that the network has comes out.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from fakestormer.errors import needs
from fakestormer.model.network import VideoNetwork
from fakestormer.recipe.model import ModelConfig
from fakestormer.runtimes.onnx_engine import BATCH, BRANCHES, INPUT, OUTPUTS, Numbers, Run
from fakestormer.types.arrays import Pixels

#: A protobuf file ends at 2 GiB; weights beyond this go to a file of their own.
SINGLE_FILE_BYTES = 1536 * 2**20

_EXAMPLE_CLIPS = 2  # of 0 or 1 the exporter believes that they never change
_CHECKED_CLIPS = (1, 3)


#: All of a network; or f, or h and g, where f shares nothing with them.
Part = Literal["whole", "f", "branches"]


class ByName(nn.Module):
    """A part of the network with its outputs in a dictionary, without those that it lacks.

    Exporters know dictionaries of tensors, but not Outputs.
    """

    def __init__(self, network: VideoNetwork, part: Part = "whole") -> None:
        super().__init__()
        self.network = network
        self.part = part

    def forward(self, frames: Tensor) -> dict[str, Tensor]:
        outputs = self.network.classify(frames) if self.part == "f" else self.network(frames)
        names = BRANCHES if self.part == "branches" else OUTPUTS
        named = {name: getattr(outputs, name) for name in names}
        return {name: tensor for name, tensor in named.items() if tensor is not None}


def program_of(named: ByName) -> ExportedProgram:
    """The network as a graph that takes any number of clips."""
    c = named.network.config
    size = (_EXAMPLE_CLIPS, c.frames, 3, c.image_size, c.image_size)
    program = torch.export.export(
        named,
        (torch.zeros(size, dtype=torch.uint8),),
        dynamic_shapes={INPUT: {0: Dim(BATCH, min=1)}},
    )
    for node in program.graph.nodes:
        # Where this program lies on this machine is nobody's business.
        node.meta.pop("stack_trace", None)
    return program


def write_onnx(
    program: ExportedProgram, path: Path, metadata: Mapping[str, Any], outputs: Sequence[str]
) -> None:
    """Text goes into ONNX's metadata as it is, everything else as JSON."""
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    with _without_remarks():
        exported = torch.onnx.export(
            program,
            dynamic_shapes={INPUT: {0: BATCH}},
            input_names=[INPUT],
            output_names=outputs,
            dynamo=True,
            verbose=False,
        )
    assert exported is not None, "only the exporter before dynamo returns nothing"
    # What each node was in torch: for a small network four times the size of all the rest.
    ClearMetadataAndDocStringPass()(exported.model)
    for name, value in metadata.items():
        exported.model.metadata_props[name] = value if isinstance(value, str) else json.dumps(value)
    weights = sum(p.numel() * p.element_size() for p in program.state_dict.values())
    exported.save(path, external_data=weights > SINGLE_FILE_BYTES)


def run_torch(named: ByName) -> Run:
    """The network itself, by the names that its exports use."""

    def run(frames_btchw: Pixels) -> Numbers:
        with torch.inference_mode():
            tensors = named(torch.from_numpy(frames_btchw))
        return {name: tensor.numpy() for name, tensor in tensors.items()}

    return run


def random_frames(config: ModelConfig) -> Iterator[Pixels]:
    """Batches of random frames to compare by, of two sizes, the same every time."""
    rng = np.random.default_rng(0)
    for clips in _CHECKED_CLIPS:
        size = (clips, config.frames, 3, config.image_size, config.image_size)
        yield rng.integers(0, 256, size, dtype=np.uint8)


def require_onnx() -> None:
    """Raises SetupError when a package that ONNX files are written and checked with is missing."""
    with needs("exporting as ONNX", "fakestormer[export]"):
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401


@contextmanager
def _without_remarks() -> Iterator[None]:
    """Without what the exporter says of torchvision's operators, which no network here has."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # Of torch about itself.
            warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
            yield
    finally:
        logger.setLevel(level)
