"""A table's rows with the paper's row under each, as Markdown and JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from fakestormer.data.interpolation import Interpolation, interpolation_in
from fakestormer.data.manifest import read_manifest, read_settings, tracks_of
from fakestormer.evaluation.paper import SOURCE, Numbers
from fakestormer.evaluation.tables import conventions
from fakestormer.files import sha256_of, write_atomically
from fakestormer.model.document import code_version
from fakestormer.tools.ablation.cells import (
    Cell,
    columns_of,
    joined_cells,
    over_seeds,
    paper_average,
    row_cells,
)
from fakestormer.tools.ablation.run import Bench, RowResult, training_data
from fakestormer.tools.ablation.tables import Table

#: Layout of the JSON.
FORMAT = 2

#: The trainings of each row that has begun, one for each seed.
Results = Sequence[Sequence[RowResult]]


def write_table(name: str, table: Table, results: Results, bench: Bench) -> str:
    """Write OUT/<name>.json and OUT/<name>.md, each whole or not at all; returns the Markdown."""
    document = _document(table, results, bench)
    text = _markdown(table, results, document)
    write_atomically(
        bench.out / f"{name}.json",
        (json.dumps(document, indent=2, allow_nan=False) + "\n").encode(),
    )
    write_atomically(bench.out / f"{name}.md", text.encode())
    return text


def _document(table: Table, results: Results, bench: Bench) -> dict[str, Any]:
    columns = columns_of(table, bench.tests)
    interpolation = None
    if table.interpolation:
        tracks = tracks_of(read_manifest(bench.training_store), "train")
        interpolation = interpolation_in(bench.training_store, tracks, bench.recipe.synthesis.tau)
    return {
        "format": FORMAT,
        "title": table.title,
        "paper": {"source": SOURCE, "columns": list(table.columns)},
        "code": code_version(),
        "recipe": bench.recipe.model_dump(mode="json"),
        "training": training_data(bench.training_store),
        "landmark_interpolation": interpolation and dataclasses.asdict(interpolation),
        "tests": {
            name: {
                "store": store.name,
                "manifest_sha256": sha256_of(store / "manifest.parquet"),
                "prepared": read_settings(store).model_dump(mode="json"),
            }
            for name, store in bench.tests.items()
        },
        "split": bench.split,
        "stood_in": _stood_in(table, bench),
        "columns": [*columns, "Avg"],
        "rows": [_row_document(table, columns, row) for row in results],
    }


def _row_document(
    table: Table, columns: Sequence[str], results: Sequence[RowResult]
) -> dict[str, Any]:
    first = results[0]
    cells = row_cells(table, columns, results)
    return {
        "name": first.row.name,
        "sets": list(first.row.sets),
        "paper": dict(zip(table.columns, first.row.paper, strict=False)),
        "not_run": first.reason,
        "parameters": first.parameters,
        "cells": {
            column: dataclasses.asdict(cell)
            for column, cell in zip([*columns, "Avg"], cells, strict=True)
        },
        "seeds": [
            {
                "seed": result.seed,
                "run": result.run,
                "steps": result.steps,
                "seconds": round(result.seconds, 1),
                "validation": dict(result.best),
                "measured": dict(result.measured),
                "robustness": dict(result.robustness),
            }
            for result in results
            if not result.reason
        ],
    }


def _stood_in(table: Table, bench: Bench) -> str:
    """What was trained and tested on, and which data stood in for which, in words."""
    data = training_data(bench.training_store)
    train, fakes = data["train"], data["train_fakes"]["tracks"]
    is_ffpp = data["dataset"] == "ffpp"
    lines = [
        f"Trained on {train['tracks']} real tracks ({', '.join(train['sources'])}; "
        f"{train['frames']} frames; faces found by {data['faces']}"
        + (f"; {fakes} fake tracks for the rows on fake videos" if fakes else "")
        + (
            f") of FF++ {data['compression']}; the paper has 720 of them"
            if is_ffpp
            else f") in place of the paper's 720 real videos of FF++ {table.level}"
        )
        + f"; chosen by {data['validation']['tracks']} tracks of "
        f"{', '.join(data['validation']['sources'])}."
    ]
    wanted = list(table.columns) if table.cells == "sets" else ["FF++"]
    known = [name for name in bench.tests if name in wanted]
    others = [name for name in bench.tests if name not in wanted]
    if others:
        sets = ", ".join(column for column in wanted if column not in ("Avg", *known))
        lines.append(f"Tested on {', '.join(others)} in place of {sets}.")
    if known:
        lines.append(f"{', '.join(known)}: the paper's data sets, by the names given.")
    return " ".join(lines)


def _markdown(table: Table, results: Results, document: Mapping[str, Any]) -> str:
    columns = document["columns"][:-1]
    header = ["row", *(f"{c} (95 %)" for c in columns), "Avg", "validation", "steps", "minutes"]
    lines = [_line(header), _line(["---"] * len(header))]
    for number, row in enumerate(results):
        lines += _row_lines(table, columns, row)
        name = row[0].row.part_of
        parts = [other for other in results[: number + 1] if name and other[0].row.part_of == name]
        wanted = sum(other.part_of == name for other in table.rows)
        if parts and len(parts) == wanted and not any(part[0].reason for part in parts):
            cells = joined_cells(table, columns, parts)
            lines.append(_line([name, *map(str, cells), "", "", ""]))
    for detector, numbers in table.others.items():
        lines.append(_paper_line(table, columns, [], f"*{detector}, paper*", numbers))
    interpolation = document["landmark_interpolation"]
    parts_of_text = [
        f"## {table.title}",
        document["stood_in"],
        table.note,
        _about_interpolation(table, interpolation) if interpolation else "",
        _about_numbers(results, document),
        "\n".join(_caption(test, results, document) for test in document["tests"]),
        "\n".join(lines),
    ]
    return "\n\n".join(part for part in parts_of_text if part) + "\n"


def _about_interpolation(table: Table, counted: Mapping[str, Any]) -> str:
    """How often eq. 1 fires, and that the row decides nothing where it never does."""
    interpolation = Interpolation(**counted)
    nothing = (
        f": the row {table.interpolation} trains on the same clips as the row before it and "
        "decides nothing"
        if not interpolation.moved
        else ""
    )
    return f"On the training tracks {interpolation}{nothing}."


def _about_numbers(results: Results, document: Mapping[str, Any]) -> str:
    recipe = document["recipe"]
    seeds = max((len(row) for row in results), default=1)
    first = recipe["training"]["seed"]
    interval = (
        f"mean of {seeds} seeds ({first} to {first + seeds - 1}), with the 95 % interval of the "
        "mean by Student's t; it says nothing about other test videos"
        if seeds > 1
        else f"seed {first}, with the 95 % bootstrap interval over the test videos; it says "
        "nothing about another seed"
    )
    return (
        f"Video-level AUC in per cent, {interval}. Avg is over the paper's columns that have a "
        "number here, on both lines, or over all columns where none has. Recipe "
        f"{recipe['name']}; where a row does not set it otherwise:"
    )


def _row_lines(table: Table, columns: Sequence[str], results: Sequence[RowResult]) -> list[str]:
    """Ours, and the paper's under it where the paper has this row."""
    first = results[0]
    cells = row_cells(table, columns, results)
    if first.reason:
        ours = [f"not run: {first.reason}", *[""] * (len(columns) + 3)]
    else:
        seconds = sum(result.seconds for result in results)
        validation = over_seeds([Cell(auc=result.best["auc_video"]) for result in results])
        steps = sum(result.steps for result in results)
        ours = [*map(str, cells), str(validation), str(steps), f"{seconds / 60:.1f}"]
    lines = [_line([first.row.name, *ours])]
    if first.row.paper:
        lines.append(_paper_line(table, columns, cells, "*paper*", first.row.paper))
    return lines


def _paper_line(
    table: Table, columns: Sequence[str], cells: Sequence[Cell], name: str, numbers: Numbers
) -> str:
    printed = dict(zip(table.columns, numbers, strict=False))
    texts = [
        "-" if (number := printed.get(column)) is None else f"{number:g}" for column in columns
    ]
    return _line([name, *texts, paper_average(table, columns, cells, numbers), "", "", ""])


def _caption(test: str, results: Results, document: Mapping[str, Any]) -> str:
    """How the numbers of one test set came about, and of how many videos they are."""
    recipe = document["recipe"]
    settings = recipe["prediction"] | {
        "clip_length": recipe["model"]["frames"],
        "split": document["split"],
        "face": "largest",
    }
    counted = [row[0].measured[test][0] for row in results if not row[0].reason]
    videos = "".join(
        f"{g['real']} real and {g['fake']} fake videos, {g['unscored']} left out; "
        for g in counted[:1]
    )
    return f"- {test}: {videos}{conventions(settings, document['tests'][test]['prepared'])}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
