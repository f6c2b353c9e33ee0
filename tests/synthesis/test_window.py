"""On a CPU masks are worked on only where they are: it must not show."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from fakestormer.recipe.synthesis import Resampling, SynthesisConfig
from fakestormer.synthesis import blur as blur_room
from fakestormer.synthesis import warp
from fakestormer.synthesis.blur import soften, window_of
from fakestormer.synthesis.params import SBVParams, sample
from fakestormer.synthesis.warp import resize, take


def _params(**changes: object) -> SBVParams:
    blending = sample(np.random.default_rng(0), SynthesisConfig(), clip_length=1).frames[0]
    return blending.model_copy(update=changes)


def test_window_by_hand() -> None:
    mask = torch.zeros(2, 20, 30)
    mask[0, 5, 7] = 0.1
    mask[1, 8, 25] = 1.0
    assert window_of(mask) == (slice(5, 9), slice(7, 26))
    assert window_of(mask, 6) == (slice(0, 15), slice(1, 30))
    assert window_of(torch.zeros(1, 4, 4)) == (slice(0, 1), slice(0, 1))


@pytest.mark.parametrize("where", [(60, 60), (0, 0), (99, 3), (40, 119)])
def test_soft_masks_in_a_window_are_those_of_the_picture(
    monkeypatch: pytest.MonkeyPatch, where: tuple[int, int]
) -> None:
    """Against torch's way, which works on all of it, with masks at every edge."""
    mask = torch.zeros(2, 120, 140)
    y, x = where
    mask[0, max(0, y - 20) : y + 25, max(0, x - 30) : x + 20] = 1.0
    mask[1, 50:90, 40:100] = 1.0
    params = _params(erosion_kernel=21, feather_kernel=25, feather_sigma=20.0)
    windowed = soften(mask, params, scale=1.0)
    monkeypatch.setattr(blur_room, "opencv_reads", lambda x: False)
    torch.testing.assert_close(windowed, soften(mask, params, scale=1.0), atol=1e-5, rtol=0)
    assert 0 < float((windowed > 0).float().mean()) < 0.5


def test_an_empty_mask_stays_empty() -> None:
    assert not soften(torch.zeros(2, 40, 40), _params(), scale=1.0).any()


@pytest.mark.parametrize("outside", ["border", "zeros"])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("resampling", ["linear", "cubic"])
def test_opencv_takes_what_torch_takes(
    monkeypatch: pytest.MonkeyPatch, outside: str, channels: int, resampling: Resampling
) -> None:
    """Positions inside, between and beyond the pixels; 3 frames, so that groups of 4 are split."""
    generator = torch.Generator().manual_seed(0)
    frames = torch.rand(3, channels, 40, 40, generator=generator)
    at = 60 * torch.rand(2, 25, 35, generator=generator) - 10
    taken: list[Tensor] = [take(frames, at, outside=outside, resampling=resampling)]
    larger = [resize(frames[:, 0], height=57, width=33)]
    monkeypatch.setattr(warp, "opencv_reads", lambda x: False)
    taken.append(take(frames, at, outside=outside, resampling=resampling))
    larger.append(resize(frames[:, 0], height=57, width=33))
    assert taken[0].shape == (3, channels, 25, 35)
    # 1/32 px where OpenCV is older than 5
    torch.testing.assert_close(taken[0], taken[1], atol=0.05, rtol=0)
    assert (taken[0] - taken[1]).abs().mean() < 0.01
    torch.testing.assert_close(larger[0], larger[1], atol=1e-5, rtol=0)


def test_cubic_samples_keep_what_linear_ones_soften() -> None:
    """Stripes two pixels wide, taken halfway between pixels; by hand with a = -0.75.

    Halfway the weights are (-3, 19, 19, -3) / 32: of the stripes 0 0 1 1 the value between the
    second and the third is 1/2 either way, between the third and the fourth (0 1 1 0) 38/32, with
    linear weights 1.
    """
    row = torch.tensor([0.0, 0, 1, 1]).repeat(4)
    frames = row.expand(1, 1, 16, 16).contiguous()
    at = torch.stack(torch.meshgrid(torch.arange(16.0), torch.tensor([5.5, 6.5]), indexing="xy"))
    at = at.flip(0)  # x = 5.5 or 6.5 in every row
    linear = take(frames, at.mT.contiguous(), outside="border")
    cubic = take(frames, at.mT.contiguous(), outside="border", resampling="cubic")
    assert linear[0, 0, 8].tolist() == pytest.approx([0.5, 1.0], abs=1e-4)
    assert cubic[0, 0, 8].tolist() == pytest.approx([0.5, 38 / 32], abs=1e-4)
