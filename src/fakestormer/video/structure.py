"""Whether a file ends before the part that holds its packets does, where FFmpeg does not say so.

Matroska and AVI write the size of that part in front of it. FFmpeg takes what is there and ends as
if that were all. A file that lacks only the index behind its packets is whole.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

_EBML, _SEGMENT, _CLUSTER = 0x1A45DFA3, 0x18538067, 0x1F43B675
#: Matroska's parts that come behind the packets: the index, and tags.
_BEHIND = {0x1C53BB6B, 0x1254C367}


def ends_early(path: Path, formats: set[str]) -> bool:
    """Whether packets that a Matroska or AVI file announces lie beyond its end.

    Args:
        path: the file.
        formats: what FFmpeg calls its container, e.g. {"matroska", "webm"}.

    Returns:
        False for other containers, and where the file does not say how long it is.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if formats & {"matroska", "webm"}:
            return _matroska_ends_early(file, size)
        return "avi" in formats and _avi_ends_early(file, size)


def _matroska_ends_early(file: BinaryIO, size: int) -> bool:
    number, length = _element(file)
    if number != _EBML or length is None:
        return False
    file.seek(length, 1)
    number, length = _element(file)
    if number != _SEGMENT or length is None or file.tell() + length <= size:
        return False
    clusters = False
    while file.tell() < size:
        number, length = _element(file)
        if length is None or (clusters and number in _BEHIND):
            return False
        clusters |= number == _CLUSTER
        file.seek(length, 1)
    return True


def _element(file: BinaryIO) -> tuple[int, int | None]:
    """The number of a Matroska element and its length; None where that is unknown."""
    number = _variable(file, marker=True)
    length = _variable(file, marker=False)
    return -1 if number is None else number, length


def _variable(file: BinaryIO, *, marker: bool) -> int | None:
    """A number whose leading zero bits say how many bytes it has; None where all bits are set."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    count = 9 - first[0].bit_length()
    rest = file.read(count - 1)
    if len(rest) < count - 1:
        return None
    value = int.from_bytes(first + rest, "big")
    if marker:
        return value
    value &= (1 << 7 * count) - 1
    return None if value == (1 << 7 * count) - 1 else value


def _avi_ends_early(file: BinaryIO, size: int) -> bool:
    file.seek(12)
    while len(head := file.read(8)) == 8:
        length = int.from_bytes(head[4:], "little")
        end = file.tell() + length + length % 2
        if head[:4] == b"LIST" and file.read(4) == b"movi":
            return file.tell() - 4 + length > size
        file.seek(end)
    return False
