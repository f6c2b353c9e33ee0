"""Checkpoints on disk."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fakestormer.errors import InputError
from fakestormer.model.build import build
from fakestormer.model.network import VideoNetwork
from fakestormer.model.weights import save_weights
from fakestormer.recipe.recipe import Recipe
from fakestormer.recipe.training import TrainingConfig
from fakestormer.training import checkpoint
from fakestormer.training.checkpoint import RunState, read_state, restore, save_checkpoint


def _state(step: int) -> RunState:
    return RunState(step=step, metrics={}, best={}, tracks="t", validation="v")


def _network(recipe: Recipe, seed: int) -> VideoNetwork:
    torch.manual_seed(seed)
    return build(recipe.model)


def test_checkpoints_keep_last_and_best_and_restore_the_optimizer(
    recipe: Recipe, tmp_path: Path
) -> None:
    network = _network(recipe, 0)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    frames = torch.randint(0, 255, (2, 4, 3, 32, 32), dtype=torch.uint8)
    for step in range(1, 5):
        optimizer.zero_grad()
        network(frames).logit.sum().backward()
        optimizer.step()
        save_checkpoint(
            tmp_path, network, optimizer, _state(step), {"name": "r"}, best=step in (1, 2)
        )
    folders = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert folders == ["best", "last", "step-00000002", "step-00000004"]
    assert read_state(tmp_path / "checkpoints/best")[0].step == 2
    assert read_state(tmp_path / "checkpoints/last") == (_state(4), {"name": "r"})
    modes = {file.stat().st_mode for file in (tmp_path / "checkpoints/last").iterdir()}
    assert len(modes) == 1, "who may read other new files may read the optimizer's numbers"

    again = _network(recipe, 1)
    fresh = torch.optim.Adam(again.parameters(), lr=1e-3)
    restore(tmp_path / "checkpoints/last", again, fresh)
    for one, other in ((network, optimizer), (again, fresh)):
        other.zero_grad()
        one(frames).frame_logits.sum().backward()
    # The two networks differ only if dropout draws differently: step on equal gradients.
    for p, q in zip(network.parameters(), again.parameters(), strict=True):
        q.grad = None if p.grad is None else p.grad.clone()
    optimizer.step()
    fresh.step()
    for p, q in zip(network.parameters(), again.parameters(), strict=True):
        assert torch.equal(p, q)


def test_a_checkpoint_left_by_a_killed_run_is_replaced(recipe: Recipe, tmp_path: Path) -> None:
    network = _network(recipe, 0)
    optimizer = torch.optim.Adam(network.parameters())
    for name in ("step-00000003", ".partial-step-00000003"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
    save_checkpoint(tmp_path, network, optimizer, _state(3), {}, best=True)
    assert read_state(tmp_path / "checkpoints/last")[0].step == 3
    with pytest.raises(InputError, match="no checkpoint here"):
        read_state(tmp_path / "checkpoints/step-00000009")


def test_a_kill_between_the_two_links_leaves_best_ahead_never_behind(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = _network(recipe, 0)
    optimizer = torch.optim.Adam(network.parameters())
    save_checkpoint(tmp_path, network, optimizer, _state(1), {}, best=True)
    ordinary, pointed = checkpoint._point, []

    def killed_at_the_second(link: Path, target: str) -> None:
        if pointed:
            raise KeyboardInterrupt
        pointed.append(link.name)
        ordinary(link, target)

    monkeypatch.setattr(checkpoint, "_point", killed_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path, network, optimizer, _state(2), {}, best=True)
    assert read_state(tmp_path / "checkpoints/best")[0].step == 2
    assert read_state(tmp_path / "checkpoints/last")[0].step == 1
    monkeypatch.undo()  # resumed from `last`, the same step is done and saved again
    save_checkpoint(tmp_path, network, optimizer, _state(2), {}, best=True)
    assert read_state(tmp_path / "checkpoints/last")[0].step == 2


@pytest.mark.parametrize("content", ["{", "{}", '{"state": {"step": "x"}, "recipe": {}}'])
def test_a_damaged_checkpoint_is_one_sentence(content: str, recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "checkpoint.json").write_text(content)
    with pytest.raises(InputError, match=r"checkpoint\.json: is "):
        read_state(tmp_path)
    network = _network(recipe, 0)
    save_weights(network, tmp_path / "weights.safetensors")
    (tmp_path / "optimizer.safetensors").write_text(content)
    with pytest.raises(InputError, match=r"optimizer\.safetensors: is missing or damaged"):
        restore(tmp_path, network, torch.optim.Adam(network.parameters()))


def test_without_what_training_needs_it_says_so(tmp_path: Path) -> None:
    missing = ["lightning_fabric", "matplotlib", "pyarrow", "scipy", "sklearn", "tensorboard"]
    words = ["fakestormer", "train", str(tmp_path), "--out", str(tmp_path / "run")]
    code = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({missing}))\n"
        f"sys.argv = {words}\n"
        "from fakestormer.cli import main\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 5, done.stderr
    assert (
        "this command needs pyarrow, lightning_fabric, sklearn, tensorboard: install it with"
        in done.stderr
    )
    assert "Traceback" not in done.stderr


def test_training_config_refuses_what_cannot_be() -> None:
    with pytest.raises(ValueError, match="come in pairs"):
        TrainingConfig(batch_size=5)
    with pytest.raises(ValueError, match="betas"):
        TrainingConfig(betas=(0.9, 1.0))
    assert TrainingConfig().pairs == 16
