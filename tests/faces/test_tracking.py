"""Tracks: with a scripted backend (every decision by hand) and with the real one."""

from __future__ import annotations

import numpy as np
import pytest

from fakestormer.faces.open import open_backend
from fakestormer.faces.protocol import FaceDetection, FaceLandmarks, FaceRegion
from fakestormer.faces.tracking import GrowingTrack, find_tracks
from fakestormer.recipe.faces import TrackingConfig
from fakestormer.video.decode import stream_frames

SIDE = 60.0
EVERY = TrackingConfig(measure_every=1)


class Scripted:
    """A backend that knows where the faces are: faces[frame] = list of (cx, cy).

    blind: frames where the detector sees nothing. lost: frames where no landmarks are found.
    The frame's number is its first pixel.
    """

    name = "scripted"

    def __init__(self, faces, *, small=(), blind=(), lost=(), ghosts=(), closely=False, score=0.9):
        self.score = score
        self.faces, self.blind, self.lost, self.ghosts = faces, set(blind), set(lost), ghosts
        self.small = small  # places of faces that only a closer look sees
        self.closely = closely  # whether a closer look sees what the detector is blind to
        self.detected_in, self.looked_in, self.looked_near = [], [], []
        self.measured_in = []

    def detect(self, rgb_hwc):
        frame = int(rgb_hwc[0, 0, 0])
        self.detected_in.append(frame)
        large = [place for place in self.faces[frame] if place not in self.small]
        return [] if frame in self.blind else self.seen(large)

    def detect_small(self, rgb_hwc, near=None):
        frame = int(rgb_hwc[0, 0, 0])
        if near is not None:
            self.looked_near.append(frame)
        else:
            self.looked_in.append(frame)
        if self.closely:
            return self.seen(self.faces[frame])
        return self.seen([place for place in self.faces[frame] if place in self.small])

    def detect_filling(self, rgb_hwc):
        return []

    def seen(self, places):
        return [
            FaceDetection(
                box_xyxy=np.array([x - 25, y - 25, x + 25, y + 25], np.float32),
                score=self.score,
                region=FaceRegion(cx=x, cy=y, side=50, roll=0),
            )
            for x, y in places
        ]

    def landmarks(self, rgb_hwc, region):
        frame = int(rgb_hwc[0, 0, 0])
        self.measured_in.append(frame)
        near = [
            (x, y)
            for x, y in [*self.faces[frame], *self.ghosts]
            if max(abs(x - region.cx), abs(y - region.cy)) < 40
        ]
        if frame in self.lost or not near:
            return FaceLandmarks(
                points_k2=np.zeros((81, 2), np.float32), confidence=0.01, region=region
            )
        x, y = near[0]
        turn = np.linspace(0, 2 * np.pi, 81, endpoint=False)
        circle = np.stack([x + SIDE / 2 * np.cos(turn), y + SIDE / 2 * np.sin(turn)], axis=-1)
        return FaceLandmarks(
            points_k2=circle.astype(np.float32),
            confidence=0.95,
            region=FaceRegion(cx=x, cy=y, side=SIDE, roll=0),
        )


def frames_of(count, *, scene=lambda number: 0, start=0):
    """Frames whose first pixel is their number; scenes look different."""
    pictures = np.random.default_rng(0).integers(0, 256, (3, 6, 8, 3), dtype=np.uint8)
    for number in range(count):
        rgb_hwc = np.kron(pictures[scene(number)], np.ones((40, 40, 1), np.uint8))
        rgb_hwc[0, 0] = number
        yield number + start, (number + start) / 25, rgb_hwc


def run(faces, count, config=None, *, scene=lambda number: 0, **how):
    backend = Scripted(faces, **how)
    tracks = find_tracks(frames_of(count, scene=scene), backend, config or TrackingConfig())
    return backend, tracks


def spans(tracks):
    return [(int(t.indices[0]), int(t.indices[-1])) for t in tracks]


def test_one_face_is_one_track_and_the_detector_rests():
    faces = [[(100 + number, 90)] for number in range(23)]
    backend, tracks = run(faces, 23)

    assert spans(tracks) == [(0, 22)]
    assert backend.detected_in == [0, 9, 18]
    assert run(faces, 23, EVERY)[0].detected_in == [0, 5, 10, 15, 20]
    assert tracks[0].boxes[7].tolist() == pytest.approx([77, 60, 137, 120], abs=0.1)
    assert tracks[0].pts_seconds.tolist() == [k / 25 for k in range(23)]
    assert tracks[0].confidence.tolist() == pytest.approx([0.95] * 23)


