"""Vulnerability-driven cutout."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fakestormer.synthesis.cutout import cut_out, hide_patches
from fakestormer.synthesis.params import Cutout


def _clip() -> Tensor:
    """B-bar of two frames of 2 x 2 patches; the second frame must not matter to what is hidden."""
    return torch.tensor([[[[1.0, 0.7], [0.3, 0.0]], [[0.2, 0.2], [1.0, 0.9]]]])


def _cutout(*thresholds: float, least: float = 0.01, extra: float | None = None) -> Cutout:
    return Cutout(thresholds=thresholds, least_label=least, weaker_patch=extra)


def test_first_frame_decides() -> None:
    kept = cut_out(_clip(), [_cutout(0.6, 1.0)])
    assert kept.tolist() == [[[False, False], [True, True]]]


def test_threshold_itself_is_kept() -> None:
    """P = {B-bar(t0) > threshold}: strictly above."""
    kept = cut_out(torch.tensor([[[[0.75, 0.5], [0.25, 0.0]]]]), [_cutout(0.5, 1.0)])
    assert kept.tolist() == [[[False, True], [True, True]]]


def test_none_hides_nothing() -> None:
    assert cut_out(_clip(), [None]).all()


def test_redrawn_until_something_is_left() -> None:
    """At 0.6 only empty patches remain; 0.8 leaves the 0.7 patch; that one is taken."""
    clip = torch.tensor([[[[1.0, 0.7], [0.0, 0.0]]]])
    kept = cut_out(clip, [_cutout(0.6, 0.8, 0.9, 1.0)])
    assert kept.tolist() == [[[False, True], [True, True]]]


def test_never_everything() -> None:
    clip = torch.tensor([[[[1.0, 0.999], [0.0, 0.0]]]])
    assert cut_out(clip, [_cutout(0.6, 0.7, 1.0)]).all()


def test_weaker_patch_hides_one_weaker_patch() -> None:
    """After 0.9: weaker patches in reading order are 0.7 and 0.3; [0, 0.5) picks the first."""
    first = cut_out(_clip(), [_cutout(0.9, 1.0, extra=0.49)])
    second = cut_out(_clip(), [_cutout(0.9, 1.0, extra=0.5)])
    assert first.tolist() == [[[False, False], [True, True]]]
    assert second.tolist() == [[[False, True], [False, True]]]


def test_weaker_patch_spares_the_last_boundary() -> None:
    clip = torch.tensor([[[[1.0, 0.3], [0.0, 0.0]]]])
    kept = cut_out(clip, [_cutout(0.9, 1.0, extra=0.0)])
    assert kept.tolist() == [[[False, True], [True, True]]]


def test_clips_do_not_influence_each_other() -> None:
    clips = torch.rand(4, 3, 5, 5, generator=torch.Generator().manual_seed(3))
    cutouts = [_cutout(0.5, 1.0), None, _cutout(0.9, 0.95, 1.0), _cutout(1.0, extra=0.3)]
    together = cut_out(clips, cutouts)
    for i, cutout in enumerate(cutouts):
        assert torch.equal(cut_out(clips[i : i + 1], [cutout])[0], together[i])


def test_counts_must_agree() -> None:
    with pytest.raises(ValueError, match="as many"):
        cut_out(_clip(), [])


def test_hidden_patches_are_black_in_all_frames() -> None:
    frames = torch.full((1, 3, 3, 4, 4), 9, dtype=torch.uint8)
    kept = torch.tensor([[[True, False], [True, True]]])
    hidden = hide_patches(frames, kept)
    assert hidden.dtype == torch.uint8
    assert hidden[..., :2, 2:].eq(0).all()
    assert hidden.sum() == 9 * 3 * 3 * 12
    assert frames.eq(9).all()
