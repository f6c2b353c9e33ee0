"""Scoring one video under one condition: as it is stored, or corrupted.

    stored crops ------------------------------------------------> score        condition "clean"
    stored crops -> corrupted -----------------------------------> score        applied to "crops"
    frames of the video -> corrupted -> face tracks -> crops ----> score        applied to "frames"

The last is what the field's robustness benchmark does: whole frames are corrupted, and the face is
found in what is left of them. It needs the videos themselves.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
import torch

from fakestormer.data.listing import Entry
from fakestormer.data.manifest import Row, StoreSettings, read_settings
from fakestormer.data.prepare_one import Followed, followed
from fakestormer.data.units import Unit, units_of
from fakestormer.errors import InputError
from fakestormer.evaluation.corruptions import (
    CorruptionName,
    corrupt_frame,
    corrupt_frames,
    frame_rng,
    recompress,
)
from fakestormer.evaluation.protocol import (
    FaceChoice,
    ReadClips,
    VideoScore,
    score_video,
    store_reader,
)
from fakestormer.faces.crop import assemble_clip, crop
from fakestormer.faces.protocol import FaceBackend
from fakestormer.model.network import VideoNetwork
from fakestormer.recipe.prediction import PredictionConfig
from fakestormer.types import Clip
from fakestormer.video.decode import Frame, stream_frames
from fakestormer.video.pictures import NOMINAL_RATE

AppliedTo = Literal["frames", "crops"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """corruption: None for videos as they are. level: 1 to 5, 0 without a corruption."""

    corruption: CorruptionName | None = None
    level: int = 0

    def __post_init__(self) -> None:
        if (self.corruption is None) != (self.level == 0) or not 0 <= self.level <= 5:
            raise ValueError(f"no such condition: {self.corruption} at level {self.level}")


CLEAN = Condition()


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoSet:
    """What is known of one data set without reading its tracks.

    videos: the rows of each video that is to be scored. entries: where the videos lie, by name;
    needed only where whole frames are corrupted.
    """

    store: Path
    settings: StoreSettings
    videos: Mapping[str, tuple[Row, ...]]
    entries: Mapping[str, Entry]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One video (or, with whole frames, one entry) of a data set under one condition.

    applied_to: what is corrupted; clean videos are the same either way.
    """

    data: str
    name: str
    condition: Condition = CLEAN
    applied_to: AppliedTo = "frames"

    def key(self) -> str:
        """The task as one string."""
        parts = [self.data, self.name, self.condition.corruption, self.condition.level]
        return json.dumps(parts if self.condition == CLEAN else [*parts, self.applied_to])

    @classmethod
    def of(cls, key: str) -> Task:
        """The task that has this key."""
        data, name, corruption, level, *applied_to = json.loads(key)
        condition = Condition(corruption=corruption, level=level)
        if applied_to:
            return cls(data=data, name=name, condition=condition, applied_to=applied_to[0])
        return cls(data=data, name=name, condition=condition)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What one task gave, by sampling. final: False where a video could not be read this time, but
    might another time, so that it is not kept.
    """

    scores: Mapping[str, list[VideoScore]]
    final: bool = True


class ScoreOne:
    """Task key -> the scores of its videos; a picklable work for other processes.

    open_network, open_faces: called once in each process, at first use. predictions: by the name
    of their sampling. Raises InputError where a store's faces were found by another backend than
    `open_faces` opens.
    """

    def __init__(
        self,
        tests: Mapping[str, VideoSet],
        *,
        open_network: Callable[[], VideoNetwork],
        open_faces: Callable[[], FaceBackend],
        predictions: Mapping[str, PredictionConfig],
        face: FaceChoice,
    ) -> None:
        self.tests, self.predictions = tests, predictions
        self.open_network, self.open_faces = open_network, open_faces
        self.face = face
        self._network: VideoNetwork | None = None
        self._faces: FaceBackend | None = None

    def __call__(self, key: str) -> Scored:
        task = Task.of(key)
        if self._network is None:
            self._network = self.open_network()
        test = self.tests[task.data]
        if task.condition == CLEAN:
            rows = test.videos[task.name]
            return Scored(scores=self._score(task.data, rows, store_reader(test.store)))
        if task.applied_to == "crops":
            rows = test.videos[task.name]
            reader = corrupted_store_reader(test.store, task.condition)
            return Scored(scores=self._score(task.data, rows, reader))
        return self._score_frames(task, test)

    def _score(
        self,
        data: str,
        rows: Sequence[Row],
        reader: Callable[[Row], ReadClips],
        about: Row | None = None,
    ) -> dict[str, list[VideoScore]]:
        assert self._network is not None
        return {
            sampling: [
                score_video(
                    self._network,
                    prediction,
                    self.face,
                    about=about or rows[0],
                    data=data,
                    rows=rows,
                    reader=reader,
                )
            ]
            for sampling, prediction in self.predictions.items()
        }

    def _score_frames(self, task: Task, test: VideoSet) -> Scored:
        if self._faces is None:
            self._faces = self.open_faces()
        check_backend(self._faces, test.store)
        entry = test.entries[task.name]
        scores: dict[str, list[VideoScore]] = {sampling: [] for sampling in self.predictions}
        reasons: dict[str, str] = {}
        final = True
        videos = task_videos(test, task)
        done = {video for video in videos if _crashed(test.videos[video])}
        for video in done:  # it would take this process with it
            reasons[video] = "decoder crashed"
        with tempfile.TemporaryDirectory(prefix="fakestormer-") as scratch:
            units = units_of(entry, max_frames=test.settings.max_frames, scratch=Path(scratch))
            problem = "is not in its archive any more"
            try:
                with units as found:
                    for unit in found if len(done) < len(videos) else ():
                        if unit.video not in test.videos or unit.video in done:  # of another split
                            continue
                        done.add(unit.video)
                        try:
                            scored = self._score_unit(task, test, unit, Path(scratch))
                        except InputError as error:
                            reasons[unit.video] = str(error)
                            final = False
                        else:
                            for sampling, own in scored.items():
                                scores[sampling] += own
            except InputError as error:
                problem = str(error)
        for video in videos:
            if video not in done:
                reasons[video] = problem
                final = False
        for video, reason in reasons.items():
            for sampling, own in self.unscored(task.data, test.videos[video], reason).items():
                scores[sampling] += own
        return Scored(scores=scores, final=final)

    def unscored(self, data: str, rows: Sequence[Row], reason: str) -> dict[str, list[VideoScore]]:
        """A video that could not be scored, by sampling."""
        first = rows[0]
        score = VideoScore(
            data=data,
            video=first.video,
            sha256=first.sha256,
            label=first.label,
            method=first.method,
            source=first.source,
            score=None,
            reason=reason,
        )
        return {sampling: [score] for sampling in self.predictions}

    def _score_unit(
        self, task: Task, test: VideoSet, unit: Unit, scratch: Path
    ) -> dict[str, list[VideoScore]]:
        assert self._faces is not None
        about = test.videos[unit.video][0]
        if about.sha256 and unit.sha256 != about.sha256:
            raise InputError(
                f"{unit.video}: has changed since {test.store} was made; prepare the videos again"
            )
        with corrupted_unit(unit, task.condition, scratch) as (corrupted, frames_at):
            try:
                faces = followed(corrupted, self._faces, test.settings)
            except InputError:  # as it was when the store was made
                return self.unscored(task.data, [about], "undecodable")
            rows: list[Row] = [face.row for face in faces]
            if not rows:
                rows = [replace(about, rejected="no face", track=-1)]
            by_track = {face.row.track: face for face in faces}

            def reader(row: Row) -> ReadClips:
                return _cut_from_frames(by_track[row.track], frames_at, test.settings)

            return self._score(task.data, rows, reader, about)


def task_names(test: VideoSet, condition: Condition, applied_to: AppliedTo) -> list[str]:
    """What has to be done for one condition: every video, or every entry that holds one."""
    if condition == CLEAN or applied_to == "crops":
        return list(test.videos)
    holding = {name for video in test.videos for name in _within(video)}
    return [
        name
        for name, entry in test.entries.items()
        if name in test.videos or (entry.kind == "sequences" and name in holding)
    ]


def task_videos(test: VideoSet, task: Task) -> list[str]:
    """The videos that a task scores."""
    if task.condition == CLEAN or task.applied_to == "crops":
        return [task.name]
    entry = test.entries[task.name]
    if entry.kind != "sequences":
        return [task.name]
    return [video for video in test.videos if video.startswith(f"{task.name}/")] + (
        [task.name] if task.name in test.videos else []
    )


def absent_videos(test: VideoSet) -> list[str]:
    """The videos that no entry holds any more."""
    return [
        video for video in test.videos if not any(name in test.entries for name in _within(video))
    ]


def _within(video: str) -> list[str]:
    """The video's own name and those of everything that it lies in."""
    path = PurePosixPath(video)
    return [name.as_posix() for name in (path, *path.parents)]


