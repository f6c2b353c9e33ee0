"""Sources, splits, and the manifest's file."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet
import pytest

from fakestormer.data.manifest import (
    Labelling,
    Row,
    read_manifest,
    read_settings,
    source_of,
    tracks_of,
    write_manifest,
)
from fakestormer.data.table import match_table
from fakestormer.errors import InputError


@pytest.mark.parametrize(
    ("video", "source"),
    [
        ("grid_007.mp4", "grid"),
        ("lrw-ar_660.mp4", "lrw-ar"),
        ("two_words_3.mov", "two_words"),
        ("take_b.mp4", "take_b"),
        ("take.mp4", "take"),
        ("c23/actor_1/take_004.mp4", "actor_1"),
        ("fake/grid_007.mp4", "grid"),
        ("real/actor_1/take.mp4", "actor_1"),
    ],
)
def test_source_of(video: str, source: str) -> None:
    assert source_of(video) == source


def _row(video: str, **fields: object) -> Row:
    return Row(video=video, sha256="0" * 64, track=0, frames=8, **fields)  # type: ignore[arg-type]


def test_whole_sources_are_held_out() -> None:
    labelling = Labelling(validation_sources=frozenset({"grid"}))
    rows = [labelling.apply(_row(name)) for name in ("grid_1.mp4", "grid_2.mp4", "lrw_1.mp4")]
    assert [row.split for row in rows] == ["validation", "validation", "train"]


def test_a_seeded_fraction_depends_on_each_name_alone_and_keeps_groups_together() -> None:
    labelling = Labelling(validation_fraction=0.25, seed=1)
    names = [f"x_{number}.mp4" for number in range(400)]
    splits = {name: labelling.apply(_row(name)).split for name in names}
    assert 0.18 < sum(split == "validation" for split in splits.values()) / 400 < 0.32
    again = {name: labelling.apply(_row(name)).split for name in reversed(names)}
    assert again == splits
    other = Labelling(validation_fraction=0.25, seed=2)
    assert {name: other.apply(_row(name)).split for name in names} != splits
    one = {name: {"identity": "anna"} for name in names}
    together = Labelling(validation_fraction=0.25, seed=1, table=one)
    assert len({together.apply(_row(name)).split for name in names}) == 1
    with pytest.raises(ValueError, match="validation_fraction"):
        Labelling(validation_fraction=1.0)


def test_a_fraction_that_would_hold_out_nothing_holds_out_the_smallest_draw() -> None:
    rows = [_row(f"x_{number}.mp4") for number in range(3)]
    labelling = Labelling(validation_fraction=1e-6, seed=1)
    splits = {row.video: row.split for row in labelling.apply_all(rows)}
    assert sorted(splits.values()) == ["train", "train", "validation"]
    # The first that a growing fraction takes.
    for share in range(1, 1000):
        growing = Labelling(validation_fraction=share / 1000, seed=1)
        taken = [row.video for row in map(growing.apply, rows) if row.split == "validation"]
        if taken:
            break
    assert [splits[video] for video in taken] == ["validation"]
    assert {row.video: row.split for row in labelling.apply_all(rows[::-1])} == splits


def test_nothing_is_held_out_where_that_was_not_asked_for_or_would_leave_nothing() -> None:
    rows = [_row(f"x_{number}.mp4") for number in range(3)]
    few = 1e-6
    assert {row.split for row in Labelling().apply_all(rows)} == {"train"}
    assert {row.split for row in Labelling(validation_fraction=few).apply_all(rows[:1])} == {
        "train"
    }
    columns = {row.video: {"split": "train"} for row in rows}
    pinned = Labelling(validation_fraction=few, table=columns)
    assert {row.split for row in pinned.apply_all(rows)} == {"train"}
    one_pinned = Labelling(validation_fraction=few, table={"x_1.mp4": {"split": "validation"}})
    assert [row.split for row in one_pinned.apply_all(rows)] == ["train", "validation", "train"]
    rejected = Row(video="y.mp4", sha256="", rejected="no face")
    assert [
        row.split for row in Labelling(validation_fraction=few).apply_all([rows[0], rejected])
    ] == [
        "train",
        "train",
    ]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (
            b"path,split\na.mp4,train\nb.mp4,dev\n",
            r"row 2 \(b\.mp4\) has the split 'dev'; use one of train,",
        ),
        (b"path,split\n,train\n", "row 1 has no path"),
        ("path,source\na.mp4,caf\u00e9\n".encode("latin-1"), "not a CSV file in UTF-8"),
    ],
)
def test_a_table_that_says_something_impossible_is_refused(
    content: bytes, says: str, tmp_path: Path
) -> None:
    (tmp_path / "clips.csv").write_bytes(content)
    with pytest.raises(InputError, match=rf"clips\.csv: {says}"):
        match_table(tmp_path / "clips.csv", tmp_path, [])


def test_words_for_splits(tmp_path: Path) -> None:
    (tmp_path / "clips.csv").write_text(
        "\ufeffpath,split\na.mp4,val\nb.mp4, Test \nc.mp4,\n", encoding="utf-8"
    )
    columns = match_table(tmp_path / "clips.csv", tmp_path, ["a.mp4", "b.mp4", "c.mp4"]).columns
    assert [columns[name]["split"] for name in ("a.mp4", "b.mp4", "c.mp4")] == [
        "validation", "test", ""
    ]  # fmt: skip


def test_a_table_beats_the_names(tmp_path: Path) -> None:
    videos = tmp_path / "set" / "real"
    videos.mkdir(parents=True)
    table = tmp_path / "set" / "clips.csv"
    table.write_text(
        "path,source,identity,split\nreal/a_1.mp4,news,anna,test\nreal/a_2.mp4,,,\nfake/b.mp4,x,,\n"
    )
    columns = match_table(table, videos, ["a_1.mp4", "a_2.mp4"]).columns
    assert set(columns) == {"a_1.mp4", "a_2.mp4"}
    labelling = Labelling(table=columns, validation_sources=frozenset({"news"}))
    first, second = (labelling.apply(_row(name)) for name in ("a_1.mp4", "a_2.mp4"))
    assert (first.source, first.group, first.split) == ("news", "anna", "test")
    assert (second.source, second.group, second.split) == ("a", "a_2.mp4", "train")
    table.write_text("name\nx\n")
    with pytest.raises(InputError, match="no column `path`; found name"):
        match_table(table, videos, [])
    with pytest.raises(InputError, match=r"none\.csv: cannot be read"):
        match_table(tmp_path / "none.csv", videos, [])


def test_manifest_round_trip(tmp_path: Path) -> None:
    rows = (
        _row("a.mp4", split="train", file="tracks/a.mp4.0.zip", face_side=101.5),
        _row("b.mp4", split="validation", file="tracks/b.mp4.0.zip"),
        _row("c.mp4", split="test", file="tracks/c.mp4.0.zip"),
        Row(video="d.mp4", sha256="1" * 64, rejected="no face", detail="none"),
    )
    path = write_manifest(tmp_path, rows)
    assert read_manifest(tmp_path) == rows
    assert pyarrow.parquet.read_table(path).column("face_side").to_pylist()[0] == 101.5
    assert tracks_of(rows, "train") == rows[:1]


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="prepare has not finished"):
        read_manifest(tmp_path)
    with pytest.raises(InputError, match="not a track store"):
        read_settings(tmp_path)
    (tmp_path / "store.json").write_text('{"version": 99}')
    with pytest.raises(InputError, match="layout 99"):
        read_settings(tmp_path)
    for content in ("", "[1]", '{"version": 1, "backend": 3}'):
        (tmp_path / "store.json").write_text(content)
        with pytest.raises(InputError, match=r"store\.json: is damaged"):
            read_settings(tmp_path)
    (tmp_path / "manifest.parquet").write_text("no parquet")
    with pytest.raises(InputError, match=r"manifest\.parquet: is damaged"):
        read_manifest(tmp_path)
    with pytest.raises(ValueError, match="unknown split 'dev'"):
        _row("a.mp4", split="dev")
    with pytest.raises(ValueError, match="unknown reason"):
        _row("a.mp4", rejected="ugly")
