"""Models and interrupted runs on disk: safetensors for numbers, JSON for everything else.

    model (for users)            run folder
        model.safetensors            checkpoints/step-00000120/
        model.json                       weights.safetensors
                                         optimizer.safetensors
                                         average.safetensors    (training.ema_decay)
                                         checkpoint.json
                                     checkpoints/last -> step-00000120
                                     checkpoints/best -> step-00000090

Nothing is unpickled, so a file from a stranger can be wrong but not run code. Needs none of what
training needs.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim import Optimizer

from fakestormer.errors import InputError
from fakestormer.files import sha256_of, write_atomically
from fakestormer.model.build import build
from fakestormer.model.network import VideoNetwork
from fakestormer.model.weights import load_weights, save_weights
from fakestormer.recipe.model import ModelConfig

_START_AGAIN = "start the run again in another folder"
#: The moving average of the weights, within a checkpoint.
AVERAGE = "average.safetensors"
#: Layout of the JSON beside the weights.
FORMAT = 1


class RunState(BaseModel):
    """Where a run stands, and what must not have changed when it goes on.

    step: finished steps. metrics: of the last validation, best: of the best one (empty before the
    first). tracks, validation: SHA-256 of the training tracks' list and of the validation set.
    pretrained: the parameters that came from pre-trained weights. seconds: spent so far, 0 where an
    older program did not count them. processes: how many wrote it, for the record.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: int
    metrics: dict[str, float]
    best: dict[str, float]
    tracks: str
    validation: str
    pretrained: tuple[str, ...] = ()
    seconds: float = 0.0
    processes: int = 1


def save_model(
    path: str | Path,
    network: VideoNetwork,
    recipe_json: Mapping[str, Any],
    metrics: Mapping[str, Any],
    *,
    face_backend: str | None = None,
    licence: str | None = None,
) -> Path:
    """Write a model for `load_model`: `path` is a folder, or the `.safetensors` file itself.

    recipe_json: the whole recipe, JSON-able, with the network's configuration under "model".
    metrics: JSON-able, what is known about its quality. face_backend: name of the one that found
    the training faces, None where unknown. licence: of weights that are not ours, kept in the JSON.
    Returns the path of the weights. Each file replaces an older one only when it is complete; the
    JSON holds the hash of its weights.
    """
    weights = _weights_path(Path(path))
    weights.parent.mkdir(parents=True, exist_ok=True)
    save_weights(network, weights)
    document = {
        "format": FORMAT,
        "recipe": dict(recipe_json),
        "metrics": dict(metrics),
        "face_backend": face_backend,
        "code": code_version(),
        "weights_sha256": sha256_of(weights),
    }
    if licence is not None:
        document["licence"] = licence
    _write_json(weights.with_suffix(".json"), document)
    return weights


def is_model(path: str | Path) -> bool:
    """Whether this is a model of ours, weights with their JSON, or the folder that holds one."""
    weights = _weights_path(Path(path))
    described = weights.with_suffix(".json")
    return weights.suffix == ".safetensors" and weights.is_file() and described.is_file()


def load_model(path: str | Path) -> tuple[VideoNetwork, dict[str, Any]]:
    """The network, in evaluation mode on the CPU, and the document that `save_model` wrote.

    Raises InputError when one of the two files is missing, when the weights are not those the
    document was written for, or when they do not fit its configuration.
    """
    weights = _weights_path(Path(path))
    described = weights.with_suffix(".json")
    for file in (weights, described):
        if not file.is_file():
            raise InputError(
                f"{file}: no such file; a model is a .safetensors file with its .json beside it"
            )
    document = _read_json(described)
    if document.get("format") != FORMAT:
        raise InputError(
            f"{described}: format {document.get('format')!r}, this program reads {FORMAT}; use a "
            "model and a program of the same age"
        )
    expected, found = document.get("weights_sha256"), sha256_of(weights)
    if expected != found:
        raise InputError(
            f"{weights}: SHA-256 {found}, but its .json describes weights with {expected}; the two "
            "files belong to different models, or one is damaged"
        )
    try:
        config = ModelConfig.model_validate(document["recipe"]["model"])
    except (KeyError, TypeError, ValidationError) as error:
        raise InputError(f"{described}: holds no usable network configuration ({error})") from error
    network = build(config)
    load_weights(network, weights)
    return network.eval(), document


def code_version() -> dict[str, str]:
    """What made the numbers."""
    return {"fakestormer": version("fakestormer"), "torch": str(torch.__version__)}


