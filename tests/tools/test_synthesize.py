"""synthesize: files written, replay, refusals."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from fakestormer.drawing.contact_sheet import (
    SheetBlock,
    SheetRow,
    contact_sheet,
    grey,
    heat,
    overlay,
    side_by_side,
)
from fakestormer.errors import InputError, NoFaceError
from fakestormer.faces.clips import read_clips
from fakestormer.faces.protocol import FaceDetection, FaceLandmarks, FaceRegion
from fakestormer.faces.tracking import find_tracks
from fakestormer.recipe.named import load_recipe
from fakestormer.recipe.recipe import override
from fakestormer.tools import synthesize as synthesize_room
from fakestormer.tools.compare_synthesis import jumps, variants
from fakestormer.tools.synthesize import SynthesisRecord
from fakestormer.video.decode import probe, stream_frames
from odd_files import remuxed, several

SMALL = load_recipe("small", ["model.image_size=32"])
FILES = {"side_by_side.mp4", "real.mp4", "fake.mp4", "contact_sheet.png", "params.json"}


def synthesize(*arguments: Any, frames: int = 32, **named: Any) -> SynthesisRecord:
    """`fakestormer.synthesize` of at most so many frames."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthesize_room, "FRAMES", frames)
        return synthesize_room.synthesize(*arguments, **named)


class DrawnFace:
    """A face backend for drawn videos: the face stands where the frame is brightest in red.

    `landmarks` are an ellipse of 68 points around that place, with brows, eyes and mouth inside.
    """

    name = "drawn"

    def detect(self, rgb_hwc: NDArray[np.uint8]) -> list[FaceDetection]:
        region = self._region(rgb_hwc)
        if region is None:
            return []
        half = region.side / 2
        box = np.array([region.cx - half, region.cy - half, region.cx + half, region.cy + half])
        return [FaceDetection(box_xyxy=box.astype(np.float32), score=0.9, region=region)]

    def detect_small(
        self, rgb_hwc: NDArray[np.uint8], near: FaceRegion | None = None
    ) -> list[FaceDetection]:
        return []

    def detect_filling(self, rgb_hwc: NDArray[np.uint8]) -> list[FaceDetection]:
        return []

    def landmarks(self, rgb_hwc: NDArray[np.uint8], region: FaceRegion) -> FaceLandmarks | None:
        here = self._region(rgb_hwc)
        if here is None:
            return None
        angle = np.linspace(np.pi, 0, 17)
        jaw = np.stack((np.cos(angle), np.sin(angle)), axis=-1)
        inside = np.stack((np.linspace(-0.6, 0.6, 51), -0.4 * np.ones(51)), axis=-1)
        inside[10:] = 0.5 * np.stack((np.cos(np.arange(41)), np.sin(np.arange(41))), axis=-1)
        points = np.array([here.cx, here.cy]) + here.side / 2 * np.concatenate((jaw, inside))
        return FaceLandmarks(points_k2=points.astype(np.float32), confidence=0.9, region=here)

    def _region(self, rgb_hwc: NDArray[np.uint8]) -> FaceRegion | None:
        y, x = np.nonzero(rgb_hwc[..., 0] > 200)
        if len(x) < 50:
            return None
        return FaceRegion(cx=float(x.mean()), cy=float(y.mean()), side=60.0, roll=0.0)


