"""The Deepfake Detection Challenge: its preview (dfdcp) and its full data set (dfdc).

dfdcp: original_videos/, method_A/, method_B/ and dataset.json, {path: {label, set, target_id}}.
dfdc: test/ with labels.csv (filename, label 1 = fake) or metadata.json, {file: {label: REAL or
FAKE, split}}; training parts dfdc_train_part_NN/ with metadata.json. Directly below the root too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fakestormer.data.layouts.options import Options
from fakestormer.data.layouts.reading import (
    Survey,
    by_stem,
    nothing_here,
    read_rows,
    read_table_of_videos,
    some,
    split_called,
    stem_of,
)
from fakestormer.data.listing import Count, Listing
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
    survey = Survey("dfdcp", base, doubled=doubled, lists=[path.name])
    known = {stem_of(name): name for name in listed}
    stems, survey.unexpected = by_stem(
        f"{folder}/{name}" for folder in here for name in files_below(base / folder, is_video)
    )
    contradicting = []
    for stem, name in stems.items():
        method = name.partition("/")[0]
        label, split, identity = FOLDERS[method], None, ""
        if stem in known:
            record = listed[known[stem]]
            label = _label(record.get("label"), path, known[stem])
            split = _split(record.get("set"), path, known[stem])
            identity = str(record.get("target_id") or "")
            if label != FOLDERS[method]:
                contradicting.append(name)
        else:
            survey.unexpected.append(name)
        method = method if label == "fake" else ""
        if options.wants(method) or label == "real":
            survey.add(
                name, label, method=method, split=split or "", source="dfdcp", identity=identity
            )
    if contradicting:
        survey.conflicts.append(
            f"dataset.json contradicts the folder about {len(contradicting)} videos; dataset.json "
            f"is believed: {some(sorted(contradicting))}"
        )
    if not options.methods:
        total = len(survey.entries)
        survey.counts = [Count(what="videos", expected=5250, present=total, certain=False)]
    survey.missing = [
        name
        for stem, name in known.items()
        if stem not in stems and options.wants(name.partition("/")[0])
    ]
    survey.notes = [f"{name}/ is not here" for name in FOLDERS if name not in here]
    return survey.listing()


def dfdc(root: Path, options: Options) -> Listing:
    """The test set, and the training parts that are here."""
    folders = folders_in(root)
    train = [name for name in folders if name.startswith("dfdc_train_part_")]
    if "train" in folders:
        below = folders_in(root / "train")
        train += [f"train/{name}" for name in below if name.startswith("dfdc_train_part_")]
    survey = Survey("dfdc", root)
    if "test" in folders:
        _read_part("test", "test", survey)
    for name in train:
        _read_part(name, "train", survey)
    alone = "test" not in folders and not train
    if videos_in(root) and (alone or any((root / name).is_file() for name in LISTS)):
        # A test folder or a training part given as the root itself: metadata.json says which.
        _read_part("", None, survey)
    if not survey.lists:
        raise nothing_here(
            root, "dfdc", "test/ with labels.csv or metadata.json", "dfdc_train_part_NN/"
        )
    tests = sum(entry.split == "test" for entry in survey.entries)
    if tests or "test" in folders:
        survey.counts = [Count(what="test", expected=5000, present=tests)]
    else:
        survey.notes = ["the test set, which papers report, is not here"]
    return survey.listing()


def _read_part(part: str, split: Split | None, survey: Survey) -> None:
    """One folder of videos and its list. split: "test" for all; "train" but for those that the list
    has under validation; None as the list says, test where it does not."""
    folder, prefix = survey.root / part, f"{part}/" if part else ""
    videos = survey.videos(part)
    path = next((folder / name for name in LISTS if (folder / name).is_file()), None)
    if path is None:
        raise InputError(
            f"{folder}: neither labels.csv nor metadata.json is here, which hold the labels; "
            "copy it there"
        )
    if path.suffix == ".csv":
        listed, doubled, torn = _read_labels(path)
    else:
        listed, doubled = read_table_of_videos(path)
        torn = [
            name
            for name, record in listed.items()
            if "is_fake" in record
            and _label(record["is_fake"], path, name) != _label(record.get("label"), path, name)
        ]
    survey.lists.append(f"{prefix}{path.name}")
    survey.doubled += [prefix + name for name in doubled]
    if torn:
        survey.conflicts.append(
            f"{prefix}{path.name} calls {len(torn)} videos both real and fake; what it says first "
            f"is believed: {some(torn)}"
        )
    known = {stem_of(name): name for name in listed}
    survey.missing += [prefix + name for stem, name in known.items() if stem not in videos]
    for stem, video in videos.items():
        if stem not in known:  # nothing says whether it is fake
            survey.unexpected.append(video)
            continue
        record = listed[known[stem]]
        listed_split = split_called(record["split"]) if record.get("split") else None
        if split == "train":
            place: Split = "validation" if listed_split == "validation" else "train"
        else:
            place = split or listed_split or "test"
        source = "test" if place == "test" else part.rpartition("/")[2] or "train"
        label = _label(record.get("label"), path, known[stem])
        survey.add(video, label, split=place, source=source)


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
