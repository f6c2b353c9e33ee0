"""Blending in the gradient domain: a face keeps its gradients, its level comes from around it.

No part of the method, which blends by weights (`gradient_domain_probability` 0); many tools that
swap faces do it. Poisson image editing (Perez, Gangnet, Blake, SIGGRAPH 2003), in its equal form:
the difference at the edge of the mask is continued into it by a membrane, a function that solves
Laplace's equation there, and added to the face.
"""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fakestormer.synthesis.blur import opencv_reads

#: How often all pixels are averaged over their neighbours, in shares of the picture's longer side.
#: A face's membrane is then within a tenth of a level in 255 of the solution, on average
#: (tests/synthesis/beyond/test_membrane.py).
SWEEPS: Final = 0.6

_CROSS: Final = np.array([[0, 0.25, 0], [0.25, 0, 0.25], [0, 0.25, 0]], dtype=np.float32)


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
    # Colours last in memory, as OpenCV wants them.
    values_fchw = values_fchw.contiguous(memory_format=torch.channels_last)
    open_fchw = torch.empty_like(values_fchw).copy_(~known_f1hw)
    sweeps = 8 + round(SWEEPS * max(values_fchw.shape[-2:]))
    before_fchw = filled_fchw = torch.lerp(values_fchw, guess_fchw, open_fchw)
    for omega_f in _omegas(known_f1hw, sweeps):
        # before + omega (mean - before) where the value is unknown
        weight_fchw = open_fchw * omega_f[:, None, None, None]
        after_fchw = torch.lerp(before_fchw, _mean_of_neighbours(filled_fchw), weight_fchw)
        before_fchw, filled_fchw = filled_fchw, after_fchw
    return filled_fchw


def _omegas(known_f1hw: Tensor, sweeps: int) -> Tensor:
    """Chebyshev's weights of each sweep, float32 (sweeps, F): with the spectral radius rho,

    omega_1 = 1,  omega_k+1 = 2 cosh(k mu) / (rho cosh((k + 1) mu)),  cosh mu = 1 / rho
    """
    extent_f2 = torch.stack(
        [(~known_f1hw).any(dim=along).sum(dim=(-2, -1)) for along in (-2, -1)], dim=-1
    )
    rho_f = torch.cos(math.pi / (extent_f2.float() + 1.0)).mean(dim=-1).clamp_min(1e-3)
    mu_f = torch.acosh(1.0 / rho_f)
    k_s1 = torch.arange(sweeps, dtype=mu_f.dtype, device=mu_f.device)[:, None]
    # cosh(k mu) / cosh((k + 1) mu) without what overflows
    ratio_sf = (torch.exp(-mu_f) + torch.exp(-(2 * k_s1 + 1) * mu_f)) / (
        1.0 + torch.exp(-2 * (k_s1 + 1) * mu_f)
    )
    omegas_sf = 2.0 / rho_f * ratio_sf
    omegas_sf[0] = 1.0
    omegas_sf[-2:] = 1.0  # the last two smooth what is left
    return omegas_sf


def _mean_of_neighbours(x_fchw: Tensor) -> Tensor:
    """Of the four; edge pixels stand in for those outside of the picture."""
    if opencv_reads(x_fchw):
        x_fhwc = x_fchw.permute(0, 2, 3, 1).contiguous()
        mean_fhwc = torch.empty(x_fhwc.shape, dtype=x_fhwc.dtype)
        for old_hwc, new_hwc in zip(x_fhwc.numpy(), mean_fhwc.numpy(), strict=True):
            cv2.filter2D(old_hwc, -1, _CROSS, dst=new_hwc, borderType=cv2.BORDER_REPLICATE)
        return mean_fhwc.permute(0, 3, 1, 2)
    padded_fchw = functional.pad(x_fchw, (1, 1, 1, 1), mode="replicate")
    mean_fchw = padded_fchw[..., :-2, 1:-1] + padded_fchw[..., 2:, 1:-1]
    mean_fchw += padded_fchw[..., 1:-1, :-2]
    mean_fchw += padded_fchw[..., 1:-1, 2:]
    return mean_fchw.mul_(0.25)
