"""Learning rates over a run, and what trains while the backbone is frozen (paper 4.1)."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from torch import nn

from fakestormer.model.efficientnet import EfficientNetLite
from fakestormer.recipe.training import ScheduleName, Trained

_RELEASE_FIRST_RATE = 1e-7


def paper(step: float, total: float, peak: float) -> float:
    """Constant for the first quarter, then linear to 0.

    # peak 1, total 8 -> [1, 1, 1, 0.833, 0.667, 0.5, 0.333, 0.167], and 0 at step 8
    step counts from 0, in optimizer steps or epochs, in the unit of total.
    """
    return peak * min(1.0, (total - step) / (0.75 * total))


def release(step: float, total: float, peak: float) -> float:
    """Linear from 1e-7 to peak over the first quarter, then linear to 0.

    # peak 1, total 8 -> [1e-7, 0.5, 1, 0.833, 0.667, 0.5, 0.333, 0.167], and 0 at step 8
    """
    progress = step / (0.25 * total)
    if progress < 1:
        return _RELEASE_FIRST_RATE + progress * (peak - _RELEASE_FIRST_RATE)
    return paper(step, total, peak)


SCHEDULES: dict[ScheduleName, Callable[[float, float, float], float]] = {
    "paper": paper,
    "release": release,
}


def learning_rate(name: ScheduleName, step: float, total: float, peak: float) -> float:
    """The rate for the optimizer step number `step` of `total`, counted from 0."""
    return SCHEDULES[name](step, total, peak)


def frozen_names(epoch: int, frozen_epochs: int, pretrained: Collection[str]) -> frozenset[str]:
    """Names of the parameters that do not train in this epoch, counted from 0.

    The pre-trained ones, for the first `frozen_epochs` epochs. Everything else (temporal layers,
    tokens, heads) trains from the first step: behind a zero-initialised temporal layer a wholly
    frozen backbone would let no information reach the temporal tokens, and f could not learn.
    """
    return frozenset(pretrained) if epoch < frozen_epochs else frozenset()


def never_trained(
    network: nn.Module, pretrained: Collection[str] = (), trained: Trained = "everything"
) -> frozenset[str]:
    """Names of the parameters that stay as they are for the whole run.

    Those that the network's configuration keeps; where only "norms" train, also what came from
    pre-trained weights and is in no LayerNorm.
    """
    kept = frozenset(
        f"{place}.{name}"
        for place, module in network.named_modules()
        if isinstance(module, EfficientNetLite)
        for name in module.frozen_parameters()
    )
    if trained == "everything":
        return kept
    norms = {
        f"{place}.{name}"
        for place, module in network.named_modules()
        if isinstance(module, nn.LayerNorm)
        for name, _ in module.named_parameters()
    }
    return kept | (frozenset(pretrained) - norms)


def parameter_groups(
    network: nn.Module,
    pretrained: Collection[str],
    share: float,
    *,
    without: Collection[str] = (),
) -> list[dict[str, Any]]:
    """Optimizer groups: what is new, then what is pre-trained, whose rate is `share` of the rest's.

    Each group's "rate_share" says how much of the schedule's rate is its own. One group where all
    have the same. without: names in neither group, for which the optimizer keeps nothing.
    """
    parameters = {n: p for n, p in network.named_parameters() if n not in without}
    old = [p for name, p in parameters.items() if name in pretrained and share != 1.0]
    new = [p for name, p in parameters.items() if name not in pretrained or share == 1.0]
    groups = [{"params": new, "rate_share": 1.0}]
    return [*groups, {"params": old, "rate_share": share}] if old else groups


def freeze(network: nn.Module, names: Collection[str]) -> None:
    """Let exactly the parameters in `names` not train; the others train. Sets requires_grad.

    Frozen parameters drop their gradient, so that no optimizer moves them on.
    DistributedDataParallel looks at requires_grad once, when it wraps: wrap with everything
    training and find_unused_parameters=True, then freeze and unfreeze at will. Raises ValueError
    for a name that the network does not have.
    """
    parameters = dict(network.named_parameters())
    unknown = sorted(set(names) - parameters.keys())
    if unknown:
        raise ValueError(f"the network has no parameters named {', '.join(unknown)}")
    for name, parameter in parameters.items():
        parameter.requires_grad_(name not in names)
        if name in names:
            parameter.grad = None
