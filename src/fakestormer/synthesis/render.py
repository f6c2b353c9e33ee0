"""Self-blended videos (paper 3.1, Algorithm 1): `sample` the randomness, `render` the pair.

    frames -> flip -> eq. 1 -> hull -> affine, elastic, soft mask M -> X~ = r M X' + (1 - r M) X
           -> the same margin cut off -> the same jitter and damage for both clips

X' is the copy, X the background; one of the two is colour-changed. The real clip of the pair is X,
or, with `moved_real`, the whole of X'. With `donor` X' is another person's face (`donor.py`), with
`gradient_domain` the blend is another one (`membrane.py`).

In the "shuffled" mode (STG, paper 6.8) the copy's frames change places, X'(t) being frame
`order[t]` of it; the mask stays with the background's frames.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from einops import rearrange
from torch import Tensor

from fakestormer.recipe.synthesis import SynthesisConfig
from fakestormer.synthesis.beyond.damage import add_noise, compress_h264, defocus
from fakestormer.synthesis.beyond.membrane import membrane
from fakestormer.synthesis.blur import opencv_reads, size_scale, soften, window_of
from fakestormer.synthesis.colour import (
    change_colour,
    change_detail,
    compress_jpeg,
    lose_resolution,
)
from fakestormer.synthesis.hull import hull_mask
from fakestormer.synthesis.landmarks import interpolate_landmarks, mirror_landmarks
from fakestormer.synthesis.params import ClipParams, SBVParams, sample
from fakestormer.synthesis.resample import cut_margin, to_bytes
from fakestormer.synthesis.warp import elastic_field, moved_from, resize, take
from fakestormer.types import Clip
from fakestormer.types.network import SelfBlended

__all__ = ["ClipParams", "SBVParams", "SynthesisConfig", "render", "sample", "soft_mask"]


def render_clip(clip: Clip, params: ClipParams, *, size: int) -> SelfBlended:
    """`render` of one clip: a batch of one pair. Raises what `render` raises."""
    frames_tchw, landmarks_tk2 = torch.from_numpy(clip.frames), torch.from_numpy(clip.landmarks)
    return render(frames_tchw[None], landmarks_tk2[None], [params], size=size)


def render(
    frames_btchw: Tensor,
    landmarks_btk2: Tensor,
    params: Sequence[ClipParams],
    *,
    size: int,
    donors_btchw: Tensor | None = None,
) -> SelfBlended:
    """Real clips and their self-blended pseudo-fakes, one pair per clip and `params` entry.

    frames: uint8 (B, T, 3, S, S), real face crops. landmarks: floating (B, T, K, 2), their crop
    pixels, K = 68 or 81. size: side of the clips returned (network input). donors: uint8, shaped
    like frames, other people's faces laid on these (`donor.lay_on`), for the clips whose params
    have a donor.

    Pure: inputs are not touched, nothing is drawn, clips do not influence each other. The same
    params give the same pixels on every CPU run; a GPU agrees within 1 % of full scale for masks
    and 2 of 255 for frames, but for isolated pixels at the cut of the soft mask and JPEG's own
    rounding. Flipping commutes: rendering flipped frames and mirrored landmarks with flip=False
    is rendering the originals with flip=True.

    Raises ValueError for shapes that do not fit, where a donor is missing, for frame-wise
    parameters of another clip length, and when no landmark hull covers any pixel of a frame.
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
    if donors_btchw is not None and donors_btchw.shape != frames_btchw.shape:
        raise ValueError(
            f"render: expected donors shaped like the frames, {tuple(frames_btchw.shape)}, got "
            f"{tuple(donors_btchw.shape)}"
        )
    real, fake = (frames_btchw.new_empty((clips, length, 3, size, size)) for _ in range(2))
    mask = frames_btchw.new_empty((clips, length, size, size), dtype=torch.float32)
    for b, landmarks_tk2 in enumerate(landmarks_btk2.detach().cpu().double()):
        donor_tchw = None
        if params[b].donor is not None:
            if donors_btchw is None:
                raise ValueError(
                    f"render: clip {b} is to have another face blended in; give `donors_btchw`"
                )
            donor_tchw = donors_btchw[b]
        pieces = [
            *_render_clip(
                frames_btchw[b], landmarks_tk2, params[b], size=size, donor_tchw=donor_tchw
            )
        ]
        twins_2tchw = torch.cat([twins for twins, _ in pieces], dim=1)
        real[b] = _send(twins_2tchw[0], params[b], size=size)
        fake[b] = _send(twins_2tchw[1], params[b], size=size)
        mask[b] = torch.cat([soft for _, soft in pieces])
    return SelfBlended(real=real, fake=fake, mask=mask)


