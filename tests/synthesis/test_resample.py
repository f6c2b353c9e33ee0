"""The way from a stored crop to network input, by hand."""

from __future__ import annotations

import pytest
import torch

from fakestormer.synthesis.resample import cut_margin


def test_no_margin_and_the_same_size_is_the_identity() -> None:
    x = torch.arange(48, dtype=torch.uint8).reshape(3, 4, 4)
    assert torch.equal(cut_margin(x, margin=0, size=4), x)


def test_margin_and_shift_choose_the_window() -> None:
    x = torch.arange(36.0).reshape(6, 6)
    # rows and columns 2..3
    assert cut_margin(x, margin=2, size=2).tolist() == [[14, 15], [20, 21]]
    # one to the right, two up
    assert cut_margin(x, margin=2, size=2, shift=(1, -2)).tolist() == [[3, 4], [9, 10]]


def test_halving_averages_instead_of_skipping_pixels() -> None:
    """A one-pixel checkerboard would alias to a flat black or white picture."""
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    board = (((x + y) % 2) * 255).to(torch.uint8)
    half = cut_margin(board, margin=0, size=32)
    assert half.dtype == torch.uint8
    inner = half[2:-2, 2:-2].float()
    assert float((inner - 127.5).abs().max()) <= 1


def test_what_leaves_nothing_is_refused() -> None:
    x = torch.zeros(3, 8, 8)
    with pytest.raises(ValueError, match="leaves nothing of 8 px"):
        cut_margin(x, margin=4, size=2)
    with pytest.raises(ValueError, match="a shift of"):
        cut_margin(x, margin=2, size=2, shift=(3, 0))
    with pytest.raises(ValueError, match="square"):
        cut_margin(torch.zeros(3, 8, 9), margin=1, size=4)


@pytest.mark.parametrize(("stored", "margin", "size"), [(256, 9, 224), (128, 12, 112), (64, 0, 7)])
def test_the_quick_way_is_torchs_antialiased_resize(stored: int, margin: int, size: int) -> None:
    """Smaller, larger and much smaller; more planes than are done at a time."""
    x = torch.rand(2, 4, stored, stored, generator=torch.Generator().manual_seed(0)) * 255
    kept = x[..., margin : stored - margin, margin : stored - margin]
    plain = torch.nn.functional.interpolate(kept, (size, size), mode="bilinear", antialias=True)
    # OpenCV, which enlarges, knows positions to 1e-5 px
    torch.testing.assert_close(cut_margin(x, margin=margin, size=size), plain, atol=5e-3, rtol=0)
