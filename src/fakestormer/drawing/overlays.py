"""Heat maps over the frames: what f goes by, and where h sees change between frames.

The evidence of f (`VideoNetwork.explain`) is in units of its logit: above 0 it speaks for a fake,
and only that is drawn, within the face and its border. `evidence_scale` gives the one scale of a
face: as bright as the strongest patch, for or against, so that a face that hardly anything speaks
against and much speaks for is bright, and the face of a calm video stays faint.

h regresses D^, the *standardised* change of the patch vulnerability over time (eqs. 5, 12): 0 is
the average change of a blended clip, 1 is one standard deviation above it, and "no change" lies
below 0. So only positive values speak for a manipulation, and only they are drawn:

    value          <= 0          0 .. scale                    >= scale
    drawn as       nothing       inferno, ever more opaque     bright yellow

`display_scale` gives the one scale that all frames of a face share. The first frame of a clip has
no predecessor, D(0) = 0 by definition: nothing is drawn there, whatever the head says.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

Pixels = NDArray[np.uint8]

SCALE_PERCENTILE = 99.9
"""Of D~(1..T-1) over all clips of a face: single patches do not set the scale."""

SCALE_FLOOR = 1.0
"""Smallest scale, in standard deviations: the noise of a calm clip stays faint."""

EVIDENCE_PERCENTILE = 99.5
"""Of the size of f's evidence over all patches of a face, whatever its sign."""

STRONGEST_OPACITY = 0.8
"""The frame stays visible even under the strongest change."""


def display_scale(derivative_ctgg: Tensor) -> float:
    """The value of D~ drawn brightest, one for all clips (C, T, G, G) of a face.

    The 99.9th percentile over the patches of frames 1..T-1, at least `SCALE_FLOOR`. Values that
    are not finite do not count.
    """
    changes = derivative_ctgg[:, 1:].detach().float().cpu().numpy().reshape(-1)
    changes = changes[np.isfinite(changes)]
    if not changes.size:
        return SCALE_FLOOR
    return max(SCALE_FLOOR, float(np.percentile(changes, SCALE_PERCENTILE)))


def evidence_scale(evidence_ctgg: Tensor) -> float:
    """The evidence drawn brightest, one for all clips (C, T, G, G) of a face; above 0."""
    sizes = evidence_ctgg.abs().flatten().double().numpy()
    return max(1e-6, float(np.percentile(sizes, EVIDENCE_PERCENTILE))) if sizes.size else 1.0


def evidence_layer(evidence_tgg: Tensor, masks_tss: Tensor, *, scale: float) -> Pixels:
    """The map alone, RGBA uint8 (T, S, S, 4), to be laid over the frames; clear outside the face.

    masks_tss: bool, the face and its border (`detection.moment.face_mask`).
    """
    layer = _coloured(evidence_tgg, scale=scale, size=masks_tss.shape[-1])
    layer[~masks_tss.numpy()] = 0
    return layer


def colour_table() -> Pixels:
    """RGBA (256, 4) from 0 to the scale: inferno, opacity rising linearly from none."""
    ramp = np.arange(256, dtype=np.uint8)[:, None]
    rgb = cv2.applyColorMap(ramp, cv2.COLORMAP_INFERNO)[:, 0, ::-1]
    alpha = np.rint(np.linspace(0.0, 255.0 * STRONGEST_OPACITY, 256)).astype(np.uint8)
    return np.concatenate([rgb, alpha[:, None]], axis=1)


def heat_layer(derivative_tgg: Tensor, *, scale: float, size: int) -> Pixels:
    """The heat map alone, RGBA uint8 (T, size, size, 4), to be laid over the frames.

    D~ is upsampled bilinearly as a signed value, then cut to [0, scale] and coloured. Raises
    ValueError when scale is not positive.
    """
    layer = _coloured(derivative_tgg, scale=scale, size=size)
    layer[:1] = colour_table()[0]
    return layer


def heat_map(derivative_tgg: Tensor, frames_t3hw: Tensor, *, scale: float) -> Tensor:
    """The frames of a clip with D~ drawn over them: uint8 (T, 3, H, W).

    derivative_tgg: (T, G, G), D~. frames_t3hw: uint8 (T, 3, H, W), square. scale: from
    `display_scale`, the same for all clips that are to be compared.
    """
    _check("heat_map", derivative_tgg, frames_t3hw)
    size = frames_t3hw.shape[-1]
    return _laid_over(heat_layer(derivative_tgg, scale=scale, size=size), frames_t3hw)


def saliency_map(values_tgg: Tensor, frames_t3hw: Tensor, *, scale: float) -> Tensor:
    """The same, for maps that mean something in the first frame too: nothing at 0, up to scale."""
    _check("saliency_map", values_tgg, frames_t3hw)
    size = frames_t3hw.shape[-1]
    return _laid_over(_coloured(values_tgg, scale=scale, size=size), frames_t3hw)


def _check(name: str, values_tgg: Tensor, frames_t3hw: Tensor) -> None:
    count, channels, height, width = frames_t3hw.shape
    if channels != 3 or height != width or len(values_tgg) != count:
        raise ValueError(
            f"{name}: expected square frames (T, 3, S, S) and as many maps (T, G, G), "
            f"got {tuple(frames_t3hw.shape)} and {tuple(values_tgg.shape)}"
        )


def _coloured(values_tgg: Tensor, *, scale: float, size: int) -> Pixels:
    """RGBA uint8 (T, size, size, 4)."""
    if not scale > 0.0:
        raise ValueError(f"heat_layer: expected a scale above 0, got {scale}")
    values_tgg = torch.nan_to_num(values_tgg.detach().float().cpu(), nan=0.0)
    upsampled = F.interpolate(
        rearrange(values_tgg, "t g h -> t 1 g h"), (size, size), mode="bilinear"
    )
    levels = (upsampled[:, 0] / scale).clamp(0.0, 1.0).mul(255.0).round().to(torch.uint8)
    layer: Pixels = colour_table()[levels.numpy()]
    return layer


def _laid_over(layer_thwc: Pixels, frames_t3hw: Tensor) -> Tensor:
    layer_t4hw = rearrange(torch.from_numpy(layer_thwc), "t h w c -> t c h w").float()
    alpha = layer_t4hw[:, 3:] / 255.0
    blended = (1.0 - alpha) * frames_t3hw.detach().cpu().float() + alpha * layer_t4hw[:, :3]
    return blended.round().to(torch.uint8)
