"""A step in parts: gradient accumulation, SAM over the whole batch, and what stops a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from fakestormer.data.loaders import PairBatch
from fakestormer.model.build import build
from fakestormer.model.network import VideoNetwork
from fakestormer.recipe.model import ModelConfig
from fakestormer.recipe.training import TrainingConfig
from fakestormer.training.losses import fakestormer_loss
from fakestormer.training.sam import SAM
from fakestormer.training.step import (
    AsTensors,
    NonFiniteLossError,
    PartLosses,
    split_pairs,
    training_step,
)
from fakestormer.types.network import Targets

PAIRS = 4
MODEL = ModelConfig(
    image_size=16, patch_size=8, width=24, depth=2, heads=3, drop_path=0.0, head_dropout=0.0,
    frames=3,
)  # fmt: skip
WITHOUT_BATCHNORM = MODEL.model_copy(update={"branches": ("g",)})


def _batch(pairs: int = PAIRS) -> PairBatch:
    generator = torch.Generator().manual_seed(5)

    def drawn(*shape: int) -> Tensor:
        return torch.rand(2 * pairs, *shape, generator=generator)

    return PairBatch(
        frames=torch.randint(0, 256, (2 * pairs, 3, 3, 16, 16), generator=generator).byte(),
        targets=Targets(
            boundary=drawn(3, 2, 2),
            derivative=drawn(3, 2, 2),
            soft_labels=drawn(3),
            label=torch.tensor([0.0] * pairs + [1.0] * pairs),
            kept=drawn(2, 2) > 0.1,
        ),
        sources=tuple(f"clip {number}" for number in range(pairs)),
    )


def _network(model: ModelConfig) -> VideoNetwork:
    torch.manual_seed(0)
    network = build(model)
    for parameter in network.parameters():  # some start at zero and pass no gradient on
        nn.init.normal_(parameter, std=0.3)
    return network.train()


def _config(**fields: Any) -> TrainingConfig:
    return TrainingConfig(batch_size=2 * PAIRS, seed=3, **fields)


def _steps(
    network: VideoNetwork, config: TrainingConfig, batches: Sequence[PairBatch]
) -> list[PartLosses]:
    """Plain gradient descent over the batches; the losses of each step."""
    fabric = Fabric(accelerator="cpu", devices=1)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
    module, stepper = fabric.setup(AsTensors(network), optimizer)
    found = []
    for step, batch in enumerate(batches):
        sam = SAM(optimizer, config.sam_rho)
        losses = training_step(fabric, module, stepper, sam, batch, config, step=step)
        found.append(
            PartLosses(
                losses.total.item(),
                losses.classification.item(),
                losses.temporal.item(),
                losses.spatial.item(),
                losses.boundary.item(),
            )
        )
    return found


def _by_hand(network: VideoNetwork, config: TrainingConfig, batches: Sequence[PairBatch]) -> None:
    """The same without any of ours but network and loss: Foret et al., equations 2 and 3."""
    parameters = list(network.parameters())
    for batch in batches:

        def gradient(batch: PairBatch = batch) -> list[Tensor]:
            loss = fakestormer_loss(network(batch.frames), batch.targets, config.loss).total
            found = torch.autograd.grad(loss, parameters, allow_unused=True)
            return [torch.zeros(()) if g is None else g for g in found]

        before = [p.detach().clone() for p in parameters]
        first = gradient()
        norm = torch.sqrt(sum((g.square().sum() for g in first), torch.zeros(())))
        with torch.no_grad():
            for p, g in zip(parameters, first, strict=True):
                p += config.sam_rho * g / norm
        second = gradient()
        with torch.no_grad():
            for p, old, g in zip(parameters, before, second, strict=True):
                p.copy_(old - 0.5 * g)


@pytest.mark.parametrize("rho", [0.0, 0.5])
@pytest.mark.parametrize("parts", [1, 2, 4])
def test_parts_of_a_batch_step_like_the_whole(parts: int, rho: float) -> None:
    """With SAM the gradient that perturbs is that of all parts together: else the second step,
    from other weights, would already differ."""
    batches = [_batch()] * 3
    whole, taken = _network(WITHOUT_BATCHNORM), _network(WITHOUT_BATCHNORM)
    _by_hand(whole, _config(sam_rho=rho), batches)
    losses = _steps(taken, _config(sam_rho=rho, accumulate=parts), batches)
    moved = 0.0
    fresh = _network(WITHOUT_BATCHNORM)
    for a, b, start in zip(whole.parameters(), taken.parameters(), fresh.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=2e-6)
        moved = max(moved, float((b - start).detach().abs().max()))
    assert moved > 1e-2
    reference = _steps(_network(WITHOUT_BATCHNORM), _config(sam_rho=rho), batches)
    for one, other in zip(losses, reference, strict=True):
        assert one == pytest.approx(other, rel=1e-5)


def test_what_perturbs_is_not_each_parts_own_gradient() -> None:
    """The mistake that the test above would find is large enough to be found."""
    batch = _batch()
    config = _config(sam_rho=0.5)
    together, alone = _network(WITHOUT_BATCHNORM), _network(WITHOUT_BATCHNORM)
    _by_hand(together, config, [batch])
    start = [p.detach().clone() for p in alone.parameters()]
    ends = []
    for part in split_pairs(batch, 2):
        network = _network(WITHOUT_BATCHNORM)
        _by_hand(network, config, [part])
        ends.append([p.detach() for p in network.parameters()])
    apart = max(
        float((old + ((a - old) + (b - old)) / 2 - right).detach().abs().max())
        for old, a, b, right in zip(start, *ends, together.parameters(), strict=True)
    )
    assert apart > 3e-4  # ten times what it allows a weight of 0.3


def test_statistics_move_once_a_step_by_the_first_part() -> None:
    network, first_alone = _network(MODEL), _network(MODEL)
    _steps(network, _config(accumulate=2), [_batch()])
    [first, _] = split_pairs(_batch(), 2)
    first_alone(first.frames)
    wanted = first_alone.state_dict()
    names = [name for name in wanted if "running" in name or name.endswith("tracked")]
    assert names
    for name in names:
        torch.testing.assert_close(network.state_dict()[name], wanted[name])


def test_part_m_of_n_gets_every_nth_pair() -> None:
    batch = _batch()
    first, second = split_pairs(batch, 2)
    assert first.sources == ("clip 0", "clip 2")
    assert second.sources == ("clip 1", "clip 3")
    assert torch.equal(second.frames, batch.frames[[1, 3, 5, 7]])
    assert torch.equal(second.targets.derivative, batch.targets.derivative[[1, 3, 5, 7]])
    assert second.targets.label.tolist() == [0, 0, 1, 1]
    with pytest.raises(ValueError, match="3 equal parts"):
        split_pairs(batch, 3)
    with pytest.raises(ValueError, match="multiple of 6"):
        TrainingConfig(batch_size=32, accumulate=3)


@pytest.mark.parametrize("rho", [0.0, 0.05])
def test_a_gradient_that_is_no_number_stops_the_step(rho: float) -> None:
    """The loss is finite; statistics and weights are left as they were."""
    network = _network(MODEL)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.f.linear.weight.register_hook(lambda g: g * torch.inf)
    with pytest.raises(NonFiniteLossError, match=r"step 0: the loss is \d.*gradient is (inf|nan)"):
        _steps(network, _config(sam_rho=rho), [_batch()])
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_a_loss_that_is_no_number_names_the_clips_of_its_part() -> None:
    network = _network(MODEL)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    batch = _batch()
    batch.targets.label[1] = torch.nan
    with pytest.raises(NonFiniteLossError) as caught:
        _steps(network, _config(accumulate=2), [batch])
    assert caught.value.clips == ("clip 1", "clip 3")
    assert "clip 1, clip 3" in str(caught.value)
    assert caught.value.losses.keys() == {0, 1}
    assert torch.isfinite(torch.tensor(caught.value.losses[0])).all()
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_what_sam_runs_into_is_found_at_the_perturbed_weights() -> None:
    """The loss is finite at w and not at w + e."""
    network = _network(WITHOUT_BATCHNORM)
    start = network.f.linear.weight.detach().clone()
    network.f.register_forward_hook(
        lambda module, _, out: out if torch.equal(module.linear.weight, start) else out / 0.0
    )
    with pytest.raises(
        NonFiniteLossError, match=r"weights that SAM perturbed, on the clips clip 0"
    ):
        _steps(network, _config(sam_rho=0.05), [_batch()])
    assert torch.equal(network.f.linear.weight, start)
