"""Detection end to end, on videos made by code: what is found, said, warned about and refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fakestormer.data.manifest import read_manifest
from fakestormer.data.store import read_clip
from fakestormer.detection.detector import Detector
from fakestormer.detection.prediction import pool, predict_track, verdict
from fakestormer.errors import InputError, NoFaceError
from fakestormer.recipe.prediction import Calibration, PredictionConfig, Sampling
from folder_stores import prepare_folder
from video_fixtures import astronaut_frames

pytestmark = pytest.mark.usefixtures("face_backend_ready")

MakeVideo = Callable[..., Path]


@pytest.fixture(scope="module")
def detector(untrained_model: Path) -> Detector:
    return Detector(untrained_model)


@pytest.mark.parametrize(
    ("count", "sampling"), [(40, "windows"), (40, "consecutive"), (40, "spread"), (270, "windows")]
)
def test_detection_and_evaluation_give_the_same_number(
    detector: Detector, astronaut_video: MakeVideo, tmp_path: Path, count: int, sampling: Sampling
) -> None:
    """The evaluation path reads crops from a prepared store; detection cuts them from the video."""
    video = astronaut_video(tmp_path / "videos" / "face.mp4", count=count)
    detector = detector.predicting(sampling=sampling)
    report = detector.detect(video)
    store = tmp_path / "store"
    recipe = detector.recipe
    prepare_folder(video.parent, store, crop=recipe.crop, tracking=recipe.tracking, max_frames=None)
    (row,) = read_manifest(store)

    def read(positions_ct: np.ndarray) -> list:
        return [
            read_clip(store / row.file, list(positions), video=row.video, number=row.track)
            for positions in positions_ct
        ]

    prediction, crops = predict_track(detector.engine, row.frames, read, detector.prediction)
    assert report.probability == prediction.probability
    assert np.array_equal(crops, report.faces[0].crops)
    assert np.array_equal(prediction.derivative, report.faces[0].prediction.derivative)


def test_what_a_report_holds(
    detector: Detector, astronaut_video: MakeVideo, tmp_path: Path
) -> None:
    report = detector.detect(astronaut_video(tmp_path / "face.mp4", count=40))
    (face,) = report.faces
    assert face.prediction.indices.shape == (8, 4)  # 32 frames in windows of T = 4
    assert face.prediction.indices[0].tolist() == [0, 1, 2, 3]
    assert face.prediction.indices[-1].tolist() == [36, 37, 38, 39]
    assert report.probability == pytest.approx(float(face.prediction.clip_probabilities.mean()))
    # The network hears its input: a test on its numbers would mean nothing otherwise.
    assert float(face.prediction.clip_probabilities.std()) > 1e-4
    assert report.verdict == face.verdict
    low, high = face.interval
    assert low < report.probability < high
    assert report.interval == face.interval
    if not face.reasons:
        assert report.verdict == verdict(report.probability, detector.prediction)
    assert (report.video["frame_rate"], report.video["gaps"]) == ("constant", 0)
    assert (report.video["width"], report.video["height"]) == (480, 360)
    # The shown box is the stored square less the test margin of 15/256 on each side.
    x0, y0, x1, y1 = face.boxes[0, 0].tolist()
    assert x1 - x0 == pytest.approx(y1 - y0, abs=1e-3)
    assert 0 < x0 < 240 < 300 > x1  # around the face, which stands on the left
    assert report.model["weights_sha256"] == detector.weights_sha256


def test_detecting_twice_says_the_same(
    detector: Detector, astronaut_video: MakeVideo, tmp_path: Path
) -> None:
    video = astronaut_video(tmp_path / "face.mp4", count=12)
    first, second = detector.detect(video), detector.detect(video)
    assert first.probability == second.probability
    assert np.array_equal(first.faces[0].crops, second.faces[0].crops)


def test_without_its_branches_the_model_that_ships_says_the_same(
    astronaut_video: MakeVideo, tmp_path: Path
) -> None:
    video, detector = astronaut_video(tmp_path / "face.mp4", count=8), Detector()
    (whole,) = detector.detect(video).faces
    (f_alone,) = detector.predicting(branches=False).detect(video).faces
    assert whole.prediction.frame_probabilities is not None
    assert f_alone.prediction.frame_probabilities is None
    assert f_alone.prediction.derivative is None
    assert f_alone.prediction.probability == whole.prediction.probability, "to the last bit"
    assert f_alone.prediction.evidence.tolist() == whole.prediction.evidence.tolist()


def test_two_faces_are_two_tracks_and_the_higher_score_decides(
    detector: Detector, astronaut_video: MakeVideo, tmp_path: Path
) -> None:
    report = detector.detect(astronaut_video(tmp_path / "two.mp4", count=16, faces=2))
    assert [face.number for face in report.faces] == [1, 2]
    scores = {face.number: face.prediction.probability for face in report.faces}
    assert report.probability == max(scores.values())
    assert scores[report.face_number] == report.probability


@pytest.mark.parametrize(("cut_at", "lasting"), [(36, 1), (4, 2)])
def test_a_face_that_flits_by_does_not_decide(
    detector: Detector, astronaut_video: MakeVideo, tmp_path: Path, cut_at: int, lasting: int
) -> None:
    """One track has a tenth of the other's length; in one of the two cases it scores higher."""
    report = detector.detect(astronaut_video(tmp_path / "cut.mp4", count=40, cut_at=cut_at))
    assert len(report.faces) == 2
    assert report.face_number == lasting
    assert report.probability == report.faces[lasting - 1].prediction.probability


