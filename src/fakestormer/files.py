"""Files: what their content is, and writing them so that nobody ever meets half of one."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fakestormer.errors import InputError

#: How the name of a file ends while it is being written; only a killed process leaves one behind.
PARTIAL = ".partial"


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal. Raises InputError when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from error


def write_atomically(path: Path, content: bytes) -> None:
    """Write `path` so that it holds either all of `content` or what it held before.

    Makes the folder where it is missing. Several processes may write the same path: the last one
    to finish wins. Raises OSError where writing is not possible, and then leaves nothing behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{secrets.token_hex(8)}{PARTIAL}")
    try:
        with partial.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def staging(target: Path) -> Iterator[Path]:
    """A fresh folder beside the target, gone afterwards, as are folders made on the way if empty.

    For files that belong together: they get their final names in it (a .onnx names the file of
    its weights) and `place` moves them.
    """
    folder = target.parent / f".{secrets.token_hex(8)}{PARTIAL}"
    made: list[Path] = []
    try:
        with writing(target):
            made += [parent for parent in folder.parents if not parent.exists()]
            folder.mkdir(parents=True)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for parent in made:
            with suppress(OSError):
                parent.rmdir()


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Within: what goes wrong with files is an InputError that names the target."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{target}: cannot be written ({error.strerror}); choose another place"
        ) from error


def place(folder: Path, target: Path) -> tuple[Path, ...]:
    """Move staged files to the target's folder, the target last, so that it is never alone.

    Returns where they are, the target first.
    """
    staged = sorted(folder.iterdir(), key=lambda file: file.name == target.name)
    with writing(target):
        for file in staged:
            with file.open("rb") as content:
                os.fsync(content.fileno())
            file.replace(target.with_name(file.name))
    return tuple(target.with_name(file.name) for file in reversed(staged))
