"""Revisited TimeSformer (paper 3.2.1, 6.10, eq. 4): normalised frames -> three kinds of tokens.

Legend: b clips, t frames T, c colours, n patch positions N = G * G (row by row), d channels D.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from fakestormer.model.attention import DividedBlock
from fakestormer.model.efficientnet import EfficientNetStem
from fakestormer.recipe.model import ModelConfig


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """What the heads see (eq. 4), each kind after a LayerNorm of its own.

    patches: Z (b, t, n, d). spatial: z_s (b, t, d). temporal: z_t (b, n, d).
    spatial_attention: only when asked for: (b, t, heads, G, G), what each frame's spatial token
    attends to in the last block; the sum over (G, G) is 1 less what the token gives itself and
    registers.
    reference: of the classifier "surroundings" alone: (b, t, c, G, G), what ImageNet's layers see.
    """

    patches: Tensor
    spatial: Tensor
    temporal: Tensor
    spatial_attention: Tensor | None = None
    reference: Tensor | None = None


class PatchStem(nn.Module):
    """ViT's stem: one linear map per patch, written as a convolution."""

    def __init__(self, width: int, patch_size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, kernel_size=patch_size, stride=patch_size)

    def forward(self, frames_rchw: Tensor) -> Tensor:
        """(r, 3, H, W) -> (r, d, G, G); r frames, each on its own."""
        y: Tensor = self.proj(frames_rchw)
        return y


