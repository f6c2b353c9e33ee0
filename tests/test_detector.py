"""Detection end to end, on videos made by code: what is found, said, warned about and refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from fakestormer.data.manifest import read_manifest
from fakestormer.data.prepare import prepare_folder
from fakestormer.data.store import read_clip
from fakestormer.detector import Detector
from fakestormer.errors import InputError, NoFaceError
from fakestormer.prediction import PredictionConfig, predict_track, verdict

pytestmark = pytest.mark.usefixtures("face_backend_ready")

MakeVideo = Callable[..., Path]


@pytest.fixture(scope="module")
def detector(untrained_model: Path) -> Detector:
    return Detector.load(untrained_model)


def test_detection_and_evaluation_give_the_same_number(
    detector: Detector, astronaut_video: MakeVideo, tmp_path: Path
) -> None:
    """The evaluation path reads crops from a prepared store; detection cuts them from the video."""
    video = astronaut_video(tmp_path / "videos" / "face.mp4", count=40)
    report = detector.detect(video)
    store = tmp_path / "store"
    recipe = detector.recipe
    prepare_folder(video.parent, store, crop=recipe.crop, tracking=recipe.tracking)
    (row,) = read_manifest(store)

    def read(positions_ct: np.ndarray) -> list:
        return [
            read_clip(store / row.file, list(positions), video=row.video, number=row.track)
            for positions in positions_ct
        ]

    prediction, crops = predict_track(detector.network, row.frames, read, detector.prediction)
    assert report.probability == prediction.probability
    assert torch.equal(crops, report.faces[0].crops)
    assert torch.equal(prediction.derivative, report.faces[0].prediction.derivative)


def test_what_a_report_holds(
    detector: Detector, astronaut_video: MakeVideo, tmp_path: Path
) -> None:
    report = detector.detect(astronaut_video(tmp_path / "face.mp4", count=40))
    (face,) = report.faces
    assert face.prediction.indices.shape == (8, 4)  # 32 frames in windows of T = 4
    assert face.prediction.indices[0].tolist() == [0, 1, 2, 3]
    assert face.prediction.indices[-1].tolist() == [36, 37, 38, 39]
    assert report.probability == pytest.approx(float(face.prediction.clip_probabilities.mean()))
    assert report.verdict == verdict(report.probability, detector.prediction)
    assert report.video["width"], report.video["height"] == (480, 360)
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
    assert torch.equal(first.faces[0].crops, second.faces[0].crops)


def test_two_faces_are_two_tracks_and_the_higher_score_decides(
    detector: Detector, astronaut_video: MakeVideo, tmp_path: Path
) -> None:
    report = detector.detect(astronaut_video(tmp_path / "two.mp4", count=16, faces=2))
    assert [face.number for face in report.faces] == [0, 1]
    scores = {face.number: face.prediction.probability for face in report.faces}
    assert report.probability == max(scores.values())
    assert scores[report.face_number] == report.probability


def test_a_face_that_flits_by_does_not_decide(
    detector: Detector, astronaut_video: MakeVideo, tmp_path: Path
) -> None:
    """After a cut at frame 36 of 40 the second track has a tenth of the first's length."""
    report = detector.detect(astronaut_video(tmp_path / "cut.mp4", count=40, cut_at=36))
    assert len(report.faces) == 2
    assert report.face_number == 0
    assert report.probability == report.faces[0].prediction.probability


def test_a_rotated_video_is_judged_upright(
    detector: Detector, make_video: MakeVideo, astronaut_video: MakeVideo, tmp_path: Path
) -> None:
    from video_fixtures import astronaut_frames

    upright = astronaut_frames(8)
    # Stored turned a quarter to the left, with the note to turn it back: as phones do.
    turned = [np.ascontiguousarray(np.rot90(frame)) for frame in upright]
    lossless = {"options": {"qp": "0"}, "pixel_format": "yuv444p"}
    plain = detector.detect(make_video(upright, tmp_path / "upright.mp4", **lossless))
    rotated = detector.detect(make_video(turned, tmp_path / "turned.mp4", rotation=90, **lossless))
    assert (rotated.video["width"], rotated.video["height"]) == (480, 360)
    assert torch.allclose(plain.faces[0].boxes, rotated.faces[0].boxes, atol=1.0)
    assert rotated.probability == pytest.approx(plain.probability, abs=0.05)


def test_fewer_frames_than_a_clip_are_judged_with_a_warning(
    detector: Detector, astronaut_video: MakeVideo, tmp_path: Path
) -> None:
    report = detector.detect(astronaut_video(tmp_path / "short.mp4", count=3))
    assert report.faces[0].prediction.indices.tolist() == [[0, 1, 2, 2]]
    assert "followed for 3 frames" in report.faces[0].warnings[0]


def test_a_truncated_video_is_judged_as_far_as_it_goes(
    detector: Detector, astronaut_video: MakeVideo, tmp_path: Path
) -> None:
    video = astronaut_video(
        tmp_path / "whole.mp4",
        count=40,
        how={"options": {"g": "5"}, "container_options": {"movflags": "faststart"}},
    )
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(video.read_bytes()[: int(video.stat().st_size * 0.7)])
    report = detector.detect(cut)
    assert report.probability is not None
    assert any("truncated or damaged" in warning for warning in report.warnings)


def test_consecutive_sampling_reads_the_first_frames_only(
    detector: Detector, astronaut_video: MakeVideo, tmp_path: Path
) -> None:
    video = astronaut_video(tmp_path / "face.mp4", count=60)
    report = detector.sampling("consecutive").detect(video)
    assert report.faces[0].prediction.indices.flatten().tolist() == list(range(32))
    assert report.video["frames_decoded"] == 32
    assert report.warnings == ()


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
        Detector.load(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        Detector.load(tmp_path / "nowhere")


def test_pooling_and_verdict_by_hand() -> None:
    from fakestormer.prediction import pool

    logits = torch.tensor([0.0, 2.0])
    # sigmoid: 0.5 and 0.880797; sigmoid of the mean logit 1: 0.731059
    assert pool(logits, "probability") == pytest.approx(0.6903985, abs=1e-6)
    assert pool(logits, "logit") == pytest.approx(0.7310586, abs=1e-6)
    config = PredictionConfig()
    assert verdict(0.97, config) == "likely fake"
    assert verdict(0.55, config) == "likely fake"
    assert verdict(0.52, config) == "inconclusive"
    assert verdict(0.46, config) == "inconclusive"
    assert verdict(0.08, config) == "no manipulation found"
