"""What the three heads are trained on (paper eqs. 8, 11, 12, 13)."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from fakestormer.recipe.training import LossConfig
from fakestormer.types.network import Losses, Outputs, Targets


def fakestormer_loss(outputs: Outputs, targets: Targets, config: LossConfig) -> Losses:
    """Eq. 13: lambda_c L_c + lambda_h L_h + lambda_g L_g (+ lambda_b L_b), in float32.

    L_c (eq. 12): binary cross-entropy of f's logit / temperature with the label.
    L_h (eq. 8): mse_factor * sum((D^ - D~)^2) / (B T N). The denominator is constant: it counts
    all patches, those that cutout removed too, so that a clip with much cut out weighs less
    instead of weighing its few remaining patches more.
    L_g (eq. 11): binary cross-entropy of g's logits with the soft labels p(t).
    L_b: binary cross-entropy of b's logits with B~ of every patch, 0 for real clips.
    All are means over the batch; the loss of a head that the network lacks is 0. Raises ValueError
    when outputs and targets differ in shape.
    """
    for name, output, target in (
        ("f and label", outputs.logit, targets.label),
        ("h and derivative", outputs.derivative, targets.derivative),
        ("g and soft_labels", outputs.frame_logits, targets.soft_labels),
        ("b and boundary", outputs.boundary_logits, targets.boundary),
    ):
        if output is not None and output.shape != target.shape:
            raise ValueError(
                f"fakestormer_loss: {name} differ in shape, {tuple(output.shape)} and "
                f"{tuple(target.shape)}; synthesis and network need the same T, size and patch"
            )
    classification = F.binary_cross_entropy_with_logits(
        outputs.logit.float() / config.temperature, targets.label
    )
    temporal = spatial = boundary = torch.zeros_like(classification)
    if outputs.derivative is not None:
        squared_btyx = (outputs.derivative.float() - targets.derivative).square()
        if config.ignore_cut_patches:
            squared_btyx = torch.where(targets.kept[:, None], squared_btyx, 0.0)
        temporal = config.mse_factor * squared_btyx.mean()
    if outputs.frame_logits is not None:
        spatial = F.binary_cross_entropy_with_logits(
            outputs.frame_logits.float(), targets.soft_labels
        )
    if outputs.boundary_logits is not None:
        boundary = F.binary_cross_entropy_with_logits(
            outputs.boundary_logits.float(), targets.boundary
        )
    return Losses(
        total=config.lambda_c * classification
        + config.lambda_h * temporal
        + config.lambda_g * spatial
        + config.lambda_b * boundary,
        classification=classification,
        temporal=temporal,
        spatial=spatial,
        boundary=boundary,
    )
