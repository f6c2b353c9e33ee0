"""Blending in the gradient domain: a face keeps its gradients, its level comes from around it.

No part of the method, which blends by weights (`gradient_domain_probability` 0); many tools that
swap faces do it. Poisson image editing (Perez, Gangnet, Blake, SIGGRAPH 2003), in its equal form:
the difference at the edge of the mask is continued into it by a membrane, a function that solves
Laplace's equation there, and added to the face.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

#: How often all pixels are averaged over their neighbours, in shares of the picture's longer side.
#: A face's membrane is then within a tenth of a level in 255 of the solution, on average
#: (tests/synthesis/test_membrane.py).
SWEEPS: Final = 0.6


def membrane(values_fchw: Tensor, known_f1hw: Tensor) -> Tensor:
    """Known values continued smoothly over the pixels where they are unknown.

    values: floating (F, C, H, W). known: bool (F, 1, H, W). Returns (F, C, H, W): the values where
    they are known; elsewhere, to a small error, each pixel is the mean of its neighbours, those of
    the picture only. 0 where a frame knows nothing. Frames do not influence each other, and
    mirrored values give the mirrored membrane.
    """
    # Only the rim of what is unknown counts; what lies behind it would mislead coarser pictures.
    rim_f1hw = functional.max_pool2d((~known_f1hw).to(values_fchw.dtype), 3, 1, 1) > 0
    guess_fchw = _guess(values_fchw, known_f1hw & rim_f1hw)
    return _settled(values_fchw, known_f1hw, guess_fchw)


def _guess(values_fchw: Tensor, known_f1hw: Tensor) -> Tensor:
    """The membrane of a picture half the size, enlarged."""
    height, width = values_fchw.shape[-2:]
    if height == width == 1:
        return torch.zeros_like(values_fchw)
    half = ((height + 1) // 2, (width + 1) // 2)
    known_fchw = known_f1hw.to(values_fchw.dtype)
    share_f1hw = functional.adaptive_avg_pool2d(known_fchw, half)
    coarse_fchw = functional.adaptive_avg_pool2d(values_fchw * known_fchw, half)
    coarse_fchw /= share_f1hw.clamp_min(1e-6)
    # Known is what is so by half of the most: a hole neither grows nor shrinks on the way.
    mostly_f1hw = share_f1hw >= share_f1hw.amax(dim=(-2, -1), keepdim=True) / 2
    guess_fchw = _guess(coarse_fchw, mostly_f1hw)
    coarse_fchw = _settled(coarse_fchw, mostly_f1hw, guess_fchw)
    return functional.interpolate(
        coarse_fchw, (height, width), mode="bilinear", align_corners=False
    )


def _settled(values_fchw: Tensor, known_f1hw: Tensor, guess_fchw: Tensor) -> Tensor:
    """Jacobi's iteration with Chebyshev's acceleration for a hole of each frame's extent."""
    unknown_f1hw = ~known_f1hw
    open_f1hw = unknown_f1hw.to(values_fchw.dtype)
    extent_f2 = torch.stack(
        [unknown_f1hw.any(dim=along).sum(dim=(-2, -1)) for along in (-2, -1)], dim=-1
    )
    radius_f = torch.cos(math.pi / (extent_f2.to(values_fchw.dtype) + 1.0)).mean(dim=-1)
    square_f111 = radius_f.square()[:, None, None, None]
    omega_f111 = torch.ones_like(square_f111)
    sweeps = 8 + round(SWEEPS * max(values_fchw.shape[-2:]))
    before_fchw = filled_fchw = torch.lerp(values_fchw, guess_fchw, open_f1hw)
    for sweep in range(sweeps):
        if sweep:
            omega_f111 = 1.0 / (1.0 - square_f111 * omega_f111 * (0.5 if sweep == 1 else 0.25))
        if sweep >= sweeps - 2:  # the last two smooth what is left
            omega_f111 = torch.ones_like(square_f111)
        padded_fchw = functional.pad(filled_fchw, (1, 1, 1, 1), mode="replicate")
        mean_fchw = padded_fchw[..., :-2, 1:-1] + padded_fchw[..., 2:, 1:-1]
        mean_fchw += padded_fchw[..., 1:-1, :-2]
        mean_fchw += padded_fchw[..., 1:-1, 2:]
        mean_fchw *= 0.25
        # before + omega (mean - before) where the value is unknown
        after_fchw = torch.lerp(before_fchw, mean_fchw, omega_f111)
        before_fchw = filled_fchw
        filled_fchw = torch.lerp(values_fchw, after_fchw, open_f1hw)
    return filled_fchw
