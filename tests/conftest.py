"""Fixtures that every room's tests share."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from xdist.scheduler import LoadScopeScheduling

from fakestormer.model.fakestormer import build_fakestormer
from fakestormer.model.model_file import save_model
from fakestormer.parallel.threads import use_threads
from fakestormer.recipe.model import ModelConfig
from fakestormer.recipe.named import tiny
from fakestormer.recipe.recipe import Recipe

# Before any test imports it: ONNX Runtime reports to its makers unless it is told not to.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

ROOT = Path(__file__).resolve().parents[1]

# The makers of videos and of stores, for every room (pyproject puts tests/ on the path).
pytest_plugins = [
    "exported_models",
    "object_stores",
    "ray_nodes",
    "report_fixtures",
    "store_fixtures",
    "video_fixtures",
]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """GPU tests run only when asked for, by marker or by name; then they fail without a GPU.

    Files that take long come first, so that processes which share the tests end together.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path.name not in TOGETHER, item.path not in slow))
    asked = "gpu" in (config.option.markexpr or "") or any("gpu" in arg for arg in config.args)
    if asked:
        return
    gpu = [item for item in items if item.get_closest_marker("gpu")]
    if gpu:
        config.hook.pytest_deselected(items=gpu)
        items[:] = [item for item in items if not item.get_closest_marker("gpu")]


#: Files that one process tests. Ray clusters on one machine get into each other's way, and the tour
#: and the other miniatures are made of the same films; the others read the same exported models.
TOGETHER = {
    "test_cluster.py": "Ray and miniatures",
    "test_on_a_cluster.py": "Ray and miniatures",
    "test_tour.py": "Ray and miniatures",
    "test_examples.py": "Ray and miniatures",
    "test_miniatures.py": "Ray and miniatures",
    "test_export.py": "exports",
    "test_engines.py": "exports",
}


class _Files(LoadScopeScheduling):
    """Processes that share the tests take whole files, or the files that are tested TOGETHER."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::")[0]
        return TOGETHER.get(Path(file).name, file)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _Files:
    return _Files(config, log)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Small tensors: threads cost more than they bring, and results do not depend on them."""
    use_threads(1)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the development data (real/, full/, reference/, ...); skips where it is absent."""
    folder = Path(os.environ.get("FAKESTORMER_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "clips.csv").is_file():
        pytest.skip(f"no development data at {folder}; set FAKESTORMER_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def untrained_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a very small model with random weights: it says something, not anything right."""
    recipe: Recipe = tiny().model_copy(
        update={
            "name": "untrained",
            "model": ModelConfig(image_size=64, patch_size=16, width=32, depth=1, heads=2),
        }
    )
    torch.manual_seed(0)
    network = build_fakestormer(recipe.model)
    # As built, the temporal layers end in zeros and f hears nothing of its clip.
    for block in network.backbone.blocks:
        nn.init.normal_(block.temporal_linear.weight, std=0.5)
    network.f.linear.weight.data.mul_(40)
    folder = tmp_path_factory.mktemp("untrained")
    save_model(folder, network, recipe.model_dump(mode="json"), {})
    return folder


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluations write one pixel in the place of each plot: plots take most of a small one's time.

    tests/evaluation/test_plots.py, the commands' tests and the tour draw them.
    """
    from fakestormer.evaluation import plots

    pixel = base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAG7buVgAAAABJRU5ErkJggg=="
    )

    def write_pixel(path: Path, draw: object, title: str) -> bytes:
        path.write_bytes(pixel)
        return pixel

    monkeypatch.setattr(plots, "write_figure", write_pixel)
