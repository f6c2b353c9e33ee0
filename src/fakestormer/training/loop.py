"""The training loop: a track store and a recipe in, a model out; exact to the bit when resumed.

Lightning Fabric carries devices, precision and several processes, because it does only that: the
loop, SAM's two passes and the checkpoints stay ours and can be read here.

With several processes each takes every n-th pair of a batch; DDP averages the gradients of both of
SAM's passes within `backward`, so all processes perturb along the same, averaged gradient.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor
from torch.optim import Adam, AdamW, Optimizer

from fakestormer.data.loaders import (
    ClipPlan,
    SynthesisOn,
    TrainingClips,
    training_batches,
)
from fakestormer.data.manifest import Row
from fakestormer.errors import InputError, SetupError
from fakestormer.model.build import build
from fakestormer.model.network import VideoNetwork
from fakestormer.model.weights import load_pretrained
from fakestormer.training.checkpoint import (
    RunState,
    read_state,
    restore,
    save_checkpoint,
    save_model,
)
from fakestormer.training.config import RecipeLike
from fakestormer.training.interrupt import interruptible
from fakestormer.training.sam import SAM
from fakestormer.training.schedule import freeze, frozen_names, learning_rate
from fakestormer.training.tracks import Tracks, choose_tracks
from fakestormer.training.validation import (
    ValidationSet,
    build_validation_set,
    validate,
    videos_validation_set,
)
from fakestormer.types import Losses

try:
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.ddp import DDPStrategy
    from lightning_fabric.strategies.strategy import Strategy

    from fakestormer.training.log import RunLog, StepRecord
    from fakestormer.training.step import AsTensors, training_step
except ModuleNotFoundError as error:
    raise SetupError(
        f"training needs {error.name}: install it with `pip install 'fakestormer[train]'`"
    ) from error


class TrainingResult(BaseModel):
    """What a run gave.

    model: path of the chosen model's weights. best: its validation metrics and its `step`.

    history: the steps that this call did (not those before a resumption), in order.
    """

    # A pydantic model, because Fabric takes dataclasses apart on their way between processes.
    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Path
    best: dict[str, float]
    history: tuple[StepRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """What every process of a run is told."""

    recipe: RecipeLike
    store: Path
    tracks: Tracks
    out: Path
    plan: ClipPlan
    initial_weights: Path | None
    resume: bool
    workers: int
    synthesis_on: SynthesisOn
    show_progress: bool


def train(
    recipe: RecipeLike,
    store: Path,
    out: Path,
    *,
    initial_weights: Path | None = None,
    resume: bool = False,
    accelerator: str = "auto",
    devices: int = 1,
    workers: int = 0,
    synthesis_on: SynthesisOn = "workers",
    show_progress: bool = True,
) -> TrainingResult:
    """Train on the store's training tracks; choose by its validation tracks; write into `out`.

    out: gets `model.safetensors` and `model.json` at the end, `checkpoints/` and `tensorboard/` on
    the way. initial_weights: a pre-trained image model (see `load_pretrained`). resume: go on from
    `out/checkpoints/last`, to the same losses as if nothing had happened. devices: processes, each
    with a device of its own. workers: loading processes for each of them.

    Ctrl-C (and SIGTERM) finishes the step, saves, and raises KeyboardInterrupt. Raises InputError
    for a store without enough training tracks, without held-out ones or made with another crop or
    tracking, for an `out` that holds a run already, or for a resumption under another recipe;
    TrainingError when the numbers stop being finite.
    """
    tracks = choose_tracks(recipe, store)
    if not resume and (out / "checkpoints" / "last").exists():
        raise InputError(f"{out}: holds a run already; resume it, or give another folder")
    job = _Job(
        recipe=recipe,
        store=store,
        tracks=tracks,
        out=out,
        plan=_plan(recipe, tracks.training),
        initial_weights=initial_weights,
        resume=resume,
        workers=workers,
        synthesis_on=synthesis_on,
        show_progress=show_progress,
    )
    fabric = Fabric(
        accelerator=accelerator,
        devices=devices,
        strategy=_strategy(devices, idle=_leaves_idle(recipe)),
        precision=recipe.training.precision,
    )
    result: TrainingResult = fabric.launch(partial(_run, job=job))
    return result


def _leaves_idle(recipe: RecipeLike) -> bool:
    """Whether some parameters get no gradient: frozen ones, or those of a missing head."""
    model = recipe.model
    whole = model.architecture == "fakestormer" and set(model.branches) == {"h", "g"}
    return recipe.training.freeze_epochs > 0 or not whole


def _strategy(devices: int, *, idle: bool) -> Strategy | str:
    """DDP for several processes; under torchrun they exist already.

    idle: whether some parameters may get no gradient; DDP must not wait for them.
    """
    if devices == 1 and "TORCHELASTIC_RUN_ID" not in os.environ:
        return "auto"
    start_method: Literal["popen", "spawn"] = (
        "popen" if "TORCHELASTIC_RUN_ID" in os.environ else "spawn"
    )
    return DDPStrategy(start_method=start_method, find_unused_parameters=idle)


def _plan(recipe: RecipeLike, rows: tuple[Row, ...]) -> ClipPlan:
    config = recipe.training
    return ClipPlan(
        [row.frames for row in rows],
        clip_length=recipe.model.frames,
        pairs=config.pairs,
        clips_per_track=config.clips_per_track,
        seed=config.seed,
        epochs=config.epochs,
    )


def _threads(processes: int) -> int:
    """Threads for one of `processes` that train on the CPU: its cores but one, which loads clips.

    More threads than cores wait for each other in a spin, which costs more than they bring. The
    number does not depend on `workers`, because it changes the last bits of sums, and with them
    whether a resumed run gives the same losses.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, (cores or 1) // processes - 1)


