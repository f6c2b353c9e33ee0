"""One task of an evaluation -> the scores of its videos, in any process.

clean, or crops corrupted     the store's tracks
whole frames corrupted        the video is decoded, its faces are found anew
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from fakestormer.data.prepare_one import followed
from fakestormer.data.units import Unit, units_of
from fakestormer.errors import InputError
from fakestormer.evaluation.corrupted import corrupted_unit, crops_reader, frames_reader
from fakestormer.evaluation.plan import CLEAN, FaceChoice, Task, VideoSet, check_backend
from fakestormer.evaluation.score import (
    Scoring,
    VideoScore,
    score_video,
    store_reader,
    tracks_at_hand,
)
from fakestormer.faces.protocol import FaceBackend
from fakestormer.recipe.prediction import PredictionConfig
from fakestormer.runtimes.engine import Engine

#: What the store says of a video, whatever is done to its frames.
_DESCRIBED = ("sha256", "label", "method", "source", "group")
#: The scores of one video, by sampling.
BySampling = Mapping[str, VideoScore]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """The scores of one task, by sampling. final: False where a video may be readable later."""

    scores: BySampling
    final: bool = True


@dataclass(kw_only=True)
class ScoreTask:
    """Task key -> the scores of its video; picklable work for other processes.

    predictions: by the name of their sampling. Raises InputError where another backend than the one
    that `open_faces` opens found a store's faces.
    """

    sets: Mapping[str, VideoSet]
    open_engine: Callable[[], Engine]
    open_faces: Callable[[], FaceBackend]
    predictions: Mapping[str, PredictionConfig]
    face: FaceChoice

    @cached_property
    def _scoring(self) -> Scoring:
        return Scoring(engine=self.open_engine(), predictions=self.predictions, face=self.face)

    @cached_property
    def _faces(self) -> FaceBackend:
        return self.open_faces()

    def __call__(self, key: str) -> Scored:
        task = Task.of(key)
        videos = self.sets[task.data]
        if not task.reads_store:
            return self._score_frames(task, videos)
        rows = videos.videos[task.name]
        with tracks_at_hand(videos.store, videos.address, rows) as store:
            reader = (
                store_reader(store)
                if task.condition == CLEAN
                else crops_reader(store, task.condition)
            )
            return Scored(scores=score_video(self._scoring, rows, reader, data=task.data))

    def unscored(self, task: Task, reason: str, *, final: bool = True) -> Scored:
        """A video that could not be scored."""
        return Scored(scores=self._missing(task, reason), final=final)

    def _missing(self, task: Task, reason: str) -> BySampling:
        about = self.sets[task.data].videos[task.name][0]
        return dict.fromkeys(self.predictions, VideoScore.missing(task.data, about, reason))

    def _score_frames(self, task: Task, videos: VideoSet) -> Scored:
        """The video by frames that are corrupted before faces are found."""
        check_backend(self._faces, videos.store, videos.settings.backend)
        rows, settings = videos.videos[task.name], videos.settings
        if any(row.rejected == "decoder crashed" for row in rows):  # it would end this process, too
            return self.unscored(task, "decoder crashed")
        entry, limit = videos.entries[task.name], settings.frames_in(rows[0].split)
        with tempfile.TemporaryDirectory(prefix="fakestormer-") as folder:
            scratch = Path(folder)
            try:
                with units_of(entry, max_frames=limit, scratch=scratch, stream=settings.stream) as (
                    unit,
                ):
                    return Scored(scores=self._score_unit(task, videos, unit, scratch))
            except InputError as error:
                return self.unscored(task, str(error), final=False)

    def _score_unit(self, task: Task, videos: VideoSet, unit: Unit, scratch: Path) -> BySampling:
        about = videos.videos[unit.video][0]
        if about.sha256 and unit.sha256 != about.sha256:
            raise InputError(
                f"{unit.video}: has changed since {videos.store} was made; prepare the videos again"
            )
        with corrupted_unit(unit, task.condition, scratch) as (corrupted, frames_at):
            try:
                faces = followed(corrupted, self._faces, videos.settings)
            except InputError:  # as it was when the store was made
                return self._missing(task, "undecodable")
            by_track = {face.row.track: face for face in faces}
            # Tracks found now, described as the store describes the video.
            facts = {name: getattr(about, name) for name in _DESCRIBED}
            rows = [replace(face.row, **facts) for face in faces] or [
                replace(about, rejected="no face", track=-1)
            ]
            return score_video(
                self._scoring,
                rows,
                lambda row: frames_reader(by_track[row.track], frames_at, videos.settings),
                data=task.data,
            )
