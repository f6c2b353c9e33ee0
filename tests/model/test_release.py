"""The released network: the released numbers, its three differences, and what ours does better."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fakestormer.model.build import build
from fakestormer.model.release import ReleaseBlock, ReleaseNetwork, build_release, true_order
from fakestormer.model.release_state import fitting, release_config
from fakestormer.recipe.model import ModelConfig
from fakestormer.recipe.training import LossConfig
from fakestormer.training.losses import fakestormer_loss
from fakestormer.types.network import Outputs, Targets
from release_reference import Sizes, batch_numbers, numbers, random_state, write_reference
from release_trace import trace

OUTPUTS = ("feat_cls", "feat_embed", "feat_s_cls_token", "out_cls", "out_temp_loc", "out_hm")
MENDS = {
    "": {},
    "fixtemp": {"learned_temporal_token": True},
    "fixembed": {"true_volume": True},
    "fixboth": {"learned_temporal_token": True, "true_volume": True},
}


def config(**changes: object) -> ModelConfig:
    tiny = {"image_size": 32, "patch_size": 8, "width": 48, "depth": 2, "heads": 3}
    return ModelConfig.model_validate(
        {"architecture": "release", "tokens": "averaged", **tiny, **changes}
    )


def network_of(state: Mapping[str, Tensor], *, double: bool = False):
    network = ReleaseNetwork(config()).eval()
    network.load_state_dict(dict(state))
    return network.double() if double else network


@pytest.fixture(scope="module")
def reference(shared_data: Path) -> dict[str, Tensor]:
    with np.load(shared_data / "reference" / "release_tiny.npz") as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


@pytest.fixture(scope="module")
def state(reference: dict[str, Tensor]) -> dict[str, Tensor]:
    return {n.removeprefix("sd/"): v for n, v in reference.items() if n.startswith("sd/")}


def group(reference: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """{name: array} behind a prefix, without inputs."""
    split = {full: full.rpartition("/") for full in reference if not full.startswith("sd/")}
    arrays = {
        name: reference[full]
        for full, (at, _, name) in split.items()
        if at == prefix != name != "x"
    }
    assert arrays, f"the reference has nothing behind {prefix!r}"
    return arrays


def close(ours: Tensor, theirs: Tensor, limit: float, name: str) -> None:
    assert ours.shape == theirs.shape, name
    error = (ours.double() - theirs.double()).abs().max().item()
    assert error <= limit * max(1, theirs.abs().max().item()), f"{name}: {error:.1e}"


@pytest.mark.parametrize("prefix", MENDS)
def test_one_clip_in_single_precision(
    prefix: str, reference: dict[str, Tensor], state: dict[str, Tensor]
) -> None:
    ours = trace(network_of(state), reference["x"], **MENDS[prefix])
    arrays = group(reference, prefix)
    assert set(arrays) >= set(OUTPUTS)
    for name, theirs in arrays.items():
        close(ours[name], theirs, 1e-5, name)


@pytest.mark.parametrize("prefix", ["", "fixboth"])
def test_one_clip_in_double_precision(
    prefix: str, reference: dict[str, Tensor], state: dict[str, Tensor]
) -> None:
    network = network_of(state, double=True)
    ours = trace(network, reference["x"].double(), **MENDS[prefix])
    arrays = group(reference, f"f64_{prefix}".removesuffix("_"))
    assert set(arrays) == set(OUTPUTS)
    for name, theirs in arrays.items():
        close(ours[name], theirs, 1e-10, name)


def test_two_clips_with_the_learned_token(
    reference: dict[str, Tensor], state: dict[str, Tensor]
) -> None:
    ours = trace(network_of(state), reference["b2/x"], **MENDS["fixboth"])
    for name, theirs in group(reference, "b2_fixboth").items():
        close(ours[name], theirs, 1e-5, name)


def test_two_clips_as_released_mix_what_ours_keeps_apart(
    reference: dict[str, Tensor], state: dict[str, Tensor]
) -> None:
    network, x = network_of(state), reference["b2/x"]
    ours, mixed = trace(network, x), trace(network, x, batch_as_released=True)
    for name, theirs in group(reference, "b2").items():
        close(mixed[name], theirs, 1e-5, name)
        close(ours[name][:1], theirs[:1], 1e-5, f"{name}, clip 0")
    assert (ours["out_cls"] - reference["b2/out_cls"])[1].abs() > 0.1
    for i in range(2):
        alone = trace(network, x[i : i + 1])
        for name in OUTPUTS:
            close(ours[name][i : i + 1], alone[name], 1e-5, f"{name}, clip {i}")


def test_what_it_judges_is_what_the_file_says_in_true_order(
    reference: dict[str, Tensor], state: dict[str, Tensor]
) -> None:
    x = reference["x"].transpose(1, 2)
    with torch.no_grad():
        outputs = network_of(state).judge(x)
    close(outputs.logit[:, None], reference["out_cls"], 1e-5, "f")
    close(outputs.frame_logits, reference["out_temp_loc"], 1e-5, "g")
    scrambled = reference["out_hm"].flatten()  # lists the tokens, position by position
    for t in range(4):
        for y in range(4):
            for column in range(4):
                token = (4 * y + column) * 4 + t
                value = outputs.derivative[0, t, y, column]
                assert value == pytest.approx(scrambled[token].item(), abs=1e-5)


@pytest.mark.parametrize(
    ("sizes", "seed"),
    [
        (Sizes(image=48, width=64, frames=8, depth=3, heads=4, hidden=256), 11),
        (Sizes(image=24, width=40, frames=2, depth=1, heads=5, hidden=60), 12),
        (Sizes(image=32, patch=16, width=128, frames=16, depth=1, heads=2), 13),
        (Sizes(image=24, width=36, frames=3, depth=2, heads=2, hidden=72), 14),
    ],
    ids=["T=8", "T=2", "D/64 heads", "T=3, N=9"],
)
def test_networks_of_other_sizes(sizes: Sizes, seed: int, tmp_path: Path) -> None:
    """Sizes are read off the state, and every number is that of the tests' plain implementation."""
    path = tmp_path / "other.npz"
    state = write_reference(path, sizes, seed)
    with np.load(path) as file:
        numbers_there = {name: torch.from_numpy(file[name]) for name in file.files}
    c = release_config(state, sizes.heads, "other")
    assert (c.frames, c.depth, c.image_size) == (sizes.frames, sizes.depth, sizes.image)
    network = ReleaseNetwork(c).eval()
    network.load_state_dict(fitting(state, c, "other"))
    for prefix, mends in MENDS.items():
        ours = trace(network, numbers_there["x"], **mends)
        for name, theirs in group(numbers_there, prefix).items():
            close(ours[name], theirs, 1e-5, f"{prefix}/{name}")
    mixed = trace(network, numbers_there["b2/x"], batch_as_released=True)
    for name, theirs in group(numbers_there, "b2").items():
        close(mixed[name], theirs, 1e-5, f"b2/{name}")
    exact = trace(network.double(), numbers_there["x"].double())
    for name, theirs in group(numbers_there, "f64").items():
        close(exact[name], theirs, 1e-10, f"f64/{name}")


