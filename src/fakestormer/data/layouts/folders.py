"""Any tree of videos, labelled by its folders."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fakestormer.data.layouts.options import Options
from fakestormer.data.listing import Entry, Listing
from fakestormer.data.manifest import Labelling, source_of
from fakestormer.video.folder import find_videos


def list_folder(videos: Path, store: Path | None = None) -> Listing:
    """Every video below a folder. Fake are those in a folder "fake"; the folder below is their
    method.
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
