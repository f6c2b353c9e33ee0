"""FakeSTormer: frames in, what the three heads say out (paper 3.2, 6.10).

Legend: b clips, t frames T, n positions N = G * G, d channels D; frames are (b, t, 3, H, W) RGB.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from einops import rearrange
from torch import Tensor, nn

from fakestormer.model.attention import DividedBlock, DividedLayers
from fakestormer.model.backbone import Backbone, Features, PatchStem, TokenEmbedding, stem_of
from fakestormer.model.efficientnet import EfficientNetStem, ReferenceStem
from fakestormer.model.heads import (
    BoundaryHead,
    ClassificationHead,
    SpatialHead,
    SurroundingsHead,
    TemporalHead,
    patch_volume,
)
from fakestormer.model.network import VideoNetwork
from fakestormer.model.rotation import Rotation
from fakestormer.recipe.model import ModelConfig
from fakestormer.types.network import Outputs


def build_fakestormer(config: ModelConfig) -> FakeSTormer:
    """The whole network. Random weights come from torch's global generator."""
    c = config
    rotation = None
    if c.rotary != "none":
        rotation = Rotation(c.rotary, grid=c.grid, channels=c.width // c.heads)
    network = FakeSTormer(
        config,
        backbone=Backbone(
            stem=stem_of(c),
            embedding=TokenEmbedding(
                grid=c.grid,
                frames=c.frames,
                width=c.width,
                tokens=c.tokens,
                registers=c.registers,
                pre_norm=nn.LayerNorm(c.width, eps=c.norm_eps) if c.pre_norm else None,
            ),
            blocks=[
                DividedBlock(
                    c.width,
                    c.heads,
                    mlp_hidden=round(c.width * c.mlp_ratio),
                    drop_path=c.drop_path * i / max(1, c.depth - 1),
                    norm_eps=c.norm_eps,
                    # g wants one spatial token per frame, so the last block keeps them apart.
                    average="neither"
                    if c.tokens == "separate"
                    else "both"
                    if i < c.depth - 1
                    else "temporal",
                    activation=c.activation,
                    rotation=rotation,
                )
                for i in range(c.depth)
            ],
            width=c.width,
            norm_eps=c.norm_eps,
        ),
        f=ClassificationHead(c.width, c.head_dropout)
        if c.classifier == "tokens"
        else SurroundingsHead(ReferenceStem.CHANNELS, c.grid),
        reference=None if c.classifier == "tokens" else ReferenceStem(),
        h=TemporalHead(c.width) if "h" in c.branches else None,
        g=SpatialHead(c.width, c.head_dropout) if "g" in c.branches else None,
        b=BoundaryHead(c.width) if "b" in c.branches else None,
    )
    _initialise(network)
    if c.temporal_init == "copy_spatial":
        copy_spatial_to_temporal(network)
    return network


class FakeSTormer(VideoNetwork):
    """Backbone and the heads f, h, g, b; all but f are None where the configuration says so.

    reference: what f looks at where it is a SurroundingsHead, else None.
    """

    def __init__(
        self,
        config: ModelConfig,
        *,
        backbone: Backbone,
        f: ClassificationHead | SurroundingsHead,
        h: TemporalHead | None,
        g: SpatialHead | None,
        b: BoundaryHead | None = None,
        reference: ReferenceStem | None = None,
    ) -> None:
        super().__init__(config)
        self.backbone = backbone
        self.f = f
        self.h = h
        self.g = g
        self.b = b
        self.reference = reference

    def judge(self, frames_btchw: Tensor) -> Outputs:
        return self.heads(self._features(frames_btchw))

    @property
    def places(self) -> nn.Module:
        stem = self.backbone.stem
        assert isinstance(stem, nn.Module)
        return stem.proj if isinstance(stem, EfficientNetStem) else stem

    @property
    def f_stands_alone(self) -> bool:
        return isinstance(self.f, SurroundingsHead)

    def classify(self, frames_btchw: Tensor) -> Outputs:
        if not isinstance(self.f, SurroundingsHead):
            return super().classify(frames_btchw)
        seen_btcyx = self._seen(self.normalise(frames_btchw))
        return Outputs(
            logit=self.f(seen_btcyx),
            derivative=None,
            frame_logits=None,
            distance=self.f.distance(seen_btcyx),
            evidence=self.f.evidence(seen_btcyx),
        )

    def features(self, frames_btchw: Tensor, *, with_attention: bool = False) -> Features:
        """Eq. 4, before the heads; `with_attention` adds the spatial tokens' last attention.

        Frames as `forward` takes them.
        """
        return self._features(self.normalise(frames_btchw), with_attention=with_attention)

    def _features(self, normalised_btchw: Tensor, *, with_attention: bool = False) -> Features:
        features: Features = self.backbone(normalised_btchw, with_attention=with_attention)
        if self.reference is None:
            return features
        return replace(features, reference=self._seen(normalised_btchw))

    def _seen(self, normalised_btchw: Tensor) -> Tensor:
        """Normalised frames -> what the reference sees of them, (b, t, c, G, G)."""
        assert self.reference is not None
        seen_rcyx = self.reference(rearrange(normalised_btchw, "b t c h w -> (b t) c h w"))
        # By t, which is fixed: an exported graph takes any number of clips.
        t = self.config.frames
        seen_btcyx: Tensor = rearrange(seen_rcyx, "(b t) c y x -> b t c y x", t=t)
        return seen_btcyx

    def heads(self, features: Features) -> Outputs:
        """Eqs. 7, 10 and 12, on what `features` gave."""
        derivative = frame_logits = boundary_logits = distance = None
        if self.h is not None:
            derivative = self.h(patch_volume(features.patches, self.config.grid))
        if self.g is not None:
            frame_logits = self.g(features.spatial)
        if self.b is not None and self.training:
            boundary_logits = self.b(features.patches, self.config.grid)
        if isinstance(self.f, SurroundingsHead):
            assert features.reference is not None
            logit = self.f(features.reference)
            if not self.training:
                distance = self.f.distance(features.reference)
        else:
            logit = self.f(features.temporal)
        return Outputs(
            logit=logit,
            derivative=derivative,
            frame_logits=frame_logits,
            boundary_logits=boundary_logits,
            distance=distance,
        )


def copy_spatial_to_temporal(network: nn.Module) -> None:
    """Start every temporal attention, with its norm, from the spatial one of its block."""
    for block in network.modules():
        if isinstance(block, DividedLayers):
            block.temporal_norm.load_state_dict(block.spatial_norm.state_dict())
            block.temporal_attention.load_state_dict(block.spatial_attention.state_dict())


def sincos_positions(grid: int, width: int) -> Tensor:
    """Fixed 2-D sine-cosine embedding, (1 + G * G, D), slot 0 zero: where `position` starts.

    The same construction as MAE's, whose weights replace it: the first half of the channels
    encodes x, the second y, each as [sin, cos] of D/4 frequencies from 1 down to 1/10000.
    """
    omega = 10000.0 ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    angles = torch.arange(grid, dtype=torch.float64)[:, None] * omega
    axis = torch.cat([angles.sin(), angles.cos()], dim=1)
    along_x = axis[None].expand(grid, -1, -1)
    along_y = axis[:, None].expand(-1, grid, -1)
    table = torch.cat([along_x, along_y], dim=2).reshape(grid * grid, width)
    return torch.cat([torch.zeros(1, width), table.float()])


@torch.no_grad()
def initialise_layers(network: nn.Module) -> None:
    """ViT's initialisation of linear layers and patches; temporal linear layers start at zero."""
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)
    for module in network.modules():
        if isinstance(module, DividedLayers):
            nn.init.zeros_(module.temporal_linear.weight)
        elif isinstance(module, PatchStem):
            # As the linear layer that it is (MAE): Xavier over (patch pixels, D).
            nn.init.xavier_uniform_(module.proj.weight.flatten(1))
            nn.init.zeros_(module.proj.bias)  # type: ignore[arg-type]


@torch.no_grad()
def _initialise(network: FakeSTormer) -> None:
    """Tokens as ViT's class token, fixed positions; the time embedding is zero already."""
    initialise_layers(network)
    embedding = network.backbone.embedding
    nn.init.trunc_normal_(embedding.spatial_token, std=0.02)
    nn.init.trunc_normal_(embedding.temporal_token, std=0.02)
    if embedding.registers is not None:
        nn.init.trunc_normal_(embedding.registers, std=0.02)
    embedding.position.copy_(sincos_positions(network.config.grid, network.config.width))
