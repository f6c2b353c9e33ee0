"""The log of a run: history.jsonl, TensorBoard, and a progress line on stderr.

Where stderr is no terminal (a background run's log file) a plain line per validation instead.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.tensorboard import SummaryWriter

from fakestormer.training.history import HistoryFile, StepRecord

#: Of a `StepRecord`.
LOSSES = ("total", "classification", "temporal", "spatial", "boundary")


class RunLog:
    """Writes into the folder `run` and on stderr; a silent one (in other processes) does not.

    first_step: where the run goes on. steps: of the whole run. draw: show progress at all.
    """

    def __init__(self, run: Path, *, first_step: int, steps: int, silent: bool, draw: bool) -> None:
        self._writer = None
        self._history = None
        if not silent:
            self._writer = SummaryWriter(str(run / "tensorboard"), purge_step=first_step)
            self._history = HistoryFile(run, first_step=first_step)
        draws = draw and not silent
        self._prints = draws and not sys.stderr.isatty()
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[losses]}"),
            TextColumn("val AUC {task.fields[auc]}"),
            TextColumn("{task.fields[rate]} clips/s"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not draws or self._prints,
        )
        self._task = self._bar.add_task(
            "", total=steps, completed=first_step, epoch=0, losses="-", auc="-", rate="-"
        )
        self._recent: deque[tuple[float, int]] = deque(maxlen=20)
        self._first_step, self._steps = first_step, steps
        self._began = time.perf_counter()
        self._unprinted: list[tuple[StepRecord, int, float]] = []  # with its clips and seconds

    def __enter__(self) -> Self:
        self._bar.start()
        self._began = time.perf_counter()
        self._recent.append((self._began, 0))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()
        if self._writer is not None:
            self._writer.close()
        if self._history is not None:
            self._history.close()

    def step(self, record: StepRecord, *, clips: int) -> None:
        """A step is done; `clips`: real and fake clips it took, over all processes."""
        before, now = self._recent[-1][0], time.perf_counter()
        self._recent.append((now, clips))
        self._unprinted.append((record, clips, now - before))
        seconds = self._recent[-1][0] - self._recent[0][0]
        rate = sum(count for _, count in list(self._recent)[1:]) / max(seconds, 1e-9)
        self._bar.update(
            self._task,
            completed=record.step + 1,
            epoch=record.epoch + 1,
            losses=f"{record.total:.3f} (f {record.classification:.3f} h {record.temporal:.3f} "
            f"g {record.spatial:.3f})",
            rate=f"{rate:.1f}",
        )
        values = asdict(record)
        if self._history is not None:
            self._history.append(values)
        losses = {f"loss/{name}": values[name] for name in LOSSES}
        other = {"learning_rate": record.learning_rate, "clips_per_second": rate}
        self._scalars(record.step + 1, losses | other)

    def validation(self, steps_done: int, metrics: Mapping[str, float]) -> None:
        """The frozen validation set was scored."""
        if self._history is not None:
            self._history.append({"steps_done": steps_done, **metrics})
        self._bar.update(self._task, auc=f"{metrics['auc_video']:.3f}")
        self._scalars(steps_done, {f"validation/{name}": value for name, value in metrics.items()})
        if self._prints:
            print(self._line(steps_done, metrics), file=sys.stderr, flush=True)
        self._unprinted.clear()
        self._recent.clear()  # the pause says nothing about the speed of training
        self._recent.append((time.perf_counter(), 0))

    def examples(self, steps_done: int, pictures: Mapping[str, np.ndarray]) -> None:
        """Targets and predictions of a few validation pairs: RGB pictures (H, W, 3) by name."""
        if self._writer is not None:
            for name, picture in pictures.items():
                self._writer.add_image(f"examples/{name}", picture, steps_done, dataformats="HWC")

    def _line(self, steps_done: int, metrics: Mapping[str, float]) -> str:
        """Losses and speed since the last line; the time left goes by the whole run so far."""
        records, clips, seconds = zip(*self._unprinted, strict=True)
        total, f, h, g, _ = (statistics.fmean(getattr(r, n) for r in records) for n in LOSSES)
        per_step = (time.perf_counter() - self._began) / (steps_done - self._first_step)
        return (
            f"step {steps_done}/{self._steps}: loss {total:.3f} (f {f:.3f} h {h:.3f} g {g:.3f}), "
            f"val AUC {metrics['auc_video']:.3f}, {sum(clips) / max(sum(seconds), 1e-9):.1f} "
            f"clips/s, {per_step * (self._steps - steps_done) / 60:.0f} min left"
        )

    def _scalars(self, steps_done: int, values: Mapping[str, float]) -> None:
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, steps_done)
