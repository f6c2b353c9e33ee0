"""Where a run begins: at nothing, at pre-trained weights, or at its last checkpoint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fakestormer.errors import InputError, first_complaint
from fakestormer.model.document import is_model
from fakestormer.model.model_file import load_model
from fakestormer.model.network import VideoNetwork
from fakestormer.model.towers import sizes_of
from fakestormer.model.weights import load_pretrained, load_stem, start_from
from fakestormer.recipe.model import ModelConfig
from fakestormer.recipe.recipe import Recipe, differences
from fakestormer.training.checkpoint import RunState, read_state
from fakestormer.training.tracks import Tracks

#: Fields that may change when a run goes on: another number of processes may want other parts.
FREE = frozenset(
    ("training.accumulate", "training.checkpoint_every", "training.checkpoint_minutes")
)


def sized(recipe: Recipe, initial_weights: str | Path | None) -> Recipe:
    """The recipe with a network of the sizes of the starting weights, where it asks for them.

    Raises InputError where there are none to ask, and for a file that is no image tower.
    """
    if recipe.training.sizes_from == "recipe":
        return recipe
    if initial_weights is None:
        raise InputError(
            f"recipe {recipe.name} takes the sizes of its network from pre-trained weights "
            "(training.sizes_from): name their file with --weights"
        )
    if is_model(initial_weights):
        model = ModelConfig.model_validate(load_model(initial_weights)[1]["recipe"]["model"])
    else:
        model = sizes_of(recipe.model, Path(initial_weights))
    training = recipe.training.model_copy(update={"sizes_from": "recipe"})
    return recipe.model_copy(update={"model": model, "training": training})


def fresh_state(
    network: VideoNetwork, tracks: Tracks, fingerprint: str, *, initial_weights: str | Path | None
) -> RunState:
    """The state of a run that has not begun; loads pre-trained weights where there are some.

    fingerprint: of the validation set. initial_weights: an image model (see `load_pretrained`), or
    a model of ours, which the run then trains further, all of it from the first epoch on. That one
    may have another T or other heads beside f: the time embedding is interpolated, heads that it
    lacks start anew. Without, an EfficientNet stem starts from ImageNet's weights where the recipe
    says so (`pretrained_stem`). Raises InputError as `load_pretrained` and `load_model` do, and for
    a model of another network; SetupError where ImageNet's weights are not installed.
    """
    pretrained: frozenset[str] = frozenset()
    if initial_weights is not None and is_model(initial_weights):
        _take_over(network, Path(initial_weights))
    elif initial_weights is not None:
        pretrained = load_pretrained(network, initial_weights).loaded
    else:
        pretrained = load_stem(network)
    return RunState(
        step=0,
        metrics={},
        best={},
        tracks=_hash_of(tracks),
        validation=fingerprint,
        pretrained=tuple(sorted(pretrained)),
    )


def _take_over(network: VideoNetwork, path: Path) -> None:
    """The weights of a model of ours, the same network but for randomness, T and heads beside f."""
    free = {"drop_path": 0.0, "head_dropout": 0.0, "frames": 1, "branches": ()}
    model, _ = load_model(path)
    changed = differences(
        model.config.model_copy(update=free).model_dump(mode="json"),
        network.config.model_copy(update=free).model_dump(mode="json"),
    )
    if changed:
        raise InputError(
            f"{path}: is another network than the recipe's (they differ in "
            f"{', '.join(f'model.{name}' for name in changed)}); train it further with its own"
        )
    start_from(network, model)


def resumed_state(
    last: Path, recipe: Recipe, store: Path, tracks: Tracks, fingerprint: str
) -> RunState:
    """The state of the checkpoint `last`, checked: the run must be the same one.

    Fields that the recipe of an older checkpoint lacks count as their defaults. Raises InputError
    for a checkpoint that is missing or damaged, and for another recipe, other training tracks or
    another validation set than it was written with.
    """
    state, recipe_json = read_state(last)
    changed = _changed(last, recipe_json, recipe)
    if changed:
        raise InputError(
            f"{last}: was made by a recipe that differs in {', '.join(changed)}; resume with the "
            "same recipe, or start a new run"
        )
    if state.tracks != _hash_of(tracks):
        raise InputError(f"{store}: its training tracks have changed since {last} was written")
    if state.validation != fingerprint:
        raise InputError(
            f"{store}: gives another validation set than when {last} was written, so its "
            "validation AUCs cannot be compared; start a new run"
        )
    return state


def _changed(last: Path, before: Mapping[str, Any], recipe: Recipe) -> list[str]:
    """Names of the fields that differ and must not."""
    try:
        filled = Recipe.model_validate(before).model_dump(mode="json")
    except ValidationError as error:
        field, reason = first_complaint(error)
        raise InputError(
            f"{last}: its recipe does not fit this program ({field}: {reason}); "
            "go on with the version that wrote it, or start a new run"
        ) from error
    changed = differences(filled, recipe.model_dump(mode="json"))
    return [name for name in changed if name not in FREE]


def _hash_of(tracks: Tracks) -> str:
    rows = (*tracks.training, *tracks.fakes)
    listed = json.dumps([(r.video, r.sha256, r.track, r.frames) for r in rows])
    return hashlib.sha256(listed.encode()).hexdigest()
