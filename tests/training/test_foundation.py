"""Recipe `foundation`: `train --weights FILE` with a published tower's file; what trains."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from typer.testing import CliRunner

from fakestormer.cli import app
from fakestormer.model.fakestormer import build_fakestormer
from fakestormer.model.model_file import load_model
from fakestormer.model.towers import sizes_of
from fakestormer.model.weights import load_pretrained
from fakestormer.recipe.model import ModelConfig
from fakestormer.recipe.named import foundation
from fakestormer.training.schedule import never_trained, parameter_groups
from store_fixtures import SIDE

WIDTH = 64


@pytest.fixture(scope="module")
def dinov3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DINOv3 of two blocks with random weights, under its authors' names."""
    g = torch.Generator().manual_seed(0)
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, WIDTH),
        "storage_tokens": (1, 4, WIDTH),
        "mask_token": (1, WIDTH),
        "patch_embed.proj.weight": (WIDTH, 3, 8, 8),
        "patch_embed.proj.bias": (WIDTH,),
        "norm.weight": (WIDTH,),
        "norm.bias": (WIDTH,),
        "rope_embed.periods": (16,),
    }
    for i in range(2):
        for name, out, into in (
            ("attn.qkv", 3 * WIDTH, WIDTH),
            ("attn.proj", WIDTH, WIDTH),
            ("mlp.fc1", 2 * WIDTH, WIDTH),
            ("mlp.fc2", WIDTH, 2 * WIDTH),
        ):
            shapes |= {f"blocks.{i}.{name}.weight": (out, into), f"blocks.{i}.{name}.bias": (out,)}
        for name in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias", "ls1.gamma",
                     "ls2.gamma"):  # fmt: skip
            shapes[f"blocks.{i}.{name}"] = (WIDTH,)
        shapes[f"blocks.{i}.attn.qkv.bias_mask"] = (3 * WIDTH,)
    tensors: dict[str, Tensor] = {n: 0.05 * torch.randn(s, generator=g) for n, s in shapes.items()}
    path = tmp_path_factory.mktemp("weights") / "dinov3_vits8.pth"
    torch.save(tensors, path)
    return path


def _command(store: Path, run: Path, *more: str) -> list[str]:
    small = {
        "crop.stored_size": SIDE,
        "model.image_size": 32,
        "model.frames": 2,
        "training.epochs": 1,
        "training.batch_size": 4,
        "training.clips_per_track": 1,
        "training.validation_clips": 1,
        "training.precision": "32-true",
    }
    sets = [part for field, value in small.items() for part in ("--set", f"{field}={value}")]
    return [
        "train", str(store), "--out", str(run), "--recipe", "foundation", *sets,
        "--accelerator", "cpu", "--workers", "0", *more,
    ]  # fmt: skip


def test_one_command_trains_norms_and_what_is_new(
    store: Path, dinov3: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    done = CliRunner().invoke(app, _command(store, run, "--weights", str(dinov3)))
    assert done.exit_code == 0, done.output
    said = " ".join(done.output.split())
    assert f"{dinov3}: width 64, depth 2, 1 heads, patches of 8 px, 4 registers" in said
    network, document = load_model(run)
    recipe = document["recipe"]
    assert recipe["training"]["sizes_from"] == "recipe"  # they are in the recipe now
    model = recipe["model"]
    assert (model["width"], model["depth"], model["rotary"]) == (WIDTH, 2, "frame")

    config = network.config.model_copy(update={"temporal_init": "default"})
    start = build_fakestormer(config)
    report = load_pretrained(start, dinov3)
    before, after = start.state_dict(), network.state_dict()
    moved = {name for name in report.loaded if not torch.equal(before[name], after[name])}
    norms = {name for name in report.loaded if "_norm." in name}
    assert moved == norms
    states = load_file(run / "checkpoints/last/optimizer.safetensors")
    remembered = {name.rpartition("/")[0] for name in states}
    assert remembered == dict(network.named_parameters()).keys() - (report.loaded - norms)
    assert any("temporal_attention" in name for name in remembered)
    # A run goes on under the same command.
    again = CliRunner().invoke(app, _command(store, run, "--weights", str(dinov3), "--resume"))
    assert again.exit_code == 0, again.output


def test_everything_trains_where_it_is_asked_for(dinov3: Path) -> None:
    network = build_fakestormer(sizes_of(ModelConfig(image_size=32), dinov3))
    loaded = load_pretrained(network, dinov3).loaded
    assert never_trained(network, loaded) == frozenset()
    kept = never_trained(network, loaded, "norms")
    assert kept == {name for name in loaded if "_norm." not in name}
    (group,) = parameter_groups(network, loaded, 1.0, without=kept)
    names = {id(p): name for name, p in network.named_parameters()}
    assert {names[id(p)] for p in group["params"]} == set(names.values()) - kept


def test_set_says_what_no_tensor_shows(store: Path, dinov3: Path, tmp_path: Path) -> None:
    state = {
        "model.heads": 2,
        "model.activation": "quick_gelu",
    }
    sets = [part for field, value in state.items() for part in ("--set", f"{field}={value}")]
    run = tmp_path / "run"
    done = CliRunner().invoke(app, _command(store, run, "--weights", str(dinov3), *sets))
    assert done.exit_code == 0, done.output
    model = json.loads((run / "model.json").read_text())["recipe"]["model"]
    assert (model["heads"], model["activation"], model["width"]) == (2, "quick_gelu", WIDTH)


def test_without_weights_there_are_no_sizes(store: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, _command(store, tmp_path / "run"))
    assert done.exit_code != 0
    assert "name their file with --weights" in str(done.exception) + done.output
    assert foundation().training.sizes_from == "weights"


def test_the_file_of_no_vit_says_so(store: Path, tmp_path: Path) -> None:
    save_file({"fc.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    command = _command(store, tmp_path / "run", "--weights", str(tmp_path / "other.safetensors"))
    done = CliRunner().invoke(app, command)
    assert "no ViT in a layout known here" in str(done.exception) + done.output
