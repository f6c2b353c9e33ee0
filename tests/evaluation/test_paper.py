"""The paper's numbers: the same as in the reference copy of its tables, and found by every name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fakestormer.evaluation.paper import published, published_robustness


@pytest.fixture(scope="module")
def tables(shared_data: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((shared_data / "reference/paper_tables.json").read_text())
    return loaded


def rows_of(table: dict[str, Any], column: str) -> dict[str, float]:
    at = table["columns"].index(column)
    rows = {name: values[at] for name, values in table.items() if name != "columns"}
    return {name: value for name, value in rows.items() if value is not None}


@pytest.mark.parametrize(
    ("ours", "column"),
    [("celeb-df-v2", "CDF"), ("dfd", "DFD"), ("dfdcp", "DFDCP"), ("dfdc", "DFDC"),
     ("wilddeepfake", "DFW")],
)  # fmt: skip
def test_table_1_is_the_papers(tables: dict[str, Any], ours: str, column: str) -> None:
    assert published(ours, "c23") == rows_of(tables["table1_cross_dataset_c23"], column)


@pytest.mark.parametrize(
    ("ours", "column", "beyond"),
    [
        ("celeb-df-v2", "CDF", {"Face X-ray", "PCL+I2G", "SLADD", "STC-Scratch"}),
        ("dfdcp", "DFDCP", {"PCL+I2G", "STC-Scratch"}),
    ],
)
def test_table_2_is_the_papers(
    tables: dict[str, Any], ours: str, column: str, beyond: set[str]
) -> None:
    """beyond: rows of the paper that the reference copy leaves out."""
    found = published(ours, "raw")
    reference = rows_of(tables["table2_raw_c0"], column)
    assert {name: found[name] for name in reference} == reference
    assert found.keys() - reference.keys() == beyond


def test_table_4_is_the_papers(tables: dict[str, Any]) -> None:
    table = tables["table4_ffpp"]
    assert published("ffpp", "c23")["FakeSTormer"] == table["FakeSTormer_c23"][0]
    assert published("ffpp", "raw") == {"FakeSTormer": table["FakeSTormer_raw"][0]}


def test_table_10_is_the_papers(tables: dict[str, Any]) -> None:
    table = dict(tables["table10_robustness_mean_of_levels"])
    columns = table.pop("columns")
    assert published_robustness() == {
        row: dict(zip(columns, values, strict=True)) for row, values in table.items()
    }


def test_averages_of_table_10_are_means_of_its_rows() -> None:
    """An error in one number would show: the paper rounds to 0.1."""
    for row in published_robustness().values():
        six = [value for name, value in row.items() if name != "Avg"]
        assert len(six) == 6
        assert sum(six) / 6 == pytest.approx(row["Avg"], abs=0.051)


def test_the_same_numbers_by_the_papers_names() -> None:
    for ours, papers in (
        ("celeb-df-v2", "CDF2"), ("celeb-df-v2", "CDF"), ("celeb-df-v2", "cdf2"), ("ffpp", "FF++"),
        ("wilddeepfake", "DFW"), ("dfd", "DFD"), ("dfdcp", "DFDCP"), ("dfdc", "DFDC"),
    ):  # fmt: skip
        assert published(papers, "c23") == published(ours, "c23") != {}


def test_no_number_where_the_paper_has_none() -> None:
    assert published("celeb-df-v1", "c23") == {}
    assert published("df40", "") == {}
    assert published("dfd", "raw") == {}, "Table 2 has no DFD"
    assert published("ffpp", "c40") == {}, "Table 3 is trained on one forgery"
    assert "LSDA" in published("CDF2", "c23")
    assert "LSDA" not in published("DFD", "c23"), "an empty cell of the table"


def test_a_compression_that_nobody_stated_is_not_guessed() -> None:
    assert published("celeb-df-v2", "") == published("celeb-df-v2", "c23")
    assert published("celeb-df-v2", "c0") == published("celeb-df-v2", "raw")
    assert published("ffpp", "") == published("dfd", "") == {}
