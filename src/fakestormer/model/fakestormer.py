"""FakeSTormer: frames in, what the three heads say out (paper 3.2, 6.10).

Legend: b clips, t frames T, n positions N = G * G, d channels D; frames are (b, t, 3, H, W) RGB.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fakestormer.model.attention import DividedBlock
from fakestormer.model.backbone import Backbone, ConvStem, Features, PatchStem, TokenEmbedding
from fakestormer.model.config import ModelConfig
from fakestormer.model.heads import ClassificationHead, SpatialHead, TemporalHead, patch_volume
from fakestormer.types import Outputs

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


def build(config: ModelConfig) -> FakeSTormer:
    """The whole network. Random weights come from torch's global generator: seed it to repeat."""
    c = config
    network = FakeSTormer(
        config,
        backbone=Backbone(
            stem=(PatchStem if c.stem == "patch" else ConvStem)(c.width, c.patch_size),
            embedding=TokenEmbedding(grid=c.grid, frames=c.frames, width=c.width, tokens=c.tokens),
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
                )
                for i in range(c.depth)
            ],
            width=c.width,
            norm_eps=c.norm_eps,
        ),
        f=ClassificationHead(c.width, c.head_dropout),
        h=TemporalHead(c.width),
        g=SpatialHead(c.width, c.head_dropout),
    )
    _initialise(network)
    if c.temporal_init == "copy_spatial":
        copy_spatial_to_temporal(network)
    return network


class FakeSTormer(nn.Module):
    """Backbone and the heads f, h, g; the normalisation of pixels is inside."""

    pixel_scale: Tensor
    pixel_shift: Tensor

    def __init__(
        self,
        config: ModelConfig,
        *,
        backbone: Backbone,
        f: ClassificationHead,
        h: TemporalHead,
        g: SpatialHead,
    ) -> None:
        super().__init__()
        self.config = config
        self.backbone = backbone
        self.f = f
        self.h = h
        self.g = g
        mean, std = torch.tensor(_IMAGENET_MEAN), torch.tensor(_IMAGENET_STD)
        # Constants, not weights: not in the state.
        self.register_buffer("pixel_scale", (1 / (255 * std)).view(3, 1, 1), persistent=False)
        self.register_buffer("pixel_shift", (-mean / std).view(3, 1, 1), persistent=False)

    @property
    def patch_size(self) -> int:
        """P, in pixels."""
        return self.config.patch_size

    def forward(self, frames_btchw: Tensor) -> Outputs:
        """Clips -> f, h, g. Frames: (b, T, 3, H, W), RGB, uint8 or floating, values 0..255.

        Raises ValueError when T, H, W or the dtype are not what the network was built for.
        """
        return self.heads(self.features(frames_btchw))

    def features(self, frames_btchw: Tensor, *, with_attention: bool = False) -> Features:
        """Eq. 4, before the heads; `with_attention` adds the spatial tokens' last attention."""
        c = self.config
        wanted = (c.frames, 3, c.image_size, c.image_size)
        if frames_btchw.ndim != 5 or tuple(frames_btchw.shape[1:]) != wanted:
            raise ValueError(
                f"FakeSTormer: expected frames of shape (B, {', '.join(map(str, wanted))}), got "
                f"{tuple(frames_btchw.shape)}; cut clips of {c.frames} frames and resize their "
                f"crops to {c.image_size} px"
            )
        if frames_btchw.dtype != torch.uint8 and not frames_btchw.is_floating_point():
            raise ValueError(
                f"FakeSTormer: expected uint8 or floating frames, got {frames_btchw.dtype}"
            )
        frames = torch.addcmul(
            self.pixel_shift, frames_btchw.to(self.pixel_scale.dtype), self.pixel_scale
        )
        features: Features = self.backbone(frames, with_attention=with_attention)
        return features

    def heads(self, features: Features) -> Outputs:
        """Eqs. 7, 10 and 12, on what `features` gave."""
        return Outputs(
            logit=self.f(features.temporal),
            derivative=self.h(patch_volume(features.patches, self.config.grid)),
            frame_logits=self.g(features.spatial),
        )


def copy_spatial_to_temporal(network: FakeSTormer) -> None:
    """Start every temporal attention, with its norm, from the spatial one of its block."""
    for block in network.backbone.blocks:
        assert isinstance(block, DividedBlock)
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
def _initialise(network: FakeSTormer) -> None:
    """ViT's initialisation; the temporal linear layers and the time embedding start at zero."""
    for module in network.backbone.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)
    for block in network.backbone.blocks:
        assert isinstance(block, DividedBlock)
        nn.init.zeros_(block.temporal_linear.weight)
    for head in (network.f.linear, network.g.linear1, network.g.linear2):
        nn.init.trunc_normal_(head.weight, std=0.02)
        nn.init.zeros_(head.bias)
    stem = network.backbone.stem
    if isinstance(stem, PatchStem):
        # As the linear layer that it is (MAE): Xavier over (patch pixels, D).
        nn.init.xavier_uniform_(stem.proj.weight.flatten(1))
        nn.init.zeros_(stem.proj.bias)  # type: ignore[arg-type]
    embedding = network.backbone.embedding
    nn.init.trunc_normal_(embedding.spatial_token, std=0.02)
    nn.init.trunc_normal_(embedding.temporal_token, std=0.02)
    embedding.position.copy_(sincos_positions(network.config.grid, network.config.width))
