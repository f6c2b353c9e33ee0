from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fakestormer.recipe.recipe import Recipe, override


@pytest.fixture(autouse=True)
def _no_plots(no_plots: None) -> None:
    """Of the rows' evaluations only the numbers are looked at."""


@pytest.fixture(scope="session")
def quick(recipe: Recipe) -> Recipe:
    """Two epochs of two steps each, without SAM."""
    return override(
        recipe, ["training.sam_rho=0", "training.clips_per_track=1", "prediction.frames=8"]
    )


@pytest.fixture(scope="session")
def stores(
    tmp_path_factory: pytest.TempPathFactory, make_store: Callable[..., Path]
) -> dict[str, Path]:
    """train: real videos. fakes: with fake ones by two methods. CDF2, mine: to be tested on."""
    folder = tmp_path_factory.mktemp("stores")
    kinds: dict[str, Any] = {
        "train": {"train": 4, "validation": 2},
        "fakes": {
            "train": 4,
            "validation": 1,
            "fakes": {
                "train": {"Deepfakes": 2, "FaceSwap": 1},
                "validation": {"Deepfakes": 1, "FaceSwap": 1},
            },
        },
        "CDF2": {"test": 3, "fakes": {"test": {"swap": 2, "puppet": 2}}},
        "mine": {"test": 2, "fakes": {"test": {"swap": 2}}},
    }
    return {name: make_store(folder / name, **kind) for name, kind in kinds.items()}
