"""Where the videos of a store lie, so that they can be found again: `origin.json`."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from fakestormer.data.layouts import list_dataset
from fakestormer.data.layouts.folders import folder
from fakestormer.data.layouts.options import Options
from fakestormer.data.listing import Entry, Listing
from fakestormer.errors import InputError
from fakestormer.files import write_atomically
from fakestormer.video.objects import is_object


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """A data set by its layout's name, the folder it lies in, and the choices about it.

    root: text is an address in an object store, whose layout is "folder". labels: the words of
    `prepare` that label its videos, such as ("--hold-out", "grid").
    """

    layout: str
    root: Path | str
    options: Options
    labels: tuple[str, ...] = ()

    def listing(self) -> Listing:
        """What lies there now. Raises InputError as `list_dataset` does."""
        if isinstance(self.root, str):
            return folder(self.root, self.options)
        return list_dataset(self.layout, self.root, self.options)


def root_of(name: str | os.PathLike[str]) -> Path | str:
    """A folder by its path, or the address of one in an object store."""
    return os.fspath(name).rstrip("/") if is_object(name) else Path(name)


def write_origin(store: Path, origin: Origin) -> None:
    """Keep where the videos of a store are, with absolute paths; not which fakes were asked for.

    Raises InputError for a store that was made of another data set, or variant of it.
    """
    path = store / "origin.json"
    if path.is_file():
        before = read_origin(store)
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
    content = {
        "layout": origin.layout,
        "root": str(origin.root.resolve() if isinstance(origin.root, Path) else origin.root),
        "options": options,
        "labels": origin.labels,
    }
    write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())


def entries_of(store: Path, root: str | Path | None = None) -> dict[str, Entry]:
    """The entries that a store was made from, by name.

    root: where they lie now, if they were moved. Raises InputError when they are not there.
    """
    origin = read_origin(store)
    if root is not None:
        origin = replace(origin, root=Path(root))
    if isinstance(origin.root, str):
        raise InputError(
            f"{store}: its videos are in {origin.root}, and whole frames are corrupted from files; "
            "fetch them and name their folder with --root NAME=FOLDER, or use --corrupt crops"
        )
    if not origin.root.is_dir():
        raise InputError(
            f"{store}: its videos were in {origin.root}, which is not there now; say where they "
            "are with --root NAME=FOLDER"
        )
    return {entry.video: entry for entry in origin.listing().entries}


def read_origin(store: Path) -> Origin:
    """What a store was made from. Raises InputError where it does not say so."""
    path = store / "origin.json"
    if not path.is_file():
        raise InputError(
            f"{store}: does not say where its videos are (made by an older version); run prepare "
            "again, it does nothing twice"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        options = content["options"]
        for name in ("reals", "lists"):
            if options[name] is not None:
                options[name] = Path(options[name])
        return Origin(
            layout=content["layout"],
            root=root_of(content["root"]),
            options=Options(**options, store=store),
            labels=tuple(content.get("labels", ())),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: is damaged; delete it and run prepare again, which writes it anew"
        ) from error
