"""`pseudo-fakes`, `evaluate` and `ablate` as a user meets them: files, sentences, exit codes."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import command_line
from fakestormer.cli import ExitCode
from fakestormer.cli.evaluating import stores_of
from fakestormer.data.manifest import read_manifest, write_manifest
from fakestormer.evaluation import score
from fakestormer.model.build import build
from fakestormer.model.model_file import save_model
from fakestormer.recipe.recipe import Recipe, override
from fakestormer.tools.ablation import run as ablation_run

Run = Callable[..., tuple[int, str, str]]
#: What makes the tiny recipe small enough, and take the crops of drawn stores.
SMALL = (
    "crop.stored_size=64", "model.image_size=32", "model.patch_size=8", "model.width=16",
    "model.depth=1", "model.heads=2", "training.epochs=1", "training.batch_size=4",
    "training.clips_per_track=1", "prediction.frames=4",
)  # fmt: skip


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """(exit code, standard output, standard error) of a command, in this process."""

    def call(*arguments: object) -> tuple[int, str, str]:
        return command_line.run([*arguments], monkeypatch, capfd)

    return call


@pytest.fixture(scope="module")
def stores(
    tmp_path_factory: pytest.TempPathFactory, make_store: Callable[..., Path]
) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("stores")
    return {
        "train": make_store(folder / "train", train=3, validation=1),
        "test": make_store(folder / "test", test=2, fakes={"test": {"swap": 2}}),
        "other": make_store(folder / "other", test=1, fakes={"test": {"swap": 1}}),
    }


def _one_line(err: str) -> str:
    assert len(err.strip().splitlines()) == 1, err
    return err.strip()


def _words(err: str) -> str:
    """Typer's boxes around wrong usage, unwrapped."""
    return " ".join(err.replace("│", " ").split())


# evaluate


