"""The inputs of a command: files, folders, patterns, and lists on standard input."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from fakestormer.cli.fetching import is_address, not_fetched
from fakestormer.errors import InputError
from fakestormer.video.objects import is_object

#: The argument that stands for a list on standard input; a file of that name is "./-".
LISTED = "-"

#: Bytes of standard input after which its kind is known.
_LOOKED_AT = 2**16
#: Control characters that no list has: all but tabulators, ends of lines and zero.
_NEVER_IN_NAMES = set(range(1, 32)) - set(b"\t\n\r")


def named_paths(
    arguments: Sequence[str], fetched: Callable[[str], Path | None] | None = None
) -> list[Path | str]:
    """The files and folders that the arguments name, in that order; they need not exist.

    Addresses in object stores (s3://BUCKET/KEY) stay as they are.

    A pattern (`*`, `?`, `[...]`, and `**` for folders at any depth) counts as one only where no
    file has that very name: for shells that pass patterns on. "-" is a list on standard input: one
    path per line, or paths ended by zero bytes, as `find -print0` writes them; in a list, patterns
    are names. fetched: called with each address; gives the file, or None where there is none.
    Raises InputError for a pattern or a list that names nothing, for an empty name, and for an
    address that is not to be fetched.
    """
    paths: list[Path | str] = []

    def add(name: str) -> None:
        if is_object(name):
            paths.append(name)
        elif not is_address(name) or os.path.lexists(name):
            paths.append(Path(name))
        elif fetched is None:
            raise not_fetched(name)
        elif (path := fetched(name)) is not None:
            paths.append(path)

    for argument in arguments:
        if not argument:  # which would be this folder
            raise InputError("an empty name stands for no file; say . for this folder")
        if argument == LISTED:
            if sys.stdin is None:
                raise InputError("standard input: is closed; write one path per line into it")
            for name in _listed(_list_on(sys.stdin.buffer)):
                add(name)
        elif is_address(argument) or os.path.lexists(argument) or not glob.has_magic(argument):
            add(argument)
        else:
            paths += _matching(argument)
    return paths


def named_file(argument: str) -> Path:
    """The file that an argument of a command names that fetches nothing; InputError otherwise."""
    if is_address(argument) and not os.path.lexists(argument):
        raise not_fetched(argument)
    return Path(argument)


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


def _listed(content: bytes) -> list[str]:
    # File names need not be valid Unicode.
    if b"\0" in content:
        names = content.split(b"\0")
    else:
        names = [line.removesuffix(b"\r") for line in content.split(b"\n")]
    listed = [os.fsdecode(name) for name in names if name.strip()]
    if not listed:
        raise InputError("standard input: names no file; write one path per line")
    return listed
