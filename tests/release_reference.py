"""The released network once more, as plainly as can be: one clip, loops and torch's functions.

Written from the description alone and independent of fakestormer.model, to make reference files of
other sizes with; tests/model/test_release.py checks it against the one that is shipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

State = dict[str, Tensor]


@dataclass(frozen=True)
class Sizes:
    image: int = 32
    patch: int = 8
    width: int = 48
    frames: int = 4
    depth: int = 2
    heads: int = 3
    hidden: int = 192

    @property
    def positions(self) -> int:
        return (self.image // self.patch) ** 2


def random_state(s: Sizes, seed: int) -> State:
    """A state as the authors' files have it, with BatchNorm statistics of some training."""
    d, quarter = s.width, s.width // 4
    shapes: dict[str, tuple[int, ...]] = {
        "backbone.cls_token": (1, 1, d),
        "backbone.pos_embed": (1, 1 + s.positions, d),
        "backbone.temp_token": (1, 1, d),
        "backbone.time_embed": (1, 1 + s.frames, d),
        "backbone.patch_embed.proj.weight": (d, 3, s.patch, s.patch),
        "backbone.patch_embed.proj.bias": (d,),
    }
    for i in range(s.depth):
        block = f"backbone.blocks.{i}"
        for norm in ("norm1", "temporal_norm1", "norm2"):
            shapes |= {f"{block}.{norm}.weight": (d,), f"{block}.{norm}.bias": (d,)}
        for name, out, into in (
            ("attn.qkv", 3 * d, d),
            ("attn.proj", d, d),
            ("temporal_attn.qkv", 3 * d, d),
            ("temporal_attn.proj", d, d),
            ("temporal_fc", d, d),
            ("mlp.fc1", s.hidden, d),
            ("mlp.fc2", d, s.hidden),
        ):
            shapes |= {f"{block}.{name}.weight": (out, into), f"{block}.{name}.bias": (out,)}
    for norm in ("norm", "norm_s_cls", "norm_t_cls"):
        shapes |= {f"backbone.{norm}.weight": (d,), f"backbone.{norm}.bias": (d,)}
    for name, out in (("before_proj.0", d), ("proj.0", quarter)):
        layer = f"keypoint_head.hm.{name}"
        shapes |= {f"{layer}.0.weight": (out, d, 3, 1, 1), f"{layer}.0.bias": (out,)}
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{layer}.1.{part}"] = (out,)
        shapes[f"{layer}.1.num_batches_tracked"] = ()
    head = "keypoint_head"
    shapes |= {
        f"{head}.hm.proj.1.weight": (1, quarter, 3, 1, 1),
        f"{head}.hm.proj.1.bias": (1,),
        f"{head}.cls.fc_out.weight": (1, d),
        f"{head}.cls.fc_out.bias": (1,),
        f"{head}.temp_loc.fc1.0.weight": (d // s.frames, d),
        f"{head}.temp_loc.fc1.0.bias": (d // s.frames,),
        f"{head}.temp_loc.fc_out.weight": (s.frames, d),
        f"{head}.temp_loc.fc_out.bias": (s.frames,),
    }
    g = torch.Generator().manual_seed(seed)
    state: State = {}
    for name, shape in shapes.items():
        values = torch.randn(shape, generator=g)
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(1234)
        elif name.endswith("running_var"):
            state[name] = 0.3 + values.abs()
        elif len(shape) == 1:
            state[name] = (1 if name.endswith(".weight") else 0) + 0.3 * values
        else:
            fan_in = values[0].numel() if len(shape) != 3 else 1
            state[name] = values / fan_in**0.5
    return state


def numbers(
    state: State,
    x_cthw: Tensor,
    heads: int,
    *,
    temporal_token: Tensor | None = None,
    learned: bool = False,
    true_order: bool = False,
) -> dict[str, Tensor]:
    """One normalised clip (3, T, H, W) -> everything, float64, each with a batch axis of 1.

    temporal_token: (D,), instead of the embedded patch 0 of frame 0. learned, true_order: the two
    mends.
    """
    sd = {name: value.double() for name, value in state.items()}
    found: dict[str, Tensor] = {}

    def linear(v: Tensor, name: str) -> Tensor:
        return v @ sd[f"{name}.weight"].T + sd[f"{name}.bias"]

    def norm(v: Tensor, name: str) -> Tensor:
        deviation = (v.var(-1, correction=0, keepdim=True) + 1e-6).sqrt()
        normal = (v - v.mean(-1, keepdim=True)) / deviation
        return normal * sd[f"{name}.weight"] + sd[f"{name}.bias"]

    def attention(row_ld: Tensor, name: str) -> Tensor:
        q, k, v = linear(row_ld, f"{name}.qkv").chunk(3, dim=-1)
        size = q.shape[-1] // heads
        outs = []
        for h in range(heads):
            part = slice(h * size, (h + 1) * size)
            weights = (q[:, part] @ k[:, part].T / size**0.5).softmax(-1)
            outs.append(weights @ v[:, part])
        return linear(torch.cat(outs, dim=-1), f"{name}.proj")

    weight = sd["backbone.patch_embed.proj.weight"]
    side = weight.shape[-1]
    t, g = x_cthw.shape[1], x_cthw.shape[-1] // side
    n, d = g * g, weight.shape[0]
    bias = sd["backbone.patch_embed.proj.bias"]
    patches = torch.stack(
        [
            torch.stack(
                [
                    (weight * x_cthw[:, f, y : y + side, x : x + side].double()).sum((1, 2, 3))
                    + bias
                    for y in range(0, g * side, side)
                    for x in range(0, g * side, side)
                ]
            )
            for f in range(t)
        ]
    )
    found["patch_embed"] = patches
    position, time = sd["backbone.pos_embed"][0], sd["backbone.time_embed"][0]
    z = torch.empty(n, t, d, dtype=torch.float64)  # patch tokens [position, time]
    for p in range(n):
        for f in range(t):
            z[p, f] = patches[f, p] + position[1 + p] + time[f]
    z_s = sd["backbone.cls_token"][0, 0] + position[0]
    if learned:
        z_t = sd["backbone.temp_token"][0, 0] + time[t]
    else:
        z_t = z[0, 0] if temporal_token is None else temporal_token

    def tokens() -> Tensor:
        return torch.cat([z_s[None], z.reshape(n * t, d), z_t[None]])[None]

    i = 0
    while f"backbone.blocks.{i}.norm1.weight" in sd:
        block = f"backbone.blocks.{i}"
        found[f"block{i}_in"] = tokens()
        lines = [torch.cat([z[p], z_t[None]]) for p in range(n)]
        added = [
            linear(attention(norm(line, f"{block}.temporal_norm1"), f"{block}.temporal_attn"), name)
            for line, name in ((line, f"{block}.temporal_fc") for line in lines)
        ]
        found[f"block{i}_temporal_fc_out"] = torch.stack(added)
        z = torch.stack([z[p] + added[p][:t] for p in range(n)])
        z_t = torch.stack([z_t + added[p][t] for p in range(n)]).mean(0)
        added = [
            attention(norm(torch.cat([z_s[None], z[:, f]]), f"{block}.norm1"), f"{block}.attn")
            for f in range(t)
        ]
        found[f"block{i}_spatial_attn_out"] = torch.stack(added)
        z = torch.stack([z[:, f] + added[f][1:] for f in range(t)], dim=1)
        raw = torch.stack([added[f][0] for f in range(t)])
        found[f"block{i}_s_cls"] = raw[None]
        z_s = z_s + raw.mean(0)

        def mlp(v: Tensor, block: str = block) -> Tensor:
            hidden = F.gelu(linear(norm(v, f"{block}.norm2"), f"{block}.mlp.fc1"))
            return v + linear(hidden, f"{block}.mlp.fc2")

        z, z_s, z_t = mlp(z), mlp(z_s), mlp(z_t)
        found[f"block{i}_out"] = tokens()
        i += 1
    final = norm(tokens(), "backbone.norm")
    found["norm_tokens"] = final
    found["feat_cls"] = final[:, -1:]
    volume = torch.empty(1, d, t, g, g, dtype=torch.float64)
    for place in range(t * n):
        if true_order:
            p, f = divmod(place, t)
            a, b, c = f, p // g, p % g
        else:
            a, b, c = place // n, place % n // g, place % g
        volume[0, :, a, b, c] = final[0, 1 + place]
    found["feat_embed"] = volume
    found["feat_s_cls_token"] = norm(raw, "backbone.norm_s_cls")[None]
    found["out_cls"] = linear(final[:, -1], "keypoint_head.cls.fc_out")

    def convolution(v: Tensor, name: str) -> Tensor:
        return F.conv3d(v, sd[f"{name}.weight"], sd[f"{name}.bias"], padding=(1, 0, 0))

    def layer(v: Tensor, name: str) -> Tensor:
        v = convolution(v, f"{name}.0").movedim(1, -1)
        v = (v - sd[f"{name}.1.running_mean"]) / (sd[f"{name}.1.running_var"] + 1e-5).sqrt()
        return F.gelu(v * sd[f"{name}.1.weight"] + sd[f"{name}.1.bias"]).movedim(-1, 1)

    hm = "keypoint_head.hm"
    found["out_hm"] = convolution(
        layer(layer(volume, f"{hm}.before_proj.0"), f"{hm}.proj.0"), f"{hm}.proj.1"
    )
    per_frame = F.gelu(linear(found["feat_s_cls_token"], "keypoint_head.temp_loc.fc1.0"))
    found["out_temp_loc"] = linear(per_frame.flatten(1), "keypoint_head.temp_loc.fc_out")
    return found


def batch_numbers(
    state: State, x_bcthw: Tensor, heads: int, *, learned: bool = False, true_order: bool = False
) -> dict[str, Tensor]:
    """Several clips as the released code runs them: clip i with position i of clip 0."""
    first = numbers(state, x_bcthw[0], heads)["block0_in"][0, 1:-1]
    t = x_bcthw.shape[2]
    clips = [
        numbers(
            state, x, heads, temporal_token=first[i * t], learned=learned, true_order=true_order
        )
        for i, x in enumerate(x_bcthw)
    ]
    return {name: torch.cat([clip[name] for clip in clips]) for name in clips[0]}


def write_reference(path: Path, sizes: Sizes, seed: int) -> State:
    """A file of the form of release_tiny.npz; returns the state in it."""
    state = random_state(sizes, seed)
    g = torch.Generator().manual_seed(seed + 1)
    x = torch.randn(2, 3, sizes.frames, sizes.image, sizes.image, generator=g)
    arrays: dict[str, Tensor] = {f"sd/{name}": value for name, value in state.items()}
    arrays |= {"x": x[:1], "b2/x": x}
    outputs = ("feat_cls", "feat_embed", "feat_s_cls_token", "out_cls", "out_temp_loc", "out_hm")
    mends = {
        "": (False, False),
        "fixtemp": (True, False),
        "fixembed": (False, True),
        "fixboth": (True, True),
    }
    for prefix, (learned, true_order) in mends.items():
        one = numbers(state, x[0], sizes.heads, learned=learned, true_order=true_order)
        names = outputs if prefix in ("fixtemp", "fixembed") else tuple(one)
        for name in names:
            arrays[f"{prefix}/{name}".removeprefix("/")] = one[name].float()
        if prefix in ("", "fixboth"):
            tail = f"_{prefix}" if prefix else ""
            both = batch_numbers(state, x, sizes.heads, learned=learned, true_order=true_order)
            arrays |= {f"f64{tail}/{name}": one[name] for name in outputs}
            arrays |= {f"b2{tail}/{name}": both[name].float() for name in outputs}
    hm, cls, temp_loc = (arrays[f"b2/out_{name}"].double() for name in ("hm", "cls", "temp_loc"))
    target = torch.randn(hm.shape, generator=g)
    mask = (torch.rand(hm.shape, generator=g) > 0.2).float()
    label = torch.tensor([[0.0], [1.0]])
    soft = torch.rand(temp_loc.shape, generator=g)
    entropy = F.binary_cross_entropy_with_logits
    arrays |= {
        "loss/target_hm": target,
        "loss/target_mask": mask,
        "loss/target_cls": label,
        "loss/target_temp_loc": soft,
        "loss/hm": (100 * 0.5 * ((hm - target) ** 2 * mask).mean()).float(),
        "loss/cls": (0.8 * entropy(cls / 2, label.double())).float(),
        "loss/temp_loc": (0.2 * entropy(temp_loc, soft.double())).float(),
    }
    np.savez(path, **{name: value.numpy() for name, value in arrays.items()})
    return state
