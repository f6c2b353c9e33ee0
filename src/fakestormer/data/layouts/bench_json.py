"""Frames that DeepfakeBench prepared, by its JSON; DF40 comes in this form.

    {data set: {class: {split: {[compression:] {video: {label, frames[]}}}}}}

Frames are face crops. Their paths are those of the machine that wrote the JSON: they are looked for
below the root, and real ones below `options.reals` too, from the folder of a data set onwards.

Two things to know. DF40's val repeats its test, and DeepfakeBench lists DFD and UADFV whole in
every split: here a video is listed once, as test where it is ever test. And the word for the label
is no method: DF40 calls SimSwap's fakes "roop_Fake"; the folder they lie in is named instead.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

from fakestormer.data.layouts.bench_paths import Frames, Places, clean
from fakestormer.data.layouts.celeb_df import celeb_identity
from fakestormer.data.layouts.ffpp import ffpp_identity
from fakestormer.data.layouts.options import Compression, Options
from fakestormer.data.layouts.reading import Survey, nothing_here, read_json, some, split_called
from fakestormer.data.listing import Count, Entry, Listing
from fakestormer.data.manifest import Label, Split
from fakestormer.errors import InputError
from fakestormer.video.folder import scan
from fakestormer.video.pictures import naturally

#: Where DeepfakeBench and DF40 keep their JSON files.
FOLDERS = ("", "dataset_json", "preprocessing/dataset_json")
FFPP_METHODS = {
    "DF": "Deepfakes",
    "F2F": "Face2Face",
    "FS": "FaceSwap",
    "NT": "NeuralTextures",
    "FH": "FaceShifter",
    "SH": "FaceShifter",
}
#: A video that is listed in several splits is in the last of these.
ORDER: tuple[Split, ...] = ("train", "validation", "test")
METHODS_OF_DF40 = 40


@dataclass(slots=True, kw_only=True)
class _Video:
    """One video, from all JSON files that list it. folder: as they write it, tidied."""

    folder: str
    key: str
    label: Label
    method: str
    dataset: str
    frames: dict[str, None] = field(default_factory=dict)
    splits: set[Split] = field(default_factory=set)


@dataclass(slots=True)
class _Read:
    """What the JSON files come to."""

    videos: dict[tuple[str, str], _Video] = field(default_factory=dict)
    doubled: list[str] = field(default_factory=list)
    torn: set[str] = field(default_factory=set)
    undecided: set[str] = field(default_factory=set)
    odd: set[str] = field(default_factory=set)
    levels: set[str] = field(default_factory=set)


def df40(root: Path, options: Options) -> Listing:
    """DF40: fakes below the root, reals below the root or where `options.reals` says."""
    listing = bench_layout(root, options, dataset="df40")
    methods = {entry.method for entry in listing.entries if entry.label == "fake"}
    if options.methods:
        return listing
    if len(methods) < METHODS_OF_DF40:  # part of it is enough
        note = f"methods here: {len(methods)} of {METHODS_OF_DF40}"
        return replace(listing, notes=(*listing.notes, note))
    count = Count(what="methods", expected=METHODS_OF_DF40, present=len(methods))
    return replace(listing, counts=(count,))


def bench_layout(root: Path, options: Options, *, dataset: str = "deepfakebench") -> Listing:
    """What every DeepfakeBench JSON here lists; those that list something else are left out.

    Raises InputError when there is none, one is damaged, or none has videos at the compression.
    """
    files = _json_files(root, options, dataset)
    read = _Read()
    lists, strange = [], []
    for file in files:
        content, doubled = read_json(file)
        if _is_bench(content):
            lists.append(
                file.relative_to(root).as_posix() if file.is_relative_to(root) else str(file)
            )
            read.doubled += doubled
            _collect(content, options, read)
        else:
            strange.append(file.name)
    if not lists:
        raise InputError(
            f"{files[0]}: is no list like DeepfakeBench's, {{data set: {{class: {{split: {{video: "
            "{label, frames}}}}}; give the folder or the file that has one"
        )
    if read.levels and options.compression not in read.levels and not read.videos:
        raise InputError(
            f"{root}: no videos at {options.compression} in {some(lists)}; there are "
            f"{', '.join(sorted(read.levels))}"
        )
    survey = Survey(dataset, root, doubled=[*set(read.doubled)], lists=lists)
    _find(read, survey, options)
    if strange:
        survey.notes.append(f"JSON files that list no frames are left out: {some(strange)}")
    _remark(read, survey)
    return survey.listing(options.compression if options.compression in read.levels else "")


def _remark(read: _Read, survey: Survey) -> None:
    """What the lists leave open, and where they contradict themselves."""
    if read.undecided:
        survey.notes.append(
            "left out, as nothing says whether they are real or fake: "
            f"{some(sorted(read.undecided))}"
        )
    if read.odd:
        survey.notes.append(
            f"left out, as they are not in the form expected: {some(sorted(read.odd))}"
        )
    if read.torn:
        survey.conflicts.append(
            f"{len(read.torn)} videos are called both real and fake; the first is believed, and a "
            f"video's own label before its class: {some(sorted(read.torn))}"
        )
    trained = [v for v in read.videos.values() if {"train", "test"} <= v.splits]
    if trained:
        survey.conflicts.append(
            f"{len(trained)} videos are listed for both train and test, and are test here: "
            f"{some(sorted(v.folder for v in trained))}"
        )
    again = sum({"validation", "test"} <= video.splits for video in read.videos.values())
    if again:
        survey.notes.append(
            f"{again} videos are listed for both val and test, and are test here: nothing is to be "
            "chosen by them"
        )


def _json_files(root: Path, options: Options, dataset: str) -> list[Path]:
    if options.lists is not None and options.lists.is_file():
        return [options.lists]
    folders = [options.lists] if options.lists is not None else [root / name for name in FOLDERS]
    files = [
        folder / entry.name
        for folder in folders
        for entry in scan(folder)
        if entry.name.lower().endswith(".json") and entry.is_file()
    ]
    if not files:
        raise nothing_here(folders[0], dataset, "*.json", "dataset_json/*.json")
    return files


def _is_bench(content: object) -> bool:
    """Whether it has {data set: {class: {split: {...}}}} with at least one split that we know."""
    tables = content.values() if isinstance(content, dict) else ()
    classes = [part for table in tables if isinstance(table, dict) for part in table.values()]
    return any(
        isinstance(part, dict) and any(split_called(name) is not None for name in part)
        for part in classes
    )


def _collect(content: dict[str, Any], options: Options, read: _Read) -> None:
    for dataset, classes in content.items():
        for word, splits in _tables(classes, dataset, read):
            for name, videos in _tables(splits, f"{dataset}: {word}", read):
                split = split_called(name)
                where = f"{dataset}: {word}: {name}"
                if split is None:
                    read.odd.add(where)
                    continue
                for key, record in _at_level(videos, where, options.compression, read):
                    _add(dataset, word, split, key, record, options, read)


def _tables(content: object, where: str, read: _Read) -> Iterator[tuple[str, dict[str, Any]]]:
    """The tables in a table; what is something else is remembered as odd."""
    for name, value in content.items() if isinstance(content, dict) else ():
        if isinstance(value, dict):
            yield name, value
        else:
            read.odd.add(f"{where}: {name}")


def _at_level(
    videos: dict[str, Any], where: str, compression: Compression, read: _Read
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The videos of a split, at the compression asked for where it has several."""
    if videos and all(name in get_args(Compression) for name in videos):
        read.levels |= {name for name, table in videos.items() if table}
        yield from _tables(videos.get(compression, {}), where, read)
    else:
        yield from _tables(videos, where, read)


