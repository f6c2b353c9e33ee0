"""Animated pictures are videos: WebP, AVIF, GIF and APNG; single ones are not."""

from __future__ import annotations

import numpy as np
import pytest

from fakestormer.errors import InputError
from fakestormer.video.decode import FrameReader, probe, stream_frames
from fakestormer.video.folder import find_videos
from fakestormer.video.packets import PacketLog

pillow = pytest.importorskip("PIL.Image", reason="pillow writes the animations")


def animation(frames, path, **how):
    """Write an animation with pillow; `how` are its options."""
    pictures = [pillow.fromarray(frame) for frame in frames]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], **how)
    return path


@pytest.mark.parametrize("suffix", [".webp", ".avif", ".gif", ".png"])
def test_an_animation_is_a_video(suffix, tmp_path, numbered_frames, read_number):
    path = animation(numbered_frames(20), tmp_path / f"v{suffix}", duration=40)
    info = probe(path)
    every = list(stream_frames(path))

    assert (info.width, info.height) == (128, 96)
    assert info.frames_per_second == pytest.approx(25)
    assert [read_number(rgb) for _, _, rgb in every] == list(range(20))
    assert [seconds for _, seconds, _ in every] == pytest.approx([k / 25 for k in range(20)])
    with FrameReader(path) as reader:
        for wanted in ([3, 11], [5], [19]):
            assert [read_number(rgb) for _, _, rgb in reader.at(wanted)] == wanted


def test_webp_pictures_that_change_a_part_of_the_canvas(tmp_path, numbered_frames):
    frames = numbered_frames(12)
    for frame in frames[1:]:  # only a corner moves, so that the writer keeps the rest
        frame[:, :96] = frames[0][:, :96]
    lossless = animation(frames, tmp_path / "v.webp", duration=100, lossless=True)

    for (_, _, rgb), wanted in zip(stream_frames(lossless), frames, strict=True):
        assert np.array_equal(rgb, wanted)


def test_transparent_webp_is_drawn_over_what_was_there(tmp_path):
    red = np.full((40, 60, 4), (200, 0, 0, 255), np.uint8)
    half = np.zeros((40, 60, 4), np.uint8)
    half[:, 30:] = (0, 0, 100, 128)
    path = animation([red, half], tmp_path / "v.webp", duration=100, lossless=True, minimize_size=0)
    expected = [np.asarray(pillow.open(path).convert("RGB"))]
    with pillow.open(path) as reference:
        reference.seek(1)
        # Over black, as a picture of no colour.
        seen = np.asarray(reference.convert("RGBA")).astype(float)
    expected.append((seen[..., :3] * seen[..., 3:] / 255).round().astype(np.uint8))

    for (_, _, rgb), wanted in zip(stream_frames(path), expected, strict=True):
        assert np.abs(rgb.astype(int) - wanted).max() <= 2


def test_a_cut_webp_gives_what_is_there_and_says_so(tmp_path, numbered_frames):
    whole = animation(numbered_frames(20), tmp_path / "v.webp", duration=40)
    log = PacketLog()
    list(stream_frames(whole, log=log))
    assert not log.damaged
    assert log.bits_per_frame(0, 19) == pytest.approx(8 * whole.stat().st_size / 20, rel=0.1)

    cut = tmp_path / "cut.webp"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    log = PacketLog()
    assert 5 < len(list(stream_frames(cut, log=log))) < 15
    assert log.damaged


@pytest.mark.parametrize("suffix", [".webp", ".avif", ".gif", ".png"])
def test_in_a_folder_pictures_that_move_are_videos(suffix, tmp_path, numbered_frames, caplog):
    animation(numbered_frames(3), tmp_path / f"film{suffix}", duration=40)
    animation(numbered_frames(1), tmp_path / f"photo{suffix}")
    (tmp_path / f"broken{suffix}").write_bytes((tmp_path / f"film{suffix}").read_bytes()[:11])
    with caplog.at_level("INFO"):
        assert find_videos(tmp_path) == [f"film{suffix}"]
    assert caplog.messages == [f"{tmp_path}: left out as no videos: 2 {suffix}"]
    (tmp_path / f"film{suffix}").unlink()
    with pytest.raises(InputError, match=f"left out as no videos: 2 {suffix}"):
        find_videos(tmp_path)


def test_a_single_picture_is_no_video(tmp_path, numbered_frames):
    path = tmp_path / "one.webp"
    pillow.fromarray(numbered_frames(1)[0]).save(path)

    with pytest.raises(InputError, match=r"one\.webp: is a still picture"):
        probe(path)
