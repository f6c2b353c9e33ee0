"""Pixel formats and colour spaces to 8-bit RGB; HDR to a picture that looks right."""

from __future__ import annotations

import numpy as np
import pytest

from fakestormer.video.colour import tone_map
from fakestormer.video.decode import probe, stream_frames

PQ, HLG, BT709 = 16, 18, 1
PATCHES = [(255, 255, 255), (0, 0, 0), (200, 60, 40), (40, 180, 70), (30, 60, 200), (128, 128, 128)]


def patches(width=192, height=64, dtype=np.uint8):
    frame = np.zeros((height, width, 3), dtype)
    for k, colour in enumerate(PATCHES):
        frame[:, k * width // 6 : (k + 1) * width // 6] = colour
    return frame if dtype == np.uint8 else frame * 257


def centres(rgb_hwc):
    height, width = rgb_hwc.shape[:2]
    return [rgb_hwc[height // 2, (2 * k + 1) * width // 12].astype(int) for k in range(6)]


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format", "tags"),
    [
        ("601", "libx264", "yuv420p", (6, 6, 6, 1)),
        ("709", "libx264", "yuv420p", (1, 1, 1, 1)),
        ("709 full range", "libx264", "yuvj420p", (1, 1, 1, 2)),
        ("709 4:4:4", "libx264", "yuv444p", (1, 1, 1, 1)),
        ("10 bit", "libx265", "yuv420p10le", (1, 1, 1, 1)),
        ("RGB", "png", "rgb24", None),
        ("16 bit RGB", "png", "rgb48be", None),
    ],
)
def test_colours_survive(name, codec, pixel_format, tags, tmp_path, make_video):
    options = {"crf": "4"} if codec == "libx264" else {}
    if codec == "libx265":
        options = {"x265-params": "log-level=none:crf=4:pools=1"}
    path = make_video(
        [patches()] * 2,
        tmp_path / "v.mov",
        codec=codec,
        pixel_format=pixel_format,
        colour_tags=tags,
        options=options,
    )
    _, _, rgb_hwc = next(stream_frames(path))

    assert rgb_hwc.dtype == np.uint8
    for got, expected in zip(centres(rgb_hwc), PATCHES, strict=True):
        assert np.abs(got - expected).max() <= 5, f"{name}: {got} instead of {expected}"


def test_an_untagged_matrix_is_bt709_in_hd_and_bt601_below(tmp_path, make_video):
    shown = {}
    for width, height in ((1280, 720), (320, 180)):
        frame = patches(width, height)
        path = make_video([frame], tmp_path / f"{width}.mp4", options={"crf": "4"})
        _, _, rgb_hwc = next(stream_frames(path))
        shown[width] = centres(rgb_hwc)[2]

    # The encoder wrote BT.601 in both: (200, 60, 40) has Y 99.6, Cb -33.6, Cr 71.6. Read as BT.709,
    # G = 99.6 + 0.1873 * 33.6 - 0.4681 * 71.6 = 72.4.
    assert np.abs(shown[320] - PATCHES[2]).max() <= 5
    assert shown[1280][1] == pytest.approx(72.4, abs=4)


def test_tone_mapping_by_hand():
    # PQ code of 203 cd/m2 is 0.5807 (BT.2408); black is black; HLG's 75 % is the same white.
    pq = np.array([[[0.0] * 3, [0.5807] * 3, [1.0] * 3]]) * 65535
    hlg = np.array([[[0.0] * 3, [0.75] * 3, [1.0] * 3]]) * 65535
    # White 1 lies above the shoulder: 0.75 + 0.25 (1 - e^-1) = 0.908, gamma 2.4 -> 245.
    for codes, transfer in ((pq, PQ), (hlg, HLG)):
        got = tone_map(codes.round().astype(np.uint16), transfer)[0]
        assert got[0].tolist() == [0, 0, 0]
        assert got[1].tolist() == pytest.approx([245] * 3, abs=1)
        assert got[2].min() >= 254


def test_tone_mapping_is_monotonic_and_keeps_hue():
    grey = np.repeat(np.linspace(0, 65535, 600).astype(np.uint16)[None, :, None], 3, axis=2)
    for transfer in (PQ, HLG):
        steps = np.diff(tone_map(grey, transfer)[0].astype(int), axis=0)
        assert (steps >= 0).all()
    skin = tone_map(np.array([[[33000, 28000, 25000]]], np.uint16), PQ)[0, 0].astype(int)
    assert skin[0] > skin[1] > skin[2]


@pytest.mark.parametrize(("transfer", "mid"), [(PQ, 0.45), (HLG, 0.5)])
def test_hdr_video_is_converted_not_refused(transfer, mid, tmp_path, make_video):
    frame = np.full((96, 128, 3), round(mid * 65535), np.uint16)
    frame[:, 64:] = 0
    path = make_video(
        [frame] * 2,
        tmp_path / "hdr.mkv",
        codec="libx265",
        pixel_format="yuv420p10le",
        colour_tags=(9, transfer, 9, 1),
        options={"x265-params": "log-level=none:crf=4:pools=1"},
    )
    assert probe(path).pixel_format == "yuv420p10le"
    _, _, rgb_hwc = next(stream_frames(path))

    expected = tone_map(frame[:1, :1], transfer)[0, 0]
    assert np.abs(rgb_hwc[48, 32].astype(int) - expected.astype(int)).max() <= 4
    assert rgb_hwc[48, 96].max() <= 4
    assert 100 < expected[0] < 220
