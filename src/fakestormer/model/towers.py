"""Published image towers: a file -> tensors under plain names, and the network that they fit.

MAE and other plain ViTs, DINOv2 and DINOv3, and the image towers of CLIP and PE (Perception
Encoder), in the layout of those who trained them, of transformers, and of timm where it has the
same parts. What a tower has and our blocks lack is folded into the weights here:

    LayerScale (DINO)              into the layer before it
    other means and deviations of pixels (CLIP, PE)    into the stem
    pairs of neighbouring channels that turn (PE)      into the order of query and key channels
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from einops import rearrange
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from fakestormer.errors import InputError, first_complaint
from fakestormer.model.layouts import (
    TowerName,
    image_tower,
    is_ignored,
    is_original,
    is_transformers,
    plain_names,
    tower_name,
)
from fakestormer.model.network import IMAGENET_MEAN, IMAGENET_STD
from fakestormer.model.pth import read_pth
from fakestormer.recipe.model import Activation, ModelConfig, Rotary

#: Channels of one head in all the towers named here; tensors do not show it.
_HEAD_WIDTH = 64


@dataclass(frozen=True, slots=True)
class _Kind:
    """What keys and shapes do not show of those who trained a tower."""

    norm_eps: float
    activation: Activation = "gelu"
    rotary: Rotary = "none"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD


_HALF = (0.5, 0.5, 0.5)
_KINDS: Mapping[TowerName, _Kind] = {
    "ViT": _Kind(norm_eps=1e-6),
    "DINOv2": _Kind(norm_eps=1e-6),
    "DINOv3": _Kind(norm_eps=1e-5, rotary="frame"),
    "CLIP": _Kind(
        norm_eps=1e-5,
        activation="quick_gelu",
        mean=(0.48145466, 0.4578275, 0.40821073),
        std=(0.26862954, 0.26130258, 0.27577711),
    ),
    "PE": _Kind(norm_eps=1e-5, rotary="grid", mean=_HALF, std=_HALF),
}


@dataclass(frozen=True, slots=True)
class Tower:
    """An image tower; class token (D,), position embedding (1 + N, D), registers (R, D).

    origin: the key of the file that a plain name comes from, for messages. ignored: keys left out
    on purpose. not_tensors: keys of anything else. described: heads, norm_eps and activation, where
    a `config.json` beside the file states them.
    """

    name: TowerName
    layout: Literal["original", "timm", "transformers"]
    tensors: dict[str, Tensor]
    origin: dict[str, str]
    ignored: tuple[str, ...]
    not_tensors: tuple[str, ...]
    described: dict[str, Any]

    @property
    def has_positions(self) -> bool:
        """Whether there is a learned position embedding."""
        return "pos_embed" in self.tensors

    @property
    def rotary(self) -> Rotary:
        """How its attention turns queries and keys."""
        return _KINDS[self.name].rotary

    def tensors_for(self, heads: int) -> dict[str, Tensor]:
        """The tensors as our blocks take them; only PE's depend on the number of heads."""
        if self.name != "PE":
            return self.tensors
        return {
            name: _unpaired(tensor, heads) if ".attn.qkv." in name else tensor
            for name, tensor in self.tensors.items()
        }


def read_tower(path: Path) -> Tower:
    """The image tower in a `.safetensors`, `.pth`, `.pt` or `.bin` file, known by its keys.

    A text tower beside it, poolings, heads and decoders are left out. Raises InputError for a file
    that is missing, damaged or no ViT, and for code in a file, which is never run.
    """
    wrappers = ("model", "state_dict", "weights")
    state: Any = read_safetensors(path) if path.suffix == ".safetensors" else read_pth(path)
    wrapper = next((name for name in wrappers if isinstance(state.get(name), dict)), None)
    entries: dict[str, Any] = state if wrapper is None else state[wrapper]
    if not all(isinstance(key, str) for key in entries):
        raise InputError(f"{path}: its keys are not names of weights; give a ViT's checkpoint")
    kept = [key for key in image_tower(entries) if not is_ignored(key)]
    tensors = {key: entries[key] for key in kept if isinstance(entries[key], Tensor)}
    plain, origin = plain_names(tensors)
    if "patch_embed.proj.weight" not in plain:
        raise InputError(
            f"{path}: no ViT in a layout known here (MAE, DINOv2, DINOv3, CLIP, PE; original, "
            f"timm, transformers); its keys begin with "
            f"{', '.join(sorted(map(str, entries))[:3]) or 'nothing at all'}"
        )
    # Published with leading axes of size 1.
    for key, ndim in (("cls_token", 1), ("pos_embed", 2), ("registers", 2)):
        while key in plain and plain[key].ndim > ndim and len(plain[key]) == 1:
            plain[key] = plain[key][0]
    original = wrapper is not None or is_original(entries)
    tower = Tower(
        name=tower_name(entries, plain),
        layout="transformers" if is_transformers(tensors) else "original" if original else "timm",
        tensors=plain,
        origin=origin,
        ignored=tuple(sorted(entries.keys() - set(kept))),
        not_tensors=tuple(sorted(set(kept) - tensors.keys())),
        described=_described(path),
    )
    return replace(tower, tensors=_folded(tower))


