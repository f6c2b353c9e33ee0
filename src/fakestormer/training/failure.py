"""A step whose loss or gradient was not finite, kept so that it can be looked at.

RUN/failed-step-00000042/failure.json          what follows
RUN/failed-step-00000042/weights.safetensors   the weights before the step
RUN/failed-step-00000042/batch.safetensors     the pairs as the network got them: frames, targets

failure.json: message, the sentence of the error. step, epoch: from 0. parts: in how many parts the
batch was taken, over all processes. losses: total, f, h and g of every part up to where its process
stopped, as text, because they need not be numbers. frozen: parameters that did not train. device:
of the first process. code, recipe. clips: of the whole batch, each with its id, as messages name
it, everything random about it, and whether the loss of its part was not finite ("suspect").
docs/quickstart.md computes the losses once more from these files.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed
from einops import rearrange
from lightning_fabric import Fabric
from torch import Tensor

from fakestormer.data.loaders import PairBatch, TrainingClips
from fakestormer.model.document import code_version, write_json
from fakestormer.model.network import VideoNetwork
from fakestormer.model.weights import save_weights, write_tensors
from fakestormer.recipe.recipe import Recipe
from fakestormer.training.step import NonFiniteLossError, PartLosses
from fakestormer.types.tensors import changed, fields_of

#: Layout of failure.json.
FORMAT = 1


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
        failed = {
            "format": FORMAT,
            "message": str(final),
            "step": error.step,
            "epoch": keys[0][0],
            "parts": fabric.world_size * recipe.training.accumulate,
            "losses": {part: values.as_text() for part, values in sorted(losses.items())},
            "frozen": [name for name, p in network.named_parameters() if not p.requires_grad],
            "device": str(fabric.device),
            "code": code_version(),
            "clips": [
                {
                    "id": source,
                    "suspect": source in suspects,
                    "params": clips[key].params[0].model_dump(mode="json"),
                }
                for key, source in zip(keys, whole.sources, strict=True)
            ],
            "recipe": recipe.model_dump(mode="json"),
        }
        write_json(folder / "failure.json", failed)
    fabric.barrier()  # an error ends the other processes: not before all of it is written
    return final


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