def _run(fabric: Fabric, job: _Job) -> TrainingResult:
    """The whole run, in each of its processes."""
    recipe, config, plan = job.recipe, job.recipe.training, job.plan
    if fabric.device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(_threads(fabric.world_size))
    validation = _validation_set(job) if fabric.is_global_zero else None
    torch.manual_seed(config.seed)
    network = build(recipe.model)
    optimizer: Optimizer = (Adam if config.optimizer == "adam" else AdamW)(
        network.parameters(),
        lr=config.learning_rate,
        betas=config.betas,
        weight_decay=config.weight_decay,
    )
    fingerprint = str(fabric.broadcast(validation.fingerprint if validation else ""))
    state = _first_state(job, network, fingerprint)
    module, stepper = fabric.setup(AsTensors(network), optimizer)
    if job.resume:
        restore(job.out / "checkpoints" / "last", network, optimizer)
    batches = training_batches(
        TrainingClips(
            job.store, job.tracks.training, plan, recipe.synthesis, fakes=job.tracks.fakes
        ),
        size=recipe.model.image_size,
        patch_size=recipe.model.patch_size,
        first_step=state.step,
        workers=job.workers,
        synthesis_on=job.synthesis_on,
        device=fabric.device,
        rank=fabric.global_rank,
        world_size=fabric.world_size,
    )
    history: list[StepRecord] = []
    log = RunLog(
        job.out / "tensorboard",
        first_step=state.step,
        steps=plan.steps,
        silent=not fabric.is_global_zero,
        draw=job.show_progress,
    )
    with log, interruptible() as interrupted:
        for step, batch in enumerate(batches, start=state.step):
            epoch, position = plan.place(step)
            if position == 0 or not history:
                network.train()
                freeze(network, frozen_names(epoch, config.freeze_epochs, state.pretrained))
            rate = learning_rate(config.schedule, step, plan.steps, config.learning_rate)
            for group in optimizer.param_groups:
                group["lr"] = rate
            losses = training_step(
                fabric, module, stepper, SAM(optimizer, config.sam_rho), batch, config, step=step
            )
            history.append(_record(fabric, step, epoch, rate, losses))
            log.step(history[-1], clips=config.batch_size)

            done, epoch_ends = step + 1, plan.place(step + 1)[1] == 0
            improved = False
            if epoch_ends and ((epoch + 1) % config.validate_every == 0 or done == plan.steps):
                metrics = _validate(fabric, network, validation, recipe)
                improved = not state.best or _quality(metrics) > _quality(state.best)
                best = {**metrics, "step": float(done)} if improved else state.best
                state = state.model_copy(update={"metrics": metrics, "best": best})
                log.validation(done, metrics)
            state = state.model_copy(update={"step": done})
            stop = fabric.strategy.reduce_boolean_decision(interrupted.is_set(), all=False)
            due = config.checkpoint_every is not None and done % config.checkpoint_every == 0
            if fabric.is_global_zero and (epoch_ends or stop or due):
                dumped = recipe.model_dump(mode="json")
                save_checkpoint(job.out, network, optimizer, state, dumped, best=improved)
            if stop and done < plan.steps:
                raise KeyboardInterrupt
    fabric.barrier()
    if fabric.is_global_zero:
        _export(job, state)
    return TrainingResult(
        model=job.out / "model.safetensors", best=state.best, history=tuple(history)
    )


