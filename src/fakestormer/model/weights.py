"""Weights to and from files: our own safetensors, and published image towers.

Legend of shapes: n positions N = G * G, m new positions, d channels D, t frames T.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from fakestormer.errors import InputError
from fakestormer.files import write_atomically
from fakestormer.model.efficientnet import EfficientNetFeatures, load_published
from fakestormer.model.fakestormer import copy_spatial_to_temporal
from fakestormer.model.layouts import POSITION, TIME, comes_from_image_model, our_names
from fakestormer.model.network import VideoNetwork
from fakestormer.model.towers import read_safetensors, read_tower


@dataclass(frozen=True, slots=True)
class PretrainedReport:
    """What `load_pretrained` loaded.

    tower: who trained it (`layouts.TowerName`). layout: "original", "timm" or "transformers".
    loaded: our parameters that now hold pre-trained
    values, the ones to freeze in the warm-up. new: our parameters with no counterpart in an image
    model. ignored: keys of the file left out on purpose (MAE's decoder, classifiers). resized:
    those of ours that were interpolated.
    """

    tower: str
    layout: str
    loaded: frozenset[str]
    new: tuple[str, ...]
    ignored: tuple[str, ...]
    resized: tuple[str, ...]


def save_weights(network: VideoNetwork, path: str | Path) -> None:
    """Write all weights and BatchNorm statistics as safetensors; an older file stays until done."""
    state = {
        name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()
    }
    write_tensors(Path(path), state)


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write safetensors that others may read as any new file; those of `save_file` they may not."""
    write_atomically(path, save(dict(tensors)))


def load_weights(network: VideoNetwork, path: str | Path) -> None:
    """Fill the network with weights that `save_weights` wrote.

    Strict: every missing, unexpected and misshapen key is named in one InputError (a ValueError),
    and then nothing is loaded.
    """
    state = read_safetensors(Path(path))
    current = network.state_dict()
    problems = [f"missing {name}" for name in current if name not in state]
    problems += [f"unexpected {name}" for name in state if name not in current]
    problems += [
        f"misshapen {_shapes(name, state[name], current[name])}"
        for name in current
        if name in state and state[name].shape != current[name].shape
    ]
    if any(problem.startswith(("misshapen f.mean:", "missing f.axes")) for problem in problems):
        raise InputError(
            f"{path}: its f was fitted by another version of the program; run `fakestormer fit` of "
            "this one on the model that it was fitted from"
        )
    if problems:
        raise InputError(
            f"{path}: these weights are not of this network ({'; '.join(problems)}); build the "
            f"network from the configuration that is stored beside the weights"
        )
    network.load_state_dict(state)


def start_from(network: VideoNetwork, other: VideoNetwork) -> None:
    """Take over the weights of a network that differs in T or in the heads beside f alone."""
    state = other.state_dict()
    state |= _resized(state, network)
    current = network.state_dict()
    network.load_state_dict({name: state.get(name, tensor) for name, tensor in current.items()})


def load_pretrained(network: VideoNetwork, path: str | Path) -> PretrainedReport:
    """Start FakeSTormer or the plain TimeSformer from an image tower (`read_tower` says which).

    The class token becomes the spatial token and the final norm goes to patch and spatial tokens
    (the plain TimeSformer has a class token and one norm, as a ViT has); position embeddings are
    interpolated to our grid, and are zero for a tower that has none. With temporal_init
    "copy_spatial" the temporal attentions start from the loaded spatial ones (they count as new:
    they train in the warm-up). Only tensors are read from .pth files, no objects.

    Raises one InputError that names all missing, unexpected and mismatched keys, and then nothing
    is loaded; also for a network that is no such transformer, and for a file that is none.
    """
    path = Path(path)
    _require_a_vit(network, path)
    tower = read_tower(path)
    current = network.state_dict()
    tensors: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    unexpected = list(tower.not_tensors)
    for plain, tensor in tower.tensors_for(network.config.heads).items():
        known = [name for name in our_names(plain) if name in current]
        if not known:
            unexpected.append(tower.origin.get(plain, plain))
        for name in known:
            tensors[name], origin[name] = tensor, tower.origin.get(plain, plain)
    resized = _resized(tensors, network)
    tensors |= resized
    zero = set()
    if not tower.has_positions:
        tensors[POSITION], zero = torch.zeros_like(current[POSITION]), {POSITION}
    mismatched = [name for name in tensors if tensors[name].shape != current[name].shape]
    missing = [n for n in current if comes_from_image_model(n) and n not in tensors]
    problems = [
        *(f"missing {name}" for name in missing),
        *(f"unexpected {key}" for key in unexpected),
        *(f"misshapen {_shapes(origin[n], tensors[n], current[n])}" for n in mismatched),
    ]
    if tower.rotary != network.config.rotary:
        problems.append(f"{tower.name} has rotary positions '{tower.rotary}': set model.rotary")
    if problems:
        raise InputError(
            f"{path}: does not fit this network ({'; '.join(problems)}); the paper starts from "
            f"MAE ViT-B/16, which fits the base network; recipe foundation takes its sizes from "
            f"the file"
        )
    network.load_state_dict(tensors, strict=False)
    if network.config.temporal_init == "copy_spatial":
        copy_spatial_to_temporal(network)
    loaded = frozenset(tensors) - zero
    return PretrainedReport(
        tower=tower.name,
        layout=tower.layout,
        loaded=loaded,
        new=tuple(n for n, _ in network.named_parameters() if n not in loaded),
        ignored=tower.ignored,
        resized=tuple(resized),
    )


def _require_a_vit(network: VideoNetwork, path: Path) -> None:
    """Raises InputError for a network that has no counterpart in a ViT for images."""
    architecture = network.config.architecture
    if architecture not in ("fakestormer", "timesformer"):
        raise InputError(
            f"{path}: architecture '{architecture}' does not start from a ViT for images; train it "
            f"without starting weights, or choose 'fakestormer' or 'timesformer'"
        )
    if network.config.stem != "patch":
        raise InputError(
            f"{path}: a stem of convolutions has no counterpart in a ViT; use stem='patch'"
        )


def load_stem(network: VideoNetwork) -> frozenset[str]:
    """Start every EfficientNet from ImageNet's weights, where the configuration says so.

    Returns the names of the parameters that then hold pre-trained values; none for other stems.
    Raises SetupError where the weights are not installed.
    """
    config = network.config
    if not config.pretrained_stem:
        return frozenset()
    loaded: set[str] = set()
    for place, module in network.named_modules():
        if isinstance(module, EfficientNetFeatures):
            loaded |= {f"{place}.{name}" for name in load_published(module)}
    return frozenset(loaded)


def resize_positions(position: Tensor, grid: int) -> Tensor:
    """Position embedding (1 + n, d) -> (1 + grid * grid, d); slot 0 is kept.

    Linear between the centres of patches, which lie at (i + 1/2) / G of the frame, and on along
    the outermost slope beyond the outermost centres: ramps over the frame stay what they are.
    """
    if not _is_square(len(position) - 1):
        raise ValueError(f"position embedding: {len(position) - 1} positions are no square grid")
    old = math.isqrt(len(position) - 1)
    if old == grid:
        return position
    centres = (torch.arange(grid, dtype=torch.float64) + 0.5) * old / grid - 0.5
    weights = _linear_weights(old, centres)
    table = position[1:].double().reshape(old, old, -1)
    resized = torch.einsum("ab, cd, bde -> ace", weights, weights, table).reshape(grid * grid, -1)
    return torch.cat([position[:1], resized.to(position.dtype)])


def resize_time(time: Tensor, frames: int, *, extra: int = 1) -> Tensor:
    """Time embedding (t + extra, d) -> (frames + extra, d); the extra slots at the end are kept.

    Linear in time; the first and the last frame keep their embeddings. FakeSTormer has one extra
    slot, "no frame in particular", the plain TimeSformer none.
    """
    old = len(time) - extra
    if old == frames:
        return time
    weights = _linear_weights(old, torch.linspace(0, old - 1, frames, dtype=torch.float64))
    return torch.cat([(weights @ time[:old].double()).to(time.dtype), time[old:]])


def _linear_weights(old: int, at: Tensor) -> Tensor:
    """(len(at), old): linear interpolation of values at 0..old-1, extrapolating outside."""
    if old == 1:
        return torch.ones(len(at), 1, dtype=at.dtype)
    below = at.floor().clamp(0, old - 2)
    share = at - below
    weights = torch.zeros(len(at), old, dtype=at.dtype)
    rows = torch.arange(len(at))
    weights[rows, below.long()] = 1 - share
    weights[rows, below.long() + 1] = share
    return weights


def _resized(state: Mapping[str, Tensor], network: VideoNetwork) -> dict[str, Tensor]:
    """The position and time embeddings of `state` that need another length, interpolated."""
    resized = {}
    config = network.config
    position = state.get(POSITION)
    if (
        position is not None
        and len(position) != 1 + config.grid**2
        and _is_square(len(position) - 1)
    ):
        resized[POSITION] = resize_positions(position, config.grid)
    time, embedding = state.get(TIME), network.state_dict().get(TIME)
    if time is not None and embedding is not None:
        extra = len(embedding) - config.frames
        if len(time) > extra and len(time) != len(embedding):
            resized[TIME] = resize_time(time, config.frames, extra=extra)
    return resized


def _is_square(count: int) -> bool:
    return count > 0 and math.isqrt(count) ** 2 == count


def _shapes(key: str, file: Tensor, network: Tensor) -> str:
    return f"{key}: file {tuple(file.shape)}, network {tuple(network.shape)}"
