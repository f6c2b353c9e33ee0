"""The network that the authors released, for their own weights: not the paper's in three ways.

1. One spatial and one temporal token per clip: their mean over frames or positions leaves every
   block.
2. The temporal token that enters the first block is not the learned one but the embedded patch at
   position 0 of frame 0, of the same clip. (The released code, with several clips in a batch, gives
   clip i position i of the *first* clip, so that a score depends on the clip's neighbours; ours is
   what it does with one clip.)
3. Patch tokens, ordered (position, time), are cut into the volume (T, G, G) as if they were
   ordered (time, y, x). h works on that scrambled volume; `true_order` puts its output back.

Modules are named as in the authors' checkpoints, so that the keys of a state are the keys of their
files and there is no table of names. Whatever is not said here is as in fakestormer.py.

Legend: b clips, t frames T, n patch positions N = G * G, d channels D, l tokens of a sequence.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn

from fakestormer.model.attention import MLP, Attention, drop_rows
from fakestormer.model.backbone import PatchStem
from fakestormer.model.fakestormer import initialise_layers, sincos_positions
from fakestormer.model.network import VideoNetwork
from fakestormer.recipe.model import ModelConfig
from fakestormer.types.network import Outputs


def build_release(config: ModelConfig) -> ReleaseNetwork:
    """The released network, to be filled with weights; random until then, as ours starts."""
    network = ReleaseNetwork(config)
    _initialise(network)
    return network


class ReleaseFeatures(NamedTuple):
    """What the heads see: z_t (b, 1, d), the volume (b, d, t, G, G) of h, z_s (b, t, d)."""

    temporal: Tensor
    volume: Tensor
    spatial: Tensor


class ReleaseScores(NamedTuple):
    """What the heads say: f (b, 1), h (b, 1, t, G, G) in the order of its volume, g (b, t)."""

    cls: Tensor
    hm: Tensor
    temp_loc: Tensor


class ReleaseNetwork(VideoNetwork):
    """Backbone and heads as released."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.backbone = ReleaseBackbone(config)
        self.keypoint_head = ReleaseHeads(config)

    @property
    def places(self) -> nn.Module:
        patches = self.backbone.patch_embed
        assert isinstance(patches, nn.Module)
        return patches

    def judge(self, frames_btchw: Tensor) -> Outputs:
        scores = self.scores(frames_btchw)
        return Outputs(
            logit=scores.cls.squeeze(1),
            derivative=true_order(scores.hm),
            frame_logits=scores.temp_loc,
        )

    def scores(self, frames_btchw: Tensor) -> ReleaseScores:
        """Normalised frames (b, t, 3, H, W) -> the heads' own output, h's still scrambled."""
        scores: ReleaseScores = self.keypoint_head(self.backbone(frames_btchw))
        return scores


