"""Damage of whole clips, against hand-made signals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from fakestormer.synthesis.beyond.damage import add_noise, compress_h264
from fakestormer.synthesis.params import Noise


def ramp(length: int, height: int, width: int) -> Tensor:
    """A soft ramp that moves by a pixel per frame; uint8 (T, 3, H, W)."""
    across = torch.arange(width) + torch.arange(height)[:, None]
    return (
        torch.stack([60 + (across + t) % 120 for t in range(length)])[:, None]
        .repeat(1, 3, 1, 1)
        .to(torch.uint8)
    )


def test_noise_has_the_deviation_it_says_and_depends_on_place_and_seed_alone() -> None:
    grey = torch.full((3, 3, 64, 64), 128, dtype=torch.uint8)
    noise = Noise(sigma=6.0, seed=5)
    noisy = add_noise(grey, noise, [0, 1, 0])
    assert noisy.dtype == torch.uint8
    change = noisy.float() - 128
    # sd of rounded N(0, 6): sqrt(36 + 1/12)
    assert float(change[:2].std()) == pytest.approx(np.sqrt(36 + 1 / 12), rel=0.02)
    assert abs(float(change[:2].mean())) < 0.15
    assert torch.equal(noisy[0], noisy[2])
    assert abs(float(np.corrcoef(change[0].flatten(), change[1].flatten())[0, 1])) < 0.04
    assert torch.equal(add_noise(grey[:1], noise, [1])[0], noisy[1])
    assert not torch.equal(add_noise(grey[:1], Noise(sigma=6.0, seed=6), [1])[0], noisy[1])


def test_noise_stays_within_bytes() -> None:
    black_and_white = torch.tensor([0, 255], dtype=torch.uint8).repeat_interleave(600)
    frames = black_and_white.view(1, 3, 20, 20).clone()
    noisy = add_noise(frames, Noise(sigma=30.0, seed=0), [0]).float()
    # Half of the noise is clipped away: the mean of |N(0, s)| / 2 is s / sqrt(2 pi).
    dark = noisy.flatten()[:600]
    assert float(dark.mean()) == pytest.approx(30 / np.sqrt(2 * np.pi), rel=0.15)
    assert float(255 - noisy.flatten()[600:].mean()) == pytest.approx(12, rel=0.15)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (33, 47)])
def test_h264_loses_more_the_higher_its_crf_and_keeps_frames_in_place(
    height: int, width: int
) -> None:
    clip = ramp(4, height, width)
    errors = []
    for crf in (1, 30, 48):
        coded = compress_h264(clip, crf)
        assert coded.shape == clip.shape
        assert coded.dtype == torch.uint8
        errors.append(float((coded.float() - clip.float()).abs().mean()))
        assert torch.equal(coded, compress_h264(clip, crf))
    assert errors[0] < 1.0
    assert errors[2] > errors[1] + 0.5 > errors[0] + 0.5
    # Light is neither moved nor scaled: grey in is grey out.
    grey = torch.full((2, 3, height, width), 90, dtype=torch.uint8)
    assert int((compress_h264(grey, 20).int() - 90).abs().max()) <= 2


def test_h264_predicts_frames_from_those_before() -> None:
    """The second frame is coded with the first in hand, so what it gives depends on it."""
    clip = ramp(2, 64, 64)
    other = clip.clone()
    other[0] = torch.from_numpy(
        np.random.default_rng(0).integers(0, 255, (3, 64, 64), dtype=np.uint8)
    )
    assert not torch.equal(compress_h264(clip, 35)[1], compress_h264(other, 35)[1])
