"""Self-blended videos (paper 3.1, Algorithm 1): `sample` the randomness, `render` the pair.

    frames -> flip -> eq. 1 -> hull -> affine, elastic, soft mask M -> X~ = r M X' + (1 - r M) X
           -> the same margin cut off -> the same jitter for both clips

X' is the copy, X the background; one of the two is colour-changed. The real clip of the pair is X.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor

from fakestormer.resample import cut_margin
from fakestormer.synthesis.blur import size_scale, soften
from fakestormer.synthesis.colour import change_colour, change_detail, compress_jpeg
from fakestormer.synthesis.config import SynthesisConfig
from fakestormer.synthesis.hull import hull_mask
from fakestormer.synthesis.landmarks import interpolate_landmarks, mirror_landmarks
from fakestormer.synthesis.params import ClipParams, SBVParams, sample
from fakestormer.synthesis.warp import elastic_field, pixel_grid, take, undo_affine
from fakestormer.types import SelfBlended

__all__ = ["ClipParams", "SBVParams", "SynthesisConfig", "render", "sample", "soft_mask"]


def render(
    frames_btchw: Tensor, landmarks_btk2: Tensor, params: Sequence[ClipParams], *, size: int
) -> SelfBlended:
    """Real clips and their self-blended pseudo-fakes, one pair per clip and `params` entry.

    frames: uint8 (B, T, 3, S, S), real face crops. landmarks: floating (B, T, K, 2), their crop
    pixels, K = 68 or 81. size: side of the clips returned (network input).

    Pure: inputs are not touched, nothing is drawn, clips do not influence each other. The same
    params give the same pixels on every CPU run; a GPU agrees within 1 % of full scale for masks
    and 2 of 255 for frames, but for isolated pixels at the cut of the soft mask and JPEG's own
    rounding. Flipping commutes: rendering flipped frames and mirrored landmarks with flip=False
    is rendering the originals with flip=True.

    Raises ValueError for shapes that do not fit, for frame-wise parameters of another clip length,
    and when no landmark hull covers any pixel of a frame.
    """
    if frames_btchw.ndim != 5 or frames_btchw.shape[2:3] != (3,):
        raise ValueError(
            f"render: expected frames (B, T, 3, S, S), got {tuple(frames_btchw.shape)}"
        )
    if frames_btchw.dtype != torch.uint8 or frames_btchw.shape[-1] != frames_btchw.shape[-2]:
        raise ValueError(
            f"render: expected square uint8 frames, got {frames_btchw.dtype} "
            f"{tuple(frames_btchw.shape)}"
        )
    clips, length = frames_btchw.shape[:2]
    if landmarks_btk2.shape[:2] != (clips, length) or len(params) != clips:
        raise ValueError(
            f"render: {clips} clips of {length} frames need landmarks ({clips}, {length}, K, 2) "
            f"and {clips} parameters, got {tuple(landmarks_btk2.shape)} and {len(params)}"
        )
    pairs = [
        _render_clip(frames, landmarks, clip_params, size=size)
        for frames, landmarks, clip_params in zip(
            frames_btchw, landmarks_btk2.detach().cpu().double(), params, strict=True
        )
    ]
    real, fake, mask = (torch.stack(parts) for parts in zip(*pairs, strict=True))
    return SelfBlended(real=real, fake=fake, mask=mask)


def soft_mask(
    landmarks_fk2: Tensor, params: SBVParams, *, size: int, device: torch.device
) -> Tensor:
    """The blending mask M: hull, affine, elastic deformation, stretched, shrunk and feathered.

    The three warps (affine, elastic, stretch) are composed into one sampling of the hull.
    landmarks: floating (F, K, 2), crop pixels. Returns float32 (F, size, size) in [0, 1].
    """
    if not params.forehead:
        landmarks_fk2 = landmarks_fk2[:, :68]
    hull_fhw = hull_mask(landmarks_fk2, params.hull, size)
    if not bool(hull_fhw.flatten(1).any(dim=1).all()):
        raise ValueError(
            "render: the landmarks of a frame lie outside its crop; leave the clip out"
        )
    width, height = (max(1, round(size * stretch)) for stretch in params.mask_stretch)
    at = pixel_grid(height=height, width=width, size=size, device=device)
    at = at + size_scale(size) * elastic_field(params, height=height, width=width, device=device)
    at = undo_affine(at, params, size=size)
    hull = rearrange(hull_fhw.to(device), "f h w -> f 1 h w")
    stretched = rearrange(take(hull, at, outside="zeros"), "f 1 h w -> f h w")
    soft = soften(stretched, params, scale=size_scale(size))
    back = torch.nn.functional.interpolate(
        soft[:, None], size=(size, size), mode="bilinear", align_corners=False
    )
    return rearrange(back, "f 1 h w -> f h w")


def _render_clip(
    frames_tchw: Tensor, landmarks_tk2: Tensor, params: ClipParams, *, size: int
) -> tuple[Tensor, Tensor, Tensor]:
    length, stored = frames_tchw.shape[0], frames_tchw.shape[-1]
    if len(params.frames) not in (1, length):
        raise ValueError(
            f"render: parameters drawn frame by frame for {len(params.frames)} frames do not fit a "
            f"clip of {length}; sample them with clip_length={length}"
        )
    if params.flip:
        frames_tchw = frames_tchw.flip(-1)
        landmarks_tk2 = mirror_landmarks(landmarks_tk2, stored)
    if params.interpolation is not None:
        scale = size_scale(stored)
        landmarks_tk2 = interpolate_landmarks(
            landmarks_tk2, params.interpolation.tau * scale, params.interpolation.d_bar * scale
        )
    together = length if len(params.frames) == 1 else 1
    blended = [
        _blend(frames, landmarks, sbv)
        for frames, landmarks, sbv in zip(
            torch.split(frames_tchw, together),
            torch.split(landmarks_tk2, together),
            params.frames,
            strict=True,
        )
    ]
    real, fake, mask = (torch.cat(parts) for parts in zip(*blended, strict=True))
    margin = params.margin * size_scale(stored)
    pair = cut_margin(torch.cat((real, fake)), margin=margin, size=size)
    pair = change_colour(pair.round_().to(torch.uint8), params.jitter)
    if params.jpeg_quality is not None:
        pair = compress_jpeg(pair, params.jpeg_quality)
    return pair[:length], pair[length:], cut_margin(mask, margin=margin, size=size)


def _blend(
    frames_fchw: Tensor, landmarks_fk2: Tensor, params: SBVParams
) -> tuple[Tensor, Tensor, Tensor]:
    """(background, pseudo-fake, mask) of frames that share their parameters.

    The two are floating, as resampling wants them, but hold whole 8-bit steps: stored frames of a
    real clip do, and finer steps would tell a pseudo-fake.
    """
    size, device = frames_fchw.shape[-1], frames_fchw.device
    changed = change_detail(change_colour(frames_fchw, params.colour), params.detail).float()
    copy, background = frames_fchw.float(), changed
    if params.changed_side == "copy":
        copy, background = background, copy
    here = pixel_grid(height=size, width=size, size=size, device=device)
    moved = take(copy, undo_affine(here, params, size=size), outside="border")
    mask = soft_mask(landmarks_fk2, params, size=size, device=device)
    weight = rearrange(params.ratio * mask, "f h w -> f 1 h w")
    return background, torch.lerp(background, moved, weight, out=moved).round_(), mask
