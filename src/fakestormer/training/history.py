"""history.jsonl: every step and every validation of a run, one JSON object a line.

    {"step": 0, "epoch": 0, "learning_rate": 0.001, "total": 1.02, "classification": ...}
    {"steps_done": 4, "auc_video": 0.75, "auc_clip": 0.72, "classification_loss": 0.69}

The curves of training.html come from here, so a resumed run shows all of its past.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from fakestormer.files import write_atomically

NAME = "history.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """One finished step, counted from 0: the losses of its batch before the step (eq. 13)."""

    step: int
    epoch: int
    learning_rate: float
    total: float
    classification: float
    temporal: float
    spatial: float
    boundary: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationRecord:
    """The frozen validation set was scored after `steps_done` steps."""

    steps_done: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """All that is known of a run, in order. Steps may begin late: an older program kept none."""

    steps: tuple[StepRecord, ...]
    validations: tuple[ValidationRecord, ...]


def read_history(run: Path) -> History:
    """The history of a run's folder; empty where there is none. Unreadable lines are left out."""
    steps, validations = [], []
    for line in _lines(run / NAME):
        if "steps_done" in line:
            metrics = {name: value for name, value in line.items() if name != "steps_done"}
            validations.append(ValidationRecord(steps_done=line["steps_done"], metrics=metrics))
        elif line.keys() | {"boundary"} == {field.name for field in fields(StepRecord)}:
            # an older program's lines have no "boundary"
            steps.append(StepRecord(**line))
    return History(steps=tuple(steps), validations=tuple(validations))


class HistoryFile:
    """Appends to a run's history. What lies after `first_step` is of steps that are done again
    (a run killed after its last checkpoint) and is taken out first; so is half a line at the end.
    """

    def __init__(self, run: Path, *, first_step: int) -> None:
        path = run / NAME
        kept = [
            line
            for line in _lines(path)
            if line.get("step", -1) < first_step and line.get("steps_done", 0) <= first_step
        ]
        write_atomically(path, "".join(json.dumps(line) + "\n" for line in kept).encode())
        self._file = path.open("a", encoding="utf-8")

    def close(self) -> None:
        """No more will be appended."""
        self._file.close()

    def step(self, record: StepRecord) -> None:
        """A step is done."""
        self._append(asdict(record))

    def validation(self, record: ValidationRecord) -> None:
        """The validation set was scored."""
        self._append({"steps_done": record.steps_done, **record.metrics})

    def _append(self, document: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(document) + "\n")
        self._file.flush()


def _lines(path: Path) -> list[dict[str, Any]]:
    """The lines that are JSON objects."""
    if not path.is_file():
        return []
    found = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict):
            found.append(line)
    return found
