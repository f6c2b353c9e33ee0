"""The plain TimeSformer and the 3-D ResNet: that they are those networks, and that they learn."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import Tensor, nn

from fakestormer.errors import SetupError
from fakestormer.model.baselines import (
    ClassTokenBlock,
    ClassTokenEmbedding,
    PlainTimeSformer,
    ResNet3D,
    build_timesformer,
)
from fakestormer.model.build import build
from fakestormer.model.network import VideoNetwork
from fakestormer.model.weights import resize_time, start_from
from fakestormer.recipe.model import ModelConfig, base, small, tiny

NANO = ModelConfig(
    architecture="timesformer",
    branches=(),
    image_size=32,
    patch_size=8,
    width=24,
    depth=2,
    heads=3,
    drop_path=0.0,
)
BOTH = pytest.mark.parametrize("architecture", ["timesformer", "resnet3d"])


def config(**changes: object) -> ModelConfig:
    return ModelConfig.model_validate({**NANO.model_dump(), **changes})


def clips(c: ModelConfig, b: int = 3) -> Tensor:
    g = torch.Generator().manual_seed(7)
    size = (b, c.frames, 3, c.image_size, c.image_size)
    return torch.randint(0, 256, size, dtype=torch.uint8, generator=g)


def stirred(c: ModelConfig) -> VideoNetwork:
    """A network none of whose weights is at a special value, in eval mode."""
    torch.manual_seed(0)
    network = build(c)
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.2 * torch.randn_like(p))
        for module in network.modules():
            if isinstance(module, nn.BatchNorm3d):
                module.momentum = 1.0
        network.train()(clips(c, 4))  # statistics of its own, or the signal would fade
    return network.eval()


@BOTH
@pytest.mark.parametrize("frames", [1, 4, 8, 16])
def test_one_logit_and_nothing_else_for_every_clip_length(architecture: str, frames: int) -> None:
    c = config(architecture=architecture, frames=frames)
    out = build(c)(clips(c, 2))
    assert out.logit.shape == (2,)
    assert out.derivative is None
    assert out.frame_logits is None


@BOTH
def test_a_clip_does_not_depend_on_its_batch(architecture: str) -> None:
    c = config(architecture=architecture)
    network, x = stirred(c), clips(c, 4)
    order = torch.tensor([2, 0, 3, 1])
    with torch.no_grad():
        whole, permuted = network(x).logit, network(x[order]).logit
        single = torch.cat([network(x[i : i + 1]).logit for i in range(4)])
    assert (whole[0] - whole[1]).abs() > 1e-3, "clips must differ for this to say much"
    torch.testing.assert_close(permuted, whole[order], atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(single, whole, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("changes", "rate", "steps"),
    [
        ({"architecture": "timesformer", "image_size": 16}, 1e-3, 300),
        ({"architecture": "resnet3d", "image_size": 16, "width": 96}, 3e-3, 30),
    ],
    ids=["timesformer", "resnet3d"],
)
def test_it_learns_what_only_time_tells(
    changes: dict[str, object], rate: float, steps: int
) -> None:
    """Clips that grow brighter against the same frames backwards."""
    torch.manual_seed(0)
    network = build(config(**changes))
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    rising = torch.linspace(40, 200, 4).view(1, 4, 1, 1, 1) + 20 * torch.randn(4, 4, 3, 16, 16)
    x = torch.cat([rising, rising.flip(1)])
    labels = torch.tensor([0.0] * 4 + [1.0] * 4)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(network(x).logit, labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 0.6  # guessing costs ln 2 = 0.69
    assert losses[-1] < 0.2


@BOTH
def test_every_weight_takes_part(architecture: str) -> None:
    """Processes that train together wait for the gradients of all weights."""
    network = build(config(architecture=architecture)).train()
    network(clips(network.config, 2)).logit.sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


# The plain TimeSformer.


def plain(**changes: object) -> PlainTimeSformer:
    torch.manual_seed(0)
    return build_timesformer(config(**changes))


def bare_block() -> ClassTokenBlock:
    """One channel of interest: uniform attention whose values are the tokens; no MLP, no norm."""
    block = ClassTokenBlock(2, 1, mlp_hidden=2, drop_path=0.0, norm_eps=1e-6)
    block.spatial_norm = block.temporal_norm = nn.Identity()  # type: ignore[assignment]
    with torch.no_grad():
        for p in block.parameters():
            p.zero_()
        for attention in (block.spatial_attention, block.temporal_attention):
            attention.qkv.weight[4:] = torch.eye(2)
            attention.proj.weight.copy_(torch.eye(2))
    return block


def test_the_class_token_is_the_mean_over_frames_by_hand() -> None:
    """Token 3, frames (1, 2) and (10, 20): means (3+1+2)/3 = 2 and (3+10+20)/3 = 11, 6.5 in all."""
    z = torch.tensor([[1.0, 2.0], [10.0, 20.0]]).view(1, 2, 2, 1).expand(1, 2, 2, 2)
    z_c = torch.full((1, 1, 2), 3.0)
    patches, token = bare_block()(z, z_c)
    assert token[0, 0].tolist() == pytest.approx([9.5, 9.5])
    torch.testing.assert_close(patches[0, 0], z[0, 0] + 2)  # a frame's patches see the token, too
    torch.testing.assert_close(patches[0, 1], z[0, 1] + 11)


def test_temporal_attention_is_along_each_position_and_without_the_class_token() -> None:
    block = bare_block()
    with torch.no_grad():
        block.temporal_linear.weight.copy_(torch.eye(2))
        block.spatial_attention.proj.weight.zero_()
    z = torch.tensor([[1.0, 2.0], [10.0, 20.0]]).view(1, 2, 2, 1).expand(1, 2, 2, 2)
    z_c = torch.full((1, 1, 2), 3.0)
    patches, token = block(z, z_c)
    assert torch.equal(token, z_c)
    added = torch.tensor([5.5, 11.0])  # the mean of each position over the two frames
    torch.testing.assert_close(patches[0, :, :, 0], z[0, :, :, 0] + added)


def test_the_class_token_has_a_place_of_its_own_and_no_time() -> None:
    embedding = ClassTokenEmbedding(grid=2, frames=3, width=4)
    with torch.no_grad():
        for p in embedding.parameters():
            p.normal_()
    z, z_c = embedding(torch.zeros(2, 3, 4, 4))
    torch.testing.assert_close(z_c[1, 0], embedding.class_token + embedding.position[0])
    torch.testing.assert_close(z[1, 2, 3], embedding.position[4] + embedding.time[2])


def test_untrained_it_is_an_image_model_whose_class_token_is_averaged_in_each_block() -> None:
    """Against torch's own attention, frame by frame, with random weights."""
    network = plain(depth=1)
    backbone = network.backbone
    block = backbone.blocks[0]
    assert isinstance(block, ClassTokenBlock)
    assert not block.temporal_linear.weight.any()
    assert not block.temporal_linear.bias.any()
    assert not backbone.embedding.time.any()
    attention = nn.MultiheadAttention(24, 3, batch_first=True)
    with torch.no_grad():
        for p in (*block.spatial_attention.parameters(), *block.mlp.parameters()):
            p.normal_(std=0.3)
        attention.in_proj_weight.copy_(block.spatial_attention.qkv.weight)
        attention.in_proj_bias.copy_(block.spatial_attention.qkv.bias)
        attention.out_proj.load_state_dict(block.spatial_attention.proj.state_dict())
        frames = network.normalise(clips(network.config, 1))
        token = (backbone.embedding.class_token + backbone.embedding.position[0])[None]
        moved = []
        for frame in frames[0]:
            patches = backbone.stem(frame[None]).flatten(2).transpose(1, 2)[0]
            patches = patches + backbone.embedding.position[1:]
            rows = block.spatial_norm(torch.cat([token, patches]))[None]
            moved.append(token + attention(rows, rows, rows, need_weights=False)[0][:, 0])
        mean = torch.stack(moved).mean(0)
        expected = backbone.norm(mean + block.mlp(block.mlp_norm(mean)))
        torch.testing.assert_close(backbone(frames)[0], expected, atol=1e-5, rtol=1e-4)


