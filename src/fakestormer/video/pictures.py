"""Faces that were cut out before we got them: folders and archives of pictures as video frames.

Some data sets come as face crops, one picture a frame, cut more tightly than ours or less so. To be
judged like every other face they are looked at as videos, and the face is found and cut out anew.

A tight crop leaves the detector no room: its border is repeated on every side, by a quarter of the
picture. Of 29 real faces cut out at 1.0, 1.1 and 1.3 times the face box, 17, 27 and 29 were
followed through 12 frames without that room, and all of them with it; landmarks move by 0.4 to 1 of
224 px.
"""

from __future__ import annotations

import gzip
import re
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from fakestormer.errors import InputError
from fakestormer.video.decode import Frame

#: What counts as a picture.
PICTURE = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp"})
#: Room made on each side, as a share of the picture's longer side.
ROOM = 0.25
#: Pictures have no times; reports and tracks count them at this rate.
NOMINAL_RATE = 25


def pictures_in(folder: Path) -> tuple[Path, ...]:
    """The pictures directly in a folder by the numbers in their names: 2.png before 10.png."""
    pictures = [p for p in folder.iterdir() if p.suffix.lower() in PICTURE and p.name[0] != "."]
    return tuple(sorted(pictures, key=lambda path: naturally(path.name)))


def stream_pictures(files: Sequence[Path], *, stop_index: int | None = None) -> Iterator[Frame]:
    """(index, seconds, rgb uint8 (H, W, 3)) of each picture that can be read, with room around it.

    All have the first one's size. Index counts what could be read, as `stream_frames` does. Raises
    InputError when nothing at all can.
    """
    size: tuple[int, int] | None = None
    index = 0
    for file in files:
        if stop_index is not None and index >= stop_index:
            return
        bgr_hwc = cv2.imread(str(file), cv2.IMREAD_COLOR)
        if bgr_hwc is None:
            continue
        size = size or (bgr_hwc.shape[1], bgr_hwc.shape[0])
        if (bgr_hwc.shape[1], bgr_hwc.shape[0]) != size:
            bgr_hwc = cv2.resize(bgr_hwc, size, interpolation=cv2.INTER_AREA)
        room = round(ROOM * max(size))
        padded = cv2.copyMakeBorder(bgr_hwc, room, room, room, room, cv2.BORDER_REPLICATE)
        yield index, index / NOMINAL_RATE, np.ascontiguousarray(padded[..., ::-1])
        index += 1
    if index == 0:
        where = files[0].parent if files else "this video"
        raise InputError(f"{where}: none of its {len(files)} pictures can be read; copy them again")


def find_sequences(folder: Path) -> list[tuple[str, tuple[Path, ...]]]:
    """Every folder that holds pictures, `folder` or one below it: (path below it, its pictures)."""
    folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    sequences = [(path.relative_to(folder).as_posix(), pictures_in(path)) for path in folders]
    return sorted(
        ((name, files) for name, files in sequences if files), key=lambda s: naturally(s[0])
    )


def unpack_pictures(archive: Path, folder: Path) -> None:
    """Unpack the pictures of a .tar or .tar.gz, and nothing else, below `folder`.

    Names that lead out of it, links and devices are left out. What a truncated archive still gives
    is kept; raises InputError where it gives nothing.
    """
    count = 0
    reason = "it holds no pictures"
    try:
        opened = tarfile.open(archive)  # noqa: SIM115, closed below
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        why = str(error).partition("\n")[0].rstrip(":")  # tarfile goes on with a line per format
        raise InputError(
            f"{archive}: cannot be opened as an archive ({why}); copy or download it again"
        ) from error
    with opened as members:
        try:
            for member in members:
                name = PurePosixPath(member.name)
                content = members.extractfile(member) if member.isfile() else None
                if content is None or not _is_inside(name) or name.suffix.lower() not in PICTURE:
                    continue
                picture = content.read()
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(picture)
                count += 1
        except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
            reason = str(error)
    if not count:
        raise InputError(f"{archive}: cannot be unpacked ({reason}); copy or download it again")


def _is_inside(name: PurePosixPath) -> bool:
    return not name.is_absolute() and ".." not in name.parts


def naturally(name: str) -> list[tuple[int, int, str]]:
    """Sort key by the numbers in a name: 2.png before 10.png."""
    return [
        (0, int(part), part) if part.isdecimal() else (1, 0, part)
        for part in re.split(r"(\d+)", name)
        if part
    ]