def test_two_faces_are_two_tracks_and_a_late_one_joins_at_the_next_detection():
    faces = [[(70, 90)] + ([(220, 90)] if number >= 7 else []) for number in range(20)]
    _, tracks = run(faces, 20)

    assert spans(tracks) == [(0, 19), (9, 19)]
    assert [track.number for track in tracks] == [0, 1]
    assert tracks[1].boxes[0, 0] == pytest.approx(190, abs=0.1)


def test_a_cut_ends_the_track_even_when_a_face_is_in_the_same_place():
    cuts = []
    backend = Scripted([[(100, 90)]] * 20)
    frames = frames_of(20, scene=lambda number: int(number >= 8))
    tracks = find_tracks(frames, backend, TrackingConfig(), on_cut=cuts.append)

    assert spans(tracks) == [(0, 7), (8, 19)]
    assert backend.detected_in == [0, 8, 17]
    assert cuts == [8 / 25]


def test_a_short_loss_is_bridged_by_straight_lines_with_confidence_zero():
    faces = [[(100 + 4 * number, 90)] for number in range(15)]
    backend, tracks = run(faces, 15, lost=[6, 7])

    assert spans(tracks) == [(0, 14)]
    assert tracks[0].confidence[5:9].tolist() == pytest.approx([0.95, 0, 0, 0.95])
    middles = (tracks[0].boxes[:, 0] + tracks[0].boxes[:, 2]) / 2
    assert middles.tolist() == pytest.approx([100 + 4 * k for k in range(15)], abs=0.1)
    # Detection runs in every frame of the loss.
    assert backend.detected_in[:3] == [0, 6, 7]


def test_a_long_loss_ends_the_track_where_it_was_last_seen():
    faces = [[(100, 90)]] * 20
    _, tracks = run(faces, 20, lost=[6, 7, 8, 9])

    assert spans(tracks) == [(0, 5), (10, 19)]
    config = TrackingConfig(bridge_frames=0)
    _, tracks = run(faces, 20, config, lost=[6])
    assert spans(tracks) == [(0, 5), (7, 19)]


def test_a_face_that_jumps_is_another_face():
    faces = [[(100, 90) if number < 7 else (130, 120)] for number in range(15)]
    _, tracks = run(faces, 15)

    # Frames 7 and 8 were passed over, and frame 9 shows the jump.
    assert spans(tracks) == [(0, 6), (9, 14)]
    assert spans(run(faces, 15, EVERY)[1]) == [(0, 6), (7, 14)]


def test_landmarks_that_no_detection_confirms_are_dropped():
    faces = [[(100, 90)] if number <= 10 else [] for number in range(60)]
    for every, last in ((1, 10), (3, 9)):
        config = TrackingConfig(max_unseen_frames=12, measure_every=every)
        _, tracks = run(faces, 60, config, ghosts=[(100, 90)])
        assert spans(tracks) == [(0, last)]


def test_a_turned_face_that_the_detector_misses_for_a_while_stays_one_track():
    faces = [[(100, 90)]] * 50
    _, tracks = run(faces, 50, blind=range(11, 30))

    assert spans(tracks) == [(0, 49)]


def test_who_is_found_by_a_closer_look_is_confirmed_where_it_is():
    backend = Scripted([[(80, 80)]] * 60, small=[(80, 80)])
    (track,) = find_tracks(frames_of(60), backend, TrackingConfig())
    assert len(track) == 60
    assert backend.looked_in == [0, 27, 54]
    assert backend.looked_near == list(range(9, 60, 9))


def test_a_small_face_beside_one_that_is_followed_is_followed_too():
    small = (220, 90)
    faces = [[(80, 80)] + [small] * (number >= 10) for number in range(70)]
    backend, tracks = run(faces, 70, small=[small])
    assert spans(tracks) == [(0, 69), (27, 69)]
    assert backend.looked_in == [0, 27, 54]
    # The larger one is confirmed by the whole frame.
    assert backend.looked_near == list(range(36, 70, 9))


def test_after_a_cut_small_faces_are_looked_for_at_once():
    small = (220, 90)
    faces = [[(80, 80)] + [small] * (number >= 7) for number in range(20)]
    _, tracks = run(faces, 20, small=[small], scene=lambda number: int(number >= 7))
    assert spans(tracks) == [(0, 6), (7, 19), (7, 19)]