class ReleaseBackbone(nn.Module):
    """Frames -> tokens [spatial, patches as (position, time), temporal] -> blocks -> features.

    `temp_token` and `norm_t_cls` are in the files; as released nothing uses them.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        c = config
        self.patch_embed = PatchStem(c.width, c.patch_size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, c.width))
        self.temp_token = nn.Parameter(torch.zeros(1, 1, c.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + c.grid**2, c.width))
        self.time_embed = nn.Parameter(torch.zeros(1, c.frames + 1, c.width))
        self.blocks = nn.ModuleList(
            ReleaseBlock(c, drop_path=c.drop_path * i / max(1, c.depth - 1)) for i in range(c.depth)
        )
        self.norm = nn.LayerNorm(c.width, eps=c.norm_eps)
        self.norm_s_cls = nn.LayerNorm(c.width, eps=c.norm_eps)
        self.norm_t_cls = nn.LayerNorm(c.width, eps=c.norm_eps)

    def forward(self, frames_btchw: Tensor) -> ReleaseFeatures:
        t = frames_btchw.shape[1]
        patches_rdyx = self.patch_embed(rearrange(frames_btchw, "b t c h w -> (b t) c h w"))
        grid = patches_rdyx.shape[-1]
        tokens = self.embed(rearrange(patches_rdyx, "(b t) d y x -> b (y x) t d", t=t))
        for block in self.blocks:
            # The spatial token's raw output of the last attention is all that g gets to see.
            tokens, z_s_btd = block(tokens)
        _, z_bntd, z_t_b1d = _split(self.norm(tokens), t)
        volume_bdl = rearrange(z_bntd, "b n t d -> b d (n t)")
        # Point 3: what is (n t) is read as (t y x).
        volume_bdtyx = rearrange(volume_bdl, "b d (t y x) -> b d t y x", t=t, y=grid, x=grid)
        return ReleaseFeatures(z_t_b1d, volume_bdtyx, self.norm_s_cls(z_s_btd))

    def embed(self, patches_bntd: Tensor) -> Tensor:
        """Patches (b, n, t, d) -> all tokens (b, 1 + n t + 1, d) with position and time."""
        b = patches_bntd.shape[0]
        position_n1d, time_td = self.pos_embed[0, 1:, None], self.time_embed[0, :-1]
        z_bntd = patches_bntd + (position_n1d + time_td)
        z_s_b1d = (self.cls_token + self.pos_embed[:, :1]).expand(b, -1, -1)
        # Point 2: the temporal token is a patch.
        return _join(z_s_b1d, z_bntd, z_bntd[:, 0, :1])


class ReleaseBlock(nn.Module):
    """Temporal attention, spatial attention, MLP; the two tokens leave it as means (point 1).

    Stochastic depth drops the output of temporal attention *before* its linear layer, whose bias
    therefore always arrives.
    """

    def __init__(self, config: ModelConfig, *, drop_path: float) -> None:
        super().__init__()
        c = config
        self.frames = c.frames
        self.drop_path = drop_path
        self.temporal_norm1 = nn.LayerNorm(c.width, eps=c.norm_eps)
        self.temporal_attn = Attention(c.width, c.heads)
        self.temporal_fc = nn.Linear(c.width, c.width)
        self.norm1 = nn.LayerNorm(c.width, eps=c.norm_eps)
        self.attn = Attention(c.width, c.heads)
        self.norm2 = nn.LayerNorm(c.width, eps=c.norm_eps)
        self.mlp = MLP(c.width, round(c.width * c.mlp_ratio))

    def forward(self, tokens_bld: Tensor) -> tuple[Tensor, Tensor]:
        """(b, 1 + n t + 1, d) -> the same, and the spatial tokens that g sees, (b, t, d)."""
        z_s_b1d, z_bntd, z_t_b1d = _split(tokens_bld, self.frames)
        b, n, t, d = z_bntd.shape

        lines_bnld = torch.cat([z_bntd, z_t_b1d.expand(b, n, d).unsqueeze(2)], dim=2)
        y_rld = self.temporal_attn(
            self.temporal_norm1(rearrange(lines_bnld, "b n l d -> (b n) l d"))
        )
        y_rld = self.temporal_fc(self._drop(y_rld))
        lines_bnld = lines_bnld + rearrange(y_rld, "(b n) l d -> b n l d", n=n)
        z_bntd, z_t_bnd = lines_bnld[:, :, :t], lines_bnld[:, :, t]

        z_btnd = rearrange(z_bntd, "b n t d -> b t n d")
        frames_btld = torch.cat([z_s_b1d.expand(b, t, d).unsqueeze(2), z_btnd], dim=2)
        y_rld = self.attn(self.norm1(rearrange(frames_btld, "b t l d -> (b t) l d")))
        y_btld = rearrange(self._drop(y_rld), "(b t) l d -> b t l d", t=t)
        y_s_btd, y_btnd = y_btld[:, :, 0], y_btld[:, :, 1:]
        z_bntd = z_bntd + rearrange(y_btnd, "b t n d -> b n t d")
        z_s_b1d = z_s_b1d + y_s_btd.mean(dim=1, keepdim=True)

        tokens_bld = _join(z_s_b1d, z_bntd, z_t_bnd.mean(dim=1, keepdim=True))
        return tokens_bld + self._drop(self.mlp(self.norm2(tokens_bld))), y_s_btd

    def _drop(self, y_rld: Tensor) -> Tensor:
        return drop_rows(y_rld, self.drop_path, training=self.training)


class ReleaseHeads(nn.Module):
    """f, h and g, each under the name it has in the files."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.cls = ReleaseClassificationHead(config.width, config.head_dropout)
        self.hm = ReleaseTemporalHead(config.width)
        self.temp_loc = ReleaseSpatialHead(config.width, config.frames, config.head_dropout)

    def forward(self, features: ReleaseFeatures) -> ReleaseScores:
        return ReleaseScores(
            self.cls(features.temporal), self.hm(features.volume), self.temp_loc(features.spatial)
        )


