"""Stores and pairs being made: prepare, train (its first part), pseudo-fakes."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fakestormer.cli.console.bars import LISTED, bar
from fakestormer.detection.printable import face_name, shown
from fakestormer.errors import InputError
from fakestormer.faces.open import BackendName
from fakestormer.files import writing
from fakestormer.recipe.recipe import Recipe

if TYPE_CHECKING:
    from fakestormer.data.manifest import Split
    from fakestormer.data.origin import Origin
    from fakestormer.data.prepare import Progress as Prepared
    from fakestormer.data.prepare import Summary
    from fakestormer.evaluation.plan import SplitChoice
    from fakestormer.recipe.synthesis import SynthesisConfig


def prepare_with_bar(
    origin: Origin,
    store: Path,
    recipe: Recipe,
    *,
    hold_out: tuple[str, ...],
    validation_fraction: float,
    table: Path | None,
    workers: int,
    faces: BackendName,
    max_frames: int | None = 256,
    split: Split | None = None,
    splits: tuple[Split, ...] = (),
    cluster: str | None = None,
) -> Summary:
    """`prepare_listing` with a progress bar, what was rejected, and a closing line.

    splits: only the entries of these; empty takes all.
    """
    # Only here: preparing locks files in a way that some systems lack.
    from fakestormer.data.manifest import Labelling, read_manifest, read_table
    from fakestormer.data.prepare import prepare_listing

    labelling = Labelling(
        validation_sources=frozenset(hold_out),
        validation_fraction=validation_fraction,
        seed=recipe.training.seed,
        split=split,
        table={} if table is None else read_table(table, origin.root),
    )
    # The whole data set, whatever part of it is asked for: the manifest keeps what is finished.
    methods = origin.options.methods
    origin = dataclasses.replace(
        origin, options=dataclasses.replace(origin.options, methods=(), store=store)
    )
    listing = origin.listing()
    differing = (listing.missing, listing.unexpected, listing.doubled, listing.conflicts)
    differences = sum(len(names) for names in differing)
    if differences:
        print(
            f"{shown(str(origin.root))}: {differences} differences from the data set's lists; "
            "--check names them",
            file=sys.stderr,
        )
    with writing(store):
        store.mkdir(parents=True, exist_ok=True)
    with bar() as drawn:
        task = drawn.add_task("preparing", total=None)
        found = rejected = 0

        def advance(progress: Prepared) -> None:
            nonlocal found, rejected
            found += sum(not row.rejected for row in progress.rows)
            rejected += sum(bool(row.rejected) for row in progress.rows)
            drawn.update(
                task,
                total=progress.total,
                completed=progress.done,
                description=f"preparing: {found} faces, {rejected} rejected",
            )

        summary = prepare_listing(
            listing,
            store,
            backend=faces,
            crop=recipe.crop,
            tracking=recipe.tracking,
            workers=workers,
            cluster=cluster,
            max_frames=max_frames,
            min_frames=recipe.model.frames,
            splits=splits,
            methods=methods,
            labelling=labelling,
            origin=origin,
            progress=advance,
        )
    refused = [row for row in read_manifest(store) if row.rejected]
    for row in refused[:LISTED]:
        face = "" if row.track < 0 else f", {face_name(row.track)}"
        name = shown(row.video)
        print(f"{name}{face}: not used: {row.rejected} ({row.detail})", file=sys.stderr)
    if len(refused) > LISTED:
        print(
            f"... and {len(refused) - LISTED} more: {store / 'manifest.parquet'} lists all, with "
            "reasons",
            file=sys.stderr,
        )
    if summary.vanished:
        print(
            f"{store}: {summary.vanished} videos that were finished earlier are not listed any "
            "more and are left out of the manifest",
            file=sys.stderr,
        )
    by_split = ", ".join(f"{count} for {name}" for name, count in summary.by_split.items())
    reasons = ", ".join(f"{count} {reason}" for reason, count in summary.rejected.items())
    print(
        f"{store}: {summary.tracks} face tracks ({by_split}), {summary.frames} frames, from "
        f"{summary.videos} videos; {sum(summary.rejected.values())} videos or tracks rejected"
        + (f" ({reasons})" if reasons else "")
    )
    return summary


def write_pairs_with_bar(
    store: Path, folder: Path, *, split: SplitChoice, synthesis: SynthesisConfig, seed: int
) -> str:
    """`write_pairs` of a store's real tracks with a progress bar; returns a closing line."""
    from fakestormer.data.manifest import read_manifest, tracks_of
    from fakestormer.data.pseudo_fakes import write_pairs

    rows = read_manifest(store)
    splits: tuple[Split, ...] = ("train", "validation", "test") if split == "all" else (split,)
    real = [row for one in splits for row in tracks_of(rows, one)]
    if not real:
        raise InputError(f"{store}: no real track in the split {split!r}; choose another")
    with bar() as drawn:
        task = drawn.add_task("blending", total=len(real))
        table = write_pairs(
            store,
            real,
            folder,
            synthesis=synthesis,
            seed=seed,
            progress=lambda done, _: drawn.update(task, completed=done),
        )
    return (
        f"{folder}: {len(real)} real clips and as many pseudo-fakes; go on with\n"
        f"  fakestormer prepare {folder} --table {table} --split test --out STORE"
    )
