"""Models on disk."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fakestormer.errors import InputError
from fakestormer.model.build import build
from fakestormer.model.model_file import load_model, save_model
from fakestormer.model.network import VideoNetwork
from fakestormer.recipe.recipe import Recipe


def _network(recipe: Recipe, seed: int) -> VideoNetwork:
    torch.manual_seed(seed)
    return build(recipe.model)


def test_model_round_trip(recipe: Recipe, tmp_path: Path) -> None:
    network = _network(recipe, 0)
    weights = save_model(tmp_path / "m", network, recipe.model_dump(mode="json"), {"auc": 0.5})
    assert weights == tmp_path / "m" / "model.safetensors"
    for path in (tmp_path / "m", weights):
        loaded, document = load_model(path)
        assert not loaded.training
        assert Recipe.model_validate(document["recipe"]) == recipe
        assert document["metrics"] == {"auc": 0.5}
        assert document["face_backend"] is None
        for name, tensor in network.state_dict().items():
            assert torch.equal(loaded.state_dict()[name], tensor)


def test_a_model_under_a_name_of_its_own(recipe: Recipe, tmp_path: Path) -> None:
    save_model(tmp_path / "x.safetensors", _network(recipe, 0), recipe.model_dump(mode="json"), {})
    assert {path.name for path in tmp_path.iterdir()} == {"x.safetensors", "x.json"}
    load_model(tmp_path / "x.safetensors")


def test_files_that_do_not_belong_together_are_refused(recipe: Recipe, tmp_path: Path) -> None:
    dumped = recipe.model_dump(mode="json")
    for number in (0, 1):
        save_model(tmp_path / str(number), _network(recipe, number), dumped, {})
    (tmp_path / "0/model.json").write_text((tmp_path / "1/model.json").read_text())
    with pytest.raises(InputError, match="belong to different models"):
        load_model(tmp_path / "0")
    document = json.loads((tmp_path / "1/model.json").read_text())
    (tmp_path / "1/model.json").write_text(json.dumps({**document, "format": 9}))
    with pytest.raises(InputError, match="format 9"):
        load_model(tmp_path / "1")
    (tmp_path / "1/model.json").write_text(json.dumps({**document, "recipe": {}}))
    with pytest.raises(InputError, match="no usable network configuration"):
        load_model(tmp_path / "1")
    (tmp_path / "1/model.json").write_text("{")
    with pytest.raises(InputError, match="not readable as JSON"):
        load_model(tmp_path / "1")
    with pytest.raises(InputError, match="no such file"):
        load_model(tmp_path / "2")


def test_loading_a_model_needs_nothing_that_training_needs() -> None:
    code = (
        "import sys, fakestormer.detection.detector\n"
        "wanted = {'lightning_fabric', 'pyarrow', 'scipy', 'sklearn', 'tensorboard'}\n"
        "sys.exit(', '.join(wanted & sys.modules.keys()) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