def sizes_of(model: ModelConfig, path: Path) -> ModelConfig:
    """The configuration with the sizes of the tower in a file, and all that its weights need.

    What no tensor shows comes from the `config.json` that transformers writes beside the weights,
    or is what the published towers have: 64 channels per head, the LayerNorms' epsilon, and for
    CLIP OpenAI's activation. Raises InputError for a file as `read_tower` does, and for a tower
    that no configuration fits.
    """
    tower = read_tower(path)
    tensors, kind = tower.tensors, _KINDS[tower.name]
    stem, hidden = tensors["patch_embed.proj.weight"], tensors.get("blocks.0.mlp.fc1.weight")
    if hidden is None:
        raise InputError(
            f"{path}: its blocks have no plain MLP (the giant sizes gate theirs); take a smaller "
            f"size of {tower.name}"
        )
    width = len(stem)
    blocks = {name.split(".")[1] for name in tensors if name.startswith("blocks.")}
    sizes = {
        "width": width,
        "depth": len(blocks),
        "heads": max(1, width // _HEAD_WIDTH),
        "patch_size": stem.shape[-1],
        "mlp_ratio": len(hidden) / width,
        "registers": len(tensors["registers"]) if "registers" in tensors else 0,
        "pre_norm": "norm_pre.weight" in tensors,
        "norm_eps": kind.norm_eps,
        "activation": kind.activation,
        "rotary": kind.rotary,
        "stem": "patch",
        **tower.described,
    }
    try:
        return ModelConfig.model_validate(model.model_dump() | sizes)
    except ValidationError as error:
        field, reason = first_complaint(error)
        raise InputError(f"{path}: does not fit the recipe ({field}: {reason})") from error


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a file. Raises InputError where it is missing or damaged."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        return dict(load_file(path))
    except SafetensorError as error:
        raise InputError(
            f"{path}: not a readable safetensors file ({error}); fetch or save it again"
        ) from error


def _described(path: Path) -> dict[str, Any]:
    """What transformers' `config.json` beside the weights says and no tensor shows."""
    config = path.with_name("config.json")
    if not config.is_file():
        return {}
    try:
        document = json.loads(config.read_text(encoding="utf-8"))
        document = document.get("vision_config", document)
        stated = {
            "heads": document.get("num_attention_heads"),
            "norm_eps": document.get("layer_norm_eps"),
            "activation": document.get("hidden_act"),
        }
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(
            f"{config}: is not readable as the description of {path.name} ({error}); fetch it "
            f"again, or move the weights to a folder of their own"
        ) from error
    return {name: value for name, value in stated.items() if value is not None}


def _folded(tower: Tower) -> dict[str, Tensor]:
    """The tensors with everything folded in that our blocks lack; float32."""
    tensors = {name: tensor.float() for name, tensor in tower.tensors.items()}
    for name in tower.tensors:
        block, _, part = name.rpartition(".")
        if part in ("scale1", "scale2"):
            scale = tensors.pop(name)
            layer = f"{block}.{'attn.proj' if part == 'scale1' else 'mlp.fc2'}"
            for scaled in (f"{layer}.weight", f"{layer}.bias"):
                folded = tensors.get(scaled)
                if folded is not None and len(folded) == len(scale):
                    tensors[scaled] = folded * scale.view(-1, *[1] * (folded.ndim - 1))
        elif part == "bias_mask":
            bias, mask = tensors[f"{block}.bias"], tensors.pop(name)
            tensors[f"{block}.bias"] = torch.where(mask == 0, 0.0, bias)
    if tower.name == "DINOv3" and "blocks.0.attn.qkv.bias" not in tensors:
        # timm leaves them out, because all are zero.
        for name in [name for name in tensors if name.endswith(".attn.qkv.weight")]:
            tensors[name.replace("weight", "bias")] = torch.zeros(len(tensors[name]))
    stem = tensors["patch_embed.proj.weight"]
    if tower.name in ("CLIP", "PE") and stem.ndim == 4 and stem.shape[1] == 3:
        kind = _KINDS[tower.name]
        std = torch.tensor(kind.std).view(3, 1, 1)
        shift = (torch.tensor(IMAGENET_MEAN) - torch.tensor(kind.mean)).view(3, 1, 1) / std
        bias = tensors.get("patch_embed.proj.bias", torch.zeros(len(stem)))
        tensors["patch_embed.proj.bias"] = bias + (stem * shift).sum(dim=(1, 2, 3))
        tensors["patch_embed.proj.weight"] = stem * torch.tensor(IMAGENET_STD).view(3, 1, 1) / std
    return tensors


def _unpaired(qkv: Tensor, heads: int) -> Tensor:
    """Query and key channels of each head: (x0 x0' x1 x1' .. y0 y0' ..) -> (y0 y1 .. x0 .. y0' ..).

    PE turns neighbouring channels, the columns' pairs first; `Rotation` turns channels that lie
    half a head apart, the rows' first. Products of queries and keys do not see the order.
    """
    q, k, v = qkv.chunk(3)
    if len(q) % (4 * heads):
        return qkv
    arranged = [
        rearrange(
            rearrange(part, "(h xy i two) ... -> xy h two i ...", h=heads, xy=2, two=2).flip(0),
            "yx h two i ... -> (h two yx i) ...",
        )
        for part in (q, k)
    ]
    return torch.cat([*arranged, v])
