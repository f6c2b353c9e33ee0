"""Equation 13 by hand, and against the numbers of a reference."""

from __future__ import annotations

from math import exp, log
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from fakestormer.recipe.training import LossConfig
from fakestormer.training.losses import fakestormer_loss
from fakestormer.types.network import Outputs, Targets


def outputs(logit: float = 0.0, derivative: float = 0.0, frame: float = 0.0) -> Outputs:
    """One clip of two frames, 2 x 2 patches."""
    return Outputs(
        logit=torch.full((1,), logit),
        derivative=torch.full((1, 2, 2, 2), derivative),
        frame_logits=torch.full((1, 2), frame),
    )


def targets(
    label: float = 1.0, derivative: float = 0.0, soft: float = 1.0, kept: Tensor | None = None
) -> Targets:
    return Targets(
        boundary=torch.zeros(1, 2, 2, 2),
        derivative=torch.full((1, 2, 2, 2), derivative),
        soft_labels=torch.full((1, 2), soft),
        label=torch.tensor([label]),
        kept=torch.ones(1, 2, 2, dtype=torch.bool) if kept is None else kept,
    )


def softplus(x: float) -> float:
    return log(1 + exp(x))


def test_the_paper_by_hand() -> None:
    config = LossConfig()
    losses = fakestormer_loss(
        outputs(logit=2.0, derivative=1.0, frame=-1.0),
        targets(label=1.0, derivative=3.0, soft=0.25),
        config,
    )
    assert losses.classification.item() == pytest.approx(softplus(-2.0))
    assert losses.temporal.item() == pytest.approx(4.0)
    spatial = 0.25 * softplus(1.0) + 0.75 * softplus(-1.0)
    assert losses.spatial.item() == pytest.approx(spatial)
    total = 0.8 * softplus(-2.0) + 100 * 4.0 + 0.2 * spatial
    assert losses.total.item() == pytest.approx(total)


def test_the_loss_of_b_by_hand() -> None:
    """Logits 2 where the boundary is 1 and everywhere else; B~ is 0.5 in one of 8 patches."""
    given = outputs()
    out = Outputs(
        logit=given.logit,
        derivative=given.derivative,
        frame_logits=given.frame_logits,
        boundary_logits=torch.full((1, 2, 2, 2), 2.0),
    )
    wanted = targets()
    wanted.boundary[0, 1, 0, 1] = 0.5
    losses = fakestormer_loss(out, wanted, LossConfig(lambda_b=3.0))
    by_hand = (7 * softplus(2.0) + 0.5 * softplus(2.0) + 0.5 * softplus(-2.0)) / 8
    assert losses.boundary.item() == pytest.approx(by_hand)
    without = fakestormer_loss(given, wanted, LossConfig(lambda_b=3.0))
    assert without.boundary.item() == 0.0
    assert losses.total.item() == pytest.approx(without.total.item() + 3 * by_hand)


def test_what_the_release_does_differently() -> None:
    config = LossConfig(mse_factor=0.5, temperature=2.0)
    losses = fakestormer_loss(outputs(logit=2.0, derivative=1.0), targets(), config)
    assert losses.classification.item() == pytest.approx(softplus(-1.0))
    assert losses.temporal.item() == pytest.approx(0.5)
    assert losses.spatial.item() == pytest.approx(log(2))  # g has no temperature


def test_cut_patches_add_nothing_and_stay_in_the_denominator() -> None:
    kept = torch.tensor([[[True, False], [False, False]]])
    wrong = outputs(derivative=2.0)
    losses = fakestormer_loss(wrong, targets(kept=kept), LossConfig())
    assert losses.temporal.item() == pytest.approx(4.0 / 4)  # 2 of 8 squares of 4, over 8
    losses = fakestormer_loss(wrong, targets(kept=kept), LossConfig(ignore_cut_patches=False))
    assert losses.temporal.item() == pytest.approx(4.0)


def test_cut_patches_pass_no_gradient_not_even_a_broken_one() -> None:
    kept = torch.tensor([[[True, False], [True, True]]])
    derivative = torch.ones(1, 2, 2, 2, requires_grad=True)
    broken = derivative.masked_fill(~kept[:, None], float("inf"))
    out = Outputs(logit=torch.zeros(1), derivative=broken, frame_logits=torch.zeros(1, 2))
    fakestormer_loss(out, targets(kept=kept), LossConfig()).total.backward()
    assert derivative.grad is not None
    assert not derivative.grad[0, :, 0, 1].any()
    assert derivative.grad[0, :, 1, 1].tolist() == pytest.approx([100 * 2 / 8] * 2)


def test_half_precision_outputs_are_measured_in_float32() -> None:
    half = Outputs(
        logit=torch.zeros(1, dtype=torch.bfloat16),
        derivative=torch.full((1, 2, 2, 2), 300.0, dtype=torch.bfloat16),
        frame_logits=torch.zeros(1, 2, dtype=torch.bfloat16),
    )
    losses = fakestormer_loss(half, targets(), LossConfig())
    assert losses.total.dtype == torch.float32
    assert losses.temporal.item() == pytest.approx(300.0**2, rel=1e-2)


def test_different_shapes_are_refused_by_name() -> None:
    out = Outputs(
        logit=torch.zeros(1), derivative=torch.zeros(1, 2, 4, 4), frame_logits=torch.zeros(1, 2)
    )
    with pytest.raises(ValueError, match=r"h and derivative.*\(1, 2, 4, 4\) and \(1, 2, 2, 2\)"):
        fakestormer_loss(out, targets(), LossConfig())


def test_the_numbers_of_the_reference(shared_data: Path) -> None:
    with np.load(shared_data / "reference" / "release_tiny.npz") as file:
        given = {
            key: torch.from_numpy(file[key])
            for key in file.files
            if key.startswith(("loss/", "b2/out"))
        }
    mask = given["loss/target_mask"][:, 0]
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    label = given["loss/target_cls"][:, 0]
    common = {
        "boundary": torch.zeros(2, 4, 4, 4),
        "soft_labels": given["loss/target_temp_loc"],
        "label": label,
    }
    everything = torch.ones(2, 4, 4, dtype=torch.bool)
    out = Outputs(
        logit=given["b2/out_cls"][:, 0],
        derivative=given["b2/out_hm"][:, 0],
        frame_logits=given["b2/out_temp_loc"],
    )
    config = LossConfig(mse_factor=0.5, temperature=2.0)
    target = given["loss/target_hm"][:, 0]
    # The reference's mask changes from frame to frame, ours cannot: count it in beforehand.
    out = Outputs(logit=out.logit, derivative=out.derivative * mask, frame_logits=out.frame_logits)
    losses = fakestormer_loss(
        out, Targets(derivative=target * mask, kept=everything, **common), config
    )
    assert 100 * losses.temporal.item() == pytest.approx(given["loss/hm"].item(), rel=1e-5)
    assert 0.8 * losses.classification.item() == pytest.approx(given["loss/cls"].item(), rel=1e-5)
    assert 0.2 * losses.spatial.item() == pytest.approx(given["loss/temp_loc"].item(), rel=1e-5)
    parts = sum(given[f"loss/{part}"].item() for part in ("hm", "cls", "temp_loc"))
    assert losses.total.item() == pytest.approx(parts, rel=1e-5)