class ConvStem(nn.Module):
    """3x3 convolutions of stride 2 down to the patch grid, then a 1x1 to D channels.

    Learns edges from little data, where a ViT's 16 x 16 linear map does not. Channels rise evenly
    to D. BatchNorm left the first plateau in fewer steps than GroupNorm (one seed,
    docs/experiments.md); like h's, its statistics are those of the batch in training only.

    residuals: show it, beside the colours, what a `HighPass` leaves of the frame. deep: a
    `ResidualBlock` after every halving but the first, and ReLU, which costs less than GELU.
    """

    def __init__(
        self, width: int, patch_size: int, *, residuals: bool = False, deep: bool = False
    ) -> None:
        super().__init__()
        self.high_pass = HighPass() if residuals else None
        steps = patch_size.bit_length() - 1
        first = 3 + (2 if residuals else 0)
        channels = [first, *(width * (i + 1) // steps for i in range(steps))]
        layers: list[nn.Module] = []
        for halved, (before, after) in enumerate(itertools.pairwise(channels), start=1):
            layers += [
                nn.Conv2d(before, after, kernel_size=3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU() if deep else nn.GELU(),
            ]
            if deep and halved > 1:
                layers.append(ResidualBlock(after))
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels[-1], width, kernel_size=1))

    def forward(self, frames_rchw: Tensor) -> Tensor:
        """(r, 3, H, W) -> (r, d, G, G); r frames, each on its own."""
        if self.high_pass is not None:
            frames_rchw = torch.cat([frames_rchw, self.high_pass(frames_rchw)], dim=1)
        # Colours last in memory: half the time of a training step on a CPU in bfloat16.
        frames_rchw = frames_rchw.contiguous(memory_format=torch.channels_last)
        y: Tensor = self.layers(frames_rchw)
        return y


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside the way past them (He et al. 2016); size and channels stay."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x_rchw: Tensor) -> Tensor:
        """(r, c, h, w) -> the same."""
        return F.relu(x_rchw + self.layers(x_rchw))


class HighPass(nn.Module):
    """What two fixed filters leave of a frame's grey values: noise and sharpness, not content.

    The 3x3 and 5x5 kernels of the rich models for steganalysis (Fridrich and Kodovsky 2012), as
    image forensics uses them: 0 on flat and linearly rising regions. Clipped to +-3, so that
    strong edges do not drown the rest. Nothing here is learned. A pseudo-fake differs from its
    real twin by traces of this size, and a network from scratch would have to find them first.
    """

    kernels: Tensor

    _GAIN = 4.0
    _LIMIT = 3.0

    def __init__(self) -> None:
        super().__init__()
        square = torch.tensor(
            [
                [-1.0, 2, -2, 2, -1],
                [2, -6, 8, -6, 2],
                [-2, 8, -12, 8, -2],
                [2, -6, 8, -6, 2],
                [-1, 2, -2, 2, -1],
            ]
        )
        small = torch.zeros(5, 5)
        small[1:4, 1:4] = torch.tensor([[-1.0, 2, -1], [2, -4, 2], [-1, 2, -1]])
        kernels = torch.stack([square / 12, small / 4])[:, None] * self._GAIN
        self.register_buffer("kernels", kernels, persistent=False)

    def forward(self, frames_rchw: Tensor) -> Tensor:
        """(r, 3, H, W) -> (r, 2, H, W)."""
        grey = frames_rchw.mean(dim=1, keepdim=True)
        padded = F.pad(grey, (2, 2, 2, 2), mode="reflect")
        return F.conv2d(padded, self.kernels.to(grey.dtype)).clamp(-self._LIMIT, self._LIMIT)


#: Normalised frames (r, 3, H, W) -> (r, d, G, G).
Stem = PatchStem | ConvStem | EfficientNetStem


def stem_of(config: ModelConfig) -> Stem:
    """The stem that a configuration names."""
    if config.stem in ("efficientnet-lite0", "efficientnet-lite2"):
        return EfficientNetStem(config.stem, config.width, frozen=config.frozen_stages)
    if config.stem == "patch":
        return PatchStem(config.width, config.patch_size)
    return ConvStem(
        config.width,
        config.patch_size,
        residuals=config.stem in ("residual", "deep"),
        deep=config.stem == "deep",
    )


class TokenEmbedding(nn.Module):
    """Patches -> tokens that know their place in space and time.

    position (1 + N, D): slot 0 is the image model's class token's, slot 1 + p patch position p's.
    time (T + 1, D): slot t is frame t's, slot T stands for "no frame in particular".

        patch (t, p)       patch           + position[1 + p] + time[t]
        spatial token t    spatial_token   + position[0]     + time[t]
        temporal token p   temporal_token  + position[1 + p] + time[T]
        register           registers[r], the same in every frame

    pre_norm: a LayerNorm of them all, where there is one.
    Averaged tokens stand for the whole clip and carry only what does not vary: the spatial one
    position[0], the temporal one time[T].
    """

    def __init__(
        self,
        *,
        grid: int,
        frames: int,
        width: int,
        tokens: Literal["separate", "averaged"],
        registers: int = 0,
        pre_norm: nn.LayerNorm | None = None,
    ) -> None:
        super().__init__()
        self.tokens = tokens
        self.position = nn.Parameter(torch.zeros(1 + grid * grid, width))
        self.time = nn.Parameter(torch.zeros(frames + 1, width))
        self.spatial_token = nn.Parameter(torch.zeros(width))
        self.temporal_token = nn.Parameter(torch.zeros(width))
        self.registers = nn.Parameter(torch.zeros(registers, width)) if registers else None
        self.pre_norm = pre_norm

    def forward(self, patches_btnd: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(b, t, n, d) -> patches (b, t, n, d), frames' tokens (b, s, k, d), temporal (b, p, d).

        Of a frame's k tokens the first is the spatial one, the others are registers.
        """
        b = patches_btnd.shape[0]
        place_nd, time_td = self.position[1:], self.time[:-1]
        z_btnd = patches_btnd + (place_nd + time_td[:, None])
        z_s_sd = (self.spatial_token + self.position[0])[None]
        z_t_pd = (self.temporal_token + self.time[-1])[None]
        if self.tokens == "separate":
            z_s_sd = z_s_sd + time_td
            z_t_pd = z_t_pd + place_nd
        z_s_skd = z_s_sd[:, None]
        if self.registers is not None:
            z_s_skd = torch.cat([z_s_skd, self.registers.expand(len(z_s_sd), -1, -1)], dim=1)
        if self.pre_norm is not None:
            z_btnd, z_s_skd, z_t_pd = map(self.pre_norm, (z_btnd, z_s_skd, z_t_pd))
        return z_btnd, z_s_skd.expand(b, -1, -1, -1), z_t_pd.expand(b, -1, -1)


class Backbone(nn.Module):
    """Phi of eq. 4."""

    def __init__(
        self,
        *,
        stem: Stem,
        embedding: TokenEmbedding,
        blocks: Iterable[DividedBlock],
        width: int,
        norm_eps: float,
    ) -> None:
        super().__init__()
        self.stem = stem
        self.embedding = embedding
        self.blocks = nn.ModuleList(blocks)
        self.patch_norm = nn.LayerNorm(width, eps=norm_eps)
        self.spatial_norm = nn.LayerNorm(width, eps=norm_eps)
        self.temporal_norm = nn.LayerNorm(width, eps=norm_eps)

    def forward(self, frames_btchw: Tensor, *, with_attention: bool = False) -> Features:
        """Frames (b, t, 3, H, W), normalised and floating -> Features."""
        b, t = frames_btchw.shape[:2]
        frames_rchw = rearrange(frames_btchw, "b t c h w -> (b t) c h w")
        patches_rdyx = self.stem(frames_rchw)
        grid = patches_rdyx.shape[-1]
        z, z_s, z_t = self.embedding(rearrange(patches_rdyx, "(b t) d y x -> b t (y x) d", t=t))
        attention = None
        for number, block in enumerate(self.blocks, start=1):
            assert isinstance(block, DividedBlock)
            if with_attention and number == len(self.blocks):
                weights_bthl = block.spatial_attention_map(z, z_s, z_t)
                attention = rearrange(
                    weights_bthl[..., z_s.shape[2] :], "b t h (y x) -> b t h y x", y=grid, x=grid
                )
            z, z_s, z_t = block(z, z_s, z_t)
        return Features(
            patches=self.patch_norm(z),
            spatial=self.spatial_norm(z_s[:, :, 0]).expand(b, t, -1),
            temporal=self.temporal_norm(z_t).expand(b, grid * grid, -1),
            spatial_attention=attention,
        )
