"""Which frames of a track make its clips, and reading them.

Positions count the frames of a track from 0. T: frames of a clip; C: clips; n: frames in all that
a test video gives (32).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import get_args

import numpy as np

from fakestormer.faces.crop import assemble_clip, crop, crop_squares
from fakestormer.recipe.faces import CropConfig
from fakestormer.recipe.prediction import Sampling
from fakestormer.types import Clip, FaceTrack
from fakestormer.types.arrays import Floats, Integers
from fakestormer.video.decode import FrameReader, stream_frames_at


def sample_clips(
    policy: Sampling, track_length: int, clip_length: int, frames: int = 32
) -> Integers:
    """Positions of the frames of a test video's clips: int64 (C, T).

    C is the number of clips that `frames` frames make, at least 1, and never more than the track
    can fill. The policies, for a track of 100 frames, clips of 4, 8 frames in all:

        consecutive  [0 1 2 3] [4 5 6 7]          the first frames (the paper's test)
        spread       [0 14 28 42] [57 71 85 99]   frames spread evenly, first and last included
        windows      [0 1 2 3] [96 97 98 99]      clips of consecutive frames, spread evenly

    Short tracks use every frame; what is then missing of the last clip repeats the last frame.
    Windows overlap before they repeat. A track of 6 frames:

        consecutive  [0 1 2 3] [4 5 5 5]
        spread       [0 1 2 3] [4 5 5 5]
        windows      [0 1 2 3] [2 3 4 5]

    and of 3 frames, all three: [0 1 2 2]. Raises ValueError for lengths below 1 or an unknown
    policy.
    """
    _require_positive(track_length=track_length, clip_length=clip_length, frames=frames)
    count = min(max(1, frames // clip_length), math.ceil(track_length / clip_length))
    wanted = count * clip_length
    if policy == "windows":
        last_start = max(0, track_length - clip_length)
        starts = np.rint(np.linspace(0, last_start, count))
        positions_ct = starts[:, None] + np.arange(clip_length)
    elif policy == "consecutive" or (policy == "spread" and track_length <= wanted):
        positions_ct = np.arange(wanted).reshape(count, clip_length)
    elif policy == "spread":
        spread = np.rint(np.linspace(0, track_length - 1, wanted))
        positions_ct = spread.reshape(count, clip_length)
    else:
        raise ValueError(
            f"unknown sampling {policy!r}: choose one of {', '.join(get_args(Sampling))}"
        )
    return np.minimum(positions_ct, track_length - 1).astype(np.int64)


def cut_clips(track_length: int, clip_length: int, offset: int) -> Integers:
    """A training track cut into non-overlapping clips of consecutive frames: int64 (C, T).

    offset: where the first clip begins, 0 <= offset < T, drawn anew each epoch; taken modulo the
    number of places where one whole clip still fits. Frames left over are not used:

        10 frames, T = 4, offset 1 -> [1 2 3 4] [5 6 7 8]
         5 frames, T = 4, offset 3 -> [1 2 3 4]   (3 mod 2 = 1)
         3 frames, T = 4           -> no clip, shape (0, 4)

    Nothing is repeated here: a still pair of frames would teach that real faces stand still.
    """
    _require_positive(track_length=track_length, clip_length=clip_length)
    if not 0 <= offset < clip_length:
        raise ValueError(f"cut_clips: expected 0 <= offset < {clip_length}, got {offset}")
    places = track_length - clip_length + 1
    if places < 1:
        return np.empty((0, clip_length), np.int64)
    starts = np.arange(offset % places, places, clip_length, dtype=np.int64)
    return starts[:, None] + np.arange(clip_length, dtype=np.int64)


def read_clips(
    path: str | Path,
    track: FaceTrack,
    positions_ct: Integers,
    config: CropConfig,
    squares: Floats | None = None,
    reader: FrameReader | None = None,
) -> list[Clip]:
    """Decode exactly the frames needed, crop each once, and put the C clips together.

    positions_ct: int (C, T), positions in the track, repeats allowed. squares: float32
    (len(track), 3), `crop_squares(track, config)` unless given. reader: of the same file, where
    several tracks are read, in order of appearance. Memory holds crops, never a whole list of
    frames. Raises InputError when the video ends before a frame of the track.
    """
    squares = crop_squares(track, config) if squares is None else squares
    rows = [[int(position) for position in row] for row in positions_ct]
    needed = {int(track.indices[position]): position for row in rows for position in row}
    frames = stream_frames_at(path, needed) if reader is None else reader.at(needed)
    crops = {
        needed[index]: crop(rgb_hwc, squares[needed[index]], config.stored_size)
        for index, _, rgb_hwc in frames
    }
    name = Path(path).name
    return [
        assemble_clip(
            crops,
            track,
            row,
            squares,
            config,
            source=f"{name}#{track.number}@{int(track.indices[row[0]])}",
        )
        for row in rows
    ]


def _require_positive(**lengths: int) -> None:
    for name, value in lengths.items():
        if value < 1:
            raise ValueError(f"{name}: expected at least 1, got {value}")
