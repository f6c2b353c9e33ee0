"""The four hulls."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from fakestormer.recipe.synthesis import HullType
from fakestormer.synthesis.hull import HULLS, hull_mask, raise_brows


def _inside(mask_hw: Tensor, x: float, y: float) -> bool:
    return bool(mask_hw[round(y), round(x)])


def test_groups_are_the_documented_ones() -> None:
    """Spot checks of the tables, written out."""
    assert HULLS["full"][0] == (*range(17), *range(48, 68))
    assert HULLS["full"][1] == (27, 28, 29, 30, 33)
    assert HULLS["full"][2] == (*range(17, 27), 0, 27, 16, 33)
    assert HULLS["components"] == (
        (0, 1, 2, 3, 4, 5, 6, 7, 8, 17),
        (8, 9, 10, 11, 12, 13, 14, 15, 16, 26),
        (17, 18, 19, 8),
        (24, 25, 26, 8),
        (19, 20, 21, 22, 23, 24, 8),
        (17, 18, 19, 20, 21, 27, 31, 32, 33, 34, 35, 8),
        (22, 23, 24, 25, 26, 27, 31, 32, 33, 34, 35, 8),
        (27, 28, 29, 30, 31, 32, 33, 34, 35),
    )
    assert HULLS["extended"] == HULLS["components"]


@pytest.mark.parametrize("hull", ["full", "components", "extended", "facehull"])
def test_hulls_cover_the_face_and_nothing_else(face_81: Tensor, hull: HullType) -> None:
    mask = hull_mask(face_81, hull, 256)
    assert mask.shape == (256, 256)
    assert mask.dtype == torch.float32
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert _inside(mask, 127.5, 140)  # nose
    assert _inside(mask, 127.5, 195)  # chin
    assert not _inside(mask, 5, 5)
    assert not _inside(mask, 127.5, 240)
    torch.testing.assert_close(mask.mean(), mask.flip(-1).mean(), atol=5e-3, rtol=0)


def test_only_facehull_with_forehead_covers_the_forehead(face_81: Tensor) -> None:
    forehead = (127.5, 60)
    for hull in ("full", "components", "extended"):
        assert not _inside(hull_mask(face_81, hull, 256), *forehead)
    assert _inside(hull_mask(face_81, "facehull", 256), *forehead)
    assert not _inside(hull_mask(face_81[:68], "facehull", 256), *forehead)


def test_extended_reaches_above_the_brows(face_81: Tensor) -> None:
    above = (97, 86)  # brow at y = 90, raised to about 82
    assert not _inside(hull_mask(face_81, "components", 256), *above)
    assert _inside(hull_mask(face_81, "extended", 256), *above)


def test_raised_brows_by_hand() -> None:
    """Eye corner 36 at (20, 10), jaw 0 at (0, 10): ml = (10, 10), ql = (15, 10).

    Brow 17 at (15, 4) is 6 above ql and moves up by half of that, to (15, 1). Brow 18 at (20, 2)
    is 8 above point 36 and moves to (20, -2).
    """
    points = np.zeros((68, 2))
    points[36], points[0] = (20, 10), (0, 10)
    points[17], points[18] = (15, 4), (20, 2)
    raised = raise_brows(points)
    np.testing.assert_allclose(raised[17], (15, 1))
    np.testing.assert_allclose(raised[18], (20, -2))
    np.testing.assert_allclose(raised[36], (20, 10))
    mirrored = points.copy()
    mirrored[45], mirrored[16] = (20, 10), (40, 10)  # mr = (30, 10), qr = (25, 10)
    mirrored[26] = (25, 4)
    np.testing.assert_allclose(raise_brows(mirrored)[26], (25, 1))


def test_square_by_hand() -> None:
    """All 68 points on the corners of a square from (8, 8) to (23, 23): 16 x 16 pixels."""
    corners = torch.tensor([[8.0, 8], [23, 8], [23, 23], [8, 23]])
    mask = hull_mask(corners.repeat(17, 1), "facehull", 32)
    expected = torch.zeros(32, 32)
    expected[8:24, 8:24] = 1
    assert torch.equal(mask, expected)


def test_batched(face_81: Tensor) -> None:
    faces = torch.stack([face_81, face_81 + 7, face_81 - 9])
    masks = hull_mask(faces[None], "full", 256)
    assert masks.shape == (1, 3, 256, 256)
    for face, mask in zip(faces, masks[0], strict=True):
        assert torch.equal(hull_mask(face, "full", 256), mask)


def test_refuses_other_layouts() -> None:
    with pytest.raises(ValueError, match="68 or 81"):
        hull_mask(torch.zeros(5, 2), "full", 64)