def _add(
    dataset: str,
    word: str,
    split: Split,
    key: str,
    record: dict[str, Any],
    options: Options,
    read: _Read,
) -> None:
    frames = record.get("frames")
    if not isinstance(frames, list) or not all(isinstance(frame, str) for frame in frames):
        read.odd.add(f"{dataset}: {word}: {key}")
        return
    by_class = label_called(word)
    label = label_called(record.get("label", "")) or by_class
    if label is None:
        read.undecided.add(f"{dataset}: {word} ({record.get('label', '')})")
        return
    if not frames:
        read.odd.add(f"{dataset}: {word}: {key} (no frames)")
        return
    paths = dict.fromkeys(clean(frame) for frame in frames)
    folder = next(iter(paths)).rpartition("/")[0]
    method = _method(folder, word, dataset) if label == "fake" else ""
    if label == "fake" and not options.wants(method):
        return
    new = _Video(folder=folder, key=key, label=label, method=method, dataset=dataset)
    video = read.videos.setdefault((folder, key), new)
    if label != video.label or by_class not in (None, label):
        read.torn.add(f"{folder} ({key})")
    video.frames |= paths
    video.splits.add(split)


def label_called(word: object) -> Label | None:
    """What DeepfakeBench means by a label or a class; None where it does not say.

    "FF-real", "simswap_Real", 0 -> real; "CelebDFv2_fake", "DFDCP_FakeA", "FF-DF", 1 -> fake. Not
    by a word within: whichisreal is a method.
    """
    name = str(word).strip()
    if name in ("0", "1"):
        return "real" if name == "0" else "fake"
    if re.search(r"(^|[-_ ])real$", name, re.IGNORECASE):
        return "real"
    if re.search(r"(^|[-_ ])fake[A-Z]?$", name, re.IGNORECASE):
        return "fake"
    known = name[:3] == "FF-" and name[3:] in FFPP_METHODS
    return "fake" if known else None


