"""Rows of a user's table and the videos they are about: none is passed over in silence."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from fakestormer.data.table import match_table
from fakestormer.errors import InputError

NAMES = ["a/one.mp4", "a/two.mp4", "b/J\u00f6rg.mp4", "seq.tar.gz"]


def table_of(folder: Path, *lines: str) -> Path:
    path = folder / "labels.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("set/a/one.mp4", "a/one.mp4"),
        ("./set/b/../a/one.mp4", "a/one.mp4"),
        ("set\\a\\one.mp4", "a/one.mp4"),
        (" set/a/one.mp4  ", "a/one.mp4"),
        (unicodedata.normalize("NFD", "set/b/J\u00f6rg.mp4"), "b/J\u00f6rg.mp4"),
        ("set/a", "a"),
        ("set", "."),
        ("set/seq.tar.gz/real/3", "seq.tar.gz/real/3"),
    ],
)
def test_a_row_finds_its_video(written: str, name: str, tmp_path: Path) -> None:
    table = table_of(tmp_path, "path,label", f"{written},fake")
    matched = match_table(table, tmp_path / "set", NAMES)
    assert {key: row["label"] for key, row in matched.columns.items()} == {name: "fake"}
    assert matched.unmatched == ()


@pytest.mark.parametrize(
    "written",
    [
        "a/one.mp4",  # relative to the videos, not to the table
        "SET/A/ONE.MP4",
        "/home/somebody/set/a/one.mp4",
        "C:\\videos\\set\\a\\one.mp4",
        "set/a/three.mp4",
    ],
)
def test_a_table_that_is_about_nothing_here_is_an_error(written: str, tmp_path: Path) -> None:
    table = table_of(tmp_path, "path,label", f"{written},fake", f"{written}x,fake")
    with pytest.raises(InputError) as caught:
        match_table(table, tmp_path / "set", NAMES)
    assert str(caught.value).startswith(
        f"{table}: none of its 2 rows is about a video in {tmp_path / 'set'}; its paths are taken "
        f"as relative to the folder of the table, {tmp_path}, and line 2 names {written}"
    )


def test_rows_that_are_about_nothing_are_named(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x.mp4").touch()
    table = table_of(
        tmp_path,
        "path,label",
        "set/a/one.mp4,fake",
        "set/a/gone.mp4,fake",
        "other/x.mp4,fake",  # is there: a table of more than this folder
        "other/y.mp4,fake",
    )
    matched = match_table(table, tmp_path / "set", NAMES)
    assert list(matched.columns) == ["a/one.mp4"]
    assert matched.unmatched == ("line 3: set/a/gone.mp4", "line 5: other/y.mp4")


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (
            ["path,label", "set/a/one.mp4,fake", "set/a/one.mp4 ,real"],
            "lines 2 and 3 say different things about a/one.mp4; delete one",
        ),
        (["path,lable", "set/a/one.mp4,fake"], "line 1 has a column 'lable', which is not known; "),
        (["path,Label", "set/a/one.mp4,fake"], "line 1 has a column 'Label'"),
        (
            ["path,label", "set/a/one.mp4,fake", "set/a/two.mp4,"],
            r"line 3 \(set/a/two.mp4\) has no",
        ),
    ],
)
def test_what_cannot_be_meant_is_an_error_that_names_the_line(
    lines: list[str], says: str, tmp_path: Path
) -> None:
    table = table_of(tmp_path, *lines)
    with pytest.raises(InputError, match=rf"labels\.csv: {says}"):
        match_table(table, tmp_path / "set", NAMES)


def test_the_same_row_twice_and_other_columns_are_no_fault(tmp_path: Path) -> None:
    table = table_of(
        tmp_path, "path,label,licence,source_repo", *["set/a/one.mp4,fake,CC0,somebody/some"] * 2
    )
    assert match_table(table, tmp_path / "set", NAMES).columns["a/one.mp4"]["label"] == "fake"
