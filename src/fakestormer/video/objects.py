"""Videos and results in an object store, by address: s3://BUCKET/FOLDER (and file:///FOLDER).

    videos_at    an address -> the addresses of the videos below it
    fetched      one video, in a temporary folder while it is judged, gone afterwards
    read, write  a results file, whole or not at all

fsspec does the work (`fakestormer[objects]`). A store other than Amazon's that speaks S3 is named
by the environment variable AWS_ENDPOINT_URL; keys come from where Amazon's tools look for them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from fakestormer.errors import InputError, OutputError, SetupError
from fakestormer.video.folder import is_video

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

#: With what fsspec opens each kind. A listing that is kept would hide what is put there meanwhile.
SCHEMES: Final[Mapping[str, Mapping[str, bool]]] = {
    "s3": {"use_listings_cache": False},
    "file": {"auto_mkdir": True},
}


def is_object(name: str | os.PathLike[str]) -> bool:
    """Whether a name is the address of an object, or of a folder of them."""
    scheme, mark, _ = os.fspath(name).partition("://")
    return bool(mark) and scheme in SCHEMES


def videos_at(address: str) -> list[str]:
    """The address itself where an object is there; else those of all videos below it, sorted.

    Raises InputError where there is neither, or no access; SetupError as all functions here.
    """
    with _reading(address) as (store, path):
        if store.isfile(path):
            return [address]
        names = [name for name in store.find(path) if is_video(PurePosixPath(name).name)]
    if not names:
        raise InputError(f"{address}: no video is there; check the address")
    return sorted(str(store.unstrip_protocol(name)) for name in names)


def size_and_time(address: str) -> tuple[int, int] | None:
    """Bytes of an object and when it was written, in nanoseconds; None where there is none."""
    try:
        with _reading(address) as (store, path):
            return int(store.size(path)), int(1e9 * store.modified(path).timestamp())
    except InputError:
        return None


@contextmanager
def fetched(address: str) -> Iterator[Path]:
    """Within: the object as a file of its name. Raises InputError where it cannot be fetched."""
    with TemporaryDirectory(prefix="fakestormer-") as folder:
        file = Path(folder) / PurePosixPath(address).name
        with _reading(address) as (store, path):
            store.get_file(path, str(file))
        yield file


def read(address: str) -> bytes:
    """An object's content. Raises FileNotFoundError where none is there, else InputError."""
    with _reading(address) as (store, path):
        content: bytes | None = store.cat_file(path) if store.exists(path) else None
    if content is None:
        raise FileNotFoundError(address)
    return content


def write(address: str, content: bytes) -> None:
    """Write an object, over an older one. Raises OutputError where that is not possible."""
    store, path = _store_of(address)
    try:
        store.pipe_file(path, content)
    except _failures() as error:
        raise OutputError(
            f"{address}: cannot be written ({error}); check the address and your rights there"
        ) from error


@contextmanager
def _reading(address: str) -> Iterator[tuple[AbstractFileSystem, str]]:
    """The store of an address, and the path there; within, its errors become sentences."""
    try:
        yield _store_of(address)
    except _failures() as error:
        raise InputError(
            f"{address}: cannot be read ({error}); check the address and your rights there"
        ) from error


def _store_of(address: str) -> tuple[AbstractFileSystem, str]:
    try:
        from fsspec.core import url_to_fs

        store, path = url_to_fs(address, **SCHEMES[address.partition("://")[0]])
    except ImportError as error:
        raise SetupError(
            f"{address}: object stores need one more package; install it with "
            "`pip install 'fakestormer[objects]'`"
        ) from error
    return store, str(path)


@lru_cache(maxsize=1)
def _failures() -> tuple[type[Exception], ...]:
    """What goes wrong with a store: files, and for S3 what its library has of its own."""
    try:
        from botocore.exceptions import BotoCoreError
    except ImportError:
        return (OSError,)
    return (OSError, BotoCoreError)
