"""The examples, the notebook and the snippets of the documentation run."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from miniature_material import SETS, Material, material_of, write_model
from miniatures import build_miniature
from video_fixtures import astronaut_frames

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"

pytestmark = pytest.mark.usefixtures("face_backend_ready")


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def material(request: pytest.FixtureRequest) -> Material:
    return material_of(request)


def imported(source: str) -> set[str]:
    """Modules of ours that a source imports."""
    nodes = list(ast.walk(ast.parse(source)))
    names = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    names |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return {name for name in names if name and name.split(".")[0] == "fakestormer"}


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_examples_use_the_public_names_alone(path: Path) -> None:
    assert imported(path.read_text()) == {"fakestormer"}


def test_detect(
    untrained_model: Path,
    astronaut_video: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    video = astronaut_video(tmp_path / "a.mp4", count=8)
    arguments = [str(video), "--out", str(tmp_path / "out"), "--model", str(untrained_model)]
    example("detect").main(arguments)
    (page,) = (tmp_path / "out").glob("*.html")
    assert f"; see {page}" in capsys.readouterr().out
    example("detect").main(arguments)
    assert "(by an earlier run)" in capsys.readouterr().out


def test_train_on_your_videos(
    material: Material, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    videos, run = tmp_path / "videos", tmp_path / "run"
    videos.mkdir()
    for film in material.reals:
        shutil.copy(film, videos)
    sets = [word for assignment in SETS for word in ("--set", assignment)]
    example("train_on_your_videos").main(
        [str(videos), "--hold-out", "grid", "--out", str(run), *sets]
    )
    assert (run / "model.safetensors").is_file()
    assert re.search(r"AUC [01]\.\d{3} on the videos", capsys.readouterr().out)


def test_evaluate_a_dataset(
    material: Material, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = build_miniature("celeb-df-v2", tmp_path, material)
    model = write_model(tmp_path / "model")
    example("evaluate_a_dataset").main(
        ["celeb-df-v2", str(expected.root), "--out", str(tmp_path / "out"), "--model", str(model)]
    )
    assert "AUC" in capsys.readouterr().out


def test_the_notebook_runs_from_top_to_bottom(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("skimage")
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.syspath_prepend(str(EXAMPLES))
    document = json.loads((EXAMPLES / "tour.ipynb").read_text())
    cells = ["".join(c["source"]) for c in document["cells"] if c["cell_type"] == "code"]
    assert set().union(*map(imported, cells)) == {"fakestormer"}
    names: dict[str, Any] = {}
    shown = [last_value(cell, names) for cell in cells]
    drawn = [value._repr_html_() for value in shown if hasattr(value, "_repr_html_")]
    assert len(drawn) == 2, "a file and an array"
    assert all("data:image/webp" in html and "<circle" in html for html in drawn)
    assert (names["folder"] / "pair" / "contact_sheet.png").is_file()
    shutil.rmtree(names["folder"])


def last_value(cell: str, names: dict[str, Any]) -> Any:
    """Run a cell; the value of its last line, which a notebook shows."""
    tree = ast.parse(cell)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    if last is None:
        return None
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names)


@pytest.mark.parametrize("name", ["README.md", "docs/python.md"])
def test_snippets_run(
    name: str,
    untrained_model: Path,
    astronaut_video: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    snippets = re.findall(r"^```python\n(.*?)^```", (ROOT / name).read_text(), re.M | re.S)
    assert snippets
    astronaut_video(tmp_path / "interview.mp4", count=8)
    np.save(tmp_path / "frames.npy", np.stack(astronaut_frames(4)))
    shutil.copytree(untrained_model, tmp_path / "RUN")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}  # later snippets use what earlier ones made
    for snippet in snippets:
        exec(compile(snippet.replace('"cuda"', '"cpu"'), name, "exec"), names)
    assert list((tmp_path / "reports").glob("interview-*.html"))
