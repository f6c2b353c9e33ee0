"""The same pictures in containers as the wild has them: the same answer, and a true reason."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from fakestormer.detection.detector import Detector
from fakestormer.detection.quality import TOO_FEW_BITS
from fakestormer.errors import InputError, NoFaceError
from fakestormer.types import Report
from fakestormer.video.colour import turn_clockwise
from fakestormer.video.decode import probe
from odd_files import remuxed, several
from video_fixtures import astronaut_frames

MakeVideo = Callable[..., Path]

pytestmark = pytest.mark.usefixtures("face_backend_ready")

#: The height of the bar with the numbers below a film, in pixels.
BAR = 52
#: (suffix, how): beside the pictures there is more, or they begin late or follow slowly.
BESIDE = {
    "longer sound, MP4": (".mp4", {"sound": 9}),
    "longer PCM sound, MOV": (".mov", {"sound": 9}),
    "longer PCM sound, MKV": (".mkv", {"sound": 9}),
    "longer sound, TS": (".ts", {"sound": 9}),
    "longer sound, FLV": (".flv", {"sound": 9}),
    "a late subtitle, MKV": (".mkv", {"subtitle_at": 60}),
    "a late subtitle, MP4": (".mp4", {"subtitle_at": 60}),
    "an attached font": (".mkv", {"attachment": 500_000}),
    "pictures start late, MKV": (".mkv", {"delay": 5, "sound": 9}),
    "pictures start late, MP4": (".mp4", {"delay": 5, "sound": 9}),
    "the clock wraps round, TS": (".ts", {"delay": 95443.2}),
    "a live recording, MKV": (".mkv", {"container_options": {"live": "1"}}),
    "pictures start late, TS": (".ts", {"delay": 5, "sound": 9}),
}


@pytest.fixture(scope="module")
def sceptic(untrained_model: Path) -> Detector:
    """To this detector nothing is manipulated, so that strong compression is a reason."""
    detector = Detector(untrained_model)
    detector.prediction = detector.prediction.model_copy(update={"threshold": 0.99999})
    return detector


@pytest.fixture(scope="module")
def crushed(astronaut_video: MakeVideo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same film each time. With x264's macroblock tree no two are alike, and in a transport
    stream some reached TOO_FEW_BITS; the number of threads changes the film, too."""
    path = tmp_path_factory.mktemp("crushed") / "plain.mp4"
    options = {"crf": "51", "g": "12", "threads": "2", "x264-params": "mbtree=0"}
    return astronaut_video(path, count=24, how={"options": options})


@pytest.fixture(scope="module")
def plain(sceptic: Detector, crushed: Path) -> Report:
    """Of the pictures alone."""
    return sceptic.detect(crushed)


@pytest.mark.parametrize("kind", BESIDE)
def test_what_lies_beside_the_pictures_changes_nothing(
    kind: str, sceptic: Detector, crushed: Path, plain: Report, tmp_path: Path
) -> None:
    suffix, how = BESIDE[kind]
    assert plain.video["face_bits_per_pixel"] < TOO_FEW_BITS
    assert [reason.code for reason in plain.reasons] == ["strong_compression"]

    report = sceptic.detect(remuxed(crushed, tmp_path / f"v{suffix}", **how))

    assert report.probability == plain.probability
    assert report.reasons == plain.reasons
    # A transport stream has a few bytes more for each picture.
    assert report.video["face_bits_per_pixel"] == pytest.approx(
        plain.video["face_bits_per_pixel"], rel=0.05
    )
    assert report.warnings[1:] == plain.warnings[1:]
    assert not any("truncated" in warning for warning in report.warnings)


