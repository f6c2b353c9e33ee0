"""Which lossless form is best for prepared tracks: random access to T frames first, then size.

    python benchmarks/track_store.py TRACKS/*.zip      # tracks of a store made by `prepare`

Each form holds the same face crops without loss (checked). Printed per form: time to write a frame,
bytes a frame, random clips of 4 consecutive frames read a second, and each as a ratio to what the
store uses (PNG, level 1), measured in the same run, in processor time of one thread.
"""

from __future__ import annotations

import argparse
import io
import platform
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np

T, CLIPS, ROUNDS = 4, 60, 3
Frames = np.ndarray
Write = Callable[[Frames], bytes]
Read = Callable[[bytes, int], Frames]


def pictures(suffix: str, options: list[int]) -> tuple[Write, Read]:
    """A ZIP of single pictures, stored."""

    def write(frames_thwc: Frames) -> bytes:
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as members:
            for number, frame in enumerate(frames_thwc):
                fine, encoded = cv2.imencode(suffix, frame[..., ::-1], options)
                assert fine
                members.writestr(f"{number:05d}", encoded.tobytes())
        return archive.getvalue()

    def read(content: bytes, first: int) -> Frames:
        with zipfile.ZipFile(io.BytesIO(content)) as members:
            clip = [members.read(f"{number:05d}") for number in range(first, first + T)]
        return np.stack(
            [
                cv2.imdecode(np.frombuffer(one, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
                for one in clip
            ]
        )

    return write, read


def raw() -> tuple[Write, Read]:
    """Nothing is compressed: how fast reading could be, and how large a store."""

    def write(frames_thwc: Frames) -> bytes:
        content = io.BytesIO()
        np.save(content, frames_thwc)
        return content.getvalue()

    def read(content: bytes, first: int) -> Frames:
        return np.load(io.BytesIO(content))[first : first + T].copy()

    return write, read


def video(codec: str, pixel_format: str, options: dict[str, str]) -> tuple[Write, Read]:
    """An intra-only film: every frame is a key frame."""

    def write(frames_thwc: Frames) -> bytes:
        content = io.BytesIO()
        with av.open(content, "w", format="matroska") as container:
            stream = container.add_stream(codec, rate=25, options=options)
            stream.height, stream.width = frames_thwc.shape[1:3]
            stream.pix_fmt = pixel_format
            stream.codec_context.gop_size = 1
            stream.thread_count = 1
            for number, frame in enumerate(frames_thwc):
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
                picture.pts = number
                container.mux(stream.encode(picture.reformat(format=pixel_format)))
            container.mux(stream.encode(None))
        return content.getvalue()

    def read(content: bytes, first: int) -> Frames:
        with av.open(io.BytesIO(content)) as container:
            stream = container.streams.video[0]
            stream.thread_count = 1
            assert stream.time_base is not None
            container.seek(round(first / 25 / stream.time_base), stream=stream)
            clip = []
            for frame in container.decode(stream):
                assert frame.time is not None
                if round(frame.time * 25) >= first:
                    clip.append(frame.to_ndarray(format="rgb24"))
                if len(clip) == T:
                    break
        return np.stack(clip)

    return write, read


FORMS: dict[str, tuple[Write, Read]] = {
    "PNG level 1 (the store)": pictures(".png", [cv2.IMWRITE_PNG_COMPRESSION, 1]),
    "PNG level 0": pictures(".png", [cv2.IMWRITE_PNG_COMPRESSION, 0]),
    "PNG level 6": pictures(".png", [cv2.IMWRITE_PNG_COMPRESSION, 6]),
    "WebP lossless": pictures(".webp", [cv2.IMWRITE_WEBP_QUALITY, 101]),
    "FFV1, intra-only": video("ffv1", "bgr0", {"level": "3"}),
    "H.264 RGB lossless, intra-only": video(
        "libx264rgb", "rgb24", {"qp": "0", "preset": "ultrafast", "g": "1"}
    ),
    "not compressed": raw(),
}


def tracks_of(paths: list[Path]) -> list[Frames]:
    """The crops of stored tracks, uint8 (T, S, S, 3)."""
    tracks = []
    for path in paths:
        with zipfile.ZipFile(path) as members:
            names = sorted(name for name in members.namelist() if name.endswith(".png"))
            pngs = [np.frombuffer(members.read(name), np.uint8) for name in names]
        frames = [cv2.imdecode(png, cv2.IMREAD_COLOR)[..., ::-1] for png in pngs]
        if len(frames) > T:
            tracks.append(np.ascontiguousarray(np.stack(frames)))
    return tracks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tracks", nargs="+", type=Path)
    tracks = tracks_of(parser.parse_args().tracks)
    cv2.setNumThreads(1)
    count = sum(len(track) for track in tracks)
    side = tracks[0].shape[1]
    print(f"{len(tracks)} tracks, {count} crops of {side} px, {platform.machine()}, one thread\n")
    print("| form | write, ms a frame | KB a frame | clips of 4 read a second | reading | size |")
    print("| --- | --- | --- | --- | --- | --- |")
    reference: tuple[float, float] | None = None
    for name, (write, read) in FORMS.items():
        began = time.process_time()
        contents = [write(track) for track in tracks]
        written = (time.process_time() - began) / count
        size = sum(len(content) for content in contents) / count
        rng = np.random.default_rng(0)
        wanted = [
            (number, int(rng.integers(len(tracks[number]) - T + 1)))
            for number in rng.integers(len(tracks), size=CLIPS)
        ]
        for number, first in wanted[:8]:
            assert np.array_equal(read(contents[number], first), tracks[number][first : first + T])
        times = []
        for _ in range(ROUNDS):
            began = time.process_time()
            for number, first in wanted:
                read(contents[number], first)
            times.append(time.process_time() - began)
        rate = CLIPS / min(times)
        reference = reference or (rate, size)
        print(
            f"| {name} | {1000 * written:.1f} | {size / 1000:.0f} | {rate:.0f} | "
            f"{rate / reference[0]:.2f}x | {size / reference[1]:.2f}x |"
        )


if __name__ == "__main__":
    main()
