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


def numbers(dataset: str, compression: str, learned_from: str, table: str) -> dict[str, float]:
    """Of the one block that stands beside a data set, of this table."""
    (block,) = published(dataset, compression=compression, learned_from=learned_from)
    assert (block.table, block.group) == (table, "all")
    return dict(block.rows)


@pytest.mark.parametrize(
    ("ours", "level", "column"),
    [
        ("celeb-df-v2", "", "CDF"),
        ("dfd", "c23", "DFD"),
        ("dfdcp", "", "DFDCP"),
        ("dfdc", "", "DFDC"),
        ("wilddeepfake", "", "DFW"),
    ],
)
def test_a_model_of_c23_stands_beside_table_1(
    tables: dict[str, Any], ours: str, level: str, column: str
) -> None:
    expected = rows_of(tables["table1_cross_dataset_c23"], column)
    assert numbers(ours, level, "c23", "Table 1") == expected


@pytest.mark.parametrize(
    ("ours", "column", "beyond"),
    [
        ("celeb-df-v2", "CDF", {"Face X-ray", "PCL+I2G", "SLADD", "STC-Scratch"}),
        ("dfdcp", "DFDCP", {"PCL+I2G", "STC-Scratch"}),
    ],
)
def test_a_model_of_raw_videos_stands_beside_table_2(
    tables: dict[str, Any], ours: str, column: str, beyond: set[str]
) -> None:
    """beyond: rows of the paper that the reference copy leaves out."""
    found = numbers(ours, "", "raw", "Table 2")
    reference = rows_of(tables["table2_raw_c0"], column)
    assert {name: found[name] for name in reference} == reference
    assert found.keys() - reference.keys() == beyond


def test_a_model_of_c40_stands_beside_table_3_by_method(tables: dict[str, Any]) -> None:
    reference = tables["table3_ffpp_c40_trained_on_NT"]
    blocks = published("ffpp", compression="c40", learned_from="c40")
    assert [(block.table, block.group) for block in blocks] == [
        ("Table 3", "method Deepfakes"), ("Table 3", "method FaceSwap")
    ]  # fmt: skip
    for block, column in zip(blocks, ("DF", "FS"), strict=True):
        expected = rows_of(reference, column)
        assert {name: block.rows[name] for name in expected} == expected
    assert published("celeb-df-v2", compression="", learned_from="c40") == []


def test_table_4_is_of_the_level_that_was_learned_and_tested(tables: dict[str, Any]) -> None:
    table = tables["table4_ffpp"]
    c23 = numbers("ffpp", "c23", "c23", "Table 4")
    assert c23["FakeSTormer"] == table["FakeSTormer_c23"][0]
    assert numbers("ffpp", "raw", "raw", "Table 4") == {"FakeSTormer": table["FakeSTormer_raw"][0]}


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
    for ours, papers, level in (
        ("celeb-df-v2", "CDF2", ""), ("celeb-df-v2", "CDF", ""), ("celeb-df-v2", "cdf2", ""),
        ("ffpp", "FF++", "c23"), ("wilddeepfake", "DFW", ""), ("dfd", "DFD", "c23"),
        ("dfdcp", "DFDCP", ""), ("dfdc", "DFDC", ""),
    ):  # fmt: skip
        found = published(papers, compression=level, learned_from="c23")
        assert found == published(ours, compression=level, learned_from="c23") != []


def test_no_number_where_the_paper_has_none() -> None:
    def rows(dataset: str, compression: str, learned_from: str) -> set[str]:
        blocks = published(dataset, compression=compression, learned_from=learned_from)
        return {row for block in blocks for row in block.rows}

    assert rows("celeb-df-v1", "", "c23") == rows("df40", "", "c23") == set()
    assert rows("dfd", "raw", "raw") == set(), "Table 2 has no DFD"
    assert "LSDA" in rows("CDF2", "", "c23")
    assert "LSDA" not in rows("DFD", "c23", "c23"), "an empty cell of the table"


def test_the_test_videos_level_alone_chooses_no_table() -> None:
    for dataset, compression in (("celeb-df-v2", ""), ("ffpp", "c23"), ("ffpp", "raw")):
        assert published(dataset, compression=compression, learned_from="") == []
    # Learned from one level, tested on another: no number of the paper is of that.
    assert published("ffpp", compression="raw", learned_from="c23") == []
    assert published("dfd", compression="c40", learned_from="c23") == []
