"""A trained model -> its network as ONNX or as torch.export's .pt2, to run without this program.

    export("RUN", onnx="face.onnx", pt2="face.pt2")

Both take frames uint8 (B, T, 3, H, W), RGB, any number B of clips; the normalisation is inside.
Both give what the network has of "logit" (B,), "derivative" (B, T, G, G) and "frame_logits" (B, T),
by these names. Finding faces, cropping them and the verdict are not in them; what one has to know
to do these elsewhere travels along as metadata.
"""

from __future__ import annotations

import io
import json
import logging
import math
import os
import secrets
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from fakestormer.detector import Detector
from fakestormer.errors import InputError, SetupError
from fakestormer.files import PARTIAL, sha256_of
from fakestormer.model.network import VideoNetwork
from fakestormer.training.checkpoint import code_version

#: What the input is called, and its axis of clips.
INPUT, BATCH = "frames", "batch"
#: The extra file in a .pt2 that holds the metadata.
PT2_METADATA = "fakestormer.json"
#: The largest error that is let through, as `Exported.errors` counts it.
TOLERANCE = 1e-4
#: Layout of the metadata.
FORMAT = 1

_EXAMPLE_CLIPS = 2  # of 0 or 1 the exporter believes that they never change
_CHECKED_CLIPS = (1, 3)
#: A protobuf file ends at 2 GiB; weights beyond this go to a file of their own.
_SINGLE_FILE_BYTES = 1536 * 2**20

#: Outputs by name.
Numbers = dict[str, Tensor]
#: Frames uint8 (B, T, 3, H, W) -> outputs.
Run = Callable[[Tensor], Numbers]


@dataclass(frozen=True, slots=True)
class Exported:
    """One export. files: itself first, then those that belong beside it.

    shapes: of the outputs, e.g. {"logit": ("batch",)}. errors: of each output, the largest
    difference from torch, divided by the largest value where that is above 1.
    """

    files: tuple[Path, ...]
    shapes: Mapping[str, tuple[str | int, ...]]
    errors: Mapping[str, float]


def export(
    model: str | Path, *, onnx: str | Path | None = None, pt2: str | Path | None = None
) -> tuple[Exported, ...]:
    """Write one or both files; each is first read back and compared with torch on random frames.

    onnx: a `.onnx` file; its metadata are inside and, with its SHA-256, in `.onnx.json` beside it;
    weights of more than 1.5 GiB are in `.onnx.data`. pt2: a `.pt2` file, all in one. The comparison
    has other numbers of clips than the network was traced with. Older files are replaced only when
    every new one is complete and right; a failure leaves nothing behind.

    Raises InputError when the model cannot be loaded, when a file cannot have that name or place,
    or when its numbers differ from torch's by more than TOLERANCE; SetupError when ONNX is wanted
    and its packages are missing; ValueError when nothing is wanted.
    """
    wanted = [(path, suffix) for path, suffix in ((onnx, ".onnx"), (pt2, ".pt2")) if path]
    if not wanted:
        raise ValueError("export: name a file for onnx, for pt2, or for both")
    targets = [_target(Path(path), suffix) for path, suffix in wanted]
    if onnx:
        _require_onnx()
    detector = Detector.load(model)
    metadata = describe(detector)
    named = _ByName(detector.network).eval()
    answers = [(frames, _run_torch(named)(frames)) for frames in _checks(detector.network)]
    _require_finite(str(model), answers)
    shapes = {name: (BATCH, *y.shape[1:]) for name, y in answers[0][1].items()}
    with ExitStack() as stack:
        folders = [stack.enter_context(_staging(target)) for target in targets]
        program = _program(named)
        errors = []
        for target, folder in zip(targets, folders, strict=True):
            write, open_ = _KINDS[target.suffix]
            staged = folder / target.name
            with _writing(target):
                write(program, staged, metadata, tuple(shapes))
            errors.append(_compare(target, open_(staged), answers))
            if target.suffix == ".onnx":
                beside = metadata | {"sha256": sha256_of(staged), "errors": errors[-1]}
                with _writing(target):
                    _metadata_path(staged).write_text(json.dumps(beside, indent=2) + "\n")
        placed = [_place(folder, target) for target, folder in zip(targets, folders, strict=True)]
    return tuple(
        Exported(files, shapes, errors_) for files, errors_ in zip(placed, errors, strict=True)
    )


