"""What an ablation will cost: its training runs, each once, by a few steps on this machine."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from lightning_fabric import Fabric
from torch.optim import Adam

from fakestormer.data.loaders import TrainingClips, training_batches
from fakestormer.model.build import build
from fakestormer.recipe.recipe import Recipe
from fakestormer.tools.ablation.run import Bench, Training, missing_fakes, training_of
from fakestormer.tools.ablation.tables import TableRow
from fakestormer.training.engine import launch
from fakestormer.training.resume import sized
from fakestormer.training.sam import SAM
from fakestormer.training.settings import TrainSettings
from fakestormer.training.step import AsTensors, training_step
from fakestormer.training.tracks import choose_tracks, clip_plan

#: Steps that are timed, after one that is not.
TIMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRun:
    """One training run. rows: that share it. seconds: of a step here, None where nothing was
    measured.
    """

    name: str
    rows: tuple[str, ...]
    steps: int = 0
    seconds: float | None = None
    is_done: bool = False
    reason: str = ""


def plan_runs(rows: Sequence[TableRow], bench: Bench, seeds: int) -> list[PlannedRun]:
    """The runs of these rows, each once, in order. Runs of equal cost are measured once."""
    sharing: dict[str, tuple[Training, list[str]]] = {}
    planned = []
    for row in rows:
        for seed in range(seeds):
            training = training_of(row, bench, seed)
            if reason := missing_fakes(training.recipe, bench.training_store):
                planned.append(PlannedRun(name="-", rows=(row.name,), reason=reason))
                break
            _, names = sharing.setdefault(training.folder.name.rpartition("-")[2], (training, []))
            names.append(row.name)
    measured: dict[str, float] = {}
    for training, names in sharing.values():
        shared = tuple(dict.fromkeys(names))
        if training.is_done:
            planned.append(PlannedRun(name=training.folder.name, rows=shared, is_done=True))
            continue
        recipe = sized(training.recipe, training.weights)
        key = _cost_key(recipe)
        if key not in measured:
            bench.say(f"{training.folder.name}: timing {TIMED} steps")
            measured[key] = seconds_per_step(recipe, bench)
        planned.append(
            PlannedRun(
                name=training.folder.name,
                rows=shared,
                steps=clip_plan(recipe, choose_tracks(recipe, bench.training_store)).steps,
                seconds=measured[key],
            )
        )
    return planned


def plan_markdown(planned: Sequence[PlannedRun], bench: Bench) -> str:
    """One line per run, and the hours of all."""
    lines = ["| run | rows | steps | seconds a step | hours |", "| --- | --- | --- | --- | --- |"]
    hours = 0.0
    for run in planned:
        rows = ", ".join(run.rows)
        if run.seconds is None:
            lines.append(f"| {run.name} | {rows} | {'done' if run.is_done else 'not run'} | | |")
            continue
        cost = run.steps * run.seconds / 3600
        hours += cost
        lines.append(f"| {run.name} | {rows} | {run.steps} | {run.seconds:.3g} | {cost:.3g} |")
    reasons = [f"- {', '.join(r.rows)}: not run: {r.reason}" for r in planned if r.reason]
    training = bench.recipe.training
    about = (
        f"{hours:.3g} hours of training on this machine ({_device(bench)}), by {TIMED} steps of "
        f"each kind of run after one that is not counted. A step takes {training.batch_size} "
        f"clips ({training.pairs} real ones and as many fakes). Testing comes on top."
    )
    return "\n".join([*lines, "", *reasons, *([""] if reasons else []), about]) + "\n"


def seconds_per_step(recipe: Recipe, bench: Bench) -> float:
    """The median time of a step, with loading and blending its batch, on one device."""

    def run(fabric: Fabric) -> float:
        network = build(recipe.model)
        optimizer = Adam(network.parameters(), lr=1e-9)
        module, stepper = fabric.setup(AsTensors(network), optimizer)
        network.train()
        tracks = choose_tracks(recipe, bench.training_store)
        plan = clip_plan(recipe, tracks)
        clips = TrainingClips(
            bench.training_store, tracks.training, plan, recipe.synthesis, fakes=tracks.fakes
        )
        batches = training_batches(
            clips,
            size=recipe.model.image_size,
            patch_size=recipe.model.patch_size,
            workers=bench.workers,
            device=fabric.device,
        )
        sam, seconds, began = SAM(optimizer, recipe.training.sam_rho), [], time.perf_counter()
        for step, batch in enumerate(islice(batches, 1 + TIMED)):
            training_step(fabric, module, stepper, sam, batch, recipe.training, step=step)
            if fabric.device.type == "cuda":
                torch.cuda.synchronize()
            now = time.perf_counter()
            seconds.append(now - began)
            began = now
        return statistics.median(seconds[1:] or seconds)

    return launch(
        run,
        TrainSettings(accelerator=bench.accelerator),
        precision=recipe.training.precision,
        idle=False,
    )


def _cost_key(recipe: Recipe) -> str:
    """What a step's time depends on."""
    document = recipe.model_dump(mode="json", include={"model", "training", "synthesis"})
    training = document["training"]
    kept = ("batch_size", "accumulate", "sam_rho", "precision", "fakes")
    document["training"] = {name: training[name] for name in kept}
    document["synthesis"] = document["synthesis"]["mode"]
    return json.dumps(document, sort_keys=True)


def _device(bench: Bench) -> str:
    if bench.accelerator != "cpu" and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"CPU, {torch.get_num_threads()} threads"
