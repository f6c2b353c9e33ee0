"""Where the videos of a store lie, so that they can be found again: `origin.json`."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from fakestormer.data.layouts import list_dataset
from fakestormer.data.layouts.options import Options
from fakestormer.data.listing import Entry, Listing
from fakestormer.data.manifest import StoreSettings, read_manifest, read_settings
from fakestormer.errors import InputError
from fakestormer.files import write_atomically
from fakestormer.model.model_file import recipe_of_shipped
from fakestormer.recipe.faces import CropConfig, TrackingConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """A data set by its layout's name, the folder it lies in, and the choices about it."""

    layout: str
    root: Path
    options: Options

    def listing(self) -> Listing:
        """What lies there now. Raises InputError as `list_dataset` does."""
        return list_dataset(self.layout, self.root, self.options)


def write_origin(store: Path, origin: Origin) -> None:
    """Keep where the videos of a store are, with absolute paths.

    Which fakes were asked for is not kept: a store is of the whole data set, however much of it is
    prepared. Raises InputError for a store that was made of another data set, or variant of it.
    """
    path = store / "origin.json"
    if path.is_file():
        before = _read(path, store)
        for choice, was, now in (
            ("data set", before.layout, origin.layout),
            ("variant", before.options.variant, origin.options.variant),
        ):
            if was != now:
                raise InputError(
                    f"{store}: was made from the {choice} {was}, this is {now}; give each a store "
                    "of its own"
                )
    options = {
        name: str(value.resolve()) if isinstance(value, Path) else value
        for name, value in asdict(origin.options).items()
        if name not in ("store", "methods")
    }
    content = {"layout": origin.layout, "root": str(origin.root.resolve()), "options": options}
    write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())


def entries_of(store: Path, root: Path | None = None) -> dict[str, Entry]:
    """The entries that a store was made from, by name.

    root: where they lie now, if they were moved. Raises InputError when they are not there.
    """
    path = store / "origin.json"
    if not path.is_file():
        raise InputError(
            f"{store}: does not say where its videos are (made by an older version); run prepare "
            "again, it does nothing twice"
        )
    origin = _read(path, store)
    if root is not None:
        origin = replace(origin, root=root)
    if not origin.root.is_dir():
        raise InputError(
            f"{store}: its videos were in {origin.root}, which is not there now; say where they "
            "are with --root NAME=FOLDER"
        )
    return {entry.video: entry for entry in origin.listing().entries}


def require_crops(store: Path, crop: CropConfig, tracking: TrackingConfig | None = None) -> None:
    """Raises InputError, with the command that cures it, for a store of other crops.

    tracking: where it has to be the same too.
    """
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
            f"a store that fits: {_prepare_anew(store, made, crop, tracking or made.tracking)}"
        )


def _prepare_anew(
    store: Path, made: StoreSettings, crop: CropConfig, tracking: TrackingConfig
) -> str:
    """The command that prepares the videos of a store for another crop and tracking."""
    words = ["fakestormer", "prepare"]
    if not (path := store / "origin.json").is_file():  # made by an older version
        words.append("VIDEOS")
    else:
        origin = _read(path, store)
        if origin.layout == "folder":
            words.append(str(origin.root))
        else:
            words += [origin.layout, "--root", str(origin.root)]
        given = asdict(origin.options) | {"compression": made.compression}
        plain = asdict(Options())
        for name in ("compression", "reals", "variant", "lists"):
            if given[name] and given[name] != plain[name]:
                words += [f"--{name}", str(given[name])]
    splits = {row.split for row in read_manifest(store)} - {"", "train"}
    if made.dataset == "folder" and len(splits) == 1:
        words += ["--split", *splits]
    words += ["--max-frames", str(made.max_frames or 0)]
    usual = recipe_of_shipped()
    for room, wanted, default in (
        ("crop", crop, usual.crop), ("tracking", tracking, usual.tracking)
    ):  # fmt: skip
        for name, value in wanted:
            if getattr(default, name) != value:
                words += ["--set", f"{room}.{name}={value}"]
    return shlex.join([*words, "--out", f"{store}-anew"])


def _read(path: Path, store: Path) -> Origin:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        options = content["options"]
        for name in ("reals", "lists"):
            if options[name] is not None:
                options[name] = Path(options[name])
        return Origin(
            layout=content["layout"],
            root=Path(content["root"]),
            options=Options(**options, store=store),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: is damaged; delete it and run prepare again, which writes it anew"
        ) from error
