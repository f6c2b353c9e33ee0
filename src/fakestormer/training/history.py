"""history.jsonl: every step and every validation of a run, one JSON object a line.

    {"step": 0, "epoch": 0, "learning_rate": 0.001, "total": 1.02, "classification": ...}
    {"steps_done": 4, "auc_video": 0.75, "auc_clip": 0.72, "classification_loss": 0.69}

A resumed run appends to the file, so it holds the whole run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
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
    boundary: float


class HistoryFile:
    """Appends to a run's history.

    Lines after `first_step` are removed first: a run that was killed after its last checkpoint
    repeats those steps. Lines that are not complete are removed, too.
    """

    def __init__(self, run: Path, *, first_step: int) -> None:
        path = run / NAME
        kept = [
            line
            for line in read_lines(run)
            if line.get("step", -1) < first_step and line.get("steps_done", 0) <= first_step
        ]
        write_atomically(path, "".join(json.dumps(line) + "\n" for line in kept).encode())
        self._file = path.open("a", encoding="utf-8")

    def close(self) -> None:
        """No more will be appended."""
        self._file.close()

    def append(self, line: Mapping[str, Any]) -> None:
        """A step is done, or the validation set was scored after `steps_done` steps."""
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


def read_lines(run: Path) -> list[dict[str, Any]]:
    """The lines of a run's history that are JSON objects; none where there is no history."""
    path = run / NAME
    if not path.is_file():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict):
            lines.append(line)
    return lines
