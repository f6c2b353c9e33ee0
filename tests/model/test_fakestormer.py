"""The whole network: what arrives where, what depends on what, and the numbers of a reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fakestormer.model.attention import DividedBlock
from fakestormer.model.backbone import HighPass, ResidualBlock
from fakestormer.model.fakestormer import FakeSTormer, sincos_positions
from fakestormer.model.fakestormer import build_fakestormer as build
from fakestormer.model.heads import BoundaryHead, SpatialHead, TemporalHead, patch_volume
from fakestormer.model.layouts import comes_from_image_model
from fakestormer.recipe.model import ModelConfig, base, small, tiny

NANO = ModelConfig(image_size=32, patch_size=8, width=48, depth=2, heads=3, drop_path=0.0)


def config(**changes: object) -> ModelConfig:
    return ModelConfig.model_validate({**NANO.model_dump(), **changes})


def stirred(c: ModelConfig) -> FakeSTormer:
    """A network none of whose weights or statistics is at a special value, in eval mode."""
    torch.manual_seed(0)
    network = build(c)
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.05 * torch.randn_like(p))
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        network.train()(clips(c, 4))  # the stem's statistics, or its signals would fade
        for module in network.modules():
            if isinstance(module, nn.BatchNorm3d):
                module.running_mean.normal_()  # type: ignore[union-attr]
                module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    return network.eval()


def clips(c: ModelConfig, b: int = 3) -> Tensor:
    g = torch.Generator().manual_seed(7)
    size = (b, c.frames, 3, c.image_size, c.image_size)
    return torch.randint(0, 256, size, dtype=torch.uint8, generator=g)


@pytest.mark.parametrize("frames", [4, 8, 16])
@pytest.mark.parametrize("tokens", ["separate", "averaged"])
def test_shapes_for_every_clip_length(frames: int, tokens: str) -> None:
    c = config(frames=frames, tokens=tokens)
    out = build(c)(clips(c, 2))
    assert out.logit.shape == (2,)
    assert out.derivative.shape == (2, frames, 4, 4)
    assert out.frame_logits.shape == (2, frames)


@pytest.mark.parametrize(
    "changes",
    [{}, {"tokens": "averaged"}, {"stem": "conv"}, {"stem": "residual"}, {"stem": "deep"}],
)
def test_a_clip_does_not_depend_on_its_batch(changes: dict[str, object]) -> None:
    c = config(**changes)
    network, x = stirred(c), clips(c, 4)
    order = torch.tensor([2, 0, 3, 1])
    with torch.no_grad():
        whole, permuted = network(x), network(x[order])
        single = [network(x[i : i + 1]) for i in range(4)]
    for name in ("logit", "derivative", "frame_logits"):
        value = getattr(whole, name)
        assert (value[0] - value[1]).abs().max() > 1e-3, "clips must differ for this to say much"
        torch.testing.assert_close(getattr(permuted, name), value[order], atol=2e-5, rtol=1e-4)
        split = torch.cat([getattr(s, name) for s in single])
        torch.testing.assert_close(split, value, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("grid", [4, 5])
def test_patches_that_carry_their_place_arrive_there(grid: int) -> None:
    """Frames painted with the code (t, y, x) of each patch; blocks that let tokens pass."""
    c = config(image_size=8 * grid, frames=3)
    network = build(c).eval()
    with torch.no_grad():
        for p in network.backbone.parameters():
            p.zero_()
        weight = network.backbone.stem.proj.weight
        assert isinstance(weight, Tensor)
        weight[0, 0] = 1 / 64  # channel 0: mean of red over the patch
        for name in ("patch_norm", "spatial_norm", "temporal_norm"):
            setattr(network.backbone, name, nn.Identity())
    t, y, x = torch.meshgrid(torch.arange(3), torch.arange(grid), torch.arange(grid), indexing="ij")
    code = (100 * t + 10 * y + x).float()
    painted = code.repeat_interleave(8, dim=1).repeat_interleave(8, dim=2)
    frames = torch.stack([painted, torch.zeros_like(painted), torch.zeros_like(painted)], dim=1)
    features = network.backbone(frames[None])
    volume = patch_volume(features.patches, grid)
    torch.testing.assert_close(volume[0, 0], code)


def test_the_high_pass_filters_by_hand() -> None:
    high_pass = HighPass()
    y, x = torch.meshgrid(torch.arange(9.0), torch.arange(9.0), indexing="ij")
    ramp = torch.stack([0.1 * x, 0.1 * y, 0.2 * x - 0.1 * y])[None]
    inner = (..., slice(2, -2), slice(2, -2))
    assert high_pass(ramp)[inner].abs().max() < 1e-5  # flat and rising regions give nothing
    dot = torch.zeros(1, 3, 9, 9)
    dot[..., 4, 4] = 0.3
    seen = high_pass(dot)
    assert seen.shape == (1, 2, 9, 9)
    assert seen[0, 0, 4, 4] == pytest.approx(0.3 * -12 / 12 * 4)
    assert seen[0, 0, 4, 5] == pytest.approx(0.3 * 8 / 12 * 4)
    assert seen[0, 1, 4, 4] == pytest.approx(0.3 * -4 / 4 * 4)
    assert seen[0, 1, 3, 3] == pytest.approx(0.3 * -1 / 4 * 4)
    assert high_pass(100 * dot).abs().max() == 3
    assert not list(high_pass.parameters())
    assert not high_pass.state_dict()


def test_the_temporal_head_looks_along_time_only() -> None:
    torch.manual_seed(0)
    head = TemporalHead(8).eval()
    volume = torch.randn(1, 8, 9, 3, 3, requires_grad=True)
    (seen,) = torch.autograd.grad(head(volume)[0, 4, 2, 1], (volume,))
    places = seen.abs().sum((0, 1)).nonzero().tolist()
    assert places == [[t, 2, 1] for t in range(1, 8)]  # three convolutions of 3 reach 3 frames


def test_the_spatial_head_takes_every_frame_alike() -> None:
    head = SpatialHead(8, 0.0).eval()
    z_s = torch.randn(2, 5, 8)
    torch.testing.assert_close(head(z_s[:, 3:4])[:, 0], head(z_s)[:, 3])


def test_the_untrained_network_is_the_image_model() -> None:
    """Temporal layers start at zero: patches and spatial tokens are those of a ViT per frame."""
    torch.manual_seed(0)
    c = config()
    network = build(c).eval()
    encoder = []
    for block in network.backbone.blocks:
        assert isinstance(block, DividedBlock)
        assert not block.temporal_linear.weight.any()
        assert not block.temporal_linear.bias.any()
        layer = nn.TransformerEncoderLayer(
            48, 3, 192, 0.0, "gelu", layer_norm_eps=1e-6, batch_first=True, norm_first=True
        )
        pairs = [
            (layer.self_attn.out_proj, block.spatial_attention.proj),
            (layer.linear1, block.mlp.fc1),
            (layer.linear2, block.mlp.fc2),
            (layer.norm1, block.spatial_norm),
            (layer.norm2, block.mlp_norm),
        ]
        for theirs, ours in pairs:
            theirs.load_state_dict(ours.state_dict())
        with torch.no_grad():
            layer.self_attn.in_proj_weight.copy_(block.spatial_attention.qkv.weight)
            layer.self_attn.in_proj_bias.copy_(block.spatial_attention.qkv.bias)
        encoder.append(layer)
    x = clips(c, 1)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    embedding = network.backbone.embedding
    with torch.no_grad():
        features = network.features(x)
        patches = network.backbone.stem((x[0] / 255 - mean) / std).flatten(2).transpose(1, 2)
        token = embedding.spatial_token.expand(4, 1, 48)
        vit = torch.cat([token, patches], dim=1) + embedding.position
        for layer in encoder:
            vit = layer.train()(vit)  # train mode only to stay off its fused kernel
        vit = nn.functional.layer_norm(vit, (48,), eps=1e-6)
    torch.testing.assert_close(features.patches[0], vit[:, 1:], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(features.spatial[0], vit[:, 0], atol=1e-5, rtol=1e-4)


def test_copied_temporal_attention_equals_the_spatial_one() -> None:
    network = build(config(temporal_init="copy_spatial"))
    for block in network.backbone.blocks:
        assert isinstance(block, DividedBlock)
        ours = block.temporal_attention.state_dict()
        for name, value in block.spatial_attention.state_dict().items():
            assert torch.equal(ours[name], value)
            assert ours[name].data_ptr() != value.data_ptr()
        assert not block.temporal_linear.weight.any()


def test_f_learns_with_the_image_model_frozen() -> None:
    """The temporal layers start at zero, yet f must come to tell two clips apart."""
    torch.manual_seed(0)
    network = build(config()).eval()
    trained = [
        parameter
        for name, parameter in network.named_parameters()
        if not comes_from_image_model(name)
    ]
    optimizer = torch.optim.Adam(trained, lr=1e-3)
    g = torch.Generator().manual_seed(7)
    x = torch.rand(2, 4, 3, 32, 32, generator=g) * torch.tensor([60, 240]).view(2, 1, 1, 1, 1)
    labels = torch.tensor([0.0, 1.0])
    first = network(x).logit
    # Temporal tokens know nothing of the clip yet; kernels may round the two rows apart.
    torch.testing.assert_close(first[0], first[1], atol=1e-6, rtol=1e-6)
    for _ in range(30):
        optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(network(x).logit, labels)
        loss.backward()
        optimizer.step()
    assert loss < 0.3  # guessing costs ln 2 = 0.69


def test_bytes_and_floats_are_the_same_frames() -> None:
    network, x = stirred(NANO), clips(NANO, 1)
    with torch.no_grad():
        from_bytes, from_floats = network(x), network(x.float())
    assert torch.equal(from_bytes.logit, from_floats.logit)


@pytest.mark.parametrize(
    ("shape", "found"),
    [
        ((1, 8, 3, 32, 32), r"\(1, 8, 3, 32, 32\)"),
        ((1, 4, 3, 32, 40), r"\(1, 4, 3, 32, 40\)"),
        ((1, 3, 4, 32, 32), r"\(1, 3, 4, 32, 32\)"),
        ((4, 3, 32, 32), r"\(4, 3, 32, 32\)"),
    ],
)
def test_other_sizes_are_refused_with_both_shapes(shape: tuple[int, ...], found: str) -> None:
    with pytest.raises(ValueError, match=r"\(B, 4, 3, 32, 32\), got " + found):
        build(NANO)(torch.zeros(shape, dtype=torch.uint8))


def test_integers_that_are_no_bytes_are_refused() -> None:
    with pytest.raises(ValueError, match="int64"):
        build(NANO)(clips(NANO, 1).long())


def test_last_attention_of_the_spatial_tokens() -> None:
    network, x = stirred(NANO), clips(NANO, 2)
    with torch.no_grad():
        plain = network.features(x)
        features = network.features(x, with_attention=True)
    assert plain.spatial_attention is None
    assert torch.equal(plain.patches, features.patches)
    attention = features.spatial_attention
    assert attention is not None
    assert attention.shape == (2, 4, 3, 4, 4)
    total = attention.sum((-1, -2))
    assert (attention > 0).all()
    assert (total < 1).all()
    assert (total > 0.5).all()  # 16 patches against one own token, weights near uniform


def test_attention_is_what_moves_the_spatial_token() -> None:
    """Values e_p per position: the attention's output lists its own weights."""
    network = stirred(config(image_size=16, heads=1, depth=1))
    block = network.backbone.blocks[0]
    assert isinstance(block, DividedBlock)
    torch.manual_seed(3)
    z, z_s, z_t = torch.randn(1, 4, 4, 48), torch.randn(1, 4, 1, 48), torch.randn(1, 4, 48)
    weights = block.spatial_attention_map(z, z_s, z_t)
    after_time, _ = block._attend_over_time(z, z_t)
    rows = block._frames(after_time, z_s)
    values = block.spatial_attention.qkv(rows)[..., 96:]
    expected = block.spatial_attention.proj(torch.einsum("tl, tld -> td", weights[0, :, 0], values))
    moved = block._attend_over_space(after_time, z_s)[1] - z_s
    torch.testing.assert_close(moved[0, :, 0], expected, atol=1e-5, rtol=1e-4)


