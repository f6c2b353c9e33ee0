"""Rendering: the consistency of CSP, purity, replay, and an independent per-frame oracle."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from fakestormer.recipe.synthesis import BeyondConfig, HullType, SynthesisConfig
from fakestormer.synthesis import blur, colour, warp
from fakestormer.synthesis import render as render_room
from fakestormer.synthesis.colour import change_detail
from fakestormer.synthesis.hull import hull_mask
from fakestormer.synthesis.landmarks import mirror_landmarks
from fakestormer.synthesis.params import ClipParams, Colour, SBVParams, Sharpen, sample
from fakestormer.synthesis.render import render, soft_mask
from fakestormer.synthesis.resample import cut_margin
from fakestormer.synthesis.warp import elastic_noise
from fakestormer.types.network import SelfBlended

MakeClip = Callable[..., tuple[Tensor, Tensor]]


def _sample(seed: int, count: int = 1, **fields: object) -> list[ClipParams]:
    rng = np.random.default_rng(seed)
    config = SynthesisConfig.model_validate(fields)
    return [sample(rng, config, clip_length=4) for _ in range(count)]


def _plain(params: ClipParams, **changes: object) -> ClipParams:
    """No flip, no jitter, no JPEG: what is left is the blend."""
    quiet = {"flip": False, "jitter": Colour(), "jpeg_quality": None, "margin": 0}
    return params.model_copy(update=quiet | changes)


def _oracle_mask(points_k2: np.ndarray, params: SBVParams) -> np.ndarray:
    """The mask chain one frame and one OpenCV call at a time, at 256 px."""
    points = torch.from_numpy(points_k2 if params.forehead else points_k2[:68])
    mask = hull_mask(points, params.hull, 256).numpy()
    centre, s = 127.5, params.scale
    move = np.array(
        [
            [s, 0, centre * (1 - s) + 256 * params.translate[0]],
            [0, s, centre * (1 - s) + 256 * params.translate[1]],
        ]
    )
    mask = cv2.warpAffine(mask, move, (256, 256), flags=cv2.INTER_LINEAR)
    noise = elastic_noise(params.elastic_seed).numpy()
    dx, dy = (50 * cv2.GaussianBlur(n, (57, 57), 7, borderType=cv2.BORDER_ISOLATED) for n in noise)
    x, y = np.meshgrid(np.arange(256, dtype=np.float32), np.arange(256, dtype=np.float32))
    mask = cv2.remap(mask, x + dx, y + dy, cv2.INTER_LINEAR)
    w, h = (round(256 * stretch) for stretch in params.mask_stretch)
    mask = cv2.resize(mask, (w, h), interpolation=cv2.INTER_LINEAR)
    mask = cv2.GaussianBlur(mask, (params.erosion_kernel,) * 2, 0)
    mask /= mask.max()
    mask[mask < 1 - 1e-3] = 0
    mask = cv2.GaussianBlur(mask, (params.feather_kernel,) * 2, params.feather_sigma)
    mask /= mask.max()
    return cv2.resize(mask, (256, 256), interpolation=cv2.INTER_LINEAR)


@pytest.mark.parametrize("hull", ["full", "components", "extended", "facehull"])
def test_mask_agrees_with_the_oracle(moving_clip: MakeClip, hull: HullType) -> None:
    """Composed warps against one resampling after another: the outline moves by less than a pixel.

    The mask has a slope of at most about 1 / 5 per pixel, so a few per cent at single pixels.
    """
    _, landmarks = moving_clip(1, 4, 3)
    for clip_params in _sample(8, 3, hulls=(hull,)):
        params = clip_params.frames[0]
        masks = soft_mask(landmarks[0], params, size=256, device=torch.device("cpu"))
        for mask, points in zip(masks.numpy(), landmarks[0].numpy(), strict=True):
            difference = np.abs(mask - _oracle_mask(points, params))
            assert difference.mean() < 5e-3
            assert np.quantile(difference, 0.99) < 0.1


def test_blend_agrees_with_the_oracle(moving_clip: MakeClip) -> None:
    """X~ = r M X' + (1 - r M) X with the rendered mask, frame by frame, without colour changes."""
    frames, landmarks = moving_clip(1, 4, 4)
    blending = (
        _sample(2)[0]
        .frames[0]
        .model_copy(update={"colour": Colour(), "ratio": 0.75, "changed_side": "copy"})
    )
    params = _plain(_sample(2)[0], frames=(blending,), interpolation=None)
    pair = render(frames, landmarks, [params], size=256)
    assert torch.equal(pair.real, frames)
    s = blending.scale
    shift = [127.5 * (1 - s) + 256 * t for t in blending.translate]
    move = np.array([[s, 0, shift[0]], [0, s, shift[1]]])
    for t in range(4):
        changed = change_detail(frames[0, t : t + 1], blending.detail)[0].permute(1, 2, 0).numpy()
        copy = cv2.warpAffine(
            np.ascontiguousarray(changed).astype("f4"),
            move,
            (256, 256),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        m = 0.75 * pair.mask[0, t].numpy()[..., None]
        expected = m * copy + (1 - m) * frames[0, t].permute(1, 2, 0).numpy()
        found = pair.fake[0, t].permute(1, 2, 0).numpy()
        assert np.abs(found - expected).max() < 1.5


def test_real_twin_equals_fake_outside_the_mask(moving_clip: MakeClip) -> None:
    """So that colour alone never tells the two apart, whichever side was changed."""
    frames, landmarks = moving_clip(6, 2, 5)
    params = [_plain(p) for p in _sample(3, 6)]
    assert {p.frames[0].changed_side for p in params} == {"copy", "background"}
    pair = render(frames, landmarks, params, size=256)
    outside = (pair.mask == 0)[:, :, None].expand_as(pair.real)
    assert outside.float().mean() > 0.2
    assert torch.equal(pair.real[outside], pair.fake[outside])
    assert not torch.equal(pair.real, pair.fake)


def test_mask_is_soft_and_reaches_one(moving_clip: MakeClip) -> None:
    frames, landmarks = moving_clip(4, 2, 6)
    mask = render(frames, landmarks, [_plain(p) for p in _sample(4, 4)], size=256).mask
    assert mask.min() == 0
    torch.testing.assert_close(mask.amax(dim=(-2, -1)), torch.ones(4, 2), atol=0.02, rtol=0)
    between = ((mask > 0.05) & (mask < 0.95)).float().mean(dim=(-2, -1))
    assert (between > 0.005).all()


def test_still_clip_is_identical_in_every_frame_with_csp(moving_clip: MakeClip) -> None:
    frames, landmarks = moving_clip(3, 1, 7)
    frames, landmarks = frames.expand(-1, 4, -1, -1, -1), landmarks.expand(-1, 4, -1, -1)
    for pair in (render(frames, landmarks, _sample(5, 3), size=224),):
        for clip in (pair.real, pair.fake, pair.mask):
            assert torch.equal(clip, clip[:, :1].expand_as(clip))
    varied = render(frames, landmarks, _sample(5, 3, mode="frame-wise"), size=224)
    for a in range(4):
        for b in range(a):
            assert not torch.equal(varied.mask[:, a], varied.mask[:, b])
            assert not torch.equal(varied.fake[:, a], varied.fake[:, b])


def test_frame_wise_with_equal_parameters_is_csp(moving_clip: MakeClip) -> None:
    frames, landmarks = moving_clip(1, 4, 8)
    once = _sample(6)[0]
    each = once.model_copy(update={"frames": once.frames * 4})
    a, b = (render(frames, landmarks, [p], size=224) for p in (once, each))
    assert torch.equal(a.fake, b.fake)
    assert torch.equal(a.mask, b.mask)


@pytest.mark.parametrize("mode", ["csp", "frame-wise"])
def test_replay_from_json_gives_the_same_pixels(moving_clip: MakeClip, mode: str) -> None:
    frames, landmarks = moving_clip(2, 4, 9)
    params = _sample(7, 2, mode=mode)
    replayed = [ClipParams.model_validate_json(p.model_dump_json()) for p in params]
    a, b = (render(frames, landmarks, p, size=224) for p in (params, replayed))
    for name in ("real", "fake", "mask"):
        assert torch.equal(getattr(a, name), getattr(b, name))


def test_inputs_are_untouched(moving_clip: MakeClip) -> None:
    frames, landmarks = moving_clip(4, 2, 10)
    copies = frames.clone(), landmarks.clone()
    render(frames, landmarks, _sample(8, 4), size=224)
    assert torch.equal(frames, copies[0])
    assert torch.equal(landmarks, copies[1])


def test_flipping_commutes(moving_clip: MakeClip) -> None:
    frames, landmarks = moving_clip(4, 3, 11)
    flipped = [p.model_copy(update={"flip": True}) for p in _sample(9, 4)]
    upright = [p.model_copy(update={"flip": False}) for p in flipped]
    a = render(frames, landmarks, flipped, size=224)
    b = render(frames.flip(-1), mirror_landmarks(landmarks.double(), 256), upright, size=224)
    for name in ("real", "fake", "mask"):
        assert torch.equal(getattr(a, name), getattr(b, name))
    assert not torch.equal(a.fake, render(frames, landmarks, upright, size=224).fake)


def test_a_clip_does_not_depend_on_its_batch(moving_clip: MakeClip) -> None:
    frames, landmarks = moving_clip(4, 3, 12)
    params = _sample(10, 4)
    together = render(frames, landmarks, params, size=224)
    order = [2, 0, 3, 1]
    shuffled = render(frames[order], landmarks[order], [params[i] for i in order], size=224)
    for name in ("real", "fake", "mask"):
        assert torch.equal(getattr(together, name)[order], getattr(shuffled, name))


def test_margin_is_the_one_of_prediction(moving_clip: MakeClip) -> None:
    """The real twin of an unchanged background is `cut_margin` of the frames, nothing else."""
    frames, landmarks = moving_clip(1, 2, 13)
    blending = _sample(11)[0].frames[0].model_copy(update={"changed_side": "copy"})
    params = _plain(_sample(11)[0], frames=(blending,), margin=17)
    pair = render(frames, landmarks, [params], size=224)
    assert torch.equal(pair.real, cut_margin(frames, margin=17, size=224))


def test_other_stored_sizes_look_the_same(moving_clip: MakeClip) -> None:
    """Pixel numbers scale by S / 256: the mask of a 128 px crop is the 256 px one, halved."""
    _, landmarks = moving_clip(1, 3, 14)
    for clip_params in _sample(12, 4):
        big, small = (
            soft_mask(
                landmarks[0] * scale + (scale - 1) / 2,
                clip_params.frames[0],
                size=int(256 * scale),
                device=torch.device("cpu"),
            )
            for scale in (1.0, 0.5)
        )
        halved = torch.nn.functional.avg_pool2d(big[:, None], 2)[:, 0]
        assert (halved - small).abs().mean() < 0.02


def test_sizes_other_than_224(moving_clip: MakeClip) -> None:
    frames, landmarks = moving_clip(1, 2, 15, size=48)
    pair = render(frames, landmarks, _sample(13), size=32)
    assert pair.fake.shape == (1, 2, 3, 32, 32)
    assert not torch.equal(pair.fake, pair.real)


def test_refusals(moving_clip: MakeClip, face_81: Tensor) -> None:
    frames, landmarks = moving_clip(1, 4, 16)
    params = _sample(14)
    with pytest.raises(ValueError, match="uint8"):
        render(frames.float(), landmarks, params, size=224)
    with pytest.raises(ValueError, match="square"):
        render(frames[..., :200], landmarks, params, size=224)
    with pytest.raises(ValueError, match="need landmarks"):
        render(frames, landmarks[:, :3], params, size=224)
    frame_wise = _sample(14, mode="frame-wise")
    with pytest.raises(ValueError, match="frame by frame"):
        render(frames[:, :3], landmarks[:, :3], frame_wise, size=224)
    with pytest.raises(ValueError, match="outside its crop"):
        render(frames, landmarks + 500, params, size=224)


def _assert_agrees(a: SelfBlended, b: SelfBlended) -> None:
    """What `render` promises about two devices."""
    mask = (a.mask.cpu() - b.mask).abs()
    assert mask.mean() < 1e-3
    assert mask.flatten().kthvalue(int(0.999 * mask.numel())).values < 0.01
    for x, y in ((a.real, b.real), (a.fake, b.fake)):
        difference = (x.cpu().int() - y.int()).abs().flatten()
        assert difference.kthvalue(int(0.999 * difference.numel())).values <= 2
        assert difference.float().mean() < 0.3


@pytest.mark.parametrize(
    "fields",
    [{}, {"mode": "frame-wise"}, {"beyond": {"gradient_domain_probability": 1.0}}],
    ids=["csp", "frame-wise", "gradient domain"],
)
def test_what_runs_on_a_gpu_agrees_with_opencv(
    moving_clip: MakeClip, monkeypatch: pytest.MonkeyPatch, fields: dict[str, object]
) -> None:
    """The torch branches, run on the CPU."""
    frames, landmarks = moving_clip(6, 4, 17)
    params = [p.model_copy(update={"jpeg_quality": None}) for p in _sample(15, 6, **fields)]
    opencv = render(frames, landmarks, params, size=224)
    for room in (blur, colour, render_room, warp):
        monkeypatch.setattr(room, "opencv_reads", lambda x: False)
    _assert_agrees(render(frames, landmarks, params, size=224), opencv)


@pytest.mark.gpu
def test_gpu_agrees_with_cpu(moving_clip: MakeClip) -> None:
    frames, landmarks = moving_clip(8, 4, 17)
    params = [p.model_copy(update={"jpeg_quality": None}) for p in _sample(15, 8)]
    cpu = render(frames, landmarks, params, size=224)
    _assert_agrees(render(frames.cuda(), landmarks.cuda(), params, size=224), cpu)


def test_the_window_moves_alike_for_both_clips_and_the_mask(
    moving_clip: Callable[..., tuple[Tensor, Tensor]],
) -> None:
    """Nothing else changes: a window moved by (6, -4) shows what the middle one shows there."""
    frames, landmarks = moving_clip(1, 2, seed=3)
    params = sample(np.random.default_rng(5), SynthesisConfig(jpeg_probability=0), clip_length=2)
    middle = params.model_copy(update={"margin": 10, "shift": (0, 0)})
    moved = params.model_copy(update={"margin": 10, "shift": (6, -4)})
    kept = 256 - 2 * 10
    before = render(frames, landmarks, [middle], size=kept)
    after = render(frames, landmarks, [moved], size=kept)
    for name in ("real", "fake", "mask"):
        was, now = getattr(before, name), getattr(after, name)
        assert torch.equal(now[..., 4:, :-6], was[..., :-4, 6:]), name


def test_both_twins_lose_resolution_and_are_sharpened_alike(moving_clip: MakeClip) -> None:
    """Nothing is blended (r = 0): the twins stay equal, whatever is done to both."""
    frames, landmarks = moving_clip(1, 3, 2)
    (params,) = _sample(4, jpeg_probability=0.0, beyond={"sharpen_probability": 1.0})
    blending = params.frames[0].model_copy(update={"ratio": 0.0, "changed_side": "copy"})
    params = params.model_copy(update={"frames": (blending,)})
    sharp = render(frames, landmarks, [params], size=112)
    assert torch.equal(sharp.real, sharp.fake)
    plain = render(frames, landmarks, [params.model_copy(update={"sharpen": None})], size=112)
    soft_params = params.model_copy(update={"sharpen": None, "resolution": 0.4})
    soft = render(frames, landmarks, [soft_params], size=112)
    assert torch.equal(soft.real, soft.fake)

    def detail(frames: Tensor) -> float:
        return float(frames.float().diff(dim=-1).abs().mean())

    assert detail(soft.real) < 0.9 * detail(plain.real) < 0.9 * detail(sharp.real)
    # Light and colour stay where they are.
    assert abs(float(soft.real.float().mean() - plain.real.float().mean())) < 0.5
    whole = params.model_copy(update={"sharpen": None, "resolution": 1.0})
    assert torch.equal(render(frames, landmarks, [whole], size=112).real, plain.real)


def test_both_twins_get_the_same_noise_and_h264(moving_clip: MakeClip) -> None:
    """r = 0 again; and one frame's noise is not the next one's."""
    frames, landmarks = moving_clip(1, 3, 2)
    (params,) = _sample(
        4, jpeg_probability=0.0, beyond={"noise_probability": 1.0, "h264_probability": 1.0}
    )
    blending = params.frames[0].model_copy(update={"ratio": 0.0, "changed_side": "copy"})
    params = params.model_copy(update={"frames": (blending,)})
    damaged = render(frames, landmarks, [params], size=112)
    assert torch.equal(damaged.real, damaged.fake)
    noisy = render(frames, landmarks, [params.model_copy(update={"h264_crf": None})], size=112)
    assert torch.equal(noisy.real, noisy.fake)
    plain_params = params.model_copy(update={"h264_crf": None, "noise": None})
    plain = render(frames, landmarks, [plain_params], size=112)
    first, second = (noisy.real.float() - plain.real.float())[0, :2]
    assert params.noise is not None
    assert float(first.std()) == pytest.approx(params.noise.sigma, rel=0.2)
    assert not torch.equal(first, second)
    assert not torch.equal(damaged.real, noisy.real)
    assert torch.equal(damaged.mask, plain.mask)


def test_both_twins_are_blurred_alike(moving_clip: MakeClip) -> None:
    """As OpenCV blurs, with a sigma in pixels of a 256 px crop."""
    frames, landmarks = moving_clip(1, 2, 2)
    (params,) = _sample(4, jpeg_probability=0.0, beyond={"blur_probability": 1.0})
    blending = params.frames[0].model_copy(update={"ratio": 0.0, "changed_side": "copy"})
    nothing = {"frames": (blending,), "margin": 0, "jitter": Colour(), "damage_first": True}
    params = params.model_copy(update=nothing | {"blur": 2.0})
    size = frames.shape[-1]
    blurred = render(frames, landmarks, [params], size=size)
    assert torch.equal(blurred.real, blurred.fake)
    plain = render(frames, landmarks, [params.model_copy(update={"blur": None})], size=size)
    sigma = 2.0 * size / 256
    for frame_chw, plain_chw in zip(blurred.real[0], plain.real[0], strict=True):
        wanted_hwc = cv2.GaussianBlur(
            plain_chw.permute(1, 2, 0).numpy(), (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101
        )
        assert np.abs(frame_chw.permute(1, 2, 0).numpy() - wanted_hwc.astype(float)).max() <= 3
    assert torch.equal(blurred.mask, plain.mask)


def test_a_moved_real_clip_is_the_whole_copy(moving_clip: MakeClip) -> None:
    """The pseudo-fake stays what it was and, where M is 1 and r is 1, shows what the real one does;
    with nothing moved, the real clip is the background again."""
    frames, landmarks = moving_clip(1, 3, 2)
    (params,) = _sample(4, jpeg_probability=0.0)
    blending = params.frames[0].model_copy(update={"ratio": 1.0})
    params = params.model_copy(update={"frames": (blending,), "margin": 15, "jitter": Colour()})
    usual = render(frames, landmarks, [params], size=226)
    moved = render(frames, landmarks, [params.model_copy(update={"moved_real": True})], size=226)
    assert torch.equal(usual.fake, moved.fake)
    assert torch.equal(usual.mask, moved.mask)
    inside = (moved.mask > 0.9999)[:, :, None].expand_as(moved.real)
    outside = (moved.mask == 0)[:, :, None].expand_as(moved.real)
    assert bool(inside.any())
    assert bool(outside.any())
    assert int((moved.real.int() - moved.fake.int())[inside].abs().max()) <= 1
    assert int((usual.real.int() - usual.fake.int())[outside].abs().max()) == 0
    assert not torch.equal(moved.real[outside], moved.fake[outside])

    still = blending.model_copy(
        update={"translate": (0.0, 0.0), "scale": 1.0, "changed_side": "copy"}
        | {"detail": Sharpen(alpha=0.0, lightness=1.0), "colour": Colour()}
    )
    params = params.model_copy(update={"frames": (still,)})
    there = params.model_copy(update={"moved_real": True})
    back_and_there = [render(frames, landmarks, [p], size=226).real.int() for p in (params, there)]
    assert int((back_and_there[0] - back_and_there[1]).abs().max()) <= 1


def test_a_moved_real_clip_is_refused_where_it_would_flicker() -> None:
    with pytest.raises(ValueError, match="would flicker"):
        SynthesisConfig(mode="frame-wise", beyond=BeyondConfig(moved_real_probability=0.1))


def test_damage_first_comes_before_the_crop_is_enlarged(moving_clip: MakeClip) -> None:
    (frames,), (landmarks,) = moving_clip(clips=1, length=4, seed=7)
    (drawn,) = _sample(5)
    plain = _plain(drawn, margin=32, jpeg_quality=40)
    first = plain.model_copy(update={"damage_first": True, "resolution": 0.5})
    shown = render_room.show(frames, first, size=192)
    shrunk = cut_margin(frames, margin=0.0, size=128)
    compressed = colour.compress_jpeg(shrunk, 40)
    wanted = cut_margin(compressed, margin=16, size=192)
    assert torch.equal(shown, wanted)
    blended = render(frames[None], landmarks[None], [first], size=192)
    after = render(frames[None], landmarks[None], [plain], size=192)
    # The mask does not depend on when frames are damaged; twins outside it stay alike.
    assert torch.equal(blended.mask, after.mask)
    outside = (blended.mask == 0)[:, :, None].expand_as(blended.real)
    difference = (blended.real.int() - blended.fake.int()).abs()[outside].float()
    # JPEG carries the seam on within its blocks, and no further.
    assert difference.median() == 0
    assert (blended.fake.int() - after.fake.int()).abs().float().mean() > 1.0


def test_damage_first_without_damage_is_the_method(moving_clip: MakeClip) -> None:
    (frames,), (landmarks,) = moving_clip(clips=1, length=4, seed=7)
    (drawn,) = _sample(6)
    quiet = drawn.model_copy(update={"jpeg_quality": None})
    moved = quiet.model_copy(update={"damage_first": True})
    before = render(frames[None], landmarks[None], [quiet], size=160)
    after = render(frames[None], landmarks[None], [moved], size=160)
    assert (before.fake.int() - after.fake.int()).abs().max() <= 1  # rounded once more
