"""The proof of foundation weights: their own networks with random weights, loaded into ours.

With one frame and temporal layers that add nothing, our features have to be theirs. DINOv2, DINOv3
and CLIP are those of `transformers`. It has no code of its own for PE, so PE's tower is written
out here, plainly and from its description, with the names of its published files.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from fakestormer.model.fakestormer import FakeSTormer, build_fakestormer
from fakestormer.model.towers import sizes_of
from fakestormer.model.weights import load_pretrained, save_weights
from fakestormer.recipe.model import ModelConfig

# 64 channels per head, as all the published towers have.
WIDTH, HEADS, DEPTH, PATCH, SIDE = 128, 2, 2, 8, 40
CLOSE: Any = {"atol": 1e-5, "rtol": 1e-5}
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@pytest.fixture(scope="module", autouse=True)
def _offline() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield


def stirred(module: nn.Module) -> Any:
    """No weight at a special value; LayerScale far from 1."""
    torch.manual_seed(0)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return module.eval()


def of_transformers(kind: str) -> Any:
    import transformers

    sizes: Any = {
        "image_size": SIDE,
        "patch_size": PATCH,
        "hidden_size": WIDTH,
        "num_attention_heads": HEADS,
        "num_hidden_layers": DEPTH,
    }
    torch.manual_seed(0)
    makers: dict[str, Callable[[], Any]] = {
        "DINOv2": lambda: transformers.Dinov2Model(
            transformers.Dinov2Config(**sizes, mlp_ratio=3, layerscale_value=0.5)
        ),
        "DINOv2 with registers": lambda: transformers.Dinov2WithRegistersModel(
            transformers.Dinov2WithRegistersConfig(**sizes, mlp_ratio=3, num_register_tokens=3)
        ),
        "DINOv3": lambda: transformers.DINOv3ViTModel(
            transformers.DINOv3ViTConfig(
                **sizes, intermediate_size=320, num_register_tokens=4, layerscale_value=0.5
            )
        ),
        "CLIP": lambda: transformers.CLIPVisionModel(
            transformers.CLIPVisionConfig(**sizes, intermediate_size=320)
        ),
        "LAION's CLIP": lambda: transformers.CLIPVisionModel(
            transformers.CLIPVisionConfig(**sizes, intermediate_size=320, hidden_act="gelu")
        ),
    }
    return stirred(makers[kind]())


KINDS = ["DINOv2", "DINOv2 with registers", "DINOv3", "CLIP", "LAION's CLIP"]


def their_features(made: Any, pixels_rchw: Tensor) -> Tensor:
    """(r, 1 + registers + n, d) after the last norm, of pixels from 0 to 1."""
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    if type(made).__name__ == "CLIPVisionModel":
        mean, std = CLIP_MEAN, CLIP_STD
    if isinstance(made, PerceptionEncoder):
        mean, std = (0.5,) * 3, (0.5,) * 3
    x = (pixels_rchw - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    with torch.no_grad():
        if isinstance(made, PerceptionEncoder):
            features: Tensor = made(x)
            return features
        found = made(x).last_hidden_state
        if type(made).__name__ == "CLIPVisionModel":  # norms its class token alone
            found = getattr(made, "vision_model", made).post_layernorm(found)
    assert isinstance(found, Tensor)
    return found


def clips(side: int = SIDE, frames: int = 1) -> Tensor:
    g = torch.Generator().manual_seed(7)
    return 255 * torch.rand(2, frames, 3, side, side, generator=g)


def fitted(path: Path, **changes: Any) -> FakeSTormer:
    """The network that takes a file's weights, found by its keys, and with them."""
    base = ModelConfig(image_size=SIDE, patch_size=PATCH, frames=1, **changes)
    torch.manual_seed(1)
    network = build_fakestormer(sizes_of(base, path)).eval()
    load_pretrained(network, path)
    return network