def test_temporal_attention_can_start_as_the_spatial_one() -> None:
    for block in plain(temporal_init="copy_spatial").backbone.blocks:
        assert isinstance(block, ClassTokenBlock)
        ours = block.temporal_attention.state_dict()
        for name, value in block.spatial_attention.state_dict().items():
            assert torch.equal(ours[name], value)


def test_stochastic_depth_drops_lines_frames_and_clips() -> None:
    torch.manual_seed(0)
    network = build_timesformer(config(depth=3, drop_path=0.5))
    assert [block.drop_path for block in network.backbone.blocks] == pytest.approx([0, 0.25, 0.5])
    x = clips(network.config, 2)
    assert not torch.equal(network.train()(x).logit, network(x).logit)
    assert torch.equal(network.eval()(x).logit, network(x).logit)


def test_its_weights_go_to_another_size_and_length() -> None:
    first, longer = plain(), plain(frames=8, image_size=48)
    with torch.no_grad():
        first.backbone.embedding.time.normal_()
    start_from(longer, first)
    expected = resize_time(first.backbone.embedding.time, 8, extra=0)
    assert torch.equal(longer.backbone.embedding.time, expected)
    assert expected[-1].tolist() == pytest.approx(first.backbone.embedding.time[-1].tolist())


def test_size_of_the_plain_timesformer() -> None:
    """Bertasius et al. give 121.4 million, with 400 classes and 8 frames."""
    with torch.device("meta"):
        network = build(base().model_copy(update={"architecture": "timesformer", "branches": ()}))
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(121.4e6, rel=5e-3)