def _crashed(rows: Sequence[Row]) -> bool:
    return any(row.rejected == "decoder crashed" for row in rows)


def check_backend(faces: FaceBackend, store: Path) -> None:
    """Raises InputError where a store's faces were found by another backend than this."""
    found_by = read_settings(store).backend
    if faces.name != found_by:
        raise InputError(
            f"{store}: its faces were found by {found_by}, here they would be found by "
            f"{faces.name}; use the same face backend"
        )


@contextmanager
def corrupted_unit(
    unit: Unit, condition: Condition, scratch: Path
) -> Iterator[tuple[Unit, Callable[[set[int]], Iterator[Frame]]]]:
    """(the unit with every frame corrupted, the same frames at some indices only).

    Random corruptions are seeded by the content of the video, so both give the same pixels.
    """
    name, level = condition.corruption, condition.level
    if name is None:
        yield unit, lambda indices: _at(unit.frames(), indices)
    elif name == "video":
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            path = Path(folder) / "recompressed.mp4"
            recompress(unit.frames(), path, level)
            frames = partial(stream_frames, path)
            yield replace(unit, frames=frames), lambda indices: _at(frames(), indices)
    else:

        def every_frame() -> Iterator[Frame]:
            return corrupt_frames(unit.frames(), name, level, key=unit.sha256)

        def some_frames(indices: set[int]) -> Iterator[Frame]:
            chosen = _at(unit.frames(), indices)
            return corrupt_frames(chosen, name, level, key=unit.sha256)

        yield replace(unit, frames=every_frame), some_frames


