"""The keys of published ViT checkpoints, translated to the names of our parameters.

Every key is first translated to one plain name, whatever the layout, and that to ours:

    blocks.0.attn.qkv.weight                                   original MAE, DINO, and timm
    encoder.layer.0.attention.attention.query.weight           transformers, published
    layers.0.attention.q_proj.weight                           transformers 5, its modules
    visual.transformer.resblocks.0.attn.in_proj_weight         original CLIP and PE
        -> blocks.0.attn.qkv.weight -> backbone.blocks.0.spatial_attention.qkv.weight

Everything here is a function of keys: files are the business of towers.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal

import torch
from torch import Tensor

POSITION = "backbone.embedding.position"
TIME = "backbone.embedding.time"

#: Who trained an image tower, as far as its keys tell; "ViT" is MAE's, timm's or transformers'.
TowerName = Literal["ViT", "DINOv2", "DINOv3", "CLIP", "PE"]

# Parts of published checkpoints that have no place here: MAE's decoder, tokens for hidden patches,
# heads and poolings that follow the last norm, and what can be computed.
_IGNORED = re.compile(
    r"decoder|(embeddings\.)?mask_token|head\.|fc_norm\.|classifier\.|pooler\.|attn_pool\.|proj$|"
    r"visual_projection\.|rope_embed\.|local_cls_norm\.|embeddings\.position_ids$"
)
# Of checkpoints that hold a tower for text as well, the image tower is below one of these.
_IMAGE_TOWERS = ("visual.", "vision_model.")
_PREFIXES = ("vit.", "dinov2.", "dinov2_with_registers.", "timm_model.", *_IMAGE_TOWERS)

_BLOCK = re.compile(
    r"(?:blocks|(?:encoder\.|model\.)?layers?|transformer\.resblocks)\.(\d+)\.(.+?)"
    r"(?:\.(weight|bias))?"
)
# A layer of a block -> its plain name.
_LAYERS = {
    "layernorm_before": "norm1",
    "layer_norm1": "norm1",
    "ln_1": "norm1",
    "attention.output.dense": "attn.proj",
    "attention.o_proj": "attn.proj",
    "self_attn.out_proj": "attn.proj",
    "attn.out_proj": "attn.proj",
    "layernorm_after": "norm2",
    "layer_norm2": "norm2",
    "ln_2": "norm2",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
    "mlp.up_proj": "mlp.fc1",
    "mlp.down_proj": "mlp.fc2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.in_proj_weight": "attn.qkv.weight",
    "attn.in_proj_bias": "attn.qkv.bias",
    "attn.qkv.bias_mask": "attn.qkv.bias_mask",
    "gamma_1": "scale1",
    "gamma_2": "scale2",
    "ls1.gamma": "scale1",
    "ls2.gamma": "scale2",
    "layer_scale1.lambda1": "scale1",
    "layer_scale2.lambda1": "scale2",
}
_QKV = {
    part: number
    for number, parts in enumerate(
        (
            ("attention.attention.query", "attention.q_proj", "self_attn.q_proj"),
            ("attention.attention.key", "attention.k_proj", "self_attn.k_proj"),
            ("attention.attention.value", "attention.v_proj", "self_attn.v_proj"),
        )
    )
    for part in parts
}
_REST = {
    "class_embedding": "cls_token",
    "embeddings.cls_token": "cls_token",
    "embeddings.class_embedding": "cls_token",
    "positional_embedding": "pos_embed",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.position_embedding.weight": "pos_embed",
    "register_tokens": "registers",
    "storage_tokens": "registers",
    "reg_token": "registers",
    "embeddings.register_tokens": "registers",
}
# A layer outside the blocks, by its name without ".weight" or ".bias".
_REST_LAYERS = {
    "conv1": "patch_embed.proj",
    "embeddings.patch_embeddings": "patch_embed.proj",
    "embeddings.patch_embeddings.projection": "patch_embed.proj",
    "embeddings.patch_embedding": "patch_embed.proj",
    "ln_pre": "norm_pre",
    "pre_layrnorm": "norm_pre",
    "ln_post": "norm",
    "layernorm": "norm",
    "post_layernorm": "norm",
}

# Plain name -> ours, inside one block.
_OUR_LAYERS = {
    "norm1": "spatial_norm",
    "attn.qkv": "spatial_attention.qkv",
    "attn.proj": "spatial_attention.proj",
    "norm2": "mlp_norm",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}
# Those of our last norms that take the place of the image model's.
_NORMS = ("patch_norm", "spatial_norm", "norm")


def image_tower(keys: Iterable[str]) -> tuple[str, ...]:
    """Those of the keys that belong to the image tower; all, where there is no other."""
    keys = tuple(keys)
    for prefix in _IMAGE_TOWERS:
        if any(key.startswith(prefix) for key in keys):
            return tuple(key for key in keys if key.startswith(prefix))
    return keys


def is_ignored(key: str) -> bool:
    """Whether a key belongs to a part of the tower that has no place in a backbone."""
    return _IGNORED.match(_short(key)) is not None


def is_transformers(keys: Iterable[str]) -> bool:
    """Whether these are the keys of transformers' layout."""
    return any("embeddings.patch_embedding" in key for key in keys)


