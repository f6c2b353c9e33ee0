"""What an evaluation scores: the videos of its stores, under every condition.

stores, split, conditions -> Plan -> Task, one per video and condition
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from fakestormer.data.listing import Entry
from fakestormer.data.manifest import Row, StoreSettings, read_manifest, read_settings
from fakestormer.data.remake import require_crops
from fakestormer.errors import InputError
from fakestormer.evaluation.corruptions import CorruptionName
from fakestormer.faces.protocol import FaceBackend
from fakestormer.recipe.faces import CropConfig
from fakestormer.recipe.prediction import PredictionConfig, Sampling
from fakestormer.runtimes.engine import Engine

AppliedTo = Literal["frames", "crops"]
FaceChoice = Literal["largest", "max"]
SplitChoice = Literal["train", "validation", "test", "all"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """corruption: None for videos as they are. level: 1 to 5, 0 without a corruption."""

    corruption: CorruptionName | None = None
    level: int = 0

    def __str__(self) -> str:
        """`clean`, `jpeg 3`."""
        return "clean" if self.corruption is None else f"{self.corruption} {self.level}"


CLEAN = Condition()


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One video of a data set under one condition."""

    data: str
    name: str
    condition: Condition = CLEAN
    applied_to: AppliedTo = "frames"

    @property
    def reads_store(self) -> bool:
        """Whether the stored crops are scored, instead of the video's frames."""
        return self.condition == CLEAN or self.applied_to == "crops"

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
class VideoSet:
    """One data set. address: of the object store that has its tracks; None where they are in the
    folder. videos: the rows of each video to score. entries: where the videos are, by name.
    """

    store: Path
    address: str | None = None
    settings: StoreSettings
    videos: Mapping[str, tuple[Row, ...]]
    entries: Mapping[str, Entry]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is scored and how.

    addresses: of the data sets whose tracks are in an object store. entries: where each data set's
    videos lie, for conditions that corrupt whole frames.
    open_engine: opens the engine of `weights_sha256`, once in every process. predictions: by
    sampling. workers: processes; 0 works in this one. cluster: address of a Ray cluster instead.
    """

    stores: Mapping[str, Path]
    crop: CropConfig
    weights_sha256: str
    open_engine: Callable[[], Engine]
    open_faces: Callable[[], FaceBackend]
    predictions: Mapping[Sampling, PredictionConfig]
    addresses: Mapping[str, str] = field(default_factory=dict)
    split: SplitChoice = "test"
    face: FaceChoice = "largest"
    conditions: tuple[Condition, ...] = (CLEAN,)
    applied_to: AppliedTo = "frames"
    entries: Mapping[str, Mapping[str, Entry]] | None = None
    workers: int = 0
    cluster: str | None = None

    @property
    def corruptions(self) -> tuple[CorruptionName, ...]:
        """The corruptions of the conditions, each once."""
        return tuple(dict.fromkeys(c.corruption for c in self.conditions if c.corruption))

    def video_sets(self) -> dict[str, VideoSet]:
        """The videos of every store; InputError for absent ones, which would change an AUC
        unnoticed.
        """
        sets = {}
        for name, store in self.stores.items():
            sets[name] = VideoSet(
                store=store,
                address=self.addresses.get(name),
                settings=read_settings(store),
                videos=dict(videos_of(store, self.crop, self.split)),
                entries={} if self.entries is None else self.entries[name],
            )
            if self.entries is None:
                continue
            if any(entry.kind == "sequences" for entry in self.entries[name].values()):
                raise InputError(
                    f"{store}: its videos are sequences in archives; whole frames can be corrupted "
                    "of video files and folders of pictures. Leave --corruptions, or add --corrupt "
                    "crops"
                )
            absent = [video for video in sets[name].videos if video not in self.entries[name]]
            if absent:
                raise InputError(
                    f"{store}: {len(absent)} of its videos are not where they were (e.g. "
                    f"{absent[0]}); put them back, say where all are with --root NAME=FOLDER, or "
                    "run prepare again"
                )
        return sets

    def tasks(self, sets: Mapping[str, VideoSet]) -> dict[tuple[str, Condition], list[Task]]:
        """What has to be scored, by data set and condition."""
        return {
            (data, condition): [
                Task(data=data, name=name, condition=condition, applied_to=self.applied_to)
                for name in videos.videos
            ]
            for data, videos in sets.items()
            for condition in self.conditions
        }


def videos_of(
    store: Path, crop: CropConfig, split: SplitChoice
) -> list[tuple[str, tuple[Row, ...]]]:
    """The rows of each video of the split, by name; also of videos without a usable track.

    Raises InputError for a store of another crop or without a usable video in the split.
    """
    require_crops(store, crop)
    rows = read_manifest(store)
    by_video: dict[str, list[Row]] = {}
    for row in rows:
        by_video.setdefault(row.video, []).append(row)
    wanted = []
    for video, rows_of_video in sorted(by_video.items()):
        splits = {row.split for row in rows_of_video}
        # In older stores rejected rows have no split: such a video is counted with every split.
        if split == "all" or split in splits or splits == {""}:
            wanted.append((video, tuple(rows_of_video)))
    if not any(usable(rows_of_video) for _, rows_of_video in wanted):
        known = sorted({row.split for row in usable(rows)})
        raise InputError(
            f"{store}: has no usable video in the split {split!r} (there are: "
            f"{', '.join(known) or 'none'}); choose another with --split, e.g. all"
        )
    return wanted


def usable(rows: Sequence[Row]) -> list[Row]:
    """The rows that were not rejected."""
    return [row for row in rows if not row.rejected]


def check_backend(faces: FaceBackend, store: Path, backend: str) -> None:
    """Raises InputError where another backend than this one found the faces of a store."""
    if faces.name != backend:
        raise InputError(
            f"{store}: its faces were found by {backend}, here they would be found by "
            f"{faces.name}; use the same face backend"
        )
