"""Videos and results in an object store, by address: s3://BUCKET/FOLDER (and file:///FOLDER).

    videos_at    an address -> the addresses of the videos below it
    fetched      one video, in a temporary folder while it is judged, gone afterwards
    read, write  a results file, whole or not at all
    copied       the files at an address, in a temporary folder; kept: one that is written, too

fsspec does the work (`fakestormer[objects]`). A store other than Amazon's that speaks S3 is named
by the environment variable AWS_ENDPOINT_URL; keys come from where Amazon's tools look for them.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, ParamSpec

from fakestormer.errors import InputError, OutputError, SetupError
from fakestormer.video.folder import is_video

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

log = logging.getLogger(__name__)
P = ParamSpec("P")

#: With what fsspec opens each kind. A listing that is kept would hide what is put there meanwhile.
SCHEMES: Final[Mapping[str, Mapping[str, bool]]] = {
    "s3": {"use_listings_cache": False},
    "file": {"auto_mkdir": True},
}

#: Seconds between two uploads of a folder that is being written.
_PAUSE = 60.0
#: What a store of tracks holds below this is large: whoever needs a track fetches or writes it.
_TRACKS = "tracks/"


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
        fetch(address, file)
        yield file


def fetch(address: str, file: Path) -> None:
    """An object as a file. Raises InputError where it cannot be fetched."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with _reading(address) as (store, path):
        store.get_file(path, str(file))


def read(address: str) -> bytes:
    """An object's content. Raises FileNotFoundError where none is there, else InputError."""
    with _reading(address) as (store, path):
        content: bytes | None = store.cat_file(path) if store.exists(path) else None
    if content is None:
        raise FileNotFoundError(address)
    return content


def write(address: str, content: bytes | Path) -> None:
    """Write an object, or a file as one, over an older one. Raises OutputError where it cannot."""
    store, path = _store_of(address)
    try:
        if isinstance(content, Path):
            store.put_file(str(content), path)
        else:
            store.pipe_file(path, content)
    except _failures() as error:
        raise OutputError(
            f"{address}: cannot be written ({error}); check the address and your rights there"
        ) from error


@contextmanager
def copied(address: str | Path, *, deep: bool = False) -> Iterator[Path]:
    """Within: a folder with the files at an address, but tracks; errors name the address.

    deep: those of its folders too. A path stands for itself.
    """
    if not is_object(address):
        yield Path(address)
        return
    address = os.fspath(address).rstrip("/")
    with TemporaryDirectory(prefix="fakestormer-") as folder:
        with _reading(address) as (store, path):
            there = store.find(path, maxdepth=None if deep else 1)
            below = [str(name).removeprefix(path).lstrip("/") for name in there]
            small = [name for name in below if name and not name.startswith(_TRACKS)]
            if small:
                store.get([f"{path}/{n}" for n in small], [f"{folder}/{n}" for n in small])
        try:
            yield Path(folder)
        except InputError as error:
            raise type(error)(str(error).replace(folder, address)) from error


@dataclass(slots=True)
class Kept:
    """A folder that is written here and kept at an address; None where that is the folder."""

    folder: Path
    address: str | None = None
    _uploaded: dict[Path, tuple[int, int]] = field(default_factory=dict)
    _last: float = field(default_factory=time.monotonic)

    def beside(self, progress: Callable[P, None] | None) -> Callable[P, None]:
        """`progress`, and an upload each minute; where that fails, the next one is tried."""

        def advance(*args: P.args, **kwargs: P.kwargs) -> None:
            if time.monotonic() - self._last >= _PAUSE:
                self._last = time.monotonic()
                try:
                    self.upload()
                except OutputError as error:
                    log.warning("%s", error)
            if progress is not None:
                progress(*args, **kwargs)

        return advance

    def upload(self) -> None:
        """Write what is new to the address, what was made first first. Raises OutputError."""
        if self.address is None:
            return
        for stamp, file in sorted((_stamp(file), file) for file in _files_in(self.folder)):
            if self._uploaded.get(file) != stamp:
                write(f"{self.address}/{file.relative_to(self.folder).as_posix()}", file)
                self._uploaded[file] = stamp


@contextmanager
def kept(place: str | Path) -> Iterator[Kept]:
    """Within: a folder to write, with what an address has already; what is new there is uploaded.

    That is every minute, and in the end, after an error or Ctrl-C too. A path stands for itself.
    Raises OutputError at once where nothing can be written to the address.
    """
    if not is_object(place):
        yield Kept(Path(place))
        return
    address = os.fspath(place).rstrip("/")
    with copied(address, deep=True) as folder:
        write(f"{address}/.trial", b"")  # not after hours of work
        store, trial = _store_of(f"{address}/.trial")
        with suppress(*_failures()):  # rights to write need not be rights to delete
            store.rm_file(trial)
        there = {file: _stamp(file) for file in _files_in(folder)}
        keeping = Kept(folder, address, there)
        try:
            yield keeping
        finally:
            keeping.upload()


def _files_in(folder: Path) -> list[Path]:
    """Those that are whole: a file that is being written is hidden."""
    return [file for file in folder.rglob("[!.]*") if file.is_file() and file != folder / "lock"]


def _stamp(file: Path) -> tuple[int, int]:
    stat = file.stat()
    return stat.st_mtime_ns, stat.st_size


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
