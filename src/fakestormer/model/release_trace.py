"""The released network at work: every intermediate value, under the name reference files give it.

The names are, for example, `block0_in`, `block0_s_cls`, `feat_cls`, `out_hm`, ...
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from fakestormer.model.release import (
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
    network: ReleaseNetwork, x_bcthw: Tensor, *, batch_as_released: bool = False
) -> dict[str, Tensor]:
    """Every value that a file can hold, under its name there. x: (b, 3, t, H, W), normalised.

    batch_as_released: mix up the clips' temporal tokens as the released code does with several:
    all come from the first clip, clip i's from position i. One clip is itself either way.
    """
    inputs: dict[str, Any] = {}
    outputs: dict[str, Any] = {}

    def watch(name: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        def hook(_: nn.Module, given: tuple[Any, ...], returned: Any) -> None:
            inputs[name], outputs[name] = given[0], returned

        return hook

    hooks = [
        module.register_forward_hook(watch(name))
        for name, module in network.named_modules()
        if _WATCHED.fullmatch(name)
    ]
    if batch_as_released and not network.backbone.learned_temporal_token:
        first = network.backbone.blocks[0]
        hooks.append(first.register_forward_pre_hook(_temporal_tokens_as_released))
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
