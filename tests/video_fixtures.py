"""Videos made by code, for every room's tests: nothing is downloaded, nobody real is copied.

`make_video` encodes frames with any codec, container, times, rotation and colour tags.
`numbered_frames` carry their number in their pixels, so that a test can tell which one it got.
`astronaut_video` shows the public-domain portrait of scikit-image, moving; two of them; with a cut.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import av
import numpy as np
import pytest
from numpy.typing import NDArray

import drawn_faces
from fakestormer.faces import face_models

RGB = NDArray[np.uint8]
_BITS = 8


def decode_times(packets: Sequence[av.Packet]) -> None:
    """Give packets, in decoding order, the decode times that their presentation times ask for.

    x265 in FFmpeg 8 leaves them uninitialised for short films: now and then mov and mp4 refuse
    them (PatchWelcomeError), and Matroska those that lie after the presentation time (EINVAL).
    """
    shown = [packet.pts for packet in packets]
    ordered = sorted(shown)
    delay = max(due - pts for due, pts in zip(ordered, shown, strict=True))
    for packet, due in zip(packets, ordered, strict=True):
        packet.dts = due - delay


def write_video(
    frames: Sequence[RGB],
    path: Path,
    *,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    fps: int = 25,
    times_ms: Sequence[int] | None = None,
    rotation: int = 0,
    mirrored: bool = False,
    colour_tags: tuple[int, int, int, int] | None = None,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    audio: bool = False,
) -> Path:
    """Encode uint8 or uint16 (H, W, 3) RGB frames; the suffix of `path` chooses the container.

    times_ms: presentation time of each frame, instead of a constant rate. rotation: clockwise
    degrees that a player must turn the stored picture. colour_tags: primaries, transfer, matrix,
    range, FFmpeg's numbers. options, container_options: FFmpeg's, of codec and muxer.
    audio: a silent sound track beside it.
    """
    height, width = frames[0].shape[:2]
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", container_options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=fps, options=options or {})
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        if times_ms is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if rotation or mirrored:
            if not hasattr(stream, "set_display_rotation"):
                pytest.skip("this version of PyAV writes no rotation")
            stream.set_display_rotation(-rotation, hflip=mirrored)
        if colour_tags:
            context = stream.codec_context
            context.color_primaries, context.color_trc = colour_tags[:2]
            context.colorspace, context.color_range = colour_tags[2:]
        sound = container.add_stream("aac", rate=16000, layout="mono") if audio else None
        packets: list[av.Packet] = []
        for number, rgb_hwc in enumerate(frames):
            layout = "rgb24" if rgb_hwc.dtype == np.uint8 else "rgb48le"
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb_hwc), format=layout)
            if colour_tags:
                frame = frame.reformat(
                    format=pixel_format,
                    dst_colorspace=colour_tags[2] if colour_tags[2] != 6 else 5,
                    dst_color_range=colour_tags[3],
                )
                frame.color_primaries, frame.color_trc = colour_tags[:2]
            frame.pts = number if times_ms is None else times_ms[number]
            frame.time_base = Fraction(1, fps) if times_ms is None else Fraction(1, 1000)
            packets += stream.encode(frame)
        packets += stream.encode(None)
        if codec == "libx265":
            decode_times(packets)
        container.mux(packets)
        if sound is not None:
            silence = np.zeros((1, 16000), np.float32)
            tone = av.AudioFrame.from_ndarray(silence, format="fltp", layout="mono")
            tone.sample_rate = 16000
            container.mux(sound.encode(tone))
            container.mux(sound.encode(None))
    return path


def number_frames(count: int, *, width: int = 128, height: int = 96) -> list[RGB]:
    """Frames with their number as 8 black or white blocks along the top, motion below."""
    y, x = np.mgrid[:height, :width]
    frames = []
    for number in range(count):
        wave = 127 + 60 * np.sin((x + 3 * number) / 9.0) + 60 * np.cos((y - 2 * number) / 7.0)
        rgb_hwc = np.stack([wave, wave[::-1], np.full_like(wave, 90)], axis=-1)
        for bit in range(_BITS):
            left, right = bit * width // _BITS, (bit + 1) * width // _BITS
            rgb_hwc[: height // 4, left:right] = 255 * (number >> bit & 1)
        frames.append(np.clip(rgb_hwc, 0, 255).astype(np.uint8))
    return frames


def number_of(rgb_hwc: RGB) -> int:
    """The number that `number_frames` wrote, read from an upright frame of any size."""
    height, width = rgb_hwc.shape[:2]
    row = rgb_hwc[height // 8].astype(float).mean(axis=-1)
    lit = [row[int((bit + 0.5) * width / _BITS)] > 127 for bit in range(_BITS)]
    return sum(1 << bit for bit, on in enumerate(lit) if on)


def astronaut_frames(
    count: int = 24,
    *,
    faces: int = 1,
    cut_at: int | None = None,
    width: int = 480,
    height: int = 360,
) -> list[RGB]:
    """A portrait drifting over a plain background; with `faces=2` a second one beside it.

    cut_at: from this frame on another scene, mirrored and on another background. The face is about
    70 px wide, and moves by about a pixel per frame, never steadily.
    """
    data = pytest.importorskip("skimage.data", reason="scikit-image is needed for the test face")
    portrait = data.astronaut()[:240, 110:330]
    y, x = np.mgrid[:height, :width]
    frames = []
    for number in range(count):
        second_scene = cut_at is not None and number >= cut_at
        ground = 150 - 80 * (x / width) if second_scene else 40 + 120 * (y / height)
        tint = [0.4, 0.6, 1.0] if second_scene else [1.0, 0.9, 0.8]
        rgb_hwc = (ground[..., None] * np.array(tint)).astype(np.uint8)
        shown = portrait[:, ::-1] if second_scene else portrait
        top = 40 + round(6 * np.sin(number / 5)) + (30 if second_scene else 0)
        lefts = [20 + round(8 * np.sin(number / 7)), 245 - round(8 * np.sin(number / 6))]
        if second_scene and faces == 1:
            lefts = lefts[::-1]
        for left in lefts[:faces]:
            rgb_hwc[top : top + 240, left : left + 220] = shown
        frames.append(rgb_hwc)
    return frames


@pytest.fixture(scope="session")
def drawn() -> ModuleType:
    """The module drawn_faces.py: videos of drawn faces, and a backend that finds them."""
    return drawn_faces


@pytest.fixture(scope="session")
def make_video() -> Callable[..., Path]:
    """`make_video(frames, path, **how)`: see `write_video`."""
    return write_video


@pytest.fixture(scope="session")
def numbered_frames() -> Callable[..., list[RGB]]:
    """`numbered_frames(count, width=, height=)`: see `number_frames`."""
    return number_frames


@pytest.fixture(scope="session")
def read_number() -> Callable[[RGB], int]:
    """`read_number(rgb_hwc)`: see `number_of`."""
    return number_of


@pytest.fixture(scope="session")
def astronaut_video() -> Callable[..., Path]:
    """`astronaut_video(path, count=, faces=, cut_at=, width=, height=, how={})`."""

    def make(
        path: Path,
        *,
        count: int = 24,
        faces: int = 1,
        cut_at: int | None = None,
        width: int = 480,
        height: int = 360,
        how: dict[str, object] | None = None,
    ) -> Path:
        frames = astronaut_frames(count, faces=faces, cut_at=cut_at, width=width, height=height)
        return write_video(frames, path, **(how or {}))  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def face_backend_ready() -> None:
    """Skips where the face models are not set up."""
    if not face_models.models_present():
        pytest.skip("the face models are not set up: run `fakestormer setup` (make test does)")
