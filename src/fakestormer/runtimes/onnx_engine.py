"""A network in ONNX Runtime, on the CPU, from its .onnx file; without torch."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fakestormer.errors import InputError
from fakestormer.files import sha256_of
from fakestormer.parallel.threads import thread_count
from fakestormer.recipe.model import ModelConfig
from fakestormer.runtimes.engine import Engine
from fakestormer.types import ClipScores
from fakestormer.types.arrays import Floats, Pixels

if TYPE_CHECKING:
    from fakestormer.model.network import VideoNetwork

#: What the input is called, and its axis of clips.
INPUT, BATCH = "frames", "batch"
#: What h and g give, and all outputs that a network may have; b speaks in training only.
BRANCHES = ("derivative", "frame_logits")
OUTPUTS = ("logit", *BRANCHES, "distance", "evidence")
#: The largest `relative_error` that is let through.
TOLERANCE = 1e-4

#: Outputs by name.
Numbers = dict[str, NDArray[Any]]


#: Frames uint8 (B, T, 3, H, W) -> outputs.
Run = Callable[[Pixels], Numbers]


class OnnxEngine(Engine):
    """The .onnx files that `fakestormer export` wrote beside a model's weights."""

    at_once = 2

    def __init__(self, weights: Path, config: ModelConfig, *, apart: bool) -> None:
        """apart: whether h and g are in a second file, opened when first asked for."""
        self._apart = apart
        self.config = config
        self.program = f"ONNX Runtime {import_onnxruntime().__version__}"
        self.run = run_onnx(weights.with_suffix(".onnx"))
        self._weights = weights

    def judge(self, frames_btchw: Pixels, *, branches: bool = True) -> ClipScores:
        c = self.config
        wanted = (c.frames, 3, c.image_size, c.image_size)
        if frames_btchw.shape[1:] != wanted or frames_btchw.dtype != np.uint8:
            raise ValueError(
                f"{self.program}: expected uint8 frames (B, {', '.join(map(str, wanted))}), got "
                f"{frames_btchw.dtype} {frames_btchw.shape}"
            )
        numbers = self.run(frames_btchw)
        if branches and self._apart:
            numbers |= self._run_branches(frames_btchw)
        return ClipScores(logits=numbers.pop("logit"), **numbers)

    def explain(self, frames_btchw: Pixels) -> tuple[Floats, Floats]:
        scores = self.judge(frames_btchw, branches=False)
        if scores.evidence is not None:
            return scores.logits, scores.evidence
        # Evidence that takes gradients is in no graph.
        from fakestormer.runtimes.torch_engine import TorchEngine

        return TorchEngine(self.network).explain(frames_btchw)

    @cached_property
    def network(self) -> VideoNetwork:
        from fakestormer.model.model_file import load_model

        return load_model(self._weights)[0]

    @cached_property
    def _run_branches(self) -> Run:
        return run_onnx(branches_path(self._weights.with_suffix(".onnx")))


def run_onnx(path: Path) -> Run:
    """A .onnx file in ONNX Runtime, on the CPU, with as many threads as the process may use."""
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = thread_count()
    options.log_severity_level = 3  # errors: it warns of devices that it does not find
    # A thread that waits for the next layer would keep a core busy between clips.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(frames_btchw: Pixels) -> Numbers:
        arrays = session.run(names, {INPUT: np.ascontiguousarray(frames_btchw)})
        return dict(zip(names, arrays, strict=True))

    return run


def onnx_beside(weights: Path, weights_sha256: str, config: ModelConfig) -> OnnxEngine | None:
    """The engine of the .onnx file beside a model's weights; None where there is none of them.

    Its numbers for `check_frames` are compared with those that torch gave when the file was
    written: the runtime may be another version since. Raises InputError where they differ, or a
    file is damaged.
    """
    path = weights.with_suffix(".onnx")
    about = onnx_document(path)
    if about is None or about.get("weights_sha256") != weights_sha256:
        return None
    for file, entry in ((path, "sha256"), (branches_path(path), "branches_sha256")):
        if entry in about and not (file.is_file() and sha256_of(file) == about[entry]):
            raise InputError(
                f"{file}: is not the file that {description(path).name} describes; write both "
                "again with `fakestormer export`, or delete them"
            )
    engine = OnnxEngine(weights, config, apart="branches_sha256" in about)
    logits_b = engine.run(check_frames(config))["logit"]
    error = relative_error(logits_b, np.asarray(about.get("check_logits"), np.float32))
    if error > TOLERANCE:
        raise InputError(
            f"{path}: its logits in {engine.program} differ from torch's by {error:.1e} of their "
            f"largest value (or of 1), where {TOLERANCE:.0e} is allowed; delete the file, and "
            "torch computes the network"
        )
    return engine


def onnx_document(path: Path) -> Mapping[str, Any] | None:
    """What the .json beside a .onnx file says of it; None where nothing can be read."""
    try:
        about = json.loads(description(path).read_text())
    except (OSError, ValueError):
        return None
    return about if isinstance(about, dict) and "sha256" in about else None


def description(path: Path) -> Path:
    """`model.onnx.json`, beside `model.onnx`."""
    return path.with_name(f"{path.name}.json")


def branches_path(path: Path) -> Path:
    """`model.branches.onnx`, beside `model.onnx`."""
    return path.with_name(f"{path.stem}.branches.onnx")


def check_frames(config: ModelConfig) -> Pixels:
    """One clip to compare programs by, uint8 (1, T, 3, H, W): noise, the same everywhere."""
    count = config.frames * 3 * config.image_size**2
    # Knuth's multiplicative hash: NumPy's generators may change between versions.
    noise = (np.arange(count, dtype=np.uint32) * np.uint32(2654435761)) >> np.uint32(24)
    shape = (1, config.frames, 3, config.image_size, config.image_size)
    return noise.astype(np.uint8).reshape(shape)


def relative_error(given: NDArray[Any] | None, wanted: NDArray[Any]) -> float:
    """The largest difference, over the largest value wanted where that is above 1.

    Infinite where there is nothing, something of another shape, or no number.
    """
    if given is None or given.shape != wanted.shape:
        return math.inf
    error = float(np.abs(given - wanted).max() / max(1.0, float(np.abs(wanted).max())))
    return math.inf if math.isnan(error) else error


def import_onnxruntime() -> Any:
    """The module, told not to report to its makers over the network, as it else does."""
    # Before the import: what that starts reports even when it is told to stop right after.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    return onnxruntime
