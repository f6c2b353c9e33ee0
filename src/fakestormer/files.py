"""Files: what their content is, and writing them so that nobody ever meets half of one."""

from __future__ import annotations

import hashlib
import os
import secrets
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
