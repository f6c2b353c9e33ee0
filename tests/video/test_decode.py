"""Frames, times and facts of files of many kinds; one clear sentence for those that are none."""

from __future__ import annotations

import itertools
import json
import zlib

import numpy as np
import pytest

from fakestormer.errors import InputError
from fakestormer.video import decode, seek
from fakestormer.video.decode import (
    FrameReader,
    KeptFrames,
    probe,
    stream_frames,
    stream_frames_at,
)

# (suffix, codec, pixel format, encoder options)
KINDS = {
    "h264 with B-frames, one GOP": (
        ".mp4",
        "libx264",
        "yuv420p",
        {"bf": "3", "g": "250", "x264-params": "b-adapt=0:scenecut=0"},
    ),
    "h264, short open GOPs": (
        ".mp4",
        "libx264",
        "yuv420p",
        {"x264-params": "bframes=3:b-adapt=0:keyint=12:min-keyint=12:open-gop=1:scenecut=0"},
    ),
    "h264 in Matroska": (".mkv", "libx264", "yuv420p", {"g": "15", "bf": "2"}),
    "hevc 10 bit": (
        ".mp4",
        "libx265",
        "yuv420p10le",
        {"x265-params": "log-level=none:keyint=20:bframes=3:pools=1"},
    ),
    "vp9 in WebM": (
        ".webm",
        "libvpx-vp9",
        "yuv420p",
        {"g": "20", "deadline": "realtime", "cpu-used": "8", "lag-in-frames": "10"},
    ),
    "vp8 in WebM": (
        ".webm",
        "libvpx",
        "yuv420p",
        {"g": "20", "deadline": "realtime", "cpu-used": "8", "auto-alt-ref": "1"},
    ),
    "mpeg4 in AVI": (".avi", "mpeg4", "yuv420p", {"g": "12", "q": "3"}),
    "mpeg2 in a transport stream": (".ts", "mpeg2video", "yuv420p", {"g": "12", "bf": "2"}),
    "h264 in a transport stream": (".ts", "libx264", "yuv420p", {"g": "12", "bf": "2"}),
    "motion JPEG": (".mov", "mjpeg", "yuvj420p", {}),
    "animated GIF": (".gif", "gif", "rgb8", {}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_chosen_frames_have_the_same_pixels_as_decoding_everything(
    kind, tmp_path, make_video, numbered_frames, read_number
):
    suffix, codec, pixel_format, options = KINDS[kind]
    path = make_video(
        numbered_frames(110),
        tmp_path / f"v{suffix}",
        codec=codec,
        pixel_format=pixel_format,
        options=options,
    )
    every = list(stream_frames(path))

    assert [index for index, _, _ in every] == list(range(110))
    assert [read_number(rgb) for _, _, rgb in every] == list(range(110))
    for wanted in ([109], [0, 47, 48, 80, 81, 106], [100, 3, 100, 64], [70, 71, 72, 73]):
        got = list(stream_frames_at(path, wanted))
        assert [index for index, _, _ in got] == sorted(set(wanted))
        for index, seconds, rgb_hwc in got:
            assert seconds == every[index][1]
            assert np.array_equal(rgb_hwc, every[index][2]), f"{kind}: frame {index}"


@pytest.mark.parametrize(
    ("kind", "sought"),
    [
        ("h264, short open GOPs", True),
        ("vp9 in WebM", True),
        ("vp8 in WebM", False),  # hidden frames have packets of their own
        ("h264 in a transport stream", False),  # no index to trust
    ],
)
def test_seeking_decodes_little_where_it_can_be_trusted(
    kind, sought, tmp_path, make_video, numbered_frames, read_number, monkeypatch
):
    suffix, codec, pixel_format, options = KINDS[kind]
    path = make_video(
        numbered_frames(250),
        tmp_path / f"v{suffix}",
        codec=codec,
        pixel_format=pixel_format,
        options=options,
    )
    decoded = []
    real = seek.decoded

    def counted(container, stream):
        for frame in real(container, stream):
            decoded.append(frame.pts)
            yield frame

    monkeypatch.setattr(seek, "decoded", counted)
    if sought:
        got = [read_number(rgb) for _, _, rgb in seek.sought_frames(path, [71, 72, 241])]
        assert got == [71, 72, 241]
        assert len(decoded) < 60
    else:
        with pytest.raises(seek.UnforeseenError):
            list(seek.sought_frames(path, [71, 72, 241]))


def test_a_file_that_breaks_its_own_table_is_decoded_from_the_start(
    tmp_path, make_video, numbered_frames, read_number, monkeypatch
):
    path = make_video(numbered_frames(120), tmp_path / "v.mp4", options={"g": "10"})
    real = seek.decoded

    def one_lost(container, stream):
        for frame in real(container, stream):
            if frame.pts != 93 * 512:
                yield frame

    monkeypatch.setattr(seek, "decoded", one_lost)
    with pytest.raises(seek.UnforeseenError):
        list(seek.sought_frames(path, [20, 95]))
    got = [(index, read_number(rgb)) for index, _, rgb in stream_frames_at(path, [20, 95])]
    assert got == [(20, 20), (95, 95)]


def test_variable_frame_rate_times_are_exact(tmp_path, make_video, numbered_frames, read_number):
    gaps = [40, 7, 133, 40, 1, 500, 33]
    times = list(itertools.accumulate((gaps[k % 7] for k in range(99)), initial=0))
    options = {"bf": "2", "g": "10"}
    for suffix in (".mp4", ".mkv"):
        path = make_video(
            numbered_frames(100), tmp_path / f"v{suffix}", times_ms=times, options=options
        )
        every = list(stream_frames(path))

        assert [seconds for _, seconds, _ in every] == pytest.approx([t / 1000 for t in times])
        got = list(stream_frames_at(path, [5, 98, 66]))
        assert [seconds for _, seconds, _ in got] == [every[k][1] for k in (5, 66, 98)]
        assert [read_number(rgb) for _, _, rgb in got] == [5, 66, 98]


def test_a_stream_that_starts_late_starts_at_zero(tmp_path, make_video, numbered_frames):
    times = [2000 + 40 * k for k in range(80)]
    path = make_video(numbered_frames(80), tmp_path / "late.mkv", times_ms=times)
    seconds = [t for _, t, _ in stream_frames(path)]

    assert seconds[:3] == pytest.approx([0, 0.04, 0.08])
    assert next(stream_frames_at(path, [79]))[1] == seconds[79]


def test_a_stream_without_times_counts_frames_at_its_rate(tmp_path, make_video, numbered_frames):
    # A bare H.264 stream has no container, so no times; 25 frames per second are assumed.
    path = make_video(numbered_frames(80), tmp_path / "bare.h264", options={"bf": "0"})
    seconds = [t for _, t, _ in stream_frames(path)]

    assert seconds == pytest.approx([k / 25 for k in range(80)])
    assert next(stream_frames_at(path, [70]))[1] == seconds[70]


def test_times_that_run_backwards_and_sizes_that_change_on_the_way(
    tmp_path, make_video, numbered_frames, read_number
):
    # Two transport streams glued together: the second starts at its own time 0, in another size.
    options = {"g": "10", "bf": "0"}
    a = make_video(numbered_frames(20), tmp_path / "a.ts", options=options)
    b = make_video(numbered_frames(20, width=192, height=144), tmp_path / "b.ts", options=options)
    both = tmp_path / "both.ts"
    both.write_bytes(a.read_bytes() + b.read_bytes())
    every = list(stream_frames(both))
    times = [seconds for _, seconds, _ in every]

    assert all(first < second for first, second in itertools.pairwise(times))
    assert {rgb.shape for _, _, rgb in every} == {(96, 128, 3)}
    numbers = [read_number(rgb) for _, _, rgb in every]
    assert numbers[:20] == list(range(20))
    assert numbers[-15:] == list(range(5, 20))


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_rotation_metadata_is_applied(rotation, tmp_path, make_video, numbered_frames, read_number):
    upright = numbered_frames(90, width=96, height=128)
    # A camera turned by `rotation` stores the picture turned back.
    stored = [np.rot90(rgb, k=rotation // 90) for rgb in upright]
    path = make_video(stored, tmp_path / "turned.mp4", rotation=rotation, options={"g": "20"})
    info = probe(path)
    _, _, first = next(stream_frames(path))

    assert (info.width, info.height, info.rotation) == (96, 128, rotation)
    assert first.shape == (128, 96, 3)
    assert np.abs(first.astype(float) - upright[0]).mean() < 12
    got = stream_frames_at(path, [85, 3])
    assert [read_number(rgb) for _, _, rgb in got] == [3, 85]


def test_a_mirrored_display_matrix_is_applied(tmp_path, make_video, numbered_frames):
    upright = numbered_frames(2)
    path = make_video([f[:, ::-1] for f in upright], tmp_path / "selfie.mp4", mirrored=True)
    _, _, first = next(stream_frames(path))

    assert np.abs(first.astype(float) - upright[0]).mean() < 12


def test_probe_tells_the_facts_as_json(tmp_path, make_video, numbered_frames):
    path = make_video(numbered_frames(50), tmp_path / "v.mp4", fps=25, audio=True)
    info = probe(path)

    assert (info.width, info.height, info.frame_count) == (128, 96, 50)
    assert (info.codec, info.pixel_format) == ("h264", "yuv420p")
    assert info.frames_per_second == pytest.approx(25)
    assert info.duration_seconds == pytest.approx(2)
    assert json.loads(json.dumps(info.as_json()))["path"] == str(path)


def test_stop_gives_the_frames_before_it(tmp_path, make_video, numbered_frames, read_number):
    path = make_video(numbered_frames(30), tmp_path / "v.mp4")
    some = list(stream_frames(path, stop_index=11))

    assert [index for index, _, _ in some] == [*range(11)]
    assert [read_number(rgb) for _, _, rgb in some] == [*range(11)]


def test_a_truncated_file_gives_the_frames_that_decode(
    tmp_path, make_video, numbered_frames, read_number
):
    for suffix in (".mkv", ".ts", ".mp4"):
        # faststart: an MP4 whose index is at its end cannot be opened at all once truncated.
        options = {"movflags": "+faststart"} if suffix == ".mp4" else {}
        whole = make_video(numbered_frames(100), tmp_path / f"v{suffix}", options={"g": "10"})
        if options:
            whole = _with_index_in_front(whole, tmp_path / "front.mp4")
        cut = tmp_path / f"cut{suffix}"
        data = whole.read_bytes()
        cut.write_bytes(data[: len(data) * 6 // 10])
        numbers = [read_number(rgb) for _, _, rgb in stream_frames(cut)]

        assert 30 < len(numbers) < 90
        assert numbers[:-3] == list(range(len(numbers)))[:-3]
        with pytest.raises(InputError, match=rf"cut\{suffix}: ends before frame 99"):
            list(stream_frames_at(cut, [2, 99]))


def test_damage_in_the_middle_is_stepped_over(tmp_path, make_video, numbered_frames):
    path = make_video(numbered_frames(100), tmp_path / "v.ts", options={"g": "10", "bf": "0"})
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = bytes(range(250)) * 16
    path.write_bytes(data)
    times = [seconds for _, seconds, _ in stream_frames(path)]

    assert 60 < len(times) <= 101
    assert all(a < b for a, b in itertools.pairwise(times))
    assert times[-1] > 3.5


def _with_index_in_front(path, target):
    import av

    with (
        av.open(str(path)) as source,
        av.open(str(target), "w", options={"movflags": "faststart"}) as sink,
    ):
        stream = sink.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                sink.mux(packet)
    return target


def _bad_files(folder):
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("this is a letter, not a video\n" * 40)
    (folder / "list.mp4").write_text("#EXTM3U\n#EXTINF:2,\nother.ts\n#EXT-X-ENDLIST\n")
    (folder / "noise.mkv").write_bytes(np.random.default_rng(0).bytes(5000))
    (folder / "folder.mp4").mkdir()
    pixels = zlib.compress(b"\0" + bytes(3 * 8))
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")
        for kind, body in (
            (b"IHDR", (8).to_bytes(4, "big") + (1).to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])),
            (b"IDAT", pixels),
            (b"IEND", b""),
        )
    )
    (folder / "picture.png").write_bytes(png)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("missing.mp4", "no such file"),
        ("empty.mp4", "is empty"),
        ("folder.mp4", "is a folder"),
        ("text.mp4", "cannot be opened as a video"),
        ("list.mp4", "not a video|cannot be opened"),
        ("noise.mkv", "cannot be opened as a video"),
        ("picture.png", "still picture"),
    ],
)
def test_what_is_no_video_is_refused_in_one_sentence(name, says, tmp_path):
    _bad_files(tmp_path)
    path = tmp_path / name
    for use in (probe, lambda p: next(stream_frames(p)), lambda p: list(stream_frames_at(p, [0]))):
        with pytest.raises(InputError, match=says) as caught:
            use(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)


def test_sound_without_pictures_is_refused(tmp_path):
    import av

    path = tmp_path / "sound.m4a"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), "fltp", "mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))

    with pytest.raises(InputError, match=r"sound\.m4a: has no video stream"):
        probe(path)


