"""Vulnerability-driven cutout (paper 3.1): hide the patches most likely to give a fake away."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange, repeat
from torch import Tensor

from fakestormer.synthesis.params import Cutout
from fakestormer.synthesis.targets import soft_labels


def cut_out(vulnerability_btgg: Tensor, cutouts: Sequence[Cutout | None]) -> Tensor:
    """Which patches stay visible: those with B-bar(t0) <= threshold in the first frame.

    Thresholds are tried in order; the first that leaves some soft label of at least `least_label`
    counts, and the last, 1.0, hides nothing: a pseudo-fake never loses all of its boundary.
    None hides nothing. `weaker_patch` hides one of the weaker patches (0 < B-bar(t0) <= threshold)
    too, unless it is the last that shows any boundary.

    vulnerability: float32 (B, T, G, G), B-bar of the pseudo-fakes. Returns bool (B, G, G).
    """
    if len(cutouts) != vulnerability_btgg.shape[0]:
        raise ValueError(
            f"cut_out: {vulnerability_btgg.shape[0]} clips need as many cutouts, got {len(cutouts)}"
        )
    visible = [
        _visible(clip_tgg, cutout)
        for clip_tgg, cutout in zip(vulnerability_btgg, cutouts, strict=True)
    ]
    return torch.stack(visible)


def hide_patches(frames_btchw: Tensor, kept_bgg: Tensor) -> Tensor:
    """Frames with the pixels of hidden patches set to 0, in all frames; dtype kept, new tensor."""
    patch = frames_btchw.shape[-1] // kept_bgg.shape[-1]
    kept = repeat(kept_bgg, "b gy gx -> b 1 1 (gy py) (gx px)", py=patch, px=patch)
    return frames_btchw * kept


def _visible(vulnerability_tgg: Tensor, cutout: Cutout | None) -> Tensor:
    first_gg = vulnerability_tgg[0]
    if cutout is None:
        return torch.ones_like(first_gg, dtype=torch.bool)
    thresholds = first_gg.new_tensor(cutout.thresholds)
    kept_ngg = first_gg <= rearrange(thresholds, "n -> n 1 1")
    left_n = _left(vulnerability_tgg, kept_ngg) >= cutout.least_label
    # argmax finds the first that leaves enough; where none does, the last hides nothing
    left_n[-1] = True
    kept_gg = kept_ngg[left_n.int().argmax()]
    if cutout.weaker_patch is None:
        return kept_gg
    weaker = (kept_gg & (first_gg > 0)).flatten()
    chosen = (cutout.weaker_patch * weaker.sum()).long() + 1
    extra = (weaker & (weaker.cumsum(0) == chosen)).view_as(kept_gg)
    fewer_gg = kept_gg & ~extra
    enough = _left(vulnerability_tgg, fewer_gg[None])[0] >= cutout.least_label
    return torch.where(enough, fewer_gg, kept_gg)


def _left(vulnerability_tgg: Tensor, kept_ngg: Tensor) -> Tensor:
    """The largest soft label of the clip for each of n choices of visible patches; (n,)."""
    remaining = rearrange(kept_ngg, "n gy gx -> n 1 gy gx") * vulnerability_tgg
    return soft_labels(remaining).amax(dim=1)
