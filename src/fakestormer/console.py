"""What the command line draws: progress bars on standard error, results on standard output."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from fakestormer.detector import Detector
from fakestormer.explain.report import face_name, shown
from fakestormer.recipes import Recipe
from fakestormer.types import Report
from fakestormer.video.faces import BackendName

if TYPE_CHECKING:
    from fakestormer.data.manifest import Split
    from fakestormer.data.prepare import Progress as Prepared
    from fakestormer.data.prepare import Summary


def _bar() -> Progress:
    """A bar that goes when it is done; nothing at all where standard error is not a terminal."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def prepare_with_bar(
    videos: Path,
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
) -> Summary:
    """`prepare_folder` with a progress bar, the list of what was rejected, and a closing line."""
    # Only here: preparing locks files in a way that some systems lack, and detection needs not.
    from fakestormer.data.manifest import read_manifest
    from fakestormer.data.prepare import prepare_folder

    with _bar() as bar:
        task = bar.add_task("preparing", total=None)
        found = rejected = 0

        def advance(progress: Prepared) -> None:
            nonlocal found, rejected
            found += sum(not row.rejected for row in progress.rows)
            rejected += sum(bool(row.rejected) for row in progress.rows)
            bar.update(
                task,
                total=progress.total,
                completed=progress.done,
                description=f"preparing: {found} faces, {rejected} rejected",
            )

        summary = prepare_folder(
            videos,
            store,
            backend=faces,
            crop=recipe.crop,
            tracking=recipe.tracking,
            workers=workers,
            max_frames=max_frames,
            min_frames=recipe.model.frames,
            validation_sources=hold_out,
            validation_fraction=validation_fraction,
            seed=recipe.training.seed,
            split=split,
            table=table,
            progress=advance,
        )
    for row in read_manifest(store):
        if row.rejected:
            face = "" if row.track < 0 else f", {face_name(row.track)}"
            name = shown(row.video)
            print(f"{name}{face}: not used: {row.rejected} ({row.detail})", file=sys.stderr)
    splits = ", ".join(f"{count} for {split}" for split, count in summary.by_split.items())
    print(
        f"{store}: {summary.tracks} face tracks ({splits}), {summary.frames} frames, from "
        f"{summary.videos} videos; {sum(summary.rejected.values())} videos or tracks rejected"
    )
    return summary


def detect_with_bar(detector: Detector, path: Path) -> Report:
    """`Detector.detect` with a progress bar by stage."""
    stages = {"faces": "following faces", "scores": "scoring faces"}
    with _bar() as bar:
        task = bar.add_task(f"{shown(path.name)}: reading", total=None)

        def advance(stage: str, done: int, total: int | None) -> None:
            bar.update(
                task,
                description=f"{shown(path.name)}: {stages[stage]}",
                completed=done,
                total=None if total is None else max(done, total),
            )

        return detector.detect(path, progress=advance)


def print_report(report: Report) -> None:
    """The verdict of a video and of every face in it, with what to bear in mind."""
    assert report.probability is not None, "a detected video has a score"
    print(f"{shown(report.path)}: {report.verdict} ({report.probability:.3f})")
    for face in report.faces:
        seconds = face.prediction.pts_seconds
        print(
            f"  {face_name(face.number)}, {float(seconds.min()):.1f}-{float(seconds.max()):.1f} s:"
            f" {face.verdict} ({face.prediction.probability:.3f})"
        )
        shots_s = face.prediction.shot_probabilities
        if len(shots_s) > 1:
            last, mean = float(shots_s[-1]), float(shots_s.mean())
            print(f"    {len(shots_s)} shots: last {last:.3f}, mean {mean:.3f}")
        for warning in face.warnings:
            print(f"    note: {warning}")
    for warning in report.warnings:
        print(f"  note: {warning}")
