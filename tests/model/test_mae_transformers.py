"""The proof of the starting weights: `transformers`' ViTs with random weights, loaded into ours.

With one frame and temporal layers that add nothing, our features have to be theirs.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fakestormer.model.attention import DividedLayers
from fakestormer.model.baselines import PlainTimeSformer, build_timesformer
from fakestormer.model.fakestormer import FakeSTormer, build_fakestormer
from fakestormer.model.weights import load_pretrained
from fakestormer.recipe.model import ModelConfig

# Sizes of no published model, all different, so that nothing fits by luck.
SIZES = {"image_size": 40, "patch_size": 8, "num_hidden_layers": 3, "num_attention_heads": 4}
WIDTH, MLP, EPS = 48, 120, 1e-6
CLOSE = {"atol": 1e-5, "rtol": 0.0}
KINDS = ["ViTMAEModel", "ViTMAEForPreTraining", "ViTModel"]


@pytest.fixture(scope="module", autouse=True)
def _offline() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield


def theirs(kind: str) -> nn.Module:
    """A ViT of transformers none of whose weights is at a special value."""
    import transformers

    torch.manual_seed(0)
    encoder = {
        **SIZES,
        "hidden_size": WIDTH,
        "intermediate_size": MLP,
        "layer_norm_eps": EPS,
        "hidden_act": "gelu",
        "qkv_bias": True,
    }
    decoder = {
        "mask_ratio": 0.0,
        "decoder_hidden_size": 16,
        "decoder_num_hidden_layers": 1,
        "decoder_num_attention_heads": 2,
        "decoder_intermediate_size": 32,
    }
    made = (
        transformers.ViTModel(transformers.ViTConfig(**encoder))
        if kind == "ViTModel"
        else getattr(transformers, kind)(transformers.ViTMAEConfig(**encoder, **decoder))
    )
    assert isinstance(made, nn.Module)
    with torch.no_grad():
        for p in made.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return made.eval()


def their_features(made: nn.Module, pixels: Tensor) -> Tensor:
    """(b, 1 + n, d), class token first, after the encoder's last norm."""
    encoder = getattr(made, "vit", made)
    # Masked autoencoders shuffle patches by the order of this noise; rising, it keeps the order.
    shuffle = {"noise": torch.arange(25.0).expand(len(pixels), -1)}
    with torch.no_grad():
        output = encoder(pixels, **({} if type(encoder).__name__ == "ViTModel" else shuffle))
    found: Tensor = output.last_hidden_state
    return found


def ours(**changes: object) -> ModelConfig:
    return ModelConfig.model_validate(
        {
            "image_size": 40,
            "patch_size": 8,
            "frames": 1,
            "width": WIDTH,
            "depth": 3,
            "heads": 4,
            "mlp_ratio": MLP / WIDTH,
            "norm_eps": EPS,
            **changes,
        }
    )


def fakestormer(**changes: object) -> FakeSTormer:
    torch.manual_seed(1)
    return build_fakestormer(ours(**changes)).eval()


def clips(frames: int = 1) -> Tensor:
    """Real-valued, two clips."""
    g = torch.Generator().manual_seed(7)
    return 255 * torch.rand(2, frames, 3, 40, 40, generator=g)


def temporal_layers_start_as_they_should(network: FakeSTormer | PlainTimeSformer) -> None:
    """Zero time embedding, zero linear layer after temporal attention (docs/how-it-works.md)."""
    assert not network.backbone.embedding.time.any()
    for block in network.backbone.blocks:
        assert isinstance(block, DividedLayers)
        assert not block.temporal_linear.weight.any()
        assert not block.temporal_linear.bias.any()
        assert block.temporal_attention.qkv.weight.any()
        lines = torch.randn(1, 4, 2, WIDTH)
        assert torch.equal(block._over_time(lines), torch.zeros_like(lines))


