"""A full time line: one clip in each second of every face, in one pass and little memory.

Crops are dropped as soon as their clip is scored, so that an hour takes what a minute takes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from fakestormer.detection.prediction import calibrated, predict_clips
from fakestormer.faces.crop import assemble_clip, crop, crop_squares
from fakestormer.recipe.faces import CropConfig
from fakestormer.recipe.prediction import PredictionConfig
from fakestormer.runtimes.engine import Engine
from fakestormer.types import Clip, EverySecond, FaceReport, FaceTrack
from fakestormer.types.arrays import Floats, Integers, Pixels
from fakestormer.video.decode import FrameReader

_BATCH = 8


def second_clips(track: FaceTrack, clip_length: int) -> Integers:
    """Positions in the track of a clip for each second it is seen in: int64 (M, T).

    A clip begins with the first frame of its second and may reach into the next; at the track's
    end it begins earlier, and a track shorter than a clip repeats its last frame.

    # 60 frames at 25/s, T = 4: [0 1 2 3] [25 26 27 28] [50 51 52 53]
    """
    whole = np.floor(track.pts_seconds + 1e-9)
    _, starts = np.unique(whole, return_index=True)
    starts = np.minimum(starts, max(0, len(track) - clip_length))
    positions_mt = starts[:, None].astype(np.int64) + np.arange(clip_length, dtype=np.int64)
    return np.asarray(np.minimum(positions_mt, len(track) - 1), np.int64)


def score_every_second(
    reader: FrameReader,
    tracks: Sequence[FaceTrack],
    faces: Sequence[FaceReport],
    engine: Engine,
    prediction: PredictionConfig,
    config: CropConfig,
    *,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[FaceReport, ...]:
    """The faces of the tracks with their time lines. progress: ("seconds", clips scored, in all).

    Raises InputError when the video ends before a frame of a track.
    """
    squares = [crop_squares(track, config) for track in tracks]
    clips = [second_clips(track, engine.config.frames) for track in tracks]
    scores = [np.zeros(len(positions_mt), np.float32) for positions_mt in clips]
    total = sum(map(len, clips))
    # Frame -> the clips it belongs to, as (place of the track, row, position in the track).
    uses: dict[int, list[tuple[int, int, int]]] = {}
    for k, track in enumerate(tracks):
        first = int(track.indices[0])
        for row, positions in enumerate(clips[k].tolist()):
            for position in set(positions):
                uses.setdefault(first + position, []).append((k, row, position))
    open_clips: dict[tuple[int, int], dict[int, Pixels]] = {}
    waiting: list[tuple[int, int, Clip]] = []
    done = 0

    def score() -> None:
        nonlocal done
        clips_m = [clip for *_, clip in waiting]
        prediction_m, _ = predict_clips(engine, clips_m, prediction, branches=False)
        for (k, row, _), value in zip(waiting, prediction_m.clip_scores, strict=True):
            scores[k][row] = value
        done += len(waiting)
        waiting.clear()
        if progress is not None:
            progress("seconds", done, total)

    with reader:
        for index, _, rgb_hwc in reader.at(uses):
            for k, row, position in uses[index]:
                crops = open_clips.setdefault((k, row), {})
                crops[position] = crop(rgb_hwc, squares[k][position], config.stored_size)
                positions = clips[k][row].tolist()
                if position == positions[-1]:
                    source = f"#{tracks[k].number}@{index}"
                    clip = assemble_clip(
                        open_clips.pop((k, row)), tracks[k], positions, squares[k], config, source
                    )
                    waiting.append((k, row, clip))
            if len(waiting) >= _BATCH:
                score()
    if waiting:
        score()
    return tuple(
        replace(face, every_second=_line(track, clips[k][:, 0], scores[k], prediction))
        for k, (face, track) in enumerate(zip(faces, tracks, strict=True))
    )


def _line(
    track: FaceTrack, starts_m: Integers, scores_m: Floats, prediction: PredictionConfig
) -> EverySecond:
    return EverySecond(
        seconds=track.pts_seconds[starts_m],
        probabilities=calibrated(scores_m, prediction),
        raw=None if prediction.calibration is None else scores_m,
    )
