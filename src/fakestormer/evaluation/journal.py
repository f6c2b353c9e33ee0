"""Scores all videos of a plan; goes on where an earlier call was stopped.

    OUT/scores/<data set>-<hash>.jsonl    one line per finished task

The hash is of everything a score depends on: weights, way of predicting, face convention, the
store's manifest and the program's version. So one folder can serve several models or settings in
turn, and no outdated score is used. A video that could not be read is tried again.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fakestormer.data.journal import hold
from fakestormer.errors import InputError
from fakestormer.evaluation.plan import Condition, Plan, Task
from fakestormer.evaluation.score import VideoScore
from fakestormer.evaluation.score_task import Scored, ScoreTask
from fakestormer.files import PARTIAL, sha256_of, write_atomically
from fakestormer.parallel.pool import map_videos
from fakestormer.recipe.prediction import Sampling

#: By data set, condition and sampling: a score per video, by name.
Scores = Mapping[tuple[str, Condition, Sampling], Sequence[VideoScore]]
#: Gets the number of finished tasks, of all tasks, and the task under way.
Progress = Callable[[int, int, str], None]


def score_plan(plan: Plan, out: Path, *, progress: Progress | None = None) -> Scores:
    """Score everything; run it again after a stop and only what is missing is done.

    out: held with `opened`. A video that kills its process (with workers) is left out, with that
    reason.
    """
    sets = plan.video_sets()
    tasks = plan.tasks(sets)
    every = [task for group in tasks.values() for task in group]
    journals = {data: Journal(_journal_path(plan, data, out)) for data in sets}
    todo = [task.key() for task in every if not journals[task.data].has(task, plan.predictions)]
    work = ScoreTask(
        sets=sets,
        open_engine=plan.open_engine,
        open_faces=plan.open_faces,
        predictions={str(name): way for name, way in plan.predictions.items()},
        face=plan.face,
    )
    known = len(every) - len(todo)
    report = progress or (lambda done, total, name: None)
    report(known, len(every), "")
    scored = map_videos(work, todo, workers=plan.workers, cluster=plan.cluster)
    for done, (key, result) in enumerate(scored, known + 1):
        task = Task.of(key)
        if result is None:
            result = work.unscored(task, "the process died on it")
        journals[task.data].add(key, result)
        report(done, len(every), f"{task.data} {task.condition}")
    return {
        (data, condition, sampling): [journals[data].scores[task.key(), sampling] for task in group]
        for (data, condition), group in tasks.items()
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
        self.scores: dict[tuple[str, str], VideoScore] = {}
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
        return all((key, sampling) in self.scores for sampling in samplings)

    def add(self, key: str, scored: Scored) -> None:
        """Take what one task gave; keep it for the next call too where it is final."""
        if scored.final:
            scores = {name: asdict(score) for name, score in scored.scores.items()}
            content = {"key": key, "scores": scores}
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(content) + "\n")
        for sampling, score in scored.scores.items():
            self.scores[key, sampling] = score

    def _take(self, content: Mapping[str, Any]) -> None:
        for sampling, entry in content["scores"].items():
            self.scores[content["key"], sampling] = VideoScore.from_json(entry)
