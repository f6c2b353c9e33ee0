"""The keys of published ViT checkpoints, translated to the names of our parameters.

Three layouts: "original" (MAE's authors) and "timm" name their tensors alike and differ in the
wrapping; "transformers" has other names, and separate query, key and value. Everything here is a
function of keys: files are the business of weights.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

POSITION = "backbone.embedding.position"
TIME = "backbone.embedding.time"

# Parts of published checkpoints that have no place here: MAE's decoder and mask token, and the
# classification heads that timm and transformers save with fine-tuned networks.
_IGNORED = re.compile(r"(decoder|mask_token|head\.|fc_norm\.|classifier\.|(vit\.)?pooler\.)")

# Original MAE and timm name -> ours, inside one block.
_BLOCK = {
    "norm1": "spatial_norm",
    "attn.qkv": "spatial_attention.qkv",
    "attn.proj": "spatial_attention.proj",
    "norm2": "mlp_norm",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}
# transformers name -> timm's.
_TRANSFORMERS_BLOCK = {
    "layernorm_before": "norm1",
    "attention.output.dense": "attn.proj",
    "layernorm_after": "norm2",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
}
_TRANSFORMERS_REST = {
    "embeddings.cls_token": "cls_token",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.patch_embeddings.projection.weight": "patch_embed.proj.weight",
    "embeddings.patch_embeddings.projection.bias": "patch_embed.proj.bias",
    "layernorm.weight": "norm.weight",
    "layernorm.bias": "norm.bias",
}


def is_ignored(key: str) -> bool:
    """Whether a key belongs to a part of the checkpoint that has no place in a backbone."""
    return _IGNORED.match(key) is not None


def is_transformers(keys: Mapping[str, Tensor]) -> bool:
    """Whether these are the keys of transformers' layout."""
    return any("embeddings.patch_embeddings." in key for key in keys)


def our_names(key: str) -> tuple[str, ...]:
    """A key of the original or timm layout -> the names that take its value here."""
    block = re.fullmatch(r"blocks\.(\d+)\.(.+)\.(weight|bias)", key)
    if block and block[2] in _BLOCK:
        return (f"backbone.blocks.{block[1]}.{_BLOCK[block[2]]}.{block[3]}",)
    return {
        "cls_token": ("backbone.embedding.spatial_token",),
        "pos_embed": (POSITION,),
        "patch_embed.proj.weight": ("backbone.stem.proj.weight",),
        "patch_embed.proj.bias": ("backbone.stem.proj.bias",),
        "norm.weight": ("backbone.patch_norm.weight", "backbone.spatial_norm.weight"),
        "norm.bias": ("backbone.patch_norm.bias", "backbone.spatial_norm.bias"),
    }.get(key, ())


def comes_from_image_model(name: str) -> bool:
    """Whether a parameter of ours has a counterpart in a ViT for images."""
    return name.startswith("backbone.") and "temporal" not in name and name != TIME


def from_transformers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """transformers' layout -> timm's; separate q, k, v become one qkv. Unknown keys stay."""
    renamed: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        short = key.removeprefix("vit.")
        layer = re.fullmatch(r"encoder\.layer\.(\d+)\.(.+)\.(weight|bias)", short)
        part = re.fullmatch(r"attention\.attention\.(query|key|value)", layer[2]) if layer else None
        if layer and part:
            names = [
                key.replace(f".{part[1]}.", f".{other}.") for other in ("query", "key", "value")
            ]
            if all(name in tensors for name in names):
                renamed[f"blocks.{layer[1]}.attn.qkv.{layer[3]}"] = torch.cat(
                    [tensors[name] for name in names]
                )
            else:
                renamed[key] = tensor
        elif layer and layer[2] in _TRANSFORMERS_BLOCK:
            renamed[f"blocks.{layer[1]}.{_TRANSFORMERS_BLOCK[layer[2]]}.{layer[3]}"] = tensor
        else:
            renamed[_TRANSFORMERS_REST.get(short, key)] = tensor
    return renamed
