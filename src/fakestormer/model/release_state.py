"""A state of the released network, from a stranger's file: which sizes it has, whether it fits.

Everything here is a function of names and tensors; files are the business of who calls it.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import TypeGuard

import torch
from pydantic import ValidationError
from torch import Tensor

from fakestormer.errors import InputError
from fakestormer.model.release import ReleaseNetwork
from fakestormer.recipe.model import ModelConfig

# Channels per attention head in a ViT; weights do not tell how many heads they are for.
_HEAD_WIDTH = 64

_G = "keypoint_head.temp_loc"
_BLOCK = re.compile(r"backbone\.blocks\.(\d{1,3})\.")  # three digits: no file builds 10^9 blocks


def release_config(state: Mapping[str, object], heads: int | None, source: str) -> ModelConfig:
    """The sizes of the network that a state is of: what most of its tensors say.

    heads: None takes D / 64. source: the file, for messages. Where nothing tells a size it is the
    paper's, so that `fitting` can name every missing key. Raises InputError for sizes that no such
    network can have.
    """
    shapes = {name: tuple(value.shape) for name, value in state.items() if _is_plain(value)}
    width = _size(shapes, r"backbone\.(.*norm\w*\.weight|\w+_token|\w+_embed)", -1) or 768
    hidden = _size(shapes, r".*\.mlp\.fc1\.(weight|bias)", 0) or 4 * width
    slots = _size(shapes, r"backbone\.time_embed", -2)
    frames = _size(shapes, rf"{_G}\.fc_out\.(weight|bias)", 0) or (slots or 5) - 1
    patch = _size(shapes, r"backbone\.patch_embed\.proj\.weight", -1) or 16
    grid = math.isqrt((_size(shapes, r"backbone\.pos_embed", -2) or 197) - 1)
    blocks = [int(block[1]) for name in shapes if (block := _BLOCK.match(name))]
    if heads is None and width % _HEAD_WIDTH:
        raise InputError(
            f"{source}: is {width} channels wide, which is no multiple of {_HEAD_WIDTH}, so the "
            "number of attention heads cannot be guessed; give it with --heads"
        )
    try:
        return ModelConfig(
            architecture="release",
            tokens="averaged",
            width=width,
            depth=max(blocks) + 1 if blocks else 12,
            heads=heads or width // _HEAD_WIDTH,
            mlp_ratio=hidden / width,
            patch_size=patch,
            image_size=patch * grid,
            frames=frames,
        )
    except ValidationError as error:
        reasons = "; ".join(
            ": ".join([*map(str, each["loc"]), each["msg"].removeprefix("Value error, ")])
            for each in error.errors()
        )
        raise InputError(
            f"{source}: its tensors do not make a released network ({reasons})"
        ) from error


def fitting(state: Mapping[str, object], config: ModelConfig, source: str) -> dict[str, Tensor]:
    """The state as tensors of the network's own types, if it is exactly the network's.

    Raises one InputError that names every missing, unexpected and misshapen key, every entry that
    is not a plain tensor, and every tensor with values that are not finite.
    """
    with torch.device("meta"):
        ours = ReleaseNetwork(config).state_dict()
    problems = [f"missing {name}" for name in ours if name not in state]
    problems += [f"unexpected {name}" for name in state if name not in ours]
    tensors: dict[str, Tensor] = {}
    for name, wanted in ours.items():
        value = state.get(name, wanted)
        if not _is_plain(value) or wanted.is_floating_point() > value.is_floating_point():
            problems.append(f"not a tensor of floating-point numbers {name}")
        elif value.shape != wanted.shape:
            shapes = f"file {tuple(value.shape)}, network {tuple(wanted.shape)}"
            problems.append(f"misshapen {name}: {shapes}")
        elif name in state and not torch.isfinite(value).all():
            problems.append(f"not finite {name}")
        else:
            tensors[name] = value.to(wanted.dtype)
    if problems:
        raise InputError(
            f"{source}: these weights are not of the released network "
            f"({config.image_size} px, patch {config.patch_size}, D = {config.width}, "
            f"{config.depth} blocks, T = {config.frames}): {'; '.join(problems)}; use the "
            "file as it was published"
        )
    return tensors


def _is_plain(value: object) -> TypeGuard[Tensor]:
    """Whether this is a tensor as weights are: real, neither sparse nor quantised."""
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and not value.is_quantized
        and not value.is_complex()
    )


def _size(shapes: Mapping[str, tuple[int, ...]], pattern: str, axis: int) -> int | None:
    """The length of this axis in most of the tensors whose whole name matches."""
    counts = Counter(
        shape[axis]
        for name, shape in shapes.items()
        if re.fullmatch(pattern, name) and len(shape) >= (axis + 1 if axis >= 0 else -axis)
    )
    return counts.most_common(1)[0][0] if counts else None
