"""Saliency maps (paper 6.7): which places of a clip h and g drew on.

For h, Grad-CAM with respect to the volume F that enters it (eq. 6). The paper does not say of which
number; here it is s, all the change above a blended clip's average that h sees, which is what the
heat map draws (overlays.py). The first frame has no predecessor and does not count:

    s            = sum over t = 1..T-1, y, x of max(0, D~(t, y, x))
    w(d)         = mean over t, y, x of ds / dF(d, t, y, x)
    map(t, y, x) = max(0, sum over d of w(d) F(d, t, y, x))

The weights are means over time as well, as in any Grad-CAM of a layer with three axes: one feature
means the same in all frames. Weights per frame followed the true change less well (tried on
networks fitted to a few clips). So s counts once for the clip, and a map says where the features
lie that raise it, not in which frame the change was.

For g, what each frame's spatial token attends to in the last block, mean over heads, as shares of
what it gives to patches.

Legend: b clips, t frames T, y and x patch rows and columns (G each), d channels D.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange, reduce
from torch import Tensor

from fakestormer.errors import InputError, needs
from fakestormer.model.fakestormer import FakeSTormer
from fakestormer.model.heads import TemporalHead, patch_volume
from fakestormer.model.network import VideoNetwork
from fakestormer.types.arrays import Floats, Pixels


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Saliency:
    """Maps of a batch of clips, float32.

    temporal: (b, T, G, G), Grad-CAM for h, >= 0, in no unit: comparable within a clip.
    spatial: (b, T, G, G), attention for g, >= 0, sums to 1 in every frame.
    """

    temporal: Floats
    spatial: Floats


def saliency(network: VideoNetwork, frames_btchw: Pixels) -> Saliency:
    """Both maps of clips (b, T, 3, H, W), as the network takes them.

    A clip's maps do not depend on the other clips of the batch. The network is put into evaluation
    mode and keeps no gradients. Raises what `explainable` raises.
    """
    network = explainable(network)
    assert network.h is not None, "explainable"
    network.eval()
    with torch.no_grad():
        features = network.features(
            torch.from_numpy(frames_btchw).to(network.pixel_scale.device), with_attention=True
        )
    assert features.spatial_attention is not None, "it was asked for"
    attention_btyx = reduce(features.spatial_attention, "b t h y x -> b t y x", "mean")
    share_btyx = attention_btyx / attention_btyx.sum(dim=(-2, -1), keepdim=True)
    volume_bdtyx = patch_volume(features.patches, network.config.grid)
    return Saliency(
        temporal=grad_cam(network.h, volume_bdtyx).float().cpu().numpy(),
        spatial=share_btyx.float().cpu().numpy(),
    )


def grad_cam(h: TemporalHead, volume_bdtyx: Tensor) -> Tensor:
    """Grad-CAM of s with respect to F (b, d, T, G, G): (b, T, G, G), >= 0."""
    of_input_of_h = _layer_grad_cam()(lambda volume: positive_change(h(volume)), h.conv1)
    # Detached, because captum makes its argument require gradients and leaves it so.
    maps_b1tyx: Tensor = of_input_of_h.attribute(
        volume_bdtyx.detach(), attribute_to_layer_input=True, relu_attributions=True
    )
    return rearrange(maps_b1tyx.detach(), "b 1 t y x -> b t y x")


def positive_change(derivative_btyx: Tensor) -> Tensor:
    """s: D~ (b, T, G, G) -> (b,)."""
    return reduce(derivative_btyx[:, 1:].relu(), "b t y x -> b", "sum")


def explainable(network: VideoNetwork, name: str = "this model") -> FakeSTormer:
    """The same network, if there are saliency maps for it.

    Raises InputError, which begins with `name`, when it has no h, no g or is of another
    architecture; SetupError when the library for Grad-CAM is not installed.
    """
    if not isinstance(network, FakeSTormer):
        raise InputError(
            f"{name}: saliency maps are made for the architecture 'fakestormer', and this one is "
            f"'{network.config.architecture}'; use another model, or `detect` for its scores"
        )
    missing = [branch for branch in ("h", "g") if getattr(network, branch) is None]
    if missing:
        raise InputError(
            f"{name}: saliency maps show what h and g drew on, and this model has no "
            f"{' and no '.join(missing)}; use a model with both, or `detect` for its scores"
        )
    _layer_grad_cam()
    return network


def _layer_grad_cam() -> Any:
    # Only here: it brings Matplotlib, which takes a second and writes a font cache.
    with needs("a saliency map", "fakestormer[saliency]"):
        from captum.attr import LayerGradCam
    return LayerGradCam
