"""Rows that are trained and scored once, resumed, shared, and told apart."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from fakestormer.cli.console.evaluating import ablate_and_print
from fakestormer.data.manifest import read_manifest, write_manifest
from fakestormer.errors import InputError
from fakestormer.evaluation.plan import Task
from fakestormer.evaluation.score_task import ScoreTask
from fakestormer.model.model_file import load_model
from fakestormer.recipe.recipe import Recipe, override
from fakestormer.tools.ablation import run
from fakestormer.tools.ablation.report import write_table
from fakestormer.tools.ablation.run import Bench, RowResult, row_recipes, run_row
from fakestormer.tools.ablation.tables import TABLES, TableRow
from fakestormer.training import loop
from fakestormer.training.settings import TrainSettings

Stores = dict[str, Path]
ROWS = {(name, row.name): row for name, table in TABLES.items() for row in table.rows}


def _bench(recipe: Recipe, stores: Stores, out: Path, **changes: Any) -> Bench:
    fields: dict[str, Any] = {
        "recipe": recipe,
        "training_store": stores["train"],
        "tests": {"CDF2": stores["CDF2"], "mine": stores["mine"]},
        "out": out,
        "accelerator": "cpu",
        "workers": 0,
    }
    return Bench(**{**fields, **changes})


def _fail(*_: Any, **__: Any) -> None:
    raise AssertionError("done already")


def _runs(out: Path) -> set[str]:
    return {path.name for path in (out / "runs").iterdir()}


@pytest.fixture(scope="module")
def table8(quick: Recipe, stores: Stores, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OUT of two rows of Table 8."""
    out = tmp_path_factory.mktemp("table8")
    assert _ablate(quick, stores, out)
    return out


def _ablate(recipe: Recipe, stores: Stores, out: Path, **options: Any) -> bool:
    only = ("minmax", "standardise")
    return ablate_and_print("table8", _bench(recipe, stores, out), only=only, **options)


def test_the_json_holds_both_rows_and_the_papers_numbers(
    table8: Path, quick: Recipe, stores: Stores
) -> None:
    document = json.loads((table8 / "table8.json").read_text())
    assert document["recipe"] == quick.model_dump(mode="json")
    assert document["title"] == TABLES["table8"].title
    assert document["training"]["store"] == "train"
    assert document["training"]["faces"] == "drawn"
    assert document["training"]["train"] == {"tracks": 4, "frames": 36, "sources": ["train"]}
    assert document["training"]["validation"]["tracks"] == 2
    for name, test in document["tests"].items():
        assert test["store"] == name
        assert len(test["manifest_sha256"]) == 64
        assert test["prepared"]["backend"] == "drawn"
    rows = {row["name"]: row for row in document["rows"]}
    assert list(rows) == ["minmax", "standardise"]
    for name, row in rows.items():
        assert row["paper"]["CDF2"] == ROWS["table8", name].paper[0]
        assert row["paper"]["Avg"] == ROWS["table8", name].paper[-1]
        assert row["not_run"] == ""
        (seed,) = row["seeds"]
        assert (seed["seed"], seed["steps"]) == (3, 4)
        assert seed["seconds"] > 0
        network, model = load_model(table8 / seed["run"])
        assert row["parameters"] == sum(p.numel() for p in network.parameters())
        assert seed["validation"] == model["metrics"]["validation"]
        normalisation = model["recipe"]["synthesis"]["normalisation"]
        assert normalisation == {"minmax": "minmax", "standardise": "standard"}[name]
        measured = {test: [s["group"] for s in found] for test, found in seed["measured"].items()}
        assert measured == {
            "CDF2": ["all", "method puppet", "method swap"],
            "mine": ["all", "method swap"],
        }
        whole = seed["measured"]["CDF2"][0]
        assert (whole["real"], whole["fake"], whole["unscored"]) == (3, 4, 0)
        cells = {name: cell["auc"] for name, cell in row["cells"].items()}
        assert list(cells) == ["CDF2", "DFD", "DFDCP", "DFDC", "DFW", "mine", "Avg"]
        assert cells["CDF2"] == whole["metrics"]["auc"]
        assert cells["mine"] == seed["measured"]["mine"][0]["metrics"]["auc"]
        assert cells["Avg"] == cells["CDF2"], "over the paper's columns alone"
        assert cells["DFD"] is None
    assert rows["minmax"]["seeds"][0]["run"] != rows["standardise"]["seeds"][0]["run"]


