"""Any tree of videos, labelled by its folders."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fakestormer.data.layouts.options import Options
from fakestormer.data.listing import Entry, Listing
from fakestormer.data.manifest import Labelling, source_of
from fakestormer.errors import InputError
from fakestormer.video.folder import find_videos
from fakestormer.video.objects import videos_at


def list_folder(videos: Path | str, store: Path | None = None) -> Listing:
    """Every video below a folder, or below an address in an object store. Fake are those in a
    folder "fake"; the folder below is their method.
    """
    folders = Labelling()
    entries = []
    names = _names_at(videos) if isinstance(videos, str) else find_videos(videos, store)
    for name in names:
        label, method = folders.label(name)
        entries.append(
            Entry(
                video=name,
                path=Path(videos, name),
                address=f"{videos}/{name}" if isinstance(videos, str) else "",
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


def _names_at(address: str) -> list[str]:
    """The names of the videos below an address that has no slash at its end."""
    addresses = videos_at(address)
    if addresses == [address]:
        raise InputError(f"{address}: is one object; give the folder that holds the videos")
    return [video.removeprefix(f"{address}/") for video in addresses]


def folder(root: Path | str, options: Options) -> Listing:
    """`list_folder`, of the methods asked for."""
    listing = list_folder(root, options.store)
    wanted = tuple(e for e in listing.entries if e.label == "real" or options.wants(e.method))
    return replace(listing, entries=wanted)


def diffswap(root: Path, options: Options) -> Listing:
    """real/ and fake/ trees, all of it test."""
    listing = folder(root, options)
    entries = tuple(replace(e, split="test", source="diffswap") for e in listing.entries)
    return replace(listing, dataset="diffswap", entries=entries, lists="by folder, all test")
