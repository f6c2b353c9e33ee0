"""Whether a store fits a recipe, and the command that makes one that does."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from fakestormer.data.manifest import read_manifest, read_settings
from fakestormer.data.origin import Origin, read_origin
from fakestormer.errors import InputError
from fakestormer.model.document import recipe_of_shipped
from fakestormer.recipe.faces import CropConfig, TrackingConfig
from fakestormer.recipe.named import RECIPES
from fakestormer.recipe.sources import values_of


def require_crops(store: Path, crop: CropConfig, tracking: TrackingConfig | None = None) -> None:
    """Raises InputError, with the command that cures it, for a store of other crops or tracking."""
    made = read_settings(store)
    differences = [
        f"{name} {getattr(had, name)!r} instead of {value!r}"
        for had, wanted in ((made.crop, crop), (made.tracking, tracking))
        if wanted is not None
        for name, value in wanted
        if getattr(had, name) != value
    ]
    if differences:
        raise InputError(
            f"{store}: its faces were followed and cut out with {', '.join(differences)}; make "
            f"a store that fits: {remake_command(store, crop, tracking or made.tracking)}"
        )


def remake_command(store: Path, crop: CropConfig, tracking: TrackingConfig) -> str:
    """`fakestormer prepare ...` for a store of the same videos, with this crop and tracking.

    It goes into another folder. Raises InputError for what is no store.
    """
    settings = read_settings(store)
    words = ["fakestormer", "prepare"]
    if (store / "origin.json").is_file():
        words += _videos(read_origin(store), settings.compression)
    else:  # made by an older version, which did not keep where the videos are
        splits = {row.split for row in read_manifest(store)} - {"", "train"}
        words += ["VIDEOS", *(("--split", *splits) if len(splits) == 1 else ())]
    if not isinstance(settings.max_frames, dict):
        words += ["--max-frames", str(settings.max_frames or 0)]
    if settings.stream is not None:
        words += ["--stream", str(settings.stream)]
    if "--landmarks" not in words:
        words += ["--faces", settings.backend]
    wanted = (crop, tracking)
    named = [n for n, make in RECIPES.items() if (make().crop, make().tracking) == wanted]
    if named:
        words += ["--recipe", named[-1]]
    else:
        usual = recipe_of_shipped()
        other = usual.model_copy(update={"crop": crop, "tracking": tracking})
        before = values_of(usual)
        for field, value in values_of(other).items():
            words += ["--set", f"{field}={json.dumps(value)}"] if value != before[field] else []
    return shlex.join([*words, "--out", f"{store}-{named[-1] if named else 'anew'}"])


def _videos(origin: Origin, compression: str) -> list[str]:
    """The words that name the videos and their labels."""
    options = origin.options
    words = [origin.layout, "--root", str(origin.root)]
    if origin.layout == "folder":
        words = [str(origin.root)]
    words += ["--compression", compression] if compression else []
    for option, path in (("--reals", options.reals), ("--lists", options.lists)):
        words += [] if path is None else [option, str(path)]
    if origin.layout == "deeperforensics":
        words += ["--variant", options.variant]
    return [*words, *origin.labels]
