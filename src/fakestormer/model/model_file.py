"""Models on disk: safetensors for numbers, JSON for everything else.

    model.safetensors    the weights
    model.json           recipe, metrics, calibration, and the SHA-256 of the weights

Nothing is unpickled, so a file from a stranger can be wrong but not run code.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fakestormer.errors import InputError
from fakestormer.files import sha256_of
from fakestormer.model.build import build
from fakestormer.model.document import FORMAT, code_version, read_document, weights_path, write_json
from fakestormer.model.network import VideoNetwork
from fakestormer.model.weights import load_weights, save_weights
from fakestormer.recipe.model import ModelConfig


def save_model(
    path: str | Path,
    network: VideoNetwork,
    recipe_json: Mapping[str, Any],
    metrics: Mapping[str, Any],
    *,
    face_backend: str | None = None,
    trained_on: Mapping[str, str] | None = None,
    licence: str | None = None,
) -> Path:
    """Write a model for `load_model`: `path` is a folder, or the `.safetensors` file itself.

    recipe_json: the whole recipe, JSON-able, with the network's configuration under "model".
    metrics: JSON-able, what is known about its quality. face_backend: name of the one that found
    the training faces, None where unknown. trained_on: "dataset" and "compression" of the training
    videos, as their store has them. licence: of weights that are not ours, kept in the JSON.
    Returns the path of the weights. Each file replaces an older one only when it is complete; the
    JSON holds the hash of its weights.
    """
    weights = weights_path(Path(path))
    weights.parent.mkdir(parents=True, exist_ok=True)
    save_weights(network, weights)
    document = {
        "format": FORMAT,
        "recipe": dict(recipe_json),
        "metrics": dict(metrics),
        "face_backend": face_backend,
        "trained_on": None if trained_on is None else dict(trained_on),
        "code": code_version(),
        "weights_sha256": sha256_of(weights),
    }
    if licence is not None:
        document["licence"] = licence
    write_json(weights.with_suffix(".json"), document)
    return weights


def load_model(path: str | Path) -> tuple[VideoNetwork, dict[str, Any]]:
    """The network, in evaluation mode on the CPU, and the document that `save_model` wrote.

    Raises InputError when one of the two files is missing, when the weights are not those the
    document was written for, or when they do not fit its configuration.
    """
    weights = weights_path(Path(path))
    document = read_document(weights)
    try:
        config = ModelConfig.model_validate(document["recipe"]["model"])
    except (KeyError, TypeError, ValidationError) as error:
        raise InputError(
            f"{weights.with_suffix('.json')}: holds no usable network configuration ({error})"
        ) from error
    network = build(config)
    load_weights(network, weights)
    return network.eval(), document
