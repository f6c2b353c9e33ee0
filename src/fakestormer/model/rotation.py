"""Rotary positions: queries and keys turned by the place of their patch.

Legend: r rows, h heads, l tokens, n positions N = G * G, c channels of one head.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn


class Rotation(nn.Module):
    """Turns channel pairs (i, i + c/2) of the last n tokens of each row; the tokens before stay.

    The first c/4 pairs turn with a patch's row y, the others with its column x, pair i of each by
    the angle place * speed(i):

        "frame"   place from -1 to 1 over the frame    2 pi * 100 ** -(i / (c/4))   (DINOv3)
        "grid"    place 1 to G                         10000 ** -(i / (c/4))        (PE)

    Nothing here is learned, so nothing is in the state.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, kind: Literal["frame", "grid"], *, grid: int, channels: int) -> None:
        super().__init__()
        steps = torch.arange(channels // 4, dtype=torch.float64) / (channels // 4)
        index = torch.arange(grid, dtype=torch.float64)
        if kind == "frame":
            places, speeds = (2 * index + 1) / grid - 1, 2 * math.pi * 100.0**-steps
        else:
            places, speeds = index + 1, 10000.0**-steps
        along_ga = places[:, None] * speeds
        y_na = along_ga.repeat_interleave(grid, dim=0)
        x_na = along_ga.repeat(grid, 1)
        angles_nc = torch.cat([y_na, x_na, y_na, x_na], dim=1)
        self.register_buffer("cos", angles_nc.cos().float(), persistent=False)
        self.register_buffer("sin", angles_nc.sin().float(), persistent=False)

    def forward(self, x_rhlc: Tensor) -> Tensor:
        """(r, h, l, c), l >= n -> the same."""
        n = self.cos.shape[0]
        tokens, patches = torch.split(x_rhlc, [x_rhlc.shape[2] - n, n], dim=2)
        first, second = patches.chunk(2, dim=-1)
        turned = patches * self.cos + torch.cat([-second, first], dim=-1) * self.sin
        return torch.cat([tokens, turned.to(x_rhlc.dtype)], dim=2)
