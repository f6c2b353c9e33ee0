"""Interrupted runs on disk: safetensors for numbers, JSON for everything else.

    run folder
        checkpoints/step-00000120/
            weights.safetensors
            optimizer.safetensors
            average.safetensors    (training.ema_decay)
            checkpoint.json
        checkpoints/last -> step-00000120
        checkpoints/best -> step-00000090

Nothing is unpickled. Finished models are written by `model.model_file`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.optim import Optimizer

from fakestormer.errors import InputError
from fakestormer.model.document import FORMAT, code_version, read_json, write_json
from fakestormer.model.network import VideoNetwork
from fakestormer.model.weights import load_weights, save_weights, write_tensors

_START_AGAIN = "start the run again in another folder"
#: The moving average of the weights, within a checkpoint.
AVERAGE = "average.safetensors"


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
    write_tensors(partial / "optimizer.safetensors", _optimizer_tensors(network, optimizer))
    if average is not None:
        save_weights(average, partial / AVERAGE)
    document = {
        "format": FORMAT,
        "recipe": dict(recipe_json),
        "state": state.model_dump(),
        "code": code_version(),
    }
    write_json(partial / "checkpoint.json", document)
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
    document = read_json(path)
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


def _point(link: Path, target: str) -> None:
    """Make `link` a relative symbolic link to `target`, in one step."""
    fresh = link.with_name(f".{link.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(link)
