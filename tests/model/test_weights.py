"""Weights: strict files of ours, three published layouts, embeddings of another length."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from fakestormer.errors import InputError
from fakestormer.model.baselines import build_timesformer
from fakestormer.model.build import build
from fakestormer.model.fakestormer import FakeSTormer, build_fakestormer
from fakestormer.model.weights import (
    load_pretrained,
    load_weights,
    resize_positions,
    resize_time,
    save_weights,
    start_from,
)
from fakestormer.recipe.model import ModelConfig

NANO = ModelConfig(image_size=32, patch_size=8, width=16, depth=2, heads=2)


def config(**changes: object) -> ModelConfig:
    return ModelConfig.model_validate({**NANO.model_dump(), **changes})


def network(seed: int = 0, **changes: object) -> FakeSTormer:
    torch.manual_seed(seed)
    return build_fakestormer(config(**changes))


def same(a: FakeSTormer, b: FakeSTormer) -> bool:
    theirs = b.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in a.state_dict().items())


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    first, second = network(0), network(1)
    assert not same(first, second)
    save_weights(first, tmp_path / "w.safetensors")
    load_weights(second, tmp_path / "w.safetensors")
    assert same(first, second)
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]
    (tmp_path / "other").touch()
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1, "who may read other new files may read weights"


def test_every_wrong_key_is_named_at_once_and_nothing_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(network(0), path)
    state = load_file(path)
    del state["f.linear.bias"], state["g.linear1.weight"]
    state["h.extra"] = torch.zeros(1)
    state["f.linear.weight"] = torch.zeros(1, 7)
    save_file(state, path)
    target, untouched = network(1), network(1)
    with pytest.raises(ValueError, match="not of this network") as caught:
        load_weights(target, path)
    text = str(caught.value)
    for part in (
        str(path),
        "missing f.linear.bias",
        "missing g.linear1.weight",
        "unexpected h.extra",
        "misshapen f.linear.weight: file (1, 7), network (1, 16)",
    ):
        assert part in text
    assert same(target, untouched)


@pytest.mark.parametrize("before", ["other regions", "the whole precision matrix"])
def test_an_f_that_an_earlier_version_fitted_is_to_be_fitted_again(
    tmp_path: Path, before: str
) -> None:
    changes = {
        "image_size": 64, "patch_size": 16, "stem": "efficientnet-lite0", "pretrained_stem": False,
        "classifier": "surroundings",
    }  # fmt: skip
    path = tmp_path / "fitted.safetensors"
    save_weights(network(**changes), path)
    state = load_file(path)
    if before == "other regions":
        state["f.mean"] = state["f.mean"].chunk(2)[0].clone()
    else:
        axes = state.pop("f.axes")
        state["f.precision"] = axes.T @ axes
    save_file(state, path)
    with pytest.raises(InputError, match=r"fitted.safetensors: its f was .* run `fakestormer fit`"):
        load_weights(network(**changes), path)


def test_files_that_are_no_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"absent\.safetensors: no such file"):
        load_weights(network(), tmp_path / "absent.safetensors")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"not tensors at all")
    with pytest.raises(ValueError, match=r"broken\.safetensors: not a readable"):
        load_weights(network(), broken)
    pth = tmp_path / "broken.pth"
    pth.write_bytes(b"not a pickle")
    with pytest.raises(ValueError, match=r"broken\.pth: not a readable checkpoint"):
        load_pretrained(network(), pth)


class _Stranger:
    pass


def test_objects_of_strangers_are_not_unpickled(tmp_path: Path) -> None:
    torch.save({"model": {}, "args": _Stranger()}, tmp_path / "m.pth")
    with pytest.raises(ValueError, match="holds more than tensors"):
        load_pretrained(network(), tmp_path / "m.pth")


def test_weights_go_to_another_size_and_length_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    first = network(0)
    with torch.no_grad():
        first.backbone.embedding.time.normal_()
    save_weights(first, path)
    larger = network(1, image_size=48, frames=8)
    with pytest.raises(ValueError, match=r"embedding\.position: file \(17, 16\).*embedding\.time"):
        load_weights(larger, path)
    start_from(larger, first)
    ours, theirs = larger.backbone.embedding, first.backbone.embedding
    assert torch.equal(ours.position, resize_positions(theirs.position, 6))
    assert torch.equal(ours.time, resize_time(theirs.time, 8))
    assert torch.equal(larger.f.linear.weight, first.f.linear.weight)


def vit(width: int = 16, depth: int = 2, grid: int = 4) -> dict[str, Tensor]:
    """A random MAE encoder, original key names."""
    g = torch.Generator().manual_seed(5)
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, 1 + grid * grid, width),
        "patch_embed.proj.weight": (width, 3, 8, 8),
        "patch_embed.proj.bias": (width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
    }
    for i in range(depth):
        for name, shape in {
            "norm1.weight": (width,),
            "norm1.bias": (width,),
            "attn.qkv.weight": (3 * width, width),
            "attn.qkv.bias": (3 * width,),
            "attn.proj.weight": (width, width),
            "attn.proj.bias": (width,),
            "norm2.weight": (width,),
            "norm2.bias": (width,),
            "mlp.fc1.weight": (4 * width, width),
            "mlp.fc1.bias": (4 * width,),
            "mlp.fc2.weight": (width, 4 * width),
            "mlp.fc2.bias": (width,),
        }.items():
            shapes[f"blocks.{i}.{name}"] = shape
    return {name: torch.randn(shape, generator=g) for name, shape in shapes.items()}


def as_transformers(state: dict[str, Tensor], prefix: str, *, modules: bool) -> dict[str, Tensor]:
    """`vit` under transformers' names: those it publishes, or those of its version 5's modules."""
    layers = "layers" if modules else "encoder.layer"
    names = {
        "norm1": "layernorm_before",
        "attn.proj": "attention.o_proj" if modules else "attention.output.dense",
        "norm2": "layernorm_after",
        "mlp.fc1": "mlp.fc1" if modules else "intermediate.dense",
        "mlp.fc2": "mlp.fc2" if modules else "output.dense",
    }
    qkv = (
        ("attention.q_proj", "attention.k_proj", "attention.v_proj")
        if modules
        else ("attention.attention.query", "attention.attention.key", "attention.attention.value")
    )
    rest = {
        "cls_token": "embeddings.cls_token",
        "pos_embed": "embeddings.position_embeddings",
        "patch_embed.proj.weight": "embeddings.patch_embeddings.projection.weight",
        "patch_embed.proj.bias": "embeddings.patch_embeddings.projection.bias",
        "norm.weight": "layernorm.weight",
        "norm.bias": "layernorm.bias",
    }
    out = {}
    for key, tensor in state.items():
        if key in rest:
            out[prefix + rest[key]] = tensor
            continue
        i, name, kind = _split(key)
        layer = f"{prefix}{layers}.{i}."
        if name == "attn.qkv":
            for part, piece in zip(qkv, tensor.chunk(3), strict=True):
                out[f"{layer}{part}.{kind}"] = piece.clone()
        else:
            out[f"{layer}{names[name]}.{kind}"] = tensor
    return out


def _split(key: str) -> tuple[str, str, str]:
    parts = key.split(".")
    return parts[1], ".".join(parts[2:-1]), parts[-1]


DECODER = {"mask_token": torch.zeros(1, 1, 8), "decoder_embed.weight": torch.zeros(8, 16)}
HEAD = {"head.weight": torch.zeros(10, 16)}
HF_DECODER = {"decoder.decoder_embed.weight": torch.zeros(8, 16)}


def write(state: dict[str, Tensor], path: Path, *, wrap: bool = False) -> Path:
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"model": state} if wrap else state, path)
    return path


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    "layout",
    ["original", "timm", "transformers", "transformers-bare", "transformers-modules"],
)
def test_three_layouts_of_one_model_load_alike(tmp_path: Path, layout: str, suffix: str) -> None:
    source = vit()
    path = tmp_path / f"model{suffix}"
    extra: dict[str, Tensor]
    if layout == "original":
        extra = DECODER
        write(source | extra, path, wrap=True)
    elif layout == "timm":
        extra = HEAD
        write(source | extra, path)
    else:
        extra = HF_DECODER
        prefix = "" if "bare" in layout else "vit."
        write(as_transformers(source, prefix, modules="modules" in layout) | extra, path)
    target, start = network(), network()
    report = load_pretrained(target, path)

    assert report.layout == layout.partition("-")[0]
    assert report.ignored == tuple(sorted(extra))
    assert report.resized == ()
    backbone, block = target.backbone, target.backbone.blocks[1].state_dict()
    assert torch.equal(backbone.embedding.spatial_token, source["cls_token"].flatten())
    assert torch.equal(backbone.embedding.position, source["pos_embed"][0])
    assert torch.equal(backbone.stem.state_dict()["proj.weight"], source["patch_embed.proj.weight"])
    assert torch.equal(backbone.patch_norm.bias, source["norm.bias"])
    assert torch.equal(backbone.spatial_norm.bias, source["norm.bias"])
    for ours, theirs in {
        "spatial_norm.weight": "norm1.weight",
        "spatial_attention.qkv.weight": "attn.qkv.weight",
        "spatial_attention.qkv.bias": "attn.qkv.bias",
        "spatial_attention.proj.weight": "attn.proj.weight",
        "mlp_norm.bias": "norm2.bias",
        "mlp.fc1.weight": "mlp.fc1.weight",
        "mlp.fc2.bias": "mlp.fc2.bias",
    }.items():
        assert torch.equal(block[ours], source[f"blocks.1.{theirs}"]), ours

    parameters = dict(target.named_parameters())
    assert report.loaded | set(report.new) == parameters.keys()
    assert not report.loaded & set(report.new)
    assert not any("temporal" in name or name[0] in "fgh" for name in report.loaded)
    for name in report.new:
        assert torch.equal(parameters[name], dict(start.named_parameters())[name])


def test_wrong_keys_of_a_published_file_are_each_named(tmp_path: Path) -> None:
    state = vit()
    del state["blocks.0.attn.proj.bias"]
    state["blocks.0.gamma"] = torch.zeros(1)
    state["blocks.1.mlp.fc1.weight"] = torch.zeros(3, 16)
    path = tmp_path / "mae.pth"
    torch.save({"model": state}, path)
    with pytest.raises(ValueError, match="does not fit") as caught:
        load_pretrained(network(), path)
    for part in (
        "missing backbone.blocks.0.spatial_attention.proj.bias",
        "unexpected blocks.0.gamma",
        "misshapen blocks.1.mlp.fc1.weight: file (3, 16), network (64, 16)",
    ):
        assert part in str(caught.value)


def test_separate_query_key_value_that_are_incomplete_are_named(tmp_path: Path) -> None:
    for modules, names in (
        (False, [f"encoder.layer.0.attention.attention.{part}" for part in ("query", "value")]),
        (True, [f"layers.0.attention.{part}_proj" for part in ("q", "v")]),
    ):
        state = as_transformers(vit(), "vit.", modules=modules)
        gone = "layers.0.attention.k_proj" if modules else "encoder.layer.0.attention.attention.key"
        del state[f"vit.{gone}.weight"]
        save_file(state, tmp_path / "m.safetensors")
        unexpected = "; ".join(f"unexpected vit.{name}.weight" for name in names)
        with pytest.raises(ValueError, match="does not fit") as caught:
            load_pretrained(network(), tmp_path / "m.safetensors")
        missing = "missing backbone.blocks.0.spatial_attention.qkv.weight"
        assert f"({missing}; {unexpected})" in str(caught.value)


def test_positions_of_a_published_file_are_fitted_to_our_grid(tmp_path: Path) -> None:
    state = vit(grid=6)
    torch.save({"model": state}, tmp_path / "mae.pth")
    target = network()
    report = load_pretrained(target, tmp_path / "mae.pth")
    assert report.resized == ("backbone.embedding.position",)
    assert "backbone.embedding.position" in report.loaded
    expected = resize_positions(state["pos_embed"][0], 4)
    assert torch.equal(target.backbone.embedding.position, expected)


def test_the_plain_timesformer_starts_from_the_same_files(tmp_path: Path) -> None:
    state = vit(grid=6)
    torch.save({"model": state}, tmp_path / "mae.pth")
    torch.manual_seed(0)
    target = build_timesformer(
        config(architecture="timesformer", branches=(), temporal_init="copy_spatial")
    )
    report = load_pretrained(target, tmp_path / "mae.pth")
    embedding = target.backbone.embedding
    assert torch.equal(embedding.class_token, state["cls_token"].flatten())
    assert torch.equal(embedding.position, resize_positions(state["pos_embed"][0], 4))
    assert not embedding.time.any()
    assert torch.equal(target.backbone.norm.weight, state["norm.weight"])
    block = target.backbone.blocks[1].state_dict()
    for kind in ("spatial", "temporal"):
        qkv = block[f"{kind}_attention.qkv.weight"]
        assert torch.equal(qkv, state["blocks.1.attn.qkv.weight"])
    assert not block["temporal_linear.weight"].any()

    parameters = dict(target.named_parameters())
    assert report.loaded | set(report.new) == parameters.keys()
    assert all("temporal" in n or n.endswith("time") or n[0] == "f" for n in report.new)


def test_temporal_attention_is_copied_from_what_was_loaded(tmp_path: Path) -> None:
    state = vit()
    torch.save({"model": state}, tmp_path / "mae.pth")
    target = network(temporal_init="copy_spatial")
    report = load_pretrained(target, tmp_path / "mae.pth")
    block = target.backbone.blocks[0].state_dict()
    assert torch.equal(block["temporal_attention.qkv.weight"], state["blocks.0.attn.qkv.weight"])
    assert not any("temporal" in name for name in report.loaded)


def test_what_cannot_start_from_a_vit_says_so(tmp_path: Path) -> None:
    torch.save({"model": vit()}, tmp_path / "mae.pth")
    with pytest.raises(ValueError, match="stem='patch'"):
        load_pretrained(network(stem="conv"), tmp_path / "mae.pth")
    with pytest.raises(ValueError, match=r"mae\.pth: architecture 'resnet3d' does not start from"):
        load_pretrained(build(config(architecture="resnet3d", branches=())), tmp_path / "mae.pth")
    with pytest.raises(ValueError, match=r"mae\.pth: architecture 'release' does not start from"):
        load_pretrained(
            build(config(architecture="release", tokens="averaged")), tmp_path / "mae.pth"
        )
    save_file({"fc.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"no ViT in a layout known here.*fc\.weight"):
        load_pretrained(network(), tmp_path / "other.safetensors")


def test_a_time_embedding_without_an_extra_slot_stays_without() -> None:
    ramp = torch.linspace(-1, 1, 4)[:, None]
    resized = resize_time(ramp, 7, extra=0)
    torch.testing.assert_close(resized, torch.linspace(-1, 1, 7)[:, None])


@pytest.mark.parametrize(("old", "new"), [(4, 4), (4, 8), (8, 16), (16, 4), (1, 4)])
def test_constants_stay_constant(old: int, new: int) -> None:
    position = torch.full((1 + old * old, 3), 2.5)
    assert torch.equal(resize_positions(position, new), torch.full((1 + new * new, 3), 2.5))
    time = torch.full((old + 1, 3), -1.5)
    torch.testing.assert_close(resize_time(time, new), torch.full((new + 1, 3), -1.5))


def test_the_same_length_is_the_identity() -> None:
    position, time = torch.randn(17, 5), torch.randn(5, 5)
    assert torch.equal(resize_positions(position, 4), position)
    assert torch.equal(resize_time(time, 4), time)


@pytest.mark.parametrize(("old", "new"), [(4, 7), (14, 8), (8, 14)])
def test_ramps_over_the_frame_stay_ramps(old: int, new: int) -> None:
    """Each position holds (x, y) of its patch's centre as a share of the frame."""

    def centres(grid: int) -> Tensor:
        along = (torch.arange(grid) + 0.5) / grid
        y, x = torch.meshgrid(along, along, indexing="ij")
        return torch.stack([x, y], dim=-1).reshape(-1, 2)

    token = torch.tensor([[7.0, -7.0]])
    resized = resize_positions(torch.cat([token, centres(old)]), new)
    assert torch.equal(resized[:1], token)
    torch.testing.assert_close(resized[1:], centres(new))


