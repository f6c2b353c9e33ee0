"""Sampling: everything random in one value that JSON keeps exactly."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from fakestormer.recipe.synthesis import BeyondConfig, JitterConfig, SynthesisConfig
from fakestormer.synthesis.colour import change_detail
from fakestormer.synthesis.params import ClipParams, Colour, Downscale, SBVParams, Sharpen, sample
from fakestormer.synthesis.warp import moved_from


def _many(count: int, config: SynthesisConfig | None = None) -> list[ClipParams]:
    rng = np.random.default_rng(5)
    return [sample(rng, config or SynthesisConfig(), clip_length=4) for _ in range(count)]


def test_json_round_trip_is_exact() -> None:
    for mode in ("csp", "frame-wise"):
        for params in _many(30, SynthesisConfig(mode=mode, cutout_weaker_patch=True)):
            assert ClipParams.model_validate_json(params.model_dump_json()) == params
    blending = params.frames[0]
    assert SBVParams.model_validate_json(blending.model_dump_json()) == blending


def test_same_seed_same_params() -> None:
    assert _many(3) == _many(3)


def test_global_random_state_is_not_used() -> None:
    numpy_before = np.random.get_state()[1].copy()  # noqa: NPY002
    torch_before = torch.get_rng_state()
    first = _many(2)
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    assert _many(2) == first
    np.random.set_state(("MT19937", numpy_before, 624, 0.0, 0))  # noqa: NPY002
    torch.set_rng_state(torch_before)


def test_csp_draws_once_frame_wise_draws_each_frame() -> None:
    assert all(len(p.frames) == 1 for p in _many(3))
    for params in _many(3, SynthesisConfig(mode="frame-wise")):
        assert len(params.frames) == 4
        assert len({frame.elastic_seed for frame in params.frames}) == 4


def test_ranges() -> None:
    many = _many(600)
    blending = [p.frames[0] for p in many]
    assert {b.hull for b in blending} == {"full", "components", "extended", "facehull"}
    assert {b.ratio for b in blending} == {0.25, 0.5, 0.75, 1.0}
    assert {b.erosion_kernel for b in blending} == set(range(5, 26, 2))
    assert {b.feather_kernel for b in blending} == set(range(5, 26, 2))
    assert {p.margin for p in many} == set(range(5, 25))
    assert all(abs(b.translate[0]) <= 0.03 and abs(b.translate[1]) <= 0.015 for b in blending)
    assert all(0.95 <= b.scale <= 1 / 0.95 for b in blending)
    assert all(5 <= b.feather_sigma <= 45 for b in blending)
    assert all(0.8 <= s <= 1.25 for b in blending for s in b.mask_stretch)
    assert all(abs(b.colour.brightness) <= 0.1 for b in blending)
    assert {b.detail.factor for b in blending if isinstance(b.detail, Downscale)} == {2, 4}
    assert all(0.2 <= b.detail.alpha <= 0.5 for b in blending if isinstance(b.detail, Sharpen))
    qualities = [p.jpeg_quality for p in many if p.jpeg_quality is not None]
    assert min(qualities) >= 40
    assert max(qualities) <= 100


def test_probabilities() -> None:
    """600 draws: a share stays within 4 standard deviations, sqrt(p (1 - p) / 600) <= 0.021."""
    many = _many(600)
    shares = Counter[str]()
    for p in many:
        b = p.frames[0]
        shares["flip"] += p.flip
        shares["cutout"] += p.cutout is not None
        shares["jpeg"] += p.jpeg_quality is not None
        shares["copy"] += b.changed_side == "copy"
        shares["forehead"] += b.forehead
        shares["rgb"] += any(p.jitter.rgb_shift)
        shares["full ratio"] += b.ratio == 1.0
    expected = {"flip": 0.5, "cutout": 0.5, "jpeg": 0.5, "copy": 0.5, "forehead": 0.75}
    expected |= {"rgb": 0.3, "full ratio": 0.5}
    for name, probability in expected.items():
        assert abs(shares[name] / 600 - probability) < 0.085, name


def test_cutout_thresholds_rise_to_one() -> None:
    for params in _many(60):
        if params.cutout is not None:
            thresholds = params.cutout.thresholds
            assert 0.5 < thresholds[0] <= 1.0
            assert thresholds[-1] == 1.0
            assert list(thresholds) == sorted(thresholds)


@pytest.mark.parametrize(
    "wrong",
    [
        {"mask_stretch": (1.25, 0.8)},
        {"erosion_kernel": (4, 25)},
        {"jpeg_quality": (0, 100)},
        {"margin": (5, 128)},
        {"cutout_threshold": (0.5, 1.5)},
        {"hulls": ()},
        {"flip_probability": 1.5},
        {"unknown": 1},
    ],
)
def test_config_refuses(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SynthesisConfig.model_validate(wrong)


def test_config_round_trip() -> None:
    config = SynthesisConfig(mode="frame-wise", jitter=JitterConfig(rgb_limit=3.0))
    assert SynthesisConfig.model_validate_json(config.model_dump_json()) == config


def test_the_window_shift_stays_within_the_margin() -> None:
    config = SynthesisConfig(margin=(2, 24), beyond=BeyondConfig(shift=10))
    drawn = [sample(np.random.default_rng(seed), config, clip_length=4) for seed in range(300)]
    assert all(max(map(abs, params.shift)) <= min(10, params.margin) for params in drawn)
    assert {params.shift[0] for params in drawn} == set(range(-10, 11))
    assert all(
        sample(np.random.default_rng(seed), SynthesisConfig(), clip_length=4).shift == (0, 0)
        for seed in range(20)
    )


def test_what_is_off_draws_nothing_and_changes_no_other_draw() -> None:
    names = {"sharpen", "resolution", "moved_real", "noise", "h264_crf", "donor", "donor_bent"}
    names |= {"blur"}
    both = SynthesisConfig(
        margin=(24, 24),
        beyond=BeyondConfig(
            sharpen_probability=1.0,
            resolution_probability=1.0,
            moved_real_probability=1.0,
            blur_probability=1.0,
            noise_probability=1.0,
            h264_probability=1.0,
            donor_probability=1.0,
            donor_bent_probability=1.0,
        ),
    )
    without = sample(np.random.default_rng(3), SynthesisConfig(margin=(24, 24)), clip_length=4)
    having = sample(np.random.default_rng(3), both, clip_length=4)
    assert (without.sharpen, without.resolution, without.noise) == (None, None, None)
    assert (without.moved_real, without.h264_crf, without.donor) == (False, None, None)
    assert without.blur is None
    assert having.blur is not None
    assert 0.6 <= having.blur <= 3.5
    assert (without.donor_bent, having.donor_bent) == (False, True)
    assert isinstance(having.sharpen, Sharpen)
    assert having.resolution is not None
    assert 0.35 <= having.resolution <= 1.0
    assert having.noise is not None
    assert 1.0 <= having.noise.sigma <= 12.0
    assert having.moved_real
    assert having.h264_crf is not None
    assert 18 <= having.h264_crf <= 40
    assert having.donor is not None
    assert having.frames[0].ratio == 1.0  # whatever was drawn: two faces at once are no swap
    off = {name: getattr(without, name) for name in (*names, "frames")}
    assert having.frames[0].model_copy(update={"ratio": without.frames[0].ratio}) in without.frames
    assert having.model_copy(update=off) == without
    # A params.json of before has none of these fields.
    old = without.model_dump(mode="json", exclude=names)
    for blending in old["frames"]:
        del blending["resampling"], blending["gradient_domain"]
    assert ClipParams.model_validate(old) == without


def test_only_a_donors_face_is_bent() -> None:
    half = SynthesisConfig(beyond=BeyondConfig(donor_probability=0.5, donor_bent_probability=0.5))
    drawn = [sample(np.random.default_rng(seed), half, clip_length=4) for seed in range(400)]
    assert not any(params.donor_bent for params in drawn if params.donor is None)
    assert 75 < sum(params.donor_bent for params in drawn) < 125
    # All else is as without: a seed goes on giving what it gave.
    plain = SynthesisConfig(beyond=BeyondConfig(donor_probability=0.5))
    for seed, params in enumerate(drawn):
        before = sample(np.random.default_rng(seed), plain, clip_length=4)
        assert params.model_copy(update={"donor_bent": False}) == before


def test_a_donors_face_can_stay_as_it_is() -> None:
    half = SynthesisConfig(
        beyond=BeyondConfig(donor_probability=0.5, donor_changed_probability=0.5)
    )
    drawn = [sample(np.random.default_rng(seed), half, clip_length=4) for seed in range(400)]
    as_it_is = [
        params.frames[0].colour == Colour()
        and params.frames[0].detail == Sharpen(alpha=0.0, lightness=0.0)
        for params in drawn
    ]
    given = [params.donor is not None for params in drawn]
    assert 160 < sum(given) < 240
    assert not any(plain and not donor for plain, donor in zip(as_it_is, given, strict=True))
    assert 75 < sum(as_it_is) < 125
    pictures = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    assert torch.equal(change_detail(pictures, Sharpen(alpha=0.0, lightness=0.0)), pictures)


def test_a_real_clip_is_moved_only_where_it_still_fills_its_window() -> None:
    """Against the positions that `render` samples at, of the window that it keeps."""
    config = SynthesisConfig(
        margin=(2, 24), beyond=BeyondConfig(moved_real_probability=1.0, shift=10)
    )
    drawn = [sample(np.random.default_rng(seed), config, clip_length=4) for seed in range(400)]
    filled = []
    for params in drawn:
        sides = {"height": 256, "width": 256, "size": 256}
        whole = moved_from(params.frames[0], **sides, device=torch.device("cpu"))
        m, (right, down) = params.margin, params.shift
        at = whole[:, m + down : 256 - m + down, m + right : 256 - m + right]
        filled.append(bool(at.min() >= 0) and bool(at.max() <= 255))
    assert all(full for full, params in zip(filled, drawn, strict=True) if params.moved_real)
    # A pixel to spare is all that is left unused.
    assert sum(filled) > sum(params.moved_real for params in drawn) > 0.9 * sum(filled)
    assert sum(filled) < 400