def are_theirs(network: FakeSTormer, made: Any) -> None:
    x = clips(network.config.image_size, network.config.frames)
    expected = their_features(made, x.flatten(0, 1) / 255)
    expected = rearrange(expected, "(b t) l d -> b t l d", t=network.config.frames)
    n = network.config.grid**2
    assert expected.shape[2] == 1 + network.config.registers + n
    assert (expected[0] - expected[1]).abs().max() > 0.1
    with torch.no_grad():
        features = network.features(x)
    torch.testing.assert_close(features.patches, expected[:, :, -n:], **CLOSE)
    torch.testing.assert_close(features.spatial, expected[:, :, 0], **CLOSE)


@pytest.mark.parametrize("kind", KINDS)
def test_features_are_those_of_transformers(tmp_path: Path, kind: str) -> None:
    made = of_transformers(kind)
    made.save_pretrained(tmp_path)
    network = fitted(tmp_path / "model.safetensors")
    are_theirs(network, made)
    # Four frames, and the names of the modules.
    torch.save(made.state_dict(), tmp_path / "modules.pth")
    network = build_fakestormer(network.config.model_copy(update={"frames": 4})).eval()
    report = load_pretrained(network, tmp_path / "modules.pth")
    are_theirs(network, made)
    assert report.layout == "transformers"
    assert report.tower == kind.split()[-1].replace("registers", "DINOv2")
    assert report.loaded | set(report.new) == dict(network.named_parameters()).keys()
    assert ("backbone.embedding.position" in report.new) == (kind == "DINOv3")


def as_original_dino(state: dict[str, Tensor], *, version: int) -> dict[str, Tensor]:
    """transformers' modules under the names of DINOv2's or DINOv3's authors."""
    names = {
        "model.layer.": "blocks.",
        "encoder.layer.": "blocks.",
        "embeddings.patch_embeddings.projection": "patch_embed.proj",
        "embeddings.patch_embeddings": "patch_embed.proj",
        "embeddings.register_tokens": "storage_tokens" if version == 3 else "register_tokens",
        "embeddings.position_embeddings": "pos_embed",
        "embeddings.": "",
        "attention.o_proj": "attn.proj",
        "layer_scale1.lambda1": "ls1.gamma",
        "layer_scale2.lambda1": "ls2.gamma",
        "mlp.up_proj": "mlp.fc1",
        "mlp.down_proj": "mlp.fc2",
        "layernorm.": "norm.",
    }
    parts: dict[str, dict[str, Tensor]] = {}
    out: dict[str, Tensor] = {}
    for key, tensor in state.items():
        for theirs, original in names.items():
            key = key.replace(theirs, original)
        block, separate, rest = key.partition(".attention.")
        if separate:
            part, kind = rest.split(".")
            parts.setdefault(f"{block}.attn.qkv.{kind}", {})[part[0]] = tensor
        else:
            out[key] = tensor
    for key, qkv in parts.items():
        width = len(qkv["q"])
        # A stray key bias, which the mask of DINOv3's authors takes out.
        out[key] = torch.cat([qkv["q"], qkv.get("k", torch.full((width,), 9.0)), qkv["v"]])
        if version == 3 and key.endswith("bias"):
            mask = torch.ones(3 * width)
            mask[width : 2 * width] = 0
            out[f"{key}_mask"] = mask
    if version == 3:
        out["rope_embed.periods"] = torch.ones(16)
    return out


@pytest.mark.parametrize("kind", ["DINOv2", "DINOv2 with registers", "DINOv3"])
def test_features_are_those_of_the_original_dino(tmp_path: Path, kind: str) -> None:
    made = of_transformers(kind)
    state = as_original_dino(made.state_dict(), version=3 if kind == "DINOv3" else 2)
    torch.save(state, tmp_path / "dino.pth")
    network = fitted(tmp_path / "dino.pth")
    are_theirs(network, made)


