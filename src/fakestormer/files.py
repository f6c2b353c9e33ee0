"""Files: what their content is, and writing them so that nobody ever meets half of one."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from fakestormer.errors import InputError

try:
    import fcntl
except ModuleNotFoundError:  # not everywhere
    fcntl = None  # type: ignore[assignment]

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
    with replacing(path) as partial, partial.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new name beside `path`; what is written there takes the place of `path` in the end.

    As `write_atomically`, for files that are written piece by piece.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{secrets.token_hex(8)}{PARTIAL}")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        error.filename = str(path)  # a full disk names no file, and nobody knows the partial one
        raise
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def staging(target: Path) -> Iterator[Path]:
    """A fresh folder beside the target, gone afterwards, as are folders made on the way if empty.

    For files that belong together: they get their final names in it (a .onnx names the file of
    its weights) and `place` moves them.
    """
    folder = target.parent / f".{secrets.token_hex(8)}{PARTIAL}"
    with _folder_of(target):
        try:
            with writing(target):
                folder.mkdir()
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def held(target: Path, who: str) -> Iterator[None]:
    """Within: no other process gets in here for the same target, whoever else reads or writes it.

    who: what holds it, for the sentence that another one is told: "detect". The lock is a hidden
    file beside the target, gone afterwards; the system lets go of it whenever the process ends, so
    that what a killed one leaves there stops nobody. Makes the folder, which goes again if it is
    empty in the end. Where there are no locks (some systems and file systems), nobody is kept out.
    Raises InputError when another process is in, or when nothing can be written there.
    """
    # Not the target itself, which is replaced; and its name may leave no room for a longer one.
    name = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]
    lock = target.with_name(f".{name}.lock")
    with _folder_of(target), ExitStack() as stack:
        with writing(target), suppress(FileNotFoundError):
            target.lstat()  # the lock's name tells nothing about the target's
        while fcntl is not None:
            with writing(target):
                file = stack.enter_context(lock.open("a"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InputError(
                    f"{target}: another {who} is writing to it; wait for it, or name another file"
                ) from error
            except OSError as error:
                if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                    raise
            with suppress(FileNotFoundError):  # its last holder may just have removed it
                if os.path.samestat(os.fstat(file.fileno()), lock.stat()):
                    stack.callback(lock.unlink, missing_ok=True)
                    break
        yield


@contextmanager
def _folder_of(target: Path) -> Iterator[None]:
    """Within: the target's folder is there. Those made for it go in the end if they are empty."""
    made = [parent for parent in target.parents if not os.path.lexists(parent)]
    try:
        with writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        for parent in made:
            with suppress(OSError):
                parent.rmdir()


@contextmanager
def writing(target: Path | str, kind: type[InputError] = InputError) -> Iterator[None]:
    """Within: what goes wrong with files is an InputError of this kind that names the target."""
    try:
        yield
    except OSError as error:
        raise kind(
            f"{target}: cannot be written ({error.strerror}); choose a place that you may write to "
            "and that has room"
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
