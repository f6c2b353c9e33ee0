"""What lies below a root, by one walk, and the lists that a data set comes with.

Only the lists are opened. Of every other file only its name is read.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from fakestormer.data.listing import Count, Entry, Kind, Listing
from fakestormer.data.manifest import SPLIT_WORDS, Label, MaxFrames, Split
from fakestormer.errors import InputError
from fakestormer.video.folder import videos_in


@dataclass(slots=True)
class Survey:
    """A `Listing` in the making. root: the folder below which the videos lie."""

    dataset: str
    root: Path
    entries: list[Entry] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    counts: list[Count] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    lists: list[str] = field(default_factory=list)
    max_frames: MaxFrames = 256

    def videos(self, folder: str) -> dict[str, str]:
        """{name without suffix: path below the root} of the videos in a folder ("" is the root).

        A second video of the same name, with another suffix, is unexpected.
        """
        prefix = f"{folder}/" if folder else ""
        stems, second = by_stem(videos_in(self.root / folder))
        self.unexpected += [prefix + name for name in second]
        return {stem: prefix + name for stem, name in stems.items()}

    def add(
        self,
        video: str,
        label: Label,
        *,
        path: Path | None = None,
        kind: Kind = "video",
        method: str = "",
        split: Split | Literal[""] = "",
        source: str = "",
        identity: str = "",
    ) -> None:
        """One entry. path: where the video lies, if not at its name below the root."""
        entry = Entry(
            video=video, path=path or self.root / video, label=label, kind=kind, method=method,
            split=split, source=source, identity=identity,
        )  # fmt: skip
        self.entries.append(entry)

    def listing(self, compression: str = "") -> Listing:
        """Everything in the order of names."""
        named = ("missing", "unexpected", "doubled")
        return Listing(
            dataset=self.dataset,
            entries=tuple(sorted(self.entries, key=lambda entry: entry.video)),
            compression=compression,
            **{name: tuple(sorted(getattr(self, name))) for name in named},
            **{name: tuple(getattr(self, name)) for name in ("counts", "conflicts", "notes")},
            lists=", ".join(self.lists),
            max_frames=self.max_frames,
        )


def stem_of(name: str) -> str:
    """A path without its last suffix: "a/000_003.mp4" -> "a/000_003"."""
    folder, slash, file = name.rpartition("/")
    return folder + slash + (file.rpartition(".")[0] or file)


def by_stem(names: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """{path without its suffix: path}, and the paths whose place another suffix has taken."""
    first: dict[str, str] = {}
    second = []
    for name in names:
        if first.setdefault(stem_of(name), name) != name:
            second.append(name)
    return first, second


def read_text(path: Path) -> str:
    """Raises InputError naming the list when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not text in UTF-8; copy or download it again") from error


def read_json(path: Path) -> tuple[Any, list[str]]:
    """The content, and the keys that one of its tables has twice (the first is what counts).

    Raises InputError when the file cannot be read or is no JSON.
    """
    doubled = []

    def table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        read: dict[str, Any] = {}
        for key, value in pairs:
            if key in read:
                doubled.append(key)
            else:
                read[key] = value
        return read

    try:
        return json.loads(read_text(path), object_pairs_hook=table), doubled
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(
            f"{path}: is not JSON or breaks off ({error}); copy or download it again"
        ) from error


def read_table_of_videos(path: Path) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """A JSON of {video: {what is known of it}}, and the videos named twice. Raises InputError."""
    content, doubled = read_json(path)
    if not isinstance(content, dict) or not all(isinstance(v, dict) for v in content.values()):
        raise InputError(f"{path}: does not say one thing per video; copy or download it again")
    return content, [name for name in doubled if name in content]


def read_rows(path: Path, *columns: str) -> list[tuple[str, ...]]:
    """The named columns of a CSV with a header. Raises InputError when one of them is missing."""
    try:
        reader = csv.DictReader(read_text(path).splitlines())
        rows = list(reader)
    except csv.Error as error:
        raise InputError(f"{path}: is not a CSV file ({error}); download it again") from error
    lacking = [column for column in columns if column not in (reader.fieldnames or ())]
    if lacking:
        raise InputError(
            f"{path}: has no column `{lacking[0]}` in its first line; it should begin with "
            f"{','.join(columns)}"
        )
    return [tuple((row[column] or "").strip() for column in columns) for row in rows]


def split_called(word: object) -> Split | None:
    """ "val" -> "validation"; None for a word that is no split's."""
    name = str(word).strip().lower()
    return "validation" if name == "validate" else SPLIT_WORDS.get(name)


def nothing_here(root: Path, dataset: str, *looked_for: str) -> InputError:
    return InputError(
        f"{root}: nothing of {dataset} is here; looked for {' or '.join(looked_for)}; give the "
        "folder that holds it"
    )


def some(names: Iterable[str], most: int = 3) -> str:
    """ "a, b, c and 7 more"."""
    listed = list(names)
    rest = len(listed) - most
    return ", ".join(listed[:most]) + (f" and {rest} more" if rest > 0 else "")