def test_a_rotated_video_is_judged_upright(
    detector: Detector, make_video: MakeVideo, astronaut_video: MakeVideo, tmp_path: Path
) -> None:
    upright = astronaut_frames(8)
    # Stored turned a quarter to the left, with the note to turn it back: as phones do.
    turned = [np.ascontiguousarray(np.rot90(frame)) for frame in upright]
    lossless = {"options": {"qp": "0"}, "pixel_format": "yuv444p"}
    plain = detector.detect(make_video(upright, tmp_path / "upright.mp4", **lossless))
    rotated = detector.detect(make_video(turned, tmp_path / "turned.mp4", rotation=90, **lossless))
    assert (rotated.video["width"], rotated.video["height"]) == (480, 360)
    assert np.allclose(plain.faces[0].boxes, rotated.faces[0].boxes, atol=1.0)
    turned, upright = (r.faces[0].crops.astype(np.float32) for r in (rotated, plain))
    assert np.abs(turned - upright).mean() < 3


def test_fewer_frames_than_a_clip_are_judged_with_a_warning(
    detector: Detector, astronaut_video: MakeVideo, tmp_path: Path
) -> None:
    report = detector.detect(astronaut_video(tmp_path / "short.mp4", count=3))
    assert report.faces[0].prediction.indices.tolist() == [[0, 1, 2, 2]]
    assert "followed for 3 frames" in report.faces[0].warnings[0]
    assert report.verdict == "inconclusive"
    assert "too_few_frames" in [reason.code for reason in report.reasons]
    assert report.interval is None  # of one clip


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_truncated_video_is_judged_as_far_as_it_goes(
    detector: Detector, astronaut_video: MakeVideo, tmp_path: Path, suffix: str
) -> None:
    """Matroska announces no number of frames, only a duration."""
    index_first = {"container_options": {"movflags": "faststart"}} if suffix == ".mp4" else {}
    video = astronaut_video(
        tmp_path / f"whole{suffix}", count=60, how={"options": {"g": "5"}, **index_first}
    )
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(video.read_bytes()[: int(video.stat().st_size * 0.7)])
    report = detector.detect(cut)
    assert report.probability is not None
    assert any("truncated or damaged" in warning for warning in report.warnings)


