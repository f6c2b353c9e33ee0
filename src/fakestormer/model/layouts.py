"""The keys of published ViT checkpoints, translated to the names of our parameters.

Three layouts. "original" (MAE's authors) and "timm" name their tensors alike; the authors' files
wrap them in {"model": ...} or hold the decoder too. "transformers" has other names, and separate
query, key and value: the names that are published and that `save_pretrained` writes
("encoder.layer.0.attention.attention.query"), or those of transformers 5's modules, which their
`state_dict` gives ("layers.0.attention.q_proj"). Everything here is a function of keys: files are
the business of weights.py.
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
# Those of our last norms that take the place of the image model's.
_NORMS = ("patch_norm", "spatial_norm", "norm")
# transformers name -> timm's, published names and then those of transformers 5's modules.
_TRANSFORMERS_LAYER = re.compile(r"(?:encoder\.layer|layers)\.(\d+)\.(.+)\.(weight|bias)")
_TRANSFORMERS_BLOCK = {
    "layernorm_before": "norm1",
    "attention.output.dense": "attn.proj",
    "layernorm_after": "norm2",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
    "attention.o_proj": "attn.proj",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}
_TRANSFORMERS_QKV = (
    ("attention.attention.query", "attention.attention.key", "attention.attention.value"),
    ("attention.q_proj", "attention.k_proj", "attention.v_proj"),
)
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


def is_original(keys: Mapping[str, Tensor]) -> bool:
    """Whether MAE's authors' decoder is among these keys."""
    return any(key == "mask_token" or key.startswith("decoder_") for key in keys)


def our_names(key: str) -> tuple[str, ...]:
    """A key of the original or timm layout -> the names that may take its value here.

    No network has all of them: FakeSTormer has no class token, and the plain TimeSformer no other.
    """
    block = re.fullmatch(r"blocks\.(\d+)\.(.+)\.(weight|bias)", key)
    if block and block[2] in _BLOCK:
        return (f"backbone.blocks.{block[1]}.{_BLOCK[block[2]]}.{block[3]}",)
    return {
        "cls_token": ("backbone.embedding.spatial_token", "backbone.embedding.class_token"),
        "pos_embed": (POSITION,),
        "patch_embed.proj.weight": ("backbone.stem.proj.weight",),
        "patch_embed.proj.bias": ("backbone.stem.proj.bias",),
        "norm.weight": tuple(f"backbone.{norm}.weight" for norm in _NORMS),
        "norm.bias": tuple(f"backbone.{norm}.bias" for norm in _NORMS),
    }.get(key, ())


def comes_from_image_model(name: str) -> bool:
    """Whether a parameter of ours has a counterpart in a ViT for images."""
    return name.startswith("backbone.") and "temporal" not in name and name != TIME


def from_transformers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """transformers' layout -> timm's; separate q, k, v become one qkv. Unknown keys stay."""
    renamed: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        short = key.removeprefix("vit.")
        layer = _TRANSFORMERS_LAYER.fullmatch(short)
        parts = next((parts for parts in _TRANSFORMERS_QKV if layer and layer[2] in parts), None)
        if layer and parts:
            names = [key.replace(layer[2], part) for part in parts]
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
