"""An entry of a data set -> the units that are followed and scored, each a stream of frames.

A video file is one unit, a folder of pictures is one, and an archive (or folder) of sequences is as
many as it holds sequences.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from fakestormer.data.listing import Entry
from fakestormer.errors import InputError
from fakestormer.files import sha256_of
from fakestormer.video.colour import turn_clockwise
from fakestormer.video.decode import Frame, VideoInfo, probe, stream_frames
from fakestormer.video.objects import fetched, size_and_time
from fakestormer.video.pictures import (
    find_sequences,
    pictures_in,
    stream_pictures,
    unpack_pictures,
)

#: How the name of a folder begins into which an archive is unpacked for a while.
UNPACKED = ".unpacked-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """video: its name in the store. frames: decodes it anew, from the beginning.

    frame_limit: the most frames that this gives. pictures: the names of all pictures, without
    suffix; empty for a film. info: what its file says; None where it is no film.
    """

    video: str
    sha256: str
    frames: Callable[[], Iterator[Frame]]
    frame_limit: int | None = None
    pictures: tuple[str, ...] = ()
    info: Callable[[], VideoInfo] | None = None

    def turned(self, degrees: int) -> Iterator[Frame]:
        """Its frames, turned clockwise by 0, 90, 180 or 270 degrees."""
        for index, seconds, rgb_hwc in self.frames():
            yield index, seconds, turn_clockwise(rgb_hwc, degrees)

    def at(self, indices: Collection[int]) -> Iterator[Frame]:
        """The frames with these indices; decodes no further than to the last of them."""
        last = max(indices)
        for frame in self.frames():
            if frame[0] in indices:
                yield frame
            if frame[0] >= last:
                return


@contextmanager
def at_hand(entry: Entry) -> Iterator[Entry]:
    """The entry with its file; an object is fetched, and its file gone afterwards.

    Raises InputError where it cannot be fetched.
    """
    if not entry.address:
        yield entry
        return
    with fetched(entry.address) as file:
        yield replace(entry, path=file)


@contextmanager
def units_of(
    entry: Entry, *, max_frames: int | None, scratch: Path, stream: int | None = None
) -> Iterator[list[Unit]]:
    """The units of an entry; archives lie unpacked below `scratch` until the context ends."""
    if entry.kind == "video":
        yield [
            Unit(
                video=entry.video,
                sha256=sha256_of(entry.path),
                frames=partial(
                    stream_frames, entry.path, stop_index=max_frames, stream_number=stream
                ),
                frame_limit=max_frames,
                info=partial(probe, entry.path, stream),
            )
        ]
    elif entry.kind == "pictures":
        if not entry.frames and not entry.path.is_dir():
            raise InputError(f"{entry.path}: no such folder of pictures; check the path")
        files = entry.frames or pictures_in(entry.path)
        yield [_pictures(entry.video, files, max_frames)]
    elif entry.path.is_dir():
        yield _sequences(entry, entry.path, max_frames)
    else:
        if not entry.path.is_file():
            raise InputError(f"{entry.path}: no such archive; check the path")
        scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=UNPACKED, dir=scratch) as folder:
            unpack_pictures(entry.path, Path(folder))
            yield _sequences(entry, Path(folder), max_frames)


def stamp_of(entry: Entry) -> list[int]:
    """What changes when the entry's content does: sizes and modification times, not the content.

    Empty when it is gone.
    """
    if entry.address:
        return list(size_and_time(entry.address) or ())
    try:
        if entry.path.is_dir():
            files = entry.frames or sorted(p for p in entry.path.rglob("*") if p.is_file())
            facts = [file.stat() for file in files]
            return [
                len(facts),
                sum(fact.st_size for fact in facts),
                max((fact.st_mtime_ns for fact in facts), default=0),
            ]
        fact = entry.path.stat()
    except OSError:
        return []
    return [fact.st_size, fact.st_mtime_ns]


def _sequences(entry: Entry, folder: Path, max_frames: int | None) -> list[Unit]:
    sequences = find_sequences(folder)
    if not sequences:
        raise InputError(f"{entry.path}: holds no pictures; copy or download it again")
    return [
        _pictures(entry.video if name == "." else f"{entry.video}/{name}", files, max_frames)
        for name, files in sequences
    ]


def _pictures(video: str, files: Sequence[Path], max_frames: int | None) -> Unit:
    digest = hashlib.sha256()
    for file in files:
        if not file.is_file():
            raise InputError(f"{file}: no such picture, though the data set's list names it")
        digest.update(f"{file.name} {sha256_of(file)}\n".encode())
    frames = partial(stream_pictures, files, stop_index=max_frames)
    return Unit(
        video=video,
        sha256=digest.hexdigest(),
        frames=frames,
        frame_limit=max_frames,
        pictures=tuple(file.stem for file in files),
    )
