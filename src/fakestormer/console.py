"""What the command line draws: progress bars on standard error, results on standard output."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from fakestormer.detector import Detector
from fakestormer.errors import InputError
from fakestormer.explain.report import face_name, shown
from fakestormer.recipes import Recipe
from fakestormer.types import Report
from fakestormer.video.faces import BackendName

if TYPE_CHECKING:
    from fakestormer.data.manifest import Split
    from fakestormer.data.prepare import Progress as Prepared
    from fakestormer.data.prepare import Summary
    from fakestormer.evaluation.protocol import FaceChoice, SplitChoice
    from fakestormer.synthesis.config import SynthesisConfig


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
    with _bar() as bar:
        task = bar.add_task("blending", total=len(real))
        table = write_pairs(
            store,
            real,
            folder,
            synthesis=synthesis,
            seed=seed,
            progress=lambda done, _: bar.update(task, completed=done),
        )
    return (
        f"{folder}: {len(real)} real clips and as many pseudo-fakes; go on with\n"
        f"  fakestormer prepare {folder} --table {table} --split test --out STORE"
    )


def evaluate_with_bar(
    detector: Detector,
    stores: Mapping[str, Path],
    folder: Path,
    *,
    split: SplitChoice,
    face: FaceChoice,
) -> dict[str, Any]:
    """Score the stores' videos with a progress bar, write the results, return their document."""
    from fakestormer.evaluation.protocol import score_store, videos_of
    from fakestormer.evaluation.results import evaluation_document, write_evaluation

    for store in stores.values():  # before hours are spent on the others
        videos_of(store, detector.recipe.crop, split)
    scores = []
    with _bar() as bar:
        for name, store in stores.items():
            task = bar.add_task(shown(name), total=None)

            def advance(done: int, total: int, task: TaskID = task) -> None:
                bar.update(task, completed=done, total=total)

            scores += score_store(
                detector.network,
                detector.prediction,
                detector.recipe.crop,
                store,
                name=name,
                split=split,
                face=face,
                progress=advance,
            )
    document = evaluation_document(
        scores,
        stores,
        model=detector.fingerprint(faces=False),
        settings=detector.prediction.model_dump(mode="json")
        | {"clip_length": detector.network.config.frames, "split": split, "face": face},
    )
    write_evaluation(folder, scores, document)
    return document


def ablate_and_print(
    name: str,
    training_store: Path,
    tests: Mapping[str, Path],
    folder: Path,
    *,
    recipe: Recipe,
    only: tuple[str, ...],
    weights: Path | None,
    split: SplitChoice,
    accelerator: str,
    workers: int,
) -> bool:
    """Run a table's rows, writing the table anew after each; returns whether all could be run."""
    from fakestormer.ablation.report import write_table
    from fakestormer.ablation.run import Bench, row_recipes, run_row
    from fakestormer.ablation.tables import TABLES

    table = TABLES[name]
    bench = Bench(
        recipe=recipe,
        training_store=training_store,
        tests=tests,
        out=folder,
        split=split,
        initial_weights=weights,
        accelerator=accelerator,
        workers=workers,
        progress=lambda line: print(line, file=sys.stderr, flush=True),
    )
    results = []
    text = ""
    for row in row_recipes(table, recipe, only):
        results.append(run_row(row, bench))
        text = write_table(name, table, results, bench)
    print(text)
    return not any(result.reason for result in results)


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
