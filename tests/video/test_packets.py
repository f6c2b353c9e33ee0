"""Packets taken down while a stream is decoded, by hand and of files that lack some."""

from __future__ import annotations

from array import array

import pytest

from fakestormer.video.decode import stream_frames
from fakestormer.video.packets import PacketLog
from fakestormer.video.structure import ends_early


def test_bits_of_a_stretch_count_from_its_keyframe_by_hand():
    log = PacketLog(
        times=array("q", [0, 3, 1, 2, 4, 5]),  # as they lie in the file
        sizes=array("q", [100, 10, 10, 10, 60, 10]),
        keys=array("b", [1, 0, 0, 0, 1, 0]),
        shown=array("q", [0, 1, 2, 3, 4, 5]),
    )
    assert log.bits_per_frame(0, 5) == pytest.approx(8 * 200 / 6)
    assert log.bits_per_frame(2, 3) == pytest.approx(8 * 130 / 4)  # from frame 0 on
    assert log.bits_per_frame(5, 5) == pytest.approx(8 * 70 / 2)  # from frame 4 on
    assert PacketLog().bits_per_frame(0, 0) is None


def test_without_times_all_of_the_stream_counts(tmp_path, make_video, numbered_frames):
    path = make_video(numbered_frames(12), tmp_path / "bare.h264", options={"bf": "0"})
    log = PacketLog()
    list(stream_frames(path, log=log))
    assert log.bits_per_frame(3, 4) == pytest.approx(8 * path.stat().st_size / 12, rel=0.02)


@pytest.mark.parametrize("suffix", [".mkv", ".avi", ".webm"])
def test_where_a_file_ends_inside_its_packets(suffix, tmp_path, make_video, numbered_frames):
    codec = {".mkv": "libx264", ".avi": "mpeg4", ".webm": "libvpx"}[suffix]
    whole = make_video(numbered_frames(60), tmp_path / f"v{suffix}", codec=codec)
    formats = {".mkv": {"matroska"}, ".avi": {"avi"}, ".webm": {"webm"}}[suffix]
    content = whole.read_bytes()
    cut = tmp_path / f"cut{suffix}"

    assert not ends_early(whole, formats)
    for share in (0.7, 0.8, 0.9):
        cut.write_bytes(content[: int(len(content) * share)])
        assert ends_early(cut, formats)
    # Only the index behind the packets is lost: nothing that is shown is missing.
    cut.write_bytes(content[:-8])
    assert not ends_early(cut, formats)
    for odd in (b"", content[:5], b"\0" * 100, b"\x1a\x45\xdf\xa3\xff"):
        cut.write_bytes(odd)
        assert not ends_early(cut, formats)


def test_damage_in_the_middle_is_counted(tmp_path, make_video, numbered_frames):
    path = make_video(numbered_frames(60), tmp_path / "v.mp4", options={"g": "10"})
    content = bytearray(path.read_bytes())
    middle = content.index(b"mdat") + (len(content) - content.index(b"mdat")) // 3
    content[middle : middle + 300] = bytes(range(250)) + bytes(50)
    path.write_bytes(content)
    log = PacketLog()
    list(stream_frames(path, log=log))

    assert log.undecodable > 0
    assert log.damaged
    assert log.missing == 0
