"""Random clips of 4 frames a second: from a track store, and from the videos it was made of.

    python benchmarks/decode.py STORE VIDEOS [--clips 60] [--quick]

STORE is what `prepare` made of the folder VIDEOS. Reference: the same clips straight from the
videos, by seeking, then cropping; and decoding each of those videos from its beginning. Processor
time of one thread, median and range of the rounds, the files in the page cache.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from fakestormer.data.manifest import Row, read_manifest, read_settings
from fakestormer.data.store import read_clip
from fakestormer.faces.crop import crop
from fakestormer.video.decode import stream_frames, stream_frames_at

T = 4


@dataclass(frozen=True)
class Wanted:
    """One clip: of which track, and where it lies in the video; squares: (T, 3), source px."""

    row: Row
    positions: range
    indices: list[int]
    squares: np.ndarray


def draw(store: Path, videos: Path, count: int) -> list[Wanted]:
    """Clips of tracks drawn at random, of those whose video is there."""
    rows = [
        row
        for row in read_manifest(store)
        if row.frames > T and not row.rejected and (videos / row.video).is_file()
    ]
    if not rows:
        raise SystemExit(f"{videos}: holds none of the videos that {store} was made of")
    rng = np.random.default_rng(0)
    wanted = []
    for number in rng.integers(len(rows), size=count):
        row = rows[number]
        first = int(rng.integers(row.frames - T + 1))
        positions = range(first, first + T)
        with (
            zipfile.ZipFile(store / row.file) as members,
            np.load(io.BytesIO(members.read("track.npz"))) as arrays,
        ):
            indices = arrays["indices"][positions].tolist()
            wanted.append(Wanted(row, positions, indices, arrays["squares"][positions]))
    return wanted


def rates(work: Callable[[Wanted], object], wanted: list[Wanted], rounds: int) -> list[float]:
    """Clips a second in each round, after some that do not count."""
    for clip in wanted[:5]:
        work(clip)
    taken = []
    for _ in range(rounds):
        began = time.process_time()
        for clip in wanted:
            work(clip)
        taken.append(len(wanted) / (time.process_time() - began))
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("videos", type=Path)
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--quick", action="store_true", help="10 clips, one round")
    asked = parser.parse_args()
    rounds = 1 if asked.quick else 3
    cv2.setNumThreads(1)
    side = read_settings(asked.store).crop.stored_size
    wanted = draw(asked.store, asked.videos, 10 if asked.quick else asked.clips)

    def from_store(clip: Wanted) -> object:
        row = clip.row
        return read_clip(asked.store / row.file, clip.positions, video=row.video, number=row.track)

    def by_seeking(clip: Wanted) -> object:
        squares = dict(zip(clip.indices, clip.squares, strict=True))
        frames = stream_frames_at(asked.videos / clip.row.video, clip.indices)
        return [crop(rgb_hwc, squares[index], side) for index, _, rgb_hwc in frames]

    def from_the_start(clip: Wanted) -> object:
        squares = dict(zip(clip.indices, clip.squares, strict=True))
        crops = []
        for index, _, rgb_hwc in stream_frames(asked.videos / clip.row.video):
            if index in squares:
                crops.append(crop(rgb_hwc, squares[index], side))
            if index == clip.indices[-1]:
                break
        return crops

    lengths = [clip.row.frames for clip in wanted]
    print(
        f"{len(wanted)} random clips of {T} frames, crops of {side} px; tracks of "
        f"{min(lengths)} to {max(lengths)} frames, median {statistics.median(lengths):.0f}\n"
    )
    print("| | clips a second | against seeking |\n| --- | --- | --- |")
    results = [
        ("track store", rates(from_store, wanted, rounds)),
        ("video, by seeking (reference)", rates(by_seeking, wanted, rounds)),
        ("video, from its beginning", rates(from_the_start, wanted, rounds)),
    ]
    reference = statistics.median(results[1][1])
    for name, found in results:
        median = statistics.median(found)
        print(
            f"| {name} | {median:.0f} ({min(found):.0f}-{max(found):.0f}) | "
            f"{median / reference:.2f}x |"
        )


if __name__ == "__main__":
    main()
