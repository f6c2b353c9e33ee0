"""The crop: geometry by hand, and that pixels and landmarks move together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakestormer.faces.crop import assemble_clip, crop, crop_squares, map_landmarks, smooth_path
from fakestormer.recipe.faces import CropConfig
from fakestormer.types import FaceTrack


def track_of(boxes: np.ndarray, first: int = 0) -> FaceTrack:
    """A track with these boxes (T, 4); its landmarks are their corners and centre."""
    x0, y0, x1, y1 = boxes.T
    middle = np.stack([(x0 + x1) / 2, (y0 + y1) / 2], axis=-1)
    corners = [np.stack([x, y], axis=-1) for x in (x0, x1) for y in (y0, y1)]
    return FaceTrack(
        number=0,
        indices=np.arange(first, first + len(boxes)),
        pts_seconds=np.arange(first, first + len(boxes)).astype(np.float64) / 25,
        boxes=boxes.astype(np.float32),
        landmarks=np.stack([*corners, middle], axis=1).astype(np.float32),
        confidence=np.ones(len(boxes), np.float32),
    )


def dot_at(x: float, y: float, width: int, height: int) -> np.ndarray:
    """A soft white dot of radius about 6 px, centred exactly at (x, y)."""
    yy, xx = np.mgrid[:height, :width]
    value = 255 * np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / (2 * 6.0**2))
    return np.repeat(value.round().astype(np.uint8)[..., None], 3, axis=-1)


def centre_of(rgb_hwc: np.ndarray) -> tuple[float, float]:
    weight = rgb_hwc[..., 0].astype(float) ** 2
    yy, xx = np.mgrid[: weight.shape[0], : weight.shape[1]]
    return (weight * xx).sum() / weight.sum(), (weight * yy).sum() / weight.sum()


def test_square_by_hand():
    # Box (10, 20)-(50, 100): centre (30, 60), longer side 80, enlarged by 1.25: 100.
    track = track_of(np.array([[10.0, 20.0, 50.0, 100.0]], np.float32))

    assert crop_squares(track, CropConfig()).tolist() == [[30, 60, 100]]


def test_crop_of_whole_pixels_is_a_slice():
    rng = np.random.default_rng(1)
    frame = rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    # Pixels 10..25 across, 5..20 down: their edges are 9.5..25.5 and 4.5..20.5.
    got = crop(frame, (17.5, 12.5, 16.0), 16)

    assert np.array_equal(got, frame[5:21, 10:26])


def test_outside_the_frame_the_border_is_repeated():
    frame = np.zeros((20, 20, 3), np.uint8)
    frame[:, 0] = (200, 10, 30)
    got = crop(frame, (-0.5, 9.5, 20.0), 20)

    assert (got[:, :11] == (200, 10, 30)).all()
    assert (got[:, 12:] == 0).all()
    far = crop(frame, (-500.0, 9.5, 20.0), 20)
    assert (far == (200, 10, 30)).all()


@settings(max_examples=60, deadline=None)
@given(
    x=st.floats(60, 300),
    y=st.floats(60, 180),
    dx=st.floats(-0.25, 0.25),
    dy=st.floats(-0.25, 0.25),
    side=st.floats(80, 400),
    size=st.sampled_from([128, 256, 300]),
)
def test_pixels_and_landmarks_take_the_same_path(x, y, dx, dy, side, size):
    square = (x + dx * side, y + dy * side, side)
    mapped = map_landmarks(np.array([[x, y]], np.float32), square, size)[0].tolist()
    got = centre_of(crop(dot_at(x, y, 360, 240), square, size))

    assert got == pytest.approx(mapped, abs=0.15 * max(1, size / side))


def test_the_aspect_is_kept_for_tall_and_wide_boxes():
    frame = dot_at(100, 100, 200, 200)
    for box in ([80.0, 40, 120, 160], [40.0, 80, 160, 120]):
        square = crop_squares(track_of(np.array([box], np.float32)), CropConfig())[0]
        got = crop(frame, square, 150).astype(float)
        rows, columns = (got[..., 0] > 128).any(axis=1).sum(), (got[..., 0] > 128).any(axis=0).sum()
        assert rows == columns


def test_shrinking_does_not_alias():
    # Stripes of one pixel are grey from afar; without a blur they would turn into broad bands.
    frame = np.zeros((600, 600, 3), np.uint8)
    frame[:, ::2] = 255
    got = crop(frame, (299.5, 299.5, 560.0), 100).astype(float)

    assert np.abs(got - 127.5).max() < 30


@pytest.mark.parametrize("sigma", [0.5, 2.0, 7.0])
def test_smoothing_leaves_straight_motion_alone_up_to_the_ends(sigma):
    t = np.arange(30, dtype=np.float64)
    path = np.stack([100 + 3 * t, 50 - 2 * t, np.full_like(t, 80)], axis=1)

    np.testing.assert_allclose(smooth_path(path, sigma), path)


def test_smoothing_is_the_gaussian_filter_in_the_middle():
    sigma = 1.5
    noise = np.asarray(np.random.default_rng(3).normal(size=(40, 1)))
    offsets = np.arange(-4, 5)  # 3 sigma = 4.5, rounds to 4
    kernel = np.exp(-0.5 * (offsets / sigma) ** 2)
    expected = np.convolve(noise[:, 0], kernel / kernel.sum(), mode="same")

    assert smooth_path(noise, sigma)[4:-4, 0].tolist() == pytest.approx(list(expected[4:-4]))


def test_smoothing_calms_trembling_everywhere():
    noise = np.asarray(np.random.default_rng(4).normal(size=(400, 40, 1)))
    calm = np.stack([smooth_path(path, 2.0) for path in noise])

    assert calm[:, 20].std() < 0.45
    assert calm[:, 0].std() < 0.85
    assert calm[:, -1].std() < 0.85


@pytest.mark.parametrize("length", [1, 2])
def test_very_short_tracks_are_not_smoothed(length):
    path = np.arange(3.0 * length).reshape(length, 3).astype(np.float64)

    assert np.array_equal(smooth_path(path, 2.0), path)
    assert np.array_equal(smooth_path(np.tile(path, (5, 1)), 0.0), np.tile(path, (5, 1)))


def test_smoothing_is_off_with_zero_and_does_not_change_the_track():
    boxes = np.array([[0.0, 0, 40, 40], [9.0, 5, 49, 45], [0.0, 0, 40, 40]], np.float32)
    track = track_of(boxes)

    assert crop_squares(track, CropConfig(smooth_frames=0)).tolist() == [
        [20, 20, 50],
        [29, 25, 50],
        [20, 20, 50],
    ]
    assert np.array_equal(track.boxes, boxes)


def test_a_clip_maps_frames_landmarks_and_times():
    boxes = np.array([[60.0, 60, 140, 140]], np.float32).repeat(6, axis=0)
    track = track_of(boxes, first=10)
    config = CropConfig(stored_size=50)
    squares = crop_squares(track, config)
    crops = {k: crop(dot_at(100, 100, 200, 160) // (k + 1), squares[k], 50) for k in (1, 3)}
    clip = assemble_clip(crops, track, [1, 3, 3], squares, config, "v.mp4#0@11")

    assert clip.frames.shape == (3, 3, 50, 50)
    assert clip.indices.tolist() == [11, 13, 13]
    assert clip.pts_seconds.tolist() == [11 / 25, 13 / 25, 13 / 25]
    # Square of 100 px around (100, 100) at half size: centre of the crop is pixel 24.5.
    assert clip.landmarks[0, 4].tolist() == [24.5, 24.5]
    assert centre_of(clip.frames[0].transpose(1, 2, 0)) == pytest.approx((24.5, 24.5), abs=0.1)
    assert clip.frames[0].max() > clip.frames[1].max()


def test_a_square_without_size_is_refused():
    with pytest.raises(ValueError, match="side above 0"):
        crop(np.zeros((4, 4, 3), np.uint8), (1.0, 1.0, 0.0), 8)
