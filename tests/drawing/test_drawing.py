"""Faces drawn into pictures, whole or in part."""

import numpy as np
import pytest

from fakestormer.drawing.drawing import COLOURS, FaceLook, draw_face, drawn_area

SIZE = (640, 360)  # width, height


@pytest.mark.parametrize(
    "box",
    [
        (200.0, 120.0, 311.0, 231.0),
        (-31.0, -20.0, 80.0, 91.0),  # no room above: the name stands below
        (590.0, 100.0, 700.0, 210.0),  # no room at the right
        (300.0, 300.0, 420.0, 420.0),
        (-10.0, -150.0, 650.0, 510.0),  # larger than the picture
        (100.0, -200.0, 201.0, -90.0),  # outside
        (700.0, 100.0, 760.0, 160.0),
    ],
)
def test_the_area_is_all_that_is_drawn_into(box: tuple[float, ...]) -> None:
    rng = np.random.default_rng(1)
    look = FaceLook(
        name="Face 12", colour=COLOURS["inconclusive"], scale=1.0, mask_ss=np.ones((112, 112), bool)
    )
    evidence_gg = rng.normal(0.5, 1.0, (14, 14)).astype(np.float32)
    whole = rng.integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)
    apart = whole.copy()
    draw_face(whole, look, box, evidence_gg=evidence_gg, size=SIZE)
    left, top, right, bottom = area = drawn_area(look, box, SIZE)
    assert all(value % 2 == 0 for value in area)
    if left < right and top < bottom:
        part = np.ascontiguousarray(apart[top:bottom, left:right])
        within = (box[0] - left, box[1] - top, box[2] - left, box[3] - top)
        draw_face(part, look, within, evidence_gg=evidence_gg, size=SIZE)
        apart[top:bottom, left:right] = part
    assert np.array_equal(apart, whole)
