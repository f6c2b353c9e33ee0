"""Targets against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from fakestormer.synthesis.targets import (
    boundary,
    derivative,
    normalise,
    patch_vulnerability,
    soft_labels,
)


def test_boundary_by_hand() -> None:
    """B = 4 M (1 - M): 0 -> 0, 1/4 -> 3/4, 1/2 -> 1, 3/4 -> 3/4, 1 -> 0."""
    mask = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0])
    torch.testing.assert_close(boundary(mask), torch.tensor([0.0, 0.75, 1.0, 0.75, 0.0]))


def test_patch_vulnerability_is_the_maximum() -> None:
    mask = torch.zeros(1, 1, 4, 6)
    mask[0, 0, 1, 1] = 0.5  # patch (0, 0): B = 1
    mask[0, 0, 2, 4] = 0.25  # patch (1, 2): B = 0.75
    mask[0, 0, :2, 2:4] = 1.0  # patch (0, 1): inside the face, no boundary
    expected = torch.tensor([[[[1.0, 0.0, 0.0], [0.0, 0.0, 0.75]]]])
    torch.testing.assert_close(patch_vulnerability(mask, 2), expected)


def test_patch_vulnerability_linear() -> None:
    """Halving a 4 x 4 map bilinearly averages each 2 x 2 block: one B = 1 of four gives 0.25."""
    mask = torch.zeros(1, 1, 4, 4)
    mask[0, 0, 0, 0] = 0.5
    expected = torch.tensor([[[[0.25, 0.0], [0.0, 0.0]]]])
    torch.testing.assert_close(patch_vulnerability(mask, 2, "linear"), expected)


def test_patch_vulnerability_refuses_broken_patches() -> None:
    with pytest.raises(ValueError, match="whole"):
        patch_vulnerability(torch.zeros(1, 1, 30, 32), 16)


def test_derivative_of_a_decreasing_boundary() -> None:
    """0.9 -> 0.2 -> 0.5: |-0.7| and 0.3. In 8-bit arithmetic the first would wrap around."""
    b = torch.tensor([0.9, 0.2, 0.5]).view(1, 3, 1, 1)
    torch.testing.assert_close(derivative(b).flatten(), torch.tensor([0.0, 0.7, 0.3]))
    wrapped = torch.tensor([230, 51], dtype=torch.uint8)
    assert (wrapped[1] - wrapped[0]).item() == 77, "the trap this guards against"


def test_derivative_of_one_frame_is_zero() -> None:
    assert derivative(torch.ones(2, 1, 3, 3)).eq(0).all()


def test_soft_labels() -> None:
    b = torch.tensor([[[[0.1, 0.4], [0.2, 0.3]], [[0.0, 0.0], [0.9, 0.0]]]])
    torch.testing.assert_close(soft_labels(b), torch.tensor([[0.4, 0.9]]))


def _changes() -> torch.Tensor:
    """D of two frames of 2 x 2 patches: nothing, then (0, 0.2, 0.2, 0.4)."""
    return torch.tensor([[[[0.0, 0.0], [0.0, 0.0]], [[0.0, 0.2], [0.2, 0.4]]]])


def test_standardised_by_hand() -> None:
    """mean = 0.2, variance = (0.04 + 0 + 0 + 0.04) / 4 = 0.02, std = sqrt(0.02)."""
    fake, real = normalise(_changes(), "standard")
    z = 0.2 / math.sqrt(0.02)
    expected = torch.tensor([[[[-z, -z], [-z, -z]], [[-z, 0.0], [0.0, z]]]])
    torch.testing.assert_close(fake, expected)
    torch.testing.assert_close(real, torch.full_like(fake, -z))


def test_minmax_by_hand() -> None:
    fake, real = normalise(_changes() + torch.tensor([0.0, 0.1]).view(1, 2, 1, 1), "minmax")
    # D(1) = 0.1, 0.3, 0.3, 0.5: min 0.1, range 0.4; no change is (0 - 0.1) / 0.4 = -0.25
    expected = torch.tensor([[[[-0.25, -0.25], [-0.25, -0.25]], [[0.0, 0.5], [0.5, 1.0]]]])
    torch.testing.assert_close(fake, expected)
    torch.testing.assert_close(real, torch.full_like(fake, -0.25))


def test_gaussian3d_by_hand() -> None:
    """The largest change is at (t, y, x) = (1, 1, 1): exp(-d^2 / 2) at distance d around it."""
    fake, real = normalise(_changes(), "gaussian3d", gaussian_sigma=1.0)
    e = [math.exp(-d / 2) for d in (0, 1, 2, 3)]
    expected = torch.tensor([[[[e[3], e[2]], [e[2], e[1]]], [[e[2], e[1]], [e[1], e[0]]]]])
    torch.testing.assert_close(fake, expected)
    assert real.eq(0).all()


def test_gaussian3d_takes_the_nearest_of_several_peaks() -> None:
    d = torch.zeros(1, 2, 1, 7)
    d[0, 1, 0, 0] = d[0, 1, 0, 6] = 0.5
    fake, _ = normalise(d, "gaussian3d", gaussian_sigma=2.0)
    distances = torch.tensor([0.0, 1, 2, 3, 2, 1, 0])
    torch.testing.assert_close(fake[0, 1, 0], torch.exp(-distances.square() / 8))


@pytest.mark.parametrize("normalisation", ["standard", "minmax", "gaussian3d"])
def test_nothing_changes_gives_zero(normalisation: str) -> None:
    for shape in ((2, 4, 3, 3), (2, 1, 3, 3)):
        fake, real = normalise(torch.zeros(shape), normalisation)  # type: ignore[arg-type]
        assert fake.eq(0).all()
        assert real.eq(0).all()
    # the same change everywhere has no spread either
    even = torch.full((1, 3, 2, 2), 0.3)
    even[:, 0] = 0
    if normalisation != "gaussian3d":
        fake, real = normalise(even, normalisation)  # type: ignore[arg-type]
        assert fake.eq(0).all()
        assert real.eq(0).all()


@pytest.mark.parametrize("normalisation", ["standard", "minmax", "gaussian3d"])
def test_each_clip_has_its_own_statistics(normalisation: str) -> None:
    clips = derivative(torch.rand(5, 4, 6, 6, generator=torch.Generator().manual_seed(1)))
    fake, real = normalise(clips, normalisation)  # type: ignore[arg-type]
    for i in range(5):
        alone = normalise(clips[i : i + 1], normalisation)  # type: ignore[arg-type]
        assert torch.equal(alone[0][0], fake[i])
        assert torch.equal(alone[1][0], real[i])
