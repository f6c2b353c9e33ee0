"""Celeb-DF v1 and v2. Their list calls real videos 1 and fake ones 0, unlike everybody else's.

Its terms do not allow us to ship the list; it is read from the data set's root. The label comes
from the folder, the list only says what is test.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from fakestormer.data.layouts.options import Options
from fakestormer.data.layouts.reading import Survey, nothing_here, read_text, some, stem_of
from fakestormer.data.listing import Count, Entry, Listing
from fakestormer.data.manifest import Label
from fakestormer.errors import InputError
from fakestormer.video.folder import folders_in

LIST = "List_of_testing_videos.txt"
FOLDERS: Mapping[str, tuple[Label, str]] = {
    "Celeb-real": ("real", "Celeb"),
    "YouTube-real": ("real", "YouTube"),
    "Celeb-synthesis": ("fake", "Celeb"),
}
#: As the list has it.
LABEL: Mapping[str, Label] = {"1": "real", "0": "fake"}
#: {(label or folder, split or ""): videos}
COUNTS = {
    "celeb-df-v1": {("real", ""): 408, ("fake", ""): 795},
    "celeb-df-v2": {
        ("Celeb-real", ""): 590,
        ("YouTube-real", ""): 300,
        ("Celeb-synthesis", ""): 5639,
        ("real", "test"): 178,
        ("fake", "test"): 340,
    },
}
NAME = {
    "Celeb-real": r"id\d+_\d+",
    "YouTube-real": r"\d+",
    "Celeb-synthesis": r"id\d+_id\d+_\d+",
}


def celeb_identity(stem: str) -> str:
    """Who is seen: "id3" of id3_0001 and of id3_id5_0001; "" of YouTube videos, which tell not."""
    target = re.fullmatch(r"(id\d+)(_id\d+)?_\d+", stem)
    return target[1] if target else ""


def celeb_df_v1(root: Path, options: Options) -> Listing:
    return _list_celeb(root, "celeb-df-v1")


def celeb_df_v2(root: Path, options: Options) -> Listing:
    return _list_celeb(root, "celeb-df-v2")


def _list_celeb(root: Path, dataset: str) -> Listing:
    # Some copies write "Youtube-real".
    folders = {name.lower(): name for name in folders_in(root)}
    here = {name: folders[name.lower()] for name in FOLDERS if name.lower() in folders}
    if not here:
        raise nothing_here(root, dataset, *(f"{name}/" for name in FOLDERS))
    listed, doubled = _read_list(root / LIST)
    test = {_key(name) for name in listed}
    survey = Survey(dataset, root, doubled=sorted(doubled), lists=[LIST])
    for folder, actual in here.items():
        label, source = FOLDERS[folder]
        for stem, video in survey.videos(actual).items():
            if _key(video) not in test and not re.fullmatch(NAME[folder], stem):
                survey.unexpected.append(video)
            survey.add(
                video,
                label,
                method="" if label == "real" else "Celeb-synthesis",
                split="test" if _key(video) in test else "train",
                source=source,
                identity=celeb_identity(stem),
            )
    present = {_key(entry.video) for entry in survey.entries}
    survey.missing = [name for name in listed if _key(name) not in present]
    survey.counts = _counts(dataset, survey.entries)
    survey.conflicts = _conflicts(listed)
    survey.notes = [f"{name}/ is not here" for name in FOLDERS if name not in here]
    return survey.listing()


def _key(name: str) -> str:
    """What a video is told apart by: folder and name, not the file's suffix."""
    folder, _, file = stem_of(name).rpartition("/")
    return f"{folder.lower()}/{file}"


def _read_list(path: Path) -> tuple[dict[str, Label], set[str]]:
    """{video: label as the list has it}, and the videos it names twice. The list has no header."""
    if not path.is_file():
        raise InputError(
            f"{path}: the list of test videos is not here; it comes with the data set, whose terms "
            "do not let us ship it; copy it there"
        )
    listed: dict[str, Label] = {}
    doubled = set()
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        parts = re.fullmatch(r"([01])\s+(\S+/\S+)", line.strip())
        if parts is None:
            raise InputError(
                f"{path}: line {number} is {line.strip()[:60]!r}, expected like "
                "'1 YouTube-real/00170.mp4'; copy the list again"
            )
        name = parts[2]
        if name in listed:
            doubled.add(name)
        listed.setdefault(name, LABEL[parts[1]])
    if not listed:
        raise InputError(f"{path}: the list of test videos is empty; copy it again")
    return listed, doubled


def _conflicts(listed: Mapping[str, Label]) -> list[str]:
    folders = {name.lower(): label for name, (label, _) in FOLDERS.items()}
    strange = [name for name in listed if name.partition("/")[0].lower() not in folders]
    wrong = [
        name
        for name, label in listed.items()
        if folders.get(name.partition("/")[0].lower(), label) != label
    ]
    sentences = []
    if wrong:
        sentences.append(
            f"{len(wrong)} lines of {LIST} contradict the folder (1 is real, 0 is fake there); the "
            f"folder is believed: {some(wrong)}"
        )
    if strange:
        sentences.append(f"{len(strange)} lines of {LIST} name another folder: {some(strange)}")
    return sentences


def _counts(dataset: str, entries: list[Entry]) -> list[Count]:
    tally: Counter[tuple[str, str]] = Counter()
    for entry in entries:
        folder = entry.video.partition("/")[0].lower()
        for key in (entry.label, *(name for name in FOLDERS if name.lower() == folder)):
            tally.update([(key, ""), (key, entry.split)])
    return [
        Count(what=" ".join(key).strip(), expected=expected, present=tally[key])
        for key, expected in COUNTS[dataset].items()
    ]
