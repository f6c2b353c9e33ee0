"""The two plain binary classifiers that the paper compares with (Tables 3, 5 and 9).

Neither has h or g: they say "fake" or "real" of a clip, and nothing of where or why.

Legend: b clips, t frames T, n positions N = G * G, d channels D; frames are (b, t, 3, H, W) RGB.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from einops import rearrange
from torch import Tensor, nn

from fakestormer.errors import needs
from fakestormer.model.attention import DividedLayers
from fakestormer.model.backbone import Stem, stem_of
from fakestormer.model.fakestormer import (
    copy_spatial_to_temporal,
    initialise_layers,
    sincos_positions,
)
from fakestormer.model.heads import ClassificationHead
from fakestormer.model.network import VideoNetwork
from fakestormer.recipe.model import ModelConfig
from fakestormer.types.network import Outputs


def build_timesformer(config: ModelConfig) -> PlainTimeSformer:
    """The plain TimeSformer. Random weights come from torch's global generator."""
    c = config
    network = PlainTimeSformer(
        config,
        backbone=ClassTokenBackbone(
            stem=stem_of(c),
            embedding=ClassTokenEmbedding(grid=c.grid, frames=c.frames, width=c.width),
            blocks=[
                ClassTokenBlock(
                    c.width,
                    c.heads,
                    mlp_hidden=round(c.width * c.mlp_ratio),
                    drop_path=c.drop_path * i / max(1, c.depth - 1),
                    norm_eps=c.norm_eps,
                )
                for i in range(c.depth)
            ],
            width=c.width,
            norm_eps=c.norm_eps,
        ),
        f=ClassificationHead(c.width, c.head_dropout),
    )
    initialise_layers(network)
    embedding = network.backbone.embedding
    nn.init.trunc_normal_(embedding.class_token, std=0.02)
    with torch.no_grad():
        embedding.position.copy_(sincos_positions(c.grid, c.width))
    if c.temporal_init == "copy_spatial":
        copy_spatial_to_temporal(network)
    return network


class PlainTimeSformer(VideoNetwork):
    """TimeSformer with divided space-time attention (Bertasius et al., ICML 2021).

    What FakeSTormer revisits: one class token per clip in place of the spatial and the temporal
    tokens, and no heads but f.
    """

    def __init__(
        self, config: ModelConfig, *, backbone: ClassTokenBackbone, f: ClassificationHead
    ) -> None:
        super().__init__(config)
        self.backbone = backbone
        self.f = f

    @property
    def places(self) -> nn.Module:
        return self.backbone.stem

    def judge(self, frames_btchw: Tensor) -> Outputs:
        z_c_b1d = self.backbone(frames_btchw)
        return Outputs(logit=self.f(z_c_b1d), derivative=None, frame_logits=None)


class ClassTokenBackbone(nn.Module):
    """Normalised frames -> the class token of each clip."""

    def __init__(
        self,
        *,
        stem: Stem,
        embedding: ClassTokenEmbedding,
        blocks: Iterable[ClassTokenBlock],
        width: int,
        norm_eps: float,
    ) -> None:
        super().__init__()
        self.stem = stem
        self.embedding = embedding
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(width, eps=norm_eps)

    def forward(self, frames_btchw: Tensor) -> Tensor:
        """Frames (b, t, 3, H, W), normalised and floating -> (b, 1, d)."""
        t = frames_btchw.shape[1]
        patches_rdyx = self.stem(rearrange(frames_btchw, "b t c h w -> (b t) c h w"))
        z, z_c = self.embedding(rearrange(patches_rdyx, "(b t) d y x -> b t (y x) d", t=t))
        for block in self.blocks:
            z, z_c = block(z, z_c)
        y_b1d: Tensor = self.norm(z_c)
        return y_b1d


