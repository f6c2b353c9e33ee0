"""Frames out of order, in the manner of STG (paper 6.8), and clips with nothing blended."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from fakestormer.recipe.synthesis import SynthesisConfig
from fakestormer.synthesis.pairs import label_pairs
from fakestormer.synthesis.params import ClipParams, sample
from fakestormer.synthesis.render import render, show

MakeClip = Callable[..., tuple[Tensor, Tensor]]
SHUFFLED = SynthesisConfig(mode="shuffled")


def _draw(seed: int, config: SynthesisConfig = SHUFFLED, length: int = 4) -> ClipParams:
    return sample(np.random.default_rng(seed), config, clip_length=length)


def test_the_order_is_never_the_frames_own() -> None:
    orders = [_draw(seed).order for seed in range(60)]
    assert all(order is not None and sorted(order) == [0, 1, 2, 3] for order in orders)
    assert (0, 1, 2, 3) not in orders
    assert len(set(orders)) > 12
    assert _draw(0, length=1).order == (0,)
    assert _draw(0, SynthesisConfig()).order is None


def test_params_of_a_shuffled_clip_survive_json() -> None:
    params = _draw(3)
    assert ClipParams.model_validate_json(params.model_dump_json()) == params


def test_the_copys_frames_change_places_and_the_mask_does_not(moving_clip: MakeClip) -> None:
    frames, landmarks = moving_clip(1, 4, 3)
    order = (2, 0, 3, 1)
    params = _draw(7).model_copy(update={"order": order, "jpeg_quality": None, "flip": False})
    shuffled = render(frames, landmarks, [params], size=224)
    straight = render(frames, landmarks, [params.model_copy(update={"order": None})], size=224)
    assert torch.equal(shuffled.mask, straight.mask)
    assert torch.equal(shuffled.real, straight.real)
    outside = (shuffled.mask == 0)[:, :, None].expand_as(shuffled.fake)
    assert torch.equal(shuffled.fake[outside], straight.fake[outside])
    # Where the mask is 1 the pseudo-fake shows the copy alone: frame order[t] of a whole copy.
    one = params.frames[0].model_copy(update={"ratio": 1.0})
    full = params.model_copy(update={"frames": (one,)})
    blended = render(frames, landmarks, [full], size=224)
    for t, place in enumerate(order):
        alone = render(
            frames[:, [t, place]],
            landmarks[:, [t, t]],  # the mask of frame t
            [full.model_copy(update={"order": (1, 0), "interpolation": None})],
            size=224,
        )
        core = (alone.mask[0, 0] == 1) & (blended.mask[0, t] == 1)
        assert core.sum() > 100
        difference = (alone.fake[0, 0].int() - blended.fake[0, t].int()).abs().amax(0)[core]
        assert int(difference.max()) <= 1


def test_an_order_of_another_length_is_refused(moving_clip: MakeClip) -> None:
    frames, landmarks = moving_clip(1, 3, 3)
    with pytest.raises(ValueError, match="order of 4 frames does not fit a clip of 3"):
        render(frames, landmarks, [_draw(1, length=4)], size=224)


def test_a_shown_clip_is_the_real_twin_where_the_copy_is_the_changed_side(
    moving_clip: MakeClip,
) -> None:
    frames, landmarks = moving_clip(1, 4, 5)
    params = _draw(11, SynthesisConfig(jpeg_probability=1.0, flip_probability=1.0))
    one = params.frames[0].model_copy(update={"changed_side": "copy"})
    params = params.model_copy(update={"frames": (one,)})
    assert params.jpeg_quality is not None
    assert torch.equal(
        show(frames[0], params, size=112), render(frames, landmarks, [params], size=112).real[0]
    )


def test_pairs_of_videos_know_their_label_and_nothing_else(moving_clip: MakeClip) -> None:
    real, _ = moving_clip(2, 4, 5)
    fake, _ = moving_clip(2, 4, 6)
    params = [_draw(1, SynthesisConfig()), _draw(2, SynthesisConfig())]
    clips, targets = label_pairs(real, fake, params, size=112, patch_size=16)
    assert clips.shape == (4, 4, 3, 112, 112)
    for i in range(2):
        assert torch.equal(clips[i], show(real[i], params[i], size=112))
        assert torch.equal(clips[2 + i], show(fake[i], params[i], size=112))
    assert targets.label.tolist() == [0, 0, 1, 1]
    assert targets.kept.all()
    assert not targets.boundary.any()
    assert not targets.derivative.any()
    assert not targets.soft_labels.any()
    assert targets.boundary.shape == (4, 4, 7, 7)
