"""Bars and results of the commands that measure: evaluate, shortcuts, compare, ablate."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fakestormer.cli.console.bars import bar, working
from fakestormer.cli.options import say
from fakestormer.detection.printable import shown
from fakestormer.errors import InputError
from fakestormer.files import write_atomically, writing

if TYPE_CHECKING:
    from fakestormer.detection.detector import Detector
    from fakestormer.evaluation.evaluate import EvaluationSettings
    from fakestormer.evaluation.plan import SplitChoice
    from fakestormer.tools.ablation.run import Bench


def evaluate_with_bar(
    model: Path, stores: Mapping[str, Path], out: Path, settings: EvaluationSettings
) -> dict[str, Any]:
    """`evaluate` with a progress bar; returns the document."""
    # Only here: evaluating locks a folder in a way that some systems lack.
    from fakestormer.evaluation.evaluate import evaluate

    with bar() as drawn:
        task = drawn.add_task("scoring", total=None)

        def advance(done: int, total: int, name: str) -> None:
            description = f"scoring {shown(name)}" if name else "scoring"
            drawn.update(task, completed=done, total=total, description=description)

        return evaluate(model, stores, out, settings, progress=advance, warn=say)


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
    from fakestormer.evaluation.evaluate import OpenNetwork
    from fakestormer.evaluation.shortcuts import find_shortcuts, write_shortcuts

    with writing(out):  # before hours are spent
        out.mkdir(parents=True, exist_ok=True)
    with bar() as drawn:
        task = drawn.add_task("scoring real videos, treated", total=None)
        shortcuts, scores = find_shortcuts(
            store,
            detector.recipe.crop,
            detector.prediction,
            OpenNetwork(model, detector, alone=workers == 0),
            split=split,
            at_most=at_most,
            workers=workers,
            progress=lambda done, total: drawn.update(task, completed=done, total=total),
        )
    about = {
        "model": detector.fingerprint(faces=False),
        "store": str(store),
        "split": split,
        "settings": detector.prediction.model_dump(mode="json")
        | {"fake_from": detector.prediction.fake_from},
    }
    return write_shortcuts(out, shortcuts, scores, about=about)


def compare_and_print(a: Path, b: Path, *, sampling: str | None, out: Path | None) -> None:
    """Print whether the models of two evaluations differ on the same videos."""
    from fakestormer.evaluation.compare import compare_videos, comparison_markdown
    from fakestormer.evaluation.document import read_evaluation, scores_of

    documents = [read_evaluation(path) for path in (a, b)]
    samplings = [document["settings"]["samplings"] for document in documents]
    common = [name for name in samplings[0] if name in samplings[1]]
    chosen = sampling or next(iter(common), None)
    if chosen is None or chosen not in common:
        raise InputError(
            f"{a} was sampled by {', '.join(samplings[0])}, {b} by {', '.join(samplings[1])}: "
            "choose one that both have, with --sampling, or evaluate again"
        )
    names = ("A", "B")
    ours, theirs = (scores_of(document, chosen) for document in documents)
    with working("comparing"):
        comparisons = compare_videos(ours, theirs, names=names)
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
    bench: Bench,
    *,
    only: tuple[str, ...] = (),
    seeds: int = 1,
    plan: bool = False,
) -> bool:
    """Run a table's rows, writing the table anew after each; returns whether all could be run.

    plan: print what would be run and its cost instead.
    """
    from fakestormer.tools.ablation.plan import plan_markdown, plan_runs
    from fakestormer.tools.ablation.report import write_table
    from fakestormer.tools.ablation.run import RowResult, check_bench, row_recipes, run_row
    from fakestormer.tools.ablation.tables import TABLES

    table = TABLES[name]
    check_bench(table, bench)
    rows = row_recipes(table, bench.recipe, only)
    if plan:
        print(plan_markdown(plan_runs(rows, bench, seeds), bench))
        return True
    results: list[list[RowResult]] = []
    text = ""
    for row in rows:
        results.append([])
        for seed in range(seeds):
            result = run_row(row, bench, seed=seed, corrupted=table.cells == "corruptions")
            results[-1].append(result)
            text = write_table(name, table, results, bench)
            if result.reason:
                break
    print(text)
    return not any(result.reason for row_results in results for result in row_results)
