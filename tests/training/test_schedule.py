"""Learning rates at their corners, and who is frozen when."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fakestormer.recipe.training import ScheduleName
from fakestormer.training.schedule import (
    SCHEDULES,
    freeze,
    frozen_names,
    learning_rate,
    paper,
    release,
)


def test_the_paper_at_its_corners() -> None:
    rates = [paper(step, 100, 5e-4) for step in (0, 1, 25, 62.5, 99, 100)]
    assert rates == pytest.approx([5e-4, 5e-4, 5e-4, 2.5e-4, 5e-4 / 75, 0.0])


def test_the_release_at_its_corners() -> None:
    rates = [release(step, 200, 5e-5) for step in (0, 25, 50, 125, 200)]
    assert rates == pytest.approx([1e-7, (1e-7 + 5e-5) / 2, 5e-5, 2.5e-5, 0.0])


def test_the_worked_examples() -> None:
    falling = [1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]
    assert [paper(i, 8, 1) for i in range(8)] == pytest.approx([1, 1, *falling])
    assert [release(i, 8, 1) for i in range(8)] == pytest.approx([1e-7, 0.5, *falling], rel=1e-6)


@pytest.mark.parametrize("name", ["paper", "release"])
@pytest.mark.parametrize("total", [1, 2, 3, 7, 1000])
def test_never_negative_never_above_the_peak(name: ScheduleName, total: int) -> None:
    rates = [learning_rate(name, step, total, 1e-3) for step in range(total + 1)]
    assert rates == [SCHEDULES[name](step, total, 1e-3) for step in range(total + 1)]
    assert min(rates) == rates[-1] == 0.0
    assert max(rates) <= 1e-3
    after_warm_up = rates[-(-total // 4) :]
    assert after_warm_up == sorted(after_warm_up, reverse=True)


def test_pretrained_parameters_are_frozen_in_the_first_epochs_only() -> None:
    names = {"backbone.a", "backbone.b"}
    assert frozen_names(0, 5, names) == names
    assert frozen_names(4, 5, names) == names
    assert frozen_names(5, 5, names) == frozenset()
    assert frozen_names(0, 0, names) == frozenset()
    assert frozen_names(0, 5, ()) == frozenset()  # without pre-trained weights nothing is frozen


def test_frozen_parameters_do_not_move_and_later_do() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1, weight_decay=0.1)
    network(torch.ones(1, 2)).sum().backward()  # an old gradient must not move anything either
    freeze(network, {"0.weight"})
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    network(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    moved = {n for n, p in network.named_parameters() if not torch.equal(p, before[n])}
    assert moved == {"0.bias", "1.weight", "1.bias"}
    freeze(network, ())
    network(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    assert not torch.equal(network[0].weight, before["0.weight"])


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match=r"no parameters named other, weight\.typo"):
        freeze(nn.Linear(2, 2), {"weight", "weight.typo", "other"})
