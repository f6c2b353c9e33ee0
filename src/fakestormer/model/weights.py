"""Weights to and from files: our own safetensors, and MAE's ViT as published in three layouts.

Legend of shapes: n positions N = G * G, m new positions, d channels D, t frames T.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from fakestormer.errors import InputError
from fakestormer.model.efficientnet import EfficientNetStem, load_published
from fakestormer.model.fakestormer import copy_spatial_to_temporal
from fakestormer.model.layouts import (
    POSITION,
    TIME,
    comes_from_image_model,
    from_transformers,
    is_ignored,
    is_original,
    is_transformers,
    our_names,
)
from fakestormer.model.network import VideoNetwork
from fakestormer.model.pth import read_pth


@dataclass(frozen=True, slots=True)
class PretrainedReport:
    """What `load_pretrained` loaded.

    layout: "original", "timm" or "transformers". loaded: our parameters that now hold pre-trained
    values, the ones to freeze in the warm-up. new: our parameters with no counterpart in an image
    model. ignored: keys of the file left out on purpose (MAE's decoder, classifiers). resized:
    those of ours that were interpolated.
    """

    layout: str
    loaded: frozenset[str]
    new: tuple[str, ...]
    ignored: tuple[str, ...]
    resized: tuple[str, ...]


def save_weights(network: VideoNetwork, path: str | Path) -> None:
    """Write all weights and BatchNorm statistics as safetensors; an older file stays until done."""
    path = Path(path)
    state = {
        name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()
    }
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        save_file(state, temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def load_weights(network: VideoNetwork, path: str | Path) -> None:
    """Fill the network with weights that `save_weights` wrote.

    Strict: every missing, unexpected and misshapen key is named in one InputError (a ValueError),
    and then nothing is loaded.
    """
    state = _read_safetensors(Path(path))
    current = network.state_dict()
    problems = [f"missing {name}" for name in current if name not in state]
    problems += [f"unexpected {name}" for name in state if name not in current]
    problems += [
        f"misshapen {_shapes(name, state[name], current[name])}"
        for name in current
        if name in state and state[name].shape != current[name].shape
    ]
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
    """Start FakeSTormer or the plain TimeSformer from an MAE ViT encoder.

    path: .safetensors, or what torch.save wrote (.pth, .bin), in the layout of MAE's authors, of
    timm or of transformers, recognised by its keys. MAE's class token becomes the spatial token and
    its final norm goes to patch and spatial tokens (the plain TimeSformer has a class token and one
    norm, as MAE has); position embeddings are interpolated to our grid. With
    temporal_init "copy_spatial" the temporal attentions start from the loaded spatial ones (they
    count as new: they train in the warm-up). Only tensors are read from .pth files, no objects.

    Raises one InputError that names all missing, unexpected and mismatched keys, and then nothing
    is loaded; also for a network that is no such transformer, and for a file that is none.
    """
    path = Path(path)
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
    vit = _read_vit(path)
    current = network.state_dict()
    tensors: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    unexpected = list(vit.not_tensors)
    for key, tensor in vit.tensors.items():
        known = [name for name in our_names(key) if name in current]
        if not known:
            unexpected.append(key)
        for name in known:
            tensors[name], origin[name] = tensor, key
    resized = _resized(tensors, network)
    tensors |= resized
    mismatched = [name for name in tensors if tensors[name].shape != current[name].shape]
    missing = [n for n in current if comes_from_image_model(n) and n not in tensors]
    problems = [
        *(f"missing {name}" for name in missing),
        *(f"unexpected {key}" for key in unexpected),
        *(f"misshapen {_shapes(origin[n], tensors[n], current[n])}" for n in mismatched),
    ]
    if problems:
        raise InputError(
            f"{path}: does not fit this network ({'; '.join(problems)}); the paper starts from "
            f"MAE ViT-B/16, which fits the base network"
        )
    network.load_state_dict(tensors, strict=False)
    if network.config.temporal_init == "copy_spatial":
        copy_spatial_to_temporal(network)
    return PretrainedReport(
        layout=vit.layout,
        loaded=frozenset(tensors),
        new=tuple(n for n, _ in network.named_parameters() if not comes_from_image_model(n)),
        ignored=vit.ignored,
        resized=tuple(resized),
    )


def load_stem(network: VideoNetwork) -> frozenset[str]:
    """Start an EfficientNet stem from ImageNet's weights, where the configuration says so.

    Returns the names of the parameters that then hold pre-trained values; none for other stems.
    Raises SetupError where the weights are not installed.
    """
    config = network.config
    if not config.pretrained_stem:
        return frozenset()
    loaded: set[str] = set()
    for place, module in network.named_modules():
        if isinstance(module, EfficientNetStem):
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


@dataclass(frozen=True, slots=True)
class _ViT:
    """A checkpoint with timm's key names; class token (D,), position embedding (1 + N, D)."""

    layout: str
    tensors: dict[str, Tensor]
    ignored: tuple[str, ...]
    not_tensors: tuple[str, ...]


def _read_vit(path: Path) -> _ViT:
    state: Any = _read_safetensors(path) if path.suffix == ".safetensors" else read_pth(path)
    wrapped = isinstance(state.get("model"), dict)
    entries: dict[str, Any] = state["model"] if wrapped else state
    if not all(isinstance(key, str) for key in entries):
        raise InputError(f"{path}: its keys are not names of weights; give an MAE ViT's checkpoint")
    ignored = tuple(sorted(key for key in entries if is_ignored(key)))
    tensors = {
        key: entry
        for key, entry in entries.items()
        if isinstance(entry, Tensor) and key not in ignored
    }
    not_tensors = tuple(sorted(entries.keys() - tensors.keys() - set(ignored)))
    layout = "original" if wrapped or is_original(entries) else "timm"
    if is_transformers(tensors):
        layout, tensors = "transformers", from_transformers(tensors)
    if "patch_embed.proj.weight" not in tensors:
        raise InputError(
            f"{path}: no ViT in a layout known here (original MAE, timm, transformers); its keys "
            f"begin with {', '.join(sorted(map(str, entries))[:3]) or 'nothing at all'}"
        )
    # Published with leading axes of size 1.
    for key, ndim in (("cls_token", 1), ("pos_embed", 2)):
        while key in tensors and tensors[key].ndim > ndim and len(tensors[key]) == 1:
            tensors[key] = tensors[key][0]
    return _ViT(layout, tensors, ignored, not_tensors)


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


def _read_safetensors(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        return dict(load_file(path))
    except SafetensorError as error:
        raise InputError(
            f"{path}: not a readable safetensors file ({error}); fetch or save it again"
        ) from error