def test_evaluate_writes_and_prints_the_numbers(
    run: Run,
    drawn_model: Path,
    stores: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Faces were found when the stores were prepared: no face models are needed any more.
    monkeypatch.setenv("FAKESTORMER_CACHE", str(tmp_path / "no models here"))
    out = tmp_path / "out"
    code, printed, err = run(
        "evaluate", "--model", drawn_model, "--data", f"CDF2={stores['test']}",
        "--data", stores["other"], "--out", out, "--sampling", "spread", "--shots", 2,
        "--shot-score", "mean", "--face", "max",
    )  # fmt: skip
    assert (code, err) == (ExitCode.DONE, "")
    assert printed.startswith((out / "evaluation.md").read_text())
    assert {path.name for path in out.iterdir()} == {
        "evaluation.json", "evaluation.md", "evaluation.html", "scores.csv", "scores", "lock",
        "roc-CDF2-spread.png", "roc-other-spread.png", "distribution-CDF2-spread.png",
        "distribution-other-spread.png",
    }  # fmt: skip
    assert "# Evaluation of model" in printed
    assert "\n## CDF2\n" in printed
    assert "\n## other\n" in printed
    document = json.loads((out / "evaluation.json").read_text())
    assert document["model"]["name"] == "model"
    assert len(document["model"]["weights_sha256"]) == 64
    assert document["settings"]["sampling"] == "spread"
    assert (document["settings"]["shots"], document["settings"]["shot_score"]) == (2, "mean")
    assert (document["settings"]["split"], document["settings"]["face"]) == ("test", "max")
    assert document["data"]["CDF2"]["prepared"]["backend"] == "drawn"
    whole = document["data"]["CDF2"]["results"]["spread"]["groups"][0]
    assert whole["metrics"]["auc"] is not None
    with (out / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["data"] for row in rows] == ["CDF2"] * 4 + ["other"] * 2
    first, second = (float(shot) for shot in rows[0]["shots"].split())
    assert float(rows[0]["score"]) == pytest.approx((first + second) / 2, abs=1e-5)


def test_evaluate_lists_what_it_left_out(
    run: Run, drawn_model: Path, stores: dict[str, Path], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    shutil.copytree(stores["test"], store)
    rows = list(read_manifest(store))
    rows[0] = dataclasses.replace(rows[0], rejected="too short", split="", file="")
    write_manifest(store, rows)
    code, printed, _ = run(
        "evaluate", "--model", drawn_model, "--data", store, "--out", tmp_path / "out"
    )
    assert code == ExitCode.SOME_FAILED
    assert "3 of 4 videos scored, 1 left out" in printed
    document = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    found = document["data"]["store"]["results"]["windows"]
    assert found["left_out"] == {rows[0].video: "too short"}


def test_what_evaluate_refuses(
    run: Run,
    drawn_model: Path,
    stores: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nothing_is_scored(*_: object, **__: object) -> None:
        raise AssertionError("scored before everything was checked")

    monkeypatch.setattr(score, "predict_track", nothing_is_scored)
    out = tmp_path / "out"

    def evaluate(*arguments: object, model: Path = drawn_model, folder: Path = out) -> tuple:
        return run("evaluate", "--model", model, "--out", folder, *arguments)[::2]

    data = ("--data", stores["test"])
    code, err = evaluate(*data, model=tmp_path / "none")
    assert code == ExitCode.ALL_FAILED
    assert f"{tmp_path / 'none'}" in _one_line(err)
    # The first store is fine, the second is not there.
    code, err = evaluate(*data, "--data", tmp_path / "gone")
    assert code == ExitCode.ALL_FAILED
    assert "gone: not a track store" in _one_line(err)
    code, err = evaluate(*data, "--split", "train")
    assert code == ExitCode.ALL_FAILED
    assert "no usable video in the split 'train' (there are: test)" in _one_line(err)
    code, err = evaluate(*data, "--data", f"test={stores['other']}")
    assert code == ExitCode.USAGE
    assert "two data sets are called test; name them with NAME=STORE" in _words(err)
    file = tmp_path / "file"
    file.write_text("")
    code, err = evaluate(*data, folder=file)
    assert code == ExitCode.USAGE
    assert "is a file; name a folder" in _words(err)
    for option, word in (("--split", "dev"), ("--face", "first"), ("--sampling", "random")):
        code, err = evaluate(*data, option, word)
        assert code == ExitCode.USAGE
        assert f"'{word}' is not one of" in _words(err)
    code, err = evaluate(*data, "--device", "abacus")
    assert code == ExitCode.ALL_FAILED
    assert "device 'abacus' cannot be used here" in _one_line(err)
    for said in (("--level", 2), ("--corrupt", "crops"), ("--root", f"test={tmp_path}")):
        code, err = evaluate(*data, *said)
        assert code == ExitCode.USAGE
        assert "are options of --corruptions" in _words(err)
    corrupt = (*data, "--corruptions")
    code, err = evaluate(*corrupt, "fog")
    assert code == ExitCode.USAGE
    assert "'fog' is not one of saturation, contrast" in _words(err)
    code, err = evaluate(*corrupt, "jpeg", "--root", "other=x")
    assert code == ExitCode.USAGE
    assert "expected NAME=FOLDER with a NAME of --data (test)" in _words(err)
    # Drawn stores were not prepared from videos.
    code, err = evaluate(*corrupt, "jpeg")
    assert code == ExitCode.ALL_FAILED
    assert not out.exists()


def test_evaluate_corrupts_crops_and_shows_the_benchmarks_tables(
    run: Run, drawn_model: Path, stores: dict[str, Path], tmp_path: Path
) -> None:
    code, printed, _ = run(
        "evaluate", "--model", drawn_model, "--data", f"CDF2={stores['test']}", "--out",
        tmp_path, "--corruptions", "contrast,block_wise", "--corrupt", "crops",
        "--sampling", "spread",
    )  # fmt: skip
    assert code == ExitCode.DONE
    assert "### Robustness" in printed
    assert "| corruption | clean | 1 | 2 | 3 | 4 | 5 | mean |" in printed
    # Published numbers stand beside models that learned from the same data, FF++, alone.
    assert "(paper, FF++)" not in printed
    # Crops of 64 px are too small for blocks.
    assert "- block_wise: does nothing on every video here" in printed
    document = json.loads((tmp_path / "evaluation.json").read_text())
    found = document["data"]["CDF2"]["robustness"]
    assert {len(levels) for levels in found["levels"].values()} == {5}
    assert found["mean"]["contrast"] is not None
    assert (tmp_path / "robustness-CDF2-spread.png").is_file()
    code, printed, _ = run("compare", tmp_path, tmp_path / "evaluation.json")
    assert code == ExitCode.DONE
    assert "no difference" in printed
    code, _, err = run("compare", tmp_path, tmp_path, "--json", tmp_path)
    assert (code, "is a folder; name a file" in _words(err)) == (ExitCode.USAGE, True)
    (tmp_path / "bad.json").write_text('{"format": 2}')
    code, _, err = run("compare", tmp_path, tmp_path / "bad.json")
    assert code == ExitCode.ALL_FAILED
    assert "bad.json: is no evaluation of layout 2" in _one_line(err)


def test_every_sampling_at_once(
    run: Run, drawn_model: Path, stores: dict[str, Path], tmp_path: Path
) -> None:
    code, printed, _ = run(
        "evaluate", "--model", drawn_model, "--data", stores["other"], "--out", tmp_path,
        "--sampling", "all",
    )  # fmt: skip
    assert code == ExitCode.DONE
    document = json.loads((tmp_path / "evaluation.json").read_text())
    samplings = ["windows", "consecutive", "spread"]
    assert document["settings"]["samplings"] == samplings
    assert list(document["data"]["other"]["results"]) == samplings
    assert all(f"sampling {name}" in printed for name in samplings)


def test_what_prepare_refuses(run: Run, tmp_path: Path) -> None:
    def refused(*arguments: object) -> str:
        code, _, err = run("prepare", *arguments)
        assert code == ExitCode.USAGE
        return _words(err)

    assert "name its folder with --root DIR" in refused("ffpp", "--out", tmp_path / "s")
    there = ("--root", tmp_path)
    assert "no data set 'kodf'; there are ffpp" in refused("kodf", *there, "--check")
    assert "--compression is of ffpp" in refused(
        "celeb-df-v2", *there, "--check", "--compression", "c40"
    )
    assert "--reals is of deeperforensics" in refused("ffpp", *there, "--reals", tmp_path)
    assert "--check only lists differences" in refused("ffpp", *there, "--check", "--only", "test")
    assert "name the store with --out" in refused("folder", *there)
    code, _, err = run("prepare", "celeb-df-v2", *there, "--check")
    assert code == ExitCode.ALL_FAILED
    assert "nothing of celeb-df-v2 is here" in _one_line(err)


def test_several_shots_need_an_h(
    run: Run, stores: dict[str, Path], recipe: Recipe, tmp_path: Path
) -> None:
    without = override(recipe, ["model.branches=[]"])
    torch.manual_seed(0)
    model = tmp_path / "without"
    save_model(model, build(without.model), without.model_dump(mode="json"), {})
    evaluate = ("evaluate", "--model", model, "--data", stores["test"], "--out", tmp_path / "out")
    code, _, err = run(*evaluate, "--shots", 2)
    assert code == ExitCode.ALL_FAILED
    assert "without: this model has no h" in _one_line(err)
    code, printed, _ = run(*evaluate)
    assert code == ExitCode.DONE
    assert "shots 1," in printed


def test_names_of_stores() -> None:
    assert stores_of(["CDF2=stores/celeb", "stores/mine", "x=a=b"]) == {
        "CDF2": Path("stores/celeb"),
        "mine": Path("stores/mine"),
        "x": Path("a=b"),
    }


# pseudo-fakes


def test_pseudo_fakes_writes_pairs_of_real_tracks(
    run: Run, stores: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "pairs"
    code, printed, err = run("pseudo-fakes", stores["test"], "--out", out, "--seed", 5)
    assert (code, err) == (ExitCode.DONE, "")
    assert f"{out}: 2 real clips and as many pseudo-fakes" in printed
    assert f"fakestormer prepare {out} --table {out / 'videos.csv'} --split test" in printed
    films = {path.relative_to(out).as_posix() for path in out.rglob("*.mp4")}
    # The store's own fake videos are no background for others.
    assert films == {
        f"{kind}/test_{number}.0.mp4" for kind in ("real", "fake/self-blended") for number in (0, 1)
    }
    code, _, err = run("pseudo-fakes", stores["test"], "--out", out, "--seed", 6)
    assert code == ExitCode.ALL_FAILED
    assert "another seed or synthesis" in _one_line(err)
    code, _, err = run("pseudo-fakes", stores["test"], "--out", out, "--seed", 5)
    assert (code, err) == (ExitCode.DONE, "")


def test_what_pseudo_fakes_refuses(run: Run, stores: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    code, _, err = run("pseudo-fakes", stores["test"], "--out", file)
    assert code == ExitCode.USAGE
    assert "is a file; name a folder" in _words(err)
    code, _, err = run("pseudo-fakes", tmp_path / "gone", "--out", tmp_path / "out")
    assert code == ExitCode.ALL_FAILED
    assert "gone" in _one_line(err)
    code, _, err = run(
        "pseudo-fakes", stores["test"], "--out", tmp_path / "out", "--split", "train"
    )
    assert code == ExitCode.ALL_FAILED
    assert "no real track in the split 'train'" in _one_line(err)
    assert not (tmp_path / "out").exists()


# ablate


def _ablate(stores: dict[str, Path], out: Path, table: str, *only: str) -> list[object]:
    sets = [word for assignment in SMALL for word in ("--set", assignment)]
    rows = [word for row in only for word in ("--only", row)]
    return [
        "ablate", table, "--train", stores["train"], "--test", f"CDF2={stores['test']}",
        "--out", out, "--accelerator", "cpu", "--workers", 0, *sets, *rows,
    ]  # fmt: skip


def test_ablate_runs_rows_and_goes_on(
    run: Run, stores: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    command = _ablate(stores, out, "table5", "baseline", "SBV")
    code, printed, err = run(*command)
    # No fake videos to train the baseline on: the other row is run.
    assert code == ExitCode.SOME_FAILED
    assert "| baseline | not run: the training store holds no fake train videos |" in printed
    assert "SBV: training in" in err
    assert "SBV: scoring CDF2" in err
    assert printed.rstrip("\n") == (out / "table5.md").read_text().rstrip("\n")
    document = json.loads((out / "table5.json").read_text())
    assert [row["name"] for row in document["rows"]] == ["baseline", "SBV"]
    assert document["rows"][1]["seeds"][0]["measured"]["CDF2"][0]["metrics"]["auc"] is not None

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("done already")

    monkeypatch.setattr(ablation_run, "train", fail)
    code, again, err = run(*_ablate(stores, out, "table6", "CSP+interpolation"))
    assert (code, err) == (ExitCode.DONE, "")
    assert "| CSP+interpolation | " in again
    code, again, err = run(*command)
    assert (code, again, err) == (ExitCode.SOME_FAILED, printed, "")


def test_what_ablate_refuses(
    run: Run, stores: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing_is_trained(*_: object, **__: object) -> None:
        raise AssertionError("trained before everything was checked")

    monkeypatch.setattr(ablation_run, "train", nothing_is_trained)
    out = tmp_path / "out"

    def ablate(*arguments: object, table: str = "table5", only: str = "SBV") -> tuple[int, str]:
        code, printed, err = run(*_ablate(stores, out, table, only), *arguments)
        assert printed == ""
        return code, err

    code, err = ablate(table="table12")
    assert code == ExitCode.USAGE
    assert "'table12' is not one of table1, table2," in _words(err)
    code, err = ablate(only="SBVs")
    assert code == ExitCode.ALL_FAILED
    assert "no row named SBVs; there are: baseline, SBV," in _one_line(err)
    code, err = ablate("--test", stores["train"])
    assert code == ExitCode.ALL_FAILED
    assert "the test store is the training store" in _one_line(err)
    code, err = ablate("--test", tmp_path / "gone")
    assert code == ExitCode.ALL_FAILED
    assert "gone" in _one_line(err)
    code, err = ablate("--split", "validation")
    assert code == ExitCode.ALL_FAILED
    assert "no usable video in the split 'validation'" in _one_line(err)
    code, err = ablate("--test", f"CDF2={stores['other']}")
    assert code == ExitCode.USAGE
    assert "two data sets are called CDF2" in _words(err)
    code, err = ablate(
        "--set", "model.branches=[]", "--set", "training.fakes=videos", only="all but h"
    )
    assert code == ExitCode.ALL_FAILED
    assert "row all but h does not fit this recipe" in _one_line(err)
    code, err = ablate("--weights", tmp_path / "gone.safetensors")
    assert code == ExitCode.ALL_FAILED
    assert "gone.safetensors" in _one_line(err)
    out.write_text("")
    code, err = ablate()
    assert code == ExitCode.USAGE
    assert "is a file; name a folder" in _words(err)
