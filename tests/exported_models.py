"""Small models of every architecture, exported once for all tests that read exports."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from fakestormer.model.build import build
from fakestormer.model.model_file import load_model, save_model
from fakestormer.model.network import VideoNetwork
from fakestormer.recipe.model import ModelConfig
from fakestormer.recipe.named import tiny

if TYPE_CHECKING:
    from fakestormer.tools.export import Exported

SMALLEST: dict[str, object] = {
    "image_size": 16, "patch_size": 8, "frames": 3, "width": 16, "depth": 1, "heads": 2,
}  # fmt: skip
# Every architecture is in these; exporting one takes seconds. The models of test_engines.py have
# several blocks, and a plain stem.
CASES: dict[str, dict[str, object]] = {
    "fakestormer": {"stem": "deep"},
    "release": {"architecture": "release", "tokens": "averaged", "frames": 4},
    "timesformer": {"architecture": "timesformer", "branches": []},
    # Any narrower, and one dead channel ends it.
    "resnet3d": {"architecture": "resnet3d", "branches": [], "width": 96},
}
MORE: dict[str, dict[str, object]] = {
    # And all that published image towers need.
    "h alone": {
        "tokens": "averaged", "branches": ["h"], "stem": "patch", "registers": 2, "pre_norm": True,
        "activation": "quick_gelu", "rotary": "frame",
    },
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A model, its exports read back, and what `export` said of them."""

    name: str
    folder: Path
    network: VideoNetwork
    session: Any
    module: nn.Module
    pt2_metadata: dict[str, Any]
    results: tuple[Exported, ...]


def stirred(config: ModelConfig) -> VideoNetwork:
    """A network none of whose numbers is at a special value, and whose outputs are not tiny."""
    torch.manual_seed(0)
    network = build(config).eval()
    with torch.no_grad():
        for p in network.parameters():
            inputs = p[0].numel() if p.ndim > 1 else 16
            p.add_(torch.randn_like(p) * inputs**-0.5)
        for name, b in network.named_buffers():
            if name.endswith("running_mean"):
                b.normal_()
            elif name.endswith("running_var"):
                b.uniform_(0.5, 2)
    return network


@pytest.fixture(scope="session")
def exported_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Case]:
    """exported_model(name): that model of CASES or MORE; each is exported once a session."""

    @functools.cache
    def make(name: str) -> Case:
        import onnxruntime

        from fakestormer.tools.export import PT2_METADATA, export

        config = ModelConfig.model_validate(SMALLEST | (CASES | MORE)[name])
        folder = tmp_path_factory.mktemp("exported") / "named"
        recipe = tiny().model_copy(update={"model": config})
        licence = "not for all" if name == "release" else None
        save_model(
            folder, stirred(config), recipe.model_dump(mode="json"), {},
            licence=licence, face_backend="blazeface",
        )  # fmt: skip
        results = export(folder, onnx=folder / "m.onnx", pt2=folder / "m.pt2")
        inside: dict[str, Any] = {PT2_METADATA: ""}
        return Case(
            name=name,
            folder=folder,
            network=load_model(folder)[0],
            session=onnxruntime.InferenceSession(
                str(folder / "m.onnx"), providers=["CPUExecutionProvider"]
            ),
            module=torch.export.load(folder / "m.pt2", extra_files=inside).module(),
            pt2_metadata=json.loads(inside[PT2_METADATA]),
            results=results,
        )

    return make
