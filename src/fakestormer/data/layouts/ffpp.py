"""FaceForensics++, the DeepFakeDetection videos in its tree, and DeeperForensics, made from it.

    original_sequences/{youtube, actors}/{raw, c23, c40}/videos/071.mp4
    manipulated_sequences/{Deepfakes, ...}/{raw, c23, c40}/videos/071_054.mp4    target_source

Fakes of different methods share their file names: everything here is told apart by its whole path.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from fakestormer.data.layouts.options import Compression, Options
from fakestormer.data.layouts.reading import Survey, by_stem, nothing_here, read_json, some
from fakestormer.data.listing import Count, Listing
from fakestormer.data.manifest import Split
from fakestormer.errors import InputError
from fakestormer.video.folder import folders_in, videos_in

REAL = "original_sequences/youtube"
METHODS = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures", "FaceShifter")
ACTORS = "original_sequences/actors"
DFD = "DeepFakeDetection"
SPLIT_FILES: Mapping[str, Split] = {
    "train.json": "train",
    "val.json": "validation",
    "test.json": "test",
}
SHIPPED = Path(__file__).with_name("splits") / "FaceForensics"
#: The frames that the paper takes (4.1), here and of data sets made from FaceForensics++.
FRAMES: dict[Split, int] = {"train": 256, "validation": 32, "test": 32}
#: Real videos per split, and fakes per split and method.
COUNTS: Mapping[Split, int] = {"train": 720, "validation": 140, "test": 140}


@dataclass(frozen=True, slots=True, kw_only=True)
class Splits:
    """split: of "071" and "071_054". doubled: numbers that the lists have twice. lists: whence."""

    split: Mapping[str, Split]
    doubled: tuple[str, ...]
    lists: str


def ffpp(root: Path, options: Options) -> Listing:
    """Real videos and the fakes of every method that is here, at one compression."""
    beside = folders_in(root / "manipulated_sequences")
    methods = [name for name in METHODS if name in beside]
    unknown = [name for name in options.methods if name not in methods]
    if unknown and methods:
        raise InputError(
            f"{root}: no videos of the method {unknown[0]} here; there are {some(methods, 9)}"
        )
    wanted = [name for name in methods if options.wants(name)]
    splits = read_splits(root)
    levels, notes = at_level(
        root,
        {REAL: "", **{f"manipulated_sequences/{name}": name for name in wanted}},
        options.compression,
        dataset="ffpp",
    )
    notes += [f"{name} is not here" for name in METHODS if name not in methods]
    strange = [name for name in beside if name not in (*METHODS, DFD)]
    if strange:
        notes.append(f"folders that are no part of FaceForensics++ are left out: {some(strange)}")
    survey = Survey(
        "ffpp", root, doubled=[*splits.doubled], notes=notes, lists=[splits.lists],
        max_frames=FRAMES,
    )  # fmt: skip
    for folder, method in levels.items():
        listed = {name for name in splits.split if ("_" in name) == bool(method)}
        videos = survey.videos(folder)
        survey.unexpected += [video for stem, video in videos.items() if stem not in listed]
        survey.missing += [f"{folder}/{name}.mp4" for name in listed - videos.keys()]
        for stem, video in videos.items():
            survey.add(
                video,
                "fake" if method else "real",
                method=method,
                split=splits.split[stem] if stem in listed else "",
                source="youtube",
                identity=ffpp_identity(stem),
            )
        tally = Counter(splits.split[stem] for stem in videos if stem in listed)
        survey.counts += [
            Count(what=f"{method or 'real'} {split}", expected=expected, present=tally[split])
            for split, expected in COUNTS.items()
        ]
    return survey.listing(options.compression)


def dfd(root: Path, options: Options) -> Listing:
    """DeepFakeDetection, which lies in FaceForensics++'s tree; all of it is test."""
    levels, notes = at_level(
        root, {ACTORS: "", f"manipulated_sequences/{DFD}": DFD}, options.compression, dataset="dfd"
    )
    survey = Survey("dfd", root, notes=notes, lists=["all test"], max_frames=FRAMES)
    for folder, method in levels.items():
        # <target>__<scene>.mp4 and <target>_<source>__<scene>__<id>.mp4
        form = re.compile(r"(\d+)_\d+__.+" if method else r"(\d+)__.+")
        for stem, video in survey.videos(folder).items():
            target = form.fullmatch(stem)
            if target is None:
                survey.unexpected.append(video)
            survey.add(
                video,
                "fake" if method else "real",
                method=method,
                split="test",
                source="actors",
                identity=target[1] if target else "",
            )
    labels = Counter(entry.label for entry in survey.entries)
    survey.counts = [
        Count(what="real", expected=363, present=labels["real"]),
        Count(what="fake", expected=3068, present=labels["fake"]),
    ]
    return survey.listing(options.compression)