def test_the_markdown_says_which_data_stood_in_for_which(table8: Path) -> None:
    text = (table8 / "table8.md").read_text()
    assert (
        "Trained on 4 real tracks (train; 36 frames; faces found by drawn) in place of the paper's "
        "720 real videos of FF++ c23; chosen by 2 tracks of validation." in text
    )
    assert "Tested on mine in place of DFD, DFDCP, DFDC, DFW." in text
    assert "CDF2: the paper's data sets, by the names given." in text
    assert "Video-level AUC in per cent, seed 3, with the 95 % bootstrap interval" in text
    assert "Recipe test; where a row does not set it otherwise:" in text
    for said in (
        "- CDF2: 3 real and 4 fake videos, 0 left out; split test, compression as it came, "
        "sampling windows, 8 frames in clips of 4, shots 1, mean of probability, margin 15 of 256 "
        "px, face: largest",
        "- mine: 2 real and 2 fake videos",
    ):
        assert said in text
    lines = text.splitlines()
    header = lines.index(
        "| row | CDF2 (95 %) | DFD (95 %) | DFDCP (95 %) | DFDC (95 %) | DFW (95 %) | mine (95 %) "
        "| Avg | validation | steps | minutes |"
    )
    document = json.loads((table8 / "table8.json").read_text())
    body = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in lines[header + 2 : header + 6]
    ]
    assert {len(cells) for cells in body} == {lines[header].count("|") - 1}
    for ours, paper, row in zip(body[::2], body[1::2], document["rows"], strict=True):
        assert ours[0] == row["name"]
        assert ours[1].startswith(f"{100 * row['cells']['CDF2']['auc']:.1f} (")
        assert ours[2:6] == ["-"] * 4
        assert ours[7] == f"{100 * row['cells']['CDF2']['auc']:.1f}"
        numbers = [f"{number:g}" for number in row["paper"].values()]
        # The paper's average is over the columns that ours is over: CDF2 alone.
        assert paper == ["*paper*", *numbers[:5], "-", f"{row['paper']['CDF2']:.1f}", "", "", ""]


def test_a_second_call_trains_and_scores_nothing_again(
    table8: Path, quick: Recipe, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.read_bytes() for path in table8.glob("table8.*")}
    monkeypatch.setattr(run, "train", _fail)
    monkeypatch.setattr(ScoreTask, "__call__", _fail)
    assert _ablate(quick, stores, table8)
    assert {path: path.read_bytes() for path in table8.glob("table8.*")} == before


def test_other_ways_of_testing_score_anew_but_train_nothing(
    table8: Path, quick: Recipe, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "train", _fail)
    scored = []
    ordinary = ScoreTask.__call__

    def noted(self: ScoreTask, key: str) -> Any:
        scored.append(Task.of(key).data)
        return ordinary(self, key)

    monkeypatch.setattr(ScoreTask, "__call__", noted)
    row = ROWS["table8", "minmax"]
    # Another store under a known name, and another split.
    run_row(row, _bench(quick, stores, table8, tests={"CDF2": stores["mine"]}))
    run_row(row, _bench(quick, stores, table8, tests={"CDF2": stores["mine"]}, split="all"))
    run_row(row, _bench(quick, stores, table8))
    assert scored == 2 * 4 * ["CDF2"]