def describe(detector: Detector) -> dict[str, Any]:
    """The metadata, JSON-able: which network this is, what it takes, how its recipe uses it."""
    c = detector.network.config
    document: dict[str, Any] = {
        "format": FORMAT,
        # A folder's name need not be valid Unicode; a string of protobuf must be.
        "name": detector.name.encode(errors="replace").decode(),
        "weights_sha256": detector.weights_sha256,
        "architecture": c.architecture,
        "branches": list(c.branches),
        "frames": c.frames,
        "image_size": c.image_size,
        "patch_size": c.patch_size,
        "input": {
            "name": INPUT,
            "dtype": "uint8",
            "shape": [BATCH, c.frames, 3, c.image_size, c.image_size],
            "values": "RGB, 0..255",
        },
        "recipe": detector.recipe.name,
        "crop": detector.recipe.crop.model_dump(mode="json"),
        "prediction": detector.prediction.model_dump(mode="json"),
        "face_backend": detector.trained_with,
        "code": code_version(),
    }
    if detector.licence is not None:
        document["licence"] = detector.licence
    return document


class _ByName(nn.Module):
    """The network with its outputs in a dictionary, without those that it lacks.

    Exporters know dictionaries of tensors, but not Outputs.
    """

    def __init__(self, network: VideoNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, frames: Tensor) -> Numbers:
        outputs = self.network(frames)
        named = {
            "logit": outputs.logit,
            "derivative": outputs.derivative,
            "frame_logits": outputs.frame_logits,
        }
        return {name: tensor for name, tensor in named.items() if tensor is not None}


def _program(named: _ByName) -> ExportedProgram:
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


