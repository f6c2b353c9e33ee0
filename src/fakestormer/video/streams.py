"""Which video stream of a file is judged, where it has several.

Covers and previews are video streams to a container, with and without a flag that says so. What a
player shows is the stream that the file calls its default, and people watch what moves.
"""

from __future__ import annotations

import functools
import os
from collections import Counter
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from fakestormer.errors import InputError

_NOT_WATCHED = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
#: Packets that are read to see which streams move.
_LOOKED_AT = 2000


def video_streams(container: InputContainer) -> list[VideoStream]:
    """The streams that may be what people watch, in the file's order."""
    return [s for s in container.streams.video if not s.disposition & _NOT_WATCHED]


def choose_stream(
    container: InputContainer, path: str | Path, number: int | None = None
) -> VideoStream:
    """The stream to judge: of those that move the file's default, then the largest, then the first.

    Args:
        container: the open file, which is not read from.
        path: of the file.
        number: the stream to take instead, by its place among all streams of the file, from 0.

    Raises:
        InputError: there is no video stream, or none of that number.
    """
    if number is not None:
        for stream in container.streams.video:
            if stream.index == number:
                return stream
        numbers = ", ".join(str(stream.index) for stream in container.streams.video) or "none"
        raise InputError(
            f"{path}: stream {number} is no video stream; its video streams are: {numbers}"
        )
    streams = video_streams(container)
    if not streams:
        raise InputError(f"{path}: has no video stream (sound only?); give a file with pictures")
    if len(streams) == 1:
        return streams[0]
    moving = _moving_in(container, path)
    return max(
        streams,
        key=lambda stream: (
            stream.codec_context is not None,
            stream.index in moving,
            bool(stream.disposition & Disposition.default),
            stream.width * stream.height,
            -stream.index,
        ),
    )


def _moving_in(container: InputContainer, path: str | Path) -> frozenset[int]:
    status = os.stat(path)
    options = tuple(container.options.items())
    return _moving(str(path), status.st_size, status.st_mtime_ns, options)


@functools.lru_cache(maxsize=16)
def _moving(
    path: str, size: int, mtime_ns: int, options: tuple[tuple[str, str], ...]
) -> frozenset[int]:
    """The video streams of this state of a file that have more than one picture near its start.

    options: FFmpeg's, with which it is opened a second time.
    """
    pictures: Counter[int] = Counter()
    with av.open(f"file:{path}", metadata_errors="replace", options=dict(options)) as container:
        streams = container.streams.video
        try:
            for packet in container.demux(*streams):
                pictures[packet.stream_index] += packet.size > 0
                enough = all(pictures[stream.index] > 1 for stream in streams)
                if enough or pictures.total() >= _LOOKED_AT:
                    break
        except (av.FFmpegError, OSError):  # truncated: what came until here counts
            pass
    return frozenset(index for index, count in pictures.items() if count > 1)


def moving_streams(container: InputContainer, path: str | Path) -> int:
    """How many streams of a file may be what people watch: those that move, or all if none does."""
    streams = video_streams(container)
    if len(streams) < 2:
        return len(streams)
    moving = _moving_in(container, path)
    return sum(stream.index in moving for stream in streams) or len(streams)
