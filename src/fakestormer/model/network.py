"""What every network here has in common: bytes of frames in, `Outputs` out."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from fakestormer.recipe.model import ModelConfig
from fakestormer.types.network import Outputs

#: Of pixels from 0 to 1, by colour: what frames are normalised with.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class VideoNetwork(nn.Module):
    """A network that judges clips; the normalisation of pixels is inside.

    Subclasses implement `judge`: frames (b, T, 3, H, W), normalised and floating -> Outputs, whose
    `derivative` and `frame_logits` are None where the network has no head h or g.
    """

    pixel_scale: Tensor
    pixel_shift: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
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
        return self.judge(self.normalise(frames_btchw))

    def classify(self, frames_btchw: Tensor) -> Outputs:
        """What f says; what h and g say only where they come with it. Frames as for `forward`."""
        outputs: Outputs = self(frames_btchw)
        return outputs

    @property
    def f_stands_alone(self) -> bool:
        """Whether f shares nothing with h and g, and gives its evidence without a gradient.

        Then `classify` computes f alone, and an exported graph can do it.
        """
        return False

    def explain(self, frames_btchw: Tensor) -> tuple[Tensor, Tensor]:
        """Clips -> f's logit (b,), and what each patch adds to it: float32 (b, T, G, G).

        Gradient times deviation: d logit / d x (x - x'), summed over channels, times T. x is what
        the layer `places` gives for each place, x' its mean over the clip: what every place would
        be if nothing stood out. Where f stands alone, it gives its exact parts. Above 0 speaks
        for a fake. Works within `torch.inference_mode`, too.
        """
        if self.f_stands_alone:
            outputs = self.classify(frames_btchw)
            assert outputs.evidence is not None, "f stands alone"
            return outputs.logit.detach(), outputs.evidence.detach()
        kept: list[Tensor] = []

        def keep(_: nn.Module, __: object, given: Tensor) -> Tensor:
            kept.append(given.detach().requires_grad_())
            return kept[0]

        with torch.inference_mode(False), torch.enable_grad():
            hook = self.places.register_forward_hook(keep)
            try:
                outputs = self(frames_btchw.clone())
            finally:
                hook.remove()
            (gradient,) = torch.autograd.grad(outputs.logit.sum(), kept)
        b, t, grid = len(frames_btchw), self.config.frames, self.config.grid
        x, gradient = (
            rearrange(y, "(b t) d y x -> b d t y x", b=b) if y.ndim == 4 else y
            for y in (kept[0].detach(), gradient)
        )
        parts = ((x - x.mean(dim=(2, 3, 4), keepdim=True)) * gradient).sum(dim=1, keepdim=True)
        evidence_b1tyx = F.interpolate(parts.float(), (t, grid, grid), mode="trilinear")
        # As many parts as there were places, in their place.
        share = parts[0].numel() / evidence_b1tyx[0].numel()
        return outputs.logit.detach(), t * share * evidence_b1tyx[:, 0]

    @property
    def places(self) -> nn.Module:
        """The layer that gives f a vector for each place: (b t) d y x, or b d t y x."""
        raise AssertionError(f"{type(self).__name__} cannot be explained")

    def judge(self, frames_btchw: Tensor) -> Outputs:
        """What the heads say about normalised frames (b, T, 3, H, W)."""
        raise AssertionError(f"{type(self).__name__} judges nothing")

    def normalise(self, frames_btchw: Tensor) -> Tensor:
        """Frames as `forward` takes them -> the same, floating, ImageNet's mean and deviation."""
        self.require(frames_btchw)
        return self.normalised(frames_btchw)

    def normalised(self, frames: Tensor) -> Tensor:
        """The same for frames (..., 3, H, W) of any number and size."""
        return torch.addcmul(self.pixel_shift, frames.to(self.pixel_scale.dtype), self.pixel_scale)

    def require(self, frames_btchw: Tensor) -> None:
        """Raises ValueError for frames that `forward` does not take."""
        c = self.config
        wanted = (c.frames, 3, c.image_size, c.image_size)
        if frames_btchw.ndim != 5 or tuple(frames_btchw.shape[1:]) != wanted:
            raise ValueError(
                f"{type(self).__name__}: expected frames of shape (B, "
                f"{', '.join(map(str, wanted))}), got {tuple(frames_btchw.shape)}; cut clips of "
                f"{c.frames} frames and resize their crops to {c.image_size} px"
            )
        if frames_btchw.dtype != torch.uint8 and not frames_btchw.is_floating_point():
            raise ValueError(
                f"{type(self).__name__}: expected uint8 or floating frames, got "
                f"{frames_btchw.dtype}"
            )


def fold_batch_norms(network: nn.Module) -> None:
    """Make each convolution do the work of the BatchNorm after it, for scoring; in place.

    The outputs stay the same but for rounding. The network, in `eval` mode, cannot be trained or
    saved afterwards.
    """
    for layers in network.modules():
        if not isinstance(layers, nn.Sequential):
            continue
        for n, (layer, after) in enumerate(itertools.pairwise(list(layers))):
            if isinstance(layer, nn.Conv2d) and isinstance(after, nn.BatchNorm2d):
                layers[n], layers[n + 1] = fuse_conv_bn_eval(layer, after), nn.Identity()
