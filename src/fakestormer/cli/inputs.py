"""The inputs of a command: files, folders, patterns, and lists on standard input."""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from fakestormer.errors import InputError

#: The argument that stands for a list on standard input; a file of that name is "./-".
LISTED = "-"

#: An address, not a file: https://..., rtsp://...
_ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")
#: Bytes of standard input after which its kind is known.
_LOOKED_AT = 2**16
#: Control characters that no list has: all but tabulators, ends of lines and zero.
_NEVER_IN_NAMES = set(range(1, 32)) - set(b"\t\n\r")


def named_paths(arguments: Sequence[str]) -> list[Path]:
    """The files and folders that the arguments name, in that order; they need not exist.

    A pattern (`*`, `?`, `[...]`, and `**` for folders at any depth) counts as one only where no
    file has that very name: for shells that pass patterns on. "-" is a list on standard input: one
    path per line, or paths ended by zero bytes, as `find -print0` writes them; in a list, patterns
    are names. Raises InputError for a pattern or a list that names nothing, and for an empty name.
    """
    paths: list[Path] = []
    for argument in arguments:
        if _ADDRESS.match(argument) and not os.path.lexists(argument):
            raise InputError(
                f"{argument}: is an address, and nothing is fetched from the network; download the "
                "video, and give the file"
            )
        if not argument:  # which would be this folder
            raise InputError("an empty name stands for no file; say . for this folder")
        if argument == LISTED:
            if sys.stdin is None:
                raise InputError("standard input: is closed; write one path per line into it")
            paths += _listed(_list_on(sys.stdin.buffer))
        elif not os.path.lexists(argument) and glob.has_magic(argument):
            paths += _matching(argument)
        else:
            paths.append(Path(argument))
    return paths


def _list_on(stream: BinaryIO) -> bytes:
    """The list of names on standard input; InputError where it is a file's content instead."""
    begin = stream.read(_LOOKED_AT)
    if _NEVER_IN_NAMES & set(begin):
        raise InputError(
            "standard input: is no list of names but a file itself; name the file instead: "
            "fakestormer detect FILE"
        )
    return begin + stream.read()


def _matching(pattern: str) -> list[Path]:
    matches = sorted(glob.glob(pattern, recursive=True))
    # "**" also matches the folders on the way, which would bring everything below them.
    files = [name for name in matches if not ("**" in pattern and os.path.isdir(name))]
    if not files:
        raise InputError(f"{pattern}: no file matches this pattern; check the path")
    return [Path(name) for name in files]


def _listed(content: bytes) -> list[Path]:
    # File names need not be valid Unicode.
    if b"\0" in content:
        names = content.split(b"\0")
    else:
        names = [line.removesuffix(b"\r") for line in content.split(b"\n")]
    paths = [Path(os.fsdecode(name)) for name in names if name.strip()]
    if not paths:
        raise InputError("standard input: names no file; write one path per line")
    return paths
