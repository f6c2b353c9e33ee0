"""Blending in the gradient domain: the membrane, and what `render` does with it."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.sparse.linalg import spsolve  # type: ignore[import-untyped]
from torch import Tensor

from fakestormer.recipe.synthesis import BeyondConfig, SynthesisConfig
from fakestormer.synthesis.beyond.membrane import membrane
from fakestormer.synthesis.params import ClipParams, Colour, Sharpen, sample
from fakestormer.synthesis.render import render

MakeClip = Callable[..., tuple[Tensor, Tensor]]


def test_between_two_known_values_lies_a_ramp() -> None:
    """Laplace's equation on a line, and on a strip whose edges let nothing through."""
    expected = torch.tensor([2.0, 4, 6, 8, 10, 12])
    for height in (1, 3):
        values = torch.zeros(1, 1, height, 6)
        values[..., 0], values[..., -1] = 2, 12
        known = values > 0
        strip = expected.expand(1, 1, height, 6)
        torch.testing.assert_close(membrane(values, known), strip, atol=0.2, rtol=0)


def test_a_constant_is_continued_and_nothing_known_is_nothing() -> None:
    known = torch.zeros(2, 1, 17, 30, dtype=torch.bool)
    known[0, 0, 4, 9] = True
    filled = membrane(torch.full((2, 3, 17, 30), -7.0), known)
    torch.testing.assert_close(filled[0], torch.full((3, 17, 30), -7.0))
    assert bool((filled[1] == 0).all())


def _solved(values_hw: np.ndarray, known_hw: np.ndarray) -> np.ndarray:
    """Laplace's equation by a direct solver: known pixels as they are, others their neighbours'
    mean."""
    height, width = known_hw.shape
    index = np.arange(known_hw.size).reshape(known_hw.shape)
    neighbours = [(index[1:], index[:-1]), (index[:, 1:], index[:, :-1])]
    a = np.concatenate([np.concatenate([p.ravel(), q.ravel()]) for p, q in neighbours])
    b = np.concatenate([np.concatenate([q.ravel(), p.ravel()]) for p, q in neighbours])
    near = sparse.coo_matrix((np.ones(len(a)), (a, b)), shape=(known_hw.size,) * 2).tocsr()
    fixed = sparse.diags(known_hw.ravel().astype(float))
    free = sparse.identity(known_hw.size) - fixed
    laplacian = sparse.diags(np.asarray(near.sum(axis=1)).ravel()) - near
    system = (free @ laplacian + fixed).tocsc()
    solution = spsolve(system, np.where(known_hw, values_hw, 0).ravel())
    return np.asarray(solution).reshape(height, width)


