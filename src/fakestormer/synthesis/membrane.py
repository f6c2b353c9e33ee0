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

#: Averages over the neighbours at each of the pyramid's levels: on average the membrane of a face
#: is within half a level in 255 of the solution (tests/synthesis/test_membrane.py).
SWEEPS: Final = 10


def membrane(values_fchw: Tensor, known_f1hw: Tensor) -> Tensor:
    """Known values continued smoothly over the pixels where they are unknown.

    values: floating (F, C, H, W). known: bool (F, 1, H, W). Returns (F, C, H, W): the values where
    they are known; elsewhere, to a small error, each pixel is the mean of its neighbours, those of
    the picture only. 0 where a frame knows nothing. Frames do not influence each other, and
    mirrored values give the mirrored membrane.
    """
    height, width = values_fchw.shape[-2:]
    filled_fchw = torch.where(known_f1hw, values_fchw, 0.0)
    if height > 1 or width > 1:
        half = ((height + 1) // 2, (width + 1) // 2)
        share_f1hw = functional.adaptive_avg_pool2d(known_f1hw.to(values_fchw.dtype), half)
        sums_fchw = functional.adaptive_avg_pool2d(filled_fchw, half)
        # Known is what is so by half; a hole then neither grows nor shrinks from level to level.
        mostly_f1hw = share_f1hw >= share_f1hw.amax(dim=(-2, -1), keepdim=True) / 2
        coarse_fchw = membrane(sums_fchw / share_f1hw.clamp_min(1e-6), mostly_f1hw)
        guess_fchw = functional.interpolate(
            coarse_fchw, (height, width), mode="bilinear", align_corners=False
        )
        filled_fchw = torch.where(known_f1hw, values_fchw, guess_fchw)
        # Chebyshev's acceleration of Jacobi's iteration, for holes as wide as the picture.
        reach, omega, before_fchw = math.cos(math.pi / max(height, width)), 1.0, filled_fchw
        for sweep in range(SWEEPS):
            around_fchw = functional.pad(filled_fchw, (1, 1, 1, 1), mode="replicate")
            mean_fchw = 0.25 * (
                around_fchw[..., :-2, 1:-1]
                + around_fchw[..., 2:, 1:-1]
                + around_fchw[..., 1:-1, :-2]
                + around_fchw[..., 1:-1, 2:]
            )
            if sweep:
                omega = 1.0 / (1.0 - reach**2 * omega * (0.5 if sweep == 1 else 0.25))
            if sweep >= SWEEPS - 2:  # the last two smooth what is left
                omega = 1.0
            after_fchw = torch.lerp(before_fchw, mean_fchw, omega)
            before_fchw = filled_fchw
            filled_fchw = torch.where(known_f1hw, values_fchw, after_fchw)
    return filled_fchw
