"""Any tree of videos, labelled by its folders."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath

from fakestormer.data.layouts.options import Options
from fakestormer.data.layouts.reading import Unusable, files_below
from fakestormer.data.listing import Entry, Listing
from fakestormer.data.manifest import Labelling, source_of
from fakestormer.errors import InputError

#: Files that lie beside videos; everything else is tried.
NOT_VIDEO = frozenset(
    {
        ".csv", ".gif", ".gz", ".html", ".jpeg", ".jpg", ".json", ".jsonl", ".log", ".md", ".npy",
        ".npz", ".parquet", ".pdf", ".png", ".py", ".sh", ".srt", ".tar", ".txt", ".wav", ".webp",
        ".xml", ".yaml", ".yml", ".zip",
    }
)  # fmt: skip


def find_videos(
    videos: Path, store: Path | None = None, *, unusable: Unusable | None = None
) -> list[str]:
    """Relative paths ("/"-separated, sorted) of the files below `videos` that may be videos.

    Hidden files, files that are clearly something else, and the store itself are left out.
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

    names = files_below(
        videos,
        lambda name: PurePosixPath(name).suffix.lower() not in NOT_VIDEO,
        leave_out=store,
        unusable=told,
    )
    if not names and not refused:
        raise InputError(f"{videos}: no videos in this folder or below it")
    return names


def list_folder(videos: Path, store: Path | None = None) -> Listing:
    """Every video below a folder. Fake are those in a folder named "fake", at any depth, and the
    folder below that one is their method; all others are real. No splits.

    Raises InputError when there are no videos.
    """
    folders = Labelling()
    entries = []
    for name in find_videos(videos, store):
        label, method = folders.label(name)
        entries.append(
            Entry(
                video=name,
                path=videos / name,
                label=label,
                method=method,
                source=source_of(name),
            )
        )
    labels = {entry.label for entry in entries}
    note = f"all videos are {entries[0].label} by their folders (real/, fake/, fake/METHOD/)"
    return Listing(
        dataset="folder", entries=tuple(entries), notes=(note,) if len(labels) == 1 else ()
    )


def folder(root: Path, options: Options) -> Listing:
    """`list_folder`, of the methods asked for."""
    listing = list_folder(root, options.store)
    wanted = tuple(e for e in listing.entries if e.label == "real" or options.wants(e.method))
    return replace(listing, entries=wanted)


def diffswap(root: Path, options: Options) -> Listing:
    """real/ and fake/ trees, all of it test."""
    listing = folder(root, options)
    entries = tuple(replace(e, split="test", source="diffswap") for e in listing.entries)
    return replace(listing, dataset="diffswap", entries=entries, lists="by folder, all test")
