"""Where the copy and its mask move: the affine map and the elastic deformation.

Everything here is per clip: one displacement field and one sampling grid serve all frames.
Positions are crop pixels (x, y), the centre of the top-left pixel at (0, 0).
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from fakestormer.recipe.synthesis import REFERENCE_SIZE, Resampling
from fakestormer.synthesis.blur import opencv_reads
from fakestormer.synthesis.params import SBVParams

_FIELD_STEP = 2
"""The displacements are so smooth (sigma 7) that every second pixel describes them to 0.05 px."""


def elastic_noise(seed: int) -> Tensor:
    """Uniform noise in (-1, 1), float32 (2, 256, 256), from the raw PCG64 stream of `seed`.

    The raw stream of a numpy bit generator is guaranteed never to change, unlike the
    distributions drawn from it: the same seed is the same noise for good, on every machine.
    """
    count = 2 * REFERENCE_SIZE**2
    raw = np.random.PCG64(seed).random_raw(count // 4)
    noise = raw.astype("<u8", copy=False).view("<u2").astype(np.float32)
    noise += 0.5
    noise /= 32768.0
    noise -= 1.0
    return torch.from_numpy(noise).view(2, REFERENCE_SIZE, REFERENCE_SIZE)


def elastic_field(params: SBVParams, *, height: int, width: int, device: torch.device) -> Tensor:
    """Displacements amplitude * Gaussian_sigma(noise), float32 (2, height, width), (x, y).

    In pixels of the 256 px crop, at the pixel centres of a height x width picture of it.
    """
    noise = elastic_noise(params.elastic_seed).to(device)
    smooth = _smoothing(params.elastic_sigma).to(device)
    field = params.elastic_amplitude * (smooth @ noise @ smooth.T)
    return resize(field, height=height, width=width)


def resize(x_nhw: Tensor, *, height: int, width: int) -> Tensor:
    """Bilinear, pixel centres kept, not antialiased; float32 (n, h, w) -> (n, height, width)."""
    if opencv_reads(x_nhw):
        resized = torch.empty((len(x_nhw), height, width))
        for new_hw, old_hw in zip(resized.numpy(), x_nhw.numpy(), strict=True):
            cv2.resize(old_hw, (width, height), dst=new_hw)
        return resized
    return F.interpolate(x_nhw[None], size=(height, width), mode="bilinear", align_corners=False)[0]


@lru_cache(maxsize=8)
def _smoothing(sigma: float) -> Tensor:
    """Gaussian weights of every `_FIELD_STEP`-th place of a row, float32 (places, 256)."""
    steps = torch.arange(REFERENCE_SIZE // _FIELD_STEP, dtype=torch.float64)
    at = (steps + 0.5) * _FIELD_STEP - 0.5
    offsets = at[:, None] - torch.arange(REFERENCE_SIZE, dtype=torch.float64)[None]
    weights = torch.exp(-offsets.square() / (2.0 * sigma**2))
    # cut off at 4 sigma: farther weights are nothing but denormal numbers, slow to multiply
    weights = weights * (offsets.abs() <= 4.0 * sigma)
    return (weights / weights.sum(dim=1, keepdim=True)).float()


def moved_from(
    params: SBVParams, *, height: int, width: int, size: int, device: torch.device
) -> Tensor:
    """Where the moved copy takes its pixels from: p = c + (p' - c - t) / scale, c the centre.

    Crop positions float32 (2, height, width), (x, y), of the pixel centres p' of a height x width
    picture of the crop.
    """
    centre = (size - 1) / 2
    along = []
    for count, shift in zip((width, height), params.translate, strict=True):
        at = (torch.arange(count, dtype=torch.float32, device=device) + 0.5) * (size / count) - 0.5
        along.append((at - (centre + size * shift)) / params.scale + centre)
    return torch.stack(torch.meshgrid(*along, indexing="xy"))


def take(
    x_fchw: Tensor, at_2hw: Tensor, *, outside: str, resampling: Resampling = "linear"
) -> Tensor:
    """Samples of (F, C, S, S), uint8 or float32, at crop positions (2, h, w): float32 (F, C, h, w).

    outside: "border" repeats the edge pixels, "zeros" is 0. All frames share the positions. Cubic
    samples keep what is sharp, and can leave the range of their pixels.
    """
    if opencv_reads(x_fchw):
        return _take_on_cpu(x_fchw, at_2hw, outside=outside, resampling=resampling)
    grid = rearrange((2.0 * at_2hw + 1.0) / x_fchw.shape[-1] - 1.0, "xy h w -> 1 h w xy")
    together = rearrange(x_fchw.float(), "f c h w -> 1 (f c) h w")
    taken = F.grid_sample(
        together, grid, mode=_TORCH[resampling], padding_mode=outside, align_corners=False
    )
    return rearrange(taken, "1 (f c) h w -> f c h w", f=x_fchw.shape[0])


_TORCH: dict[Resampling, str] = {"linear": "bilinear", "cubic": "bicubic"}
_OPENCV: dict[Resampling, int] = {"linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC}
_OPENCV_BORDERS = {"border": cv2.BORDER_REPLICATE, "zeros": cv2.BORDER_CONSTANT}


def _take_on_cpu(x_fchw: Tensor, at_2hw: Tensor, *, outside: str, resampling: Resampling) -> Tensor:
    """`take` by OpenCV, four planes at a time: they cost what one costs, and three alone thrice.

    Exact from OpenCV 5 on; before, positions are rounded to 1/32 px.
    """
    border, how = _OPENCV_BORDERS[outside], _OPENCV[resampling]
    x_hw, y_hw = at_2hw.numpy()
    planes_nhw = x_fchw.flatten(0, 1).numpy()
    taken_nhw = torch.empty((len(planes_nhw), *at_2hw.shape[1:]))
    for first in range(0, len(planes_nhw), 4):
        four = [*planes_nhw[first : first + 4]]
        new_nhw = taken_nhw[first : first + 4].numpy()
        four_hwn = cv2.merge([*four, *four[:1] * (4 - len(four))]).astype(np.float32, copy=False)
        sampled_hwn = cv2.remap(four_hwn, x_hw, y_hw, how, borderMode=border)
        new_nhw[:] = cv2.transpose(sampled_hwn.reshape(-1, 4))[: len(four)].reshape(new_nhw.shape)
    return taken_nhw.view(*x_fchw.shape[:2], *at_2hw.shape[1:])