def save_checkpoint(
    run: Path,
    network: VideoNetwork,
    optimizer: Optimizer,
    state: RunState,
    recipe_json: Mapping[str, Any],
    *,
    best: bool,
    average: VideoNetwork | None = None,
) -> Path:
    """Write `checkpoints/step-...`, point `last` (and `best`) to it, remove what nothing points to.

    average: holds the moving average of the weights, where the run keeps one.

    A kill at any moment leaves `last` pointing to a complete checkpoint, and `best` never behind
    what the state of `last` says of it.
    """
    checkpoints = run / "checkpoints"
    checkpoints.mkdir(parents=True, exist_ok=True)
    folder = checkpoints / f"step-{state.step:08d}"
    partial = checkpoints / f".partial-{folder.name}"
    for leftover in (partial, folder):  # of a run killed before `last` pointed there
        if leftover.exists():
            shutil.rmtree(leftover)
    partial.mkdir()
    save_weights(network, partial / "weights.safetensors")
    save_file(_optimizer_tensors(network, optimizer), partial / "optimizer.safetensors")
    if average is not None:
        save_weights(average, partial / AVERAGE)
    document = {
        "format": FORMAT,
        "recipe": dict(recipe_json),
        "state": state.model_dump(),
        "code": code_version(),
    }
    _write_json(partial / "checkpoint.json", document)
    partial.rename(folder)
    if best:
        _point(checkpoints / "best", folder.name)
    _point(checkpoints / "last", folder.name)
    pointed = {
        os.readlink(link)
        for link in (checkpoints / "last", checkpoints / "best")
        if link.is_symlink()
    }
    for old in checkpoints.glob("step-*"):
        if old.name not in pointed:
            shutil.rmtree(old)
    return folder


def read_state(checkpoint: Path) -> tuple[RunState, dict[str, Any]]:
    """The state of a run and its recipe. Raises InputError for a missing or damaged checkpoint."""
    path = checkpoint / "checkpoint.json"
    if not path.is_file():
        raise InputError(f"{checkpoint}: no checkpoint here to go on from; start without resuming")
    document = _read_json(path)
    try:
        return RunState.model_validate(document["state"]), dict(document["recipe"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: is damaged; {_START_AGAIN}") from error


def restore(checkpoint: Path, network: VideoNetwork, optimizer: Optimizer | None = None) -> None:
    """Fill the network, and the optimizer where one is given, from a checkpoint folder.

    Raises InputError when the optimizer's file is missing or damaged.
    """
    load_weights(network, checkpoint / "weights.safetensors")
    if optimizer is None:
        return
    path = checkpoint / "optimizer.safetensors"
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: is missing or damaged; {_START_AGAIN}") from error
    per_parameter: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        name, _, quantity = key.rpartition("/")
        per_parameter.setdefault(name, {})[quantity] = tensor
    names = _parameter_names(network, optimizer)
    optimizer.load_state_dict(
        {
            "state": {
                index: per_parameter[name]
                for index, name in enumerate(names)
                if name in per_parameter
            },
            "param_groups": optimizer.state_dict()["param_groups"],
        }
    )


def restore_average(checkpoint: Path, network: VideoNetwork) -> None:
    """Fill the network with the moving average of a checkpoint. Raises InputError without one."""
    path = checkpoint / AVERAGE
    if not path.is_file():
        raise InputError(f"{path}: no such file; {_START_AGAIN}")
    load_weights(network, path)


def _optimizer_tensors(network: VideoNetwork, optimizer: Optimizer) -> dict[str, Tensor]:
    """{"blocks.0...weight/exp_avg": tensor}; the rest of the state follows from recipe and step."""
    names = _parameter_names(network, optimizer)
    return {
        f"{names[index]}/{quantity}": tensor.detach().cpu().contiguous()
        for index, quantities in optimizer.state_dict()["state"].items()
        for quantity, tensor in quantities.items()
    }


def _parameter_names(network: VideoNetwork, optimizer: Optimizer) -> list[str]:
    """Names in the optimizer's order."""
    name_of = {id(parameter): name for name, parameter in network.named_parameters()}
    return [name_of[id(p)] for group in optimizer.param_groups for p in group["params"]]


def _weights_path(path: Path) -> Path:
    return path if path.suffix == ".safetensors" else path / "model.safetensors"


def _point(link: Path, target: str) -> None:
    """Make `link` a relative symbolic link to `target`, in one step."""
    fresh = link.with_name(f".{link.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(link)


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    write_atomically(path, (json.dumps(document, indent=2, allow_nan=False) + "\n").encode())


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: is not readable as JSON ({error})") from error
    if not isinstance(document, dict):
        raise InputError(f"{path}: expected a JSON object; it is not a description of a model")
    return document
