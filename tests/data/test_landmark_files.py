"""prepare --landmarks: the forms it reads, and what is refused in one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from fakestormer.cli import app
from fakestormer.data.landmark_files import LandmarkError, LandmarkFiles
from fakestormer.data.listing import Entry
from fakestormer.data.manifest import read_manifest, read_settings
from fakestormer.data.store import read_clip
from fakestormer.data.units import units_of
from fakestormer.faces.protocol import face_box
from fakestormer.types import FaceTrack
from folder_stores import prepare_folder

FRAMES, SIZE = 9, 96


@pytest.fixture(scope="module")
def face(drawn: ModuleType) -> tuple[np.ndarray, np.ndarray]:
    pictures, landmarks = drawn.draw(FRAMES, size=SIZE)
    return pictures, landmarks


@pytest.fixture(scope="module")
def film(
    tmp_path_factory: pytest.TempPathFactory, drawn: ModuleType, face: tuple[np.ndarray, Any]
) -> Path:
    path = tmp_path_factory.mktemp("root") / "youtube" / "videos" / "003.mp4"
    drawn.write_video(path, face[0])
    return path


def tracks_of(film: Path, files: LandmarkFiles, *, max_frames: int | None = 256) -> list[FaceTrack]:
    entry = Entry(video="youtube/videos/003.mp4", path=film, label="real")
    with units_of(entry, max_frames=max_frames, scratch=film.parent) as (unit,):
        return files.tracks(unit)


def document(points_tk2: np.ndarray, **more: object) -> dict[str, Any]:
    return {"tracks": [{"landmarks": points_tk2.tolist(), **more}]}


def write_json(folder: Path, content: object, name: str = "youtube/videos/003.json") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def write_frames(folder: Path, points_tk2: np.ndarray, *, first: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, points_k2 in enumerate(points_tk2, start=first):
        np.save(folder / f"{number:03d}.npy", points_k2)


def test_json_with_boxes_of_a_detector(film: Path, face: Any, tmp_path: Path) -> None:
    points = face[1][2:8]
    boxes = face_box(points) + np.array([-3, -2, 4, 1], np.float32)
    content = document(points, boxes=boxes.tolist(), first_frame=2, confidence=[0.5] * 6)
    write_json(tmp_path, {"frames": FRAMES, **content})
    (track,) = tracks_of(film, LandmarkFiles(tmp_path))
    assert track.indices.tolist() == [2, 3, 4, 5, 6, 7]
    assert np.array_equal(track.landmarks, np.asarray(points))
    assert np.array_equal(track.boxes, np.asarray(boxes))
    assert track.confidence.tolist() == [0.5] * 6
    assert track.pts_seconds.tolist() == pytest.approx([t / 25 for t in range(2, 8)])


def test_npz_and_one_file_of_several_videos(film: Path, face: Any, tmp_path: Path) -> None:
    path = tmp_path / "003.npz"
    np.savez(path, landmarks=face[1][1:], first_frame=1, frames=FRAMES)
    (track,) = tracks_of(film, LandmarkFiles(path))
    assert track.indices.tolist() == list(range(1, FRAMES))
    assert np.array_equal(track.boxes, np.asarray(face_box(face[1][1:])))
    several = {"videos": {"youtube/videos/003.mp4": document(face[1])}}
    (track,) = tracks_of(film, LandmarkFiles(write_json(tmp_path, several, "all.json")))
    assert len(track) == FRAMES
    absent = write_json(tmp_path, {"videos": {}}, "none.json")
    with pytest.raises(LandmarkError, match=r'none\.json: has no "youtube/videos/003\.mp4" below'):
        tracks_of(film, LandmarkFiles(absent))


def test_frames_behind_the_last_that_is_prepared_are_cut_off(
    film: Path, face: Any, tmp_path: Path
) -> None:
    write_json(tmp_path, {"frames": FRAMES, **document(face[1])})
    (track,) = tracks_of(film, LandmarkFiles(tmp_path), max_frames=5)
    assert len(track) == 5


def test_points_of_dlib_and_boxes_of_retinaface(film: Path, face: Any, tmp_path: Path) -> None:
    """Two faces a frame, largest first; the smaller one is there in the first four frames only."""
    points = face[1]
    small = 0.4 * points + 55
    folder = tmp_path / "youtube" / "landmarks" / "003"
    write_frames(folder, np.stack([points[:4], small[:4]], axis=1))
    write_frames(folder, points[4:], first=4)
    tracks = tracks_of(film, LandmarkFiles(tmp_path))
    assert [len(track) for track in tracks] == [FRAMES, 4]
    np.testing.assert_allclose(tracks[1].landmarks, np.asarray(small[:4]))

    boxes = face_box(points) + np.array([-2, -2, 2, 2], np.float32)
    retina = np.concatenate([boxes.reshape(FRAMES, 2, 2), points[:, :5]], axis=1)[:, None]
    others = np.tile(np.array([[[0, 0], [5, 5]] + [[1, 1]] * 5], np.float32), (FRAMES, 1, 1, 1))
    write_frames(tmp_path / "youtube" / "retina" / "003", np.concatenate([others, retina], axis=1))
    write_frames(folder, points)
    (track,) = tracks_of(film, LandmarkFiles(tmp_path))
    assert np.array_equal(track.boxes, np.asarray(boxes))
    # A frame that RetinaFace left out parts the track in two.
    (tmp_path / "youtube" / "retina" / "003" / "004.npy").unlink()
    tracks = tracks_of(film, LandmarkFiles(tmp_path))
    assert [(int(t.indices[0]), len(t)) for t in tracks] == [(0, 4), (5, 4)]
    np.save(tmp_path / "youtube" / "retina" / "003" / "000.npy", others[0])
    with pytest.raises(LandmarkError, match=r"retina/003/000\.npy: no box overlaps the landmarks"):
        tracks_of(film, LandmarkFiles(tmp_path))


def test_pictures_and_points_of_deepfakebench_go_by_their_names(face: Any, tmp_path: Path) -> None:
    """frames/ and landmarks/ side by side, every 10th frame of the film."""
    frames = tmp_path / "c23" / "frames" / "003"
    frames.mkdir(parents=True)
    for number, rgb_hwc in enumerate(face[0]):
        cv2.imwrite(str(frames / f"{10 * number:03d}.png"), rgb_hwc[..., ::-1])
    points = tmp_path / "c23" / "landmarks" / "003"
    points.mkdir(parents=True)
    for number, points_k2 in enumerate(face[1]):
        np.save(points / f"{10 * number:03d}.npy", points_k2)
    entry = Entry(video="c23/frames/003", path=frames, label="real", kind="pictures")

    def tracks() -> list[FaceTrack]:
        with units_of(entry, max_frames=256, scratch=tmp_path) as (unit,):
            return LandmarkFiles(tmp_path).tracks(unit)

    (track,) = tracks()
    assert track.indices.tolist() == list(range(FRAMES))
    assert np.array_equal(track.landmarks, np.asarray(face[1]))
    np.save(points / "085.npy", face[1][0])
    with pytest.raises(LandmarkError, match=r"085\.npy: c23/frames/003 has no picture 085"):
        tracks()


def _nan(points: np.ndarray) -> dict[str, Any]:
    points[3, 7] = np.nan
    return document(points)


WRONG: dict[str, tuple[Callable[[np.ndarray], Any], str]] = {
    "another video": (
        lambda p: document(np.concatenate([p, p])),
        r"has landmarks of frame 17, but the video ends with frame 8",
    ),
    "another cut": (
        lambda p: {"frames": 12, **document(p)},
        r"was made of 12 frames, but .* has 9",
    ),
    "not finite": (_nan, r"landmarks of frame 3 are no finite numbers; leave that frame out"),
    "another size": (
        lambda p: document(3 * p),
        r"the face of frame 0 lies outside of the frame \(x .*, the frame is 96 x 96\)",
    ),
    "other points": (lambda p: document(p[:, :5]), r"shape \(9, 5, 2\); 81 or 68 points"),
    "boxes of fewer": (
        lambda p: document(p, boxes=face_box(p[:4]).tolist()),
        r"track 0: landmarks are of 9 frames, boxes have the shape \(4, 4\)",
    ),
    "boxes x, y, w, h": (
        lambda p: document(p, boxes=[[40, 40, 20, 20]] * 9),
        r"the box of frame 0 is empty; boxes are x0, y0, x1, y1",
    ),
    "no tracks": (lambda p: {"faces": []}, r'expected an object with "tracks"'),
    "ragged": (lambda p: {"tracks": [{"landmarks": [[1], [1, 2]]}]}, "is no table of numbers"),
    "first frame": (lambda p: document(p, first_frame=-1), "first_frame is -1"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_one_sentence(film: Path, face: Any, tmp_path: Path, what: str) -> None:
    make, sentence = WRONG[what]
    path = write_json(tmp_path, make(face[1].copy()))
    with pytest.raises(LandmarkError, match=sentence) as caught:
        tracks_of(film, LandmarkFiles(tmp_path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_absent_double_or_damaged(film: Path, face: Any, tmp_path: Path) -> None:
    with pytest.raises(
        LandmarkError, match=r"has no landmarks of youtube/videos/003\.mp4 \(looked"
    ):
        tracks_of(film, LandmarkFiles(tmp_path))
    path = write_json(tmp_path, document(face[1]))
    write_frames(tmp_path / "youtube" / "landmarks" / "003", face[1])
    with pytest.raises(LandmarkError, match="has landmarks twice"):
        tracks_of(film, LandmarkFiles(tmp_path))
    path.unlink()
    (tmp_path / "youtube" / "landmarks" / "003" / "004.npy").write_bytes(b"nothing")
    with pytest.raises(LandmarkError, match=r"004\.npy: is not readable as \.npy"):
        tracks_of(film, LandmarkFiles(tmp_path))


def test_a_store_names_the_source_and_one_bad_file_costs_only_its_video(
    drawn: ModuleType, face: Any, film: Path, tmp_path: Path
) -> None:
    videos, points = tmp_path / "videos", tmp_path / "points"
    for name in ("a", "b", "c"):
        drawn.write_video(videos / f"{name}.mp4", face[0])
    write_json(points, document(face[1]), "a.json")
    write_json(points, _nan(face[1].copy()), "b.mp4.json")
    command = [
        "prepare", str(videos), "--out", str(tmp_path / "store"), "--workers", "0",
        "--recipe", "small",
        "--landmarks", str(points), "--landmarks-by", "RetinaFace, dlib 81",
    ]  # fmt: skip
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 3, done.output
    rows = {row.video: row for row in read_manifest(tmp_path / "store")}
    assert [rows[f"{name}.mp4"].rejected for name in "abc"] == ["", "no landmarks", "no landmarks"]
    assert "b.mp4.json: landmarks of frame 3 are no finite numbers" in rows["b.mp4"].detail
    source = "given landmarks (RetinaFace, dlib 81)"
    assert read_settings(tmp_path / "store").backend == source
    assert {row.face_source for row in rows.values()} == {source}

    # The crops are those of a backend that finds the same faces.
    prepare_folder(videos, tmp_path / "found", backend=drawn.DrawnFaces)
    again = next(row for row in read_manifest(tmp_path / "found") if row.video == "a.mp4")
    assert again.face_source == "drawn"
    given = read_clip(tmp_path / "store" / rows["a.mp4"].file, [2], video="a.mp4", number=0)
    found = read_clip(tmp_path / "found" / again.file, [2], video="a.mp4", number=0)
    assert np.abs(given.landmarks - found.landmarks).max() < 4
    assert np.abs(given.frames.astype(int) - found.frames.astype(int)).mean() < 12

    for more, sentence in (
        (["--faces", "dlib"], "not both"),
        (["--landmarks", str(tmp_path / "absent")], "no such file or folder of landmarks"),
    ):
        done = CliRunner().invoke(app, [*command, *more])
        assert done.exit_code != 0
        assert sentence in " ".join((done.output + str(done.exception)).replace("│", " ").split())