def test_a_plain_surround_does_not_dilute_the_bits_of_a_face(
    sceptic: Detector, make_video: MakeVideo, tmp_path: Path
) -> None:
    faces = astronaut_frames(16)
    wide = [np.full((1080, 1920, 3), 30, np.uint8) for _ in faces]
    for surround, face in zip(wide, faces, strict=True):
        surround[360:720, 720:1200] = face
    for crf, strong in (("23", False), ("47", True)):
        how = {"options": {"crf": crf}}
        alone = sceptic.detect(make_video(faces, tmp_path / "alone.mp4", **how)).video
        within = sceptic.detect(make_video(wide, tmp_path / "within.mp4", **how)).video
        assert (within["face_bits_per_pixel"] < TOO_FEW_BITS) is strong
        assert (alone["face_bits_per_pixel"] < TOO_FEW_BITS) is strong
        assert within["bits_per_pixel"] < alone["bits_per_pixel"] / 4
        assert within["face_bits_per_pixel"] == pytest.approx(
            alone["face_bits_per_pixel"], rel=0.35
        )


@pytest.mark.parametrize("seconds", [0.2, 0.6])
def test_an_edit_list_is_no_damage(
    seconds: float, sceptic: Detector, crushed: Path, tmp_path: Path
) -> None:
    report = sceptic.detect(remuxed(crushed, tmp_path / "edit.mp4", hidden=seconds))
    assert report.video["frames_decoded"] == 24 - round(25 * seconds)
    assert not any("truncated" in warning for warning in report.warnings)