def show(frames_tchw: Tensor, params: ClipParams, *, size: int) -> Tensor:
    """A clip as training shows it, with nothing blended: flip, margin, jitter, damage of `params`.

    uint8 (T, 3, S, S) -> uint8 (T, 3, size, size).
    """
    frames_tchw = frames_tchw.flip(-1) if params.flip else frames_tchw
    times = range(len(frames_tchw))
    return _send(_finish(frames_tchw, params, size=size, times=times), params, size=size)


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
    if not bool((hull_fhw.amax(dim=(-2, -1)) > 0).all()):
        raise ValueError(
            "render: the landmarks of a frame lie outside its crop; leave the clip out"
        )
    width, height = (max(1, round(size * stretch)) for stretch in params.mask_stretch)
    at = moved_from(params, height=height, width=width, size=size, device=device)
    field = elastic_field(params, height=height, width=width, device=device)
    at.add_(field, alpha=size_scale(size) / params.scale)
    stretched = take(hull_fhw.to(device)[:, None], at, outside="zeros").squeeze(1)
    soft = soften(stretched, params, scale=size_scale(size))
    return resize(soft, height=size, width=size)


def _render_clip(
    frames_tchw: Tensor,
    landmarks_tk2: Tensor,
    params: ClipParams,
    *,
    size: int,
    donor_tchw: Tensor | None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Pieces of the clip, one after the other: the real frames and their twins, uint8
    (2, F, 3, size, size), and masks (F, size, size). F frames share their parameters."""
    length, stored = frames_tchw.shape[0], frames_tchw.shape[-1]
    device, scale = frames_tchw.device, size_scale(stored)
    if len(params.frames) not in (1, length):
        raise ValueError(
            f"render: parameters drawn frame by frame for {len(params.frames)} frames do not fit a "
            f"clip of {length}; sample them with clip_length={length}"
        )
    if params.flip:
        frames_tchw = frames_tchw.flip(-1)
        landmarks_tk2 = mirror_landmarks(landmarks_tk2, stored)
        donor_tchw = None if donor_tchw is None else donor_tchw.flip(-1)
    if params.interpolation is not None:
        tau, d_bar = params.interpolation.tau, params.interpolation.d_bar
        landmarks_tk2 = interpolate_landmarks(landmarks_tk2, tau * scale, d_bar * scale)
    margin = params.margin * scale
    shift = (params.shift[0] * scale, params.shift[1] * scale)
    if params.order is not None and len(params.order) != length:
        raise ValueError(
            f"render: an order of {len(params.order)} frames does not fit a clip of {length}; "
            f"sample it with clip_length={length}"
        )
    others_tchw = frames_tchw if params.order is None else frames_tchw[list(params.order)]
    if donor_tchw is not None:
        others_tchw = donor_tchw
    share = length if len(params.frames) == 1 else 1
    for first, sbv in zip(range(0, length, share), params.frames, strict=True):
        at = slice(first, first + share)
        mask = soft_mask(landmarks_tk2[at], sbv, size=stored, device=device)
        source = moved_from(sbv, height=stored, width=stored, size=stored, device=device)
        twins = _blend(frames_tchw[at], others_tchw[at], mask, source, params=sbv)
        if params.moved_real:
            twins[0] = to_bytes(_copy(frames_tchw[at], sbv, source))
        times = [*range(length)[at]] * 2
        twins = _finish(twins.flatten(0, 1), params, size=size, times=times)
        shown = cut_margin(mask, margin=margin, size=size, shift=shift)
        yield rearrange(twins, "(twin f) c h w -> twin f c h w", twin=2), shown


def _finish(frames_fchw: Tensor, params: ClipParams, *, size: int, times: Sequence[int]) -> Tensor:
    """What is done alike to both clips and all frames: uint8 (F, 3, S, S) -> (F, 3, S', S').

    The method looks first and damages what is seen. With `damage_first` the whole crop is damaged
    at its own size, which it may lose a part of, and `_send` looks.
    times: the F places in the clip.
    """
    if params.damage_first:
        return _damage(_shrink(frames_fchw, params), params, times)
    return _damage(_look(frames_fchw, params, size=size), params, times, shrunk=False)


def _look(frames_fchw: Tensor, params: ClipParams, *, size: int) -> Tensor:
    """The window that is kept, as network input, in the video's colours; uint8 (F, 3, S, S)."""
    scale = size_scale(frames_fchw.shape[-1])
    shift = (params.shift[0] * scale, params.shift[1] * scale)
    frames = cut_margin(frames_fchw, margin=params.margin * scale, size=size, shift=shift)
    frames = change_colour(frames, params.jitter)
    return frames if params.sharpen is None else change_detail(frames, params.sharpen)


def _shrink(frames_fchw: Tensor, params: ClipParams) -> Tensor:
    """The face as small as it is in the video: uint8 (F, 3, S, S) -> (F, 3, S', S')."""
    if params.resolution is None:
        return frames_fchw
    side = max(2, round(params.resolution * frames_fchw.shape[-1]))
    return cut_margin(frames_fchw, margin=0.0, size=side)


def _damage(
    frames: Tensor, params: ClipParams, times: Sequence[int], *, shrunk: bool = True
) -> Tensor:
    """Blur, noise, compression of single frames; if not `shrunk` before, lost resolution."""
    if params.blur is not None:
        frames = defocus(frames, params.blur * size_scale(frames.shape[-1]))
    if params.noise is not None:
        frames = add_noise(frames, params.noise, times)
    if params.resolution is not None and not shrunk:
        frames = lose_resolution(frames, params.resolution)
    if params.jpeg_quality is not None:
        frames = compress_jpeg(frames, params.jpeg_quality)
    return frames


def _send(clip_tchw: Tensor, params: ClipParams, *, size: int) -> Tensor:
    """What needs all frames of a clip at once: uint8 (T, 3, H, W) -> (T, 3, size, size)."""
    if params.h264_crf is not None:
        clip_tchw = compress_h264(clip_tchw, params.h264_crf)
    return _look(clip_tchw, params, size=size) if params.damage_first else clip_tchw


def _blend(
    frames_fchw: Tensor,
    others_fchw: Tensor,
    mask_fhw: Tensor,
    source_2hw: Tensor,
    *,
    params: SBVParams,
) -> Tensor:
    """The background X and the pseudo-fake X~ = r M X' + (1 - r M) X, one after the other; with
    `gradient_domain` M is cut to 0 or 1 at half of its maximum, and X' has a membrane added.

    frames: of the background, (F, 3, S, S). others: of the copy, the same unless the copy is
    shuffled or of a donor. mask: M, (F, S, S). source: where the copy X' takes its pixels from.
    The result is uint8 (2, F, 3, S, S): stored frames of a real clip are, and finer steps would
    tell a pseudo-fake.
    """
    background = frames_fchw
    if params.changed_side == "background":
        background = change_detail(change_colour(background, params.colour), params.detail)
    twins = torch.stack((background, background))
    # Outside the mask nothing is blended: on a CPU that is half of the work saved.
    # A membrane hangs on the pixels around it.
    reach = 1 if params.gradient_domain else 0
    window = window_of(mask_fhw, reach) if opencv_reads(mask_fhw) else (slice(None), slice(None))
    inside, weight = background[..., *window].float(), mask_fhw[:, None, *window]
    moved = _copy(others_fchw, params, source_2hw[:, *window])
    if params.gradient_domain:
        within = weight > weight.amax(dim=(-2, -1), keepdim=True) / 2
        moved = (moved + membrane(inside - moved, ~within)).clamp_(0.0, 255.0)
        weight = within.to(moved.dtype)
    twins[1][..., *window] = to_bytes(torch.lerp(inside, moved, params.ratio * weight))
    return twins


def _copy(frames_fchw: Tensor, params: SBVParams, source_2hw: Tensor) -> Tensor:
    """X', moved and perhaps recoloured: uint8 (F, 3, S, S) -> floating (F, 3, h, w)."""
    if params.changed_side == "copy":
        frames_fchw = change_detail(change_colour(frames_fchw, params.colour), params.detail)
    copy = take(frames_fchw, source_2hw, outside="border", resampling=params.resampling)
    return copy if params.resampling == "linear" else copy.clamp_(0.0, 255.0)
