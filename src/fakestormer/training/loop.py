"""The training loop: a track store and a recipe in, a model out; exact to the bit when resumed.

Lightning Fabric carries devices, precision and several processes, because it does only that: the
loop, SAM's two passes and the checkpoints stay ours and can be read here.

With several processes each takes every n-th pair of a batch; DDP averages the gradients of both of
SAM's passes within `backward`, so all processes perturb along the same, averaged gradient.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor
from torch.optim import Adam, AdamW, Optimizer

from fakestormer.data.interpolation import Interpolation, interpolation_in
from fakestormer.data.loaders import (
    ClipPlan,
    SynthesisOn,
    TrainingClips,
    training_batches,
)
from fakestormer.data.manifest import Row
from fakestormer.errors import InputError, SetupError
from fakestormer.model.build import build
from fakestormer.model.model_file import save_model
from fakestormer.model.network import VideoNetwork
from fakestormer.recipe.recipe import Recipe
from fakestormer.training.checkpoint import RunState, restore, restore_average, save_checkpoint
from fakestormer.training.ema import Average
from fakestormer.training.engine import launch, leaves_idle, threads
from fakestormer.training.examples import example_sheets
from fakestormer.training.history import StepRecord
from fakestormer.training.interrupt import interruptible
from fakestormer.training.resume import fresh_state, resumed_state, sized
from fakestormer.training.sam import SAM
from fakestormer.training.schedule import (
    freeze,
    frozen_names,
    learning_rate,
    never_trained,
    parameter_groups,
)
from fakestormer.training.tracks import Tracks, choose_tracks
from fakestormer.training.validation import (
    ValidationSet,
    build_validation_set,
    validate,
    videos_validation_set,
)
from fakestormer.types import Losses
from fakestormer.types.tensors import fields_of

try:
    from lightning_fabric import Fabric

    from fakestormer.training.failure import write_failure
    from fakestormer.training.log import RunLog
    from fakestormer.training.step import AsTensors, NonFiniteLossError, training_step
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
    """What every process of a run gets."""

    recipe: Recipe
    store: Path
    tracks: Tracks
    interpolation: Interpolation
    out: Path
    plan: ClipPlan
    initial_weights: Path | None
    resume: bool
    workers: int
    synthesis_on: SynthesisOn
    show_progress: bool


def train(
    recipe: Recipe,
    store: Path,
    out: Path,
    *,
    initial_weights: Path | None = None,
    resume: bool = False,
    accelerator: str = "auto",
    devices: int = 1,
    num_nodes: int = 1,
    workers: int = 0,
    synthesis_on: SynthesisOn = "workers",
    show_progress: bool = True,
) -> TrainingResult:
    """Train on the store's training tracks; choose by its validation tracks; write into `out`.

    out: gets `model.safetensors` and `model.json` at the end; `checkpoints/`, `tensorboard/` and
    `history.jsonl` on the way. initial_weights: a pre-trained image model (see
    `load_pretrained`). resume: go on from `out/checkpoints/last`, to the same losses as if nothing
    had happened; on another number of processes too, up to rounding (see `step` for what
    stochastic layers and BatchNorm need for that). devices: processes on this machine, each with a
    device of its own. num_nodes: machines (see `engine.launch`). workers: loading processes for
    each process.

    Ctrl-C (and SIGTERM) finishes the step, saves, and raises KeyboardInterrupt. Raises InputError
    for a store without enough training tracks, without held-out ones or made with another crop or
    tracking, for an `out` that holds a run already, or for a resumption under another recipe;
    TrainingError when the numbers stop being finite: the step is then kept under `out` for
    `failure.replay`.
    """
    recipe = sized(recipe, initial_weights)
    tracks = choose_tracks(recipe, store)
    if not resume and (out / "checkpoints" / "last").exists():
        raise InputError(f"{out}: holds a run already; resume it, or give another folder")
    job = _Job(
        recipe=recipe,
        store=store,
        tracks=tracks,
        interpolation=interpolation_in(store, tracks.training, recipe.synthesis.tau),
        out=out,
        plan=_plan(recipe, tracks.training),
        initial_weights=initial_weights,
        resume=resume,
        workers=workers,
        synthesis_on=synthesis_on,
        show_progress=show_progress,
    )
    model, training = recipe.model, recipe.training
    result = launch(
        partial(_run, job=job),
        accelerator=accelerator,
        devices=devices,
        num_nodes=num_nodes,
        precision=training.precision,
        idle=leaves_idle(model.architecture, model.branches, training.freeze_epochs),
    )
    if result is None:
        raise KeyboardInterrupt
    return result


def _plan(recipe: Recipe, rows: tuple[Row, ...]) -> ClipPlan:
    config = recipe.training
    return ClipPlan(
        [row.frames for row in rows],
        clip_length=recipe.model.frames,
        pairs=config.pairs,
        clips_per_track=config.clips_per_track,
        seed=config.seed,
        epochs=config.epochs,
    )


def _run(fabric: Fabric, job: _Job) -> TrainingResult | None:
    """The whole run, in each of its processes; None where it was interrupted and is saved."""
    began = time.monotonic()
    recipe, config, plan = job.recipe, job.recipe.training, job.plan
    if fabric.device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(threads(fabric.world_size))
    validation = _validation_set(job) if fabric.is_global_zero else None
    torch.manual_seed(config.seed)
    network = build(recipe.model)
    fingerprint = str(fabric.broadcast(validation.fingerprint if validation else ""))
    last = job.out / "checkpoints" / "last"
    if job.resume:
        state = resumed_state(last, recipe, job.store, job.tracks, fingerprint)
    else:
        state = fresh_state(network, job.tracks, fingerprint, initial_weights=job.initial_weights)
    kept = never_trained(network, state.pretrained, config.trained)
    freeze(network, kept)
    optimizer: Optimizer = (Adam if config.optimizer == "adam" else AdamW)(
        parameter_groups(network, state.pretrained, config.pretrained_rate, without=kept),
        lr=config.learning_rate,
        betas=config.betas,
        weight_decay=config.weight_decay,
    )
    module, stepper = fabric.setup(AsTensors(network), optimizer)
    if job.resume:
        restore(last, network, optimizer)
    average = None  # only the process that validates and saves keeps one: it is the same in all
    if config.ema_decay is not None and fabric.is_global_zero:
        average = Average(network, config.ema_decay)
        if job.resume:
            restore_average(last, average.network)
    clips = TrainingClips(
        job.store, job.tracks.training, plan, recipe.synthesis, fakes=job.tracks.fakes
    )
    batches = training_batches(
        clips,
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
    if fabric.is_global_zero and job.show_progress and not job.tracks.fakes:
        print(f"{job.store}: {job.interpolation}", file=sys.stderr, flush=True)
    log = RunLog(
        job.out,
        first_step=state.step,
        steps=plan.steps,
        silent=not fabric.is_global_zero,
        draw=job.show_progress,
    )
    judged = network if average is None else average.network
    spent_before, saved_at = state.seconds, began
    with log, interruptible() as interrupted:
        for step, batch in enumerate(batches, start=state.step):
            epoch, position = plan.place(step)
            if position == 0 or not history:
                network.train()
                frozen = frozen_names(epoch, config.freeze_epochs, state.pretrained)
                freeze(network, frozen | kept)
            rate = learning_rate(config.schedule, step, plan.steps, config.learning_rate)
            for group in optimizer.param_groups:
                group["lr"] = rate * group["rate_share"]
            sam = SAM(optimizer, config.sam_rho)
            try:
                losses = training_step(fabric, module, stepper, sam, batch, config, step=step)
            except NonFiniteLossError as error:
                raise write_failure(
                    job.out, error, fabric=fabric, recipe=recipe, clips=clips, batch=batch,
                    network=network,
                ) from error  # fmt: skip
            if average is not None:
                average.update(network, step)
            history.append(_record(fabric, step, epoch, rate, losses))
            log.step(history[-1], clips=config.batch_size)

            done, epoch_ends = step + 1, plan.place(step + 1)[1] == 0
            improved = False
            if epoch_ends and ((epoch + 1) % config.validate_every == 0 or done == plan.steps):
                metrics = _validate(fabric, judged, validation, recipe)
                improved = not state.best or _quality(metrics) > _quality(state.best)
                best = {**metrics, "step": float(done)} if improved else state.best
                state = state.model_copy(update={"metrics": metrics, "best": best})
                log.validation(done, metrics)
                if validation is not None:
                    context = fabric.autocast()
                    log.examples(done, example_sheets(judged, validation, forward_context=context))
            stop = fabric.strategy.reduce_boolean_decision(interrupted.is_set(), all=False)
            now = time.monotonic()
            state = state.model_copy(
                update={
                    "step": done,
                    "seconds": spent_before + now - began,
                    "processes": fabric.world_size,
                }
            )
            due = _due(config.checkpoint_every, config.checkpoint_minutes, done, now - saved_at)
            if fabric.is_global_zero and (epoch_ends or stop or due):
                save_checkpoint(
                    job.out, network, optimizer, state, recipe.model_dump(mode="json"),
                    best=improved, average=None if average is None else average.network,
                )  # fmt: skip
                saved_at = time.monotonic()
            if stop and done < plan.steps:
                return None
    fabric.barrier()
    if fabric.is_global_zero:
        _export(job, state)
    return TrainingResult(
        model=job.out / "model.safetensors", best=state.best, history=tuple(history)
    )


def _due(every: int | None, minutes: float | None, steps_done: int, seconds: float) -> bool:
    """Whether a checkpoint is due between epochs; `seconds` since the last one."""
    by_steps = every is not None and steps_done % every == 0
    return by_steps or (minutes is not None and seconds >= 60 * minutes)


def _record(fabric: Fabric, step: int, epoch: int, rate: float, losses: Losses) -> StepRecord:
    """The losses of the whole batch: the mean over the processes' shares."""
    parts = fields_of(losses)
    shared = fabric.all_reduce(torch.stack([*parts.values()]).detach(), reduce_op="mean")
    assert isinstance(shared, Tensor)
    means = dict(zip(parts, shared.tolist(), strict=True))
    return StepRecord(step=step, epoch=epoch, learning_rate=rate, **means)


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
    fabric: Fabric, network: VideoNetwork, validation: ValidationSet | None, recipe: Recipe
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
    """The best checkpoint's weights, or their average, as the run's model."""
    network = build(job.recipe.model)
    best = job.out / "checkpoints" / "best"
    if job.recipe.training.ema_decay is None:
        restore(best, network)
    else:
        restore_average(best, network)
    save_model(
        job.out,
        network,
        job.recipe.model_dump(mode="json"),
        {
            "validation": state.best,
            "validation_set_sha256": state.validation,
            "training_tracks": len(job.tracks.training),
            "validation_tracks": len(job.tracks.validation),
            "landmark_interpolation": asdict(job.interpolation),
            "steps": state.step,
            "seconds": round(state.seconds, 1),
        },
        face_backend=job.tracks.face_backend,
        trained_on=job.tracks.trained_on,
    )