def test_a_part_of_a_followed_face_is_no_small_face():
    eye = (100, 70)  # within the circle of landmarks around (80, 80), which has a radius of 30
    _, tracks = run([[(80, 80), eye]] * 30, 30, small=[eye])
    assert spans(tracks) == [(0, 29)]


def test_where_somebody_is_found_or_nobody_is_there_a_closer_look_is_rare():
    somebody = Scripted([[(80, 80)]] * 40)
    find_tracks(frames_of(40), somebody, TrackingConfig())
    assert (somebody.looked_in, somebody.looked_near) == ([0, 27], [])
    nobody = Scripted([[]] * 40)
    assert find_tracks(frames_of(40), nobody, TrackingConfig()) == []
    assert nobody.looked_in == list(range(0, 40, TrackingConfig().detect_every))


def test_a_track_says_how_sure_its_detections_were():
    (track,) = run([[(80, 80)]] * 11, 11)[1]
    assert track.detection == pytest.approx(0.9)


def test_short_tracks_and_tiny_faces_are_dropped():
    faces = [[(100, 90)] if number == 3 else [] for number in range(9)]
    assert run(faces, 9)[1] == []
    assert spans(run(faces, 9, TrackingConfig(min_track_frames=1))[1]) == [(3, 3)]
    whole = [[(100, 90)]] * 9
    assert run(whole, 9, TrackingConfig(min_face_pixels=61))[1] == []


def test_a_face_keeps_its_number_whatever_is_dropped_and_however_long_the_video():
    # One that flits by in frame 0, two that stay from frame 1 on, one more from frame 10 on.
    faces = [[(40, 90)]] + [[(150, 90), (260, 90)] for _ in range(9)]
    faces += [[(150, 90), (260, 90), (40, 90)] for _ in range(10)]

    def numbered(frames, **limits):
        config = TrackingConfig(detect_every=1, measure_every=1, **limits)
        tracks = run(faces, frames, config)[1]
        return {track.number: spans([track])[0] for track in tracks}

    every = numbered(20, min_track_frames=1, min_face_pixels=0)
    lasting, shorter = numbered(20), numbered(12)

    assert every == {0: (0, 0), 1: (1, 19), 2: (1, 19), 3: (10, 19)}
    assert lasting == {number: every[number] for number in (1, 2, 3)}
    assert shorter == {1: (1, 11), 2: (1, 11), 3: (10, 11)}


def test_no_frames_and_no_faces_give_no_tracks():
    assert run([], 0)[1] == []
    backend, tracks = run([[]] * 4, 4)
    assert tracks == []
    assert backend.detected_in == [0, 1, 2, 3]


def test_a_gap_in_the_indices_is_a_cut():
    frames = [*frames_of(4), *frames_of(4, start=10)]
    tracks = find_tracks(frames, Scripted([[(100, 90)]] * 4), TrackingConfig())

    assert spans(tracks) == [(0, 3), (10, 13)]


def test_a_still_face_is_measured_in_every_third_frame_with_straight_lines_between():
    faces = [[(100 + 5 * np.sin(k / 20), 90 + 3 * np.cos(k / 25))] for k in range(61)]
    backend, (track,) = run(faces, 61)
    _, (plain,) = run(faces, 61, EVERY)

    assert sorted(set(backend.measured_in)) == list(range(0, 61, 3))
    assert np.array_equal(track.landmarks[::3], plain.landmarks[::3])
    # Of a path as bent as this one a straight line over 3 frames leaves less than 0.02 pixels.
    assert 0 < np.abs(track.landmarks - plain.landmarks).max() < 0.02
    assert track.confidence.tolist() == pytest.approx([0.95] * 61)


def test_confidence_goes_on_a_straight_line_too():
    region = FaceRegion(cx=0, cy=0, side=9, roll=0)
    first, last = (
        FaceLandmarks(points_k2=np.full((81, 2), sure, np.float32), confidence=sure, region=region)
        for sure in (0.6, 0.9)
    )
    track = GrowingTrack(first_index=0, last=first)
    track.add(first, 0.0)
    track.add(last, 0.3, [0.1, 0.2])
    assert track.confidence.tolist() == pytest.approx([0.6, 0.7, 0.8, 0.9])
    assert track.landmarks(4)[:, 0, 0].tolist() == pytest.approx([0.6, 0.7, 0.8, 0.9])
    assert track.seconds.tolist() == [0.0, 0.1, 0.2, 0.3]