class ReleaseClassificationHead(nn.Module):
    """f: one linear layer on the temporal token."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.fc_out = nn.Linear(width, 1)

    def forward(self, z_t_b1d: Tensor) -> Tensor:
        """(b, 1, d) -> (b, 1)."""
        logit_b1: Tensor = self.fc_out(self.dropout(z_t_b1d.squeeze(1)))
        return logit_b1


class ReleaseTemporalHead(nn.Module):
    """h: three convolutions along the volume's first axis; the last one is bare."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.before_proj = nn.Sequential(_convolution(width, width))
        self.proj = nn.Sequential(_convolution(width, width // 4), _along_first_axis(width // 4, 1))

    def forward(self, volume_bdtyx: Tensor) -> Tensor:
        """(b, d, t, G, G) -> (b, 1, t, G, G), in the same order."""
        heat_b1tyx: Tensor = self.proj(self.before_proj(volume_bdtyx))
        return heat_b1tyx


class ReleaseSpatialHead(nn.Module):
    """g: D -> D / T for every frame alike, then all frames at once, D -> T."""

    def __init__(self, width: int, frames: int, dropout: float) -> None:
        super().__init__()
        self.fc1 = nn.Sequential(nn.Linear(width, width // frames), nn.GELU(), nn.Dropout(dropout))
        self.fc_out = nn.Linear(width // frames * frames, frames)

    def forward(self, z_s_btd: Tensor) -> Tensor:
        """(b, t, d) -> (b, t)."""
        logits_bt: Tensor = self.fc_out(rearrange(self.fc1(z_s_btd), "b t c -> b (t c)"))
        return logits_bt


def true_order(scrambled_b1tyx: Tensor) -> Tensor:
    """Point 3 undone: h's output (b, 1, t, G, G) as released -> D~ (b, t, G, G) as (t, y, x).

    Read row by row, the output lists the tokens in their own order, (position, time).
    """
    grid = scrambled_b1tyx.shape[-1]
    return rearrange(scrambled_b1tyx.flatten(1), "b (y x t) -> b t y x", y=grid, x=grid)


def _split(tokens_bld: Tensor, t: int) -> tuple[Tensor, Tensor, Tensor]:
    """(b, 1 + n t + 1, d) -> spatial (b, 1, d), patches (b, n, t, d), temporal (b, 1, d)."""
    z_bntd = rearrange(tokens_bld[:, 1:-1], "b (n t) d -> b n t d", t=t)
    return tokens_bld[:, :1], z_bntd, tokens_bld[:, -1:]


def _join(z_s_b1d: Tensor, z_bntd: Tensor, z_t_b1d: Tensor) -> Tensor:
    """What `_split` takes apart."""
    return torch.cat([z_s_b1d, rearrange(z_bntd, "b n t d -> b (n t) d"), z_t_b1d], dim=1)


def _convolution(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(
        _along_first_axis(channels_in, channels_out),
        nn.BatchNorm3d(channels_out, momentum=0.05),
        nn.GELU(),
    )


def _along_first_axis(channels_in: int, channels_out: int) -> nn.Conv3d:
    return nn.Conv3d(channels_in, channels_out, kernel_size=(3, 1, 1), padding=(1, 0, 0))


@torch.no_grad()
def _initialise(network: ReleaseNetwork) -> None:
    """As in fakestormer.py: ViT's, with temporal linear layers and time embedding at zero."""
    initialise_layers(network)
    backbone = network.backbone
    for block in backbone.blocks:
        assert isinstance(block, ReleaseBlock)
        nn.init.zeros_(block.temporal_fc.weight)
    nn.init.trunc_normal_(backbone.cls_token, std=0.02)
    nn.init.trunc_normal_(backbone.temp_token, std=0.02)
    backbone.pos_embed.copy_(sincos_positions(network.config.grid, network.config.width)[None])