def _first_state(job: _Job, network: VideoNetwork, fingerprint: str) -> RunState:
    """Where the run begins; loads pre-trained weights, or checks what is resumed."""
    rows = (*job.tracks.training, *job.tracks.fakes)
    listed = json.dumps([(r.video, r.sha256, r.track, r.frames) for r in rows])
    tracks = hashlib.sha256(listed.encode()).hexdigest()
    if not job.resume:
        pretrained: frozenset[str] = frozenset()
        if job.initial_weights is not None:
            pretrained = load_pretrained(network, job.initial_weights).loaded
        return RunState(
            step=0,
            metrics={},
            best={},
            tracks=tracks,
            validation=fingerprint,
            pretrained=tuple(sorted(pretrained)),
        )
    last = job.out / "checkpoints" / "last"
    state, recipe_json = read_state(last)
    changed = _changed(recipe_json, job.recipe.model_dump(mode="json"))
    if changed:
        raise InputError(
            f"{last}: was made by a recipe that differs in {', '.join(changed)}; resume with the "
            "same recipe, or start a new run"
        )
    if state.tracks != tracks:
        raise InputError(f"{job.store}: its training tracks have changed since {last} was written")
    if state.validation != fingerprint:
        raise InputError(
            f"{job.store}: gives another validation set than when {last} was written, so its "
            "validation AUCs cannot be compared; start a new run"
        )
    return state


def _changed(before: Any, now: Any, path: str = "") -> list[str]:
    """Dotted names of the fields in which two JSON documents differ."""
    if isinstance(before, dict) and isinstance(now, dict):
        names = sorted(before.keys() | now.keys())
        return [
            field
            for name in names
            for field in _changed(
                before.get(name), now.get(name), f"{path}.{name}" if path else name
            )
        ]
    return [] if before == now else [path]


def _record(fabric: Fabric, step: int, epoch: int, rate: float, losses: Losses) -> StepRecord:
    """The losses of the whole batch: the mean over the processes' shares."""
    own = [losses.total, losses.classification, losses.temporal, losses.spatial]
    shared = fabric.all_reduce(torch.stack(own).detach(), reduce_op="mean")
    assert isinstance(shared, Tensor)
    total, classification, temporal, spatial = shared.tolist()
    return StepRecord(
        step=step,
        epoch=epoch,
        learning_rate=rate,
        total=total,
        classification=classification,
        temporal=temporal,
        spatial=spatial,
    )


def _validation_set(job: _Job) -> ValidationSet:
    if job.tracks.fakes:
        return videos_validation_set(
            job.store,
            job.tracks.validation,
            margin=job.recipe.prediction.margin,
            model=job.recipe.model,
            clips_per_track=job.recipe.training.validation_clips,
        )
    return build_validation_set(
        job.store,
        job.tracks.validation,
        synthesis=job.recipe.synthesis,
        model=job.recipe.model,
        clips_per_track=job.recipe.training.validation_clips,
        seed=job.recipe.training.validation_seed,
    )


def _validate(
    fabric: Fabric, network: VideoNetwork, validation: ValidationSet | None, recipe: RecipeLike
) -> dict[str, float]:
    """One process scores, all know: the plain network, because DDP's would wait for the others."""
    metrics: dict[str, float] = {}
    if validation is not None:
        metrics = validate(
            network,
            validation,
            batch_size=recipe.training.batch_size,
            pooling=recipe.prediction.pooling,
            forward_context=fabric.autocast(),
        )
    broadcast: dict[str, float] = fabric.broadcast(metrics)
    return broadcast


def _quality(metrics: dict[str, float]) -> tuple[float, float]:
    """What the best checkpoint has most of: video AUC, then (ties are common) a low loss."""
    return metrics["auc_video"], -metrics["classification_loss"]


def _export(job: _Job, state: RunState) -> None:
    """The best checkpoint's weights as the run's model."""
    network = build(job.recipe.model)
    restore(job.out / "checkpoints" / "best", network)
    save_model(
        job.out,
        network,
        job.recipe.model_dump(mode="json"),
        {
            "validation": state.best,
            "validation_set_sha256": state.validation,
            "training_tracks": len(job.tracks.training),
            "validation_tracks": len(job.tracks.validation),
            "steps": state.step,
        },
        face_backend=job.tracks.face_backend,
    )
