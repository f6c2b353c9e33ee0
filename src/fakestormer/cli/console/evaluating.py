"""Bars and results of the commands that measure: evaluate, shortcuts, compare, ablate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fakestormer.cli.console.bars import bar
from fakestormer.cli.options import say
from fakestormer.detection.printable import shown
from fakestormer.files import writing

if TYPE_CHECKING:
    from fakestormer.detection.detector import Detector
    from fakestormer.evaluation.evaluate import EvaluationSettings
    from fakestormer.evaluation.plan import SplitChoice
    from fakestormer.tools.ablation.run import Bench


def evaluate_with_bar(
    model: Path, stores: Mapping[str, Path | str], out: str, settings: EvaluationSettings
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
    from fakestormer.evaluation.evaluate import OpenEngine
    from fakestormer.evaluation.shortcuts import find_shortcuts, write_shortcuts

    with writing(out):  # before hours are spent
        out.mkdir(parents=True, exist_ok=True)
    with bar() as drawn:
        task = drawn.add_task("scoring real videos, treated", total=None)
        shortcuts, scores = find_shortcuts(
            store,
            detector.recipe.crop,
            detector.prediction,
            OpenEngine(model, detector, alone=workers == 0),
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
