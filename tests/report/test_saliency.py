"""Saliency: Grad-CAM by hand and by its formula, attention, and the sheets drawn from them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fakestormer.errors import InputError, SetupError
from fakestormer.model.build import build
from fakestormer.model.fakestormer import FakeSTormer, build_fakestormer
from fakestormer.model.heads import TemporalHead, patch_volume
from fakestormer.recipe.model import ModelConfig
from fakestormer.report.saliency import Saliency, explainable, grad_cam, positive_change, saliency
from fakestormer.report.saliency_sheet import saliency_sheet, write_saliency_sheets
from fakestormer.types import FaceReport, Report

FakeFace = Callable[..., FaceReport]
FakeReport = Callable[..., Report]

SMALL = ModelConfig(image_size=64, width=32, depth=2, heads=2)


def network_of(**changes: object) -> FakeSTormer:
    torch.manual_seed(0)
    network = build_fakestormer(ModelConfig(**{**SMALL.model_dump(), **changes})).eval()
    for block in network.backbone.blocks:
        nn.init.normal_(block.temporal_linear.weight, std=0.5)
    for layer in network.h.modules() if network.h is not None else ():
        if isinstance(layer, nn.Conv3d):
            layer.weight.data.mul_(6)
    return network


def clips_of(count: int, *, frames: int = 4) -> np.ndarray:
    rng = np.random.default_rng(3)
    return rng.integers(0, 256, (count, frames, 3, 64, 64), dtype=np.uint8)


def first_channel_head(width: int = 8) -> TemporalHead:
    """h(F) = F of channel 0 where that is far above 0, and 0 where it is far below (GELU)."""
    h = TemporalHead(width).eval()
    for convolution in (h.conv1, h.conv2, h.conv3):
        nn.init.zeros_(convolution.weight)
        nn.init.zeros_(convolution.bias)
        convolution.weight.data[0, 0, 1] = 1.0
    for norm in (h.norm1, h.norm2):
        norm.running_var.fill_(1.0 - norm.eps)
    return h


def test_grad_cam_by_hand() -> None:
    first = torch.tensor([[[20.0, -20.0], [-20.0, -20.0]], [[-20.0, 30.0], [40.0, -20.0]]])
    volume = torch.randn(1, 8, 2, 2, 2, generator=torch.Generator().manual_seed(0))
    volume[0, 0] = first
    # ds/dF is 1 at two of 8 places, both in frame 1 (frame 0 does not count): w = 2 / 8.
    expected = torch.tensor([[[5.0, 0.0], [0.0, 0.0]], [[0.0, 7.5], [10.0, 0.0]]])
    torch.testing.assert_close(grad_cam(first_channel_head(), volume)[0], expected)


def test_a_head_that_looks_at_one_channel_and_sees_one_place_gives_a_map_there() -> None:
    volume = torch.randn(1, 8, 4, 3, 3, generator=torch.Generator().manual_seed(1))
    volume[:, 0] = -20.0
    volume[:, 0, 2, 1, 0] = 25.0
    (map_tyx,) = grad_cam(first_channel_head(), volume)
    assert map_tyx.nonzero().tolist() == [[2, 1, 0]]


def test_no_change_above_the_average_gives_an_empty_map() -> None:
    h = first_channel_head()
    h.conv3.bias.data.fill_(-30.0)  # D~ = F - 30: what raises it is there, but not enough of it
    volume = torch.full((1, 8, 4, 3, 3), 25.0)
    volume[:, :, 0] = 90.0  # the first frame has no predecessor
    assert grad_cam(h, volume).abs().max() == 0
    volume[:, :, 1] = 90.0
    assert grad_cam(h, volume).max() > 0


def test_grad_cam_is_its_formula() -> None:
    network = network_of()
    with torch.no_grad():
        patches = network.features(torch.from_numpy(clips_of(3))).patches
    volume = patch_volume(patches, SMALL.grid).requires_grad_()
    s = positive_change(network.h(volume))
    (gradient,) = torch.autograd.grad(s.sum(), volume)
    weights = gradient.mean(dim=(2, 3, 4), keepdim=True)
    expected = F.relu((weights * volume).sum(dim=1)).detach()
    assert expected.max() > 0.01, "a test on zeros would mean nothing"
    np.testing.assert_allclose(
        saliency(network, clips_of(3)).temporal, expected, rtol=1e-4, atol=1e-5
    )


def test_attention_is_that_of_the_last_block_over_patches() -> None:
    network = network_of()
    features = network.features(torch.from_numpy(clips_of(2)), with_attention=True)
    mean = features.spatial_attention.detach().numpy().mean(axis=2)
    spatial = saliency(network, clips_of(2)).spatial
    even = mean / mean.sum(axis=(2, 3), keepdims=True)
    np.testing.assert_allclose(spatial, even, rtol=1e-5)
    np.testing.assert_allclose(spatial.sum(axis=(2, 3)), np.ones((2, 4)), rtol=1e-5)


@pytest.mark.parametrize(
    "changes", [{}, {"frames": 8}, {"tokens": "averaged"}, {"stem": "conv", "patch_size": 8}]
)
def test_maps_are_nonnegative_and_a_clip_has_its_own(changes: dict[str, object]) -> None:
    network = network_of(**changes)
    clips = clips_of(3, frames=network.config.frames)
    together = saliency(network, clips)
    side = network.config.grid
    for maps in (together.temporal, together.spatial):
        assert maps.shape == (3, network.config.frames, side, side)
        assert maps.dtype == np.float32
        assert maps.min() >= 0
    for i in range(3):
        alone = saliency(network, clips[i : i + 1])
        for one, all_of_them in zip(
            (alone.temporal, alone.spatial), (together.temporal, together.spatial), strict=True
        ):
            np.testing.assert_allclose(one[0], all_of_them[i], rtol=1e-4, atol=1e-5)


def test_leaves_nothing_behind_and_needs_no_gradients_of_the_caller() -> None:
    network = network_of().train()
    clips = clips_of(2)
    with torch.no_grad():
        first = saliency(network, clips)
    network.requires_grad_(False)
    second = saliency(network, clips)
    assert np.array_equal(first.temporal, second.temporal)
    assert not network.training
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


def test_networks_without_maps_get_a_sentence() -> None:
    with pytest.raises(InputError, match=r"^mine: .* no h and no g; use a model with both"):
        explainable(network_of(branches=()), "mine")
    with pytest.raises(InputError, match=r"has no g;"):
        saliency(network_of(branches=("h",)), clips_of(1))
    other = build(
        SMALL.model_copy(update={"architecture": "timesformer", "branches": (), "depth": 1})
    )
    with pytest.raises(InputError, match=r"^mine: .* this one is 'timesformer'; use another"):
        explainable(other, "mine")


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(SetupError, match=r"pip install 'fakestormer\[saliency\]'"):
        explainable(network_of())


def maps_of(face: FaceReport, *, temporal: np.ndarray | None = None) -> Saliency:
    shape = face.prediction.derivative[:1].shape
    return Saliency(
        temporal=np.zeros(shape, np.float32) if temporal is None else temporal,
        spatial=np.full(shape, 1 / shape[-1] ** 2, np.float32),
    )


def test_sheet_draws_the_maps_and_nothing_where_there_is_nothing(
    fake_face: FakeFace, fake_report: FakeReport
) -> None:
    face = fake_face(size=224)
    report = fake_report((face,), path="/x/日本語 " + "long " * 30 + ".mp4")
    empty = saliency_sheet(report, face, 1, maps_of(face))
    assert empty.dtype == np.uint8
    temporal = np.zeros((1, 4, 14, 14), np.float32)
    temporal[0, 0, 2, 3] = 7.0
    drawn = saliency_sheet(report, face, 1, maps_of(face, temporal=temporal))
    # The legend below has a line less where there is no Grad-CAM; labels are on the left.
    rows, columns = np.nonzero((drawn[:-100, 196:] != empty[: len(drawn) - 100, 196:]).any(axis=-1))
    # Only in the first column, around patch (2, 3) of 14 in a picture of 224 pixels.
    assert columns.min() <= 4 * 16
    assert columns.max() < 6 * 16
    assert rows.max() - rows.min() < 3 * 16
    # Even attention shows nothing: the last row of pictures is the first once more.
    frames = face.crops[1].transpose(0, 2, 3, 1)
    places = [
        r for r in range(len(empty) - 224) if (empty[r : r + 224, 196:420] == frames[0]).all()
    ]
    assert len(places) == 4, "the frame, no change before the first frame, no Grad-CAM, attention"


@pytest.mark.parametrize("frames", [2, 16])
def test_sheets_of_other_lengths(fake_face: FakeFace, fake_report: FakeReport, frames: int) -> None:
    face = fake_face(frames=frames, grid=4, size=32)
    sheet = saliency_sheet(fake_report((face,)), face, 0, maps_of(face))
    assert sheet.shape[1] < 2600


def test_sheets_are_written_for_the_highest_clips(
    fake_face: FakeFace, fake_report: FakeReport, tmp_path: Path
) -> None:
    faces = (
        fake_face(0, size=64, grid=4),
        fake_face(1, scores=(0.2, 0.9, 0.4), size=64, grid=4),
    )
    report = fake_report(faces, face_number=2)
    written = list(write_saliency_sheets(report, network_of(), tmp_path / "new", clips=2))
    assert [(face.number, clip) for face, clip, _ in written] == [(2, 1), (2, 2)]
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == [
        "interview-3f5a3f5a3f5a-face-2-clip-2.png",
        "interview-3f5a3f5a3f5a-face-2-clip-3.png",
    ]
    assert all(cv2.imread(str(path)) is not None for _, _, path in written)
    assert len(list(write_saliency_sheets(report, network_of(), tmp_path, clips=9))) == 3
    with pytest.raises(InputError, match="cannot be written"):
        list(write_saliency_sheets(report, network_of(), written[0][2]))