def _method(folder: str, word: str, dataset: str) -> str:
    """The folder below DF40's, else what the class says, else the data set's name."""
    of_df40 = re.search(r"(^|/)DF40(?:_train|_test)?/([^/]+)", folder, re.IGNORECASE)
    if of_df40 is not None:
        return of_df40[2]
    if word[:3] == "FF-" and word[3:] in FFPP_METHODS:
        return FFPP_METHODS[word[3:]]
    bare = re.sub(r"[-_ ]?fake$", "", word, flags=re.IGNORECASE)
    domain = re.fullmatch(r"(.+)_(ff|cdf)", dataset)
    if domain is not None:  # "simswap_ff" holds the class "roop_Fake"
        return domain.group(1)
    return bare or dataset


def _find(read: _Read, survey: Survey, options: Options) -> None:
    """Look for the frames of every video: entries, missing videos, notes."""
    places = Places(survey.root, options.reals)
    sharing = Counter(video.folder for video in read.videos.values())
    merged: dict[str, tuple[_Video, Frames]] = {}
    thinned, single = [], 0
    for video in sorted(read.videos.values(), key=lambda v: (v.folder, v.key)):
        frames = places.find(video.frames, real=video.label == "real")
        key = "" if sharing[video.folder] == 1 else f"/{video.key}"
        if frames is None:
            survey.missing.append(f"{video.folder}{key}")
            continue
        name = frames.name + key
        if len(frames.frames) < len(video.frames):
            thinned.append(name)
        if name in merged:  # one place, written in two ways
            first = merged[name][0]
            first.splits |= video.splits
            if first.label != video.label:
                read.torn.add(name)
            del read.videos[video.folder, video.key]
            continue
        single += len(frames.frames) == 1
        merged[name] = video, frames
    if thinned:
        survey.notes.append(
            f"{len(thinned)} videos lack some of their frames here and are taken without them: "
            f"{some(thinned)}"
        )
    if single:
        survey.notes.append(
            f"{single} entries are a single picture, which has no change over time to see"
        )
    survey.entries = [_entry(video, name, frames) for name, (video, frames) in merged.items()]


def _entry(video: _Video, name: str, frames: Frames) -> Entry:
    collection = re.search(r"(^|/)(FaceForensics\+\+|Celeb-DF[^/]*)/", video.folder)
    of_ffpp = "FaceForensics++" in video.folder or re.search(r"_ff$|^FF-|^Face", video.dataset)
    return Entry(
        video=name,
        path=frames.folder,
        label=video.label,
        kind="pictures",
        frames=tuple(frames.folder / frame for frame in sorted(frames.frames, key=naturally)),
        method=video.method,
        split=max(video.splits, key=ORDER.index),
        source=collection.group(2) if collection else video.dataset,
        identity=celeb_identity(video.key) or (ffpp_identity(video.key) if of_ffpp else ""),
    )
