"""The JSON beside a model's weights, and which file is meant by a model's name; without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fakestormer.errors import InputError, SetupError, first_complaint
from fakestormer.files import sha256_of, write_atomically
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


def is_model(path: str | Path) -> bool:
    """Whether this is a model of ours, weights with their JSON, or the folder that holds one."""
    weights = weights_path(Path(path))
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


def read_document(weights: Path) -> dict[str, Any]:
    """The document that `model_file.save_model` wrote beside a model's weights.

    Raises InputError when one of the two files is missing, when the document is of another format,
    or when the weights are not those it was written for.
    """
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
    return document


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
    return {"fakestormer": version("fakestormer"), "torch": version("torch")}


def weights_path(path: Path) -> Path:
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
