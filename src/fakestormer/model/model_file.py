"""Models on disk: safetensors for numbers, JSON for everything else.

    model.safetensors    the weights
    model.json           recipe, metrics, calibration, and the SHA-256 of the weights

Nothing is unpickled, so a file from a stranger can be wrong but not run code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from fakestormer.errors import InputError, SetupError, first_complaint
from fakestormer.files import sha256_of, write_atomically
from fakestormer.model.build import build
from fakestormer.model.network import VideoNetwork
from fakestormer.model.weights import load_weights, save_weights
from fakestormer.recipe.model import ModelConfig
from fakestormer.recipe.named import tiny
from fakestormer.recipe.prediction import Calibration
from fakestormer.recipe.recipe import Recipe

#: The model that is taken where none is named; absent in a package without weights.
SHIPPED = Path(__file__).parents[1] / "weights" / "fakestormer-compact.safetensors"
NOTHING_SHIPPED = (
    "this package comes without trained weights: name a model with --model (or FAKESTORMER_MODEL, "
    "or Detector(PATH)), or train one with `fakestormer train VIDEOS --out RUN`"
)
#: Layout of the JSON beside the weights.
FORMAT = 1


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
    weights = _weights_path(Path(path))
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


def is_model(path: str | Path) -> bool:
    """Whether this is a model of ours, weights with their JSON, or the folder that holds one."""
    weights = _weights_path(Path(path))
    described = weights.with_suffix(".json")
    return weights.suffix == ".safetensors" and weights.is_file() and described.is_file()


def weights_file(model: str | Path | None) -> Path:
    """The `.safetensors` file that is meant by a model's name: itself, or in a folder of that name.

    Raises SetupError when None is named and none came with the package.
    """
    if model is None:
        if not SHIPPED.is_file():
            raise SetupError(NOTHING_SHIPPED)
        return SHIPPED
    path = Path(model)
    return path / "model.safetensors" if path.is_dir() else path


def load_model(path: str | Path) -> tuple[VideoNetwork, dict[str, Any]]:
    """The network, in evaluation mode on the CPU, and the document that `save_model` wrote.

    Raises InputError when one of the two files is missing, when the weights are not those the
    document was written for, or when they do not fit its configuration.
    """
    weights = _weights_path(Path(path))
    described = weights.with_suffix(".json")
    for file in (weights, described):
        if not file.is_file():
            raise InputError(
                f"{file}: no such file; a model is a .safetensors file with its .json beside it"
            )
    document = read_json(described)
    if document.get("format") != FORMAT:
        raise InputError(
            f"{described}: format {document.get('format')!r}, this program reads {FORMAT}; use a "
            "model and a program of the same age"
        )
    expected, actual = document.get("weights_sha256"), sha256_of(weights)
    if expected != actual:
        raise InputError(
            f"{weights}: SHA-256 {actual}, but its .json describes weights with {expected}; the "
            "two files belong to different models, or one is damaged"
        )
    try:
        config = ModelConfig.model_validate(document["recipe"]["model"])
    except (KeyError, TypeError, ValidationError) as error:
        raise InputError(f"{described}: holds no usable network configuration ({error})") from error
    network = build(config)
    load_weights(network, weights)
    return network.eval(), document


def recipe_of(document: Mapping[str, Any], weights: Path) -> Recipe:
    """The recipe in a model's document; `weights` names the model in the error.

    Raises InputError when the recipe does not fit this version of the program.
    """
    try:
        return Recipe.model_validate(document["recipe"])
    except ValidationError as error:
        field, reason = first_complaint(error)
        raise InputError(
            f"{weights.with_suffix('.json')}: its recipe does not fit this version of the program "
            f"({field}: {reason}); use the version that trained the model"
        ) from error


def recipe_of_shipped() -> Recipe:
    """The recipe of the weights that come with the package; `tiny` where none do."""
    return (
        recipe_of(read_json(SHIPPED.with_suffix(".json")), SHIPPED) if SHIPPED.is_file() else tiny()
    )


def calibration_of(document: Mapping[str, Any], weights: Path) -> Calibration | None:
    """What `fakestormer calibrate` wrote into a model's document, if it did.

    Raises InputError when it cannot be used; `weights` names the model in the error.
    """
    content = document.get("calibration")
    if content is None:
        return None
    try:
        known = {name: content[name] for name in Calibration.model_fields if name in content}
        return Calibration.model_validate(known)
    except (TypeError, ValidationError) as error:
        reason = first_complaint(error)[1] if isinstance(error, ValidationError) else str(error)
        raise InputError(
            f"{weights.with_suffix('.json')}: its calibration cannot be used ({reason}); run "
            "`fakestormer calibrate` again, or take the entry out"
        ) from error


def code_version() -> dict[str, str]:
    """What made the numbers."""
    return {"fakestormer": version("fakestormer"), "torch": str(torch.__version__)}


def _weights_path(path: Path) -> Path:
    return path if path.suffix == ".safetensors" else path / "model.safetensors"


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    write_atomically(path, (json.dumps(document, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: is not readable as JSON ({error})") from error
    if not isinstance(document, dict):
        raise InputError(f"{path}: expected a JSON object; it is not a description of a model")
    return document