def test_an_interrupted_row_goes_on_to_the_same_network(
    table8: Path, quick: Recipe, stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ordinary = loop.training_step

    def ctrl_c(*args: Any, step: int, **kwargs: Any) -> Any:
        if step == 2:  # within the second epoch
            os.kill(os.getpid(), signal.SIGINT)
        return ordinary(*args, step=step, **kwargs)

    bench = _bench(quick, stores, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "training_step", ctrl_c)
        with pytest.raises(KeyboardInterrupt):
            run_row(ROWS["table8", "minmax"], bench)
    (name,) = _runs(tmp_path)
    folder = tmp_path / "runs" / name
    assert (folder / "checkpoints" / "last").resolve().name == "step-00000003"
    assert not (folder / "model.safetensors").exists()
    first = json.loads((folder / "seconds.json").read_text())
    assert first > 0
    torch.manual_seed(99)
    said: list[str] = []
    result = run_row(ROWS["table8", "minmax"], dataclasses.replace(bench, progress=said.append))
    assert said[0] == f"minmax: resuming in {folder}"
    assert result.seconds > first
    whole = table8 / "runs" / name  # the same name: it is the same network
    a, b = (load_file(run / "model.safetensors") for run in (whole, folder))
    assert a.keys() == b.keys()
    for key in a:
        assert torch.equal(a[key], b[key]), key
    expected = json.loads((table8 / "table8.json").read_text())["rows"][0]["seeds"][0]["measured"]
    assert json.loads(json.dumps(result.measured)) == expected


@pytest.mark.parametrize("when", ["before the first checkpoint", "before the model's JSON"])
def test_a_kill_at_a_bad_moment_does_not_block_the_row(
    when: str, table8: Path, quick: Recipe, stores: Stores, tmp_path: Path
) -> None:
    (name,) = (name for name in _runs(table8) if name.startswith("minmax"))
    folder = tmp_path / "runs" / name
    if when == "before the first checkpoint":
        (folder / "checkpoints" / ".partial-step-00000002").mkdir(parents=True)
    else:
        shutil.copytree(table8 / "runs" / name, folder, symlinks=True)
        (folder / "model.json").unlink()
    result = run_row(ROWS["table8", "minmax"], _bench(quick, stores, tmp_path))
    assert result.steps == 4
    a, b = (load_file(out / "runs" / name / "model.safetensors") for out in (table8, tmp_path))
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_rows_that_ask_for_the_same_network_share_its_run(
    quick: Recipe, stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = override(quick, ["training.epochs=1"])
    bench = _bench(short, stores, tmp_path, tests={"mine": stores["mine"]})
    first = run_row(ROWS["table5", "all"], bench)
    monkeypatch.setattr(run, "train", _fail)
    others = [
        run_row(ROWS[table, name], bench)
        for table, name in (("table7", "0.8/100/0.2"), ("table8", "standardise"), ("table11", "1"),
                            ("table11", "2"), ("table11", "3"), ("table1", "FakeSTormer_T4"))
    ]  # fmt: skip
    assert {other.run for other in others} == {first.run}
    assert _runs(tmp_path) == {Path(first.run).name}
    # Scored once for each number of shots, from the one network.
    documents = [
        json.loads((folder / "evaluation.json").read_text())
        for folder in (tmp_path / first.run).glob("evaluation-*")
    ]
    assert len(documents) == 3
    entries = [document["scores"]["mine"]["windows"][0] for document in documents]
    assert sorted(len(entry["shots"]) for entry in entries) == [1, 2, 3]
    for entry in entries:
        assert entry["score"] == pytest.approx(entry["shots"][-1])
    assert len({entry["score"] for entry in entries}) == 3
    with pytest.raises(AssertionError, match="done already"):
        run_row(ROWS["table7", "0.5/100/0.5"], bench)


def test_what_a_run_depends_on_makes_another_run(
    quick: Recipe, stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seed, training store, weights; not the way of testing, nor the test sets."""
    weights = tmp_path / "vit.safetensors"
    weights.write_bytes(b"some weights")
    asked: list[tuple[str, Path | None]] = []

    def noted(recipe: Recipe, store: Path, out: Path, settings: TrainSettings) -> None:
        asked.append((out.name, settings.initial_weights))
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "train", noted)

    def folder(row: TableRow, **changes: Any) -> str:
        with pytest.raises(KeyboardInterrupt):
            run_row(row, _bench(**{"recipe": quick, "stores": stores, "out": tmp_path, **changes}))
        return asked[-1][0]

    row, scratch = ROWS["table5", "SBV"], ROWS["table9", "TimeSformer+SBV"]
    same = folder(row)
    assert folder(row, tests={"mine": stores["mine"]}, split="all") == same
    assert folder(ROWS["table6", "CSP+interpolation"]) == same
    others = [
        folder(row, recipe=override(quick, ["training.seed=4"])),
        folder(row, training_store=stores["fakes"]),
        folder(row, initial_weights=weights),
        folder(scratch),
    ]
    assert len({same, *others}) == 5
    # Table 9 is from scratch, whatever weights are given.
    assert folder(scratch, initial_weights=weights) == others[-1]
    assert [given for _, given in asked].count(weights) == 1
    weights.write_bytes(b"other weights")
    assert folder(row, initial_weights=weights) not in others


def test_fake_videos_train_a_binary_classifier(
    quick: Recipe, stores: Stores, tmp_path: Path
) -> None:
    bench = _bench(
        quick, stores, tmp_path, training_store=stores["fakes"], tests={"mine": stores["mine"]}
    )
    result = run_row(ROWS["table9", "TimeSformer on FS"], bench)
    assert result.reason == ""
    network, document = load_model(tmp_path / result.run)
    assert (network.config.architecture, network.config.branches) == ("timesformer", ())
    training = document["recipe"]["training"]
    assert (training["fakes"], training["fake_methods"]) == ("videos", ["FaceSwap"])
    assert result.parameters == sum(p.numel() for p in network.parameters())
    assert result.measured["mine"][0]["metrics"]["auc"] is not None
    text = write_table("table9", TABLES["table9"], [[result]], bench)
    assert "3 fake tracks for the rows on fake videos" in text


@pytest.mark.parametrize(
    ("row", "left_out", "says"),
    [
        (("table5", "baseline"), ("fake",), "holds no fake train videos"),
        (("table9", "TimeSformer on NT"), (), "no fake train videos made by NeuralTextures"),
        (("table5", "baseline"), ("fake validation",), "holds no fake validation videos"),
        (("table9", "ResNet3D on DF"), ("short",), "no fake train videos made by Deepfakes"),
    ],
)
def test_a_row_that_the_store_cannot_serve_is_listed_with_the_reason(
    row: tuple[str, str],
    left_out: tuple[str, ...],
    says: str,
    quick: Recipe,
    stores: Stores,
    tmp_path: Path,
) -> None:
    store = tmp_path / "store"
    shutil.copytree(stores["fakes"], store)
    rows = [
        dataclasses.replace(r, frames=3) if "short" in left_out and r.label == "fake" else r
        for r in read_manifest(store)
        if r.label not in left_out and f"{r.label} {r.split}" not in left_out
    ]
    write_manifest(store, rows)
    bench = _bench(quick, stores, tmp_path / "out", training_store=store)
    result = run_row(ROWS[row], bench)
    assert says in result.reason
    assert (result.run, result.measured) == ("", {})
    done = RowResult(row=ROWS["table5", "SBV"], reason="of a test")
    text = write_table(row[0], TABLES[row[0]], [[result], [done]], bench)
    (line,) = (line for line in text.splitlines() if line.startswith(f"| {row[1]} |"))
    assert f"not run: {result.reason}" in line
    header = next(line for line in text.splitlines() if line.startswith("| row |"))
    assert line.count("|") == header.count("|")
    document = json.loads((tmp_path / "out" / f"{row[0]}.json").read_text())
    assert document["rows"][0]["not_run"] == result.reason
    assert document["rows"][0]["seeds"] == []
    assert not (tmp_path / "out" / "runs").exists()


def test_a_test_set_that_was_trained_on_is_refused(
    quick: Recipe, stores: Stores, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="the test store is the training store"):
        _bench(quick, stores, tmp_path, tests={"x": stores["train"]})
    # The same videos, prepared a second time as a test set.
    again = tmp_path / "again"
    shutil.copytree(stores["CDF2"], again)
    rows = read_manifest(again)
    held = next(row for row in read_manifest(stores["train"]) if row.split == "validation")
    leaked = dataclasses.replace(rows[1], sha256=held.sha256)
    write_manifest(again, [rows[0], leaked, *rows[2:]])
    with pytest.raises(InputError, match=rf"{leaked.video} is in the training store too"):
        _bench(quick, stores, tmp_path, tests={"x": again})
    # Known, but of another split, or rejected: nothing is scored of it.
    for harmless in (
        dataclasses.replace(leaked, split="train"),
        dataclasses.replace(leaked, rejected="no face", split=""),
    ):
        write_manifest(again, [rows[0], harmless, *rows[2:]])
        _bench(quick, stores, tmp_path, tests={"x": again})
    # Nor was anything trained on a rejected one.
    write_manifest(again, [rows[0], leaked, *rows[2:]])
    train = tmp_path / "train"
    shutil.copytree(stores["train"], train)
    others = [row for row in read_manifest(train) if row != held]
    write_manifest(train, [*others, dataclasses.replace(held, rejected="too short")])
    _bench(quick, stores, tmp_path, training_store=train, tests={"x": again})


def test_what_would_fail_after_hours_is_refused_at_once(
    quick: Recipe, stores: Stores, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"no manifest\.parquet"):
        _bench(quick, stores, tmp_path, tests={"x": tmp_path})
    with pytest.raises(InputError, match=r"no manifest\.parquet"):
        _bench(quick, stores, tmp_path, training_store=tmp_path)
    with pytest.raises(InputError, match="no usable video in the split 'validation'"):
        _bench(quick, stores, tmp_path, split="validation")
    other = override(quick, ["crop.enlarge=1.5"])
    with pytest.raises(InputError, match="its faces were followed and cut out with"):
        _bench(other, stores, tmp_path)
    with pytest.raises(InputError, match=r"no row named SBVs; there are: baseline, SBV, SBV\+cut"):
        row_recipes(TABLES["table5"], quick, ["SBV", "SBVs"])
    fakes = override(quick, ["model.branches=[]", "training.fakes=videos"])
    with pytest.raises(InputError, match=r"row SBV\+cutout\+g does not fit this recipe: .*f alone"):
        row_recipes(TABLES["table5"], fakes)


def test_the_rows_to_run(quick: Recipe) -> None:
    names = [row.name for row in row_recipes(TABLES["table5"], quick)]
    assert names == [row.name for row in TABLES["table5"].rows]
    only = [row.name for row in row_recipes(TABLES["table5"], quick, ["all", "SBV"])]
    assert only == ["SBV", "all"]  # in the table's order


def test_unscored_videos_are_told_in_the_table(
    quick: Recipe, stores: Stores, tmp_path: Path, draw_store: Callable[..., Path]
) -> None:
    rows = list(read_manifest(stores["mine"]))
    gone = dataclasses.replace(rows[-1], video="gone.mp4", rejected="no face", split="", track=-1)
    store = draw_store(tmp_path / "store", [*rows, gone])
    short = override(quick, ["training.epochs=1"])
    bench = _bench(short, stores, tmp_path / "out", tests={"mine": store})
    result = run_row(ROWS["table5", "SBV"], bench)
    whole = result.measured["mine"][0]
    assert (whole["real"], whole["fake"], whole["unscored"]) == (2, 2, 1)
    text = write_table("table5", TABLES["table5"], [[result]], bench)
    assert f"; {100 * (whole['auc_with_unscored'] or 0):.1f} with left-out at 0.5 |" in text
    assert "2 real and 2 fake videos, 1 left out" in text


def test_the_networks_device(monkeypatch: pytest.MonkeyPatch) -> None:
    for there, expected in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert run._device("auto") == expected
        assert run._device("cpu") == "cpu"
