"""What `ablate` runs and prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fakestormer.tools.ablation.run import Bench


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
