"""All videos of all data sets under all conditions; goes on where an earlier call was stopped.

    OUT/scores/<data set>-<hash>.jsonl    one line per finished task

The hash is of everything a score depends on: weights, way of predicting, face convention, the
store's manifest and the program's version. So one folder can serve several models or settings in
turn, and nothing stale is ever taken. A video that could not be read is tried again.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fakestormer.data.journal import hold
from fakestormer.data.listing import Entry
from fakestormer.data.manifest import read_settings
from fakestormer.errors import InputError
from fakestormer.evaluation.protocol import FaceChoice, SplitChoice, VideoScore, videos_of
from fakestormer.evaluation.scoring import (
    CLEAN,
    AppliedTo,
    Condition,
    Scored,
    ScoreOne,
    Task,
    VideoSet,
    absent_videos,
    task_names,
    task_videos,
)
from fakestormer.faces.protocol import FaceBackend
from fakestormer.files import PARTIAL, sha256_of, write_atomically
from fakestormer.model.network import VideoNetwork
from fakestormer.parallel.pool import map_videos
from fakestormer.recipe.faces import CropConfig
from fakestormer.recipe.prediction import PredictionConfig, Sampling

#: By data set, condition and sampling: a score per video, by name.
Scores = Mapping[tuple[str, Condition, Sampling], Sequence[VideoScore]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is scored and how.

    stores: by data set. entries: where each data set's videos lie; needed for conditions that
    corrupt whole frames. weights_sha256: of the network that `open_network` opens; it is asked for
    once in every process. predictions: by sampling. conditions: CLEAN is always among them.
    workers: processes; 0 works in this one.
    """

    stores: Mapping[str, Path]
    crop: CropConfig
    weights_sha256: str
    open_network: Callable[[], VideoNetwork]
    open_faces: Callable[[], FaceBackend]
    predictions: Mapping[Sampling, PredictionConfig]
    split: SplitChoice = "test"
    face: FaceChoice = "largest"
    conditions: tuple[Condition, ...] = (CLEAN,)
    applied_to: AppliedTo = "frames"
    entries: Mapping[str, Mapping[str, Entry]] | None = None
    workers: int = 0

    def __post_init__(self) -> None:
        if CLEAN not in self.conditions:
            raise ValueError("Plan.conditions: corrupted videos are compared with clean ones")
        on_frames = self.applied_to == "frames" and len(self.conditions) > 1
        if on_frames and (self.entries is None or self.entries.keys() != self.stores.keys()):
            raise ValueError("Plan.entries: corrupting whole frames needs every data set's videos")


def evaluate(
    plan: Plan, out: Path, *, progress: Callable[[int, int, str], None] | None = None
) -> Scores:
    """Score everything; run it again after a stop and only what is missing is done.

    out: held with `opened`. progress: (tasks done, tasks in all, what is under way). A video that
    kills its process (with workers) is left out, with that reason. Raises InputError as `videos_of`
    and `ScoreOne` do, and for a store whose tracks cannot be read.
    """
    tests = {name: _test_set(name, plan) for name in plan.stores}
    tasks = {
        (data, condition): [
            Task(data=data, name=name, condition=condition, applied_to=plan.applied_to)
            for name in task_names(test, condition, plan.applied_to)
        ]
        for data, test in tests.items()
        for condition in plan.conditions
    }
    every = [task for own in tasks.values() for task in own]
    journals = {data: Journal(_journal_path(plan, data, out)) for data in tests}
    todo = [task.key() for task in every if not journals[task.data].has(task, plan.predictions)]
    if progress is not None:
        progress(len(every) - len(todo), len(every), "")
    work = ScoreOne(
        tests,
        open_network=plan.open_network,
        open_faces=plan.open_faces,
        predictions={str(name): way for name, way in plan.predictions.items()},
        face=plan.face,
    )
    left = len(todo)
    for key, scored in map_videos(work, todo, workers=plan.workers):
        task = Task.of(key)
        journals[task.data].add(key, scored or _crashed(work, tests[task.data], task))
        left -= 1
        if progress is not None:
            progress(len(every) - left, len(every), f"{task.data} {label(task.condition)}")
    return {
        (data, condition, sampling): _sorted(
            tests[data],
            (score for task in own for score in journals[data].found[task.key(), sampling]),
        )
        for (data, condition), own in tasks.items()
        for sampling in plan.predictions
    }


