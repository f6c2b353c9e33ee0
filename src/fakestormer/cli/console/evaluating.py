"""Models being measured: evaluate, shortcuts, compare, ablate."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fakestormer.cli.console.bars import bar
from fakestormer.detection.detector import Detector
from fakestormer.detection.printable import shown
from fakestormer.errors import InputError
from fakestormer.faces.open import BackendName, OpenBackend
from fakestormer.files import write_atomically, writing
from fakestormer.recipe.recipe import Recipe

if TYPE_CHECKING:
    from fakestormer.evaluation.compare import Method
    from fakestormer.evaluation.corruptions import CorruptionName
    from fakestormer.evaluation.protocol import FaceChoice, SplitChoice
    from fakestormer.evaluation.scoring import AppliedTo
    from fakestormer.model.network import VideoNetwork
    from fakestormer.recipe.prediction import Sampling


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
    # Only here: holding a folder needs locks that some systems lack.
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
    with bar() as drawn:
        task = drawn.add_task("scoring", total=None)

        def advance(done: int, total: int, what: str) -> None:
            description = f"scoring {shown(what)}" if what else "scoring"
            drawn.update(task, completed=done, total=total, description=description)

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

    with writing(out):  # before hours are spent
        out.mkdir(parents=True, exist_ok=True)
    with bar() as drawn:
        task = drawn.add_task("scoring real videos, treated", total=None)
        found, scores = find_shortcuts(
            store,
            detector.recipe.crop,
            detector.prediction,
            _OpenNetwork(model, detector, alone=workers == 0),
            split=split,
            at_most=at_most,
            workers=workers,
            progress=lambda done, total: drawn.update(task, completed=done, total=total),
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
        with writing(out):
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
    from fakestormer.tools.ablation.report import write_table
    from fakestormer.tools.ablation.run import Bench, row_recipes, run_row
    from fakestormer.tools.ablation.tables import TABLES

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