def test_a_truncated_mp4_without_index_is_refused(tmp_path, make_video, numbered_frames):
    whole = make_video(numbered_frames(60), tmp_path / "v.mp4").read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: len(whole) // 2])

    with pytest.raises(InputError, match=r"cut\.mp4: cannot be opened .* incomplete"):
        probe(cut)


def test_a_file_of_which_no_frame_decodes_is_refused(tmp_path, make_video, numbered_frames):
    path = make_video(numbered_frames(10), tmp_path / "blank.mp4")
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    end = data.index(b"moov") - 4
    data[start:end] = bytes(end - start)
    path.write_bytes(data)

    for use in (probe, lambda p: list(stream_frames(p))):
        with pytest.raises(InputError, match=r"blank\.mp4: not one frame"):
            use(path)


def test_a_name_with_a_colon_is_a_file(tmp_path, make_video, numbered_frames):
    path = make_video(numbered_frames(3), tmp_path / "v.mp4").rename(tmp_path / "http:x.mp4")

    assert probe(path).frame_count == 3


def test_indices_that_cannot_be_are_refused(tmp_path, make_video, numbered_frames):
    path = make_video(numbered_frames(5), tmp_path / "v.mp4")

    with pytest.raises(InputError, match="ends before frame 5"):
        list(stream_frames_at(path, [5]))
    with pytest.raises(ValueError, match="count from 0"):
        list(stream_frames_at(path, [-1]))
    assert list(stream_frames_at(path, [])) == []


