"""Any video file -> upright 8-bit RGB frames with their index and exact time (PyAV).

Index: position in presentation order among the frames that decode, from 0. Time: seconds from the
first frame, from the stream's own presentation times (pts), so that variable frame rate is exact.
Where a pts is missing or does not increase, the time is the previous frame's plus one average
frame, so that times always increase.

What cannot be decoded is left out and not counted; a truncated file simply ends early.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from fakestormer.errors import InputError
from fakestormer.video.colour import RGB, ToRGB, turn_clockwise
from fakestormer.video.container import average_rate, decoded, nothing_decodes, open_video
from fakestormer.video.packets import PacketLog
from fakestormer.video.seek import UnforeseenError, sought_frames
from fakestormer.video.streams import moving_streams

Frame = tuple[int, float, RGB]
#: (index, seconds, frame as decoded, what makes it upright RGB)
StoredFrame = tuple[int, float, av.VideoFrame, ToRGB]

# What an MPEG-1 header says instead of a rate: 0x3FFFF units of 400 bit/s.
_MPEG_VARIABLE_RATE = 104_857_200
#: What kept frames of a video may take, in pixels as they are stored: about 130 MB of 4:2:0, for
#: 32 frames of 1920 x 1080.
_MOST_KEPT = 32 * 1920 * 1088
# Up to here decoding from the start costs less than reading a whole long file's packets.
_SEQUENTIAL_BELOW = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoInfo:
    """What a file says about its video stream.

    width, height: upright, of square pixels, after rotation. rotation: clockwise degrees (0, 90,
    180, 270) that were applied because the file says so; turned: further ones, because the faces
    were not upright. frames_per_second: average. duration_seconds: 0 where nothing tells
    it. frame_count: the container's claim, None where it makes none. bit_rate: of the video stream,
    else the file. stream: its number in the file. pixel_aspect: width over height of a stored
    pixel, such as "16/11". other_streams: video streams beside this one that move.
    """

    path: str
    container: str
    codec: str
    width: int
    height: int
    rotation: int
    frames_per_second: float
    duration_seconds: float
    frame_count: int | None
    pixel_format: str
    bit_rate: int | None
    stream: int = 0
    pixel_aspect: str = "1"
    other_streams: int = 0
    turned: int = 0

    def turned_clockwise(self, degrees: int) -> VideoInfo:
        """The same of the video turned by 0, 90, 180 or 270 degrees."""
        sides = (self.width, self.height) if degrees % 180 == 0 else (self.height, self.width)
        return dataclasses.replace(self, width=sides[0], height=sides[1], turned=degrees)

    def as_json(self) -> dict[str, Any]:
        """The same facts as plain JSON values."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, slots=True)
class KeptFrames:
    """Frames that will be asked for again, kept as they were decoded: no second decoding.

    wanted: their indices. Where all of them would take too much memory, none is kept.
    """

    wanted: frozenset[int]
    stored: dict[int, StoredFrame] = field(default_factory=dict)

    def see(self, stored: StoredFrame) -> None:
        """Keep a frame, if it is wanted."""
        index, _, frame, _ = stored
        if index in self.wanted and len(self.wanted) * frame.width * frame.height <= _MOST_KEPT:
            self.stored[index] = stored


def probe(path: str | Path, stream_number: int | None = None) -> VideoInfo:
    """Facts about a video; decodes one frame, so a result means that the video opens.

    stream_number: of the video stream that is meant; see `streams.choose_stream`.

    Raises InputError with one sentence when there is no video to decode.
    """
    with open_video(path, stream_number) as (container, stream):
        first = next(decoded(container, stream), None)
        if first is None:
            raise nothing_decodes(path)
        upright = ToRGB(first, str(path), stream.sample_aspect_ratio)
        rate = average_rate(stream)
        seconds = 0.0
        if stream.duration is not None and stream.time_base is not None:
            seconds = float(stream.duration * stream.time_base)
        elif container.duration is not None:
            seconds = container.duration / 1_000_000
        elif stream.frames:
            seconds = float(stream.frames / rate)
        return VideoInfo(
            path=str(path),
            container=container.format.name,
            codec=stream.codec_context.name,
            width=upright.width,
            height=upright.height,
            rotation=upright.orientation.clockwise_degrees,
            frames_per_second=float(rate),
            duration_seconds=max(0.0, seconds),
            frame_count=stream.frames or None,
            pixel_format=first.format.name,
            bit_rate=_bit_rate(stream, container),
            stream=stream.index,
            pixel_aspect=str(upright.aspect),
            other_streams=max(0, moving_streams(container, path) - 1),
        )


def lasts_longer(path: str | Path, seconds: float, stream_number: int) -> bool:
    """Whether the pictures of a video stream go on for longer, by its packets' times.

    Reads until it is known, and decodes nothing. Where packets have no times: False.

    Raises:
        InputError: where the file cannot be opened as a video.
    """
    with open_video(path, stream_number) as (container, stream):
        first: int | None = None
        for packet in container.demux(stream):
            if packet.pts is None or stream.time_base is None:
                continue
            first = packet.pts if first is None else min(first, packet.pts)
            if (packet.pts - first) * stream.time_base > seconds:
                return True
    return False


