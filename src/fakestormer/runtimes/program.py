"""A network as a graph of torch.export, and that graph as ONNX: written, read back, run, compared.

network -> ByName -> program_of -> write_onnx -> run_onnx; relative_error says how far they differ.

Frames uint8 (B, T, 3, H, W) go in, a dictionary of the outputs that the network has comes out.
"""

from __future__ import annotations

import json
import logging
import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from fakestormer.errors import SetupError
from fakestormer.model.network import VideoNetwork

#: What the input is called, and its axis of clips.
INPUT, BATCH = "frames", "batch"
#: The outputs that a network may have; b speaks in training only.
OUTPUTS = ("logit", "derivative", "frame_logits", "distance")
#: The largest `relative_error` that is let through.
TOLERANCE = 1e-4
#: A protobuf file ends at 2 GiB; weights beyond this go to a file of their own.
SINGLE_FILE_BYTES = 1536 * 2**20

_EXAMPLE_CLIPS = 2  # of 0 or 1 the exporter believes that they never change
_CHECKED_CLIPS = (1, 3)

#: Outputs by name.
Numbers = dict[str, Tensor]
#: Frames uint8 (B, T, 3, H, W) -> outputs.
Run = Callable[[Tensor], Numbers]


class ByName(nn.Module):
    """The network with its outputs in a dictionary, without those that it lacks.

    Exporters know dictionaries of tensors, but not Outputs.
    """

    def __init__(self, network: VideoNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, frames: Tensor) -> Numbers:
        outputs = self.network(frames)
        named = {name: getattr(outputs, name) for name in OUTPUTS}
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

    def run(frames_btchw: Tensor) -> Numbers:
        with torch.inference_mode():
            numbers: Numbers = named(frames_btchw)
        return numbers

    return run


def run_onnx(path: Path) -> Run:
    """A .onnx file in ONNX Runtime, on the CPU, with as many threads as torch has now."""
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors: it warns of devices that it does not find
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(frames_btchw: Tensor) -> Numbers:
        arrays = session.run(names, {INPUT: frames_btchw.numpy()})
        return {name: torch.from_numpy(y) for name, y in zip(names, arrays, strict=True)}

    return run


def random_frames(network: VideoNetwork) -> Iterator[Tensor]:
    """Batches of random frames to compare by, of two sizes, the same every time."""
    c, generator = network.config, torch.Generator().manual_seed(0)
    for clips in _CHECKED_CLIPS:
        size = (clips, c.frames, 3, c.image_size, c.image_size)
        yield torch.randint(0, 256, size, dtype=torch.uint8, generator=generator)


def relative_error(given: Tensor | None, wanted: Tensor) -> float:
    """The largest difference, over the largest value wanted where that is above 1.

    Infinite where there is nothing, something of another shape, or no number.
    """
    if given is None or given.shape != wanted.shape:
        return math.inf
    error = float((given - wanted).abs().max() / wanted.abs().max().clamp_min(1.0))
    return math.inf if math.isnan(error) else error


def import_onnxruntime() -> Any:
    """The module, told not to report to its makers over the network, as it else does."""
    # Before the import: what that starts reports even when it is told to stop right after.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    return onnxruntime


def require_onnx() -> None:
    """Raises SetupError when a package that ONNX files are written and checked with is missing."""
    try:
        import onnx  # noqa: F401

        import_onnxruntime()
        import onnxscript  # noqa: F401
    except ModuleNotFoundError as error:
        raise SetupError(
            "exporting as ONNX needs onnx, onnxscript and onnxruntime: install them with "
            "`pip install 'fakestormer[export]'`"
        ) from error


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
