"""The command line about recipes and several machines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fakestormer.cli import app
from fakestormer.errors import InputError
from fakestormer.recipe.named import paper, release
from fakestormer.recipe.recipe import Recipe, difference, override, read_recipe


def test_recipe_prints_what_another_has_otherwise(recipe: Recipe, tmp_path: Path) -> None:
    run = CliRunner()
    same = run.invoke(app, ["recipe", "paper", "--diff", "paper"])
    assert (same.exit_code, same.output) == (0, "")
    differs = run.invoke(
        app, ["recipe", "paper", "--diff", "release", "--set", "training.epochs=7"]
    )
    lines = differs.output.splitlines()
    assert "training.epochs: 7 -> 200" in lines
    assert "training.betas: [0.9, 0.999] -> [0.9, 0.995]" in lines
    assert not any("model.width" in line for line in lines)
    # What it prints is enough to get there.
    sets = [
        f"{field}={json.dumps(there)}"
        for field, (_, there) in difference(paper(), release()).items()
    ]
    assert difference(override(paper(), sets), release()) == {}


def test_the_recipe_of_a_model_of_an_older_program_counts_its_defaults(
    recipe: Recipe, tmp_path: Path
) -> None:
    document = {"recipe": recipe.model_dump(mode="json")}
    for name in ("accumulate", "ema_decay", "checkpoint_minutes"):
        del document["recipe"]["training"][name]
    path = tmp_path / "model.json"
    path.write_text(json.dumps(document))
    assert read_recipe(path) == recipe
    printed = CliRunner().invoke(app, ["recipe", "tiny", "--diff", str(path)])
    assert "training.batch_size: 16 -> 4" in printed.output.splitlines()
    document["recipe"]["training"]["epochs"] = 0
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match=r"does not fit this program \(training\.epochs"):
        read_recipe(path)
    with pytest.raises(InputError, match="holds no recipe"):
        read_recipe(tmp_path / "absent.json")


def test_several_machines_need_a_prepared_store(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app, ["train", str(tmp_path), "--out", str(tmp_path / "run"), "--num-nodes", "2"]
    )
    assert done.exit_code == 2
    words = " ".join(done.output.replace("│", " ").split())  # typer draws a box
    assert "is no prepared store; for several machines" in words