def _draw_video(path: Path, *, seed: int, frames: int = 12, face: bool = True) -> Path:
    noise = np.random.default_rng(seed).uniform(0, 120, (16, 20, 3)).astype("f4")
    ground = cv2.resize(noise, (160, 120), interpolation=cv2.INTER_CUBIC).clip(0, 120)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for t in range(frames):
            picture = ground.astype(np.uint8)
            if face:
                cv2.ellipse(picture, (80 + t // 2, 60), (22, 28), 0, 0, 360, (235, 170, 140), -1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def _decode(path: Path) -> NDArray[np.uint8]:
    with av.open(str(path)) as container:
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _draw_video(tmp_path_factory.mktemp("video") / "drawn.mp4", seed=1)


@pytest.fixture(scope="module")
def done(video: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "first"
    synthesize(video, out, seed=3, frames=10, faces=DrawnFace())
    return out


def test_files(done: Path) -> None:
    assert {path.name for path in done.iterdir()} == FILES
    real, fake, film = (_decode(done / n) for n in ("real.mp4", "fake.mp4", "side_by_side.mp4"))
    assert real.shape == fake.shape == (10, 256, 256, 3)
    assert film.shape == (10, 248, 4 * 224, 3)
    different = np.abs(real.astype(int) - fake).mean(axis=(1, 2, 3))
    assert (different > 0.1).all()
    assert (different < 40).all()
    sheet = cv2.imread(str(done / "contact_sheet.png"))
    assert sheet is not None
    assert sheet.shape[1] > 8 * 112


def test_the_comparison_shows_what_each_idea_changes(video: Path, tmp_path: Path) -> None:
    """Landmarks that tremble by 4 px of the crop, so that eq. 1 has something to do."""
    first = synthesize(video, tmp_path / "a", seed=3, frames=10, faces=DrawnFace(), compare=True)
    params = tmp_path / "a" / "params.json"
    synthesize(video, tmp_path / "b", params=params, faces=DrawnFace(), compare=True)
    sheet = (tmp_path / "a" / "comparison.png").read_bytes()
    assert sheet == (tmp_path / "b" / "comparison.png").read_bytes()
    picture = cv2.imread(str(tmp_path / "a" / "comparison.png"))
    assert picture is not None
    assert picture.shape[1] > 2 * 5 * 132

    (track,) = find_tracks(stream_frames(video), DrawnFace(), first.tracking)
    (clip,) = read_clips(video, track, np.arange(10)[None], first.crop)
    tremble = np.float32(4) * (np.arange(10, dtype=np.float32) % 2).reshape(10, 1, 1)
    clip = dataclasses.replace(clip, landmarks=clip.landmarks + tremble)
    made = variants(clip, first.params, first.synthesis, size=112)
    change = {
        name: float(np.abs(np.diff(way.boundary_thw, axis=0)).mean()) for name, way in made.items()
    }
    assert change["interpolated"] < change["csp"] < 0.5 * change["neither"]
    moves = {
        name: float(jumps(way.landmarks_tk2, first.crop.stored_size)[1:].max())
        for name, way in made.items()
    }
    assert moves["interpolated"] < 0.9 * moves["csp"]
    assert moves["neither"] == moves["csp"] > first.synthesis.tau
    order = made["shuffled"].order
    assert order is not None
    assert sorted(order) == list(range(10)) != list(order)
    assert np.array_equal(made["shuffled"].boundary_thw, made["interpolated"].boundary_thw)
    assert not np.array_equal(made["shuffled"].fake_tchw, made["interpolated"].fake_tchw)


def test_a_single_frame_has_nothing_to_compare(video: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a single frame has nothing to compare"):
        synthesize(video, tmp_path / "o", frames=1, faces=DrawnFace(), compare=True)
    assert not (tmp_path / "o").exists()


def test_record(done: Path, video: Path) -> None:
    record = SynthesisRecord.model_validate_json((done / "params.json").read_bytes())
    assert record.video == video.name
    assert (record.track, record.first_index, record.frame_count) == (0, 0, 10)
    assert (record.size, record.patch_size, record.crop.stored_size) == (224, 16, 256)
    assert record.params.cutout is not None
    assert len(record.params.frames) == 1


def test_replay_gives_the_same_pixels(done: Path, video: Path, tmp_path: Path) -> None:
    """Whatever the seed and the other arguments say."""
    params = done / "params.json"
    synthesize(video, tmp_path, seed=99, params=params, frames=4, faces=DrawnFace())
    assert (tmp_path / "contact_sheet.png").read_bytes() == (
        done / "contact_sheet.png"
    ).read_bytes()
    assert (tmp_path / "params.json").read_bytes() == params.read_bytes()
    for name in ("real.mp4", "fake.mp4", "side_by_side.mp4"):
        assert np.array_equal(_decode(tmp_path / name), _decode(done / name))


def test_another_stream_is_blended_where_it_is_named(video: Path, tmp_path: Path) -> None:
    empty = _draw_video(tmp_path / "empty.mp4", seed=1, face=False)
    both = several(tmp_path / "both.mkv", empty, video, default=(0,))
    with pytest.raises(NoFaceError, match="another of its video streams than 0 with --stream"):
        synthesize(both, tmp_path / "o", faces=DrawnFace())
    record = synthesize(both, tmp_path / "o", stream=1, frames=2, faces=DrawnFace())
    assert record.stream == 1
    again = tmp_path / "again"
    synthesize(both, again, params=tmp_path / "o" / "params.json", faces=DrawnFace())
    for name in FILES:
        assert (again / name).read_bytes() == (tmp_path / "o" / name).read_bytes()


def test_films_are_as_fast_as_the_frames_whatever_the_file_claims(
    video: Path, tmp_path: Path
) -> None:
    leaping = remuxed(video, tmp_path / "leaping.mp4", jump=3600)
    assert probe(leaping).frames_per_second < 0.01
    synthesize(leaping, tmp_path / "o", frames=2, faces=DrawnFace())
    assert probe(tmp_path / "o" / "fake.mp4").frames_per_second == pytest.approx(25)


def test_another_seed_gives_other_pixels(done: Path, video: Path, tmp_path: Path) -> None:
    synthesize(video, tmp_path, seed=4, frames=10, faces=DrawnFace())
    assert not np.array_equal(_decode(tmp_path / "fake.mp4"), _decode(done / "fake.mp4"))


def test_parameters_of_another_video(done: Path, tmp_path: Path) -> None:
    other = _draw_video(tmp_path / "other.mp4", seed=2)
    with pytest.raises(InputError, match=r"another video, drawn\.mp4 .* not to .*other\.mp4"):
        synthesize(other, tmp_path / "o", params=done / "params.json", faces=DrawnFace())
    assert not (tmp_path / "o").exists()


def test_a_renamed_video_is_the_same_video(done: Path, video: Path, tmp_path: Path) -> None:
    renamed = Path(shutil.copy(video, tmp_path / "renamed.mp4"))
    synthesize(renamed, tmp_path / "o", params=done / "params.json", faces=DrawnFace())
    assert np.array_equal(_decode(tmp_path / "o/fake.mp4"), _decode(done / "fake.mp4"))


@pytest.mark.parametrize("content", ["", "[1, 2]", '{"format": "fakestormer-synthesis-1"}'])
def test_broken_parameters(content: str, video: Path, tmp_path: Path) -> None:
    broken = tmp_path / "params.json"
    broken.write_text(content)
    with pytest.raises(InputError, match=r"params\.json: not a params\.json"):
        synthesize(video, tmp_path / "o", params=broken, faces=DrawnFace())


@pytest.mark.parametrize("change", [{"margin": 200}, {"frames": 3}])
def test_edited_parameters_that_cannot_be_rendered(
    change: dict[str, int], done: Path, video: Path, tmp_path: Path
) -> None:
    record = json.loads((done / "params.json").read_text())
    if "frames" in change:
        record["params"]["frames"] *= change["frames"]
    else:
        record["params"] |= change
    edited = tmp_path / "edited.json"
    edited.write_text(json.dumps(record))
    with pytest.raises(InputError, match=r"edited\.json: its parameters cannot be rendered"):
        synthesize(video, tmp_path / "o", params=edited, faces=DrawnFace())
    assert not (tmp_path / "o").exists()


def test_crops_with_an_odd_side(video: Path, tmp_path: Path) -> None:
    odd = override(SMALL, ["crop.stored_size=63"])
    synthesize(video, tmp_path, frames=2, recipe=odd, faces=DrawnFace())
    real = _decode(tmp_path / "real.mp4")
    assert real.shape == (2, 64, 64, 3)
    assert np.abs(real[:, -1].astype(int) - real[:, -2]).mean() < 3


def test_an_output_that_is_no_folder(video: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="file: is a file; give a folder"):
        synthesize(video, tmp_path / "file", faces=DrawnFace())
    with pytest.raises(InputError, match="below: cannot be written"):
        synthesize(video, tmp_path / "file" / "below", frames=2, recipe=SMALL, faces=DrawnFace())
    assert (tmp_path / "file").read_text() == "mine"


def test_parameters_whose_face_is_gone(done: Path, video: Path, tmp_path: Path) -> None:
    record = json.loads((done / "params.json").read_text())
    for field, value, message in (
        ("track", 7, "Face 8 is not found"),
        ("first_index", 6, "frames 6 to 15"),
        ("face_backend", "dlib", "face backend dlib"),
    ):
        changed = tmp_path / f"{field}.json"
        changed.write_text(json.dumps(record | {field: value}))
        with pytest.raises(InputError, match=message):
            synthesize(video, tmp_path / "o", params=changed, faces=DrawnFace())


def test_no_face_and_no_file(tmp_path: Path) -> None:
    empty = _draw_video(tmp_path / "empty.mp4", seed=1, face=False)
    with pytest.raises(NoFaceError, match=r"empty\.mp4: no face"):
        synthesize(empty, tmp_path / "o", faces=DrawnFace())
    with pytest.raises(InputError, match=r"missing\.mp4: cannot be read"):
        synthesize(tmp_path / "missing.mp4", tmp_path / "o", faces=DrawnFace())
    with pytest.raises(InputError, match=r"missing\.json: cannot be read"):
        synthesize(empty, tmp_path / "o", params=tmp_path / "missing.json", faces=DrawnFace())
    assert not (tmp_path / "o").exists()


def test_maps_as_pictures() -> None:
    values = np.array([[[0.0, 0.5], [1.0, 2.0]]], np.float32)
    assert grey(values)[0, 1].tolist() == [[0, 128], [255, 255]]
    hot = heat(values, 8)
    assert hot.shape == (1, 3, 8, 8)
    assert hot[0, :, 0, 0].sum() < 30, "0 is dark"
    assert hot[0, 0, 7, 7] > 200, "1 is bright"
    pictures = np.full((1, 3, 2, 2), 100, np.uint8)
    laid = overlay(pictures, values)
    assert laid[0, :, 0, 0].tolist() == [80, 80, 80]
    assert laid[0, 0, 1, 1] > 220
    assert laid[0, 1, 1, 1] < 60


def test_side_by_side_has_even_sides() -> None:
    panel = np.zeros((2, 3, 15, 15), np.uint8)
    film = side_by_side([("a", panel), ("b", panel), ("c", panel)])
    assert film.shape[:2] == (2, 3)
    assert film.shape[2] % 2 == film.shape[3] % 2 == 0


def test_sheet_puts_pictures_in_their_columns() -> None:
    pictures = np.zeros((2, 3, 16, 16), np.uint8)
    pictures[1, 2] = 255
    rows = [SheetRow(label="x", pictures_tchw=pictures), SheetRow(label="p", numbers_t=[0.1, 0.2])]
    block = SheetBlock(heading="h", rows=rows)
    sheet = contact_sheet("title", ["frame 0", "frame 1"], [block], tile=32)
    y, x = np.nonzero((sheet == (0, 0, 255)).all(axis=-1))
    assert len(x) == 32 * 32
    black = (sheet == 0).all(axis=-1)
    assert black[y.min() : y.max() + 1].sum(axis=1).max() == 32
    assert np.nonzero(black[y.min()])[0].max() < x.min()
    with pytest.raises(ValueError, match="pictures or numbers"):
        SheetRow(label="neither")


def test_real_video(shared_data: Path, tmp_path: Path) -> None:
    from fakestormer.faces.face_models import models_present

    if not models_present():
        pytest.skip("the face models are not set up; run `fakestormer setup`")
    video = shared_data / "real" / "liveportrait_001.mp4"
    record = synthesize(video, tmp_path, seed=1, frames=8, faces="blazeface")
    assert record.frame_count == 8
    assert _decode(tmp_path / "fake.mp4").shape == (8, 256, 256, 3)
