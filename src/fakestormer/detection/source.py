"""What a detector takes: a video file, its bytes, or frames in memory; all are read the same way.

with opened(video, name=None, frames_per_second=None) as source:
    source.info(), source.frames(), source.reader(), ...
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from fakestormer.detection.provenance import content_credentials
from fakestormer.detection.quality import container_tags
from fakestormer.errors import InputError
from fakestormer.files import sha256_of
from fakestormer.types.arrays import Pixels
from fakestormer.video.colour import turn_clockwise
from fakestormer.video.decode import (
    Frame,
    FrameReader,
    KeptFrames,
    VideoInfo,
    probe,
    stream_frames,
)
from fakestormer.video.packets import PacketLog

#: The path of a video file, its bytes, a file open for reading bytes, or its frames: uint8
#: (T, H, W, 3), RGB.
Video = str | os.PathLike[str] | bytes | BinaryIO | Pixels

#: The name of a video that has none.
UNNAMED = "video"


@dataclass(frozen=True, slots=True)
class VideoFile:
    """A source on disk. stream: the number of its video stream, None for the one players show.

    name: its path in the report and in messages. turned: clockwise degrees, beyond what the file
    says. kept: frames that are kept from `frames` for `reader`, where they fit.
    """

    path: Path
    name: str
    stream: int | None
    turned: int = 0
    kept: KeptFrames | None = None

    def turned_clockwise(self, degrees: int) -> VideoFile:
        return replace(self, turned=degrees)

    def keeping(self, indices: Iterable[int]) -> VideoFile:
        return replace(self, kept=KeptFrames(frozenset(indices)))

    def info(self) -> VideoInfo:
        info = probe(self.path, self.stream).turned_clockwise(self.turned)
        return replace(info, path=self.name)

    def frames(self, log: PacketLog) -> Iterator[Frame]:
        return stream_frames(
            self.path, log=log, stream_number=self.stream, turned=self.turned, keep=self.kept
        )

    def reader(self) -> FrameReader:
        return FrameReader(self.path, self.stream, self.turned, self.kept)

    def sha256(self) -> str:
        return sha256_of(self.path)

    def tags(self) -> dict[str, str]:
        return container_tags(self.path, self.stream)

    def credentials(self, container: str) -> dict[str, Any]:
        return content_credentials(self.path, container)


@dataclass(frozen=True, slots=True)
class VideoArray:
    """A source in memory. pictures: uint8 (T, H, W, 3), RGB. rate: frames per second.

    turned: clockwise degrees by which its frames are turned.
    """

    pictures: Pixels
    rate: float
    name: str
    turned: int = 0

    def turned_clockwise(self, degrees: int) -> VideoArray:
        return replace(self, turned=degrees)

    def keeping(self, indices: Iterable[int]) -> VideoArray:
        return self

    def info(self) -> VideoInfo:
        count, height, width = self.pictures.shape[:3]
        return VideoInfo(
            path=self.name,
            container="array",
            codec="none",
            width=width,
            height=height,
            rotation=0,
            frames_per_second=self.rate,
            duration_seconds=count / self.rate,
            frame_count=count,
            pixel_format="rgb24",
            bit_rate=None,
        ).turned_clockwise(self.turned)

    def frames(self, log: PacketLog) -> Iterator[Frame]:
        return self._frames_at(range(len(self.pictures)))

    def reader(self) -> FrameReader:
        return _ArrayReader(self)

    def sha256(self) -> str:
        """The SHA-256 of the pixels, because there is no file."""
        return hashlib.sha256(np.ascontiguousarray(self.pictures).data).hexdigest()

    def tags(self) -> dict[str, str]:
        return {}

    def credentials(self, container: str) -> dict[str, Any]:
        return {"checked": False, "found": None, "reason": "container"}

    def _frames_at(self, indices: Iterable[int]) -> Iterator[Frame]:
        for index in indices:
            picture = np.ascontiguousarray(self.pictures[index])
            yield index, index / self.rate, turn_clockwise(picture, self.turned)


class _ArrayReader(FrameReader):
    def __init__(self, source: VideoArray) -> None:
        super().__init__(source.name)
        self._source = source

    def at(self, indices: Iterable[int]) -> Iterator[Frame]:
        return self._source._frames_at(sorted(set(indices)))


#: A video that can be read several times.
Source = VideoFile | VideoArray


@contextmanager
def opened(
    video: Video,
    *,
    name: str | None = None,
    frames_per_second: float | None = None,
    stream: int | None = None,
) -> Iterator[Source]:
    """The source of a video. Bytes lie in a temporary file until the context ends.

    Raises InputError for something that is no video; an InputError inside the context names the
    video by `name`.
    """
    if isinstance(video, np.ndarray):
        yield _array(video, frames_per_second, name or UNNAMED)
        return
    if frames_per_second is not None:
        raise InputError("frames_per_second is for frames only; a video file has its own times")
    if isinstance(video, str | os.PathLike):
        given = os.fspath(video)
        with _called(given, name) as called:
            yield VideoFile(Path(given), called, stream)
        return
    if name is None:
        named = getattr(video, "name", None)  # a number for files without a name
        name = named if isinstance(named, str) else UNNAMED
    with tempfile.TemporaryDirectory(prefix="fakestormer-") as folder:
        path = Path(folder) / "video"
        with path.open("wb") as file:
            if isinstance(video, bytes):
                file.write(video)
            elif hasattr(video, "read") and not isinstance(video, io.TextIOBase):
                shutil.copyfileobj(video, file)
            else:
                raise InputError(
                    f"a video cannot be a {type(video).__name__}; give a path, bytes, a file "
                    "opened in binary mode, or an array of frames"
                )
        with _called(str(path), name) as called:
            yield VideoFile(path, called, stream)


def _array(pictures: Pixels, rate: float | None, name: str) -> VideoArray:
    if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[3] != 3:
        raise InputError(
            f"{name}: expected frames as uint8 (T, H, W, 3), got {pictures.dtype} {pictures.shape}"
        )
    if not pictures.size:
        raise InputError(f"{name}: has no pixels, its shape is {pictures.shape}; give frames")
    if rate is None or not 0 < rate < float("inf"):
        raise InputError(f"{name}: an array of frames has no rate; give frames_per_second above 0")
    return VideoArray(pictures, float(rate), name)


@contextmanager
def _called(path: str, name: str | None) -> Iterator[str]:
    """The name, which replaces the path in the message of an InputError."""
    try:
        yield path if name is None else name
    except InputError as error:
        if name is not None:
            error.args = (str(error).replace(path, name),)
        raise