def ffpp_identity(stem: str) -> str:
    """Who is seen, by number: "071" of 071 and of 071_054, whose face is on that body."""
    target = re.fullmatch(r"(\d{3})(_\d{3})?", stem)
    return target[1] if target else ""


def real_videos(root: Path, compression: Compression) -> tuple[str, dict[str, str]]:
    """(folder, {"071": "071.mp4"}) of FaceForensics++'s real videos, at `root` or in it."""
    for base in ("", "FaceForensics++/"):
        if (root / base / REAL).is_dir():
            levels, _ = at_level(root / base, {REAL: ""}, compression, dataset="ffpp")
            folder = base + next(iter(levels))
            return folder, by_stem(videos_in(root / folder))[0]
    raise nothing_here(root, "ffpp", f"{REAL}/{compression}/videos/")


def at_level(
    root: Path, folders: Mapping[str, str], compression: Compression, *, dataset: str
) -> tuple[dict[str, str], list[str]]:
    """{folder of videos at this compression: method}, and notes on those that are not here."""
    levels = {
        folder: [
            level for level in get_args(Compression) if (root / folder / level / "videos").is_dir()
        ]
        for folder in folders
    }
    there = sorted({level for known in levels.values() for level in known})
    if not there:
        raise nothing_here(root, dataset, *(f"{f}/{compression}/videos/" for f in folders))
    if compression not in there:
        raise InputError(
            f"{root}: no videos of {dataset} at {compression} here; there are {', '.join(there)}"
        )
    notes = []
    for folder, known in levels.items():
        if compression not in known:
            other = f" at {compression}; there is {', '.join(known)}" if known else ""
            notes.append(f"{folder} is not here{other}")
    at = {
        f"{folder}/{compression}/videos": method
        for folder, method in folders.items()
        if compression in levels[folder]
    }
    return at, notes


def read_splits(root: Path) -> Splits:
    """The lists in `splits/` or directly below the root, else those shipped.

    Raises InputError when only some of the three are there, or one is damaged.
    """
    for below in ("splits/", ""):
        there = [name for name in SPLIT_FILES if (root / below / name).is_file()]
        if not there:
            continue
        lacking = [name for name in SPLIT_FILES if name not in there]
        if lacking:
            raise InputError(
                f"{root / below / lacking[0]}: is not there though {there[0]} is; put it there, or "
                "take that one away and the lists shipped with fakestormer are used"
            )
        where = ", ".join(f"{below}{name}" for name in SPLIT_FILES)
        return _parse_splits(root / below, lists=where)
    return _parse_splits(SHIPPED, lists="shipped with fakestormer")


def _parse_splits(folder: Path, *, lists: str) -> Splits:
    split: dict[str, Split] = {}
    doubled = set()
    for file, name in SPLIT_FILES.items():
        for a, b in _pairs(folder / file):
            for video in dict.fromkeys((a, b, f"{a}_{b}", f"{b}_{a}")):
                if video in split:
                    doubled.add(video)
                else:
                    split[video] = name
    return Splits(split=split, doubled=tuple(sorted(doubled)), lists=lists)


def _pairs(path: Path) -> Iterable[Sequence[str]]:
    content, _ = read_json(path)
    good = isinstance(content, list) and all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(name, str) for name in pair)
        for pair in content
    )
    if not good or not content:
        raise InputError(
            f'{path}: is no list of pairs like [["071", "054"], ...]; copy FaceForensics++\'s again'
        )
    pairs: list[list[str]] = content
    return pairs
