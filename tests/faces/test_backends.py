"""The two face backends on a public-domain portrait, and their geometry."""

from __future__ import annotations

import itertools
import math

import cv2
import numpy as np
import pytest

from fakestormer.faces import blazeface
from fakestormer.faces.dlib import forehead_in_order
from fakestormer.faces.open import open_backend
from fakestormer.faces.protocol import FaceRegion, face_box


@pytest.fixture(scope="module")
def portrait():
    data = pytest.importorskip("skimage.data", reason="scikit-image is needed for the test face")
    return data.astronaut()


@pytest.fixture(scope="module")
def backend(face_backend_ready):
    return open_backend("blazeface")


def only_face(backend, rgb_hwc):
    (found,) = [d for d in backend.detect(rgb_hwc) if d.score > 0.6]
    return backend.landmarks(rgb_hwc, backend.landmarks(rgb_hwc, found.region).region)


# Read off the enlarged portrait by eye, to about 2 px: eye corners from left to right, tip of the
# nose, corners of the mouth, chin.
BY_EYE = {
    36: (193, 101),
    39: (211, 102),
    42: (236, 104),
    45: (258, 104),
    30: (224, 126),
    48: (202, 139),
    54: (245, 139),
    8: (223, 178),
}


def test_landmarks_sit_on_the_face(portrait, backend):
    face = only_face(backend, portrait)

    assert face.confidence > 0.99
    assert face.points_k2.shape == (81, 2)
    assert face.points_k2.dtype == np.float32
    for point, place in BY_EYE.items():
        assert np.linalg.norm(face.points_k2[point] - place) < 6, point


def test_the_81_points_are_in_order(portrait, backend):
    p = only_face(backend, portrait).points_k2
    x, y = p[:, 0], p[:, 1]

    assert x[0] < x[8] < x[16]  # jaw from left to right
    assert y[8] == y.max()  # the chin is lowest
    assert (np.diff(x[17:27]) > 0).all()  # brows
    assert (np.diff(y[27:31]) > 0).all()  # down the bridge of the nose
    assert (np.diff(x[31:36]) > 0).all()
    assert x[36] < x[39] < x[42] < x[45]  # eyes
    assert y[37] < y[41]
    assert y[44] < y[46]
    assert x[48] < x[51] < x[54]  # mouth
    assert y[51] < y[62] <= y[66] < y[57]
    centre = p[27]
    turn = np.arctan2(centre[1] - p[68:, 1], p[68:, 0] - centre[0])
    assert (np.diff(turn) < 0).all()  # forehead from the left temple over the top to the right
    assert p[68:, 1].min() < y[17:27].min()


@pytest.mark.parametrize("degrees", [-30, 20])
def test_landmarks_turn_with_the_face(degrees, portrait, backend):
    upright = only_face(backend, portrait)
    height, width = portrait.shape[:2]
    turn_23 = cv2.getRotationMatrix2D((224, 120), -degrees, 1.0)
    turned = cv2.warpAffine(portrait, turn_23, (width, height), borderMode=cv2.BORDER_REPLICATE)
    face = only_face(backend, turned)
    expected = upright.points_k2 @ turn_23[:, :2].T + turn_23[:, 2]

    assert math.degrees(face.region.roll - upright.region.roll) == pytest.approx(degrees, abs=4)
    assert np.linalg.norm(face.points_k2 - expected, axis=1).mean() < 3.5