@contextmanager
def opened(out: Path) -> Iterator[None]:
    """Hold the folder that an evaluation is written to; makes it where it is missing.

    Raises InputError when it cannot be written to, or another evaluation is writing to it.
    """
    try:
        (out / "scores").mkdir(parents=True, exist_ok=True)
        (out / "lock").touch()
    except OSError as error:
        raise InputError(
            f"{out}: cannot be written to ({error.strerror}); choose another --out"
        ) from error
    with hold(out, "evaluation"):
        for folder in (out, out / "scores"):
            for leftover in folder.glob(f".*{PARTIAL}"):  # of a killed run
                leftover.unlink(missing_ok=True)
        yield


def _crashed(work: ScoreOne, test: VideoSet, task: Task) -> Scored:
    """What stands for a task whose process died of it."""
    scores: dict[str, list[VideoScore]] = {}
    for video in task_videos(test, task):
        rows = test.videos[video]
        for sampling, own in work.unscored(task.data, rows, "the process died on it").items():
            scores.setdefault(sampling, []).extend(own)
    return Scored(scores=scores)


def label(condition: Condition) -> str:
    """`clean`, `jpeg 3`."""
    return "clean" if condition.corruption is None else f"{condition.corruption} {condition.level}"


def _sorted(test: VideoSet, scores: Iterable[VideoScore]) -> list[VideoScore]:
    """By name; an entry may hold sequences of other splits, which earlier calls scored."""
    return sorted((s for s in scores if s.video in test.videos), key=lambda s: s.video)


def _test_set(name: str, plan: Plan) -> VideoSet:
    store = plan.stores[name]
    videos = dict(videos_of(store, plan.crop, plan.split))
    settings = read_settings(store)
    entries = {} if plan.entries is None else plan.entries[name]
    test = VideoSet(store=store, settings=settings, videos=videos, entries=entries)
    # Left out of some conditions and not of others, they would move the AUC and nobody would know.
    absent = [] if plan.entries is None else absent_videos(test)
    if absent:
        raise InputError(
            f"{store}: {len(absent)} of its videos are not where they were (e.g. {absent[0]}); "
            "put them back, say where all are with --root NAME=FOLDER, or run prepare again"
        )
    return test


def _journal_path(plan: Plan, data: str, out: Path) -> Path:
    """Where scores of this model, made this way, of this store are kept."""
    ways = [
        prediction.model_dump(mode="json", exclude={"sampling", "threshold", "inconclusive"})
        for prediction in plan.predictions.values()
    ]
    if any(way != ways[0] for way in ways):
        raise ValueError("Plan.predictions: they may differ in sampling alone")
    depends_on = [
        version("fakestormer"),
        plan.weights_sha256,
        ways[0],
        plan.face,
        data,
        sha256_of(plan.stores[data] / "manifest.parquet"),
    ]
    digest = hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()[:12]
    slug = re.sub(r"[^\w.+]+", "-", data).strip("-")
    return out / "scores" / f"{slug}-{digest}.jsonl"


class Journal:
    """Scores by (task key, sampling), one line of JSON per task, appended when it is done.

    A line that a killed process left unfinished is dropped, and its task done again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: dict[tuple[str, str], Sequence[VideoScore]] = {}
        if path.is_file():
            good = []
            for line in path.read_bytes().splitlines():
                try:
                    self._take(json.loads(line))
                except (ValueError, KeyError, TypeError, AttributeError):
                    continue
                good.append(line + b"\n")
            write_atomically(path, b"".join(good))

    def has(self, task: Task, samplings: Iterable[str]) -> bool:
        """Whether nothing of a task is left to do."""
        key = task.key()
        return all((key, sampling) in self.found for sampling in samplings)

    def add(self, key: str, scored: Scored) -> None:
        """Take what one task gave; keep it for the next call too where it is final."""
        if scored.final:
            content = {
                "key": key,
                "scores": {
                    name: [asdict(score) for score in own] for name, own in scored.scores.items()
                },
            }
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(content) + "\n")
        for sampling, own in scored.scores.items():
            self.found[key, sampling] = own

    def _take(self, content: Mapping[str, Any]) -> None:
        for sampling, entries in content["scores"].items():
            scores = [VideoScore.from_json(entry) for entry in entries]
            self.found[content["key"], sampling] = scores
