"""What the command line draws: progress bars on standard error, results on standard output."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from fakestormer.batch import DetectorSettings, detect_many
from fakestormer.detector import Detector
from fakestormer.errors import InputError
from fakestormer.explain.report import face_name, shown
from fakestormer.recipes import Recipe
from fakestormer.types import Report, Verdict
from fakestormer.video.faces import BackendName, OpenBackend

if TYPE_CHECKING:
    from fakestormer.data.manifest import Split
    from fakestormer.data.origin import Origin
    from fakestormer.data.prepare import Progress as Prepared
    from fakestormer.data.prepare import Summary
    from fakestormer.evaluation.compare import Method
    from fakestormer.evaluation.corruptions import CorruptionName
    from fakestormer.evaluation.protocol import FaceChoice, SplitChoice
    from fakestormer.evaluation.scoring import AppliedTo
    from fakestormer.model.network import VideoNetwork
    from fakestormer.synthesis.config import SynthesisConfig
    from fakestormer.video.clips import Sampling

#: Rejected videos that are printed; the manifest has all of them.
_LISTED = 50


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
    # Only here: preparing locks files in a way that some systems lack, and detection needs not.
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
    for row in refused[:_LISTED]:
        face = "" if row.track < 0 else f", {face_name(row.track)}"
        name = shown(row.video)
        print(f"{name}{face}: not used: {row.rejected} ({row.detail})", file=sys.stderr)
    if len(refused) > _LISTED:
        print(
            f"... and {len(refused) - _LISTED} more: {store / 'manifest.parquet'} lists all, with "
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
    model: Path,
    stores: Mapping[str, Path],
    out: Path,
    *,
    samplings: tuple[Sampling, ...],
    split: SplitChoice,
    face: FaceChoice,
    corruptions: tuple[CorruptionName, ...] = (),
    levels: tuple[int, ...] = (),
    applied_to: AppliedTo = "frames",
    roots: Mapping[str, Path] | None = None,
    workers: int = 0,
    faces: BackendName = "auto",
) -> dict[str, Any]:
    """Score the stores' videos with a progress bar, write everything, return the document.

    samplings: empty takes the model's own. levels: of every corruption. roots: where the videos of
    a store lie, where they were moved.
    """
    # Only here: holding a folder needs locks that some systems lack, and detection needs none.
    from fakestormer.data.manifest import read_settings
    from fakestormer.data.origin import entries_of
    from fakestormer.evaluation.outputs import write_outputs
    from fakestormer.evaluation.protocol import videos_of
    from fakestormer.evaluation.run import Plan, evaluate, opened
    from fakestormer.evaluation.scoring import CLEAN, Condition, check_backend

    for store in stores.values():  # before hours are spent on the others
        videos_of(store, detector.recipe.crop, split)
    conditions = [
        Condition(corruption=name, level=level) for name in corruptions for level in levels
    ]
    predictions = {
        sampling: detector.prediction.model_copy(update={"sampling": sampling})
        for sampling in samplings or (detector.prediction.sampling,)
    }
    entries = None
    if conditions and applied_to == "frames":
        for store in stores.values():  # before hours are spent on the clean videos
            check_backend(OpenBackend(faces)(), store)
        moved = roots or {}
        entries = {name: entries_of(store, moved.get(name)) for name, store in stores.items()}
    plan = Plan(
        stores=stores,
        crop=detector.recipe.crop,
        weights_sha256=detector.weights_sha256,
        open_network=_OpenNetwork(model, detector, alone=workers == 0),
        open_faces=OpenBackend(faces),
        predictions=predictions,
        split=split,
        face=face,
        conditions=(CLEAN, *conditions),
        applied_to=applied_to,
        entries=entries,
        workers=workers,
    )
    for name, store in stores.items():
        found_by = read_settings(store).backend
        if detector.trained_with not in (None, found_by):
            print(
                f"{name}: its faces were found by {found_by}, the model was trained on faces found "
                f"by {detector.trained_with}: they are cropped a little differently",
                file=sys.stderr,
            )
    with _bar() as bar:
        task = bar.add_task("scoring", total=None)

        def advance(done: int, total: int, what: str) -> None:
            description = f"scoring {shown(what)}" if what else "scoring"
            bar.update(task, completed=done, total=total, description=description)

        with opened(out):
            scores = evaluate(plan, out, progress=advance)
            return write_outputs(
                plan,
                scores,
                out,
                model=detector.fingerprint(faces=False),
                clip_length=detector.network.config.frames,
            )


def shortcuts_with_bar(
    detector: Detector,
    model: Path,
    store: Path,
    out: Path,
    *,
    split: SplitChoice,
    at_most: int | None,
    workers: int,
) -> str:
    """Look for shortcuts with a progress bar, write everything, return the Markdown."""
    from fakestormer.evaluation.shortcuts import find_shortcuts, write_shortcuts

    with _bar() as bar:
        task = bar.add_task("scoring real videos, treated", total=None)
        found, scores = find_shortcuts(
            store,
            detector.recipe.crop,
            detector.prediction,
            _OpenNetwork(model, detector, alone=workers == 0),
            split=split,
            at_most=at_most,
            workers=workers,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    about = {
        "model": detector.fingerprint(faces=False),
        "store": str(store),
        "split": split,
        "settings": detector.prediction.model_dump(mode="json"),
    }
    return write_shortcuts(out, found, scores, about=about)


class _OpenNetwork:
    """The network of a model, for a process that scores: loaded there, or the one at hand."""

    def __init__(self, model: Path, detector: Detector, *, alone: bool) -> None:
        self.model = model
        self.device = str(next(detector.network.parameters()).device)
        self._at_hand = detector.network if alone else None

    def __call__(self) -> VideoNetwork:
        if self._at_hand is not None:
            return self._at_hand
        return Detector.load(self.model, device=self.device).network


def compare_and_print(
    a: Path, b: Path, *, sampling: str | None, method: Method, out: Path | None
) -> None:
    """Print whether the models of two evaluations differ on the same videos."""
    from fakestormer.evaluation.compare import compare_videos, comparison_markdown
    from fakestormer.evaluation.results import read_evaluation, scores_of
    from fakestormer.files import write_atomically

    documents = [read_evaluation(path) for path in (a, b)]
    there = [document["settings"]["samplings"] for document in documents]
    common = [name for name in there[0] if name in there[1]]
    chosen = sampling or next(iter(common), None)
    if chosen is None or chosen not in common:
        raise InputError(
            f"{a} was sampled by {', '.join(there[0])}, {b} by {', '.join(there[1])}: choose "
            "one that both have, with --sampling, or evaluate again"
        )
    names = ("A", "B")
    comparisons = compare_videos(
        scores_of(documents[0], chosen), scores_of(documents[1], chosen), method=method, names=names
    )
    for name, path, document in zip(names, (a, b), documents, strict=True):
        model = document["model"]
        print(f"{name}: {path}: {model['name']} ({model['weights_sha256'][:12]})")
    print(f"\nSampling {chosen}.\n\n{comparison_markdown(comparisons, names)}")
    if out is not None:
        content = [dataclasses.asdict(comparison) for comparison in comparisons]
        text = json.dumps({"sampling": chosen, "comparisons": content}, indent=2) + "\n"
        write_atomically(out, text.encode())


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


def detect_with_bar(detector: Detector, path: Path, *, every_second: bool = False) -> Report:
    """`Detector.detect` with a progress bar by stage."""
    stages = {
        "faces": "following faces",
        "scores": "scoring faces",
        "seconds": "scoring every second",
    }
    with _bar() as bar:
        task = bar.add_task(f"{shown(path.name)}: reading", total=None)

        def advance(stage: str, done: int, total: int | None) -> None:
            bar.update(
                task,
                description=f"{shown(path.name)}: {stages[stage]}",
                completed=done,
                total=None if total is None else max(done, total),
            )

        return detector.detect(path, progress=advance, every_second=every_second)


def detected(
    settings: DetectorSettings,
    files: Sequence[str],
    *,
    workers: int,
    cluster: str | None,
    detector: Detector | None = None,
) -> Iterator[tuple[str, Report | str]]:
    """(file, its report or the sentence why there is none), with a bar: by stage of each file, or
    of all files where other processes work on them.

    detector: what `settings` opens, where it is open already. Without files it opens nothing.
    """
    if not files:
        return
    # In any case here: what is wrong with the model is said once.
    detector = detector or settings.open()
    if workers == 0 and cluster is None:
        for path in files:
            try:
                yield (
                    path,
                    detect_with_bar(detector, Path(path), every_second=settings.every_second),
                )
            except InputError as error:
                yield path, str(error)
        return
    with _bar() as bar:
        task = bar.add_task("detecting", total=len(files))
        for path, found in detect_many(settings, files, workers=workers, cluster=cluster):
            bar.advance(task)
            yield path, found


def print_report(report: Report) -> None:
    """The verdict of a video and of every face in it, with what to bear in mind."""
    assert report.probability is not None, "a detected video has a score"
    print(f"{shown(report.path)}: {report.verdict} ({report.probability:.3f})")
    for face in report.faces:
        seconds = face.prediction.pts_seconds
        print(
            f"  {face_name(face.number)}, {float(seconds.min()):.1f}-{float(seconds.max()):.1f} s:"
            f" {face.verdict} ({face.prediction.probability:.3f})"
            + (
                ""
                if face.prediction.raw is None
                else f", before calibration {face.prediction.raw:.3f}"
            )
        )
        if face.interval is not None:
            low, high = face.interval
            print(f"    over its clips: {low:.3f} to {high:.3f}")
        for reason in face.reasons:
            print(f"    reason: {reason.text}")
        shots_s = face.prediction.shot_probabilities
        if len(shots_s) > 1:
            last, mean = float(shots_s[-1]), float(shots_s.mean())
            print(f"    {len(shots_s)} shots: last {last:.3f}, mean {mean:.3f}")
        for warning in face.warnings:
            print(f"    note: {shown(warning)}")
    for warning in report.warnings:
        print(f"  note: {shown(warning)}")


def print_summary(results: Sequence[Mapping[str, Any]]) -> None:
    """How many files got which verdict, and which could not be used; of entries of "results"."""
    counts = dict.fromkeys(get_args(Verdict), 0)
    failures = [result for result in results if "error" in result]
    for result in results:
        if "error" not in result:
            counts[result["verdict"]] += 1
    lines = {f"{len(results)} files": "", **{k: str(n) for k, n in counts.items()}}
    lines["could not be used"] = str(len(failures))
    widest = max(map(len, lines))
    print()
    for name, count in lines.items():
        print(f"{name:<{widest}}  {count:>6}".rstrip())
    for result in failures[:_LISTED]:
        print(f"  {shown(result['path'])}")
    if len(failures) > _LISTED:
        print(f"  ... and {len(failures) - _LISTED} more")
