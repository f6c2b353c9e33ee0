"""A trained model -> its network as ONNX or as torch.export's .pt2, to run without this program.

    export("RUN", onnx="face.onnx", pt2="face.pt2")

Both take frames uint8 (B, T, 3, H, W), RGB, any number B of clips; the normalisation is inside.
Both give what the network has of "logit" (B,), "derivative" (B, T, G, G), "frame_logits" (B, T) and
"distance" (B,), by these names. Finding faces, cropping them and the verdict are not in them; what
one has to know to do these elsewhere travels along as metadata.
"""

from __future__ import annotations

import io
import itertools
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export import ExportedProgram

from fakestormer.detection.detector import Detector
from fakestormer.errors import InputError
from fakestormer.files import place, sha256_of, staging, writing
from fakestormer.model.document import code_version
from fakestormer.model.network import VideoNetwork
from fakestormer.runtimes.onnx_engine import (
    BATCH,
    INPUT,
    TOLERANCE,
    Numbers,
    Run,
    branches_path,
    check_frames,
    description,
    relative_error,
    run_onnx,
)
from fakestormer.runtimes.program import (
    ByName,
    Part,
    program_of,
    random_frames,
    require_onnx,
    run_torch,
    write_onnx,
)
from fakestormer.types.arrays import Pixels

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
    weights of more than 1.5 GiB are in `.onnx.data`. Where f shares nothing with h and g, the file
    has f, with "evidence" (B, T, G, G), what each patch adds to the logit, and h and g are in
    `.branches.onnx`. Named like the model's weights and beside them, these files are what `detect`
    runs on the CPU. pt2: a `.pt2` file, all in one, without evidence. Older files are replaced only
    when every new one is complete and right. Raises InputError for a model that cannot be loaded, a
    file that cannot be written, or numbers that differ from torch's by more than TOLERANCE;
    SetupError where ONNX's packages are missing.
    """
    wanted = [(path, suffix) for path, suffix in ((onnx, ".onnx"), (pt2, ".pt2")) if path]
    if not wanted:
        raise ValueError("export: name a file for onnx, for pt2, or for both")
    targets = [_target(Path(path), suffix) for path, suffix in wanted]
    if onnx:
        require_onnx()
    detector = Detector(model)
    metadata = describe(detector)
    network = detector.engine.network
    parts = {target: _parts(network, target) for target in targets}
    named = {part: ByName(network, part).eval() for part in itertools.chain(*parts.values())}
    answers = {
        part: [(frames, run_torch(by_name)(frames)) for frames in random_frames(network.config)]
        for part, by_name in named.items()
    }
    _require_finite(str(model), [*itertools.chain(*answers.values())])
    log.info(
        "%s: being written and compared with torch, which takes from seconds to minutes",
        ", ".join(map(str, targets)),
    )
    with ExitStack() as stack:
        folders = [stack.enter_context(staging(target)) for target in targets]
        programs = {part: program_of(by_name) for part, by_name in named.items()}
        errors: list[dict[str, float]] = []
        for target, folder in zip(targets, folders, strict=True):
            errors.append({})
            for part in parts[target]:
                file = branches_path(target) if part == "branches" else target
                errors[-1] |= _write(file, folder, programs[part], metadata, answers[part])
            if target.suffix == ".onnx":
                staged = folder / target.name
                about = metadata | {"errors": errors[-1]} | _for_the_engine(network, staged)
                with writing(target):
                    description(staged).write_text(json.dumps(about, indent=2) + "\n")
        placed = [place(folder, target) for target, folder in zip(targets, folders, strict=True)]
    examples = (numbers[0][1] for numbers in answers.values())
    shapes = {name: (BATCH, *y.shape[1:]) for example in examples for name, y in example.items()}
    return tuple(
        Exported(files, {name: shapes[name] for name in errors_}, errors_)
        for files, errors_ in zip(placed, errors, strict=True)
    )


def describe(detector: Detector) -> dict[str, Any]:
    """The metadata, JSON-able: which network this is, what it takes, how its recipe uses it."""
    c = detector.engine.config
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


def _write(
    file: Path,
    folder: Path,
    program: ExportedProgram,
    metadata: Mapping[str, Any],
    answers: Sequence[tuple[Pixels, Numbers]],
) -> dict[str, float]:
    """Write a file into a folder first, and read it back; returns what `_compare` does."""
    write, open_ = _KINDS[file.suffix]
    staged = folder / file.name
    with writing(file):
        write(program, staged, metadata, tuple(answers[0][1]))
    return _compare(file, open_(staged), answers)


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

    def run(frames_btchw: Pixels) -> Numbers:
        with torch.inference_mode():
            tensors = module(torch.from_numpy(frames_btchw))
        return {name: tensor.numpy() for name, tensor in tensors.items()}

    return run


def _parts(network: VideoNetwork, target: Path) -> tuple[Part, ...]:
    """What goes into files of its own."""
    if target.suffix != ".onnx" or not network.f_stands_alone:
        return ("whole",)
    return ("f", "branches") if {"h", "g"} & {*network.config.branches} else ("f",)


def _for_the_engine(network: VideoNetwork, staged: Path) -> dict[str, Any]:
    """What `runtimes.onnx_engine` checks of the files."""
    logits_b = run_torch(ByName(network).eval())(check_frames(network.config))["logit"]
    about = {"sha256": sha256_of(staged), "check_logits": logits_b.tolist()}
    branches = branches_path(staged)
    return about | ({"branches_sha256": sha256_of(branches)} if branches.is_file() else {})


_Write = Callable[[ExportedProgram, Path, Mapping[str, Any], Sequence[str]], None]
_KINDS: Mapping[str, tuple[_Write, Callable[[Path], Run]]] = {
    ".onnx": (write_onnx, run_onnx),
    ".pt2": (_write_pt2, _run_pt2),
}


def _require_finite(model: str, answers: Sequence[tuple[Pixels, Numbers]]) -> None:
    for _, numbers in answers:
        for name, y in numbers.items():
            if not bool(np.isfinite(y).all()):
                raise InputError(
                    f"{model}: its {name} is not a finite number on random frames, so there is "
                    "nothing to compare an export with; train it again"
                )


def _compare(target: Path, run: Run, answers: Sequence[tuple[Pixels, Numbers]]) -> dict[str, float]:
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
    for file in (path, description(path), branches_path(path), _weights_path(path)):
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


def _weights_path(path: Path) -> Path:
    # The name that the exporter gives it.
    return path.with_name(f"{path.name}.data")