def test_a_face_that_begins_to_move_is_measured_in_every_frame():
    """Also in the frames just passed over, so that the track is as if each had been measured."""
    faces = [[(60 + 9 * max(0, min(k, 20) - 10), 90)] for k in range(33)]
    backend, (track,) = run(faces, 33)
    _, (plain,) = run(faces, 33, EVERY)

    assert np.array_equal(track.landmarks, plain.landmarks)
    assert set(range(10, 24)) <= set(backend.measured_in)
    # Still before and after.
    assert {1, 2, 4, 5, 7, 8, 25, 26}.isdisjoint(backend.measured_in)


def test_two_faces_of_which_one_moves_are_each_measured_as_they_need():
    faces = [[(60 + 3 * k, 60), (250, 180)] for k in range(19)]
    backend, tracks = run(faces, 19)
    assert spans(tracks) == [(0, 18)] * 2
    counts = [backend.measured_in.count(k) for k in (4, 5, 6, 7, 8, 9)]
    assert counts == [1, 1, 2, 1, 1, 2]


@pytest.mark.parametrize("last", range(5, 10))
def test_a_track_ends_where_the_face_was_last_seen(last):
    """By leaving, by a cut, by the end of the video; in a frame that would not be measured, too."""
    there = [[(100, 90)]] * (last + 1)
    gone = [[]] * 12
    _, left = run(there + gone, len(there + gone))
    _, cut = run(there + gone, len(there + gone), scene=lambda number: int(number > last))
    backend, end = run(there, len(there))
    assert spans(left) == spans(cut) == spans(end) == [(0, last)]
    assert backend.measured_in[-1] == last
    assert min(end[0].confidence) == pytest.approx(0.95)


def test_a_face_of_one_frame():
    assert spans(run([[(100, 90)]], 1, TrackingConfig(min_track_frames=1))[1]) == [(0, 0)]


def test_a_detection_that_is_not_sure_is_repeated_soon():
    backend = Scripted([[(100, 90)]] * 30, score=0.7)
    find_tracks(frames_of(30), backend, TrackingConfig())
    assert backend.detected_in == list(range(0, 30, 5))


def test_real_backend_follows_a_face(tmp_path, astronaut_video, face_backend_ready):
    path = astronaut_video(tmp_path / "one.mp4", count=20)
    backend = open_backend("blazeface")
    (track,) = find_tracks(stream_frames(path), backend, TrackingConfig())

    assert len(track) == 20
    assert track.landmarks.shape == (20, 81, 2)
    assert track.confidence.min() > 0.9
    # The portrait moves by sin/cos of known amplitude; the track moves with it.
    t = np.arange(20)
    drift = np.stack([20 + 8 * np.sin(t / 7), 40 + 6 * np.sin(t / 5)], axis=1).round()
    steady = track.landmarks.mean(axis=1) - drift
    assert steady.std(axis=0).max() < 1.0
    (plain,) = find_tracks(stream_frames(path), backend, EVERY)
    side = float((plain.boxes[:, 2:] - plain.boxes[:, :2]).max())
    assert np.abs(track.landmarks - plain.landmarks).max() < 0.02 * side


def test_real_backend_keeps_two_faces_apart_and_notices_a_cut(
    tmp_path, astronaut_video, face_backend_ready
):
    path = astronaut_video(tmp_path / "two.mp4", count=24, faces=2, cut_at=13)
    tracks = find_tracks(stream_frames(path), open_backend("blazeface"), TrackingConfig())

    assert sorted(spans(tracks)) == [(0, 12), (0, 12), (13, 23), (13, 23)]
    left, right = (t for t in tracks if t.indices[0] == 0)
    assert abs(float((left.boxes[:, 0] - right.boxes[:, 0]).mean())) > 150


def test_real_backend_sees_nobody_where_nobody_is(tmp_path, make_video, numbered_frames):
    path = make_video(numbered_frames(12, width=320, height=240), tmp_path / "v.mp4")
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert runs the default backend")
    from fakestormer.faces import face_models

    if not face_models.models_present():
        pytest.skip("the face models are not set up: run `fakestormer setup`")
    assert find_tracks(stream_frames(path), open_backend("blazeface"), TrackingConfig()) == []


def test_development_videos_are_followed_throughout(shared_data, face_backend_ready):
    backend = open_backend("blazeface")
    # A presenter, and a signer whose last frame is black.
    for name, expected in (("grid_brbk7n.mpg", (0, 74)), ("wlasl_36736.mp4", (0, 107))):
        tracks = find_tracks(stream_frames(shared_data / "full" / name), backend, TrackingConfig())
        assert spans(tracks) == [expected], name
        assert (tracks[0].confidence >= 0.5).all(), name