def test_sizes() -> None:
    def count(module: nn.Module) -> int:
        return sum(p.numel() for p in module.parameters())

    with torch.device("meta"):
        assert count(build(base()).backbone) == 121_260_288  # ViT-B 85.6 M + 12 temporal layers
        assert count(build(small()).backbone) == pytest.approx(30.6e6, rel=5e-3)
        assert count(build(tiny())) < 5e6
    assert base().grid == small().grid == 14
    assert tiny().grid == 7


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 30}, "30 is not a multiple of patch_size 8"),
        ({"heads": 5}, "48 is not a multiple of heads 5"),
        ({"stem": "conv", "patch_size": 2}, "power of two"),
        ({"colour": "red"}, "colour"),
        ({"frames": 0}, "frames"),
        ({"branches": ["h", "h"]}, "each once"),
        ({"architecture": "resnet3d"}, "f alone"),
    ],
)
def test_configurations_that_cannot_be_are_refused(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        config(**changes)


def test_stochastic_depth_rises_linearly() -> None:
    network = build(config(depth=4, drop_path=0.3))
    rates = [block.drop_path for block in network.backbone.blocks]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3])


def test_starting_positions_by_hand() -> None:
    table = sincos_positions(3, 8)
    assert not table[0].any()
    x, y = 2, 1
    sin, cos = np.sin, np.cos
    by_hand = [
        sin(x),
        sin(x / 100),
        cos(x),
        cos(x / 100),
        sin(y),
        sin(y / 100),
        cos(y),
        cos(y / 100),
    ]
    assert table[1 + 3 * y + x].tolist() == pytest.approx(by_hand, abs=1e-6)


