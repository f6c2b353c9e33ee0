"""A folder of links to the videos that the weights are trained and chosen on, and a table of them.

    python runs/training_videos.py DATA OUT

DATA holds clips.csv with real/, and real2/clips.csv with real2/train and real2/validation. OUT gets
the links and videos.csv, for `fakestormer prepare OUT --table OUT/videos.csv`. Most of the old
clips are of one studio, so a tenth of them is taken, and half of the signers, all of real2. GRID,
LivePortrait's and styletalk's clips are left out: they are for measuring.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

#: Every so manieth clip of a source is trained on, from the clip of this number on.
SHARES = {"lrw-ar": (5, 10), "wlasl": (1, 2)}


def rows_of(table: Path) -> list[dict[str, str]]:
    """The rows of a CSV."""
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def chosen(data: Path) -> list[tuple[str, str, str]]:
    """(path below DATA, split, identity) of every video."""
    old = [row for row in rows_of(data / "clips.csv") if row["path"].startswith("real/")]
    videos = []
    for source, (first, step) in SHARES.items():
        for row in [row for row in old if row["source"] == source][first::step]:
            videos.append((row["path"], "train", row["identity"] or row["session"]))
    for row in rows_of(data / "real2" / "clips.csv"):
        videos.append((f"real2/{row['path']}", row["split"], row["identity"]))
    return videos


def main(data: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    with (out / "videos.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("path", "label", "split", "identity"))
        for path, split, identity in chosen(data):
            link = out / path
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.is_symlink():
                link.symlink_to((data / path).resolve())
            table.writerow((path, "real", split, identity))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: python runs/training_videos.py DATA OUT")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
