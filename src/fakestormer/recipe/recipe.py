"""Whole runs as typed values: everything a training and its predictions depend on, by name.

    recipe = tiny()
    recipe = override(recipe, ["training.epochs=3", "model.frames=8"])

A recipe is stored as JSON beside the weights, and `Detector.load` reads it back.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from fakestormer.detection.prediction import PredictionConfig
from fakestormer.errors import InputError
from fakestormer.faces.crop import CropConfig
from fakestormer.faces.tracking import TrackingConfig
from fakestormer.recipe import model as model_config
from fakestormer.recipe.model import ModelConfig
from fakestormer.recipe.training import TrainingConfig, differences
from fakestormer.synthesis.render import SynthesisConfig
from fakestormer.training.losses import LossConfig


class Recipe(BaseModel):
    """A whole run. Each part is documented where it is used."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    tracking: TrackingConfig = TrackingConfig()
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


def paper() -> Recipe:
    """The paper's text: ViT-B/16, 100 epochs, batch 32, SAM, per-frame boxes, first 32 frames."""
    return Recipe(
        name="paper",
        crop=CropConfig(smooth_frames=0),
        model=model_config.base(),
        training=TrainingConfig(),
        prediction=PredictionConfig(sampling="consecutive"),
    )


def release() -> Recipe:
    """The authors' released training set-up, as far as it is known (method.md).

    200 epochs, batch 64, warm-up to 5e-5, averaged tokens, patch vulnerability by linear resizing,
    spread frames, mean of logits, the halved MSE and the temperature of 2. Its network for the
    authors' own weights is another matter and not part of this recipe.
    """
    return Recipe(
        name="release",
        crop=CropConfig(smooth_frames=0, enlarge=1.5),
        synthesis=SynthesisConfig(pooling="linear", cutout_weaker_patch=True),
        model=model_config.base().model_copy(update={"tokens": "averaged"}),
        training=TrainingConfig(
            epochs=200,
            batch_size=64,
            learning_rate=5e-5,
            betas=(0.9, 0.995),
            schedule="release",
            loss=LossConfig(mse_factor=0.5, temperature=2.0),
        ),
        prediction=PredictionConfig(sampling="spread", pooling="logit"),
    )


def small() -> Recipe:
    """ViT-S from scratch or from your own weights, for one GPU."""
    return Recipe(
        name="small",
        model=model_config.small(),
        training=TrainingConfig(learning_rate=1e-4, schedule="release", freeze_epochs=0),
    )


def tiny() -> Recipe:
    """Trains from scratch on two CPU cores in minutes; what `make demo` uses.

    Besides size, three things differ from the method (docs/decisions.md 15): a convolutional stem,
    no SAM, whose second pass would halve the steps that a few minutes allow, and lambda_h = 1
    instead of 100, so that f's gradient is not a hundredth of h's.
    """
    return Recipe(
        name="tiny",
        model=model_config.tiny(),
        training=TrainingConfig(
            epochs=5,
            batch_size=16,
            learning_rate=1e-3,
            freeze_epochs=0,
            sam_rho=0.0,
            optimizer="adamw",
            betas=(0.9, 0.99),
            weight_decay=0.01,
            loss=LossConfig(lambda_h=1.0),
            validation_clips=2,
        ),
    )


#: Every recipe by the name the command line knows it under.
RECIPES: Mapping[str, Callable[[], Recipe]] = {
    "paper": paper,
    "release": release,
    "small": small,
    "tiny": tiny,
}


def difference(one: Recipe, other: Recipe) -> dict[str, tuple[Any, Any]]:
    """{"training.epochs": (100, 200)}: fields in which two recipes differ, JSON-able; not names."""
    found = differences(one.model_dump(mode="json"), other.model_dump(mode="json"))
    return {field: values for field, values in found.items() if field != "name"}


def read_recipe(path: Path) -> Recipe:
    """The recipe in a model's JSON; fields that an older one lacks have their defaults.

    Raises InputError where there is none.
    """
    try:
        return Recipe.model_validate(json.loads(path.read_text(encoding="utf-8"))["recipe"])
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"{path}: its recipe does not fit this program ({field}: {first['msg']})"
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
        if not isinstance(node, dict) or leaf not in node:
            raise ValueError(
                f"'{dotted}': recipe {recipe.name} has no such field; "
                f"`fakestormer recipe {recipe.name}` prints them all"
            )
        node[leaf] = value
    try:
        return Recipe.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        # An error of a whole part would print the whole part.
        got = "" if isinstance(first["input"], dict) else f" (got {first['input']!r})"
        raise ValueError(f"'{field}': {first['msg']}{got}") from error
