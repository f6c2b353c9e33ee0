"""The released network at work: every intermediate value, under the name reference files give it.

The names are, for example, `block0_in`, `block0_s_cls`, `feat_cls`, `out_hm`, ...
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from fakestormer.model.release import (
    ReleaseBackbone,
    ReleaseBlock,
    ReleaseFeatures,
    ReleaseNetwork,
    ReleaseScores,
)

_WATCHED = re.compile(
    r"keypoint_head|backbone(\.norm|\.patch_embed|\.blocks\.\d+(\.attn|\.temporal_fc)?)?"
)


@torch.inference_mode()
def trace(
    network: ReleaseNetwork,
    x_bcthw: Tensor,
    *,
    batch_as_released: bool = False,
    learned_temporal_token: bool = False,
    true_volume: bool = False,
) -> dict[str, Tensor]:
    """Every value that a file can hold, under its name there. x: (b, 3, t, H, W), normalised.

    batch_as_released: mix up the clips' temporal tokens as the released code does with several:
    all come from the first clip, clip i's from position i. One clip is itself either way.
    learned_temporal_token, true_volume: mend points 2 and 3 of `model/release.py`, as the files'
    authors did for comparison; the weights were trained without.
    """
    inputs: dict[str, Any] = {}
    outputs: dict[str, Any] = {}

    def watch(name: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        def hook(_: nn.Module, given: tuple[Any, ...], returned: Any) -> None:
            inputs[name], outputs[name] = given[0], returned

        return hook

    hooks = []
    # The mends first, so that what is watched is mended.
    if true_volume:
        hooks.append(network.backbone.register_forward_hook(_volume_in_true_order))
    first = network.backbone.blocks[0]
    if learned_temporal_token:
        hooks.append(first.register_forward_pre_hook(partial(_learned_token, network.backbone)))
    elif batch_as_released:
        hooks.append(first.register_forward_pre_hook(_temporal_tokens_as_released))
    hooks += [
        module.register_forward_hook(watch(name))
        for name, module in network.named_modules()
        if _WATCHED.fullmatch(name)
    ]
    try:
        network.scores(rearrange(x_bcthw, "b c t h w -> b t c h w"))
    finally:
        for hook in hooks:
            hook.remove()

    values: dict[str, Tensor] = {
        "patch_embed": rearrange(outputs["backbone.patch_embed"], "r d y x -> r (y x) d"),
        "norm_tokens": outputs["backbone.norm"],
    }
    for i in range(network.config.depth):
        name = f"backbone.blocks.{i}"
        values[f"block{i}_in"] = inputs[name]
        values[f"block{i}_temporal_fc_out"] = outputs[f"{name}.temporal_fc"]
        values[f"block{i}_spatial_attn_out"] = outputs[f"{name}.attn"]
        values[f"block{i}_out"], values[f"block{i}_s_cls"] = outputs[name]
    features: ReleaseFeatures = outputs["backbone"]
    scores: ReleaseScores = outputs["keypoint_head"]
    return values | {
        "feat_cls": features.temporal,
        "feat_embed": features.volume,
        "feat_s_cls_token": features.spatial,
        "out_cls": scores.cls,
        "out_hm": scores.hm,
        "out_temp_loc": scores.temp_loc,
    }


def _temporal_tokens_as_released(block: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Before the first block: the temporal tokens (last of b l d) become those of a released batch.

    That is frame 0 of the first b of all (clip, position) pairs: position i of clip 0 for clip i.
    """
    assert isinstance(block, ReleaseBlock)
    (tokens_bld,) = given
    patches_rtd = rearrange(tokens_bld[:, 1:-1], "b (n t) d -> (b n) t d", t=block.frames)
    token_b1d = patches_rtd[: len(tokens_bld), :1]
    return (torch.cat([tokens_bld[:, :-1], token_b1d], dim=1),)


def _learned_token(
    backbone: ReleaseBackbone, block: nn.Module, given: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """Before the first block: the temporal token (last of b l d) is the learned one."""
    (tokens_bld,) = given
    token_11d = backbone.temp_token + backbone.time_embed[:, -1:]
    return (torch.cat([tokens_bld[:, :-1], token_11d.expand(len(tokens_bld), -1, -1)], dim=1),)


def _volume_in_true_order(
    backbone: nn.Module, given: tuple[Tensor, ...], features: ReleaseFeatures
) -> ReleaseFeatures:
    """What was read as (t y x) is (y x t)."""
    grid = features.volume.shape[-1]
    tokens_bdl = features.volume.flatten(2)
    mended = rearrange(tokens_bdl, "b d (y x t) -> b d t y x", y=grid, x=grid)
    return features._replace(volume=mended)
