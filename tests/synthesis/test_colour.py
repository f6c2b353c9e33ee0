"""Colour, detail and JPEG; blur and noise; and that torch's way agrees with OpenCV's."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from fakestormer.synthesis import blur as blur_room
from fakestormer.synthesis import colour as colour_room
from fakestormer.synthesis.blur import blur, gaussian_taps
from fakestormer.synthesis.colour import change_colour, change_detail, compress_jpeg
from fakestormer.synthesis.params import Colour, Downscale, SBVParams, Sharpen
from fakestormer.synthesis.warp import elastic_field, elastic_noise


def _pixel(*rgb: int) -> torch.Tensor:
    return torch.tensor(rgb, dtype=torch.uint8).view(1, 3, 1, 1)


def test_rgb_shift_clips() -> None:
    changed = change_colour(_pixel(250, 100, 5), Colour(rgb_shift=(20, -3, -20)))
    assert changed.flatten().tolist() == [255, 97, 0]


def test_brightness_and_contrast_by_hand() -> None:
    """100 * 1.1 + 255 * 0.1 = 135.5 -> 136 (to even); 10 -> 36.5 -> 36; 250 -> 300.5 -> 255."""
    changed = change_colour(_pixel(100, 10, 250), Colour(brightness=0.1, contrast=0.1))
    assert changed.flatten().tolist() == [136, 36, 255]


def test_tiny_hsv_shift_changes_nothing() -> None:
    frames = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    assert torch.equal(change_colour(frames, Colour(hsv_shift=(0.3, -0.3, 0.29))), frames)


def test_hsv_by_hand() -> None:
    """Hue of 180: 60 steps turn red into green; saturation -255 leaves grey at the value."""
    assert change_colour(_pixel(200, 0, 0), Colour(hsv_shift=(60, 0, 0))).flatten().tolist() == [
        0, 200, 0,
    ]  # fmt: skip
    grey = change_colour(_pixel(200, 10, 30), Colour(hsv_shift=(0, -255, 0)))
    assert grey.flatten().tolist() == [200, 200, 200]
    assert (
        change_colour(_pixel(9, 9, 9), Colour(hsv_shift=(40, 0, 5))).flatten().tolist() == [14] * 3
    )


def test_hsv_there_and_back() -> None:
    frames = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    full_turn = change_colour(frames, Colour(hsv_shift=(180, 0, 0)))
    assert (full_turn.int() - frames.int()).abs().max() <= 1


def test_downscale_keeps_every_second_pixel() -> None:
    """0 10 | 20 30 down by 2 keeps 0 and 20; linearly up again: 0, 5, 15, 20."""
    row = torch.tensor([0, 10, 20, 30], dtype=torch.uint8)
    frames = row.expand(1, 3, 4, 4)
    changed = change_detail(frames, Downscale(factor=2))
    assert changed[0, 0, 0].tolist() == [0, 5, 15, 20]


def test_sharpen_by_hand() -> None:
    """Centre 100 among eight 90s: 0.5 * 100 + 0.5 * (9 * 100 - 8 * 90) = 140; flat stays flat."""
    frames = torch.full((1, 3, 3, 3), 90, dtype=torch.uint8)
    flat = change_detail(frames, Sharpen(alpha=0.5, lightness=1.0))
    assert torch.equal(flat, frames)
    frames[..., 1, 1] = 100
    changed = change_detail(frames, Sharpen(alpha=0.5, lightness=1.0))
    assert changed[0, :, 1, 1].tolist() == [140] * 3


def test_jpeg_is_close_and_depends_on_quality() -> None:
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    frames = torch.stack((2 * x, 3 * y, x + y)).to(torch.uint8)[None]
    errors = [
        (compress_jpeg(frames, quality).int() - frames.int()).abs().float().mean()
        for quality in (100, 60, 10)
    ]
    assert errors[0] < errors[1] < errors[2] < 12
    assert errors[0] < 1.5, "red and blue are where they were"


def test_inputs_are_untouched() -> None:
    frames = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    before = frames.clone()
    change_colour(frames, Colour(rgb_shift=(5, 5, 5), hsv_shift=(9, 9, 9), contrast=0.1))
    change_detail(frames, Downscale(factor=4))
    change_detail(frames, Sharpen(alpha=0.3, lightness=0.6))
    compress_jpeg(frames, 50)
    assert torch.equal(frames, before)


def test_blur_agrees_with_opencv() -> None:
    x = np.random.default_rng(0).uniform(size=(2, 40, 33)).astype("f4")
    blurred = blur(torch.from_numpy(x), gaussian_taps(7, 3.0)).numpy()
    for mine, plane in zip(blurred, x, strict=True):
        np.testing.assert_allclose(mine, cv2.GaussianBlur(plane, (15, 15), 3.0), atol=1e-5)


def test_taps_by_hand() -> None:
    taps = gaussian_taps(1, 1.0)
    side = float(np.exp(-0.5))
    np.testing.assert_allclose(taps, np.array([side, 1, side]) / (1 + 2 * side), rtol=1e-6)


def test_noise_is_the_documented_stream() -> None:
    """The first raw PCG64 word of seed 7, cut into four 16-bit numbers."""
    word = int(np.random.PCG64(7).random_raw())
    noise = elastic_noise(7)
    assert noise.shape == (2, 256, 256)
    for i in range(4):
        sixteen = (word >> (16 * i)) & 0xFFFF
        assert abs(float(noise[0, 0, i]) - ((sixteen + 0.5) / 32768 - 1)) < 1e-6
    assert noise.abs().max() < 1
    assert abs(float(noise.mean())) < 0.01


def test_elastic_field_is_smoothed_noise() -> None:
    """Against a full-resolution Gaussian blur; strength 50 / (2 sqrt(pi) 7 sqrt(3)) = 1.16 px."""
    rough = {"elastic_seed": 7, "elastic_amplitude": 50.0, "elastic_sigma": 7.0}
    params = SBVParams.model_construct(**rough)  # type: ignore[arg-type]
    field = elastic_field(params, height=256, width=256, device=torch.device("cpu"))
    for mine, noise in zip(field.numpy(), elastic_noise(7).numpy(), strict=True):
        smooth = 50 * cv2.GaussianBlur(noise, (57, 57), 7)
        assert np.abs(mine - smooth)[40:-40, 40:-40].max() < 0.05
    assert 0.9 < float(field.std()) < 1.4


def test_torch_does_what_opencv_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """The branches for other devices, run on the CPU."""
    frames = torch.randint(0, 256, (2, 3, 30, 26), dtype=torch.uint8)
    x = torch.rand(2, 40, 33)

    def results() -> list[torch.Tensor]:
        return [
            change_colour(frames, Colour(rgb_shift=(7, -9, 3.3), brightness=0.05, contrast=-0.1)),
            change_detail(frames, Sharpen(alpha=0.4, lightness=0.7)),
            change_detail(frames, Downscale(factor=2)),
            change_detail(frames, Downscale(factor=4)),
            blur(x, gaussian_taps(7, 3.0)),
        ]

    with_opencv = results()
    for room in (blur_room, colour_room):
        monkeypatch.setattr(room, "opencv_reads", lambda x: False)
    with_torch = results()
    assert torch.equal(with_torch[0], with_opencv[0])
    for mine, theirs in zip(with_torch[1:4], with_opencv[1:4], strict=True):
        assert (mine.int() - theirs.int()).abs().max() <= 1
    torch.testing.assert_close(with_torch[4], with_opencv[4], atol=1e-5, rtol=0)
