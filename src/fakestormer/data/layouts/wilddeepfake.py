"""WildDeepfake: faces already cut out, one archive a video, many sequences in each.

    deepfake_in_the_wild/{real, fake}_{train, test}/100.tar.gz
    inside: 100/{real, fake}/<sequence>/<frame>.png, 224 px

The archives are tens of GB and are not opened here, so that their sequences are not counted.
"""

from __future__ import annotations

import re
from pathlib import Path

from fakestormer.data.layouts.options import Options
from fakestormer.data.layouts.reading import Survey, nothing_here, some
from fakestormer.data.listing import Count, Listing
from fakestormer.data.manifest import Label, Split
from fakestormer.video.folder import scan

FOLDER = "deepfake_in_the_wild"
PARTS: tuple[tuple[Label, Split], ...] = (
    ("real", "train"),
    ("real", "test"),
    ("fake", "train"),
    ("fake", "test"),
)
ARCHIVE = re.compile(r"(.+)\.(tar\.gz|tgz|tar)", re.IGNORECASE)


def wilddeepfake(root: Path, options: Options) -> Listing:
    """One entry per archive or unpacked folder. root: the data set's folder, or the one around."""
    base = root / FOLDER if (root / FOLDER).is_dir() else root
    parts = {f"{label}_{split}": (label, split) for label, split in PARTS}
    here = [name for name in parts if (base / name).is_dir()]
    if not here:
        raise nothing_here(root, "wilddeepfake", *(f"{FOLDER}/{name}/" for name in parts))
    survey = Survey("wilddeepfake", base, lists=["by folder"])
    both = []
    for part in here:
        label, split = parts[part]
        chosen: dict[str, str] = {}
        for item in scan(base / part):
            archive = ARCHIVE.fullmatch(item.name)
            if archive is None and not item.is_dir():
                survey.unexpected.append(f"{part}/{item.name}")
                continue
            video = item.name if item.is_dir() or archive is None else archive[1]
            if video in chosen:
                both.append(f"{part}/{item.name}")  # "100", unpacked, sorts before "100.tar.gz"
            chosen.setdefault(video, item.name)
        for name in chosen.values():
            video = f"{part}/{name}"
            survey.add(video, label, kind="sequences", split=split, source="wilddeepfake")
    survey.notes = [
        "one score is for a sequence, each counted by itself, not for a video",
        "7,314 sequences are published; the archives are not opened to count them",
    ]
    if both:
        survey.notes.append(
            f"{len(both)} archives lie beside what was unpacked of them; the folder is taken: "
            f"{some(both)}"
        )
    survey.notes += [f"{name}/ is not here" for name in parts if name not in here]
    survey.counts = [Count(what="videos", expected=707, present=len(survey.entries))]
    return survey.listing()