def test_a_network_of_the_released_design_gives_the_same_numbers(shared_data: Path) -> None:
    """Averaged tokens in double precision: patches, mean temporal token, and the heads f and h."""
    with np.load(shared_data / "reference" / "release_tiny.npz") as file:
        reference = {key: torch.from_numpy(file[key]) for key in file.files}
    network = build(config(tokens="averaged")).eval()
    network.load_state_dict(_released_names(reference, network.state_dict()))
    network.double()
    x = reference["x"].double().transpose(1, 2)
    with torch.no_grad():
        features = network.backbone(x)
        outputs = network.heads(features)
    close = {"atol": 2e-5, "rtol": 2e-5}  # the reference's embeddings are stored in float32
    volume = patch_volume(features.patches, 4)
    torch.testing.assert_close(volume, reference["f64_fixboth/feat_embed"], **close)
    token = features.temporal.mean(dim=1, keepdim=True)
    torch.testing.assert_close(token, reference["f64_fixboth/feat_cls"], **close)
    torch.testing.assert_close(outputs.logit[:, None], reference["f64_fixboth/out_cls"], **close)
    heat = outputs.derivative[:, None]
    torch.testing.assert_close(heat, reference["f64_fixboth/out_hm"], **close)


def _released_names(reference: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """The reference's state under our names; g differs by design and keeps our values.

    The reference normalises all three kinds of tokens with one LayerNorm.
    """
    inside = {
        "temporal_norm": "temporal_norm1",
        "temporal_attention": "temporal_attn",
        "temporal_linear": "temporal_fc",
        "spatial_norm": "norm1",
        "spatial_attention": "attn",
        "mlp_norm": "norm2",
        "mlp": "mlp",
    }
    prefixes = {
        "backbone.embedding.position": "backbone.pos_embed",
        "backbone.embedding.time": "backbone.time_embed",
        "backbone.embedding.spatial_token": "backbone.cls_token",
        "backbone.embedding.temporal_token": "backbone.temp_token",
        "backbone.stem.proj": "backbone.patch_embed.proj",
        "backbone.patch_norm": "backbone.norm",
        "backbone.spatial_norm": "backbone.norm",
        "backbone.temporal_norm": "backbone.norm",
        "f.linear": "keypoint_head.cls.fc_out",
        "h.conv1": "keypoint_head.hm.before_proj.0.0",
        "h.norm1": "keypoint_head.hm.before_proj.0.1",
        "h.conv2": "keypoint_head.hm.proj.0.0",
        "h.norm2": "keypoint_head.hm.proj.0.1",
        "h.conv3": "keypoint_head.hm.proj.1",
    }
    for i in range(2):
        for ours, theirs in inside.items():
            prefixes[f"backbone.blocks.{i}.{ours}"] = f"backbone.blocks.{i}.{theirs}"
    state = dict(own)
    for name, value in own.items():
        for ours, theirs in prefixes.items():
            if name == ours or name.startswith(ours + "."):
                state[name] = reference["sd/" + theirs + name.removeprefix(ours)].reshape(
                    value.shape
                )
                break
        else:
            assert name.startswith("g."), name
    return state


def test_b_is_heard_in_training_only_and_reads_each_patch() -> None:
    c = config(branches=("h", "g", "b"))
    network = build(c)
    x = clips(c, 2)
    assert network.eval()(x).boundary_logits is None
    said = network.train()(x).boundary_logits
    assert said is not None
    assert said.shape == (2, c.frames, c.grid, c.grid)
    z_btnd = torch.zeros(1, 2, 9, 8)
    z_btnd[0, 1, 5] = 1.0  # frame 1, row 1, column 2
    head = BoundaryHead(8)
    with torch.no_grad():
        head.linear.weight.fill_(0.5)
        head.linear.bias.fill_(-1.0)
        heard = head(z_btnd, 3)
    assert heard[0, 1, 1, 2] == 3.0
    assert int((heard == -1.0).sum()) == 17


def test_a_residual_block_passes_its_input_on() -> None:
    """With the second BatchNorm at 0 it is a ReLU; the two convolutions see 5 x 5 pixels."""
    torch.manual_seed(0)
    block = ResidualBlock(4).eval()
    x = torch.randn(1, 4, 9, 9)
    seen = x.clone().requires_grad_()
    block(seen)[0, :, 4, 4].sum().backward()
    assert seen.grad is not None
    rows, columns = seen.grad[0].abs().sum(0).nonzero(as_tuple=True)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (2, 6, 2, 6)
    last = block.layers[-1]
    assert isinstance(last, nn.BatchNorm2d)
    with torch.no_grad():
        last.weight.zero_()
        assert torch.equal(block(x), x.relu())
