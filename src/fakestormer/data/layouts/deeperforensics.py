"""DeeperForensics-1.0: fakes only. Their real videos are FaceForensics++'s targets.

    manipulated_videos/end_to_end/000_M101.mp4    target_source; ten more variants beside it
    lists/splits/{train, val, test}.txt

`source_videos/` shows the actors whose faces were put in: not what a detector is to call real.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from fakestormer.data.layouts.ffpp import FRAMES, real_videos
from fakestormer.data.layouts.options import Options
from fakestormer.data.layouts.reading import by_stem, nothing_here, read_text, some, stem_of
from fakestormer.data.listing import Count, Entry, Listing
from fakestormer.data.manifest import Split
from fakestormer.errors import InputError
from fakestormer.video.folder import folders_in, is_video, videos_in

SPLIT_FILES: Mapping[str, Split] = {
    "train.txt": "train",
    "val.txt": "validation",
    "test.txt": "test",
}
COUNTS: Mapping[Split, int] = {"train": 703, "validation": 96, "test": 201}


def deeperforensics(root: Path, options: Options) -> Listing:
    """The fakes of one variant by the lists, and their targets where `options.reals` has them."""
    variants = folders_in(root / "manipulated_videos")
    if not variants:
        raise nothing_here(
            root, "deeperforensics", f"manipulated_videos/{options.variant}/", "lists/splits/"
        )
    if options.variant not in variants:
        raise InputError(
            f"{root}: no variant {options.variant} of deeperforensics here; there are "
            f"{some(variants, 11)}"
        )
    split, doubled, conflicts = _read_lists(root)
    folder = f"manipulated_videos/{options.variant}"
    found, second = by_stem(videos_in(root / folder))
    missing = [f"{folder}/{stem}.mp4" for stem in split.keys() - found.keys()]
    unexpected = [f"{folder}/{name}" for name in second]
    unexpected += [f"{folder}/{name}" for stem, name in found.items() if stem not in split]
    entries = [
        Entry(
            video=f"{folder}/{name}",
            path=root / folder / name,
            label="fake",
            method=options.variant,
            split=split.get(stem, ""),
            source="youtube",
            identity=_target(stem),
        )
        for stem, name in found.items()
    ]
    tally = Counter(entry.split for entry in entries)
    notes = []
    if options.reals is None:
        notes.append(
            "fakes only: AUC needs their real videos, which are FaceForensics++'s at c23; name its "
            "folder as where the reals are"
        )
    else:
        reals, absent, two = _targets(options.reals, options, split)
        entries += reals
        missing += absent
        conflicts += two
    return Listing(
        dataset="deeperforensics",
        entries=tuple(sorted(entries, key=lambda entry: entry.video)),
        compression=options.compression,
        missing=tuple(sorted(missing)),
        unexpected=tuple(sorted(unexpected)),
        doubled=tuple(sorted(doubled)),
        counts=tuple(
            Count(what=f"fake {name}", expected=expected, found=tally[name])
            for name, expected in COUNTS.items()
        ),
        conflicts=tuple(conflicts),
        notes=tuple(notes),
        lists=", ".join(f"lists/splits/{name}" for name in SPLIT_FILES),
        max_frames=FRAMES,
    )


def _target(stem: str) -> str:
    """The FaceForensics++ video that was changed: "000" of 000_M101."""
    return stem.partition("_")[0]


def _read_lists(root: Path) -> tuple[dict[str, Split], set[str], list[str]]:
    """({"000_M101": split}, names that are in them twice, contradictions)."""
    split: dict[str, Split] = {}
    doubled: set[str] = set()
    torn: set[str] = set()
    for file, name in SPLIT_FILES.items():
        path = root / "lists" / "splits" / file
        if not path.is_file():
            raise InputError(
                f"{path}: this list of the data set is not here; unpack its lists there"
            )
        for number, line in enumerate(read_text(path).splitlines(), start=1):
            if not line.strip():
                continue
            listed = line.strip().rpartition("/")[2]
            stem = stem_of(listed) if is_video(listed) else listed
            if "_" not in stem or " " in stem:
                raise InputError(
                    f"{path}: line {number} is {line.strip()[:60]!r}, expected like "
                    "'000_M101.mp4'; copy the list again"
                )
            if stem in split:
                (doubled if split[stem] == name else torn).add(stem)
            split.setdefault(stem, name)
    conflicts = [f"in the lists of two splits: {some(sorted(torn))}"] if torn else []
    return split, doubled | torn, conflicts


def _targets(
    reals: Path, options: Options, split: Mapping[str, Split]
) -> tuple[list[Entry], list[str], list[str]]:
    """The real video of each fake in the lists, in its fake's split; which of them are missing;
    and which stand against fakes of several splits (they stay in the last of these, test before
    validation before train, so that nothing that was trained on is tested)."""
    order = list(SPLIT_FILES.values())
    wanted: dict[str, Split] = {}
    torn = set()
    for stem, name in sorted(split.items()):
        target = _target(stem)
        if wanted.get(target, name) != name:
            torn.add(target)
        wanted[target] = max(name, wanted.get(target, name), key=order.index)
    folder, found = real_videos(reals, options.compression)
    inside = folder.removeprefix("FaceForensics++/")
    entries = [
        Entry(
            video=f"ffpp/{inside}/{found[target]}",
            path=reals / folder / found[target],
            label="real",
            split=name,
            source="youtube",
            identity=target,
        )
        for target, name in wanted.items()
        if target in found
    ]
    missing = [f"ffpp/{inside}/{target}.mp4" for target in wanted if target not in found]
    return entries, missing, _torn(sorted(torn))


def _torn(targets: Iterable[str]) -> list[str]:
    listed = list(targets)
    return [f"targets of fakes in several splits: {some(listed)}"] if listed else []
