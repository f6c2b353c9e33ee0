"""What a training starts from and runs on; nothing here changes the recipe."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """What a training starts from and runs on.

    initial_weights: published weights of an image model, or a model to train further. resume: go
    on with the run in the folder. accelerator: "auto", "cpu" or "cuda". devices: GPUs of this
    machine, or processes on the CPU. num_nodes: machines. workers: processes that read and
    synthesise. show_progress: draw a bar on standard error.
    """

    initial_weights: str | Path | None = None
    resume: bool = False
    accelerator: str = "auto"
    devices: int = 1
    num_nodes: int = 1
    workers: int = 1
    show_progress: bool = True