@pytest.mark.parametrize(("old", "new"), [(4, 8), (4, 16), (16, 4), (8, 5)])
def test_ramps_over_time_stay_ramps(old: int, new: int) -> None:
    ramp = torch.linspace(-1, 1, old)[:, None]
    extra = torch.tensor([[9.0]])
    resized = resize_time(torch.cat([ramp, extra]), new)
    torch.testing.assert_close(resized[:-1], torch.linspace(-1, 1, new)[:, None])
    assert torch.equal(resized[-1:], extra)


def test_a_position_embedding_that_is_no_square_is_refused() -> None:
    with pytest.raises(ValueError, match="6 positions"):
        resize_positions(torch.zeros(7, 3), 4)


def test_a_clip_network_starts_from_one_of_single_frames() -> None:
    torch.manual_seed(0)
    frames_alone = network(frames=1, branches=("g", "b"))
    with torch.no_grad():
        for p in frames_alone.parameters():
            p.add_(torch.randn_like(p))
    torch.manual_seed(1)
    clip = network(frames=4, branches=("h", "g"))
    before = {name: tensor.clone() for name, tensor in clip.state_dict().items()}
    start_from(clip, frames_alone)
    source, now = frames_alone.state_dict(), clip.state_dict()
    time = "backbone.embedding.time"
    assert torch.equal(now[time], source[time][[0, 0, 0, 0, 1]])
    for name, tensor in now.items():
        if name != time:
            from_where = before if name.startswith("h.") else source
            assert torch.equal(tensor, from_where[name]), name
