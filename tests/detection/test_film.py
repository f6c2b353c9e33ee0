"""The drawn video and the time line of every second, on videos made by code."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fakestormer.detection.detector import Detector
from fakestormer.detection.every_second import second_clips
from fakestormer.detection.film import film_name, scene_of
from fakestormer.detection.moment import smoothed
from fakestormer.detection.printable import page_name
from fakestormer.errors import OutputError
from fakestormer.types import FaceTrack, Report
from fakestormer.video.decode import FrameReader, stream_frames

MakeVideo = Callable[..., Path]


@pytest.fixture(scope="module")
def detector(untrained_model: Path) -> Detector:
    return Detector(untrained_model)


@pytest.fixture(scope="module")
def two(
    detector: Detector,
    astronaut_video: MakeVideo,
    tmp_path_factory: pytest.TempPathFactory,
    face_backend_ready: None,
) -> Report:
    """Two faces for 60 frames at 25 per second."""
    video = astronaut_video(tmp_path_factory.mktemp("film") / "two.mp4", count=60, faces=2)
    return detector.detect(video, every_second=True)


def test_the_film_shows_every_frame_and_draws_into_it(
    detector: Detector, two: Report, tmp_path: Path
) -> None:
    film = detector.write_overlay(two, tmp_path)
    assert film.name == film_name(two.path, two.sha256)
    assert film.stem.startswith(Path(page_name(two.path, two.sha256)).stem)
    assert [path.name for path in tmp_path.iterdir()] == [film.name]
    plain, drawn = list(stream_frames(two.path)), list(stream_frames(film))
    assert [f[0] for f in drawn] == list(range(60))
    assert [f[1] for f in drawn] == pytest.approx([f[1] for f in plain], abs=1e-3)
    for face in two.faces:
        for c, t in ((0, 0), (3, 2)):
            index = int(face.prediction.indices[c, t])
            x0, y0, x1, _ = (round(v) for v in face.boxes[c, t].tolist())
            # The upper side of the box is a line of a light colour, and was not there before.
            side = slice(max(x0, 0) + 90, min(x1, 480) - 5)
            before, after = (f[index][2][y0, side].astype(float) for f in (plain, drawn))
            assert np.abs(after - before).mean() > 25
    # The bar lies below the picture, and covers nothing of it.
    assert drawn[0][2].shape == (360 + 52, 480, 3)
    assert drawn[0][2][364:].mean() < 60, "dark, with few letters"
    row = np.abs(drawn[30][2][:30].astype(float) - plain[30][2][:30]).mean()
    assert row < 4


def test_the_map_is_that_of_the_sampled_clips(
    detector: Detector, two: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first clip of the film is the first that was sampled: the same map must be drawn."""
    seen: list[tuple[str, np.ndarray]] = []
    monkeypatch.setattr(
        "fakestormer.detection.film.draw_face",
        lambda picture, look, box, **how: seen.append((look.name, how["evidence_gg"])),
    )
    detector.write_overlay(two, tmp_path)
    face = two.decisive
    assert face is not None
    assert face.prediction.evidence is not None
    maps = [evidence for name, evidence in seen if name == f"Face {face.number}"]
    expected = smoothed(face.prediction.evidence[0])
    for t in range(4):
        np.testing.assert_allclose(maps[t], expected[t], atol=1e-4, rtol=1e-4)
    assert all(np.array_equal(maps[k], maps[3]) for k in range(4, 10)), "a clip each 0.4 s"
    assert not np.array_equal(maps[10], maps[9])


def test_the_same_film_twice(detector: Detector, two: Report, tmp_path: Path) -> None:
    films = [detector.write_overlay(two, tmp_path / name) for name in ("a", "b")]
    first, second = (hashlib.sha256(film.read_bytes()).hexdigest() for film in films)
    assert first == second


def test_where_a_film_cannot_go(detector: Detector, two: Report, tmp_path: Path) -> None:
    (blocked := tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot be written"):
        detector.write_overlay(two, blocked / "below")


def test_the_scene_is_the_moment_at_full_resolution_and_a_loop(two: Report, tmp_path: Path) -> None:
    scene, face = two.scene, two.decisive
    assert scene is not None
    assert face is not None
    assert face.moment is not None
    assert (scene.clip, scene.frame) == (face.moment.clip, face.moment.frame)
    assert scene.clip == int(face.prediction.clip_probabilities.argmax())
    assert scene.scale == 1.0
    index = face.moment.index
    assert index == int(face.prediction.indices[scene.clip, scene.frame])
    (frame,) = (f for f in stream_frames(two.path) if f[0] == index)
    assert np.array_equal(scene.picture.transpose(1, 2, 0), frame[2])
    assert scene.loop is not None
    (loop := tmp_path / "loop.mp4").write_bytes(scene.loop)
    shown = list(stream_frames(loop))
    assert len(shown) == 51, "two seconds"
    assert shown[0][2].shape[0] == shown[0][2].shape[1]


@pytest.mark.parametrize("clip", [0, -1])
def test_the_loop_has_two_seconds_at_the_ends_of_a_film(
    two: Report, tmp_path: Path, clip: int
) -> None:
    face = two.decisive
    assert face is not None
    probabilities = np.zeros_like(face.prediction.clip_probabilities)
    probabilities[clip] = 1.0
    prediction = replace(face.prediction, clip_probabilities=probabilities)
    at_end = replace(face, prediction=prediction, moment=None)
    scene = scene_of(FrameReader(two.path), at_end)
    assert scene.loop is not None
    (loop := tmp_path / "loop.mp4").write_bytes(scene.loop)
    assert len(list(stream_frames(loop))) == 51


def track_of(seconds: list[float]) -> FaceTrack:
    count = len(seconds)
    return FaceTrack(
        number=0,
        indices=np.arange(count) + 7,
        pts_seconds=np.array(seconds, np.float64),
        boxes=np.zeros((count, 4), np.float32),
        landmarks=np.zeros((count, 1, 2), np.float32),
        confidence=np.ones(count, np.float32),
    )


def test_one_clip_in_each_second_by_hand() -> None:
    quarter = track_of([0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.25])
    # Seconds 0, 1, 2 begin with frames 0, 2, 6; a clip from 6 would end beyond the track.
    assert second_clips(quarter, 4).tolist() == [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 7]]
    assert second_clips(track_of([3.0, 3.1]), 4).tolist() == [[0, 1, 1, 1]]


def test_every_second_is_scored_as_the_clips_are(two: Report, detector: Detector) -> None:
    for face in two.faces:
        line = face.every_second
        assert line is not None
        assert line.seconds.tolist() == pytest.approx([0.0, 1.0, 2.0], abs=0.05)
        # The first second's clip is the first window.
        expected = float(face.prediction.clip_probabilities[0])
        assert float(line.probabilities[0]) == pytest.approx(expected, abs=1e-5)
    assert two.settings["every_second"] is True
    plain = detector.detect(two.path)
    assert plain.probability == two.probability
    assert plain.faces[0].every_second is None
    assert "every_second" not in plain.settings


def test_the_scene_is_only_for_the_page(detector: Detector, two: Report) -> None:
    plain = detector.detect(two.path, every_second=True, scene=False)
    assert plain.scene is None
    assert plain.decisive is not None
    assert plain.decisive.moment is None
    page = two.to_dict()
    strongest = [face.pop("strongest") for face in page["faces"] if "strongest" in face]
    assert strongest[0]["region"]
    assert plain.to_dict() == page
