"""Changes of colour and detail, on 8-bit RGB frames (F, 3, H, W), which are not touched.

On the CPU OpenCV does the per-pixel work, elsewhere torch; colours agree exactly, sharpening and
upscaling to one 8-bit step.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from fakestormer.synthesis.blur import opencv_reads
from fakestormer.synthesis.params import Colour, Downscale, Sharpen
from fakestormer.synthesis.resample import cut_margin, to_bytes


def change_colour(frames_fchw: Tensor, colour: Colour) -> Tensor:
    """RGB shift, then hue, saturation and value shift, then contrast and brightness.

    Each stage is clipped to 0..255. HSV shifts act in whole 8-bit steps, as 8-bit arithmetic has
    it in this line of work: a shift below half a step changes nothing.
    """
    before, steps, after = _tables(colour)
    if before is not None:
        frames_fchw = _shift_hsv(_look_up(frames_fchw, before), steps)
    return frames_fchw if after is None else _look_up(frames_fchw, after)


def _tables(
    colour: Colour,
) -> tuple[NDArray[np.uint8] | None, NDArray[np.float64], NDArray[np.uint8] | None]:
    """What `change_colour` looks up before the HSV shift (None: there is no shift), the shift, and
    what it looks up after it (None: nothing changes). uint8 (3, 256), table[c, v] for value v of
    channel c."""
    steps = np.rint(colour.hsv_shift)
    same = np.tile(np.arange(256, dtype=np.float64), (3, 1))
    levels = np.clip(same + np.array(colour.rgb_shift)[:, None], 0, 255)
    before = None
    if np.any(steps):
        before, levels = np.rint(levels).astype(np.uint8), same
    levels = np.clip(levels * (1.0 + colour.contrast) + 255.0 * colour.brightness, 0, 255)
    after = np.rint(levels).astype(np.uint8)
    return before, steps, None if np.array_equal(after, same) else after


def change_detail(frames_fchw: Tensor, detail: Downscale | Sharpen) -> Tensor:
    """Lose detail (nearest down, linear up) or exaggerate it (sharpen)."""
    if isinstance(detail, Sharpen):
        return _sharpen(frames_fchw, detail)
    height, width = frames_fchw.shape[-2:]
    down = (max(1, height // detail.factor), max(1, width // detail.factor))
    if not opencv_reads(frames_fchw):
        few = F.interpolate(frames_fchw, size=down, mode="nearest")
        up = F.interpolate(few.float(), size=(height, width), mode="bilinear", align_corners=False)
        return up.round_().to(torch.uint8)

    def coarsen(old: NDArray[np.uint8], new: NDArray[np.uint8], _: int) -> None:
        few = cv2.resize(old, down[::-1], interpolation=cv2.INTER_NEAREST)
        cv2.resize(few, (width, height), dst=new)

    return _each_plane(frames_fchw, coarsen)


def lose_resolution(frames_fchw: Tensor, share: float) -> Tensor:
    """Shrunk to `share` of their side and enlarged again: uint8 (F, 3, S, S) -> the same."""
    side = frames_fchw.shape[-1]
    smaller = max(1, round(share * side))
    shrunk = cut_margin(frames_fchw.float(), margin=0.0, size=smaller)
    return to_bytes(cut_margin(shrunk, margin=0.0, size=side))


def compress_jpeg(frames_fchw: Tensor, quality: int) -> Tensor:
    """Frames after JPEG compression (quality 1..100); encoded on the CPU wherever they are."""
    compressed = torch.empty(frames_fchw.shape, dtype=torch.uint8)
    for new_chw, rgb_chw in zip(compressed.numpy(), frames_fchw.cpu().numpy(), strict=True):
        done, code = cv2.imencode(
            ".jpg", cv2.merge([*rgb_chw[::-1]]), [cv2.IMWRITE_JPEG_QUALITY, quality]
        )
        assert done, "OpenCV writes any 8-bit picture as JPEG"
        bgr_again = cv2.imdecode(code, cv2.IMREAD_COLOR)
        assert bgr_again is not None, "OpenCV reads the JPEG it wrote"
        cv2.split(bgr_again, [*new_chw[::-1]])
    return compressed.to(frames_fchw.device)


def _look_up(frames_fchw: Tensor, table_c256: NDArray[np.uint8]) -> Tensor:
    """Replace every value v of channel c by table[c, v]."""
    if not opencv_reads(frames_fchw):
        table = torch.from_numpy(table_c256).to(frames_fchw.device)
        channel = torch.arange(3, device=frames_fchw.device)[:, None, None]
        return table[channel, frames_fchw.long()]
    return _each_plane(frames_fchw, lambda old, new, c: cv2.LUT(old, table_c256[c], dst=new))


def _shift_hsv(frames_fchw: Tensor, steps: NDArray[np.float64]) -> Tensor:
    """Shift hue (of 180), saturation and value (of 255); hue wraps around, the others clip."""
    rgb = frames_fchw.double() / 255.0
    value, brightest = rgb.max(dim=1)
    chroma = value - rgb.amin(dim=1)
    r, g, b = rgb.unbind(dim=1)
    sector = torch.stack((g - b, b - r, r - g), dim=1).gather(1, brightest[:, None])[:, 0]
    hue = torch.where(chroma > 0, sector / chroma.clamp_min(1e-9) + 2.0 * brightest, chroma) / 6.0
    saturation = torch.where(value > 0, chroma / value.clamp_min(1e-9), chroma)
    hue = (hue + steps[0] / 180.0).remainder(1.0)
    saturation = (saturation + steps[1] / 255.0).clamp(0.0, 1.0)
    value = (value + steps[2] / 255.0).clamp(0.0, 1.0)
    # back: channel c is value - value saturation max(0, min(k, 4 - k, 1)), k = (n_c + 6 hue) mod 6
    turned = []
    for n in (5.0, 3.0, 1.0):
        k = (n + 6.0 * hue).remainder(6.0)
        turned.append(value - value * saturation * torch.minimum(k, 4.0 - k).clamp(0.0, 1.0))
    return (torch.stack(turned, dim=1) * 255.0).round().clamp(0, 255).to(torch.uint8)


def _sharpen(frames_fchw: Tensor, detail: Sharpen) -> Tensor:
    alpha, centre = detail.alpha, 8.0 + detail.lightness
    kernel = np.full((3, 3), -alpha, dtype=np.float32)
    kernel[1, 1] = 1.0 - alpha + alpha * centre
    if not opencv_reads(frames_fchw):
        planes = rearrange(frames_fchw.float(), "f c h w -> (f c) 1 h w")
        planes = F.pad(planes, (1, 1, 1, 1), mode="reflect")
        height, width = frames_fchw.shape[-2:]
        total = torch.zeros_like(planes[..., :height, :width])
        for y in range(3):
            for x in range(3):
                shifted = planes[..., y : y + height, x : x + width]
                total.add_(shifted, alpha=float(kernel[y, x]))
        total = rearrange(total, "(f c) 1 h w -> f c h w", c=3)
        return total.round_().clamp_(0, 255).to(torch.uint8)
    return _each_plane(
        frames_fchw,
        lambda old, new, _: cv2.filter2D(
            old, -1, kernel, dst=new, borderType=cv2.BORDER_REFLECT_101
        ),
    )


def _each_plane(
    frames_fchw: Tensor,
    change: Callable[[NDArray[np.uint8], NDArray[np.uint8], int], object],
) -> Tensor:
    """`change(plane, its new one to fill, channel)` of every colour plane."""
    changed = np.empty(frames_fchw.shape, dtype=np.uint8)
    for new_chw, old_chw in zip(changed, frames_fchw.contiguous().numpy(), strict=True):
        for c, old_hw in enumerate(old_chw):
            change(old_hw, new_chw[c], c)
    return torch.from_numpy(changed)
