"""What the heads should say about a pair of clips (paper 3.1, 3.2, 6.2; eqs. 2, 3, 5, 9, 14).

All in float32 and signed: a boundary that decreases must not wrap around.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from fakestormer.recipe.synthesis import Normalisation, Pooling

_STILL = 1e-6
"""Changes smaller than this are rounding, not movement."""


def boundary(mask: Tensor) -> Tensor:
    """B = 4 M (1 - M), per pixel (eq. 2): 1 where M is one half, 0 where it is 0 or 1."""
    return (1.0 - mask).mul_(mask).mul_(4.0)


def patch_vulnerability(mask_bthw: Tensor, patch_size: int, pooling: Pooling = "max") -> Tensor:
    """B-bar, the boundary per P x P patch (eq. 3); float32 (B, T, H, W) -> (B, T, G, G), G = H/P.

    "max" is the paper's; "linear" resizes the boundary bilinearly to G x G (`release`).
    """
    height, width = mask_bthw.shape[-2:]
    if height % patch_size or width % patch_size:
        raise ValueError(
            f"patch_vulnerability: {height} x {width} is not whole {patch_size} px patches"
        )
    b_bthw = boundary(mask_bthw.float())
    if pooling == "max":
        # of rows, then of columns: a quarter of the time of `max_pool2d`
        rows = rearrange(b_bthw, "... (gy py) w -> ... gy py w", py=patch_size).amax(dim=-2)
        return rearrange(rows, "... (gx px) -> ... gx px", px=patch_size).amax(dim=-1)
    grid = (height // patch_size, width // patch_size)
    return F.interpolate(b_bthw, size=grid, mode="bilinear", align_corners=False)


def derivative(boundary_btgg: Tensor) -> Tensor:
    """D(0) = 0, D(t) = |B~(t) - B~(t-1)| (eqs. 5, 14); (B, T, G, G) -> (B, T, G, G)."""
    change = boundary_btgg.float().diff(dim=1).abs()
    return F.pad(change, (0, 0, 0, 0, 1, 0))


def soft_labels(boundary_btgg: Tensor) -> Tensor:
    """p(t), the largest B~(t) over all patches (eq. 9); (B, T, G, G) -> (B, T)."""
    return boundary_btgg.amax(dim=(-2, -1))


def normalise(
    derivative_btgg: Tensor,
    normalisation: Normalisation = "standard",
    *,
    gaussian_sigma: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """D^ of the pseudo-fakes, and D^ of their real twins, whose D is 0 (paper 6.2, Table 8).

    Statistics are of each clip's own D(1..T-1), so that the number of frames before which nothing
    can change does not matter; a clip in which nothing changes, or of one frame, gets D^ = 0.

    - "standard": (D - mean) / std. The real twin gets "no change" by the same measure,
      (0 - mean) / std everywhere, as does the fake's own D(0).
    - "minmax": (D - min) / (max - min), and (0 - min) / (max - min) for the twin: 0 as soon as one
      patch of the fake does not change.
    - "gaussian3d": exp(-distance^2 / (2 sigma^2)) to the nearest place (t, y, x) where D is largest
      in the clip: 1 there, unnormalised. The twin has no such place: 0. sigma is in patches and
      frames alike.

    derivative: float32 (B, T, G, G). Returns two tensors of that shape.
    """
    if derivative_btgg.shape[1] < 2:
        return torch.zeros_like(derivative_btgg), torch.zeros_like(derivative_btgg)
    later = derivative_btgg[:, 1:].flatten(1)
    if normalisation == "gaussian3d":
        highest = rearrange(later.amax(dim=1), "b -> b 1 1 1")
        peaks = (derivative_btgg >= highest - _STILL) & (highest > _STILL)
        fake = _gaussians(peaks.float(), gaussian_sigma)
        return fake, torch.zeros_like(fake)
    if normalisation == "standard":
        offset, spread = later.mean(dim=1), later.std(dim=1, correction=0)
    else:
        offset = later.amin(dim=1)
        spread = later.amax(dim=1) - offset
    offset, spread = (rearrange(x, "b -> b 1 1 1") for x in (offset, spread))
    moves = spread > _STILL
    fake, real = (
        torch.where(moves, (d - offset) / spread.clamp_min(_STILL), torch.zeros_like(d))
        for d in (derivative_btgg, torch.zeros_like(derivative_btgg))
    )
    return fake, real


def _gaussians(peaks_btgg: Tensor, sigma: float) -> Tensor:
    """The largest of the unnormalised Gaussians around all peaks, axis by axis (it separates)."""
    heat = peaks_btgg
    for axis in (1, 2, 3):
        places = torch.arange(heat.shape[axis], dtype=torch.float32, device=heat.device)
        fall = torch.exp(-(places[:, None] - places[None]).square() / (2.0 * sigma**2))
        along = heat.movedim(axis, -1)
        heat = (along[..., None, :] * fall).amax(dim=-1).movedim(-1, axis)
    return heat
