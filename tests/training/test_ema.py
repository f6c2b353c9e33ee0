"""The moving average of the weights, by hand and through whole runs."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from fakestormer.errors import InputError
from fakestormer.recipe.recipe import Recipe, override
from fakestormer.training import loop
from fakestormer.training.ema import Average, decay_at
from store_fixtures import train_here


class Two(nn.Module):
    """One weight, and BatchNorm's kinds of state."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([8.0]))
        self.register_buffer("running_mean", torch.tensor([4.0]))
        self.register_buffer("num_batches_tracked", torch.tensor(0))


def test_by_hand() -> None:
    network: Any = Two()
    average = Average(network, 0.2)
    for update, value in enumerate((0.0, 10.0, 20.0)):
        network.weight.data.fill_(value)
        network.running_mean.fill_(value / 2)
        network.num_batches_tracked.fill_(update + 1)
        average.update(network, update)
    # decays 1/10, 2/11 and, of 3/12, the chosen 0.2
    wanted = 8 * 0.1 + 0 * 0.9
    wanted = wanted * (2 / 11) + 10 * (9 / 11)
    wanted = wanted * 0.2 + 20 * 0.8
    kept: Any = average.network
    assert kept.weight.item() == pytest.approx(wanted)
    assert kept.running_mean.item() == pytest.approx(wanted / 2)
    assert kept.num_batches_tracked.item() == 3
    assert network.weight.item() == 20.0
    assert not kept.training
    assert not kept.weight.requires_grad


def test_the_decay_grows_to_the_chosen_one() -> None:
    assert [decay_at(t, 0.999) for t in (0, 8, 80)] == pytest.approx([0.1, 0.5, 0.9])
    assert decay_at(8990, 0.999) == 0.999
    assert decay_at(8980, 0.999) < 0.999


def test_the_average_is_what_is_judged_kept_and_resumed(
    recipe: Recipe, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    averaged = override(recipe, ["training.ema_decay=0.6", "training.checkpoint_every=1"])
    plain = train_here(recipe, store, tmp_path / "plain")
    weights = []
    ordinary = loop.save_checkpoint

    def noted(run: Path, network: Any, *args: Any, **named: Any) -> Path:
        weights.append({name: t.clone() for name, t in network.state_dict().items()})
        return ordinary(run, network, *args, **named)

    monkeypatch.setattr(loop, "save_checkpoint", noted)
    whole = train_here(averaged, store, tmp_path / "whole")
    monkeypatch.undo()
    # Training goes its way as ever; what is judged is something else.
    assert whole.history == plain.history
    assert whole.best["classification_loss"] != plain.best["classification_loss"]
    assert not (tmp_path / "plain/checkpoints/last/average.safetensors").exists()

    # The average over all steps, from the checkpoints' weights and those of the beginning.
    torch.manual_seed(recipe.training.seed)
    wanted = loop.build(recipe.model).state_dict()
    for update, step in enumerate(weights):
        d = min(0.6, (1 + update) / (10 + update))
        for name, tensor in step.items():
            wanted[name] = (
                d * wanted[name] + (1 - d) * tensor if tensor.dtype.is_floating_point else tensor
            )
    kept = load_file(tmp_path / "whole/checkpoints/last/average.safetensors")
    for name, tensor in kept.items():
        torch.testing.assert_close(tensor, wanted[name], rtol=1e-5, atol=1e-6)
    best = load_file(tmp_path / "whole/checkpoints/best/average.safetensors")
    model = load_file(whole.model)
    assert all(torch.equal(model[name], best[name]) for name in best)

    def ctrl_c(*args: Any, step: int, **named: Any) -> Any:
        if step == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return step_of_ours(*args, step=step, **named)

    step_of_ours = loop.training_step
    monkeypatch.setattr(loop, "training_step", ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        train_here(averaged, store, tmp_path / "run")
    monkeypatch.undo()
    resumed = train_here(averaged, store, tmp_path / "run", resume=True)
    assert resumed.best == whole.best
    again = load_file(tmp_path / "run/checkpoints/last/average.safetensors")
    assert all(torch.equal(again[name], kept[name]) for name in kept)

    (tmp_path / "run/checkpoints/last/average.safetensors").unlink()
    with pytest.raises(InputError, match=r"average\.safetensors: no such file"):
        train_here(averaged, store, tmp_path / "run", resume=True)