@pytest.mark.parametrize("saved", ["save_pretrained", "state_dict.safetensors", "state_dict.pth"])
@pytest.mark.parametrize("kind", KINDS)
def test_features_are_those_of_transformers(tmp_path: Path, kind: str, saved: str) -> None:
    made = theirs(kind)
    if saved == "save_pretrained":  # under the published names
        made.save_pretrained(tmp_path)  # type: ignore[operator]
        path = tmp_path / "model.safetensors"
    else:  # under the names of the modules
        path = tmp_path / saved
        _save(made.state_dict(), path)
    network = fakestormer()
    before = {name: p.clone() for name, p in network.named_parameters()}
    report = load_pretrained(network, path)
    assert report.layout == "transformers"
    assert report.resized == ()
    temporal_layers_start_as_they_should(network)
    for name in report.new:
        assert torch.equal(network.get_parameter(name), before[name]), name

    x = clips()
    expected = their_features(made, network.normalise(x)[:, 0])
    assert expected.std() > 0.1
    assert (expected[0] - expected[1]).abs().max() > 0.1
    with torch.no_grad():
        features = network.features(x)
    torch.testing.assert_close(features.patches[:, 0], expected[:, 1:], **CLOSE)
    torch.testing.assert_close(features.spatial[:, 0], expected[:, 0], **CLOSE)


def _save(state: dict[str, Tensor], path: Path) -> None:
    from safetensors.torch import save_file

    if path.suffix == ".pth":
        torch.save(state, path)
    else:
        save_file({key: value.contiguous() for key, value in state.items()}, path)


def test_every_frame_of_a_longer_clip_is_their_image(tmp_path: Path) -> None:
    """Also with temporal attentions that start from the spatial ones: the zeros follow them."""
    made = theirs("ViTMAEModel")
    made.save_pretrained(tmp_path)  # type: ignore[operator]
    network = fakestormer(frames=4, temporal_init="copy_spatial")
    load_pretrained(network, tmp_path / "model.safetensors")
    temporal_layers_start_as_they_should(network)
    block = network.backbone.blocks[2]
    assert isinstance(block, DividedLayers)
    copied = block.temporal_attention.state_dict()
    for name, value in block.spatial_attention.state_dict().items():
        assert torch.equal(copied[name], value)
    assert torch.equal(block.temporal_norm.weight, block.spatial_norm.weight)

    x = clips(4)
    expected = their_features(made, network.normalise(x).flatten(0, 1)).unflatten(0, (2, 4))
    with torch.no_grad():
        features = network.features(x)
    torch.testing.assert_close(features.patches, expected[:, :, 1:], **CLOSE)
    torch.testing.assert_close(features.spatial, expected[:, :, 0], **CLOSE)


def test_the_plain_timesformer_of_one_frame_has_their_class_token(tmp_path: Path) -> None:
    made = theirs("ViTMAEModel")
    made.save_pretrained(tmp_path)  # type: ignore[operator]
    torch.manual_seed(1)
    network = build_timesformer(ours(architecture="timesformer", branches=())).eval()
    load_pretrained(network, tmp_path / "model.safetensors")
    temporal_layers_start_as_they_should(network)
    frames = network.normalise(clips())
    with torch.no_grad():
        found = network.backbone(frames)
    torch.testing.assert_close(found, their_features(made, frames[:, 0])[:, :1], **CLOSE)


def test_the_comparison_would_see_a_difference(tmp_path: Path) -> None:
    made = theirs("ViTMAEModel")
    made.save_pretrained(tmp_path)  # type: ignore[operator]
    network = fakestormer()
    load_pretrained(network, tmp_path / "model.safetensors")
    x = clips()
    expected = their_features(made, network.normalise(x)[:, 0])
    for name in ("backbone.blocks.2.mlp.fc2.bias", "backbone.embedding.position"):
        with torch.no_grad():
            # One channel: a LayerNorm takes away what is the same in all.
            first = network.get_parameter(name).view(-1)[0]
            first += 1e-3
            assert (network.features(x).spatial[:, 0] - expected[:, 0]).abs().max() > 2e-5
            first -= 1e-3


@pytest.mark.parametrize("tokens", ["separate", "averaged"])
def test_clips_of_one_frame_train_all_three_heads(tokens: str) -> None:
    network = fakestormer(tokens=tokens).train()
    out = network(clips())
    assert out.derivative is not None
    assert out.frame_logits is not None
    assert out.logit.shape == (2,)
    assert out.derivative.shape == (2, 1, 5, 5)
    assert out.frame_logits.shape == (2, 1)
    (out.logit.sum() + out.derivative.square().sum() + out.frame_logits.sum()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
