"""The margin is cut off and the rest resized, by the weights that training uses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fakestormer.faces.resample import cut_margin
from fakestormer.synthesis import resample

RNG = np.random.default_rng(0)


def test_no_margin_and_the_same_size_is_the_identity() -> None:
    x = np.arange(48, dtype=np.uint8).reshape(3, 4, 4)
    assert np.array_equal(cut_margin(x, margin=0, size=4), x)


def test_the_margin_chooses_the_window() -> None:
    x = np.arange(36, dtype=np.uint8).reshape(6, 6)
    assert cut_margin(x, margin=2, size=2).tolist() == [[14, 15], [20, 21]]


@pytest.mark.parametrize(
    ("stored", "margin", "size"), [(256, 22, 192), (128, 12, 112), (64, 0, 7), (40, 3, 96)]
)
def test_training_does_the_same(stored: int, margin: int, size: int) -> None:
    """But for rounding: sums in another order are rounded another way where they end in .5."""
    x = RNG.integers(0, 256, (2, 4, 3, stored, stored), dtype=np.uint8)
    here = cut_margin(x, margin=margin, size=size).astype(int)
    there = resample.cut_margin(torch.from_numpy(x), margin=margin, size=size).numpy()
    assert here.shape == (2, 4, 3, size, size)
    assert np.abs(here - there).max() <= 1
    assert (here != there).mean() < 0.002


def test_what_leaves_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="leaves nothing of 8 px"):
        cut_margin(np.zeros((3, 8, 8), np.uint8), margin=4, size=2)
    with pytest.raises(ValueError, match="expected square maps"):
        cut_margin(np.zeros((3, 8, 9), np.uint8), margin=1, size=4)