def test_the_losses(reference: dict[str, Tensor], state: dict[str, Tensor]) -> None:
    """By the product's own loss, in h's scrambled order on both sides."""
    ours = trace(network_of(state), reference["b2/x"], batch_as_released=True)
    mask = reference["loss/target_mask"]
    target = (reference["loss/target_hm"] * mask)[:, 0]
    release = LossConfig(mse_factor=0.5, temperature=2)
    losses = fakestormer_loss(
        Outputs(
            logit=ours["out_cls"][:, 0],
            derivative=(ours["out_hm"] * mask)[:, 0],
            frame_logits=ours["out_temp_loc"],
        ),
        Targets(
            boundary=torch.zeros_like(target),
            derivative=target,
            soft_labels=reference["loss/target_temp_loc"],
            label=reference["loss/target_cls"][:, 0],
            kept=torch.ones(2, 4, 4, dtype=torch.bool),
        ),
        release,
    )
    close(100 * losses.temporal, reference["loss/hm"], 1e-5, "h")
    close(0.8 * losses.classification, reference["loss/cls"], 1e-5, "f")
    close(0.2 * losses.spatial, reference["loss/temp_loc"], 1e-5, "g")
    total = sum(reference[f"loss/{name}"] for name in ("hm", "cls", "temp_loc"))
    close(losses.total, torch.as_tensor(total), 1e-5, "all")


def test_the_plain_implementation_of_the_tests_is_the_released_one(
    reference: dict[str, Tensor], state: dict[str, Tensor]
) -> None:
    """So that reference files of other sizes, made with it, mean something."""
    for prefix, double in (("", True), ("fixboth", True), ("fixtemp", False), ("fixembed", False)):
        mends = {
            "learned": prefix in ("fixtemp", "fixboth"),
            "true_order": prefix in ("fixembed", "fixboth"),
        }
        plain = numbers(state, reference["x"][0], 3, **mends)
        for name, theirs in group(reference, prefix).items():
            close(plain[name], theirs, 1e-5, name)
        if double:
            for name, theirs in group(reference, f"f64_{prefix}".removesuffix("_")).items():
                close(plain[name], theirs, 1e-10, name)
    plain = batch_numbers(state, reference["b2/x"], 3)
    for name, theirs in group(reference, "b2").items():
        close(plain[name], theirs, 1e-5, name)


