"""All the randomness of a pseudo-fake clip as one value, drawn once, JSON-able, replayed exactly.

CSP, the consistent synthesised parameters of paper 3.1, is one `SBVParams` used for all T frames;
the frame-wise ablation of Table 6 is T of them.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from fakestormer.recipe.synthesis import (
    REFERENCE_SIZE,
    HullType,
    JitterConfig,
    Range,
    Resampling,
    SynthesisConfig,
)

Triple = tuple[float, float, float]


class Colour(BaseModel):
    """One colour change. rgb_shift, hsv_shift: 8-bit steps (hue of 180). brightness: added
    fraction of full scale. contrast: frames are multiplied by 1 + contrast."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rgb_shift: Triple = (0.0, 0.0, 0.0)
    hsv_shift: Triple = (0.0, 0.0, 0.0)
    brightness: float = 0.0
    contrast: float = 0.0


class Downscale(BaseModel):
    """Detail is lost: every `factor`-th pixel is kept, then linear upscaling."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["downscale"] = "downscale"
    factor: Literal[2, 4]


class Sharpen(BaseModel):
    """Detail is exaggerated: x <- (1 - alpha) x + alpha ((8 + lightness) x - its 8 neighbours)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["sharpen"] = "sharpen"
    alpha: float
    lightness: float


class Noise(BaseModel):
    """Gaussian noise, independent for every value.

    sigma: 8-bit steps. seed: of PCG64 streams, one for each place in the clip.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sigma: float = Field(gt=0.0)
    seed: int = Field(ge=0)


class SBVParams(BaseModel):
    """theta^(sbi) of Algorithm 1: everything random about blending a frame with itself.

    Pixel numbers (elastic, kernels, sigmas) refer to a 256 px crop. translate: fraction of the
    side, (x, y). elastic_seed: of the PCG64 stream that makes the displacement noise.
    mask_stretch: factors of the mask's (width, height). ratio: r in X~ = r M X' + (1 - r M) X.
    resampling: how the copy takes its pixels. gradient_domain: X' is blended in the gradient domain
    (`membrane.py`) where M is above half of its maximum: M is cut to 0 or 1, and X' meets X there;
    `sample` gives such a copy r = 1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    hull: HullType
    forehead: bool
    changed_side: Literal["copy", "background"]
    colour: Colour
    detail: Annotated[Downscale | Sharpen, Field(discriminator="kind")]
    translate: tuple[float, float]
    scale: float = Field(gt=0.0)
    elastic_seed: int = Field(ge=0)
    elastic_amplitude: float
    elastic_sigma: float = Field(gt=0.0)
    mask_stretch: tuple[float, float]
    erosion_kernel: int = Field(ge=1)
    feather_kernel: int = Field(ge=1)
    feather_sigma: float = Field(gt=0.0)
    ratio: float = Field(ge=0.0, le=1.0)
    resampling: Resampling = "linear"
    gradient_domain: bool = False


class Interpolation(BaseModel):
    """tau and d-bar of eq. 1, pixels of a 256 px crop."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tau: float = Field(gt=0.0)
    d_bar: float = Field(gt=0.0)


class Cutout(BaseModel):
    """Thresholds in the order in which they are tried, rising to 1.0, which hides nothing.

    The first that leaves some soft label of at least `least_label` is used. weaker_patch: None, or
    a number in [0, 1) that picks one more patch to hide among the weaker ones (`release`).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    thresholds: tuple[float, ...] = Field(min_length=1)
    least_label: float
    weaker_patch: float | None = None


