"""Whole runs as typed values: everything a training and its predictions depend on, by name.

    recipe = tiny()
    recipe = override(recipe, ["training.epochs=3", "model.frames=8"])

A recipe is stored as JSON beside the weights, and `Detector` reads it back.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from fakestormer.errors import InputError, first_complaint
from fakestormer.recipe.faces import CropConfig, StoredTracking, TrackingConfig
from fakestormer.recipe.model import ModelConfig
from fakestormer.recipe.old_files import new_name
from fakestormer.recipe.prediction import PredictionConfig
from fakestormer.recipe.synthesis import SynthesisConfig
from fakestormer.recipe.training import TrainingConfig


class Recipe(BaseModel):
    """A whole run. Each part is documented where it is used."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    tracking: StoredTracking = TrackingConfig()
    crop: CropConfig = CropConfig()
    synthesis: SynthesisConfig = SynthesisConfig()
    model: ModelConfig
    training: TrainingConfig
    prediction: PredictionConfig = PredictionConfig()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.training.fakes == "videos" and self.model.branches:
            raise ValueError(
                "training.fakes 'videos' trains f alone, because nobody knows the boundary of a "
                "fake video: set model.branches=[]"
            )
        if self.training.fake_methods and self.training.fakes != "videos":
            raise ValueError("training.fake_methods needs training.fakes=videos")
        return self


def difference(one: Recipe, other: Recipe) -> dict[str, tuple[Any, Any]]:
    """{"training.epochs": (100, 200)}: fields in which two recipes differ, JSON-able; not names."""
    differing = differences(one.model_dump(mode="json"), other.model_dump(mode="json"))
    return {field: values for field, values in differing.items() if field != "name"}


def read_recipe(path: Path) -> Recipe:
    """The recipe in a model's JSON; fields that an older one lacks have their defaults.

    Raises InputError where there is none.
    """
    try:
        return Recipe.model_validate(json.loads(path.read_text(encoding="utf-8"))["recipe"])
    except ValidationError as error:
        field, reason = first_complaint(error)
        raise InputError(
            f"{path}: its recipe does not fit this program ({field}: {reason})"
        ) from error
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: holds no recipe ({error}); name the .json beside a model's weights"
        ) from error


def override(recipe: Recipe, assignments: Sequence[str]) -> Recipe:
    """Replace fields by dotted name: ["training.epochs=3", "synthesis.mode=frame-wise"].

    Values are read as JSON where they are JSON, else as plain text, and checked like the recipe
    itself. Raises ValueError naming the field that does not exist or does not take the value.
    """
    document: dict[str, Any] = recipe.model_dump(mode="json")
    for assignment in assignments:
        dotted, equals, text = assignment.partition("=")
        if not equals:
            raise ValueError(f"'{assignment}': expected FIELD=VALUE, e.g. training.epochs=3")
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = text
        *parents, leaf = dotted.split(".")
        node: Any = document
        for parent in parents:
            node = node.get(parent) if isinstance(node, dict) else None
        moved_to = new_name(dotted)
        if moved_to is not None:
            raise ValueError(f"'{dotted}': this field is now called {moved_to}")
        if not isinstance(node, dict) or leaf not in node:
            raise ValueError(
                f"'{dotted}': recipe {recipe.name} has no such field; "
                f"`fakestormer recipe {recipe.name}` prints them all"
            )
        node[leaf] = value
    try:
        return Recipe.model_validate(document)
    except ValidationError as error:
        field, reason = first_complaint(error)
        value = error.errors()[0]["input"]
        # An error of a whole part would print the whole part.
        got = "" if isinstance(value, dict) else f" (got {value!r})"
        raise ValueError(f"'{field}': {reason}{got}") from error


def differences(before: Any, now: Any, path: str = "") -> dict[str, tuple[Any, Any]]:
    """{"training.epochs": (100, 200)}: the fields in which two JSON documents differ, by name.

    A field that one of the two lacks counts as None there.
    """
    if isinstance(before, dict) and isinstance(now, dict):
        differing: dict[str, tuple[Any, Any]] = {}
        for name in sorted(before.keys() | now.keys()):
            field = f"{path}.{name}" if path else name
            differing |= differences(before.get(name), now.get(name), field)
        return differing
    return {} if before == now else {path: (before, now)}
