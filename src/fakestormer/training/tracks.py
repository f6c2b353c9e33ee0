"""Which tracks of a store a recipe trains on and is chosen by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fakestormer.data.loaders import ClipPlan
from fakestormer.data.manifest import Row, Split, read_manifest, read_settings, tracks_of
from fakestormer.data.remake import require_crops
from fakestormer.errors import InputError
from fakestormer.recipe.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracks:
    """training: real tracks. fakes: fake ones to pair them with, none where pseudo-fakes are made.
    validation: held-out tracks, fake ones too where there are fakes. face_backend: found the faces.
    trained_on: "dataset" and "compression" of the store, for the model's JSON.
    """

    training: tuple[Row, ...]
    fakes: tuple[Row, ...]
    validation: tuple[Row, ...]
    face_backend: str
    trained_on: Mapping[str, str]


def clip_plan(recipe: Recipe, tracks: Tracks) -> ClipPlan:
    """Which clips of the training tracks a run of this recipe shows."""
    config = recipe.training
    return ClipPlan(
        [row.frames for row in tracks.training],
        clip_length=recipe.model.frames,
        pairs=config.pairs,
        clips_per_track=config.clips_per_track,
        seed=config.seed,
        epochs=config.epochs,
    )


def choose_tracks(recipe: Recipe, store: Path) -> Tracks:
    """The tracks of at least T frames; never any of a test split.

    Raises InputError for a store made with another crop or tracking, without training tracks,
    without the fake ones that the recipe wants, or with test tracks where validation ones belong.
    """
    settings = read_settings(store)
    require_crops(store, recipe.crop, recipe.tracking)
    rows = tuple(row for row in read_manifest(store) if row.frames >= recipe.model.frames)
    training, validation = tracks_of(rows, "train"), tracks_of(rows, "validation")
    if not training:
        raise InputError(f"{store}: no training track has {recipe.model.frames} frames or more")
    fakes: tuple[Row, ...] = ()
    if recipe.training.fakes == "videos":
        fakes = _fakes(store, rows, "train", recipe)
        validation += _fakes(store, rows, "validation", recipe)
    if not validation and tracks_of(rows, "test"):
        raise InputError(
            f"{store}: has test videos but none held out for validation; a model is never chosen "
            "on a test split: prepare again with videos held out for validation"
        )
    return Tracks(
        training=training,
        fakes=fakes,
        validation=validation,
        face_backend=settings.backend,
        trained_on={"dataset": settings.dataset, "compression": settings.compression},
    )


def _fakes(store: Path, rows: tuple[Row, ...], split: Split, recipe: Recipe) -> tuple[Row, ...]:
    """The fake tracks of a split that the recipe wants."""
    methods = recipe.training.fake_methods
    fakes = tracks_of(rows, split, "fake")
    chosen = tuple(row for row in fakes if not methods or row.method in methods)
    if not chosen:
        known = sorted({row.method or "not named" for row in rows if row.label == "fake"})
        raise InputError(
            f"{store}: no fake {split} track"
            + (f" made by {', '.join(methods)}" if methods else "")
            + f" (methods there: {', '.join(known) or 'none'}); prepare fake videos into it, or "
            "train on pseudo-fakes"
        )
    return chosen