def as_original_clip(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """transformers' modules under the names of OpenAI's CLIP, half precision, text tower too."""
    names = {
        "vision_model.": "",
        "encoder.layers.": "transformer.resblocks.",
        "embeddings.class_embedding": "class_embedding",
        "embeddings.position_embedding.weight": "positional_embedding",
        "embeddings.patch_embedding": "conv1",
        "pre_layrnorm": "ln_pre",
        "post_layernorm": "ln_post",
        "layer_norm": "ln_",
        "self_attn.out_proj": "attn.out_proj",
        "mlp.fc1": "mlp.c_fc",
        "mlp.fc2": "mlp.c_proj",
    }
    out: dict[str, Tensor] = {
        "positional_embedding": torch.zeros(7, 32),
        "logit_scale": torch.zeros(()),
        "transformer.resblocks.0.ln_1.weight": torch.zeros(32),
        "visual.proj": torch.zeros(WIDTH, 32),
    }
    parts: dict[str, list[Tensor]] = {}
    for key, tensor in state.items():
        if key.endswith("position_ids"):
            continue
        for theirs, original in names.items():
            key = key.replace(theirs, original)
        block, separate, rest = key.partition(".self_attn.")
        if separate:
            part, kind = rest.split(".")
            number = "qkv".index(part[0])
            held = parts.setdefault(f"visual.{block}.attn.in_proj_{kind}", [tensor] * 3)
            held[number] = tensor
        else:
            out[f"visual.{key}"] = tensor
    return out | {key: torch.cat(held) for key, held in parts.items()}


def test_features_are_those_of_the_original_clip(tmp_path: Path) -> None:
    made = of_transformers("CLIP")
    state = as_original_clip(made.state_dict())
    torch.save({"state_dict": state}, tmp_path / "clip.pt")
    network = fitted(tmp_path / "clip.pt")
    are_theirs(network, made)
    assert load_pretrained(network, tmp_path / "clip.pt").ignored == (
        "logit_scale",
        "positional_embedding",
        "transformer.resblocks.0.ln_1.weight",
        "visual.proj",
    )


class PerceptionEncoder(nn.Module):
    """PE's image tower: CLIP's with GELU, learned and rotary positions (Bolya et al. 2025).

    Neighbouring channels turn as one complex number: those of the first half of a head by the
    patch's column, the others by its row, counted from 1; the class token stands at (0, 0).
    """

    def __init__(self) -> None:
        super().__init__()
        side = SIDE // PATCH
        shapes = {
            "class_embedding": (WIDTH,),
            "positional_embedding": (1 + side**2, WIDTH),
            "conv1.weight": (WIDTH, 3, PATCH, PATCH),
            **{f"{norm}.{kind}": (WIDTH,) for norm in ("ln_pre", "ln_post") for kind in KIND},
        }
        for i in range(DEPTH):
            block = f"transformer.resblocks.{i}"
            shapes |= {f"{block}.{ln}.{kind}": (WIDTH,) for ln in ("ln_1", "ln_2") for kind in KIND}
            shapes |= {
                f"{block}.attn.in_proj_weight": (3 * WIDTH, WIDTH),
                f"{block}.attn.in_proj_bias": (3 * WIDTH,),
                f"{block}.attn.out_proj.weight": (WIDTH, WIDTH),
                f"{block}.attn.out_proj.bias": (WIDTH,),
                f"{block}.mlp.c_fc.weight": (320, WIDTH),
                f"{block}.mlp.c_fc.bias": (320,),
                f"{block}.mlp.c_proj.weight": (WIDTH, 320),
                f"{block}.mlp.c_proj.bias": (WIDTH,),
            }
        g = torch.Generator().manual_seed(3)
        self.state = {name: 0.15 * torch.randn(s, generator=g) for name, s in shapes.items()}

    def forward(self, x: Tensor) -> Tensor:
        w = self.state
        grid = x.shape[-1] // PATCH
        x = F.conv2d(x, w["conv1.weight"], stride=PATCH).flatten(2).transpose(1, 2)
        x = torch.cat([w["class_embedding"].expand(len(x), 1, WIDTH), x], dim=1)
        place, token = w["positional_embedding"][1:], w["positional_embedding"][:1]
        side = int(len(place) ** 0.5)
        if side != grid:
            place_dyx = place.T.reshape(1, WIDTH, side, side)
            place_dyx = F.interpolate(place_dyx, (grid, grid), mode="bilinear", align_corners=False)
            place = place_dyx.flatten(2)[0].T
        x = self.norm(x + torch.cat([token, place]), "ln_pre")
        for i in range(DEPTH):
            block = f"transformer.resblocks.{i}"
            y = self.norm(x, f"{block}.ln_1")
            qkv = F.linear(y, w[f"{block}.attn.in_proj_weight"], w[f"{block}.attn.in_proj_bias"])
            q, k, v = (
                rearrange(part, "r l (h c) -> r h l c", h=HEADS) for part in qkv.chunk(3, -1)
            )
            y = F.scaled_dot_product_attention(self.turn(q, grid), self.turn(k, grid), v)
            y = y.transpose(1, 2).flatten(2)
            x = x + F.linear(
                y, w[f"{block}.attn.out_proj.weight"], w[f"{block}.attn.out_proj.bias"]
            )
            y = self.norm(x, f"{block}.ln_2")
            y = F.gelu(F.linear(y, w[f"{block}.mlp.c_fc.weight"], w[f"{block}.mlp.c_fc.bias"]))
            x = x + F.linear(y, w[f"{block}.mlp.c_proj.weight"], w[f"{block}.mlp.c_proj.bias"])
        return self.norm(x, "ln_post")

    def norm(self, x: Tensor, name: str) -> Tensor:
        weight, bias = self.state[f"{name}.weight"], self.state[f"{name}.bias"]
        return F.layer_norm(x, (WIDTH,), 1 + weight, bias, 1e-5)

    def published(self) -> dict[str, Tensor]:
        """The names in its files, with parts that belong to its text and its pooling."""
        norms = {n for n in self.state if ".weight" in n and n.split(".")[-2].startswith("ln_")}
        state = {f"visual.{n}": t + 1 if n in norms else t for n, t in self.state.items()}
        text = {"positional_embedding": torch.zeros(9, 32), "logit_scale": torch.zeros(())}
        return state | text | {"visual.attn_pool.probe": torch.zeros(1, 1, WIDTH)}

    @staticmethod
    def turn(x: Tensor, grid: int) -> Tensor:
        speed = 10000.0 ** (-torch.arange(16) / 16)
        number = torch.arange(grid) + 1
        columns = number.repeat(grid)[:, None] * speed
        rows = number.repeat_interleave(grid)[:, None] * speed
        angle = torch.cat([torch.zeros(1, 32), torch.cat([columns, rows], dim=1)])
        pairs = torch.view_as_complex(
            rearrange(x, "r h l (i two) -> r h l i two", two=2).contiguous()
        )
        return torch.view_as_real(pairs * torch.polar(torch.ones_like(angle), angle)).flatten(-2)


KIND = ("weight", "bias")


@pytest.mark.parametrize("side", [SIDE, SIDE - 16])
def test_features_are_those_of_pe_in_its_size_and_in_another(tmp_path: Path, side: int) -> None:
    made = PerceptionEncoder()
    torch.save(made.published(), tmp_path / "pe.pt")
    base = ModelConfig(image_size=side, patch_size=PATCH, frames=1)
    network = build_fakestormer(sizes_of(base, tmp_path / "pe.pt")).eval()
    report = load_pretrained(network, tmp_path / "pe.pt")
    assert (report.tower, report.layout) == ("PE", "original")
    are_theirs(network, made)


def test_sizes_are_those_of_the_file(tmp_path: Path) -> None:
    made = of_transformers("DINOv3")
    made.save_pretrained(tmp_path)
    sizes = sizes_of(ModelConfig(image_size=SIDE, patch_size=PATCH), tmp_path / "model.safetensors")
    assert (sizes.width, sizes.depth, sizes.heads, sizes.patch_size) == (WIDTH, DEPTH, HEADS, PATCH)
    assert (sizes.mlp_ratio, sizes.norm_eps, sizes.registers) == (2.5, 1e-5, 4)
    assert (sizes.pre_norm, sizes.activation, sizes.rotary) == (False, "gelu", "frame")
    config = tmp_path / "config.json"
    document = json.loads(config.read_text())
    config.write_text(json.dumps(document | {"num_attention_heads": 4}))
    assert (
        sizes_of(
            ModelConfig(image_size=SIDE, patch_size=PATCH), tmp_path / "model.safetensors"
        ).heads
        == 4
    )
    with pytest.raises(ValueError, match=r"model\.safetensors: does not fit.*multiple of patch"):
        sizes_of(ModelConfig(image_size=44, patch_size=4), tmp_path / "model.safetensors")
    config.write_text("{")
    with pytest.raises(ValueError, match=r"config\.json: is not readable as the description"):
        sizes_of(ModelConfig(image_size=SIDE, patch_size=PATCH), tmp_path / "model.safetensors")


def test_what_does_not_fit_says_why(tmp_path: Path) -> None:
    state = as_original_dino(of_transformers("DINOv3").state_dict(), version=3)
    path = tmp_path / "dinov3.pth"
    torch.save(state, path)
    turned = sizes_of(ModelConfig(image_size=SIDE, patch_size=PATCH), path)
    unturned = build_fakestormer(turned.model_copy(update={"rotary": "none"}))
    before = {name: tensor.clone() for name, tensor in unturned.state_dict().items()}
    with pytest.raises(ValueError, match=r"DINOv3 has rotary positions 'frame': set model\.rotary"):
        load_pretrained(unturned, path)
    assert all(torch.equal(t, before[name]) for name, t in unturned.state_dict().items())

    gated = {name.replace("mlp.fc1", "mlp.w12"): tensor for name, tensor in state.items()}
    torch.save(gated, path)
    with pytest.raises(ValueError, match=r"no plain MLP .the giant sizes gate theirs"):
        sizes_of(ModelConfig(image_size=SIDE, patch_size=PATCH), path)


def test_a_scripted_file_says_how_to_save_its_tensors(tmp_path: Path) -> None:
    path = tmp_path / "ViT-L-14.pt"
    program: Any = torch.jit.script(nn.Linear(2, 2))
    program.save(str(path))
    with pytest.raises(ValueError, match=r"ViT-L-14\.pt: is a program .TorchScript.*state_dict"):
        sizes_of(ModelConfig(), path)


@pytest.mark.parametrize("change", ["position", "registers"])
def test_the_comparison_would_see_a_difference(tmp_path: Path, change: str) -> None:
    made = of_transformers("DINOv2 with registers")
    made.save_pretrained(tmp_path)
    network = fitted(tmp_path / "model.safetensors")
    with torch.no_grad():
        network.get_parameter(f"backbone.embedding.{change}").view(-1)[0] += 1e-2
    with pytest.raises(AssertionError, match="not close"):
        are_theirs(network, made)


def test_what_foundation_weights_need_is_kept_and_loaded(tmp_path: Path) -> None:
    config = ModelConfig(
        image_size=32, patch_size=8, width=16, depth=2, heads=2, registers=2, pre_norm=True,
        activation="quick_gelu", rotary="grid", tokens="averaged",
    )  # fmt: skip
    torch.manual_seed(0)
    network = build_fakestormer(config)
    save_weights(network, tmp_path / "w.safetensors")
    out = network(torch.randint(0, 256, (2, 4, 3, 32, 32), dtype=torch.uint8))
    assert out.derivative is not None
    assert out.frame_logits is not None
    (out.logit.sum() + out.derivative.square().sum() + out.frame_logits.sum()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    features = network.features(torch.zeros(1, 4, 3, 32, 32), with_attention=True)
    assert features.spatial_attention is not None
    assert features.spatial_attention.shape == (1, 4, 2, 4, 4)
