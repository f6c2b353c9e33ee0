"""What counts as a cut: the picture and its colours change; not light, not motion."""

from __future__ import annotations

import numpy as np
import pytest

from fakestormer.video.cuts import CutDetector, colour_overlap, correlation, thumbnail


def scene(seed: int, width: int = 320, height: int = 180) -> np.ndarray:
    blocks = np.random.default_rng(seed).integers(30, 200, (6, 8, 3), dtype=np.uint8)
    return np.kron(blocks, np.ones((height // 6, width // 8, 1), np.uint8))


def cuts_in(frames) -> list[bool]:
    detector = CutDetector(correlation=0.7, colours=0.85)
    return [detector.is_cut(frame) for frame in frames]


def test_another_scene_is_a_cut_once():
    a, b = scene(1), scene(2)
    assert cuts_in([a, a, b, b, a]) == [False, False, True, False, True]


def test_motion_is_no_cut():
    wide = scene(1, width=640)
    assert not any(cuts_in([wide[:, 8 * k : 8 * k + 320] for k in range(20)]))


def test_flash_and_exposure_are_no_cuts():
    a = scene(1)
    bright = np.clip(a.astype(int) + 50, 0, 255).astype(np.uint8)
    dim = (a * 0.5).astype(np.uint8)
    assert not any(cuts_in([a, bright, a, dim, a]))


def test_hands_before_a_face_are_no_cut():
    # A quarter of the picture moves from one side to the other, colours stay.
    a = np.full((180, 320, 3), 120, np.uint8)
    b = a.copy()
    a[:, :80], b[:, 240:] = 200, 200
    assert correlation(thumbnail(a), thumbnail(b)) < 0
    assert colour_overlap(thumbnail(a), thumbnail(b)) == pytest.approx(1)
    assert not any(cuts_in([a, b]))


def test_fade_to_black_is_a_cut_and_black_frames_are_alike():
    a, black = scene(1), np.zeros((180, 320, 3), np.uint8)
    assert cuts_in([a, black, black, a]) == [False, True, False, True]


def test_thumbnails_have_one_size_for_all_frames():
    for shape in ((18, 32), (360, 640), (2160, 3840), (1280, 720), (5, 7)):
        assert thumbnail(np.zeros((*shape, 3), np.uint8)).shape == (18, 32, 3)
