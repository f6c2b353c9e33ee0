"""SAM on a quadratic by hand, and the state it must leave alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from fakestormer.training.sam import SAM, frozen_statistics, gradient_norm


def quadratic(w: Tensor) -> Tensor:
    """(w0^2 + 4 w1^2) / 2, gradient (w0, 4 w1)."""
    return (w[0] ** 2 + 4 * w[1] ** 2) / 2


def test_one_step_on_a_quadratic_by_hand() -> None:
    w = nn.Parameter(torch.tensor([3.0, 1.0], dtype=torch.float64))
    optimizer = torch.optim.SGD([w], lr=0.1)
    sam = SAM(optimizer, rho=0.5)
    quadratic(w).backward()
    with sam.perturbed() as norm:
        assert norm == pytest.approx(5.0)  # gradient (3, 4)
        assert w.tolist() == pytest.approx([3.3, 1.4])  # up by 0.5 * (3, 4) / 5
        optimizer.zero_grad()
        quadratic(w).backward()
    assert w.tolist() == [3.0, 1.0]
    optimizer.step()
    assert w.tolist() == pytest.approx([3 - 0.1 * 3.3, 1 - 0.1 * 5.6])


def test_the_norm_is_over_all_parameters_and_groups() -> None:
    a, b = nn.Parameter(torch.tensor([1.0])), nn.Parameter(torch.tensor([[2.0]]))
    frozen = nn.Parameter(torch.tensor([7.0]), requires_grad=False)
    optimizer = torch.optim.Adam([{"params": [a, frozen]}, {"params": [b], "lr": 1.0}])
    (3 * a.sum() + 4 * b.sum()).backward()
    with SAM(optimizer, rho=1.0).perturbed():
        assert a.item() == pytest.approx(1.6)
        assert b.item() == pytest.approx(2.8)
        assert frozen.item() == 7.0
    assert (a.item(), b.item()) == (1.0, 2.0)


def test_a_scaled_gradient_perturbs_the_same() -> None:
    moved = []
    for scale in (1.0, 65536.0):
        w = nn.Parameter(torch.tensor([0.3, -0.2]))
        (scale * quadratic(w)).backward()
        with SAM(torch.optim.SGD([w], lr=0.1)).perturbed():
            moved.append(w.detach().clone())
    torch.testing.assert_close(moved[0], moved[1])


@pytest.mark.parametrize("gradient", [0.0, float("inf"), float("nan")])
def test_without_a_direction_nothing_moves(gradient: float) -> None:
    w = nn.Parameter(torch.tensor([1.0, 2.0]))
    w.grad = torch.full((2,), gradient)
    with SAM(torch.optim.SGD([w], lr=0.1)).perturbed():
        assert w.tolist() == [1.0, 2.0]
    assert w.tolist() == [1.0, 2.0]


def test_no_gradients_at_all() -> None:
    w = nn.Parameter(torch.tensor([1.0]))
    with SAM(torch.optim.SGD([w], lr=0.1)).perturbed() as norm:
        assert norm == 0.0
    assert gradient_norm([]).item() == 0.0


def test_weights_come_back_after_an_exception_bit_for_bit() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7))
    before = [p.detach().clone() for p in network.parameters()]
    network(torch.randn(4, 5)).square().sum().backward()
    sam = SAM(torch.optim.SGD(network.parameters(), lr=0.1), rho=0.37)
    with pytest.raises(RuntimeError, match="in between"):
        fail_in_between(sam, network, before)
    for p, original in zip(network.parameters(), before, strict=True):
        assert torch.equal(p, original)
    assert all(m.track_running_stats for m in network.modules() if isinstance(m, nn.BatchNorm1d))


def fail_in_between(sam: SAM, network: nn.Module, before: list[Tensor]) -> None:
    with sam.perturbed(), frozen_statistics(network):
        assert not torch.equal(next(network.parameters()), before[0])
        raise RuntimeError("in between")


def test_statistics_are_updated_once_per_step() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, momentum=0.05))
    norm = network[1]
    assert isinstance(norm, nn.BatchNorm1d)
    x = torch.randn(6, 3)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    expected_mean = 0.05 * network[0](x).mean(0)
    network(x).square().sum().backward()
    assert norm.running_mean is not None
    assert norm.num_batches_tracked is not None
    torch.testing.assert_close(norm.running_mean, expected_mean)
    once = norm.running_mean.clone()
    with SAM(optimizer).perturbed(), frozen_statistics(network):
        optimizer.zero_grad()
        inside = network(x + 1)
        inside.square().sum().backward()
    assert torch.equal(norm.running_mean, once)
    assert norm.num_batches_tracked.item() == 1
    # Within, it still normalised with the batch: its output has mean 0 and variance 1.
    torch.testing.assert_close(inside.mean(0), torch.zeros(4), atol=1e-5, rtol=0)
    network(x)
    assert norm.num_batches_tracked.item() == 2


def test_layers_in_eval_mode_are_left_as_they_are() -> None:
    norm = nn.BatchNorm1d(2).eval()
    x = torch.randn(5, 2)
    outside = norm(x)
    with frozen_statistics(norm):
        assert torch.equal(norm(x), outside)


def test_a_negative_rho_is_refused() -> None:
    with pytest.raises(ValueError, match="rho"):
        SAM(torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1), rho=-0.1)
