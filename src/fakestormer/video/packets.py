"""The packets of one video stream, taken down while it is decoded: how many bits, what is missing.

Containers announce rates, durations and numbers of frames, and these need not be true: they count
sound, subtitles and attachments, too. What is counted here was read from the file.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from fakestormer.video.structure import ends_early

#: What a time is where a packet or a frame has none.
_NO_TIME = -(2**63)
#: Containers whose index names every packet that they give.
_INDEXED = {"mov", "mp4"}


@dataclass(slots=True)
class PacketLog:
    """What was read and decoded of one video stream; 25 bytes a packet.

    times, sizes, keys: pts (in the stream's own ticks), bytes and "starts a picture of its own" of
    each packet that is to be shown. shown: pts of each frame that was decoded. pixels: of a frame
    as it is stored. read: packets that came, with those that an edit list hides. undecodable:
    packets and frames that are damaged. missing: packets that the file's index has and the file has
    not. cut_short: the file ends inside of something that it began. breaks: places where a
    transport stream does not go on as it should: packets were lost, or recordings were joined.
    """

    times: array[int] = field(default_factory=lambda: array("q"))
    sizes: array[int] = field(default_factory=lambda: array("q"))
    keys: array[int] = field(default_factory=lambda: array("b"))
    shown: array[int] = field(default_factory=lambda: array("q"))
    pixels: int = 0
    read: int = 0
    undecodable: int = 0
    missing: int = 0
    cut_short: bool = False
    breaks: int = 0

    def packet(self, packet: av.Packet[VideoStream]) -> None:
        """Take a packet down."""
        if not packet.size:
            return
        self.read += 1
        if packet.is_discard:
            return
        self.add(pts=packet.pts, size=packet.size, key=packet.is_keyframe)
        self.breaks += packet.is_corrupt

    def add(self, *, pts: int | None, size: int, key: bool) -> None:
        """Take down a packet that is to be shown."""
        self.times.append(_NO_TIME if pts is None else pts)
        self.sizes.append(size)
        self.keys.append(key)

    def frame(self, frame: av.VideoFrame) -> None:
        """Take a decoded frame down."""
        self.shown.append(_NO_TIME if frame.pts is None else frame.pts)
        self.pixels = frame.width * frame.height
        # The first pictures of a recording that begins anywhere refer to what was never recorded.
        self.undecodable += frame.is_corrupt and len(self.shown) > 1

    def failed(self) -> None:
        """Take down that a packet cannot be decoded."""
        self.undecodable += bool(self.shown)

    def finish(self, container: InputContainer, stream: VideoStream, path: str | Path) -> None:
        """Find out, at the end of the stream, what should have come and did not."""
        names = set(container.format.name.split(","))
        if "mpegts" not in names:
            self.undecodable += self.breaks
            self.breaks = 0
        if names & _INDEXED:
            # Empty samples are how some programs write that the picture stays.
            announced = sum(entry.size > 0 for entry in stream.index_entries)
            self.missing = max(0, announced - self.read)
        self.cut_short |= ends_early(Path(path), names)

    @property
    def damaged(self) -> bool:
        """Whether a part of the stream is missing or cannot be decoded."""
        return bool(self.undecodable or self.missing or self.cut_short)

    def bits_per_frame(self, first: int, last: int) -> float | None:
        """Bits that each frame took, of the frames first to last; None where none was read.

        Counted from the keyframe on that the first of them is built on. Where packets or frames
        have no times, all of the stream counts.
        """
        if not self.sizes or not self.shown:
            return None
        sizes = np.frombuffer(self.sizes, np.int64)
        times = np.frombuffer(self.times, np.int64)
        shown = np.frombuffer(self.shown, np.int64)
        if (times == _NO_TIME).any() or (shown == _NO_TIME).any():
            return 8 * float(sizes.sum()) / len(shown)
        starts = times[(np.frombuffer(self.keys, np.int8) != 0) & (times <= shown[first])]
        begin = starts.max() if len(starts) else shown[first]
        frames = int(((shown >= begin) & (shown <= shown[last])).sum())
        return 8 * float(sizes[(times >= begin) & (times <= shown[last])].sum()) / max(1, frames)