# The 3-D ResNet.


def resnet(c: ModelConfig) -> ResNet3D:
    with torch.device("meta"):
        network = build(c.model_copy(update={"architecture": "resnet3d", "branches": ()}))
    assert isinstance(network, ResNet3D)
    return network


def weights(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_from_width_512_on_it_is_the_resnet_50_of_hara() -> None:
    network = resnet(base()).resnet
    # 7x7x7 to 64 channels; each stage of n bottlenecks has n blocks of (1, 3x3x3, 1) convolutions
    # with a BatchNorm each, and the first block's shortcut B, a 1x1x1 convolution with BatchNorm.
    expected = 3 * 64 * 7**3 + 2 * 64
    before = 64
    for blocks, c in zip((3, 4, 6, 3), (64, 128, 256, 512), strict=True):
        for number in range(blocks):
            expected += before * c + 27 * c * c + c * 4 * c + 2 * (c + c + 4 * c)
            if number == 0:
                expected += before * 4 * c + 2 * 4 * c
            before = 4 * c
    assert expected == 46_198_976
    assert weights(network) == expected + 2048 + 1  # one class

    assert network.conv1.kernel_size == (7, 7, 7)  # type: ignore[union-attr]
    assert network.conv1.stride == (1, 2, 2)  # type: ignore[union-attr]
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv3d)]
    assert len(convolutions) == 1 + 3 * (3 + 4 + 6 + 3) + 4
    assert all(m.bias is None for m in convolutions)


def test_its_stages_shrink_as_hara_says() -> None:
    """16 frames of 112 px: every frame kept by conv1, then halved by the pool and three stages."""
    network = resnet(base().model_copy(update={"frames": 16, "image_size": 112}))
    found: dict[str, tuple[int, ...]] = {}
    for name in ("conv1", "maxpool", "layer1", "layer2", "layer3", "layer4"):
        network.resnet.get_submodule(name).register_forward_hook(
            lambda _, __, y, name=name: found.update({name: tuple(y.shape[1:])})
        )
    network(torch.zeros(1, 16, 3, 112, 112, dtype=torch.uint8, device="meta"))
    assert found == {
        "conv1": (64, 16, 56, 56),
        "maxpool": (64, 8, 28, 28),
        "layer1": (256, 8, 28, 28),
        "layer2": (512, 4, 14, 14),
        "layer3": (1024, 2, 7, 7),
        "layer4": (2048, 1, 4, 4),
    }


def test_narrower_it_is_a_thin_resnet_18() -> None:
    for c, channels in ((small(), 32), (tiny(), 8)):
        network = resnet(c).resnet
        assert network.conv1.out_channels == channels  # type: ignore[union-attr]
        assert len([m for m in network.modules() if isinstance(m, nn.Conv3d)]) == 17 + 3
    assert weights(resnet(tiny())) < 1e6


def test_frames_arrive_in_order_and_in_place() -> None:
    """MONAI's network gets (b, 3, t, H, W): a plain reshape would mix colours and frames."""
    c = config(architecture="resnet3d", frames=3, image_size=16)
    network = build(c)
    assert isinstance(network, ResNet3D)
    seen: list[Tensor] = []
    network.resnet.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    x = clips(c, 2)
    network(x)
    torch.testing.assert_close(seen[0].transpose(1, 2), network.normalise(x))


def test_without_monai_the_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "monai", None)
    monkeypatch.setitem(sys.modules, "monai.networks.nets.resnet", None)
    with pytest.raises(SetupError, match=r"pip install 'fakestormer\[baselines\]'"):
        build(config(architecture="resnet3d"))
