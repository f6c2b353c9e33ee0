"""`fakestormer saliency` as a user meets it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import command_line
from fakestormer.cli import ExitCode
from fakestormer.model.build import build
from fakestormer.model.model_file import save_model
from fakestormer.recipe.recipe import Recipe
from odd_files import several

MakeVideo = Callable[..., Path]
Run = Callable[..., tuple[int, str, str]]

pytestmark = pytest.mark.usefixtures("face_backend_ready")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """(exit code, standard output, standard error) of `fakestormer saliency`, in this process."""

    def call(*arguments: object) -> tuple[int, str, str]:
        return command_line.run(["saliency", *arguments], monkeypatch, capfd)

    return call


def test_one_bad_file_does_not_stop_the_others(
    run: Run, untrained_model: Path, astronaut_video: MakeVideo, tmp_path: Path
) -> None:
    good = astronaut_video(tmp_path / "good.mp4", count=12)
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"")
    code, out, err = run(
        bad, good, "--model", untrained_model, "--out", tmp_path / "sheets", "--clips", 2
    )
    assert code == ExitCode.SOME_FAILED
    assert len(err.strip().splitlines()) == 1
    assert str(bad) in err
    sheets = sorted((tmp_path / "sheets").iterdir())
    assert len(sheets) == 2
    for sheet in sheets:
        assert f": {sheet}\n" in out
        assert cv2.imread(str(sheet)).shape[1] > 800
    assert out.count(f"{good}: Face 1, clip ") == 2

    code, out, err = run(bad, "--model", untrained_model, "--out", tmp_path / "sheets")
    assert (code, out) == (ExitCode.ALL_FAILED, "")


def test_a_model_without_g_is_refused_before_any_video(
    run: Run, untrained_model: Path, tmp_path: Path
) -> None:
    document = json.loads((untrained_model / "model.json").read_text())
    recipe = Recipe.model_validate(document["recipe"])
    recipe = recipe.model_copy(
        update={"model": recipe.model.model_copy(update={"branches": ("h",)})}
    )
    torch.manual_seed(0)
    save_model(tmp_path / "m", build(recipe.model), recipe.model_dump(mode="json"), {})
    code, out, err = run("none.mp4", "--model", tmp_path / "m", "--out", tmp_path / "sheets")
    assert (code, out) == (ExitCode.ALL_FAILED, "")
    assert err.count("\n") == 1
    assert err.startswith(f"{tmp_path / 'm'}: saliency maps show what h and g drew on")


def test_wrong_usage(run: Run, untrained_model: Path, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("a file")
    code, _, err = run("a.mp4", "--model", untrained_model, "--out", taken)
    assert code == ExitCode.USAGE
    assert "name a folder" in " ".join(err.split())
    code, _, _ = run("a.mp4", "--model", untrained_model, "--out", tmp_path, "--clips", 0)
    assert code == ExitCode.USAGE
    code, _, err = run("a.mp4", "--model", untrained_model)
    assert code == ExitCode.USAGE
    assert "--out" in err


def test_without_the_library_it_says_what_to_install(
    run: Run, untrained_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    code, _, err = run("a.mp4", "--model", untrained_model, "--out", tmp_path)
    assert code == ExitCode.SETUP_NEEDED
    assert "pip install 'fakestormer[saliency]'" in err


def test_another_stream_is_drawn_where_it_is_named(
    run: Run,
    untrained_model: Path,
    astronaut_video: MakeVideo,
    make_video: MakeVideo,
    tmp_path: Path,
) -> None:
    black = make_video([np.zeros((360, 480, 3), np.uint8)] * 8, tmp_path / "black.mp4")
    face = astronaut_video(tmp_path / "face.mp4", count=8)
    both = several(tmp_path / "two.mkv", black, face, default=(0,))
    arguments = [both, "--model", untrained_model, "--out", tmp_path / "sheets"]
    code, _, err = run(*arguments)
    assert code == ExitCode.ALL_FAILED
    assert "name another of its video streams than 0 with --stream" in err
    code, out, _ = run(*arguments, "--stream", 1)
    assert code == ExitCode.DONE
    assert f"{both}: Face 1, clip " in out
