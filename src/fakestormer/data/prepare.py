"""A listing of videos -> a track store, resumable and in parallel.

    listing -> entry -> rows and tracks/*.zip (prepare_one.py) -> journal/*.json
    all journals -> manifest.parquet

What a video gave is journalled as soon as it is known, so a run that was killed at any moment
continues where it stopped, and one bad file, even one that crashes the decoder, costs only itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from fakestormer.data.journal import hold, journalled, read_finished, sweep, write_entry
from fakestormer.data.listing import Entry, Listing
from fakestormer.data.manifest import (
    Labelling,
    MaxFrames,
    Row,
    Split,
    StoreSettings,
    write_manifest,
    write_settings,
)
from fakestormer.data.origin import Origin, write_origin
from fakestormer.data.prepare_one import FaceSource, PrepareOne
from fakestormer.errors import InputError
from fakestormer.faces.open import BackendName, open_backend
from fakestormer.files import sha256_of
from fakestormer.parallel.pool import map_videos
from fakestormer.recipe.faces import CropConfig, TrackingConfig

#: Bytes of a file name; the store's own files add a few, and file systems end at 255.
LONGEST_NAME = 230

BackendFactory = Callable[[], FaceSource]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One more entry is finished: `done` of `total`, and its rows."""

    done: int
    total: int
    video: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What the store holds now. videos: finished entries; resumed: of those, by earlier runs.

    vanished: entries that an earlier run finished and that are not listed any more; the manifest
    leaves them out. unmatched: rows of the user's table that are about none of the videos.
    """

    videos: int
    resumed: int
    vanished: int
    tracks: int
    frames: int
    by_split: Mapping[str, int]
    rejected: Mapping[str, int]
    unmatched: int = 0


def prepare_listing(
    listing: Listing,
    store: Path,
    *,
    tracks: str | None = None,
    backend: BackendName | BackendFactory = "auto",
    crop: CropConfig | None = None,
    tracking: TrackingConfig | None = None,
    workers: int = 0,
    cluster: str | None = None,
    max_frames: MaxFrames = 256,
    min_frames: int = 4,
    stream: int | None = None,
    splits: tuple[Split, ...] = (),
    methods: tuple[str, ...] = (),
    labelling: Labelling | None = None,
    origin: Origin | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Summary:
    """Prepare the videos of a listing into `store`; run it again to continue or to add videos.

    tracks: the address in an object store that gets the tracks; None writes them into the folder.
    backend: a name, or a picklable function that opens one or `LandmarkFiles`. workers: processes,
    0 = this one. cluster: address of a Ray cluster instead. min_frames: shorter tracks are rejected
    (T of the network, at least). stream: None takes the one that players show. splits, methods: do
    only these videos; empty takes all. The manifest holds all that are finished, of earlier runs
    too. labelling: goes before what the listing says; changing it only rewrites the manifest.
    Raises InputError when a validation source does not exist, and when the store was begun with
    other settings or another folder, or is in use; SetupError when face models are missing.
    """
    labelling = _with_listing(labelling or Labelling(), listing)
    entries = {entry.video: entry for entry in listing.entries}
    sources = {labelling.source(name) for name in entries}
    if unknown := labelling.validation_sources - sources:
        raise InputError(
            f"validation sources not found: {', '.join(sorted(unknown))}; the sources here are "
            f"{', '.join(sorted(sources))}"
        )
    rows = {name: labelling.apply(Row(video=_shown(name), sha256="")) for name in entries}
    wanted = _wanted(rows, splits, methods)
    unusable = {name: why for name in wanted if (why := _unusable(name))}
    tracking = tracking or TrackingConfig()
    open_this = backend if callable(backend) else partial(open_backend, backend)
    opened = open_this()
    settings = StoreSettings(
        dataset=listing.dataset,
        compression=listing.compression,
        backend=opened.name,
        crop=crop or CropConfig(),
        tracking=tracking,
        max_frames=max_frames,
        min_frames=max(min_frames, tracking.min_track_frames),
        stream=stream,
    )
    store.mkdir(parents=True, exist_ok=True)
    with hold(store, "prepare"):
        sweep(store)
        finished = read_finished(store, entries)
        write_settings(store, settings)
        if origin is not None:
            write_origin(store, origin)
        for name, why in unusable.items():
            finished[name] = (
                Row(video=_shown(name), sha256="", rejected="undecodable", detail=why),
            )
        resumed = len(finished.keys() & wanted)
        todo = [name for name in entries if name in wanted and name not in finished]
        # The store may be named relative to a folder that other processes are not in.
        limits = {name: settings.frames_in(row.split) for name, row in rows.items()}
        work = PrepareOne(entries, limits, store.resolve(), settings, open_this, tracks)
        for name, made in map_videos(work, todo, workers=workers, cluster=cluster):
            if made is None:
                made = (_crashed(entries[name]),)
            if made[0].rejected != "not fetched":  # which may be another time
                write_entry(store, entries[name], made)
            finished[name] = made
            if progress is not None:
                done = len(finished.keys() & wanted)
                progress(Progress(done=done, total=len(wanted), video=name, rows=tuple(made)))
        labelled = labelling.apply_all(
            replace(row, face_source=settings.backend)
            for name in entries
            if name in finished
            for row in finished[name]
        )
        write_manifest(store, labelled)
    good = [row for row in labelled if not row.rejected]
    in_split = Counter(row.split for row in good)
    return Summary(
        videos=len(finished),
        resumed=resumed,
        vanished=len(journalled(store).keys() - entries.keys()),
        tracks=len(good),
        frames=sum(row.frames for row in good),
        by_split={
            name: in_split[name]
            for name in ("train", "validation", "test")
            if name != "test" or in_split[name]
        },
        rejected=Counter(row.rejected for row in labelled if row.rejected),
    )


def _with_listing(labelling: Labelling, listing: Listing) -> Labelling:
    """The labelling with what the listing knows, where the user's table says nothing.

    Where videos are to be held out and the data set has no validation split of its own, they are
    held out from its training videos.
    """
    holds_out = bool(labelling.validation_sources) or labelling.validation_fraction > 0
    given = {entry.split for entry in listing.entries}
    loose = holds_out and "validation" not in given
    table: dict[str, Mapping[str, str]] = dict(labelling.table)
    for entry in listing.entries:
        listed = {
            "source": _shown(entry.source),
            "identity": entry.identity,
            "split": "" if loose and entry.split == "train" else entry.split,
            # A sequence's label is its own: its folder says it. An archive that cannot be opened
            # has no such folder, and is counted as what it should hold.
            "label": "" if entry.kind == "sequences" else entry.label,
            "else_label": entry.label,
            "method": entry.method,
        }
        stated = {key: word for key, word in labelling.table_row(entry.video).items() if word}
        table[_shown(entry.video)] = listed | stated
    return replace(labelling, table=table)


def _wanted(
    rows: Mapping[str, Row], splits: tuple[Split, ...], methods: tuple[str, ...]
) -> set[str]:
    """The names of the entries to do. Raises InputError where there are none."""
    chosen = {name for name, row in rows.items() if not splits or row.split in splits}
    if not chosen:
        there = sorted({row.split for row in rows.values()})
        raise InputError(
            f"no video is in the split {' or '.join(splits)}; the splits here are "
            f"{', '.join(there)}"
        )
    made = {row.method for row in rows.values() if row.label == "fake"}
    absent = [method for method in methods if method not in made]
    if absent:
        raise InputError(
            f"no fakes made by {absent[0]} are here; the methods here are "
            f"{', '.join(sorted(made)) or 'not named'}"
        )
    return {
        name
        for name in chosen
        if rows[name].label == "real" or not methods or rows[name].method in methods
    }


def _unusable(name: str) -> str:
    """Why files of the store cannot have a name like this, or ""."""
    if _shown(name) != name:
        return "its name is not valid UTF-8, and manifests hold text; rename it"
    if len(name.rpartition("/")[2].encode()) > LONGEST_NAME:
        return f"its name has more than {LONGEST_NAME} bytes; rename it"
    return ""


def _shown(name: str) -> str:
    return name.encode(errors="backslashreplace").decode()


def _crashed(entry: Entry) -> Row:
    try:
        sha256 = sha256_of(entry.path) if entry.path.is_file() else ""
    except InputError:  # not even readable: the row says why, the others go on
        sha256 = ""
    detail = "the process died on it"
    return Row(video=entry.video, sha256=sha256, rejected="decoder crashed", detail=detail)
