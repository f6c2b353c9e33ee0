"""A table's rows beside the paper's numbers, as Markdown and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fakestormer.data.manifest import read_settings
from fakestormer.evaluation.paper import SOURCE
from fakestormer.evaluation.tables import conventions, per_cent
from fakestormer.files import sha256_of, write_atomically
from fakestormer.model.model_file import code_version
from fakestormer.tools.ablation.run import Bench, RowResult, training_data
from fakestormer.tools.ablation.tables import Table

#: Layout of the JSON.
FORMAT = 1


def write_table(name: str, table: Table, results: Sequence[RowResult], bench: Bench) -> str:
    """Write OUT/<name>.json and OUT/<name>.md, each whole or not at all; returns the Markdown."""
    document = _document(table, results, bench)
    text = _markdown(table, results, document)
    write_atomically(
        bench.out / f"{name}.json",
        (json.dumps(document, indent=2, allow_nan=False) + "\n").encode(),
    )
    write_atomically(bench.out / f"{name}.md", text.encode())
    return text


def _document(table: Table, results: Sequence[RowResult], bench: Bench) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "title": table.title,
        "paper": {"source": SOURCE, "columns": list(table.columns)},
        "code": code_version(),
        "recipe": bench.recipe.model_dump(mode="json"),
        "training": training_data(bench.training_store),
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
        "rows": [
            {
                "name": result.row.name,
                "sets": list(result.row.sets),
                "paper": dict(zip(table.columns, result.row.paper, strict=False)),
                "run": result.run,
                "not_run": result.reason,
                "steps": result.steps,
                "seconds": round(result.seconds, 1),
                "parameters": result.parameters,
                "validation": dict(result.best),
                "measured": dict(result.measured),
            }
            for result in results
        ],
    }


def _stood_in(table: Table, bench: Bench) -> str:
    """Which data stood in for which, in words."""
    data = training_data(bench.training_store)
    train = data["train"]
    fakes = data["train_fakes"]["tracks"]
    known = [name for name in bench.tests if name in table.columns]
    others = [name for name in bench.tests if name not in table.columns]
    lines = [
        f"Trained on {train['tracks']} real tracks ({', '.join(train['sources'])}; "
        f"{train['frames']} frames"
        + (f"; {fakes} fake tracks for the rows on fake videos" if fakes else "")
        + f") in place of the paper's 720 real videos of FF++ c23, chosen by "
        f"{data['validation']['tracks']} tracks of {', '.join(data['validation']['sources'])}."
    ]
    if others:
        sets = ", ".join(column for column in table.columns if column not in ("Avg", *known))
        lines.append(f"Tested on {', '.join(others)} in place of {sets}.")
    if known:
        lines.append(f"{', '.join(known)}: the paper's data sets, by the names given.")
    return " ".join(lines)


def _markdown(table: Table, results: Sequence[RowResult], document: Mapping[str, Any]) -> str:
    tests = list(document["tests"])
    paper = [f"paper {column}" for column in table.columns]
    here = [f"{test} (95 %)" for test in tests]
    header = ["row", *here, "validation", *paper, "steps", "minutes"]
    lines = [_line(header), _line(["---"] * len(header))]
    for result in results:
        numbers = result.row.paper or (None,) * len(table.columns)
        cells = [result.row.name]
        if result.reason:
            cells += [f"not run: {result.reason}", *[""] * (len(tests) - 1), ""]
        else:
            cells += [_with_interval(result.measured[test][0]) for test in tests]
            cells.append(per_cent(result.best["auc_video"]))
        cells += ["-" if number is None else f"{number:g}" for number in numbers]
        cells += ["", ""] if result.reason else [str(result.steps), f"{result.seconds / 60:.1f}"]
        lines.append(_line(cells))
    parts = [f"## {table.title}", document["stood_in"], *([table.note] if table.note else [])]
    parts.append(
        "Video-level AUC in per cent, with the 95 % bootstrap interval over the test videos; it "
        "says nothing about another seed. Recipe "
        f"{document['recipe']['name']}, seed {document['recipe']['training']['seed']}; where a row "
        "does not set it otherwise:"
    )
    parts.append("\n".join(_caption(test, results, document) for test in tests))
    parts.append("\n".join(lines))
    parts += [_groups(test, results) for test in tests]
    return "\n\n".join(part for part in parts if part) + "\n"


def _caption(test: str, results: Sequence[RowResult], document: Mapping[str, Any]) -> str:
    """How the numbers of one test set came about, and of how many videos they are."""
    recipe = document["recipe"]
    settings = recipe["prediction"] | {
        "clip_length": recipe["model"]["frames"],
        "split": document["split"],
        "face": "largest",
    }
    counted = [result.measured[test][0] for result in results if not result.reason]
    videos = "".join(
        f"{g['real']} real and {g['fake']} fake videos, {g['unscored']} left out; "
        for g in counted[:1]
    )
    return f"- {test}: {videos}{conventions(settings, document['tests'][test]['prepared'])}"


def _groups(test: str, results: Sequence[RowResult]) -> str:
    """The same rows by method and source, where a test set has several."""
    run = [result for result in results if not result.reason]
    groups = run[0].measured[test][1:] if run else ()
    if len(groups) < 2:
        return ""
    header = ["row", *(f"{g['group']} ({g['real']} real, {g['fake']} fake)" for g in groups)]
    lines = [_line(header), _line(["---"] * len(header))]
    for result in run:
        cells = map(_with_interval, result.measured[test][1:])
        lines.append(_line([result.row.name, *cells]))
    return f"{test}:\n\n" + "\n".join(lines)


def _with_interval(group: Mapping[str, Any]) -> str:
    auc, interval = group["metrics"]["auc"], group["metrics"]["interval"]
    if auc is None or interval is None:
        return "-"
    ends = " to ".join(per_cent(end) for end in interval)
    with_all = ""
    if group["unscored"]:
        with_all = f"; {per_cent(group['auc_with_unscored'])} with left-out at 0.5"
    return f"{per_cent(auc)} ({ends}){with_all}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