def stream_frames(
    path: str | Path,
    *,
    stop_index: int | None = None,
    log: PacketLog | None = None,
    stream_number: int | None = None,
    turned: int = 0,
    keep: KeptFrames | None = None,
) -> Iterator[Frame]:
    """Decode from the beginning: (index, pts_seconds, rgb uint8 (H, W, 3)) of each frame.

    Yields the frames before stop_index. Holds one frame at a time. A file that is damaged in the
    middle gives the frames that decode. log: takes down the packets and frames; what is missing
    once the stream has ended. stream_number: see `probe`. turned: clockwise degrees, 0, 90, 180 or
    270, beyond what the file says. keep: keeps frames for a `FrameReader`. Raises InputError when
    the file cannot be opened or no frame at all decodes.
    """
    with closing(stored_frames(path, log, stream_number)) as frames:
        for index, seconds, frame, upright in frames:
            if stop_index is not None and index >= stop_index:
                return
            if keep is not None:
                keep.see((index, seconds, frame, upright))
            yield index, seconds, turn_clockwise(upright(frame), turned)


def stream_frames_at(
    path: str | Path, indices: Iterable[int], *, stream_number: int | None = None
) -> Iterator[Frame]:
    """The frames with these indices, ascending, each once, as `stream_frames` would give them.

    Raises InputError when the video ends before one of them; ValueError for a negative index.
    """
    with FrameReader(path, stream_number) as reader:
        yield from reader.at(indices)


class FrameReader:
    """Chosen frames of one file, asked for again and again: `with FrameReader(path) as reader`.

    Where a file cannot be sought in, decoding goes on from where the last call stopped, if that is
    early enough: faces that follow one another then cost one pass, not one each. stream_number,
    turned: as in `stream_frames`. kept: of an earlier `stream_frames` of the same file; where it
    has all frames that are asked for, nothing is decoded.
    """

    def __init__(
        self,
        path: str | Path,
        stream_number: int | None = None,
        turned: int = 0,
        kept: KeptFrames | None = None,
    ) -> None:
        self._path = path
        self._kept = {} if kept is None else kept.stored
        self._stream_number = stream_number
        self._turned = turned
        self._can_seek = True
        self._frames: Generator[StoredFrame, None, None] | None = None
        self._next = 0  # index of the frame that `_frames` gives next

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def at(self, indices: Iterable[int]) -> Iterator[Frame]:
        """As `stream_frames_at`. One call's frames are to be taken before the next call."""
        for index, seconds, rgb_hwc in self._as_the_file_says(indices):
            yield index, seconds, turn_clockwise(rgb_hwc, self._turned)

    def _as_the_file_says(self, indices: Iterable[int]) -> Iterator[Frame]:
        wanted = sorted(set(indices))
        if wanted and wanted[0] < 0:
            raise ValueError(f"stream_frames_at: frame indices count from 0, got {wanted[0]}")
        if self._kept.keys() >= set(wanted):
            for index in wanted:
                _, seconds, frame, upright = self._kept[index]
                yield index, seconds, upright(frame)
            return
        given = 0
        if wanted and wanted[-1] >= _SEQUENTIAL_BELOW and self._can_seek:
            try:
                for found in sought_frames(self._path, wanted, self._stream_number):
                    yield found
                    given += 1
            except UnforeseenError:
                self._can_seek = False
        for index in wanted[given:]:
            stored = self._reach(index)
            if stored is None:
                raise InputError(
                    f"{self._path}: ends before frame {wanted[-1]}; it has changed or is "
                    "truncated: prepare or copy it again"
                )
            _, seconds, frame, upright = stored
            yield index, seconds, upright(frame)

    def _reach(self, index: int) -> StoredFrame | None:
        """The frame with this index by decoding on, or all anew where that is passed."""
        if self._frames is None or index < self._next:
            self._stop()
            self._frames = stored_frames(self._path, stream_number=self._stream_number)
            self._next = 0
        for stored in self._frames:
            self._next = stored[0] + 1
            if stored[0] == index:
                return stored
        return None

    def _stop(self) -> None:
        if self._frames is not None:
            self._frames.close()
            self._frames = None


def stored_frames(
    path: str | Path, log: PacketLog | None = None, stream_number: int | None = None
) -> Generator[StoredFrame, None, None]:
    """Every frame that decodes; nothing is converted. InputError when there is none."""
    with open_video(path, stream_number) as (container, stream):
        upright: ToRGB | None = None
        frames = decoded(container, stream, log)
        for index, (seconds, frame) in enumerate(_timed(frames, stream)):
            if log is not None:
                log.frame(frame)
            upright = upright or ToRGB(frame, str(path), stream.sample_aspect_ratio)
            yield index, seconds, frame, upright
        if upright is None:
            raise nothing_decodes(path)
        if log is not None:
            log.finish(container, stream, path)


def _bit_rate(stream: VideoStream, container: InputContainer) -> int | None:
    claimed = stream.bit_rate
    if claimed == _MPEG_VARIABLE_RATE:
        claimed = None
    return claimed or container.bit_rate or None


def _timed(
    frames: Iterator[av.VideoFrame], stream: VideoStream
) -> Iterator[tuple[float, av.VideoFrame]]:
    """Each frame with its time in seconds from the first one; times always increase."""
    step = float(1 / average_rate(stream))
    zero: int | None = None
    last: float | None = None
    for frame in frames:
        seconds: float | None = None
        if frame.pts is not None and frame.time_base is not None:
            # A video whose first frames have no pts still starts at 0.
            zero = frame.pts if zero is None else zero
            seconds = float((frame.pts - zero) * frame.time_base)
        if last is None:
            seconds = 0.0
        elif seconds is None or seconds <= last:
            seconds = last + step
        last = seconds
        yield seconds, frame
