"""What each patch adds to f's logit."""

from __future__ import annotations

import pytest
import torch

from fakestormer.model.build import build
from fakestormer.model.fakestormer import FakeSTormer
from fakestormer.model.heads import SurroundingsHead
from fakestormer.recipe.model import ModelConfig

SMALL = ModelConfig(image_size=64, width=24, depth=1, heads=3, drop_path=0.0, stem="conv")
SURROUNDINGS = SMALL.model_copy(
    update={"stem": "efficientnet-lite0", "pretrained_stem": False, "classifier": "surroundings"}
)


def frames(config: ModelConfig, clips: int = 2) -> torch.Tensor:
    torch.manual_seed(1)
    size = (clips, config.frames, 3, config.image_size, config.image_size)
    return torch.randint(0, 256, size, dtype=torch.uint8)


def test_the_parts_of_a_linear_f_are_its_logit() -> None:
    torch.manual_seed(0)
    network = build(SURROUNDINGS).eval()
    assert isinstance(network, FakeSTormer)
    assert isinstance(network.f, SurroundingsHead)
    network.f.mean.normal_()
    # A region without a patch, on so coarse a grid, has a mean of 0 in every fit.
    empty_r = network.f.regions.sum(dim=(1, 2)) == 0
    network.f.mean.view(len(empty_r), -1)[empty_r] = 0
    network.f.scale.uniform_(0.5, 2.0)
    network.f.scale[::3] *= 10  # some channels beyond the limit
    with torch.inference_mode():
        given, evidence = network.explain(frames(SURROUNDINGS))
        torch.testing.assert_close(given, network(frames(SURROUNDINGS)).logit)
    assert evidence.shape == (2, 4, 4, 4)
    logit = evidence.sum(dim=(2, 3)).mean(dim=1) + network.f.linear.bias
    torch.testing.assert_close(given, logit, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        SURROUNDINGS.model_copy(update={"classifier": "tokens", "frozen_stages": 6}),
        SMALL.model_copy(update={"architecture": "timesformer", "branches": ()}),
        SMALL.model_copy(update={"architecture": "release", "tokens": "averaged", "stem": "patch"}),
    ],
    ids=["tokens", "frozen stem", "timesformer", "release"],
)
def test_every_network_is_explained_and_unchanged(config: ModelConfig) -> None:
    torch.manual_seed(0)
    network = build(config).eval()
    with torch.no_grad():
        for weights in network.parameters():  # some start at 0, and nothing would come through
            weights.add_(0.05 * torch.randn_like(weights))
    with torch.inference_mode():
        given, evidence = network.explain(frames(config))
        torch.testing.assert_close(given, network(frames(config)).logit)
    assert evidence.shape == (2, 4, 4, 4)
    assert evidence.dtype == torch.float32
    assert float(evidence.abs().max()) > 0
    assert all(parameter.grad is None for parameter in network.parameters())
    alone = network.explain(frames(config)[:1])[1]
    torch.testing.assert_close(alone, evidence[:1], atol=1e-5, rtol=1e-3)