class ClipParams(BaseModel):
    """What one pair of a real clip and its pseudo-fake needs; nothing else is random.

    frames: one value (CSP) or T values (frame-wise). margin: pixels of a 256 px crop, cut off every
    side; shift: (x, y), how far the window that is left moves, at most by the margin. order: which
    frame of the copy is blended into each frame, None for its own (STG shuffles). resolution:
    side to which frames shrink, to be enlarged again, as a share of the network's input.
    donor: of the draw of whose face is blended in (`data.donors`); None: the clip's own.
    blur: sigma of a blur of the whole picture, pixels of a 256 px crop.
    damage_first: resolution, blur, noise, JPEG and H.264 come before the window is cut and resized,
    at the face's own size, as a video is compressed; resolution is then that size's share of S.
    donor_bent: it is bent into the shape of the clip's face (`donor.lay_on`).
    moved_real: the real clip of the pair is the clip's own copy X', whole, and not the background
    X; `sample` never draws it where X' leaves a part of the window empty. Flip, margin, shift,
    jitter, sharpening, resolution, blur, noise, JPEG, H.264 and cutout belong to the video:
    they are shared by all frames and by both clips, in the frame-wise mode too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    frames: tuple[SBVParams, ...] = Field(min_length=1)
    interpolation: Interpolation | None
    order: tuple[int, ...] | None = None
    flip: bool
    margin: int = Field(ge=0)
    shift: tuple[int, int] = (0, 0)
    jitter: Colour
    jpeg_quality: int | None
    cutout: Cutout | None
    sharpen: Sharpen | None = None
    resolution: float | None = Field(default=None, gt=0.0, le=1.0)
    moved_real: bool = False
    blur: float | None = Field(default=None, gt=0.0)
    noise: Noise | None = None
    h264_crf: int | None = Field(default=None, ge=0, le=51)
    damage_first: bool = False
    donor: int | None = Field(default=None, ge=0)
    donor_bent: bool = False


def sample(rng: np.random.Generator, config: SynthesisConfig, *, clip_length: int) -> ClipParams:
    """Draw everything random about one clip of `clip_length` frames; `rng` is the only state."""
    if clip_length < 1:
        raise ValueError(f"sample: a clip has at least 1 frame, got {clip_length}")
    count = clip_length if config.mode == "frame-wise" else 1
    flip = _happens(rng, config.flip_probability)
    margin = int(rng.integers(config.margin[0], config.margin[1] + 1))
    reach = min(config.beyond.shift, margin)
    shift = (_whole_within(rng, reach), _whole_within(rng, reach)) if reach else (0, 0)
    interpolation = None
    if config.interpolate_landmarks:
        interpolation = Interpolation(tau=config.tau, d_bar=config.d_bar)
    frames = tuple(_sample_blending(rng, config) for _ in range(count))
    params = ClipParams(
        frames=frames,
        interpolation=interpolation,
        order=_shuffled(rng, clip_length) if config.mode == "shuffled" else None,
        flip=flip,
        margin=margin,
        shift=shift,
        damage_first=config.beyond.damage_first,
        jitter=_sample_colour(rng, config.jitter),
        jpeg_quality=(
            int(rng.integers(config.jpeg_quality[0], config.jpeg_quality[1] + 1))
            if _happens(rng, config.jpeg_probability)
            else None
        ),
        cutout=(_sample_cutout(rng, config) if _happens(rng, config.cutout_probability) else None),
        # Last, and nothing is drawn at 0: a seed gives what it gave before these were there.
        sharpen=(
            _sharpening(rng, config)
            if config.beyond.sharpen_probability
            and _happens(rng, config.beyond.sharpen_probability)
            else None
        ),
        resolution=(
            _uniform(rng, config.beyond.resolution)
            if config.beyond.resolution_probability
            and _happens(rng, config.beyond.resolution_probability)
            else None
        ),
        moved_real=bool(config.beyond.moved_real_probability)
        and _happens(rng, config.beyond.moved_real_probability)
        and all(_fills(sbv, margin=margin, shift=shift) for sbv in frames),
        noise=(
            Noise(sigma=_uniform(rng, config.beyond.noise), seed=int(rng.integers(2**53)))
            if config.beyond.noise_probability and _happens(rng, config.beyond.noise_probability)
            else None
        ),
        h264_crf=(
            int(rng.integers(config.beyond.h264_crf[0], config.beyond.h264_crf[1] + 1))
            if config.beyond.h264_probability and _happens(rng, config.beyond.h264_probability)
            else None
        ),
        donor=(
            int(rng.integers(2**53))
            if config.beyond.donor_probability and _happens(rng, config.beyond.donor_probability)
            else None
        ),
        blur=(
            _uniform(rng, config.beyond.blur)
            if config.beyond.blur_probability and _happens(rng, config.beyond.blur_probability)
            else None
        ),
    )
    if params.donor is None:
        return params
    # Two faces seen through each other are no swap, and far easier to see than a boundary.
    update: dict[str, object] = {"ratio": 1.0}
    if config.beyond.donor_changed_probability < 1.0 and not _happens(
        rng, config.beyond.donor_changed_probability
    ):
        # alpha = 0 sharpens nothing
        update |= {"colour": Colour(), "detail": Sharpen(alpha=0.0, lightness=0.0)}
    whole = tuple(sbv.model_copy(update=update) for sbv in frames)
    bent = bool(config.beyond.donor_bent_probability) and _happens(
        rng, config.beyond.donor_bent_probability
    )
    return params.model_copy(update={"frames": whole, "donor_bent": bent})


def _fills(params: SBVParams, *, margin: int, shift: tuple[int, int]) -> bool:
    """Whether the moved copy X' fills the window that is kept, with a pixel to spare (256 px crop).

    Where it does not, edge pixels are repeated: a mark that no pseudo-fake has.
    """
    last = REFERENCE_SIZE - 1
    centre = last / 2
    for moved, translate in zip(shift, params.translate, strict=True):
        origin = centre + REFERENCE_SIZE * translate
        ends = (margin + moved - 1, last - margin + moved + 1)
        if not all(0 <= (end - origin) / params.scale + centre <= last for end in ends):
            return False
    return True


def _sample_blending(rng: np.random.Generator, config: SynthesisConfig) -> SBVParams:
    detail: Downscale | Sharpen
    if _happens(rng, config.downscale_probability):
        detail = Downscale(factor=config.downscale_factors[_index(rng, config.downscale_factors)])
    else:
        detail = _sharpening(rng, config)
    drawn = SBVParams(
        hull=config.hulls[_index(rng, config.hulls)],
        forehead=not _happens(rng, config.without_forehead_probability),
        changed_side="copy" if _happens(rng, config.copy_changed_probability) else "background",
        colour=_sample_colour(rng, config.change),
        detail=detail,
        translate=(_within(rng, config.translate_x), _within(rng, config.translate_y)),
        scale=_uniform(rng, (config.least_scale, 1.0 / config.least_scale)),
        # 53 bits, so that any JSON reader keeps the seed exactly
        elastic_seed=int(rng.integers(2**53)),
        elastic_amplitude=config.elastic_amplitude,
        elastic_sigma=config.elastic_sigma,
        mask_stretch=(_uniform(rng, config.mask_stretch), _uniform(rng, config.mask_stretch)),
        erosion_kernel=_odd(rng, config.erosion_kernel),
        feather_kernel=_odd(rng, config.feather_kernel),
        feather_sigma=_uniform(rng, config.feather_sigma),
        ratio=config.blend_ratios[_index(rng, config.blend_ratios)],
        # Nothing is drawn where there is no choice: a seed gives what it gave before there was one.
        resampling=config.beyond.resamplings[
            _index(rng, config.beyond.resamplings) if len(config.beyond.resamplings) > 1 else 0
        ],
    )
    if config.beyond.gradient_domain_probability and _happens(
        rng, config.beyond.gradient_domain_probability
    ):
        # What took its level from around it is hardly there where the rest shines through, too.
        drawn = drawn.model_copy(update={"gradient_domain": True, "ratio": 1.0})
    return drawn


def _sharpening(rng: np.random.Generator, config: SynthesisConfig) -> Sharpen:
    return Sharpen(
        alpha=_uniform(rng, config.sharpen_alpha),
        lightness=_uniform(rng, config.sharpen_lightness),
    )


def _sample_colour(rng: np.random.Generator, config: JitterConfig) -> Colour:
    none = (0.0, 0.0, 0.0)
    rgb = hsv = none
    brightness = contrast = 0.0
    if _happens(rng, config.rgb_probability):
        rgb = _triple(rng, config.rgb_limit)
    if _happens(rng, config.hsv_probability):
        hsv = _triple(rng, config.hsv_limit)
    if _happens(rng, config.contrast_probability):
        brightness = _within(rng, config.contrast_limit)
        contrast = _within(rng, config.contrast_limit)
    return Colour(rgb_shift=rgb, hsv_shift=hsv, brightness=brightness, contrast=contrast)


def _sample_cutout(rng: np.random.Generator, config: SynthesisConfig) -> Cutout:
    low, high = config.cutout_threshold
    thresholds = [high - (high - low) * float(rng.random())]  # U(low, high], as the paper has it
    for _ in range(config.cutout_redraws):
        thresholds.append(_uniform(rng, (thresholds[-1], 1.0)))
    if thresholds[-1] < 1.0:
        thresholds.append(1.0)
    return Cutout(
        thresholds=tuple(thresholds),
        least_label=config.cutout_least_label,
        weaker_patch=float(rng.random()) if config.cutout_weaker_patch else None,
    )


def _shuffled(rng: np.random.Generator, length: int) -> tuple[int, ...]:
    """The frames in another order than their own; a single frame has none."""
    while True:
        order = tuple(int(frame) for frame in rng.permutation(length))
        if length == 1 or order != tuple(range(length)):
            return order


def _happens(rng: np.random.Generator, probability: float) -> bool:
    return bool(rng.random() < probability)


def _uniform(rng: np.random.Generator, bounds: Range) -> float:
    return float(rng.uniform(bounds[0], bounds[1]))


def _within(rng: np.random.Generator, limit: float) -> float:
    return float(rng.uniform(-limit, limit))


def _whole_within(rng: np.random.Generator, limit: int) -> int:
    return int(rng.integers(-limit, limit + 1))


def _triple(rng: np.random.Generator, limit: float) -> Triple:
    return _within(rng, limit), _within(rng, limit), _within(rng, limit)


def _odd(rng: np.random.Generator, bounds: tuple[int, int]) -> int:
    return bounds[0] + 2 * int(rng.integers((bounds[1] - bounds[0]) // 2 + 1))


def _index(rng: np.random.Generator, choices: tuple[object, ...]) -> int:
    return int(rng.integers(len(choices)))
