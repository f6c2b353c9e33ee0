"""Heat maps over the frames: what f goes by, and where h sees change between frames.

The evidence of f (`VideoNetwork.explain`) is in units of its logit: above 0 it speaks for a fake,
and only that is drawn, within the face and its border. One scale serves all clips of a face, that
of its most suspicious one (`detection.moment.map_scale`): as bright as its strongest patch, for or
against, so that a face that much speaks for is bright, and the face of a calm video stays faint.

h regresses D^, the *standardised* change of the patch vulnerability over time (eqs. 5, 12): 0 is
the average change of a blended clip, 1 is one standard deviation above it, and "no change" lies
below 0. So only positive values speak for a manipulation, and only they are drawn:

    value          <= 0          0 .. scale                    >= scale
    drawn as       nothing       inferno, ever more opaque     bright yellow

`display_scale` gives the one scale that all frames of a face share. The first frame of a clip has
no predecessor, D(0) = 0 by definition: nothing is drawn there, whatever the head says.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np
from einops import rearrange

from fakestormer.types.arrays import Flags, Floats, Pixels

SCALE_PERCENTILE = 99.9
"""Of D~(1..T-1) over all clips of a face: single patches do not set the scale."""

SCALE_FLOOR = 1.0
"""Smallest scale, in standard deviations: the noise of a calm clip stays faint."""

EVIDENCE_PERCENTILE = 99.5
"""Of the size of f's evidence over all patches of a clip, whatever its sign."""

STRONGEST_OPACITY = 0.8
"""The frame stays visible even under the strongest change."""


def display_scale(derivative_ctgg: Floats) -> float:
    """The value of D~ drawn brightest, one for all clips (C, T, G, G) of a face.

    The 99.9th percentile over the patches of frames 1..T-1, at least `SCALE_FLOOR`. Values that
    are not finite do not count.
    """
    changes = derivative_ctgg[:, 1:].reshape(-1)
    changes = changes[np.isfinite(changes)]
    if not changes.size:
        return SCALE_FLOOR
    return max(SCALE_FLOOR, float(np.percentile(changes, SCALE_PERCENTILE)))


def evidence_scale(evidence_tgg: Floats) -> float:
    """The evidence (T, G, G) drawn brightest; above 0."""
    sizes = np.abs(evidence_tgg).astype(np.float64)
    return max(1e-6, float(np.percentile(sizes, EVIDENCE_PERCENTILE))) if sizes.size else 1.0


def evidence_layer(evidence_tgg: Floats, masks_tss: Flags, *, scale: float) -> Pixels:
    """The map alone, RGBA uint8 (T, S, S, 4), to be laid over the frames; clear outside the face.

    masks_tss: bool, the face and its border (`detection.moment.face_mask`).
    """
    layer = _coloured(evidence_tgg, scale=scale, size=masks_tss.shape[-1])
    layer[~masks_tss] = 0
    return layer


@functools.cache
def colour_table() -> Pixels:
    """RGBA (256, 4) from 0 to the scale: inferno, opacity rising linearly from none."""
    ramp = np.arange(256, dtype=np.uint8)[:, None]
    rgb = cv2.applyColorMap(ramp, cv2.COLORMAP_INFERNO)[:, 0, ::-1]
    alpha = np.rint(np.linspace(0.0, 255.0 * STRONGEST_OPACITY, 256)).astype(np.uint8)
    return np.concatenate([rgb, alpha[:, None]], axis=1)


def heat_map(derivative_tgg: Floats, frames_t3hw: Pixels, *, scale: float) -> Pixels:
    """The frames of a clip with D~ drawn over them: uint8 (T, 3, H, W).

    derivative_tgg: (T, G, G), D~, upsampled bilinearly as a signed value. frames_t3hw: uint8
    (T, 3, H, W), square. scale: from `display_scale`, the same for all clips that are to be
    compared.
    """
    values_tgg = derivative_tgg.copy()
    values_tgg[:1] = 0.0
    return saliency_map(values_tgg, frames_t3hw, scale=scale)


def saliency_map(values_tgg: Floats, frames_t3hw: Pixels, *, scale: float) -> Pixels:
    """The same, for maps that mean something in the first frame too: nothing at 0, up to scale."""
    count, channels, height, width = frames_t3hw.shape
    if channels != 3 or height != width or len(values_tgg) != count:
        raise ValueError(
            "saliency_map: expected square frames (T, 3, S, S) and as many maps (T, G, G), "
            f"got {tuple(frames_t3hw.shape)} and {tuple(values_tgg.shape)}"
        )
    layer_thwc = _coloured(values_tgg, scale=scale, size=width)
    layer_t4hw = rearrange(layer_thwc, "t h w c -> t c h w").astype(np.float32)
    alpha = layer_t4hw[:, 3:] / np.float32(255)
    blended = (1 - alpha) * frames_t3hw + alpha * layer_t4hw[:, :3]
    return np.asarray(np.rint(blended), np.uint8)


def _coloured(values_tgg: Floats, *, scale: float, size: int) -> Pixels:
    """RGBA uint8 (T, size, size, 4)."""
    if not scale > 0.0:
        raise ValueError(f"expected a scale above 0, got {scale}")
    values_tss = enlarged(np.nan_to_num(values_tgg, nan=0.0), size)
    levels = np.rint(np.clip(values_tss / scale, 0.0, 1.0) * 255.0).astype(np.uint8)
    layer: Pixels = colour_table()[levels]
    return layer


def enlarged(maps_tgg: Floats, size: int) -> Floats:
    """Maps (T, G, G) as (T, size, size), bilinear."""
    large = [cv2.resize(m, (size, size), interpolation=cv2.INTER_LINEAR) for m in maps_tgg]
    return np.asarray(large, np.float32)
