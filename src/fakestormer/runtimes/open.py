"""Which program computes a model's network.

    engine = open_engine(weights, document, recipe.model, device="cpu")

On the CPU that is ONNX Runtime, where `model.onnx` lies beside `model.safetensors` (`fakestormer
export` writes it), and torch otherwise. ONNX Runtime computes the weights that ship in 0.4 of
torch's time, and torch alone takes 1.4 s to import (docs/performance.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fakestormer.errors import needs
from fakestormer.recipe.model import ModelConfig
from fakestormer.runtimes.engine import Engine
from fakestormer.runtimes.onnx_engine import onnx_beside


def open_engine(
    weights: Path, document: Mapping[str, Any], config: ModelConfig, device: str
) -> Engine:
    """The engine for a model.

    weights, document: as `model.document` reads them. device: "cpu", "cuda", ...; torch computes
    wherever there is no .onnx file of these very weights, or the device is another than "cpu".
    Raises InputError when the device cannot be used, or a file is damaged; SetupError when torch is
    needed and not installed.
    """
    if device == "cpu":
        engine = onnx_beside(weights, document["weights_sha256"], config)
        if engine is not None:
            return engine
    why = f"device '{device}'" if device != "cpu" else f"{weights}, which has no .onnx file,"
    # Only here: importing torch takes more than a second, and it need not be installed.
    with needs(why, "fakestormer[torch]"):
        from fakestormer.runtimes.torch_engine import load_engine
    return load_engine(weights, device)
