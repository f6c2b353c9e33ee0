"""Chosen frames of a video without decoding all of it, the same pixels as decoding all of it.

One pass over the packets (read, not decoded) tells every frame's pts and which are keyframes. A
wanted frame is reached from the last keyframe at or before it, unless the decoder is already
nearer. Each frame met on the way must have the pts that the table foretells; wherever the file
turns out otherwise, the caller decodes the rest from the beginning, which is always right.
Only containers with an index and codecs whose packets are one frame each are sought in at all.
"""

from __future__ import annotations

import bisect
import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from fakestormer.video.colour import RGB, ToRGB
from fakestormer.video.container import decoded, open_video

_CONTAINERS = {"mov", "mp4", "matroska", "webm"}
_CODECS = {"h264", "hevc", "av1", "vp9", "mpeg4", "mjpeg", "prores", "ffv1", "dnxhd"}
# A seek throws away the frames the decoder's threads have in hand: not for a gain this small.
_MIN_GAIN = 8


class UnforeseenError(Exception):
    """The file does not follow its packet table: decode sequentially instead."""


@dataclass(frozen=True, slots=True)
class _Table:
    """pts of every frame, ascending; positions of the keyframes among them, ascending."""

    pts: list[int]
    keyframes: list[int]
    time_base: Fraction

    def seconds(self, position: int) -> float:
        return float((self.pts[position] - self.pts[0]) * self.time_base)

    def keyframe_before(self, position: int) -> int:
        return self.keyframes[bisect.bisect_right(self.keyframes, position) - 1]


def sought_frames(
    path: str | Path, wanted: list[int], stream_number: int | None = None
) -> Iterator[tuple[int, float, RGB]]:
    """(index, pts_seconds, rgb (H, W, 3)) of the wanted frames, which ascend without repeats.

    Raises UnforeseenError as soon as the file is not as its packets foretell; what was given until
    then is right.
    """
    try:
        status = Path(path).stat()
    except OSError as error:
        raise UnforeseenError from error
    table = _table_of(str(path), status.st_size, status.st_mtime_ns, stream_number)
    if table is None or wanted[-1] >= len(table.pts):
        raise UnforeseenError
    with open_video(path, stream_number) as (container, stream):
        frames = _foretold(decoded(container, stream), table, 0)
        position, frame = next(frames, (-1, None))
        if frame is None:
            raise UnforeseenError
        upright = ToRGB(frame, str(path), stream.sample_aspect_ratio)
        for index in wanted:
            keyframe = table.keyframe_before(index)
            if keyframe - position >= _MIN_GAIN:
                _seek(container, stream, table.pts[keyframe])
                frames = _foretold(decoded(container, stream), table, keyframe)
            while position != index:
                position, frame = next(frames, (-1, None))
                if frame is None:
                    raise UnforeseenError
            yield index, table.seconds(index), upright(frame)


def _foretold(
    frames: Iterator[av.VideoFrame], table: _Table, start: int
) -> Iterator[tuple[int, av.VideoFrame]]:
    """(position, frame) from `start` on; frames shown before it may refer to lost ones."""
    position = start
    for frame in frames:
        if frame.pts is None:
            raise UnforeseenError
        if position == start and frame.pts < table.pts[start]:
            if start == 0:
                raise UnforeseenError
            continue
        if position >= len(table.pts) or frame.pts != table.pts[position]:
            raise UnforeseenError
        yield position, frame
        position += 1


def _seek(container: InputContainer, stream: VideoStream, pts: int) -> None:
    try:
        container.seek(pts, stream=stream)
    except (av.FFmpegError, OSError) as error:
        raise UnforeseenError from error


@functools.lru_cache(maxsize=4)
def _table_of(path: str, size: int, mtime_ns: int, stream_number: int | None) -> _Table | None:
    """The packet table of this state of a file, None when it has none to trust.

    Kept, because every face of a video asks for it, and reading all of a long file takes seconds.
    """
    with open_video(path, stream_number) as (container, stream):
        names = set(container.format.name.split(","))
        if not names & _CONTAINERS or stream.codec_context.name not in _CODECS:
            return None
        shown: list[tuple[int, bool]] = []
        try:
            for packet in container.demux(stream):
                if not packet.size or packet.is_discard:
                    continue
                if packet.pts is None or packet.is_corrupt:
                    return None
                shown.append((packet.pts, packet.is_keyframe))
        except (av.FFmpegError, OSError):
            return None
        shown.sort()
        pts = [time for time, _ in shown]
        keyframes = [k for k, (_, key) in enumerate(shown) if key]
        unique = all(a < b for a, b in itertools.pairwise(pts))
        if not shown or not unique or not keyframes or keyframes[0] != 0:
            return None
        assert stream.time_base is not None
        return _Table(pts=pts, keyframes=keyframes, time_base=stream.time_base)
