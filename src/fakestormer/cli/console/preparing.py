"""Bars and results of the commands that make stores and pairs: prepare, train, pseudo-fakes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fakestormer.cli.console.bars import LISTED, bar
from fakestormer.cli.options import print_log_of
from fakestormer.detection.printable import face_name, shown
from fakestormer.errors import InputError
from fakestormer.recipe.recipe import Recipe
from fakestormer.video.objects import copied

if TYPE_CHECKING:
    from fakestormer.data.manifest import Split
    from fakestormer.data.origin import Origin
    from fakestormer.data.prepare import Progress, Summary
    from fakestormer.evaluation.plan import SplitChoice
    from fakestormer.recipe.synthesis import SynthesisConfig
    from fakestormer.tools.commands import PrepareSettings


def prepare_with_bar(
    videos: str | Path | Origin, store: Path | str, *, recipe: Recipe, settings: PrepareSettings
) -> Summary:
    """`prepare` with a progress bar, the videos that cannot be used, and a closing line."""
    from fakestormer.data.interpolation import interpolation_in
    from fakestormer.data.manifest import read_manifest, tracks_of
    from fakestormer.tools.commands import prepare

    print_log_of("fakestormer.video.folder")
    print_log_of("fakestormer.tools.commands")
    with bar() as drawn:
        task = drawn.add_task("preparing", total=None)
        faces = rejected = 0

        def advance(progress: Progress) -> None:
            nonlocal faces, rejected
            faces += sum(not row.rejected for row in progress.rows)
            rejected += sum(bool(row.rejected) for row in progress.rows)
            drawn.update(
                task,
                total=progress.total,
                completed=progress.done,
                description=f"preparing: {faces} faces, {rejected} rejected",
            )

        summary = prepare(videos, store, recipe=recipe, settings=settings, progress=advance)
    with copied(store) as folder:
        rows = read_manifest(folder)
    refused = [row for row in rows if row.rejected]
    for row in refused[:LISTED]:
        face = "" if row.track < 0 else f", {face_name(row.track + 1)}"
        name = shown(row.video)
        print(f"{name}{face}: not used: {row.rejected} ({row.detail})", file=sys.stderr)
    if len(refused) > LISTED:
        print(
            f"... and {len(refused) - LISTED} more: {store}/manifest.parquet lists all, with "
            "reasons",
            file=sys.stderr,
        )
    notes = {row.video: row.detail for row in rows if row.detail and not row.rejected}
    for video, note in list(notes.items())[:LISTED]:
        print(f"{shown(video)}: {note}", file=sys.stderr)
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
    if isinstance(store, Path):  # it reads every track
        for part in ("train", "validation", "test"):
            if tracks := tracks_of(rows, part):
                print(
                    f"real {part} tracks: {interpolation_in(store, tracks, recipe.synthesis.tau)}"
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
