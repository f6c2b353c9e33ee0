"""Where the frames lie that a JSON of another machine names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from fakestormer.errors import InputError
from fakestormer.video.folder import scan

#: A path may begin anew at, or behind, a folder of these names, or of the root's own.
MARKS = frozenset(
    {
        "celeb-df-v1", "celeb-df-v2", "datasets", "deepfakes_detection_datasets",
        "deeperforensics-1.0", "df40", "df40_test", "df40_train", "dfdc", "dfdcp",
        "faceforensics++", "rgb", "uadfv",
    }
)  # fmt: skip
#: Too common to begin anew behind, whatever the root is called.
COMMON = frozenset({"cdf", "fake", "ff", "frames", "real", "test", "train", "val", "videos"})
#: What the names of real videos begin with that lie below a root of their own.
OWNERS = {"faceforensics++": "ffpp", "celeb-df-v1": "celeb-df-v1", "celeb-df-v2": "celeb-df-v2"}


def clean(path: str) -> str:
    r"""`.\datasets\rgb\a\0.png` and `./datasets//rgb/a/0.png` -> `datasets/rgb/a/0.png`."""
    folder, _, file = path.replace("\\", "/").rpartition("/")
    tidied = _clean_folder(folder)
    return f"{tidied}/{file}" if tidied else file


@lru_cache(maxsize=1024)  # frames come by the hundred from one folder
def _clean_folder(folder: str) -> str:
    parts = [part for part in folder.split("/") if part not in ("", ".", "..")]
    if parts and re.fullmatch(r"[A-Za-z]:", parts[0]):
        del parts[0]
    return "/".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """name: of the folder in the store. frames: below the folder, those that are there."""

    name: str
    folder: Path
    frames: list[str]


class Places:
    """Looks frames up, each folder once."""

    def __init__(self, root: Path, reals: Path | None) -> None:
        """Raises InputError when `reals` is not a folder."""
        if reals is not None and not reals.is_dir():
            raise InputError(f"{reals}: no such folder; give the one that holds the real videos")
        self.root, self.reals = root, reals
        self._inside: dict[Path, frozenset[str]] = {}

    def find(self, frames: Iterable[str], *, real: bool) -> Frames | None:
        """frames: tidied paths, of one video. None where not one of them is there."""
        wanted = list(frames)
        folder = wanted[0].rpartition("/")[0]
        names = [frame[len(folder) :].lstrip("/") for frame in wanted if frame.startswith(folder)]
        roots = [self.root] if self.reals is None or not real else [self.root, self.reals]
        for root in roots:
            for place in _places(folder, root):
                inside = self._look(root / place)
                here = [name for name in names if name in inside]
                if here:
                    owner = "" if root is self.root else f"{_owner(folder)}/"
                    return Frames(name=f"{owner}{place}", folder=root / place, frames=here)
        return None

    def _look(self, folder: Path) -> frozenset[str]:
        if folder not in self._inside:
            self._inside[folder] = frozenset(entry.name for entry in scan(folder))
        return self._inside[folder]


def _places(folder: str, root: Path) -> Iterator[str]:
    """Where below the root the folder may lie, the likeliest first."""
    parts = folder.split("/")
    name = root.resolve().name.lower()
    marks = MARKS if name in COMMON else MARKS | {name}
    starts = [0]
    for number, part in enumerate(parts):
        if part.lower() in marks:
            starts += [number, number + 1]
    yield from dict.fromkeys("/".join(parts[start:]) for start in starts)


def _owner(folder: str) -> str:
    for part in folder.lower().split("/"):
        if part in OWNERS:
            return OWNERS[part]
    return "reals"
