"""The numbers in a table's cells: of one training, or the mean of several with other seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fakestormer.evaluation.paper import Numbers
from fakestormer.evaluation.tables import per_cent
from fakestormer.tools.ablation.run import RowResult
from fakestormer.tools.ablation.tables import FORGERIES, Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """auc: in 0..1, the mean over seeds. interval: 95 %: over the videos of one training, or over
    seeds.
    """

    auc: float | None
    interval: tuple[float, float] | None = None
    with_unscored: float | None = None

    def __str__(self) -> str:
        if self.auc is None:
            return "-"
        text = per_cent(self.auc)
        if self.interval is not None:
            text += f" ({' to '.join(per_cent(end) for end in self.interval)})"
        if self.with_unscored is not None:
            text += f"; {per_cent(self.with_unscored)} with left-out at 0.5"
        return text


def columns_of(table: Table, tests: Iterable[str]) -> list[str]:
    """The table's own columns, then test sets that it does not have; without the average."""
    columns = [name for name in table.columns if name != "Avg"]
    return columns + [name for name in tests if table.cells == "sets" and name not in columns]


def row_cells(table: Table, columns: Sequence[str], results: Sequence[RowResult]) -> list[Cell]:
    """The cells of one row and their average, from its trainings with one seed each."""
    by_seed = [[_cell(table, result, column) for column in columns] for result in results]
    averages = [Cell(auc=_average(table, columns, cells)) for cells in by_seed]
    whole = [[*cells, average] for cells, average in zip(by_seed, averages, strict=True)]
    return [over_seeds(cells) for cells in zip(*whole, strict=True)]


def joined_cells(
    table: Table, columns: Sequence[str], parts: Sequence[Sequence[RowResult]]
) -> list[Cell]:
    """The cells of a row that several rows make up, each in columns of its own."""
    by_seed = []
    for results in zip(*parts, strict=True):
        cells = {
            column: _cell(table, result, column)
            for result in results
            for column in columns
            if column in result.row.columns
        }
        line = [cells.get(column, Cell(auc=None)) for column in columns]
        by_seed.append([*line, Cell(auc=_average(table, columns, line))])
    return [over_seeds(cells) for cells in zip(*by_seed, strict=True)]


def over_seeds(cells: Sequence[Cell]) -> Cell:
    """One cell as it is; of several, their mean and the part in 0..1 of its 95 % interval."""
    if len(cells) == 1:
        return cells[0]
    aucs = [cell.auc for cell in cells if cell.auc is not None]
    if not aucs or len(aucs) < len(cells):
        return Cell(auc=None)
    from scipy.stats import t

    mean = statistics.fmean(aucs)
    half = float(t.ppf(0.975, len(aucs) - 1)) * statistics.stdev(aucs) / math.sqrt(len(aucs))
    return Cell(auc=mean, interval=(max(0.0, mean - half), min(1.0, mean + half)))


def paper_average(table: Table, columns: Sequence[str], cells: Sequence[Cell], row: Numbers) -> str:
    """The paper's average over the columns that ours is over; "-" where it lacks one of them.

    Over all columns it is the number that the paper prints, which is all that Table 4 has.
    """
    numbers = dict(zip(table.columns, row, strict=False))
    printed = numbers.get("Avg")
    every = [column for column in table.columns if column != "Avg"]
    ours = [c for c, cell in zip(columns, cells, strict=False) if cell.auc is not None]
    shared = [column for column in ours if column in every] or every
    values = [numbers.get(column) for column in shared]
    known = [value for value in values if value is not None]
    if printed is not None and (shared == every or not known):
        return f"{printed:g}"
    return f"{statistics.fmean(known):.1f}" if known and len(known) == len(values) else "-"


def _average(table: Table, columns: Sequence[str], cells: Sequence[Cell]) -> float | None:
    """Over the paper's columns where there is one, else over all."""
    papers = [
        cell.auc
        for column, cell in zip(columns, cells, strict=True)
        if column in table.columns and cell.auc is not None
    ]
    every = [cell.auc for cell in cells if cell.auc is not None]
    return statistics.fmean(papers or every) if every else None


def _cell(table: Table, result: RowResult, column: str) -> Cell:
    if result.reason or (result.row.columns and column not in result.row.columns):
        return Cell(auc=None)
    if table.cells == "sets":
        return _of_group(result.measured.get(column, ()), "all")
    (test,) = result.measured
    if table.cells == "methods":
        return _of_group(result.measured[test], f"method {FORGERIES[column]}")
    return Cell(auc=result.robustness[test]["mean"][column])


def _of_group(groups: Sequence[Mapping[str, Any]], name: str) -> Cell:
    for group in groups:
        if group["group"] == name:
            metrics = group["metrics"]
            interval = metrics["interval"]
            return Cell(
                auc=metrics["auc"],
                interval=None if interval is None else (interval[0], interval[1]),
                with_unscored=group["auc_with_unscored"] if group["unscored"] else None,
            )
    return Cell(auc=None)