def test_keys_are_those_of_the_files(state: dict[str, Tensor]) -> None:
    file = {name: value.shape for name, value in state.items()}
    assert {name: v.shape for name, v in random_state(Sizes(), 0).items()} == file
    assert {name: v.shape for name, v in build_release(config()).state_dict().items()} == file


def test_a_clip_does_not_depend_on_its_batch() -> None:
    network = network_of(random_state(Sizes(), 3))
    g = torch.Generator().manual_seed(1)
    x = torch.randint(0, 256, (4, 4, 3, 32, 32), dtype=torch.uint8, generator=g)
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


def test_tokens_that_carry_their_place_come_back_to_it() -> None:
    """Through the scrambled volume and out again, for T and G that do not divide each other."""
    t, grid = 3, 4
    frame, row, column = torch.meshgrid(torch.arange(t), *[torch.arange(grid)] * 2, indexing="ij")
    code_btyx = (100 * frame + 10 * row + column)[None].float()
    network = build_release(config(frames=t))
    backbone = network.backbone
    backbone.blocks, backbone.norm = nn.ModuleList([_Passes()]), nn.Identity()  # type: ignore[assignment]
    with torch.no_grad():
        backbone.pos_embed.zero_()
        patches_bntd = code_btyx.flatten(2).transpose(1, 2)[..., None].expand(-1, -1, -1, 48)
        tokens = backbone.embed(patches_bntd)
        backbone.embed = lambda _: tokens  # type: ignore[method-assign]
        volume = backbone(torch.zeros(1, t, 3, 32, 32)).volume[:, :1]
    assert not torch.equal(volume[:, 0], code_btyx), "this volume is scrambled"
    assert torch.equal(true_order(volume), code_btyx)


class _Passes(nn.Module):
    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        return tokens, tokens[:, :3]


def test_stochastic_depth_drops_before_the_linear_layer_and_leaves_g_with_nothing() -> None:
    torch.manual_seed(0)
    block = ReleaseBlock(config(), drop_path=1 - 1e-7)
    nn.init.normal_(block.temporal_fc.bias)
    tokens = torch.randn(2, 66, 48)
    out, spatial = block.train()(tokens)
    assert not spatial.any()
    expected = tokens.clone()
    expected[:, 1:] += block.temporal_fc.bias
    torch.testing.assert_close(out, expected)
    rates = [b.drop_path for b in build_release(config(depth=4, drop_path=0.3)).backbone.blocks]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3])


@pytest.mark.parametrize("frames", [2, 4, 8, 16])
def test_every_clip_length_trains(frames: int) -> None:
    network = build(config(frames=frames))
    assert isinstance(network, ReleaseNetwork)
    x = torch.randint(0, 256, (2, frames, 3, 32, 32), dtype=torch.uint8)
    out = network.train()(x)
    assert out.derivative.shape == (2, frames, 4, 4)
    (out.logit.sum() + out.derivative.sum() + out.frame_logits.sum()).backward()
    silent = {name for name, p in network.named_parameters() if p.grad is None}
    assert silent == {
        "backbone.temp_token", "backbone.norm_t_cls.weight", "backbone.norm_t_cls.bias"
    }  # fmt: skip


def test_the_real_size() -> None:
    def count(module: nn.Module) -> float:
        return sum(p.numel() for p in module.parameters()) / 1e6

    with torch.device("meta"):
        network = build(ModelConfig(architecture="release", tokens="averaged"))
    assert isinstance(network, ReleaseNetwork)
    assert count(network) == pytest.approx(123.6, abs=0.05)
    assert count(network.backbone) == pytest.approx(121.3, abs=0.05)
    assert count(network.keypoint_head.hm) == pytest.approx(2.2, abs=0.05)
    assert count(network.keypoint_head.temp_loc) == pytest.approx(0.15, abs=0.005)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": 5}, "D / T channels in g: width 48 is not a multiple of frames 5"),
        ({"tokens": "separate"}, "tokens must be averaged"),
        ({"branches": ["h"]}, "branches must be"),
        ({"stem": "conv"}, "stem must be patch"),
        ({"temporal_init": "copy_spatial"}, "temporal_init must be default"),
    ],
)
def test_configurations_that_its_authors_did_not_build(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        config(**changes)
