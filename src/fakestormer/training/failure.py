"""A step whose loss or gradient was not finite, kept so that it can be done again and looked at.

RUN/failed-step-00000042/failure.json          recipe, step, losses, clips with their draws
RUN/failed-step-00000042/weights.safetensors   the weights before the step
RUN/failed-step-00000042/batch.safetensors     the pairs as the network got them

replay(RUN / "failed-step-00000042")           # the same step, in one process, on the CPU
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from einops import rearrange
from lightning_fabric import Fabric
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from fakestormer.data.loaders import PairBatch, TrainingClips
from fakestormer.errors import InputError
from fakestormer.files import write_atomically
from fakestormer.model.build import build
from fakestormer.model.document import code_version
from fakestormer.model.network import VideoNetwork
from fakestormer.model.weights import load_weights, save_weights, write_tensors
from fakestormer.recipe.model import ModelConfig
from fakestormer.recipe.recipe import Recipe
from fakestormer.recipe.training import TrainingConfig
from fakestormer.synthesis.params import ClipParams
from fakestormer.training.sam import SAM
from fakestormer.training.schedule import freeze
from fakestormer.training.step import AsTensors, NonFiniteLossError, PartLosses, training_step
from fakestormer.types.network import Targets
from fakestormer.types.tensors import changed, fields_of


class FailedClip(BaseModel):
    """A pair of the batch. id: as messages name it. params: everything random about it. suspect:
    the loss of its part of the batch was not finite.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    suspect: bool
    params: ClipParams


class FailedStep(BaseModel):
    """What failure.json holds.

    message: the sentence of the error. step, epoch: from 0. parts: in how many parts the batch was
    taken, over all processes. losses: total, f, h and g of every part up to where its process
    stopped, as text, because they need not be numbers. frozen: parameters that did not train.
    device: of the first process. clips: the whole batch.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = 1
    message: str
    step: int
    epoch: int
    parts: int
    losses: dict[int, dict[str, str]]
    frozen: tuple[str, ...]
    device: str
    code: dict[str, str]
    clips: tuple[FailedClip, ...]
    recipe: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What a failed step gave when it was done again.

    message: what stopped it, "" where everything was finite this time. losses: by part of the
    batch, up to the one at which it stopped.
    """

    message: str
    losses: dict[int, PartLosses]


def write_failure(
    out: Path,
    error: NonFiniteLossError,
    *,
    fabric: Fabric,
    recipe: Recipe,
    clips: TrainingClips,
    batch: PairBatch,
    network: VideoNetwork,
) -> NonFiniteLossError:
    """Keep the step of `error` under `out`. All processes call this, each with its share `batch`.

    network: with the weights before the step. Returns the error to raise: the same for all of them,
    naming the clips of all and the folder.
    """
    whole = _gathered(fabric, batch)
    shared: list[tuple[dict[int, PartLosses], tuple[str, ...]]] = [(error.losses, error.clips)]
    if fabric.world_size > 1:
        shared = shared * fabric.world_size
        torch.distributed.all_gather_object(shared, (error.losses, error.clips))
    losses = {part: values for process, _ in shared for part, values in process.items()}
    suspects = tuple(dict.fromkeys(clip for _, process in shared for clip in process))
    folder = out / f"failed-step-{error.step:08d}"
    final = NonFiniteLossError(error.step, error.what, losses, suspects, kept=folder)
    if fabric.is_global_zero:
        folder.mkdir(parents=True, exist_ok=True)
        save_weights(network, folder / "weights.safetensors")
        write_tensors(folder / "batch.safetensors", _tensors(whole))
        keys = clips.plan.keys(error.step)
        failed = FailedStep(
            message=str(final),
            step=error.step,
            epoch=keys[0][0],
            parts=fabric.world_size * recipe.training.accumulate,
            losses={part: values.as_text() for part, values in sorted(losses.items())},
            frozen=tuple(name for name, p in network.named_parameters() if not p.requires_grad),
            device=str(fabric.device),
            code=code_version(),
            clips=tuple(
                FailedClip(id=source, suspect=source in suspects, params=clips[key].params[0])
                for key, source in zip(keys, whole.sources, strict=True)
            ),
            recipe=recipe.model_dump(mode="json"),
        )
        write_atomically(
            folder / "failure.json", (failed.model_dump_json(indent=2) + "\n").encode()
        )
    fabric.barrier()  # an error ends the other processes: not before all of it is written
    return final


def replay(folder: Path) -> Replayed:
    """Do a failed step again, on the CPU, in one process: the same batch, draws and weights.

    Several processes become as many parts of the batch, which is the same up to rounding. Raises
    InputError where a file is missing or damaged.
    """
    path = folder / "failure.json"
    try:
        failed = FailedStep.model_validate_json(path.read_bytes())
        config = TrainingConfig.model_validate(
            failed.recipe["training"] | {"accumulate": failed.parts}
        )
        model = ModelConfig.model_validate(failed.recipe["model"])
    except OSError as error:
        raise InputError(
            f"{folder}: holds no failed step ({error.strerror}); name a failed-step-... folder"
        ) from error
    except (KeyError, TypeError, ValidationError) as error:
        raise InputError(f"{path}: is damaged, or of another version of this program") from error
    network = build(model)
    load_weights(network, folder / "weights.safetensors")
    network.train()
    fabric = Fabric(accelerator="cpu", devices=1, precision=config.precision)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.0)
    module, stepper = fabric.setup(AsTensors(network), optimizer)
    freeze(network, failed.frozen)
    batch = _read_batch(folder / "batch.safetensors", failed)
    seen: dict[int, PartLosses] = {}
    try:
        training_step(
            fabric, module, stepper, SAM(optimizer, config.sam_rho), batch, config,
            step=failed.step, losses_by_part=seen,
        )  # fmt: skip
    except NonFiniteLossError as error:
        return Replayed(message=str(error), losses=error.losses)
    return Replayed(message="", losses=seen)


def _gathered(fabric: Fabric, batch: PairBatch) -> PairBatch:
    """The whole batch, in the plan's order: process r holds its pairs r, r + W, r + 2 W, ..."""
    world = fabric.world_size
    if world == 1:
        return batch
    sources: list[tuple[str, ...]] = [()] * world
    torch.distributed.all_gather_object(sources, batch.sources)

    def together(tensor: Tensor) -> Tensor:
        # gloo and NCCL know no booleans
        is_boolean = tensor.dtype == torch.bool
        gathered = fabric.all_gather(tensor.to(torch.uint8) if is_boolean else tensor)
        assert isinstance(gathered, Tensor)
        paired = rearrange(gathered, "w (twin b) ... -> (twin b w) ...", twin=2)
        return paired.to(tensor.dtype)

    return PairBatch(
        frames=together(batch.frames),
        targets=changed(batch.targets, together),
        sources=tuple(source for turn in zip(*sources, strict=True) for source in turn),
    )


def _tensors(batch: PairBatch) -> dict[str, Tensor]:
    named = fields_of(batch.targets) | {"frames": batch.frames}
    return {name: tensor.detach().cpu().contiguous() for name, tensor in named.items()}


def _read_batch(path: Path, failed: FailedStep) -> PairBatch:
    try:
        tensors = load_file(path)
        frames = tensors.pop("frames")
        targets = Targets(**tensors)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: is missing or damaged ({error})") from error
    return PairBatch(
        frames=frames, targets=targets, sources=tuple(clip.id for clip in failed.clips)
    )
