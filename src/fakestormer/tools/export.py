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
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from fakestormer.detection.detector import Detector
from fakestormer.errors import InputError
from fakestormer.files import place, sha256_of, staging, writing
from fakestormer.model.model_file import code_version
from fakestormer.runtimes.program import (
    BATCH,
    INPUT,
    TOLERANCE,
    ByName,
    Numbers,
    Run,
    program_of,
    random_frames,
    relative_error,
    require_onnx,
    run_onnx,
    run_torch,
    write_onnx,
)

log = logging.getLogger(__name__)

#: The extra file in a .pt2 that holds the metadata.
PT2_METADATA = "fakestormer.json"
#: Layout of the metadata.
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Exported:
    """One export. files: itself first. shapes: of the outputs. errors: of each, from torch."""

    files: tuple[Path, ...]
    shapes: Mapping[str, tuple[str | int, ...]]
    errors: Mapping[str, float]


def export(
    model: str | Path, *, onnx: str | Path | None = None, pt2: str | Path | None = None
) -> tuple[Exported, ...]:
    """Write one or both files; each is first read back and compared with torch on random frames.

    onnx: a `.onnx` file; its metadata are inside and, with its SHA-256, in `.onnx.json` beside it;
    weights of more than 1.5 GiB are in `.onnx.data`. pt2: a `.pt2` file, all in one. Older files
    are replaced only when every new one is complete and right. Raises InputError for a model that
    cannot be loaded, a file that cannot be written, or numbers that differ from torch's by more
    than TOLERANCE; SetupError where ONNX's packages are missing.
    """
    wanted = [(path, suffix) for path, suffix in ((onnx, ".onnx"), (pt2, ".pt2")) if path]
    if not wanted:
        raise ValueError("export: name a file for onnx, for pt2, or for both")
    targets = [_target(Path(path), suffix) for path, suffix in wanted]
    if onnx:
        require_onnx()
    detector = Detector(model)
    metadata = describe(detector)
    named = ByName(detector.network).eval()
    answers = [(frames, run_torch(named)(frames)) for frames in random_frames(detector.network)]
    _require_finite(str(model), answers)
    shapes = {name: (BATCH, *y.shape[1:]) for name, y in answers[0][1].items()}
    log.info(
        "%s: being written and compared with torch, which takes from seconds to minutes",
        ", ".join(map(str, targets)),
    )
    with ExitStack() as stack:
        folders = [stack.enter_context(staging(target)) for target in targets]
        program = program_of(named)
        errors = []
        for target, folder in zip(targets, folders, strict=True):
            write, open_ = _KINDS[target.suffix]
            staged = folder / target.name
            with writing(target):
                write(program, staged, metadata, tuple(shapes))
            errors.append(_compare(target, open_(staged), answers))
            if target.suffix == ".onnx":
                beside = metadata | {"sha256": sha256_of(staged), "errors": errors[-1]}
                with writing(target):
                    _metadata_path(staged).write_text(json.dumps(beside, indent=2) + "\n")
        placed = [place(folder, target) for target, folder in zip(targets, folders, strict=True)]
    return tuple(
        Exported(files, shapes, errors_) for files, errors_ in zip(placed, errors, strict=True)
    )


def describe(detector: Detector) -> dict[str, Any]:
    """The metadata, JSON-able: which network this is, what it takes, how its recipe uses it."""
    c = detector.network.config
    licence = {} if detector.licence is None else {"licence": detector.licence}
    return {
        "format": FORMAT,
        # A folder's name need not be valid Unicode; a string of protobuf must be.
        "name": detector.name.encode(errors="replace").decode(),
        "weights_sha256": detector.weights_sha256,
        "architecture": c.architecture,
        "branches": [head for head in c.branches if head != "b"],  # b speaks in training only
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
        **licence,
    }


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


def _run_pt2(path: Path) -> Run:
    module = torch.export.load(path).module()

    def run(frames_btchw: Tensor) -> Numbers:
        with torch.inference_mode():
            numbers: Numbers = module(frames_btchw)
        return numbers

    return run


_Write = Callable[[ExportedProgram, Path, Mapping[str, Any], Sequence[str]], None]
_KINDS: Mapping[str, tuple[_Write, Callable[[Path], Run]]] = {
    ".onnx": (write_onnx, run_onnx),
    ".pt2": (_write_pt2, _run_pt2),
}


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
        outputs = run(frames)
        for name, wanted in expected.items():
            error = relative_error(outputs.get(name), wanted)
            errors[name] = max(errors.get(name, 0.0), error)
    worst = max(errors, key=lambda name: errors[name])
    if errors[worst] > TOLERANCE:
        raise InputError(
            f"{target}: not written, because its {worst} differs from torch's by "
            f"{errors[worst]:.1e} of its largest value (or of 1) on random frames, where "
            f"{TOLERANCE:.0e} is allowed; use the versions of constraints.txt"
        )
    return errors


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
