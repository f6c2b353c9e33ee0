"""Which videos lie in a folder, by their names, and where these say nothing by their content."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from fakestormer.errors import InputError
from fakestormer.video.content import is_animated, is_text

log = logging.getLogger(__name__)

#: Told of a folder that cannot be used, and why.
Unusable = Callable[[Path, InputError], object]
VIDEO = frozenset(
    {".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv"}
)
#: Files that lie beside videos; everything else is tried.
NOT_VIDEO = frozenset(
    {
        ".7z", ".aac", ".aria2", ".ass", ".avif", ".bmp", ".bz2", ".crdownload", ".csv", ".db",
        ".description", ".doc", ".docx", ".download", ".flac", ".gif", ".gz", ".h5", ".heic",
        ".heif", ".html", ".idx", ".ini", ".jpeg", ".jpg", ".json", ".jsonl", ".lnk", ".log",
        ".lrc", ".m4a", ".md", ".md5", ".mp3", ".nfo", ".npy", ".npz", ".opus", ".parquet", ".part",
        ".pdf", ".pkl", ".png", ".pt", ".pth", ".py", ".rar", ".safetensors", ".sbv", ".sh",
        ".sha256", ".srt", ".ssa", ".sub", ".svg", ".tar", ".temp", ".thm", ".tif", ".tiff", ".tmp",
        ".torrent", ".ttml", ".txt", ".url", ".vtt", ".wav", ".webp", ".wma", ".xls", ".xlsx",
        ".xml", ".xz", ".yaml", ".yml", ".ytdl", ".zip",
    }
)  # fmt: skip
#: Of these, the ones are videos that hold several pictures.
MAY_MOVE = frozenset({".avif", ".gif", ".heic", ".heif", ".png", ".webp"})


def is_video(name: str) -> bool:
    """By its suffix. Hidden files are none, nor the "._x.mp4" that macOS leaves behind."""
    return not name.startswith(".") and PurePosixPath(name).suffix.lower() in VIDEO


def scan(folder: Path) -> list[os.DirEntry[str]]:
    """What lies directly in a folder and is not hidden, by name; [] where there is no such folder.

    Raises InputError when the folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: e.name)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be read ({error.strerror}); check its rights"
        ) from error


def _holds(check: Callable[[], bool]) -> bool:
    try:
        return check()
    except OSError:  # a link round in a circle, or to where one may not look
        return False


def folders_in(folder: Path) -> list[str]:
    return [entry.name for entry in scan(folder) if _holds(entry.is_dir)]


def videos_in(folder: Path) -> list[str]:
    """Names of the videos directly in a folder."""
    return [entry.name for entry in scan(folder) if is_video(entry.name) and _holds(entry.is_file)]


def files_below(
    root: Path,
    wanted: Callable[[str], bool],
    *,
    leave_out: Path | None = None,
    unusable: Unusable | None = None,
) -> list[str]:
    """Paths below the root ("/"-separated, sorted) of the files whose names are wanted.

    Goes into linked folders too, but never round in a circle. leave_out: a folder to stay out of.
    unusable: told of each folder that cannot be read, and the rest is looked through; without it
    the first one raises InputError.
    """
    excluded = leave_out.resolve() if leave_out is not None else None

    def walk(folder: Path, above: str, around: frozenset[str]) -> Iterator[str]:
        real = os.path.realpath(folder)
        if real in around or (excluded is not None and Path(real).is_relative_to(excluded)):
            return
        try:
            entries = scan(folder)
        except InputError as error:
            if unusable is None:
                raise
            unusable(folder, error)
            return
        for entry in entries:
            if _holds(entry.is_dir):
                yield from walk(Path(entry.path), f"{above}{entry.name}/", around | {real})
            elif wanted(entry.name) and _holds(entry.is_file):
                yield above + entry.name

    return sorted(walk(root, "", frozenset()))


def find_videos(
    videos: Path, store: Path | None = None, *, unusable: Unusable | None = None
) -> list[str]:
    """Relative paths ("/"-separated, sorted) of the files below `videos` that may be videos.

    Hidden files, files that are clearly something else, still pictures among them, and the store
    itself are left out; how many, and of what kinds, is logged.
    Raises InputError when nothing is left, and for a folder that cannot be read. unusable: told of
    the latter instead, and then nothing may be left.
    """
    if not videos.is_dir():
        raise InputError(f"{videos}: no such folder; give the folder that holds the videos")
    refused = []

    def told(folder: Path, error: InputError) -> None:
        if unusable is None:
            raise error
        refused.append(folder)
        unusable(folder, error)

    files = files_below(videos, lambda _: True, leave_out=store, unusable=told)
    names = [name for name in files if _may_be_video(videos / name)]
    left_out = Counter(PurePosixPath(name).suffix.lower() or name for name in {*files} - {*names})
    kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(left_out.items()))
    if not names and not refused:
        raise InputError(
            f"{videos}: no videos in this folder or below it"
            + (f"; left out as no videos: {kinds}" if kinds else "")
        )
    if kinds:
        log.info("%s: left out as no videos: %s", videos, kinds)
    return names


def _may_be_video(path: Path) -> bool:
    suffix = path.suffix.lower()
    if suffix in NOT_VIDEO:
        return suffix in MAY_MOVE and is_animated(path)
    return suffix in VIDEO or not is_text(path)
