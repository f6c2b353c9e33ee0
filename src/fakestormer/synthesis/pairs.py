"""Pairs for training: real clips and their pseudo-fakes, after cutout, with their targets."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor

from fakestormer.recipe.synthesis import SynthesisConfig
from fakestormer.synthesis.cutout import cut_out, hide_patches
from fakestormer.synthesis.params import ClipParams
from fakestormer.synthesis.render import render, show
from fakestormer.synthesis.targets import derivative, normalise, patch_vulnerability, soft_labels
from fakestormer.types.network import SelfBlended, Targets


def make_pairs(
    frames_btchw: Tensor,
    landmarks_btk2: Tensor,
    params: Sequence[ClipParams],
    config: SynthesisConfig,
    *,
    size: int,
    patch_size: int,
    donors_btchw: Tensor | None = None,
) -> tuple[Tensor, Targets]:
    """B real clips -> 2B clips, first the real ones, then their pseudo-fakes in the same order.

    frames: uint8 (B, T, 3, S, S). landmarks: (B, T, K, 2), crop pixels. All randomness is in
    `params`; of `config` only the targets' fields count (pooling, normalisation, gaussian_sigma).
    donors: as `render` has them.
    Returns uint8 (2B, T, 3, size, size) and the targets of the 2B clips. Pure, and the same for one
    clip at a time as for a batch. Raises ValueError as `render` does, and when a pseudo-fake shows
    no boundary at all.
    """
    blended = render(frames_btchw, landmarks_btk2, params, size=size, donors_btchw=donors_btchw)
    return pair_targets(blended, params, config, patch_size=patch_size)


def pair_targets(
    blended: SelfBlended,
    params: Sequence[ClipParams],
    config: SynthesisConfig,
    *,
    patch_size: int,
) -> tuple[Tensor, Targets]:
    """Cutout and targets of rendered pairs; what `make_pairs` does after rendering."""
    vulnerability = patch_vulnerability(blended.mask, patch_size, config.pooling)
    kept_bgg = cut_out(vulnerability, [p.cutout for p in params])
    left_btgg = vulnerability * rearrange(kept_bgg, "b gy gx -> b 1 gy gx")
    labels_bt = soft_labels(left_btgg)
    if bool((labels_bt.amax(dim=1) <= 0).any()):
        raise ValueError(
            "make_pairs: a pseudo-fake shows no blending boundary in its crop; leave the clip out"
        )
    change_fake, change_real = normalise(
        derivative(left_btgg), config.normalisation, gaussian_sigma=config.gaussian_sigma
    )
    clips = torch.cat((blended.real, blended.fake))
    kept = torch.cat((kept_bgg, kept_bgg))
    targets = Targets(
        boundary=torch.cat((torch.zeros_like(left_btgg), left_btgg)),
        derivative=torch.cat((change_real, change_fake)),
        soft_labels=torch.cat((torch.zeros_like(labels_bt), labels_bt)),
        label=torch.cat((torch.zeros_like(labels_bt[:, 0]), torch.ones_like(labels_bt[:, 0]))),
        kept=kept,
    )
    return hide_patches(clips, kept), targets


def label_pairs(
    real_btchw: Tensor,
    fake_btchw: Tensor,
    params: Sequence[ClipParams],
    *,
    size: int,
    patch_size: int,
) -> tuple[Tensor, Targets]:
    """B real clips and B clips of fake videos -> 2B clips as `make_pairs` gives them.

    For binary classifiers (Tables 5 and 9): nothing is blended and nothing cut out, the rest of
    each entry of `params` (flip, margin, jitter, JPEG) goes to both clips of its pair. Nobody knows
    the boundary of a fake video: of the targets only `label` means anything, the others are 0.
    """
    count, length = real_btchw.shape[:2]
    grid = size // patch_size
    pairs = zip(real_btchw, fake_btchw, params, strict=True)
    shown = [(show(real, p, size=size), show(fake, p, size=size)) for real, fake, p in pairs]
    unknown_btgg = torch.zeros(2 * count, length, grid, grid, device=real_btchw.device)
    targets = Targets(
        boundary=unknown_btgg,
        derivative=unknown_btgg,
        soft_labels=unknown_btgg[..., 0, 0],
        label=torch.cat((unknown_btgg.new_zeros(count), unknown_btgg.new_ones(count))),
        kept=torch.ones_like(unknown_btgg[:, 0], dtype=torch.bool),
    )
    return torch.stack([real for real, _ in shown] + [fake for _, fake in shown]), targets
