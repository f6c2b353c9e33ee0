"""The network of a model in another program than torch, on the CPU: ONNX Runtime or OpenVINO.

    network = open_runtime("onnx", network, weights, weights_sha256)

Both read the network from a .onnx file: `model.onnx` beside `model.safetensors` where
`fakestormer export` has put one, else one that is made once and kept in the user's cache folder.
What is opened has been compared with torch, and takes torch's place wherever clips are judged.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from fakestormer.errors import InputError, SetupError
from fakestormer.faces.face_models import cache_folder
from fakestormer.files import place, sha256_of, staging, writing
from fakestormer.model.model_file import code_version
from fakestormer.model.network import VideoNetwork
from fakestormer.runtimes.program import (
    INPUT,
    OUTPUTS,
    TOLERANCE,
    ByName,
    Numbers,
    Run,
    import_onnxruntime,
    program_of,
    random_frames,
    relative_error,
    require_onnx,
    run_onnx,
    run_torch,
    write_onnx,
)
from fakestormer.types import Outputs

log = logging.getLogger(__name__)

RuntimeName = Literal["torch", "onnx", "openvino"]

#: Raised when what lies in the cache has to be made anew though program and torch are the same.
_FORMAT = 2


class ExportedNetwork(VideoNetwork):
    """A network whose numbers another program computes, on the CPU, from its .onnx file.

    run: frames -> outputs by name. runtime: that program and its version, for reports. network:
    the same in torch, for what the program has no outputs for.
    """

    def __init__(self, network: VideoNetwork, run: Run, *, runtime: str) -> None:
        super().__init__(network.config)
        self.network = network
        self.run = run
        self.runtime = runtime

    def explain(self, frames_btchw: Tensor) -> tuple[Tensor, Tensor]:
        return self.network.explain(frames_btchw)

    def forward(self, frames_btchw: Tensor) -> Outputs:
        """As every network, but of uint8 frames alone, and without gradients.

        Raises ValueError for frames of another shape or dtype.
        """
        self.require(frames_btchw)
        if frames_btchw.dtype != torch.uint8:
            raise ValueError(f"{self.runtime}: expected uint8 frames, got {frames_btchw.dtype}")
        numbers = self.run(frames_btchw)
        parts: dict[str, Any] = {name: numbers.get(name) for name in OUTPUTS}
        return Outputs(**parts)


def open_runtime(
    name: RuntimeName, network: VideoNetwork, weights: Path, weights_sha256: str
) -> VideoNetwork:
    """The network as that program runs it, with as many threads as torch has now.

    "torch" gives back the network. network: on the CPU. weights: the model's .safetensors file,
    with that SHA-256.

    The first call for some weights takes seconds to minutes, says so to the log (INFO), and writes
    a .onnx file about as large as they are; later ones read it. Raises SetupError when a package is
    missing or the cache folder cannot be written, InputError when the numbers on random frames
    differ from torch's by more than TOLERANCE.
    """
    if name == "torch":
        return network
    engine = _ENGINES[name]
    # Else importing openvino reports that to its makers, over the network; without this package,
    # which does it, openvino works as well.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        # OpenVINO's goes on after a dash, with the commit.
        module = import_onnxruntime() if name == "onnx" else import_module(engine.package)
        numbers, *_ = module.__version__.split("-")
    except ModuleNotFoundError as error:
        raise SetupError(
            f"--runtime {name} needs {engine.title}: install it with "
            f"`pip install 'fakestormer[{engine.extra}]'`, or leave --runtime out"
        ) from error
    path = _exported(network, weights, weights_sha256, engine.title)
    opened = ExportedNetwork(network, engine.run(path), runtime=f"{engine.title} {numbers}")
    _require_the_same(path, name, network, opened)
    return opened.eval()


def run_openvino(path: Path) -> Run:
    """A .onnx file in OpenVINO, on the CPU, with as many threads as torch has now."""
    import openvino

    compiled = openvino.Core().compile_model(
        str(path),
        "CPU",
        {
            # Its own choice is bfloat16 where the processor has that.
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            # Several processes would be pinned to the same cores.
            "ENABLE_CPU_PINNING": False,
        },
    )
    names = [output.any_name for output in compiled.outputs]

    def run(frames_btchw: Tensor) -> Numbers:
        numbers = compiled({INPUT: frames_btchw.contiguous().numpy()})
        # Copies: the next call writes into the same arrays.
        return {name: torch.from_numpy(numbers[name].copy()) for name in names}

    return run


@dataclass(frozen=True, slots=True)
class _Engine:
    """package: its name for pip and for Python. extra: of ours, that brings it."""

    title: str
    package: str
    extra: str
    run: Callable[[Path], Run]


_ENGINES: Mapping[str, _Engine] = {
    "onnx": _Engine("ONNX Runtime", "onnxruntime", "export", run_onnx),
    "openvino": _Engine("OpenVINO", "openvino", "openvino", run_openvino),
}


def _exported(network: VideoNetwork, weights: Path, weights_sha256: str, title: str) -> Path:
    """The network's .onnx file: beside its weights, in the cache, or made now for `title`."""
    beside = weights.with_suffix(".onnx")
    if _is_of(beside, weights_sha256):
        return beside
    about = {
        "format": _FORMAT,
        "weights_sha256": weights_sha256,
        # Weights do not tell everything, e.g. how many heads share them.
        "config": network.config.model_dump(mode="json"),
        "code": code_version(),
    }
    key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:32]
    kept = cache_folder() / "networks" / f"{key}.onnx"
    if not _is_of(kept, weights_sha256):
        require_onnx()
        log.info(
            "%s: its network is now written for %s; this is done once and takes from seconds to "
            "minutes",
            weights,
            title,
        )
        _make(network, kept, about)
    return kept


def _is_of(path: Path, weights_sha256: str) -> bool:
    """Whether a .onnx file is whole and of these weights, as the .json beside it says."""
    try:
        about = json.loads(_described(path).read_text())
        hashes = (about["weights_sha256"], about["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return path.is_file() and hashes == (weights_sha256, sha256_of(path))


def _make(network: VideoNetwork, path: Path, about: Mapping[str, Any]) -> None:
    named = ByName(network).eval()
    outputs = tuple(run_torch(named)(next(random_frames(network))))
    try:
        with staging(path) as folder, writing(path):
            staged = folder / path.name
            write_onnx(program_of(named), staged, about, outputs)
            document = dict(about) | {"sha256": sha256_of(staged)}
            _described(staged).write_text(json.dumps(document, indent=2) + "\n")
            place(folder, path)
    except InputError as error:
        raise SetupError(
            f"the network cannot be kept for another runtime than torch ({error}); set "
            "FAKESTORMER_CACHE to a folder that can be written"
        ) from error


def _described(path: Path) -> Path:
    # As `fakestormer export` names it.
    return path.with_name(f"{path.name}.json")


def _require_the_same(
    path: Path, name: str, network: VideoNetwork, opened: ExportedNetwork
) -> None:
    """Every time, not only when the file is made: the runtime may be another version since."""
    frames = next(random_frames(network))
    numbers = opened.run(frames)
    for output, wanted in run_torch(ByName(network).eval())(frames).items():
        error = relative_error(numbers.get(output), wanted)
        if error > TOLERANCE:
            raise InputError(
                f"{path}: its {output} in {opened.runtime} differs from torch's by {error:.1e} of "
                f"its largest value (or of 1), where {TOLERANCE:.0e} is allowed; delete the file, "
                f"or leave out --runtime {name}"
            )
