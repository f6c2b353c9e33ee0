"""What a data set holds as it was distributed, before anything of it is decoded.

A layout (`data/layouts/`) looks at a root folder and gives a `Listing`: its videos as typed
entries, and how what is there differs from what the data set's own lists and publications say.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fakestormer.data.manifest import Label, MaxFrames, Split

#: How frames lie on the disk: a "video" file; a folder of "pictures" (or the files named); a folder
#: or .tar.gz archive of "sequences", each a folder of pictures below real/ or fake/.
Kind = Literal["video", "pictures", "sequences"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One video of a data set.

    video: its name in the store, the path below the root. frames: the pictures in order, of kind
    "pictures" only; empty takes all of the folder's. label: of kind "sequences" the one of
    sequences whose folder says none. split: "" where the data set puts it in none. source:
    collection within the data set. identity: who is seen, "" where unknown; in a fake, the one
    whose video was changed. address: of the object that holds the video, "" where a file does.
    """

    video: str
    path: Path
    label: Label
    kind: Kind = "video"
    frames: tuple[Path, ...] = ()
    method: str = ""
    split: Split | Literal[""] = ""
    source: str = ""
    identity: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How many there should be and are. certain: False where `expected` is from memory ("~")."""

    what: str
    expected: int
    present: int
    certain: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What a layout found below a root.

    missing: names that the data set's lists have and the disk has not. unexpected: files that are
    in no list. doubled: names that lists have more than once. conflicts: sentences on lists that
    contradict each other or the folders. notes: other sentences. lists: where the split came from.
    max_frames: how many frames of each video are usually taken. Two entries of one name are a
    ValueError.
    """

    dataset: str
    entries: tuple[Entry, ...]
    compression: str = ""
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    doubled: tuple[str, ...] = ()
    counts: tuple[Count, ...] = ()
    conflicts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    lists: str = ""
    max_frames: MaxFrames = 256

    def __post_init__(self) -> None:
        names = Counter(entry.video for entry in self.entries)
        double = [name for name, count in names.items() if count > 1]
        if double:
            raise ValueError(f"{self.dataset}: two entries are called {double[0]}")
