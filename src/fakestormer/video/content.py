"""What a file holds, by its first bytes: a text, one picture, a film of pictures."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import BinaryIO

from fakestormer.video.webp import is_animated_webp

_PNG = b"\x89PNG\r\n\x1a\n"
#: What files of the HEIF family (AVIF, HEIC) call themselves that hold image sequences.
_SEQUENCES = {b"avis", b"msf1"}
#: Bytes that show whether a file is a text; control characters that none has.
_LOOKED_AT, _NEVER_IN_TEXT = 512, set(range(32)) - set(b"\t\n\f\r")
_GIF_EXTENSION, _GIF_PICTURE = b"\x21", b"\x2c"


def is_text(path: Path) -> bool:
    """Whether a file begins as a text in UTF-8. False where it is empty or cannot be read."""
    try:
        with path.open("rb") as file:
            begin = file.read(_LOOKED_AT)
        codecs.getincrementaldecoder("utf-8")().decode(begin)  # whose last letter may be cut
    except (OSError, UnicodeDecodeError):
        return False
    return bool(begin) and not _NEVER_IN_TEXT & set(begin) and not begin.startswith(b"YUV4MPEG2")


def is_animated(path: Path) -> bool:
    """Whether a file is a GIF, PNG, WebP, AVIF or HEIC of several pictures; no suffix is trusted.

    Reads a few bytes; of a GIF it goes from block to block until the second picture begins. False
    for other files, and where the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(12)
            if head[:6] in (b"GIF87a", b"GIF89a"):
                return _gif_moves(file)
            if head[:8] == _PNG:
                return _png_moves(file)
            if head[4:8] == b"ftyp":
                rest = file.read(max(0, min(int.from_bytes(head[:4], "big"), 256) - len(head)))
                brands = {head[8:12], *(rest[k : k + 4] for k in range(4, len(rest), 4))}
                return bool(brands & _SEQUENCES)
        return is_animated_webp(path)
    except OSError:
        return False


def _png_moves(file: BinaryIO) -> bool:
    file.seek(len(_PNG))
    while len(head := file.read(8)) == 8:
        if head[4:] == b"acTL":
            return int.from_bytes(file.read(4), "big") > 1
        if head[4:] == b"IDAT":  # what makes an animation of it comes before
            return False
        file.seek(int.from_bytes(head[:4], "big") + 4, 1)
    return False


def _gif_moves(file: BinaryIO) -> bool:
    file.seek(10)
    flags = file.read(1)
    file.seek(13)
    _skip_palette(file, flags)
    pictures = 0
    while (kind := file.read(1)) in (_GIF_EXTENSION, _GIF_PICTURE):
        if kind == _GIF_PICTURE:
            pictures += 1
            if pictures == 2:
                return True
            file.seek(8, 1)
            _skip_palette(file, file.read(1))
        file.seek(1, 1)  # the kind of an extension, or the bits of a picture's codes
        while size := int.from_bytes(file.read(1)):
            file.seek(size, 1)
    return False


def _skip_palette(file: BinaryIO, flags: bytes) -> None:
    if flags and flags[0] & 0x80:
        file.seek(3 * 2 ** ((flags[0] & 7) + 1), 1)
