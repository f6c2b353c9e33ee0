"""The Deepfake Detection Challenge: its preview (dfdcp) and its full data set (dfdc).

dfdcp: original_videos/, method_A/, method_B/ and dataset.json, {path: {label, set, target_id}}.
dfdc: test/ with labels.csv (filename, label 1 = fake) or metadata.json, {file: {label: REAL or
FAKE, split}}; training parts dfdc_train_part_NN/ with metadata.json. Directly below the root too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fakestormer.data.layouts.options import Options
from fakestormer.data.layouts.reading import (
    by_stem,
    nothing_here,
    read_rows,
    read_table_of_videos,
    some,
    split_called,
    stem_of,
)
from fakestormer.data.listing import Count, Entry, Listing
from fakestormer.data.manifest import Label, Split
from fakestormer.errors import InputError
from fakestormer.video.folder import files_below, folders_in, is_video, videos_in

LABEL: Mapping[str, Label] = {
    "real": "real",
    "0": "real",
    "false": "real",
    "fake": "fake",
    "1": "fake",
    "true": "fake",
}
#: Of dfdcp, by top folder.
FOLDERS: Mapping[str, Label] = {"original_videos": "real", "method_A": "fake", "method_B": "fake"}
PREVIEW = "dfdc_preview_set"
#: Of dfdc; where both are there the first is read.
LISTS = ("labels.csv", "metadata.json")


def dfdcp(root: Path, options: Options) -> Listing:
    """The preview, by its dataset.json; `dfdc_preview_set/` may lie around it."""
    base = root / PREVIEW if (root / PREVIEW).is_dir() else root
    here = [name for name in FOLDERS if (base / name).is_dir()]
    path = base / "dataset.json"
    if not here:
        raise nothing_here(root, "dfdcp", *(f"{name}/" for name in FOLDERS), "dataset.json")
    if not path.is_file():
        raise InputError(f"{path}: is not here; labels and splits are in it; copy it there")
    listed, doubled = read_table_of_videos(path)
    known = {stem_of(name): name for name in listed}
    found, second = by_stem(
        f"{folder}/{name}" for folder in here for name in files_below(base / folder, is_video)
    )
    entries = []
    contradicting = []
    unexpected = list(second)
    for stem, name in found.items():
        by_folder = FOLDERS[name.partition("/")[0]]
        record = listed[known[stem]] if stem in known else None
        if record is None:
            unexpected.append(name)
            label, split, identity = by_folder, None, ""
        else:
            label = _label(record.get("label"), path, known[stem])
            split = _split(record.get("set"), path, known[stem])
            identity = str(record.get("target_id") or "")
            if label != by_folder:
                contradicting.append(name)
        method = name.partition("/")[0] if label == "fake" else ""
        if label == "fake" and not options.wants(method):
            continue
        entries.append(
            Entry(
                video=name,
                path=base / name,
                label=label,
                method=method,
                split=split or "",
                source="dfdcp",
                identity=identity,
            )
        )
    conflicts = []
    if contradicting:
        conflicts.append(
            f"dataset.json contradicts the folder about {len(contradicting)} videos; dataset.json "
            f"is believed: {some(sorted(contradicting))}"
        )
    counts = (
        ()
        if options.methods
        else (Count(what="videos", expected=5250, found=len(entries), certain=False),)
    )
    return Listing(
        dataset="dfdcp",
        entries=tuple(sorted(entries, key=lambda entry: entry.video)),
        missing=tuple(
            sorted(
                name
                for stem, name in known.items()
                if stem not in found and options.wants(name.partition("/")[0])
            )
        ),
        unexpected=tuple(sorted(unexpected)),
        doubled=tuple(sorted(doubled)),
        counts=counts,
        conflicts=tuple(conflicts),
        notes=tuple(f"{name}/ is not here" for name in FOLDERS if name not in here),
        lists="dataset.json",
    )


@dataclass(slots=True)
class _Found:
    """What the parts of dfdc come to."""

    entries: list[Entry] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)
    lists: list[str] = field(default_factory=list)


def dfdc(root: Path, options: Options) -> Listing:
    """The test set, and the training parts that are here."""
    folders = folders_in(root)
    train = [name for name in folders if name.startswith("dfdc_train_part_")]
    if "train" in folders:
        below = folders_in(root / "train")
        train += [f"train/{name}" for name in below if name.startswith("dfdc_train_part_")]
    found = _Found()
    if "test" in folders:
        _read_part(root, "test/", "test", found)
    for name in train:
        _read_part(root, f"{name}/", "train", found)
    alone = "test" not in folders and not train
    if videos_in(root) and (alone or any((root / name).is_file() for name in LISTS)):
        # A test folder or a training part given as the root itself: metadata.json says which.
        _read_part(root, "", None, found)
    if not found.lists:
        raise nothing_here(
            root, "dfdc", "test/ with labels.csv or metadata.json", "dfdc_train_part_NN/"
        )
    tests = sum(entry.split == "test" for entry in found.entries)
    here = bool(tests) or "test" in folders
    return Listing(
        dataset="dfdc",
        entries=tuple(sorted(found.entries, key=lambda entry: entry.video)),
        missing=tuple(sorted(found.missing)),
        unexpected=tuple(sorted(found.unexpected)),
        doubled=tuple(sorted(found.doubled)),
        counts=(Count(what="test", expected=5000, found=tests),) if here else (),
        conflicts=tuple(found.conflicts),
        notes=() if here else ("the test set, which papers report, is not here",),
        lists=", ".join(found.lists),
    )


def _read_part(root: Path, part: str, split: Split | None, into: _Found) -> None:
    """One folder of videos and its list. split: "test" for all; "train" but for those that the list
    has under validation; None as the list says, test where it does not."""
    names, second = by_stem(videos_in(root / part))
    csv, table = (root / part / name for name in LISTS)
    if csv.is_file():
        listed, doubled, torn = _read_labels(csv)
    elif table.is_file():
        listed, doubled = read_table_of_videos(table)
        torn = [
            name
            for name, record in listed.items()
            if "is_fake" in record
            and _label(record["is_fake"], table, name) != _label(record.get("label"), table, name)
        ]
    else:
        raise InputError(
            f"{root / part}: neither labels.csv nor metadata.json is here, which hold the labels; "
            "copy it there"
        )
    path = csv if csv.is_file() else table
    into.lists.append(f"{part}{path.name}")
    into.doubled += [part + name for name in doubled]
    into.unexpected += [part + name for name in second]
    if torn:
        into.conflicts.append(
            f"{part}{path.name} calls {len(torn)} videos both real and fake; what it says first is "
            f"believed: {some(torn)}"
        )
    known = {stem_of(name): name for name in listed}
    into.missing += [part + name for stem, name in known.items() if stem not in names]
    for stem, name in names.items():
        if stem not in known:  # nothing says whether it is fake
            into.unexpected.append(part + name)
            continue
        record = listed[known[stem]]
        said = split_called(record["split"]) if record.get("split") else None
        if split == "train":
            where: Split = "validation" if said == "validation" else "train"
        else:
            where = split or said or "test"
        into.entries.append(
            Entry(
                video=part + name,
                path=root / part / name,
                label=_label(record.get("label"), path, known[stem]),
                split=where,
                source="test"
                if where == "test"
                else (part.strip("/").rpartition("/")[2] or "train"),
            )
        )


def _read_labels(path: Path) -> tuple[dict[str, dict[str, Any]], list[str], list[str]]:
    """({file: {label}}, files that are in it twice, those of them with two labels)."""
    listed: dict[str, dict[str, Any]] = {}
    times: Counter[str] = Counter()
    torn = []
    for name, label in read_rows(path, "filename", "label"):
        if not name:
            continue
        times[name] += 1
        if listed.setdefault(name, {"label": label})["label"] != label:
            torn.append(name)
    return listed, [name for name, count in times.items() if count > 1], sorted(set(torn))


def _label(word: object, path: Path, video: str) -> Label:
    label = LABEL.get(str(word).strip().lower())
    if label is None:
        raise InputError(
            f"{path}: says {word!r} of {video}, expected real or fake (0 or 1); copy it again"
        )
    return label


def _split(word: object, path: Path, video: str) -> Split:
    split = split_called(word)
    if split is None:
        raise InputError(
            f"{path}: puts {video} into {word!r}, expected train or test; copy it again"
        )
    return split
