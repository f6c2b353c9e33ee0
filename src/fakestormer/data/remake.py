"""The command that makes a store again, with faces cut out for another recipe."""

from __future__ import annotations

import shlex
from pathlib import Path

from fakestormer.data.manifest import read_settings
from fakestormer.data.origin import Origin, read_origin
from fakestormer.recipe.faces import CropConfig, TrackingConfig
from fakestormer.recipe.named import RECIPES, tiny
from fakestormer.recipe.sources import values_of

#: Where `prepare` would do the same without the option.
_NO_OPTION = ("tiny", "small")


def remake_command(store: Path, crop: CropConfig, tracking: TrackingConfig) -> str:
    """`fakestormer prepare ...` for a store like this one, with this crop and tracking.

    It goes into another folder. Raises InputError for what is no store.
    """
    settings = read_settings(store)
    words = ["fakestormer", "prepare"]
    if (store / "origin.json").is_file():
        words += _videos(read_origin(store), settings.compression)
    else:  # made by an older version, which did not keep where the videos are
        words += ["VIDEOS"]
    if isinstance(settings.max_frames, int) or settings.max_frames is None:
        words += ["--max-frames", str(settings.max_frames or 0)]
    words += ["--faces", settings.backend]
    named = [
        name
        for name, recipe in RECIPES.items()
        if (recipe().crop, recipe().tracking) == (crop, tracking)
    ]
    suffix = named[0] if named else "new"
    if named:
        words += [] if set(named) & set(_NO_OPTION) else ["--recipe", named[0]]
    else:
        wanted = tiny().model_copy(update={"crop": crop, "tracking": tracking})
        usual, values = values_of(tiny()), values_of(wanted)
        for field, value in values.items():
            words += ["--set", f"{field}={value}"] if value != usual[field] else []
    return shlex.join([*words, "--out", f"{store}-{suffix}"])


def _videos(origin: Origin, compression: str) -> list[str]:
    """The words that name the videos and their labels."""
    options = origin.options
    words = [origin.layout, "--root", str(origin.root)]
    words += ["--compression", compression] if compression else []
    for option, path in (("--reals", options.reals), ("--lists", options.lists)):
        words += [] if path is None else [option, str(path)]
    if origin.layout == "deeperforensics":
        words += ["--variant", options.variant]
    return [*words, *origin.labels]