class ClassTokenEmbedding(nn.Module):
    """Patches -> tokens that know their place in space and time.

    position (1 + N, D): slot 0 is the class token's, slot 1 + p patch position p's. time (T, D).

        patch (t, p)   patch         + position[1 + p] + time[t]
        class token    class_token   + position[0]
    """

    def __init__(self, *, grid: int, frames: int, width: int) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.zeros(1 + grid * grid, width))
        self.time = nn.Parameter(torch.zeros(frames, width))
        self.class_token = nn.Parameter(torch.zeros(width))

    def forward(self, patches_btnd: Tensor) -> tuple[Tensor, Tensor]:
        """(b, t, n, d) -> patch tokens (b, t, n, d), class token (b, 1, d)."""
        z_btnd = patches_btnd + (self.position[1:] + self.time[:, None])
        z_c_d = self.class_token + self.position[0]
        return z_btnd, z_c_d.expand(patches_btnd.shape[0], 1, -1)


class ClassTokenBlock(DividedLayers):
    """Temporal attention, then spatial attention, then MLP; pre-norm, each with a residual.

    The class token takes no part in temporal attention. In spatial attention it is repeated to
    every frame, attends within each, and is then the mean over the frames.
    """

    def forward(self, z_btnd: Tensor, z_c: Tensor) -> tuple[Tensor, Tensor]:
        """(b, t, n, d), (b, 1, d) -> the same."""
        y_bntd = self._over_time(rearrange(z_btnd, "b t n d -> b n t d"))
        z_btnd = z_btnd + rearrange(y_bntd, "b n t d -> b t n d")
        y_patches, y_token = self._over_space(z_btnd, z_c.unsqueeze(2))
        z_btnd = z_btnd + y_patches
        z_c = z_c + y_token.squeeze(2).mean(dim=1, keepdim=True)
        keep_b = self._keep(z_btnd)
        return self._mlp(z_btnd, keep_b), self._mlp(z_c, keep_b)


# The width from which the 3-D ResNet is Hara's ResNet-50; it lies between small's and base's.
_FULL_SIZE = 512


def build_resnet3d(config: ModelConfig) -> ResNet3D:
    """The 3-D ResNet. Random weights come from torch's global generator.

    From width 512 on (recipes `paper` and `release`) this is the ResNet-50 3-D of Hara et al. with
    all its channels. That is out of a CPU's reach, so below (recipes `small` and `tiny`) it is
    their ResNet-18 3-D with all channels scaled by width / 768, the first 64 to 32 and 8; the one
    of `tiny` costs what tiny's FakeSTormer costs. Such a thin one is a baseline for a network of
    its own size, and not the one of the paper's tables.

    Raises SetupError where MONAI is not installed.
    """
    with needs("architecture 'resnet3d'", "fakestormer[baselines]"):
        # Takes seconds to import, so only those wait who want it.
        from monai.networks.nets.resnet import ResNet
    full = config.width >= _FULL_SIZE
    channels = 64 if full else max(1, round(64 * config.width / 768))
    return ResNet3D(
        config,
        ResNet(
            block="bottleneck" if full else "basic",
            layers=[3, 4, 6, 3] if full else [2, 2, 2, 2],
            block_inplanes=[channels, 2 * channels, 4 * channels, 8 * channels],
            spatial_dims=3,
            n_input_channels=3,
            num_classes=1,
            # Kinetics' networks keep every frame in the first convolution and halve H and W only.
            conv1_t_size=7,
            conv1_t_stride=(1, 2, 2),
            shortcut_type="B",
            bias_downsample=False,
        ),
    )


class ResNet3D(VideoNetwork):
    """ResNet of 3-D convolutions as for Kinetics (Hara et al., CVPR 2018), from MONAI.

    resnet: (b, 3, t, H, W) -> (b, 1).
    """

    def __init__(self, config: ModelConfig, resnet: nn.Module) -> None:
        super().__init__(config)
        self.resnet = resnet

    @property
    def places(self) -> nn.Module:
        layer = self.resnet.layer3
        assert isinstance(layer, nn.Module)
        return layer

    def judge(self, frames_btchw: Tensor) -> Outputs:
        logit_b1: Tensor = self.resnet(rearrange(frames_btchw, "b t c h w -> b c t h w"))
        return Outputs(logit=logit_b1.squeeze(1), derivative=None, frame_logits=None)