def _write_onnx(
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
    exported.save(path, external_data=weights > _SINGLE_FILE_BYTES)


def _write_pt2(
    program: ExportedProgram, path: Path, metadata: Mapping[str, Any], outputs: Sequence[str]
) -> None:
    """The names of the outputs are part of the program."""
    # Not straight into the file: on a full disk torch's writer ends the process.
    content = io.BytesIO()
    torch.export.save(
        program, content, extra_files={PT2_METADATA: json.dumps(dict(metadata), indent=2)}
    )
    path.write_bytes(content.getbuffer())


def _run_torch(named: _ByName) -> Run:
    def run(frames_btchw: Tensor) -> Numbers:
        with torch.inference_mode():
            numbers: Numbers = named(frames_btchw)
        return numbers

    return run


def _run_onnx(path: Path) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors: it warns of devices that it does not find
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(frames_btchw: Tensor) -> Numbers:
        arrays = session.run(names, {INPUT: frames_btchw.numpy()})
        return {name: torch.from_numpy(y) for name, y in zip(names, arrays, strict=True)}

    return run


def _run_pt2(path: Path) -> Run:
    module = torch.export.load(path).module()

    def run(frames_btchw: Tensor) -> Numbers:
        with torch.inference_mode():
            numbers: Numbers = module(frames_btchw)
        return numbers

    return run


_Write = Callable[[ExportedProgram, Path, Mapping[str, Any], Sequence[str]], None]
_KINDS: Mapping[str, tuple[_Write, Callable[[Path], Run]]] = {
    ".onnx": (_write_onnx, _run_onnx),
    ".pt2": (_write_pt2, _run_pt2),
}


def _checks(network: VideoNetwork) -> Iterator[Tensor]:
    """Random frames, the same every time."""
    c, generator = network.config, torch.Generator().manual_seed(0)
    for clips in _CHECKED_CLIPS:
        size = (clips, c.frames, 3, c.image_size, c.image_size)
        yield torch.randint(0, 256, size, dtype=torch.uint8, generator=generator)


def _require_finite(model: str, answers: Sequence[tuple[Tensor, Numbers]]) -> None:
    for _, numbers in answers:
        for name, y in numbers.items():
            if not bool(torch.isfinite(y).all()):
                raise InputError(
                    f"{model}: its {name} is not a finite number on random frames, so there is "
                    "nothing to compare an export with; train it again"
                )


def _compare(target: Path, run: Run, answers: Sequence[tuple[Tensor, Numbers]]) -> dict[str, float]:
    """Errors by output, as Exported has them. Raises InputError when one is above TOLERANCE."""
    errors: dict[str, float] = {}
    for frames, expected in answers:
        found = run(frames)
        for name, wanted in expected.items():
            error = _error(found.get(name), wanted)
            errors[name] = max(errors.get(name, 0.0), error)
    worst = max(errors, key=lambda name: errors[name])
    if errors[worst] > TOLERANCE:
        raise InputError(
            f"{target}: not written, because its {worst} differs from torch's by "
            f"{errors[worst]:.1e} of its largest value (or of 1) on random frames, where "
            f"{TOLERANCE:.0e} is allowed; use the versions of constraints.txt"
        )
    return errors


def _error(found: Tensor | None, wanted: Tensor) -> float:
    if found is None or found.shape != wanted.shape:
        return math.inf
    error = float((found - wanted).abs().max() / wanted.abs().max().clamp_min(1.0))
    return math.inf if math.isnan(error) else error


def _require_onnx() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ModuleNotFoundError as error:
        raise SetupError(
            "exporting as ONNX needs onnx, onnxscript and onnxruntime: install them with "
            "`pip install 'fakestormer[export]'`"
        ) from error


def _target(path: Path, suffix: str) -> Path:
    """Where a file is to go. Raises InputError for a name that it cannot have."""
    if path.suffix != suffix:
        raise InputError(f"{path}: cannot be the exported file; name one that ends in {suffix}")
    for file in (path, _metadata_path(path), _weights_path(path)):
        if file.is_dir():
            raise InputError(f"{file}: is a folder, and a file has to go there; name another")
    try:
        str(path.absolute()).encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{path}: a name that is not valid Unicode, which the readers of such files refuse; "
            "name another"
        ) from error
    return path


def _metadata_path(path: Path) -> Path:
    # Not x.json: beside x.safetensors that is the model's own.
    return path.with_name(f"{path.name}.json")


def _weights_path(path: Path) -> Path:
    # The name that the exporter gives it.
    return path.with_name(f"{path.name}.data")


@contextmanager
def _staging(target: Path) -> Iterator[Path]:
    """A fresh folder beside the target, gone afterwards, as are folders made on the way if empty.

    Files get their final names in it, because a .onnx names the file of its weights.
    """
    folder = target.parent / f".{secrets.token_hex(8)}{PARTIAL}"
    made: list[Path] = []
    try:
        with _writing(target):
            made += [parent for parent in folder.parents if not parent.exists()]
            folder.mkdir(parents=True)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for parent in made:
            with suppress(OSError):
                parent.rmdir()


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{target}: cannot be written ({error.strerror}); choose another place"
        ) from error


def _place(folder: Path, target: Path) -> tuple[Path, ...]:
    """Move a staged export to its place, the file itself last, so that it is never alone."""
    staged = sorted(folder.iterdir(), key=lambda file: file.name == target.name)
    with _writing(target):
        for file in staged:
            with file.open("rb") as content:
                os.fsync(content.fileno())
            file.replace(target.with_name(file.name))
    return tuple(target.with_name(file.name) for file in reversed(staged))


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
