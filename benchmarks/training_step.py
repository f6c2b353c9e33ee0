"""The SAM step end to end: clips a second, memory, waiting for data, and one process against two.

    python benchmarks/training_step.py STORE [--recipe tiny --steps 12] [--device cuda] [--quick]

STORE is a track store with training tracks, 128 or 256 px. `train` itself runs, on some of its
tracks, with SAM (rho 0.05); --set changes the recipe as it does for `fakestormer train`.

- Workers 0, 1, 2: a step takes waiting for the batch and SAM's two passes over it. Reference: one
  plain pass (rho 0) over batches loaded by this process, in the same run. The first steps, which
  start the loading processes, do not count.
- One process against two (gloo on a CPU): the losses of every step of the same global batches,
  without what is drawn or normalised per process (dropout, stochastic depth, h's and the stem's
  BatchNorm), the largest difference.

By the clock; peak memory is of this process and of the largest it started.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from fakestormer.data.manifest import (
    Row,
    read_manifest,
    read_settings,
    tracks_of,
    write_manifest,
    write_settings,
)
from fakestormer.recipe.named import RECIPES
from fakestormer.recipe.recipe import Recipe, override
from fakestormer.training import loop
from fakestormer.training.loop import train
from fakestormer.training.settings import TrainSettings

WARM_UP = 3
UNDRAWN = [
    "training.loss.lambda_h=0",
    "model.stem=patch",
    "model.drop_path=0",
    "model.head_dropout=0",
]


@dataclass
class Measured:
    """Seconds of each step: waiting for its batch, and working on it."""

    waited: list[float]
    worked: list[float]

    def line(self, name: str, clips: int, reference: float) -> float:
        waited, worked = self.waited[WARM_UP:], self.worked[WARM_UP:]
        step = sum(waited) + sum(worked)
        rate = clips * len(worked) / step
        print(
            f"| {name} | {rate:.1f} | {rate / reference if reference else 1:.2f}x | "
            f"{1000 * statistics.median(worked):.0f} | {1000 * statistics.fmean(waited):.0f} | "
            f"{100 * sum(waited) / step:.0f} % | "
            f"{peak_gib():.2f} |",
            flush=True,
        )
        return rate


def peak_gib() -> float:
    """Of this process, or of the largest it waited for."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    of = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(who).ru_maxrss for who in of) / 2**20


def part_of(store: Path, folder: Path, tracks: int) -> Path:
    """A store of some of another's tracks, beside which it needs no room."""
    rows = read_manifest(store)
    chosen: list[Row] = [*tracks_of(rows, "train")[:tracks]]
    held_out = tracks_of(rows, "validation")[:2] or tuple(
        replace(row, split="validation") for row in tracks_of(rows, "train")[-2:]
    )
    folder.mkdir()
    (folder / "tracks").symlink_to((store / "tracks").resolve())
    write_settings(folder, read_settings(store))
    write_manifest(folder, [*chosen, *held_out])
    return folder


def run(recipe: Recipe, store: Path, device: str, workers: int) -> Measured:
    """One epoch, the batches timed on their way to the steps."""
    measured = Measured([], [])
    plain = loop.training_batches

    def timed(*positional: Any, **named: Any) -> Iterator[Any]:
        batches = plain(*positional, **named)
        while True:
            began = time.perf_counter()
            batch = next(batches, None)
            arrived = time.perf_counter()
            if batch is None:
                return
            measured.waited.append(arrived - began)
            yield batch
            measured.worked.append(time.perf_counter() - arrived)

    loop.training_batches = timed  # type: ignore[assignment]
    try:
        with tempfile.TemporaryDirectory() as out:
            settings = TrainSettings(accelerator=device, workers=workers, show_progress=False)
            train(recipe, store, Path(out) / "run", settings)
    finally:
        loop.training_batches = plain
    # the last step ends with validation and the checkpoint
    return Measured(measured.waited[:-1], measured.worked[:-1])


def losses(recipe: Recipe, store: Path, processes: int) -> list[tuple[float, float]]:
    """f's and g's loss at every step."""
    with tempfile.TemporaryDirectory() as out:
        settings = TrainSettings(
            accelerator="cpu", devices=processes, workers=0, show_progress=False
        )
        result = train(recipe, store, Path(out) / "run", settings)
    return [(record.classification, record.spatial) for record in result.history]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--recipe", choices=RECIPES, default="tiny")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--quick", action="store_true", help="few steps, no workers")
    parser.add_argument(
        "--waiting-alone", action="store_true", help="leave out one process against two"
    )
    asked = parser.parse_args()
    settings = read_settings(asked.store)
    recipe = override(
        RECIPES[asked.recipe]().model_copy(
            update={"crop": settings.crop, "tracking": settings.tracking}
        ),
        ["training.epochs=1", "training.clips_per_track=1", "training.sam_rho=0.05", *asked.set],
    )
    steps = WARM_UP + 3 if asked.quick else WARM_UP + asked.steps
    clips = recipe.training.batch_size
    with tempfile.TemporaryDirectory() as folder:
        store = part_of(asked.store, Path(folder) / "store", (steps + 1) * recipe.training.pairs)
        print(
            f"recipe {asked.recipe} {' '.join(asked.set)}, batches of {clips} clips of "
            f"{recipe.model.frames} frames, {steps - WARM_UP} steps, {asked.device}, "
            f"{torch.get_num_threads()} threads\n"
        )
        print(
            "| | clips a second | | step without waiting, ms | waiting, ms a step | of the whole | "
            "peak, GiB |"
        )
        print("| --- | --- | --- | --- | --- | --- | --- |")
        once = override(recipe, ["training.sam_rho=0"])
        reference = run(once, store, asked.device, 0).line(
            "one pass, 0 workers (reference)", clips, 0
        )
        for workers in [0] if asked.quick else asked.workers:
            run(recipe, store, asked.device, workers).line(
                f"{'SAM' if recipe.training.sam_rho else 'one pass'}, {workers} workers",
                clips,
                reference,
            )
        if asked.waiting_alone:
            return
        alike = override(recipe, UNDRAWN)
        one, two = (losses(alike, store, processes) for processes in (1, 2))
        apart = max(
            abs(a - b) for x, y in zip(one, two, strict=True) for a, b in zip(x, y, strict=True)
        )
        print(
            f"\none process and two, {len(one)} SAM steps on the CPU: losses differ by at most "
            f"{apart:.1e} (f's first and last loss {one[0][0]:.4f}, {one[-1][0]:.4f})"
        )


if __name__ == "__main__":
    main()