def is_original(keys: Iterable[str]) -> bool:
    """Whether these are keys of the layout of those who trained it, where timm's are others."""
    prefixes = ("visual.", "decoder_", "storage_tokens", "register_tokens", "class_embedding")
    return any(key == "mask_token" or key.startswith(prefixes) for key in keys)


def tower_name(keys: Iterable[str], plain: Mapping[str, Tensor]) -> TowerName:
    """Who trained a tower, told from its keys and their plain names."""
    if "norm_pre.weight" in plain:
        pooled = any(_short(key).startswith("attn_pool.") for key in keys)
        return "PE" if pooled else "CLIP"
    if "registers" in plain and "pos_embed" not in plain:
        return "DINOv3"
    return "DINOv2" if "blocks.0.scale1" in plain else "ViT"


def plain_names(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors of one tower under plain names, and the key that each comes from.

    Separate queries, keys and values become one: a name's three parts, or none. A key bias alone
    may be missing (DINOv3 has none): it is zero then. Unknown keys stay as they are.
    """
    plain: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    parts: dict[str, dict[int, str]] = {}
    for key, tensor in tensors.items():
        block = _BLOCK.fullmatch(_short(key))
        if block and block[2] in _QKV and block[3]:
            qkv = f"blocks.{block[1]}.attn.qkv.{block[3]}"
            parts.setdefault(qkv, {})[_QKV[block[2]]] = key
            continue
        name = _plain_name(key)
        plain[name], origin[name] = tensor, key
    for name, keys in parts.items():
        whole = {number: tensors[key] for number, key in keys.items()}
        if whole.keys() == {0, 2} and name.endswith("bias") and "pos_embed" not in plain:
            whole[1] = torch.zeros_like(whole[0])
        if len(whole) == 3:
            plain[name] = torch.cat([whole[number] for number in range(3)])
            origin[name] = keys[0]
        else:
            plain |= {key: tensors[key] for key in keys.values()}
            origin |= {key: key for key in keys.values()}
    return plain, origin


def our_names(plain: str) -> tuple[str, ...]:
    """A plain name -> the names that may take its value here.

    No network has all of them: FakeSTormer has no class token, and the plain TimeSformer no other.
    """
    block = re.fullmatch(r"blocks\.(\d+)\.(.+)\.(weight|bias)", plain)
    if block and block[2] in _OUR_LAYERS:
        return (f"backbone.blocks.{block[1]}.{_OUR_LAYERS[block[2]]}.{block[3]}",)
    kind = plain.rpartition(".")[2]
    return {
        "cls_token": ("backbone.embedding.spatial_token", "backbone.embedding.class_token"),
        "pos_embed": (POSITION,),
        "registers": ("backbone.embedding.registers",),
        f"patch_embed.proj.{kind}": (f"backbone.stem.proj.{kind}",),
        f"norm_pre.{kind}": (f"backbone.embedding.pre_norm.{kind}",),
        f"norm.{kind}": tuple(f"backbone.{norm}.{kind}" for norm in _NORMS),
    }.get(plain, ())


def comes_from_image_model(name: str) -> bool:
    """Whether a parameter of ours has a counterpart in a ViT for images."""
    return name.startswith("backbone.") and "temporal" not in name and name != TIME


def _short(key: str) -> str:
    for prefix in _PREFIXES:
        key = key.removeprefix(prefix)
    return key


def _plain_name(key: str) -> str:
    short = _short(key)
    block = _BLOCK.fullmatch(short)
    if block:
        number, layer, kind = block.groups()
        named = _LAYERS.get(layer, layer if layer in _OUR_LAYERS else None)
        if named is None:
            return key
        return f"blocks.{number}.{named}" + (f".{kind}" if kind else "")
    layer, dot, kind = short.rpartition(".")
    if dot and layer in _REST_LAYERS:
        return f"{_REST_LAYERS[layer]}.{kind}"
    known = short in ("cls_token", "pos_embed") or layer in ("patch_embed.proj", "norm_pre", "norm")
    return _REST.get(short, short if known else key)
