"""Frames of a film to be written: what is drawn into changes, the rest is what was decoded."""

import itertools

import av
import cv2
import numpy as np
import pytest

from fakestormer.video.decode import stored_frames, stream_frames
from fakestormer.video.planes import ToPlanes, put_rgb, rgb_of

X264 = {"crf": "4"}
X265 = {"x265-params": "log-level=none:crf=4:pools=1"}


def soft_picture(width, height, dtype=np.uint8):
    """Colours that change slowly: 4:2:0 keeps them."""
    corners = np.array([[[200, 60, 40], [40, 180, 70]], [[30, 60, 200], [220, 220, 210]]])
    picture = cv2.resize(
        corners.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR
    )
    return (picture * (257 if dtype == np.uint16 else 1)).astype(dtype)


def planes_of(path, turned=0, longest=1280, below=0):
    """What makes the first frame a film's, and that."""
    (_, _, frame, upright) = next(itertools.islice(stored_frames(path), 1))
    to_planes = ToPlanes(upright, turned=turned, longest=longest, below=below)
    return to_planes, to_planes(frame)


def whole(film):
    return rgb_of(film, (0, 0, film.width, film.height)).astype(int)


@pytest.mark.parametrize(
    ("codec", "pixel_format", "tags", "size"),
    [
        ("libx264", "yuv420p", None, (320, 180)),  # read as BT.601
        ("libx264", "yuv420p", None, (64, 720)),  # read as BT.709
        ("libx264", "yuv420p", (6, 6, 6, 1), (320, 180)),
        ("libx264", "yuv420p", (1, 1, 1, 1), (320, 180)),
        ("libx264", "yuvj420p", (1, 1, 1, 2), (320, 180)),
        ("libx264", "yuvj420p", (6, 6, 6, 2), (320, 180)),
        ("libx264", "yuv444p", (1, 1, 1, 1), (319, 181)),
        ("libx265", "yuv420p10le", (1, 1, 1, 1), (320, 180)),
        ("libx265", "yuv420p10le", (9, 16, 9, 1), (320, 180)),  # HDR
        ("png", "rgb24", None, (319, 181)),
    ],
)
def test_a_films_frame_shows_what_detection_sees(
    codec, pixel_format, tags, size, tmp_path, make_video
):
    hdr = tags is not None and tags[1] == 16
    path = make_video(
        [soft_picture(*size, np.uint16 if hdr else np.uint8)] * 2,
        tmp_path / "v.mov",
        codec=codec,
        pixel_format=pixel_format,
        colour_tags=tags,
        options={"libx264": X264, "libx265": X265}.get(codec, {}),
    )
    _, _, rgb_hwc = next(stream_frames(path))
    to_planes, film = planes_of(path)
    assert to_planes.scale == 1.0
    assert (film.width, film.height) == tuple(side + side % 2 for side in size)
    off = whole(film)[: size[1], : size[0]] - rgb_hwc
    # swscale rounds twice on the way from one matrix to the other; the wrong one is off by 12.
    assert np.percentile(np.abs(off), 99) <= 5
    assert np.abs(off.mean(axis=(0, 1))).max() < 2.5


@pytest.mark.parametrize(("rotation", "turned"), [(90, 0), (180, 0), (0, 90), (90, 270)])
def test_turned_videos_are_upright_in_the_film(rotation, turned, tmp_path, make_video):
    path = make_video([soft_picture(160, 90)] * 2, tmp_path / "v.mp4", rotation=rotation)
    _, _, rgb_hwc = next(stream_frames(path, turned=turned))
    _, film = planes_of(path, turned=turned)
    assert (film.height, film.width) == rgb_hwc.shape[:2]
    assert np.abs(whole(film) - rgb_hwc).mean() < 2


@pytest.mark.parametrize("rotation", [0, 90])
def test_large_pictures_are_made_smaller_and_stand_above_the_bar(rotation, tmp_path, make_video):
    path = make_video([soft_picture(300, 180)] * 2, tmp_path / "v.mp4", rotation=rotation)
    _, _, rgb_hwc = next(stream_frames(path))
    to_planes, film = planes_of(path, longest=155, below=20)
    assert to_planes.scale == pytest.approx(155 / 300)
    width, height = to_planes.size
    assert sorted((width, height)) == [93, 155]
    assert (film.width, film.height) == (width + 1, height + 1 + 20)
    expected = cv2.resize(rgb_hwc, (width, height), interpolation=cv2.INTER_AREA)
    shown = whole(film)[: height + 1]
    assert np.abs(shown[:height, :width] - expected).mean() < 2
    assert np.abs(shown[height] - shown[height - 1]).max() <= 3, "repeated"
    assert np.abs(shown[:, width] - shown[:, width - 1]).max() <= 3, "repeated"


def test_only_what_is_written_changes(tmp_path, make_video):
    noise = np.random.default_rng(0).integers(0, 256, (90, 160, 3), np.uint8)
    path = make_video([noise] * 2, tmp_path / "v.mp4", colour_tags=(1, 1, 1, 1), options=X264)
    _, film = planes_of(path)
    (_, _, frame, _) = next(itertools.islice(stored_frames(path), 1))
    before = frame.to_ndarray()
    assert np.array_equal(film.to_ndarray(), before), "not even a rounding"
    area = (20, 10, 60, 40)
    picture = rgb_of(film, area)
    put_rgb(film, area, picture)
    # Y'CbCr has colours that RGB has not; the rest comes back but for rounding.
    assert np.median(np.abs(film.to_ndarray().astype(int) - before)[10:40, 20:60]) <= 1
    put_rgb(film, area, np.full_like(picture, (200, 60, 40)))
    changed = av.VideoFrame.from_ndarray(film.to_ndarray(), format="yuv420p")
    assert np.abs(rgb_of(changed, area).astype(int) - (200, 60, 40)).max() <= 2
    outside = np.ones((90, 160), bool)
    outside[10:40, 20:60] = False
    assert np.array_equal(film.to_ndarray()[:90][outside], before[:90][outside])
