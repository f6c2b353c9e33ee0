"""The shape of the network, as one typed value, and three sizes of it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Architecture = Literal["fakestormer", "release", "timesformer", "resnet3d"]
Branch = Literal["h", "g", "b"]
Stem = Literal["patch", "conv", "residual", "deep", "efficientnet-lite0", "efficientnet-lite2"]
Activation = Literal["gelu", "quick_gelu"]
Rotary = Literal["none", "frame", "grid"]

#: Pixels per token, along each side, of the EfficientNet stems.
STEM_STRIDE = 16


class ModelConfig(BaseModel):
    """Everything `build` needs (paper 3.2, 6.10). Sizes in pixels, frames or channels.

    architecture: "fakestormer" is the paper's network; "release" the authors' released one, for
    their own weights (model/release.py); "timesformer" and "resnet3d" the plain binary classifiers
    that the paper compares with (model/baselines.py), which have neither h nor g.
    branches: the auxiliary heads beside f, "h" and "g" (Table 5 leaves them out in turn). "b" is
    ours: it learns the boundary itself, whose change over time h learns, in training only.
    tokens: "separate" keeps one spatial token per frame and one temporal token per position
    (paper); "averaged" keeps one of each per clip between blocks, the mean (the release).
    temporal_init: "copy_spatial" starts each temporal attention from the spatial attention of its
    block, as TimeSformer does; "default" from random weights.
    stem: "patch" is ViT's one linear layer per patch; "conv" is a small stack of convolutions,
    which learns faster from scratch on little data and has no counterpart in MAE weights;
    "residual" is the same with what two fixed high-pass filters leave of the frame beside it;
    "deep" is that with a residual block of two more convolutions at every level but the first;
    "efficientnet-lite0" and "efficientnet-lite2" are that network's layers up to stride 16.
    pretrained_stem: an EfficientNet stem starts a training from ImageNet's weights, which the extra
    `pretrained` brings; without, from random ones. frozen_stages: so many of its parts (the first
    convolution, then the five stages) never train, nor do the statistics of their BatchNorm.
    classifier: what f looks at: the temporal "tokens" (paper), or the face against its
    "surroundings" (ours, model/heads.py), which `fakestormer fit` puts in the place of a trained f.
    drop_path: stochastic depth of the last block; it rises linearly from 0 at the first.
    registers: tokens of each frame beside its spatial token, which no head sees (DINOv2 and DINOv3
    have 4). pre_norm: a LayerNorm before the first block (CLIP, PE). activation: of the MLPs;
    "quick_gelu" is that of OpenAI's CLIP. rotary: how spatial attention turns queries and keys by
    the place of their patch: "frame" counts places from -1 to 1 over the frame (DINOv3), "grid" in
    patches (PE); model/rotation.py. The four are there for published weights: docs/foundation.md.

    "timesformer" has one class token per clip, so `tokens` says nothing to it. "resnet3d" has
    neither patches nor blocks to choose: it takes image_size, frames and width (model/baselines.py
    says which network a width gives) and ignores depth, heads, mlp_ratio, drop_path, head_dropout,
    tokens, temporal_init, stem and norm_eps; its patch_size is only that of cutout and of the
    targets, which are made for every network alike.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: Architecture = "fakestormer"
    branches: tuple[Branch, ...] = ("h", "g")
    image_size: int = Field(default=224, gt=0)
    patch_size: int = Field(default=16, gt=0)
    frames: int = Field(default=4, ge=1)
    width: int = Field(default=768, gt=0)
    depth: int = Field(default=12, gt=0)
    heads: int = Field(default=12, gt=0)
    mlp_ratio: float = Field(default=4.0, gt=0)
    drop_path: float = Field(default=0.3, ge=0, lt=1)
    head_dropout: float = Field(default=0.2, ge=0, lt=1)
    tokens: Literal["separate", "averaged"] = "separate"
    temporal_init: Literal["default", "copy_spatial"] = "default"
    stem: Stem = "patch"
    pretrained_stem: bool = True
    frozen_stages: int = Field(default=0, ge=0, le=6)
    classifier: Literal["tokens", "surroundings"] = "tokens"
    norm_eps: float = Field(default=1e-6, gt=0)
    registers: int = Field(default=0, ge=0)
    pre_norm: bool = False
    activation: Activation = "gelu"
    rotary: Rotary = "none"

    @property
    def grid(self) -> int:
        """G, patches along one side of a frame."""
        return self.image_size // self.patch_size

    @model_validator(mode="after")
    def _fits(self) -> ModelConfig:
        if len(set(self.branches)) < len(self.branches):
            raise ValueError(f"branches: each once, got {', '.join(self.branches)}")
        if self.architecture in ("timesformer", "resnet3d") and self.branches:
            raise ValueError(f"architecture '{self.architecture}' has f alone: set branches to []")
        if self.architecture == "release":
            self._fits_release()
        if self.architecture != "fakestormer" or self.stem != "patch":
            self._fits_no_foundation()
        if self.rotary != "none" and (self.width // self.heads) % 4:
            raise ValueError(
                f"rotary: each head needs a multiple of 4 channels, not {self.width // self.heads}"
            )
        if self.image_size % self.patch_size:
            raise ValueError(
                f"image_size {self.image_size} is not a multiple of patch_size {self.patch_size}"
            )
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        multiple = 4 if self.architecture == "release" else 8
        if self.width % multiple:
            raise ValueError(f"width {self.width} is not a multiple of {multiple}")
        lite = self.stem.startswith("efficientnet")
        if lite and self.patch_size != STEM_STRIDE:
            raise ValueError(
                f"stem '{self.stem}' gives one token per {STEM_STRIDE} x {STEM_STRIDE} pixels: "
                f"patch_size must be {STEM_STRIDE}, not {self.patch_size}"
            )
        if self.classifier == "surroundings" and (
            self.patch_size != STEM_STRIDE or self.architecture != "fakestormer"
        ):
            raise ValueError(
                "classifier 'surroundings' sees one place per 16 x 16 pixels: set architecture to "
                "fakestormer and patch_size to 16, or classifier to tokens"
            )
        if self.frozen_stages and not lite:
            raise ValueError(f"frozen_stages: stem '{self.stem}' has no stages; set it to 0")
        if self.stem != "patch" and (self.patch_size < 4 or self.patch_size.bit_count() != 1):
            raise ValueError(
                f"stem '{self.stem}' halves the frame until patches are left: patch_size must be "
                f"a power of two from 4 on, not {self.patch_size}"
            )
        return self

    def _fits_no_foundation(self) -> None:
        """What only the weights of a ViT need, and only FakeSTormer's own blocks have."""
        usual = {"registers": 0, "pre_norm": False, "activation": "gelu", "rotary": "none"}
        for name, value in usual.items():
            if getattr(self, name) != value:
                raise ValueError(
                    f"{name} is for architecture 'fakestormer' with stem 'patch': set it to {value}"
                )

    def _fits_release(self) -> None:
        """The weights that this architecture is for leave no choice."""
        fixed = {
            "tokens": "averaged",
            "stem": "patch",
            "temporal_init": "default",
            "branches": ("h", "g"),
        }
        for name, value in fixed.items():
            if getattr(self, name) != value:
                raise ValueError(
                    f"architecture 'release' is as its authors built it: {name} must be {value}"
                )
        if self.width % self.frames:
            raise ValueError(
                f"architecture 'release' gives each frame D / T channels in g: width {self.width} "
                f"is not a multiple of frames {self.frames}"
            )


def base() -> ModelConfig:
    """The paper's network: ViT-B/16 at 224 px."""
    return ModelConfig()


def small() -> ModelConfig:
    """ViT-S/16 at 224 px: a third of the work of `base` per token."""
    return ModelConfig(width=384, heads=6, drop_path=0.1)


def tiny() -> ModelConfig:
    """For training from scratch on a CPU within minutes: 112 px, 7 x 7 patches, conv stem."""
    return ModelConfig(image_size=112, width=96, depth=2, heads=3, drop_path=0.0, stem="conv")
