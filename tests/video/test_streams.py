"""Of several video streams the one that people watch; pixels that are not square."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from fakestormer.errors import InputError
from fakestormer.video.colour import pixel_aspect
from fakestormer.video.container import open_video
from fakestormer.video.decode import probe, stream_frames, stream_frames_at
from odd_files import remuxed, several


@pytest.fixture(scope="module")
def films(tmp_path_factory, make_video, numbered_frames):
    """Films by name, each of another size."""
    folder = tmp_path_factory.mktemp("films")
    black = [np.zeros((96, 128, 3), np.uint8)] * 80
    return {
        "film": make_video(numbered_frames(80), folder / "film.mp4", options={"g": "10"}),
        "large": make_video(numbered_frames(20, width=192, height=144), folder / "large.mp4"),
        "black": make_video(black, folder / "black.mp4"),
        "preview": make_video(numbered_frames(80, width=64, height=64), folder / "preview.mp4"),
        "still": make_video(
            numbered_frames(1, width=640, height=640),
            folder / "still.mkv",
            codec="mjpeg",
            pixel_format="yuvj420p",
        ),
    }


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
@pytest.mark.parametrize(
    ("names", "default", "judged"),
    [
        (("black", "film"), (1,), 1),  # a black lead stream
        (("film", "large"), (0,), 0),
        (("preview", "film"), (), 1),  # no default: the largest
        (("preview", "film"), (0, 1), 1),
        (("still", "film"), (), 1),  # a cover without its flag
        (("still", "film"), (0,), 1),  # and as the default
        (("film", "still"), (0, 1), 0),
        (("black", "film"), (), 0),  # equal: the first
    ],
)
def test_the_stream_that_people_watch(suffix, names, default, judged, films, tmp_path):
    path = several(tmp_path / f"v{suffix}", *(films[name] for name in names), default=default)
    alone = list(stream_frames(films[names[judged]]))
    if suffix == ".mp4" and not default:
        # The muxer makes the first stream of an MP4 the default where none is.
        with open_video(path) as (container, _):
            flagged = [bool(s.disposition & 1) for s in container.streams.video]
        if flagged[0] and not flagged[1]:
            pytest.skip("no MP4 without a default stream")

    info = probe(path)

    assert info.stream == judged
    assert info.other_streams == sum(name != "still" for name in names) - 1
    every = list(stream_frames(path))
    assert len(every) == len(alone)
    assert all(np.array_equal(a[2], b[2]) for a, b in zip(every, alone, strict=True))
    ((_, _, last),) = stream_frames_at(path, [len(alone) - 1])
    assert np.array_equal(last, alone[-1][2])


def test_a_stream_that_is_named_is_taken(films, tmp_path):
    path = several(tmp_path / "v.mkv", films["black"], films["film"], default=(1,))

    with open_video(path, 0) as (_, stream):
        assert stream.index == 0
    with (
        pytest.raises(InputError, match=r"v\.mkv: stream 7 is no video stream; .* are: 0, 1"),
        open_video(path, 7),
    ):
        pass


def test_what_cannot_be_meant_is_no_aspect():
    assert pixel_aspect(None) == pixel_aspect(0) == 1
    assert pixel_aspect(Fraction(16, 11)) == Fraction(16, 11)
    assert pixel_aspect(Fraction(1, 2)) == Fraction(1, 2)
    assert pixel_aspect(Fraction(4096, 4095)) == 1
    assert pixel_aspect(Fraction(100)) == pixel_aspect(Fraction(1, 100)) == 1
    assert pixel_aspect(Fraction(-2)) == 1


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".ts", ".flv", ".h264"])
@pytest.mark.parametrize(
    ("aspect", "size"),
    [(Fraction(2), (256, 96)), (Fraction(1, 2), (128, 192)), (Fraction(4, 3), (171, 96))],
)
def test_pixels_are_made_square(
    suffix, aspect, size, films, tmp_path, make_video, numbered_frames, read_number
):
    if suffix in (".mp4", ".mov"):  # by the container
        path = remuxed(films["film"], tmp_path / f"v{suffix}", aspect=aspect)
    else:  # by the pictures' own header
        options = {"x264-params": f"sar={aspect.numerator}\\:{aspect.denominator}", "bf": "0"}
        path = make_video(numbered_frames(80), tmp_path / f"v{suffix}", options=options)
    info = probe(path)

    assert (info.width, info.height, info.pixel_aspect) == (*size, str(aspect))
    first = next(stream_frames(path))[2]
    assert first.shape == (size[1], size[0], 3)
    for wanted in ([3], [70, 79]):
        got = list(stream_frames_at(path, wanted))
        assert [read_number(rgb) for _, _, rgb in got] == wanted
        assert {rgb.shape for _, _, rgb in got} == {first.shape}


def test_the_aspect_of_a_turned_picture_is_that_of_its_stored_pixels(
    tmp_path, make_video, numbered_frames, read_number
):
    upright = numbered_frames(4, width=96, height=128)
    squeezed = [np.rot90(rgb)[:, ::2] for rgb in upright]  # half as wide as it is stored
    turned = make_video(squeezed, tmp_path / "turned.mp4", rotation=90)
    path = remuxed(turned, tmp_path / "both.mov", aspect=Fraction(2))
    info = probe(path)

    assert (info.width, info.height, info.rotation) == (96, 128, 90)
    for (number, _, rgb), wanted in zip(stream_frames(path), upright, strict=True):
        assert read_number(rgb) == number
        assert np.abs(rgb.astype(float) - wanted).mean() < 14