def _at(frames: Iterator[Frame], indices: set[int]) -> Iterator[Frame]:
    last = max(indices)
    for frame in frames:
        if frame[0] in indices:
            yield frame
        if frame[0] >= last:
            return


def _cut_from_frames(
    face: Followed, frames_at: Callable[[set[int]], Iterator[Frame]], settings: StoreSettings
) -> ReadClips:
    """Reads clips of a track as `prepare` would have stored them, without storing them."""

    def read(positions_ct: np.ndarray) -> list[Clip]:
        first = int(face.track.indices[0])
        needed = {first + int(position) for position in positions_ct.flat}
        crops = {
            index - first: crop(rgb_hwc, face.squares_t3[index - first], face.size)
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


def corrupted_store_reader(store: Path, condition: Condition) -> Callable[[Row], ReadClips]:
    """Clips of a store whose crops are corrupted: faster than whole frames, and not the same."""
    stored = store_reader(store)
    name, level = condition.corruption, condition.level
    assert name is not None

    def reader(row: Row) -> ReadClips:
        if name == "video":
            return lambda positions_ct: _recompressed(row, stored(row), positions_ct, level)

        def read(positions_ct: np.ndarray) -> list[Clip]:
            return [
                _with_frames(
                    clip,
                    [
                        corrupt_frame(rgb, name, level, frame_rng(row.sha256, name, level, index))
                        for index, rgb in zip(clip.indices.tolist(), _pictures(clip), strict=True)
                    ],
                )
                for clip in stored(row)(positions_ct)
            ]

        return read

    return reader


def _recompressed(row: Row, read: ReadClips, positions_ct: np.ndarray, level: int) -> list[Clip]:
    """The whole track's crops as one film, recompressed; then the clips of it."""
    (track,) = read(np.arange(row.frames)[None])
    film = [(t, t / NOMINAL_RATE, rgb_hwc) for t, rgb_hwc in enumerate(_pictures(track))]
    with tempfile.TemporaryDirectory(prefix="fakestormer-") as folder:
        path = Path(folder) / "recompressed.mp4"
        recompress(film, path, level)
        crops = [rgb_hwc for _, _, rgb_hwc in stream_frames(path)]
    return [
        _with_frames(clip, [crops[position] for position in positions])
        for clip, positions in zip(read(positions_ct), positions_ct.tolist(), strict=True)
    ]


def _pictures(clip: Clip) -> list[np.ndarray]:
    """The frames of a clip, each uint8 (S, S, 3)."""
    return list(clip.frames.permute(0, 2, 3, 1).contiguous().numpy())


def _with_frames(clip: Clip, pictures: Sequence[np.ndarray]) -> Clip:
    frames_thwc = torch.from_numpy(np.stack(pictures))
    return replace(clip, frames=frames_thwc.permute(0, 3, 1, 2).contiguous())
