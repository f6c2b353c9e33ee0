"""DeeperForensics-1.0: fakes only. Their real videos are FaceForensics++'s targets.

    manipulated_videos/end_to_end/000_M101.mp4    target_source; ten more variants beside it
    lists/splits/{train, val, test}.txt

`source_videos/` shows the actors whose faces were put in: not what a detector is to call real.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from fakestormer.data.layouts.ffpp import FRAMES, real_videos
from fakestormer.data.layouts.options import Options
from fakestormer.data.layouts.reading import Survey, nothing_here, read_text, some, stem_of
from fakestormer.data.listing import Count, Listing
from fakestormer.data.manifest import Split
from fakestormer.errors import InputError
from fakestormer.video.folder import folders_in, is_video

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
    lists = [f"lists/splits/{name}" for name in SPLIT_FILES]
    survey = Survey("deeperforensics", root, lists=lists, max_frames=FRAMES)
    split = _read_lists(survey)
    folder = f"manipulated_videos/{options.variant}"
    videos = survey.videos(folder)
    survey.missing += [f"{folder}/{stem}.mp4" for stem in split.keys() - videos.keys()]
    survey.unexpected += [video for stem, video in videos.items() if stem not in split]
    for stem, video in videos.items():
        survey.add(
            video,
            "fake",
            method=options.variant,
            split=split.get(stem, ""),
            source="youtube",
            identity=_target(stem),
        )
    tally = Counter(entry.split for entry in survey.entries)
    survey.counts = [
        Count(what=f"fake {name}", expected=expected, present=tally[name])
        for name, expected in COUNTS.items()
    ]
    if options.reals is None:
        survey.notes.append(
            "fakes only: AUC needs their real videos, which are FaceForensics++'s at c23; name its "
            "folder as where the reals are"
        )
    else:
        _add_targets(survey, options.reals, options, split)
    return survey.listing(options.compression)


def _target(stem: str) -> str:
    """The FaceForensics++ video that was changed: "000" of 000_M101."""
    return stem.partition("_")[0]


def _read_lists(survey: Survey) -> dict[str, Split]:
    """{"000_M101": split}; notes names that are in the lists twice, and contradictions."""
    split: dict[str, Split] = {}
    doubled: set[str] = set()
    torn: set[str] = set()
    for file, name in SPLIT_FILES.items():
        path = survey.root / "lists" / "splits" / file
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
    survey.doubled += doubled | torn
    if torn:
        survey.conflicts.append(f"in the lists of two splits: {some(sorted(torn))}")
    return split


def _add_targets(survey: Survey, reals: Path, options: Options, split: Mapping[str, Split]) -> None:
    """Add the real video of each fake in the lists, in its fake's split.

    One that stands against fakes of several splits stays in the last of these, test before
    validation before train, so that nothing that was trained on is tested.
    """
    order = list(SPLIT_FILES.values())
    wanted: dict[str, Split] = {}
    torn = set()
    for stem, name in sorted(split.items()):
        target = _target(stem)
        if wanted.get(target, name) != name:
            torn.add(target)
        wanted[target] = max(name, wanted.get(target, name), key=order.index)
    folder, videos = real_videos(reals, options.compression)
    inside = f"ffpp/{folder.removeprefix('FaceForensics++/')}"
    for target, name in wanted.items():
        if target not in videos:
            survey.missing.append(f"{inside}/{target}.mp4")
            continue
        survey.add(
            f"{inside}/{videos[target]}",
            "real",
            path=reals / folder / videos[target],
            split=name,
            source="youtube",
            identity=target,
        )
    if torn:
        survey.conflicts.append(f"targets of fakes in several splits: {some(sorted(torn))}")