@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_landmarks_scale_with_the_frame(scale, portrait, backend):
    upright = only_face(backend, portrait)
    resized = cv2.resize(portrait, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    face = only_face(backend, resized)
    expected = (upright.points_k2 + 0.5) * scale - 0.5

    assert np.linalg.norm(face.points_k2 - expected, axis=1).mean() < 2.0 * scale


def test_wide_and_tall_frames_are_letterboxed_not_stretched(portrait, backend):
    upright = only_face(backend, portrait)
    for pad in (((0, 0), (300, 0), (0, 0)), ((400, 0), (0, 0), (0, 0))):
        face = only_face(backend, np.pad(portrait, pad))
        moved = face.points_k2 - np.array([pad[1][0], pad[0][0]])
        assert np.linalg.norm(moved - upright.points_k2, axis=1).mean() < 2.5


def test_regions_off_the_frame_or_without_size_give_nothing(portrait, backend):
    assert backend.landmarks(portrait, FaceRegion(cx=-3, cy=50, side=100, roll=0)) is None
    assert backend.landmarks(portrait, FaceRegion(cx=50, cy=50, side=3, roll=0)) is None
    assert backend.landmarks(portrait, FaceRegion(cx=100, cy=400, side=80, roll=0)).confidence < 0.5


def test_no_face_no_detection(backend):
    assert backend.detect(np.full((120, 200, 3), 90, np.uint8)) == []
    assert backend.detect(np.zeros((1, 1, 3), np.uint8)) == []


def placed(portrait, width, height, size, x, y):
    """A frame with the portrait, its face `size` px high, its left upper corner at (x, y)."""
    frame = np.full((height, width, 3), (70, 90, 80), np.uint8)
    scale = size / 114  # forehead to chin, by eye
    small = cv2.resize(portrait, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    frame[y : y + len(small), x : x + small.shape[1]] = small
    return frame, np.array([224, 123]) * scale + (x, y)


@pytest.mark.parametrize(
    ("width", "height", "size"),
    [(1280, 720, 64), (1920, 1080, 70), (1920, 1080, 96), (3840, 2160, 72), (3840, 2160, 131)],
)
@pytest.mark.parametrize("corner", ["low", "high"])
def test_a_small_face_in_a_large_frame_is_found_by_looking_closer(
    width, height, size, corner, portrait, backend
):
    side = round(len(portrait) * size / 114)
    x, y = (0, 0) if corner == "low" else (width - side, height - side)
    frame, centre = placed(portrait, width, height, size, x, y)
    # The suit has something of a face, too: landmarks tell, as they do for the tracker.
    sure = [seen for seen in backend.detect(frame) if seen.score >= 0.6]
    whole = [backend.landmarks(frame, seen.region) for seen in sure]
    assert all(np.linalg.norm(face.points_k2[30] - centre) > size for face in whole)
    looked = [seen for seen in backend.detect_small(frame) if seen.score >= 0.6]
    faces = [backend.landmarks(frame, seen.region) for seen in looked]
    (face,) = [face for face in faces if face.confidence >= 0.5]
    assert face.confidence > 0.9
    assert np.linalg.norm(face.points_k2[30] - centre) < size / 4
    (near, *_) = backend.detect_small(frame, near=face.region)
    assert near.score >= 0.6
    assert np.linalg.norm(backend.landmarks(frame, near.region).points_k2[30] - centre) < size / 4


def test_small_faces_are_not_looked_for_where_none_is_too_small(portrait, backend):
    assert backend.detect_small(portrait) == []
    assert backend.detect_small(portrait, near=only_face(backend, portrait).region) == []


def test_a_small_face_at_the_edge_or_off_the_frame_is_no_error(backend):
    frame = np.zeros((720, 1280, 3), np.uint8)
    for cx, cy in ((-40, 10), (1400, 900), (0, 719)):
        region = FaceRegion(cx=cx, cy=cy, side=40, roll=0)
        assert backend.detect_small(frame, near=region) == []


def test_a_face_that_fills_the_frame_is_found_from_further_away(portrait, backend):
    frame = cv2.resize(portrait[62:182, 170:278], None, fx=4, fy=4)
    (found,) = [face for face in backend.detect_filling(frame) if face.score >= 0.6]
    assert backend.landmarks(frame, found.region).confidence > 0.9


@pytest.mark.parametrize(
    ("length", "overlap"), [(1280, 107), (1920, 160), (2160, 320), (3840, 320), (8192, 683)]
)
def test_tiles_cover_a_side_and_overlap(length, overlap):
    spans = blazeface._spans(length, overlap)
    assert spans[0][0] == 0
    assert spans[-1][1] == length
    assert {end - start for start, end in spans} == {spans[0][1]}
    assert spans[0][1] <= max(896, 2 * overlap)
    assert len(spans) <= 12  # of 8K too: thousands of tiles would take minutes
    for (_, end), (start, _) in itertools.pairwise(spans):
        assert end - start >= overlap - 1


def test_starting_the_backend_says_nothing(face_backend_ready, capfd):
    open_backend("blazeface")
    assert capfd.readouterr() == ("", "")


def test_the_face_box_includes_the_forehead_for_68_points_too():
    points = np.zeros((2, 68, 2), np.float32)
    points[:, 5] = (40, 100)  # chin at 100, brows at 0: a fifth of 100 is added above
    assert face_box(points)[0].tolist() == [0, -20, 40, 100]
    assert face_box(np.pad(points, ((0, 0), (0, 13), (0, 0))))[1].tolist() == [0, 0, 40, 100]


def test_forehead_points_of_any_numbering_are_put_in_order():
    turn = np.linspace(np.pi * 0.97, np.pi * 0.03, 13)
    forehead = np.stack([100 + 60 * np.cos(turn), 90 - 60 * np.sin(turn)], axis=-1)
    points = np.zeros((81, 2), np.float32)
    points[0], points[16], points[27] = (40, 100), (160, 100), (100, 90)
    points[68:] = forehead[np.random.default_rng(0).permutation(13)]

    assert forehead_in_order(points)[68:] == pytest.approx(forehead.astype(np.float32))
    with pytest.raises(ValueError, match="194 points"):
        forehead_in_order(np.zeros((194, 2), np.float32))


def test_dlib_finds_the_same_face(portrait):
    pytest.importorskip("dlib", reason="the dlib extra is not installed")
    dlib_faces = open_backend("dlib")
    found = dlib_faces.detect(portrait)[0]
    face = dlib_faces.landmarks(portrait, found.region)

    assert face is not None
    assert face.points_k2.shape == (68, 2)
    for point, place in BY_EYE.items():
        assert np.linalg.norm(face.points_k2[point] - place) < 6, point
    assert dlib_faces.landmarks(portrait, FaceRegion(cx=60, cy=400, side=80, roll=0)) is None