def test_few_frames_a_second_are_no_damage(
    sceptic: Detector, crushed: Path, tmp_path: Path
) -> None:
    for slower, rate in ((25, "1:"), (125, "0.2:")):
        report = sceptic.detect(remuxed(crushed, tmp_path / "slow.mkv", slower=slower))
        assert report.video["frames_decoded"] == 24
        assert not any("truncated" in warning for warning in report.warnings)
        assert any(f"few frames a second, about {rate}" in text for text in report.warnings)
        assert report.verdict == "inconclusive"
        assert "frames_far_apart" in [reason.code for reason in report.reasons]


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".mp4", {"movflags": "faststart"}),
        (".mp4", {"movflags": "frag_keyframe+empty_moov"}),
        (".mkv", {}),
        (".flv", {}),
    ],
)
def test_a_missing_end_is_told_in_every_container(
    suffix: str, options: dict[str, str], sceptic: Detector, crushed: Path, tmp_path: Path
) -> None:
    whole = remuxed(crushed, tmp_path / f"whole{suffix}", container_options=options)
    cut = tmp_path / f"cut{suffix}"
    content = whole.read_bytes()
    cut.write_bytes(content[: len(content) * 7 // 10])

    def told(path: Path) -> list[str]:
        return [text for text in sceptic.detect(path).warnings if "truncated or damaged" in text]

    assert told(whole) == []
    assert len(told(cut)) == 1


def test_transport_streams_that_were_joined_are_not_damaged(
    sceptic: Detector, crushed: Path, tmp_path: Path
) -> None:
    piece = remuxed(crushed, tmp_path / "piece.ts").read_bytes()
    joined = tmp_path / "joined.ts"
    joined.write_bytes(piece * 2)
    report = sceptic.detect(joined)
    assert report.video["frames_decoded"] == 48
    assert not any("truncated" in text for text in report.warnings)
    assert any("breaks off in 1 place: packets were lost" in text for text in report.warnings)


def test_anamorphic_video_is_judged_as_players_show_it(
    sceptic: Detector, make_video: MakeVideo, tmp_path: Path
) -> None:
    shown = astronaut_frames(8)
    stored = [np.ascontiguousarray(frame[:, ::2]) for frame in shown]  # half as wide
    lossless = {"options": {"qp": "0"}, "pixel_format": "yuv444p"}
    plain = sceptic.detect(make_video(shown, tmp_path / "plain.mp4", **lossless))
    squeezed = make_video(stored, tmp_path / "squeezed.mp4", **lossless)

    path = remuxed(squeezed, tmp_path / "wide.mp4", aspect=Fraction(2))
    report = sceptic.detect(path)

    assert (report.video["width"], report.video["height"]) == (480, 360)
    assert report.video["pixel_aspect"] == "2"
    np.testing.assert_allclose(report.faces[0].boxes, plain.faces[0].boxes, atol=4)
    assert report.warnings[0].startswith("Its pixels are not square as they are stored (2 times")
    film = probe(sceptic.write_overlay(report, tmp_path))
    assert (film.width, film.height) == (480, 360 + BAR)
    assert film.pixel_aspect == "1"


def test_the_default_stream_is_judged_and_named(
    sceptic: Detector, crushed: Path, plain: Report, make_video: MakeVideo, tmp_path: Path
) -> None:
    black = make_video([np.zeros((360, 480, 3), np.uint8)] * 24, tmp_path / "black.mp4")
    path = several(tmp_path / "two.mkv", black, crushed, default=(1,))

    report = sceptic.detect(path)

    assert report.probability == plain.probability
    assert report.video["stream"] == 1
    assert report.warnings[0].startswith(
        "The file has 1 other video stream with moving pictures; stream 1 (h264, 480 x 360) "
    )


def test_another_stream_is_judged_where_it_is_named(
    sceptic: Detector, crushed: Path, make_video: MakeVideo, tmp_path: Path
) -> None:
    other = make_video(astronaut_frames(70)[::-1], tmp_path / "other.mp4", options={"g": "10"})
    path = several(tmp_path / "two.mkv", crushed, other, default=(0,))

    report = sceptic.detect(path, stream=1, every_second=True)
    alone = sceptic.detect(other, every_second=True)

    assert report.video["stream"] == report.settings["stream"] == 1
    assert report.video["frames_decoded"] == 70
    assert report.probability == alone.probability != sceptic.detect(path).probability
    assert report.scene is not None
    assert alone.scene is not None
    assert bool((report.scene.picture == alone.scene.picture).all())
    film = sceptic.write_overlay(report, tmp_path)
    assert probe(film).frame_count == 70
    with pytest.raises(InputError, match=r"two\.mkv: stream 2 is no video stream"):
        sceptic.detect(path, stream=2)
    black = make_video([np.zeros((360, 480, 3), np.uint8)] * 8, tmp_path / "black.mp4")
    lead = several(tmp_path / "lead.ts", black, crushed)
    with pytest.raises(NoFaceError, match=r"another of its video streams than 0 with --stream"):
        sceptic.detect(lead)


@pytest.mark.parametrize("degrees", [90, 180])
def test_a_video_on_its_side_is_judged_as_if_it_were_upright(
    degrees: int, sceptic: Detector, make_video: MakeVideo, tmp_path: Path
) -> None:
    lossless = {"options": {"qp": "0"}, "pixel_format": "yuv444p"}
    upright = astronaut_frames(8)
    plain = sceptic.detect(make_video(upright, tmp_path / "plain.mp4", **lossless))
    frames = [turn_clockwise(frame, degrees) for frame in upright]
    path = make_video(frames, tmp_path / "turned.mp4", **lossless)

    report = sceptic.detect(path, every_second=True)

    assert plain.video["turned"] == 0
    assert report.video["turned"] == 360 - degrees
    assert (report.video["width"], report.video["height"]) == (480, 360)
    assert report.probability == plain.probability
    assert report.warnings[0] == (
        "The faces in it are not upright, and the file does not say how to turn it: it was turned "
        f"by {360 - degrees} degrees clockwise, to 480 x 360."
    )
    assert report.scene is not None
    assert plain.scene is not None
    assert bool((report.scene.picture == plain.scene.picture).all())
    film = probe(sceptic.write_overlay(report, tmp_path))
    assert (film.width, film.height) == (480, 360 + BAR)
    in_memory = sceptic.detect(np.stack(frames), frames_per_second=25)
    assert in_memory.video["turned"] == 360 - degrees
    assert in_memory.probability == pytest.approx(plain.probability, abs=0.02)