def test_a_reader_goes_on_where_it_stopped(
    tmp_path, make_video, numbered_frames, read_number, monkeypatch
):
    # A transport stream cannot be sought in.
    path = make_video(numbered_frames(120), tmp_path / "v.ts", options={"g": "10", "bf": "0"})
    opened = []
    real = decode.open_video
    monkeypatch.setattr(decode, "open_video", lambda p, n: opened.append(p) or real(p, n))
    with decode.FrameReader(path) as reader:
        got = [
            [read_number(rgb) for _, _, rgb in reader.at(wanted)]
            for wanted in ([2, 7], [8, 30], [70, 110], [90, 111])
        ]
        with pytest.raises(InputError, match="ends before frame 300"):
            list(reader.at([119, 300]))

    assert got == [[2, 7], [8, 30], [70, 110], [90, 111]]
    assert len(opened) == 2  # only what lay before 110 had to be decoded anew


@pytest.mark.parametrize("degrees", [0, 90])
def test_kept_frames_are_not_decoded_again(
    degrees, tmp_path, make_video, numbered_frames, monkeypatch
):
    path = make_video(numbered_frames(30), tmp_path / "v.mp4")
    kept = KeptFrames(frozenset({3, 4, 28}))
    frames = list(stream_frames(path, turned=degrees, keep=kept))
    path.rename(tmp_path / "elsewhere.mp4")
    with FrameReader(path, turned=degrees, kept=kept) as reader:
        for index, seconds, rgb_hwc in reader.at([4, 28]):
            assert seconds == frames[index][1]
            assert (rgb_hwc == frames[index][2]).all()
        with pytest.raises(InputError):  # of another frame the file is read
            list(reader.at([4, 5]))
    monkeypatch.setattr(decode, "_MOST_KEPT", 100)
    nothing = KeptFrames(frozenset({3}))
    list(stream_frames(tmp_path / "elsewhere.mp4", keep=nothing))
    assert not nothing.stored


def test_the_packets_of_a_file_are_read_once_until_it_changes(
    tmp_path, make_video, numbered_frames, read_number
):
    path = make_video(numbered_frames(100), tmp_path / "v.mp4", options={"g": "10"})
    seek._table_of.cache_clear()
    for _ in range(2):
        assert [read_number(rgb) for _, _, rgb in stream_frames_at(path, [3, 90])] == [3, 90]
    assert seek._table_of.cache_info().misses == 1
    make_video(numbered_frames(100)[::-1], path, options={"g": "10"})
    assert [read_number(rgb) for _, _, rgb in stream_frames_at(path, [3, 90])] == [96, 9]
    assert seek._table_of.cache_info().misses == 2