@pytest.mark.parametrize(("size", "centre"), [(128, (61, 66)), (96, (60, 90)), (67, (30, 35))])
def test_it_is_the_solution_of_laplaces_equation(size: int, centre: tuple[int, int]) -> None:
    """The difference of two pictures as unlike as faces, coarse and fine; the second hole meets the
    picture's edge."""
    rng = np.random.default_rng(size)
    noise = rng.normal(0, 1, (size, size)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), size / 12)
    values = smooth / smooth.std() * 50 + cv2.GaussianBlur(noise, (0, 0), 1) * 40
    hole = np.zeros((size, size), np.uint8)
    cv2.ellipse(hole, centre, (size // 3, 2 * size // 5), 10, 0, 360, 255, -1)
    exact = _solved(values, hole == 0)
    ours = membrane(
        torch.from_numpy(values)[None, None], torch.from_numpy(hole == 0)[None, None]
    ).numpy()[0, 0]
    np.testing.assert_allclose(ours[hole == 0], values[hole == 0], atol=1e-4)
    error = np.abs(ours - exact)[hole > 0]
    assert np.ptp(exact[hole > 0]) > 100
    assert error.mean() < 0.15
    assert error.max() < 1.5


def test_frames_are_apart_and_mirrors_mirror() -> None:
    torch.manual_seed(0)
    values, known = 50 * torch.randn(2, 3, 37, 26), torch.rand(2, 1, 37, 26) > 0.7
    filled = membrane(values, known)
    torch.testing.assert_close(filled[1:], membrane(values[1:], known[1:]))
    mirrored = membrane(values.flip(-1), known.flip(-1)).flip(-1)
    torch.testing.assert_close(filled, mirrored, atol=1e-3, rtol=0)


def _plain(**changes: object) -> ClipParams:
    """Blended in the gradient domain, with nothing changed but by `changes` of the blending."""
    params = sample(np.random.default_rng(2), SynthesisConfig(), clip_length=2)
    blending = params.frames[0].model_copy(
        update={"ratio": 1.0, "colour": Colour(), "translate": (0.0, 0.0), "scale": 1.0}
        | {"changed_side": "copy", "detail": Sharpen(alpha=0.0, lightness=1.0)}
        | {"gradient_domain": True}
        | changes
    )
    plain = {"frames": (blending,), "margin": 0, "jitter": Colour(), "jpeg_quality": None}
    return params.model_copy(update=plain | {"flip": False})


def test_another_level_is_taken_back_and_another_face_kept(moving_clip: MakeClip) -> None:
    frames, landmarks = moving_clip(1, 2, 4)
    frames = (frames.float() * 0.5 + 50).to(torch.uint8)
    lighter = _plain(colour=Colour(rgb_shift=(20.0, 10.0, -15.0)))
    blended = render(frames, landmarks, [lighter], size=256)
    assert int((blended.fake.int() - frames.int()).abs().max()) <= 1
    weighed = _plain(colour=lighter.frames[0].colour, gradient_domain=False)
    assert int((render(frames, landmarks, [weighed], size=256).fake.int() - frames).max()) == 20

    donors = (moving_clip(1, 2, 5)[0].float() * 0.5 + 50).to(torch.uint8)
    clip = _plain().model_copy(update={"donor": 7})
    fake = render(frames, landmarks, [clip], size=256, donors_btchw=donors).fake
    inside = blended.mask > blended.mask.amax(dim=(-2, -1), keepdim=True) / 2
    assert torch.equal(
        fake[~inside[:, :, None].expand_as(fake)], frames[~inside[:, :, None].expand_as(fake)]
    )
    # The donor's gradients: what was added to it, and it is much, is the mean of its neighbours.
    added = fake.float() - donors.float()
    assert float(added[inside[:, :, None].expand_as(added)].std()) > 5
    around = sum(added.roll(step, dims=axis) for step in (-1, 1) for axis in (-1, -2)) / 4
    deep = -torch.nn.functional.max_pool2d(-inside.float(), 5, 1, 2) > 0
    assert bool(deep.any())
    rest = (added - around)[deep[:, :, None].expand_as(added)]
    assert float(rest.abs().mean()) < 0.5  # 8-bit steps, and what the membrane is off by
    # It meets the clip at the edge, where a pasted face is a step.
    pasted = torch.where(inside[:, :, None], donors, frames)
    steps = [_step(picture.float(), inside) for picture in (frames, fake, pasted)]
    assert steps[1] < 2 * steps[0] < 0.3 * steps[2]


def _step(frames_btchw: Tensor, inside_bthw: Tensor) -> float:
    """Mean difference of neighbours of which one is inside."""
    edge = inside_bthw[..., 1:] != inside_bthw[..., :-1]
    apart = (frames_btchw[..., 1:] - frames_btchw[..., :-1]).abs()
    return float(apart[edge[:, :, None].expand_as(apart)].mean())


def test_how_often_is_drawn() -> None:
    config = SynthesisConfig(beyond=BeyondConfig(gradient_domain_probability=0.3))
    drawn = [sample(np.random.default_rng(s), config, clip_length=4).frames[0] for s in range(400)]
    assert 90 < sum(sbv.gradient_domain for sbv in drawn) < 150
    method = sample(np.random.default_rng(3), SynthesisConfig(), clip_length=4).frames[0]
    assert not method.gradient_domain
    assert drawn[3].model_copy(update={"gradient_domain": False}) == method


def test_a_frame_alone_is_as_it_is_in_its_clip(moving_clip: MakeClip) -> None:
    """Whatever window of the picture the clip's other frames ask for."""
    frames, landmarks = moving_clip(1, 3, 6)
    params = _plain(hull="facehull").model_copy(update={"interpolation": None})
    donors = moving_clip(1, 3, 7)[0]
    landmarks[:, 2] += 12
    params = params.model_copy(update={"donor": 1})
    clip = render(frames, landmarks, [params], size=128, donors_btchw=donors).fake
    alone = render(frames[:, :1], landmarks[:, :1], [params], size=128, donors_btchw=donors[:, :1])
    apart = (clip[:, :1].int() - alone.fake.int()).abs().float()
    assert float(apart.flatten().quantile(0.999)) <= 2
    assert float(apart.max()) <= 4
