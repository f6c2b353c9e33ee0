"""Clips of corrupted videos: of whole frames before faces are found, or of stored crops.

    stored crops -> corrupted ---------------------------------> clips    applied to "crops"
    frames of the video -> corrupted -> face tracks -> crops --> clips    applied to "frames"

The field's robustness benchmark corrupts whole frames: the face is found in what is left of them.
That needs the videos themselves. Random corruptions are seeded by the content of the video, so a
frame is the same each time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from fakestormer.data.manifest import Row, StoreSettings
from fakestormer.data.prepare_one import Followed
from fakestormer.data.units import Unit
from fakestormer.evaluation.corruptions import (
    LEVELS,
    corrupt_frame,
    corrupt_frames,
    frame_rng,
    recompress,
    recompressed,
)
from fakestormer.evaluation.plan import Condition
from fakestormer.evaluation.score import ReadClips, store_reader
from fakestormer.faces.crop import assemble_clip
from fakestormer.types import Clip
from fakestormer.video.decode import Frame, stream_frames

#: The frames of a video at some indices.
FramesAt = Callable[[set[int]], Iterator[Frame]]


@contextmanager
def corrupted_unit(
    unit: Unit, condition: Condition, scratch: Path
) -> Iterator[tuple[Unit, FramesAt]]:
    """(the unit with every frame corrupted, the same frames at some indices only)."""
    name, level = condition.corruption, condition.level
    if name is None:
        yield unit, unit.at
    elif name == "video":
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            path = Path(folder) / "recompressed.mp4"
            recompress(unit.frames(), path, level)
            recompressed = replace(unit, frames=partial(stream_frames, path))
            yield recompressed, recompressed.at
    else:

        def every_frame() -> Iterator[Frame]:
            return corrupt_frames(unit.frames(), name, level, key=unit.sha256)

        def some_frames(indices: set[int]) -> Iterator[Frame]:
            return corrupt_frames(unit.at(indices), name, level, key=unit.sha256)

        yield replace(unit, frames=every_frame), some_frames


def frames_reader(face: Followed, frames_at: FramesAt, settings: StoreSettings) -> ReadClips:
    """Reads clips of a track as `prepare` would have stored them, without storing them."""

    def read(positions_ct: np.ndarray) -> list[Clip]:
        first = int(face.track.indices[0])
        needed = {first + int(position) for position in positions_ct.flat}
        crops = {
            index - first: face.cut_out(rgb_hwc, index - first)
            for index, _, rgb_hwc in frames_at(needed)
        }
        return [
            assemble_clip(
                crops,
                face.track,
                [int(position) for position in row],
                face.squares_t3,
                settings.crop,
                source=f"{face.row.video}#{face.track.number}@{first + int(row[0])}",
            )
            for row in positions_ct
        ]

    return read


def crops_reader(store: Path, condition: Condition) -> Callable[[Row], ReadClips]:
    """Reads clips of a store and corrupts their crops: faster than whole frames, other numbers."""
    stored = store_reader(store)
    name, level = condition.corruption, condition.level
    assert name is not None

    def reader(row: Row) -> ReadClips:
        if name == "video":
            return lambda positions_ct: _recompressed(row, stored(row), positions_ct, level)

        def read(positions_ct: np.ndarray) -> list[Clip]:
            return [
                with_pictures(
                    clip,
                    [
                        corrupt_frame(rgb, name, level, frame_rng(row.sha256, name, level, index))
                        for index, rgb in zip(clip.indices.tolist(), pictures(clip), strict=True)
                    ],
                )
                for clip in stored(row)(positions_ct)
            ]

        return read

    return reader


def _recompressed(row: Row, read: ReadClips, positions_ct: np.ndarray, level: int) -> list[Clip]:
    """The whole track's crops as one film, recompressed; then the clips of it."""
    (track,) = read(np.arange(row.frames)[None])
    crops = recompressed(pictures(track), int(LEVELS["video"][level - 1]))
    return [
        with_pictures(clip, [crops[position] for position in positions])
        for clip, positions in zip(read(positions_ct), positions_ct.tolist(), strict=True)
    ]


def pictures(clip: Clip) -> list[np.ndarray]:
    """The frames of a clip, each uint8 (S, S, 3)."""
    return list(np.ascontiguousarray(clip.frames.transpose(0, 2, 3, 1)))


def with_pictures(clip: Clip, pictures: Sequence[np.ndarray]) -> Clip:
    """The clip with other frames, each uint8 (S, S, 3)."""
    frames_tchw = np.ascontiguousarray(np.stack(pictures).transpose(0, 3, 1, 2))
    return replace(clip, frames=frames_tchw)
