"""Bar and results of the commands that make stores: prepare, train."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fakestormer.cli.console.bars import LISTED, bar
from fakestormer.cli.options import print_log_of, say
from fakestormer.detection.printable import face_name, shown
from fakestormer.recipe.recipe import Recipe
from fakestormer.video.objects import copied

if TYPE_CHECKING:
    from fakestormer.data.origin import Origin
    from fakestormer.data.prepare import Progress, Summary
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
        say(f"{name}{face}: not used: {row.rejected} ({row.detail})")
    if len(refused) > LISTED:
        more = len(refused) - LISTED
        say(f"... and {more} more: {store}/manifest.parquet lists all, with reasons")
    notes = {row.video: row.detail for row in rows if row.detail and not row.rejected}
    for video, note in list(notes.items())[:LISTED]:
        say(f"{shown(video)}: {note}")
    if summary.vanished:
        say(
            f"{store}: {summary.vanished} videos that were finished earlier are not listed any "
            "more and are left out of the manifest"
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
