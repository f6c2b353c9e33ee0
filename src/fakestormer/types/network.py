"""Tensors of training: pairs, what the network should say of them, what it says, and the losses.

They live apart from the other values, which are arrays: detection does without torch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fakestormer.types.checked import check_fields, described
from fakestormer.types.tensors import changed, fields_of


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SelfBlended:
    """A batch of pairs: real clips and their self-blended pseudo-fakes (paper 3.1).

    real, fake: uint8 (B, T, 3, H, W), network input size, same geometry and colour jitter.
    mask: float32 (B, T, H, W), the soft blending mask M in [0, 1], without the blend ratio r (and
    before it is cut at one half, where a copy was blended in the gradient domain).
    """

    real: Tensor
    fake: Tensor
    mask: Tensor

    __repr__ = described

    def __post_init__(self) -> None:
        check_fields(
            self,
            real=("B T 3 H W", torch.uint8),
            fake=("B T 3 H W", torch.uint8),
            mask=("B T H W", torch.float32),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Targets:
    """What the three heads should say (eqs. 3, 5, 9, 14), for a batch of real and fake clips.

    boundary: float32 (B, T, G, G), patch vulnerability after cutout, B~; zero for real clips.
    derivative: float32 (B, T, G, G), normalised change of B~ over time, D^.
    soft_labels: float32 (B, T), p(t), the largest value of B~(t). label: float32 (B,), 1 = fake.
    kept: bool (B, G, G), the patches that cutout left visible.
    """

    boundary: Tensor
    derivative: Tensor
    soft_labels: Tensor
    label: Tensor
    kept: Tensor

    __repr__ = described

    def __post_init__(self) -> None:
        check_fields(
            self,
            boundary=("B T G G", torch.float32),
            derivative=("B T G G", torch.float32),
            soft_labels=("B T", torch.float32),
            label=("B", torch.float32),
            kept=("B G G", torch.bool),
        )

    def to(self, device: torch.device | str) -> Targets:
        """The same targets on another device."""
        return changed(self, lambda tensor: tensor.to(device))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outputs:
    """What the network says about a batch of clips (eqs. 7, 10, 12).

    logit: (B,), f, positive = fake. derivative: (B, T, G, G), h, the regressed D~ (not squashed);
    None for a network without h. frame_logits: (B, T), g, one logit per frame; None without g.
    boundary_logits: (B, T, G, G), b, one logit per patch of the boundary itself; None without b.
    distance: (B,), how unlike the training frames the clip is, above 1 for what 99 % of them stay
    under; None where f does not measure it. evidence: (B, T, G, G), what each patch adds to the
    logit; only `VideoNetwork.classify` gives it. Any floating dtype, all the same.
    """

    logit: Tensor
    derivative: Tensor | None
    frame_logits: Tensor | None
    boundary_logits: Tensor | None = None
    distance: Tensor | None = None
    evidence: Tensor | None = None

    __repr__ = described

    def __post_init__(self) -> None:
        dtype = self.logit.dtype
        check_fields(
            self,
            logit=("B", dtype),
            frame_logits=("?B T", dtype),
            derivative=("?B T G G", dtype),
            boundary_logits=("?B T G G", dtype),
            distance=("?B", dtype),
            evidence=("?B T G G", dtype),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Losses:
    """Scalars: total = lambda_c classification + lambda_h temporal + lambda_g spatial (eq. 13),
    and lambda_b boundary where the network has b, which the paper does not know.

    The parts are stored unweighted; that of a head which the network lacks is 0.
    """

    total: Tensor
    classification: Tensor
    temporal: Tensor
    spatial: Tensor
    boundary: Tensor

    __repr__ = described

    def __post_init__(self) -> None:
        for name, tensor in fields_of(self).items():
            if tensor.ndim:
                raise ValueError(f"Losses.{name}: expected a scalar, got {tuple(tensor.shape)}")
