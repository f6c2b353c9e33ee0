"""Sampling policies by worked example, and reading what they choose."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakestormer.errors import InputError
from fakestormer.faces.clips import cut_clips, read_clips, sample_clips
from fakestormer.faces.crop import crop, crop_squares
from fakestormer.recipe.faces import CropConfig
from fakestormer.types import FaceTrack
from fakestormer.video.decode import stream_frames_at

POLICIES = ["consecutive", "spread", "windows"]


@pytest.mark.parametrize(
    ("policy", "length", "expected"),
    [
        ("consecutive", 100, [[0, 1, 2, 3], [4, 5, 6, 7]]),
        ("spread", 100, [[0, 14, 28, 42], [57, 71, 85, 99]]),
        ("windows", 100, [[0, 1, 2, 3], [96, 97, 98, 99]]),
        ("consecutive", 6, [[0, 1, 2, 3], [4, 5, 5, 5]]),
        ("spread", 6, [[0, 1, 2, 3], [4, 5, 5, 5]]),
        ("windows", 6, [[0, 1, 2, 3], [2, 3, 4, 5]]),
        *[(policy, 3, [[0, 1, 2, 2]]) for policy in POLICIES],
        *[(policy, 1, [[0, 0, 0, 0]]) for policy in POLICIES],
        *[(policy, 4, [[0, 1, 2, 3]]) for policy in POLICIES],
        *[(policy, 8, [[0, 1, 2, 3], [4, 5, 6, 7]]) for policy in POLICIES],
    ],
)
def test_worked_examples(policy, length, expected):
    assert sample_clips(policy, length, 4, frames=8).tolist() == expected


def test_spread_covers_the_video_and_consecutive_does_not():
    spread = sample_clips("spread", 1000, 4)
    assert spread.shape == (8, 4)
    assert (spread.min(), spread.max()) == (0, 999)
    assert np.ptp(np.diff(spread.ravel())) <= 1
    assert sample_clips("consecutive", 1000, 4).max() == 31


@settings(deadline=None)
@given(
    policy=st.sampled_from(POLICIES),
    length=st.integers(1, 300),
    clip_length=st.integers(1, 20),
    frames=st.integers(1, 64),
)
def test_every_policy_gives_clips_inside_the_track(policy, length, clip_length, frames):
    positions = sample_clips(policy, length, clip_length, frames)

    assert positions.dtype == np.int64
    assert positions.shape[1] == clip_length
    assert 1 <= len(positions) <= max(1, frames // clip_length)
    assert positions.min() >= 0
    assert positions.max() <= length - 1
    steps = np.diff(positions, axis=1)
    assert (steps >= 0).all()
    if length >= clip_length and policy == "windows":
        assert (steps == 1).all()
    if length <= len(positions) * clip_length:
        assert set(positions.ravel().tolist()) == set(range(length))


def test_bad_sampling_is_refused():
    with pytest.raises(ValueError, match="consecutive, spread, windows"):
        sample_clips("middle", 10, 4)
    with pytest.raises(ValueError, match="clip_length: expected at least 1"):
        sample_clips("spread", 10, 0)
    with pytest.raises(ValueError, match="track_length: expected at least 1"):
        sample_clips("spread", 0, 4)


@pytest.mark.parametrize(
    ("length", "offset", "expected"),
    [
        (10, 0, [[0, 1, 2, 3], [4, 5, 6, 7]]),
        (10, 1, [[1, 2, 3, 4], [5, 6, 7, 8]]),
        (10, 3, [[3, 4, 5, 6]]),
        (5, 3, [[1, 2, 3, 4]]),
        (4, 2, [[0, 1, 2, 3]]),
        (3, 0, []),
    ],
)
def test_training_cuts_by_hand(length, offset, expected):
    assert cut_clips(length, 4, offset).tolist() == expected


def test_training_cuts_of_a_short_track_keep_their_shape():
    assert cut_clips(3, 4, 1).shape == (0, 4)
    with pytest.raises(ValueError, match="0 <= offset < 4"):
        cut_clips(10, 4, 4)


def test_read_clips_crops_exactly_the_frames_asked_for(tmp_path, make_video, numbered_frames):
    path = make_video(numbered_frames(100), tmp_path / "v.mp4", options={"g": "20", "bf": "2"})
    # The box is the whole 96 px high frame's middle; the track begins at frame 7.
    boxes = np.array([[16.0, 0, 112, 96]], np.float32).repeat(90, axis=0)
    landmarks = boxes[:, None, :2].repeat(81, axis=1)
    track = FaceTrack(
        number=2,
        indices=np.arange(7, 97),
        pts_seconds=np.arange(7, 97).astype(np.float64) / 25,
        boxes=boxes,
        landmarks=landmarks,
        confidence=np.ones(90, np.float32),
    )
    config = CropConfig(enlarge=1.0, stored_size=96)
    squares = crop_squares(track, config)
    positions = np.array([[80, 81, 82, 82], [0, 1, 2, 3]])
    clips = read_clips(path, track, positions, config)

    assert [clip.indices.tolist() for clip in clips] == [[87, 88, 89, 89], [7, 8, 9, 10]]
    assert [clip.source for clip in clips] == ["v.mp4#2@87", "v.mp4#2@7"]
    ((_, _, whole),) = stream_frames_at(path, [87])
    expected = np.asarray(crop(whole, squares[80], 96)).transpose(2, 0, 1)
    assert np.array_equal(clips[0].frames[0], expected)
    assert clips[0].landmarks.shape == (4, 81, 2)
    again = read_clips(path, track, np.asarray(positions), config, squares=squares)
    assert np.array_equal(again[1].frames, clips[1].frames)

    longer = FaceTrack(
        number=0,
        indices=track.indices + 10,
        pts_seconds=track.pts_seconds,
        boxes=boxes,
        landmarks=landmarks,
        confidence=track.confidence,
    )
    with pytest.raises(InputError, match=r"v\.mp4: ends before frame"):
        read_clips(path, longer, np.array([[86, 87, 88, 89]]), config)
