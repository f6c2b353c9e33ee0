"""Cells, averages and intervals of a table, by hand; Tables 3, 4 and 10, seeds and the plan."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fakestormer.cli.console.evaluating import ablate_and_print
from fakestormer.data.manifest import read_settings
from fakestormer.errors import InputError
from fakestormer.evaluation.evaluate import EvaluationSettings
from fakestormer.recipe.recipe import Recipe, override
from fakestormer.tools.ablation import run
from fakestormer.tools.ablation.cells import (
    Cell,
    columns_of,
    joined_cells,
    over_seeds,
    paper_average,
    row_cells,
)
from fakestormer.tools.ablation.report import write_table
from fakestormer.tools.ablation.run import Bench, RowResult, check_bench
from fakestormer.tools.ablation.tables import FORGERIES, TABLES, TableRow

Stores = dict[str, Path]


def _group(name: str, auc: float) -> dict[str, Any]:
    metrics = {"auc": auc, "interval": [auc - 0.1, auc + 0.1]}
    return {"group": name, "metrics": metrics, "unscored": 0, "auc_with_unscored": auc,
            "real": 2, "fake": 2}  # fmt: skip


def _result(row: TableRow, **fields: Any) -> RowResult:
    standard: dict[str, Any] = {
        "row": row, "run": "runs/x", "seed": 0, "best": {"auc_video": 0.5}, "steps": 4,
        "seconds": 60.0, "parameters": 7,
    }  # fmt: skip
    return RowResult(**(standard | fields))


def _by_set(row: TableRow, **aucs: float) -> RowResult:
    return _result(row, measured={name: [_group("all", auc)] for name, auc in aucs.items()})


def _by_method(row: TableRow, **aucs: float) -> RowResult:
    groups = [_group("all", 0.5), *(_group(f"method {FORGERIES[m]}", a) for m, a in aucs.items())]
    return _result(row, measured={"FF++": groups})


def _bench(recipe: Recipe, stores: Stores, out: Path, **changes: Any) -> Bench:
    fields: dict[str, Any] = {
        "recipe": recipe, "training_store": stores["fakes"], "tests": {"FF++": stores["CDF2"]},
        "out": out, "accelerator": "cpu", "workers": 0,
    }  # fmt: skip
    return Bench(**{**fields, **changes})


def test_averages_stand_over_the_same_columns_on_both_lines() -> None:
    table = TABLES["table8"]
    row = table.rows[2]
    assert row.paper == (92.4, 98.5, 90.0, 74.6, 74.2, 85.9)
    for aucs, ours, paper in (
        ({"CDF2": 0.8, "DFD": 0.6}, 0.7, "95.5"),  # (92.4 + 98.5) / 2
        ({"CDF2": 0.8, "mine": 0.2}, 0.8, "92.4"),
        ({"mine": 0.2, "other": 0.4}, 0.3, "85.9"),  # none of the paper's sets
        (dict.fromkeys(table.columns[:-1], 0.6), 0.6, "85.9"),
    ):
        columns = columns_of(table, aucs)
        cells = row_cells(table, columns, [_by_set(row, **aucs)])
        assert cells[-1].auc == pytest.approx(ours)
        assert paper_average(table, columns, cells, row.paper) == paper


def test_a_detector_that_lacks_a_column_has_no_average() -> None:
    table = TABLES["table1"]
    columns = columns_of(table, table.columns)
    ours = row_cells(table, columns, [_by_set(table.rows[0], CDF2=0.9, DFDC=0.7)])
    averages = {
        name: paper_average(table, columns, ours, row) for name, row in table.others.items()
    }
    assert averages["Xception"] == "72.3"  # (73.7 + 70.9) / 2
    assert averages["STIL"] == "-"
    assert paper_average(table, columns, ours, table.rows[0].paper) == "83.5"


def test_the_interval_of_several_seeds_is_students() -> None:
    cell = over_seeds([Cell(auc=0.75), Cell(auc=0.80), Cell(auc=0.85)])
    assert cell.auc == pytest.approx(0.80)
    assert cell.interval is not None
    # t(0.975, 2) = 4.303; standard deviation 0.05
    assert cell.interval[1] - 0.80 == pytest.approx(4.3027 * 0.05 / 3**0.5, rel=1e-4)
    assert over_seeds([Cell(auc=0.1), Cell(auc=0.9)]).interval == (0.0, 1.0)
    assert over_seeds([Cell(auc=0.7), Cell(auc=None)]).auc is None
    alone = Cell(auc=0.7, interval=(0.6, 0.8))
    assert over_seeds([alone]) is alone


def test_columns_of_table_3_are_the_fakes_of_two_methods() -> None:
    table = TABLES["table3"]
    columns = columns_of(table, ["FF++"])
    assert columns == ["DF", "FS"]
    cells = row_cells(table, columns, [_by_method(table.rows[2], DF=0.8, FS=0.6, NT=0.1)])
    assert [cell.auc for cell in cells] == pytest.approx([0.8, 0.6, 0.7])
    assert paper_average(table, columns, cells, table.rows[2].paper) == "73.7"


def test_table_4_leaves_each_method_out_once(quick: Recipe, stores: Stores, tmp_path: Path) -> None:
    table = TABLES["table4"]
    parts = [row for row in table.rows if row.part_of.startswith("TimeSformer")]
    assert [row.columns for row in parts] == [("DF",), ("FS",), ("F2F",), ("NT",)]
    for row in parts:
        (left_out,) = row.columns
        methods = override(quick, row.sets).training.fake_methods
        assert {*methods, FORGERIES[left_out]} == set(FORGERIES.values())
        assert len(methods) == 3
    aucs = {"DF": 0.9, "FS": 0.5, "F2F": 0.7, "NT": 0.7}
    # Each row is scored on all four; the one that it was not trained on counts.
    results = [[_by_method(row, **{m: aucs[m] if m in row.columns else 0.99 for m in FORGERIES})]
               for row in parts]  # fmt: skip
    columns = columns_of(table, ["FF++"])
    joined = joined_cells(table, columns, results)
    assert [cell.auc for cell in joined] == pytest.approx([0.9, 0.5, 0.7, 0.7, 0.7])
    text = write_table("table4", table, results, _bench(quick, stores, tmp_path))
    (line,) = (x for x in text.splitlines() if x.startswith(f"| {parts[0].part_of} |"))
    assert line.split(" | ")[1].startswith("90.0")
    assert line.split(" | ")[5] == "70.0"
    assert "| *Face X-ray, paper* | - | - | - | - | 94.9 |" in text


def test_stores_that_give_no_numbers_of_a_table_are_refused(
    quick: Recipe, stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = _bench(quick, stores, tmp_path, tests={"a": stores["CDF2"], "b": stores["mine"]})
    with pytest.raises(InputError, match="measured on one test set"):
        check_bench(TABLES["table3"], two)
    check_bench(TABLES["table1"], two)
    made = read_settings(stores["fakes"]).model_copy(
        update={"dataset": "ffpp", "compression": "c23"}
    )
    monkeypatch.setattr(run, "read_settings", lambda store: made)
    check_bench(TABLES["table1"], two)
    with pytest.raises(InputError, match="prepare FF\\+\\+ with --compression raw"):
        check_bench(TABLES["table2"], two)


def test_an_interpolation_that_never_fires_decides_nothing(
    quick: Recipe, stores: Stores, tmp_path: Path
) -> None:
    table = TABLES["table6"]
    results = [[_by_set(row, CDF2=0.5)] for row in table.rows]
    for tau, fires in (("0.05", True), ("50", False)):
        bench = _bench(
            override(quick, [f"synthesis.tau={tau}"]), stores, tmp_path / tau,
            tests={"CDF2": stores["CDF2"]},
        )  # fmt: skip
        bench.out.mkdir()
        text = write_table("table6", table, results, bench)
        assert ("the row CSP+interpolation trains on the same clips" in text) is not fires
        assert "On the training tracks eq. 1 moves the landmarks of" in text


@pytest.mark.slow
def test_seeds_corruptions_and_the_plan_of_table_10(
    quick: Recipe,
    stores: Stores,
    make_store: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The drawn faces have no videos, so stored crops are corrupted here."""

    def on_crops(**fields: Any) -> EvaluationSettings:
        return EvaluationSettings(**fields, applied_to="crops")

    monkeypatch.setattr(run, "EvaluationSettings", on_crops)
    short = override(quick, ["training.epochs=1"])
    small = make_store(tmp_path / "small", test=1, fakes={"test": {"swap": 1}})
    bench = _bench(short, stores, tmp_path / "out", tests={"FF++": small})
    assert ablate_and_print("table10", bench, seeds=2, plan=True)
    printed = capsys.readouterr().out
    lines = re.findall(r"\| FakeSTormer-\w+ \| FakeSTormer \| 2 \| \S+ \| \S+ \|", printed)
    assert len(lines) == 2, printed
    assert "hours of training on this machine (CPU" in printed
    assert not (tmp_path / "out" / "runs").exists(), "a plan runs nothing"
    assert ablate_and_print("table10", bench, seeds=2)
    document = json.loads((tmp_path / "out" / "table10.json").read_text())
    (row,) = document["rows"]
    assert [seed["seed"] for seed in row["seeds"]] == [3, 4]
    assert len({seed["run"] for seed in row["seeds"]}) == 2
    contrast = [seed["robustness"]["FF++"]["mean"]["contrast"] for seed in row["seeds"]]
    assert row["cells"]["contrast"]["auc"] == pytest.approx(sum(contrast) / 2)
    text = (tmp_path / "out" / "table10.md").read_text()
    assert "mean of 2 seeds (3 to 4)" in text
    assert "| *LAA-Net, paper* | 95 | 97 | 73.2 | 57.5 | 75.2 | 94.9 | 82.1 |" in text
    capsys.readouterr()
    assert ablate_and_print("table10", bench, seeds=2, plan=True)
    assert capsys.readouterr().out.count("| done |") == 2
