"""The heat maps: signs, scale, places, and what must not be drawn."""

from __future__ import annotations

import numpy as np
import pytest

from fakestormer.drawing import overlays


def grey_frames(count: int, *, size: int) -> np.ndarray:
    return np.full((count, 3, size, size), 128, dtype=np.uint8)


def test_no_change_draws_nothing() -> None:
    frames = grey_frames(3, size=28)
    for level in (0.0, -0.7):
        drawn = overlays.heat_map(np.full((3, 14, 14), level), frames, scale=1.0)
        assert drawn.dtype == np.uint8
        assert np.array_equal(drawn, frames)


def test_first_frame_is_never_drawn_on() -> None:
    frames = grey_frames(2, size=28)
    drawn = overlays.heat_map(np.full((2, 14, 14), 9.0), frames, scale=1.0)
    assert np.array_equal(drawn[0], frames[0])
    assert not np.array_equal(drawn[1], frames[1])


def test_the_scale_is_drawn_as_the_brightest_colour_over_the_frame() -> None:
    drawn = overlays.heat_map(np.full((2, 2, 2), 3.0), grey_frames(2, size=8), scale=3.0)
    red, green, blue, alpha = overlays.colour_table()[255].astype(float)
    assert alpha == round(255 * overlays.STRONGEST_OPACITY)
    expected = [
        round(128 * (1 - alpha / 255) + colour * alpha / 255) for colour in (red, green, blue)
    ]
    assert drawn[1, :, 4, 4].tolist() == expected
    assert red > blue, "inferno ends in yellow; swapped channels would end in cyan"


def test_heat_lies_where_the_change_is() -> None:
    change = np.full((2, 14, 14), -0.5)
    change[1, 3, 10] = 4.0  # row 3, column 10 of 14 -> pixels 24..31 down, 80..87 across of 112
    layer = overlays.evidence_layer(change, np.ones((2, 112, 112), bool), scale=2.0)
    assert layer.shape == (2, 112, 112, 4)
    row, column = np.unravel_index(layer[1, :, :, 3].argmax(), (112, 112))
    assert 24 <= row < 32
    assert 80 <= column < 88
    assert layer[1, 60:, :, 3].max() == 0


def test_upsampling_is_bilinear_on_signed_values() -> None:
    # Between -1 and 1 the zero lies half way: pixel centres at 1/4 and 3/4 are the patches' own.
    change = np.array([[[0.0, 0.0]] * 2, [[-1.0, 1.0]] * 2], np.float32)
    layer = overlays.evidence_layer(change, np.ones((2, 4, 4), bool), scale=1.0)
    values = layer[1, 0, :, 3] / (255 * overlays.STRONGEST_OPACITY)
    np.testing.assert_allclose(values, [0.0, 0.0, 0.5, 1.0], atol=0.01)


def test_opacity_rises_with_the_change() -> None:
    alpha = overlays.colour_table()[:, 3].astype(int)
    assert alpha[0] == 0
    assert (np.diff(alpha) >= 0).all()
    assert alpha[-1] < 255


def test_scale_ignores_first_frames_and_has_a_floor() -> None:
    change = np.zeros((2, 4, 14, 14), np.float32)
    change[:, 0] = 50.0
    assert overlays.display_scale(change) == overlays.SCALE_FLOOR
    change[1, 2:] = 3.0
    assert overlays.display_scale(change) == pytest.approx(3.0)


def test_scale_survives_values_that_are_not_finite_and_no_values() -> None:
    change = np.full((1, 3, 2, 2), 2.0)
    change[0, 1, 0, 0] = np.nan
    change[0, 2, 0, 0] = np.inf
    assert overlays.display_scale(change) == pytest.approx(2.0)
    assert overlays.display_scale(change[:, :1]) == overlays.SCALE_FLOOR
    assert overlays.display_scale(change[:0]) == overlays.SCALE_FLOOR


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan")])
def test_refuses_a_scale_that_is_not_positive(scale: float) -> None:
    with pytest.raises(ValueError, match="scale above 0"):
        overlays.heat_map(np.zeros((1, 2, 2), np.float32), grey_frames(1, size=8), scale=scale)


def test_refuses_maps_of_other_frames() -> None:
    with pytest.raises(ValueError, match="as many maps"):
        overlays.heat_map(np.zeros((3, 2, 2), np.float32), grey_frames(2, size=8), scale=1.0)
