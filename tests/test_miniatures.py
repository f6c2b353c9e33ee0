"""Every data set as a user meets it: checked, prepared and evaluated by the commands."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fakestormer.cli import ExitCode
from fakestormer.data.layouts import LAYOUTS
from miniature_material import SET_OPTIONS, call, material_of, write_model
from miniatures import BUILDERS, Expected, build_miniature

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """(exit code, standard output, standard error) of a command, in this process."""
    return lambda *arguments: call(arguments, capfd)


@pytest.fixture(scope="module", params=sorted(LAYOUTS))
def miniature(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Expected:
    material = material_of(request)
    return build_miniature(request.param, tmp_path_factory.mktemp(request.param), material)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


def test_there_is_a_miniature_of_every_layout() -> None:
    assert BUILDERS.keys() == LAYOUTS.keys()


def test_check_says_what_is_there(miniature: Expected, run: Run) -> None:
    code, printed, err = run(
        "prepare", *(word for word in miniature.arguments if not _of_table(word)), "--check"
    )
    assert (code, _faults(err)) == (ExitCode.DONE, [])
    lines = printed.splitlines()
    for line in miniature.says:
        assert line in lines, printed


@pytest.mark.usefixtures("no_plots")
def test_prepare_and_evaluate(miniature: Expected, run: Run, model: Path, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    store, out = tmp_path / "store", tmp_path / "out"
    code, printed, err = run(
        "prepare", *miniature.arguments, "--out", store, "--workers", 0, *SET_OPTIONS
    )
    partly = ExitCode.SOME_FAILED if miniature.unreadable else ExitCode.DONE
    assert code == partly, err
    usable = len(miniature.videos) - len(miniature.unreadable)
    assert f"{store}: {usable} face tracks" in printed
    for video, reason in miniature.unreadable.items():
        (line,) = [line for line in err.splitlines() if line.startswith(f"{video}: not used: ")]
        assert reason in line
    # A sentence each, and one about what the lists name and the disk has not.
    differs = any(line.startswith("missing: ") for line in miniature.says)
    assert len(_faults(err)) == len(miniature.unreadable) + differs

    table = pandas.read_parquet(store / "manifest.parquet").set_index("video")
    assert sorted(table.index) == sorted(miniature.videos)
    columns = ["label", "split", "method", "identity"]
    found = {
        video: tuple(row) for video, row in zip(table.index, table[columns].values, strict=True)
    }
    assert found == {
        name: (v.label, v.split, v.method, v.identity) for name, v in miniature.videos.items()
    }
    assert set(table.index[table["rejected"] != ""]) == miniature.unreadable.keys()
    # A face may be found a frame late, or be lost a frame early.
    assert table.loc[table["rejected"] == "", "frames"].between(10, 12).all()

    code, printed, err = run(
        "evaluate", "--model", model, "--data", f"MINI={store}", "--split", "test", "--out", out
    )
    unscored = {name for name in miniature.unreadable if miniature.videos[name].split == "test"}
    assert code == (ExitCode.SOME_FAILED if unscored else ExitCode.DONE), err
    document = json.loads((out / "evaluation.json").read_text())
    assert document["data"]["MINI"]["dataset"] == miniature.name
    (result,) = document["data"]["MINI"]["results"].values()
    assert result["left_out"].keys() == unscored
    groups = _groups(result)
    assert miniature.groups.items() <= groups.items()
    assert {n for n in groups if n.startswith("method ")} <= miniature.groups.keys()
    real, fake, left_out = miniature.groups["all"]
    assert f"| all | {real} | {fake} | " in printed
    total = real + fake + left_out
    assert f"{real + fake} of {total} videos scored, {left_out} left out" in printed


def _faults(err: str) -> list[str]:
    """All lines but the one that counts what lies beside the videos: the table of `folder`."""
    return [line for line in err.splitlines() if not line.endswith("left out as no videos: 1 .csv")]


def _of_table(word: object) -> bool:
    """--check is about what lies there, a table about what the user says of it."""
    return word == "--table" or str(word).endswith(".csv")


def _groups(result: dict[str, Any]) -> dict[str, tuple[int, int, int]]:
    return {g["group"]: (g["real"], g["fake"], g["unscored"]) for g in result["groups"]}