def test_consecutive_sampling_takes_the_first_frames_of_the_face(
    detector: Detector, make_video: MakeVideo, tmp_path: Path
) -> None:
    """A title card comes first: the face's first 32 frames count, not the video's."""
    card = [np.full((360, 480, 3), 30, np.uint8)] * 35
    video = make_video(card + astronaut_frames(40), tmp_path / "card.mp4")
    report = detector.predicting(sampling="consecutive").detect(video)
    assert report.faces[0].prediction.indices.flatten().tolist() == list(range(35, 67))
    # The card is a scene of its own; that it takes few bits is no fault of the face's.
    (cut,) = report.warnings
    assert "1 cut was found (0:01.40)" in cut
    assert "FFmpeg" in report.video["written_by"]
    assert report.video["cuts"] == [1.4]


def test_a_model_trained_with_another_backend_is_said(
    untrained_model: Path, astronaut_video: MakeVideo, tmp_path: Path
) -> None:
    detector = Detector(untrained_model)
    detector.trained_with = "dlib"
    report = detector.detect(astronaut_video(tmp_path / "face.mp4", count=4))
    assert any("trained on faces found by dlib" in warning for warning in report.warnings)


def test_settings_have_six_digits(untrained_model: Path) -> None:
    calibration = Calibration(method="platt", slope=5 / 3, offset=-2 / 3)
    config = PredictionConfig(threshold=2 / 3, calibration=calibration)
    settings = Detector(untrained_model, prediction=config).settings()
    assert (settings["threshold"], settings["fake_from"]) == (0.666667, 0.716667)
    assert settings["calibration"]["slope"] == 1.666667
    assert (settings["margin"], settings["frames"]) == (15, 32)


def test_one_frame_is_refused(
    detector: Detector, astronaut_video: MakeVideo, tmp_path: Path
) -> None:
    video = astronaut_video(tmp_path / "one.mp4", count=1)
    with pytest.raises(NoFaceError, match=r"one\.mp4: has a single frame"):
        detector.detect(video)


def test_no_face_is_refused(
    detector: Detector, make_video: MakeVideo, numbered_frames: Callable, tmp_path: Path
) -> None:
    video = make_video(numbered_frames(20), tmp_path / "blocks.mp4")
    with pytest.raises(NoFaceError, match=r"blocks\.mp4: no face could be followed in its 20"):
        detector.detect(video)


def test_a_model_with_other_weights_is_refused(untrained_model: Path, tmp_path: Path) -> None:
    for name in ("model.safetensors", "model.json"):
        (tmp_path / name).write_bytes((untrained_model / name).read_bytes())
    weights = bytearray((tmp_path / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (tmp_path / "model.safetensors").write_bytes(weights)
    with pytest.raises(InputError, match="damaged"):
        Detector(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        Detector(tmp_path / "nowhere")


def test_a_model_of_another_version_and_a_missing_device_are_refused(
    untrained_model: Path, tmp_path: Path
) -> None:
    shutil.copytree(untrained_model, tmp_path, dirs_exist_ok=True)
    described = tmp_path / "model.json"
    document = json.loads(described.read_text())
    document["recipe"]["crop"]["wobble"] = 3
    described.write_text(json.dumps(document))
    with pytest.raises(InputError, match=r"model\.json: its recipe does not fit.*crop\.wobble"):
        Detector(tmp_path)
    with pytest.raises(InputError, match="device 'nonsense' cannot be used here"):
        Detector(untrained_model, device="nonsense")


def test_pooling_and_verdict_by_hand() -> None:
    logits = np.array([0.0, 2.0], np.float32)
    # sigmoid: 0.5 and 0.880797; sigmoid of the mean logit 1: 0.731059
    assert pool(logits, "probability") == pytest.approx(0.6903985, abs=1e-6)
    assert pool(logits, "logit") == pytest.approx(0.7310586, abs=1e-6)
    config = PredictionConfig()
    assert verdict(0.97, config) == "likely fake"
    assert verdict(0.55, config) == "likely fake"
    assert verdict(0.52, config) == "inconclusive"
    assert verdict(0.46, config) == "inconclusive"
    assert verdict(0.08, config) == "no manipulation found"
