"""Folders of links to the videos that the weights are trained on and measured with, and tables.

    python runs/training_videos.py train DATA OUT
    python runs/training_videos.py measure DATA OUT [PAIRS]

DATA holds clips.csv with real/, real2/clips.csv with real2/train and real2/validation, and
swaps-dev/clips.csv. OUT gets the links and videos.csv, for `fakestormer prepare OUT --table
OUT/videos.csv`.

train: a fifth of the clips of one studio, the signers, all of real2/train; real2/validation is held
out. measure: nothing that is trained on. The real ones are real2/validation, GRID, LivePortrait's
and styletalk's drivers and the originals of the swaps; the fakes are the swaps and, from PAIRS (as
`fakestormer pseudo-fakes` wrote them), the pseudo-fakes.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

#: Every so manieth clip of a source is trained on.
STEPS = {"lrw-ar": 5, "wlasl": 1}
#: Sources that nothing is trained on.
MEASURED = ("grid", "liveportrait", "styletalk")


@dataclass(frozen=True, slots=True, kw_only=True)
class Video:
    """One row of the table: where the file is, and what it is called below OUT."""

    file: Path
    name: str
    split: str
    source: str
    identity: str
    label: str = "real"
    method: str = ""


def rows_of(table: Path) -> list[dict[str, str]]:
    """The rows of a CSV."""
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def old_clips(data: Path, source: str) -> list[dict[str, str]]:
    """The real clips of one source of the first collection."""
    rows = rows_of(data / "clips.csv")
    return [row for row in rows if row["path"].startswith("real/") and row["source"] == source]


def second_collection(data: Path, split: str) -> Iterable[Video]:
    """The clips of real2/train or real2/validation."""
    for row in rows_of(data / "real2" / "clips.csv"):
        if row["split"] == split:
            yield Video(
                file=data / "real2" / row["path"],
                name=f"real/real2/{row['path']}",
                split=split,
                source=row["source"],
                identity=row["identity"],
            )


def training(data: Path) -> Iterable[Video]:
    """What is trained on, and what is held out for validation."""
    for source, step in STEPS.items():
        for row in old_clips(data, source)[::step]:
            yield Video(
                file=data / row["path"],
                name=row["path"],
                split="train",
                source=source,
                identity=row["identity"] or row["session"],
            )
    yield from second_collection(data, "train")
    yield from second_collection(data, "validation")


def measuring(data: Path, pairs: Path | None) -> Iterable[Video]:
    """What the verdicts are calibrated and measured with."""
    for video in second_collection(data, "validation"):
        yield replace(video, split="test")
    for source in MEASURED:
        for row in old_clips(data, source):
            yield Video(
                file=data / row["path"],
                name=row["path"],
                split="test",
                source=source,
                identity=row["identity"],
            )
    for row in rows_of(data / "swaps-dev" / "clips.csv"):
        fake = row["label"] == "fake"
        yield Video(
            file=data / "swaps-dev" / row["path"],
            name=f"{row['label']}/swaps/{Path(row['path']).name}",
            split="test",
            source="swaps",
            identity=row["pair"],
            label=row["label"],
            method="swaps" if fake else "",
        )
    for row in rows_of(pairs / "videos.csv") if pairs else ():
        if row["label"] == "fake" and pairs is not None:
            yield Video(
                file=pairs / row["path"],
                name=f"fake/pseudo-fakes/{Path(row['path']).as_posix().replace('/', '_')}",
                split="test",
                source=row["source"],
                identity=row["identity"],
                label="fake",
                method="pseudo-fakes",
            )


def link(videos: Iterable[Video], out: Path) -> None:
    """Write the links and the table."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / "videos.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("path", "label", "split", "source", "identity", "method"))
        for video in videos:
            place = out / video.name
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.is_symlink():
                place.symlink_to(video.file.resolve())
            table.writerow(
                (video.name, video.label, video.split, video.source, video.identity, video.method)
            )


def main(arguments: list[str]) -> None:
    if len(arguments) == 3 and arguments[0] == "train":
        link(training(Path(arguments[1])), Path(arguments[2]))
    elif len(arguments) in (3, 4) and arguments[0] == "measure":
        pairs = Path(arguments[3]) if len(arguments) == 4 else None
        link(measuring(Path(arguments[1]), pairs), Path(arguments[2]))
    else:
        sys.exit("usage: python runs/training_videos.py train|measure DATA OUT [PAIRS]")


if __name__ == "__main__":
    main(sys.argv[1:])
