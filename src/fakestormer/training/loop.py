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
from fakestormer.data.loaders import ClipPlan, PairBatch, TrainingClips, training_batches
from fakestormer.errors import InputError, needs
from fakestormer.model.build import build
from fakestormer.model.model_file import save_model
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
from fakestormer.training.settings import TrainSettings
from fakestormer.training.tracks import Tracks, choose_tracks, clip_plan
from fakestormer.training.validation import (
    ValidationSet,
    build_validation_set,
    validate,
    videos_validation_set,
)
from fakestormer.types.network import Losses
from fakestormer.types.tensors import fields_of

with needs("training", "fakestormer[train]"):
    from lightning_fabric import Fabric

    from fakestormer.training.failure import write_failure
    from fakestormer.training.log import RunLog
    from fakestormer.training.step import AsTensors, NonFiniteLossError, training_step


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
    out: Path
    plan: ClipPlan
    interpolation: Interpolation
    settings: TrainSettings

    @property
    def last(self) -> Path:
        """The checkpoint to go on from."""
        return self.out / "checkpoints" / "last"


def train(
    recipe: Recipe, store: Path, out: Path, settings: TrainSettings | None = None
) -> TrainingResult:
    """Train on the store's training tracks; choose by its validation tracks; write into `out`.

    out: gets `model.safetensors` and `model.json` at the end; `checkpoints/`, `tensorboard/` and
    `history.jsonl` on the way. A resumed run goes on from `out/checkpoints/last`, to the same
    losses as if nothing had happened; on another number of processes too, up to rounding (see
    `step` for what stochastic layers and BatchNorm need for that). Several machines: see
    `engine.launch`.

    Ctrl-C (and SIGTERM) finishes the step, saves, and raises KeyboardInterrupt. Raises InputError
    for a store without enough training tracks, without held-out ones or made with another crop or
    tracking, for an `out` that holds a run already, or for a resumption under another recipe;
    TrainingError when the numbers stop being finite: the step is then kept under `out`.
    """
    settings = settings or TrainSettings()
    recipe = sized(recipe, settings.initial_weights)
    model, config = recipe.model, recipe.training
    if model.classifier == "surroundings":
        raise InputError(
            "model.classifier=surroundings: this f is fitted, not trained; train with "
            "model.classifier=tokens, then run `fakestormer fit` on the model"
        )
    tracks = choose_tracks(recipe, store)
    plan = clip_plan(recipe, tracks)
    job = _Job(
        recipe=recipe,
        store=store,
        tracks=tracks,
        out=out,
        plan=plan,
        interpolation=interpolation_in(store, tracks.training, recipe.synthesis.tau),
        settings=settings,
    )
    if not settings.resume and job.last.exists():
        raise InputError(f"{out}: holds a run already; resume it, or give another folder")
    result = launch(
        partial(_run, job=job),
        settings,
        precision=config.precision,
        idle=leaves_idle(model.architecture, model.branches, config.freeze_epochs),
    )
    if result is None:
        raise KeyboardInterrupt
    return result


def _run(fabric: Fabric, job: _Job) -> TrainingResult | None:
    """The whole run, in each of its processes; None where it was interrupted and is saved."""
    run = _Run(fabric, job)
    if not run.finished():
        return None
    fabric.barrier()
    if fabric.is_global_zero:
        _export(job, run.state)
    return TrainingResult(
        model=job.out / "model.safetensors", best=run.state.best, history=tuple(run.history)
    )


class _Run:
    """One process of a run: its network and its optimizer, and how far they are."""

    def __init__(self, fabric: Fabric, job: _Job) -> None:
        self.fabric, self.job, self.began = fabric, job, time.monotonic()
        recipe, config, resume = job.recipe, job.recipe.training, job.settings.resume
        if fabric.device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(threads(fabric.world_size))
        self.validation = _validation_set(job) if fabric.is_global_zero else None
        torch.manual_seed(config.seed)
        self.network = build(recipe.model)
        fingerprint = self.validation.fingerprint if self.validation else ""
        self.state = self._first_state(str(fabric.broadcast(fingerprint)))
        pretrained = self.state.pretrained
        self.kept = never_trained(self.network, pretrained, config.trained)
        freeze(self.network, self.kept)
        self.optimizer: Optimizer = (Adam if config.optimizer == "adam" else AdamW)(
            parameter_groups(self.network, pretrained, config.pretrained_rate, without=self.kept),
            lr=config.learning_rate,
            betas=config.betas,
            weight_decay=config.weight_decay,
        )
        self.module, self.stepper = fabric.setup(AsTensors(self.network), self.optimizer)
        if resume:
            restore(job.last, self.network, self.optimizer)
        self.average = None  # only the process that validates and saves keeps one: all are alike
        if config.ema_decay is not None and fabric.is_global_zero:
            self.average = Average(self.network, config.ema_decay)
            if resume:
                restore_average(job.last, self.average.network)
        self.clips = TrainingClips(
            job.store, job.tracks.training, job.plan, recipe.synthesis, fakes=job.tracks.fakes
        )
        self.history: list[StepRecord] = []
        self.log = RunLog(
            job.out,
            first_step=self.state.step,
            steps=job.plan.steps,
            silent=not fabric.is_global_zero,
            draw=job.settings.show_progress,
        )
        if fabric.is_global_zero and job.settings.show_progress and not job.tracks.fakes:
            print(f"{job.store}: {job.interpolation}", file=sys.stderr, flush=True)
        self.spent_before, self.saved_at = self.state.seconds, self.began

    def _first_state(self, fingerprint: str) -> RunState:
        job = self.job
        if job.settings.resume:
            return resumed_state(job.last, job.recipe, job.store, job.tracks, fingerprint)
        weights = job.settings.initial_weights
        return fresh_state(self.network, job.tracks, fingerprint, initial_weights=weights)

    def finished(self) -> bool:
        """Take all steps that are left; False where the run was interrupted and is saved."""
        model, plan = self.job.recipe.model, self.job.plan
        batches = training_batches(
            self.clips,
            size=model.image_size,
            patch_size=model.patch_size,
            first_step=self.state.step,
            workers=self.job.settings.workers,
            device=self.fabric.device,
            rank=self.fabric.global_rank,
            world_size=self.fabric.world_size,
        )
        with self.log, interruptible() as interrupted:
            for step, batch in enumerate(batches, start=self.state.step):
                self._step(step, batch)
                improved = self._validated_best(step + 1)
                stop = self.fabric.strategy.reduce_boolean_decision(interrupted.is_set(), all=False)
                self._save(step + 1, best=improved, stop=stop)
                if stop and step + 1 < plan.steps:
                    return False
        return True

    def _step(self, step: int, batch: PairBatch) -> None:
        """One step, counted from 0."""
        config, plan = self.job.recipe.training, self.job.plan
        epoch, position = plan.place(step)
        if position == 0 or not self.history:
            self.network.train()
            frozen = frozen_names(epoch, config.freeze_epochs, self.state.pretrained)
            freeze(self.network, frozen | self.kept)
        rate = learning_rate(config.schedule, step, plan.steps, config.learning_rate)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["rate_share"]
        sam = SAM(self.optimizer, config.sam_rho)
        try:
            losses = training_step(
                self.fabric, self.module, self.stepper, sam, batch, config, step=step
            )
        except NonFiniteLossError as error:
            raise write_failure(
                self.job.out, error, fabric=self.fabric, recipe=self.job.recipe, clips=self.clips,
                batch=batch, network=self.network,
            ) from error  # fmt: skip
        if self.average is not None:
            self.average.update(self.network, step)
        self.history.append(_record(self.fabric, step, epoch, rate, losses))
        self.log.step(self.history[-1], clips=config.batch_size)

    def _validated_best(self, done: int) -> bool:
        """Validate where an epoch has ended that asks for it; whether it was the best so far.

        One process scores, all know: the plain network, because DDP's would wait for the others.
        """
        recipe, plan = self.job.recipe, self.job.plan
        (epoch, position), every = plan.place(done), recipe.training.validate_every
        if position != 0 or (epoch % every != 0 and done != plan.steps):
            return False
        judged = self.network if self.average is None else self.average.network
        metrics: dict[str, float] = {}
        if self.validation is not None:
            metrics = validate(
                judged,
                self.validation,
                batch_size=recipe.training.batch_size,
                pooling=recipe.prediction.pooling,
                forward_context=self.fabric.autocast(),
            )
        metrics = self.fabric.broadcast(metrics)
        improved = not self.state.best or _quality(metrics) > _quality(self.state.best)
        best = {**metrics, "step": float(done)} if improved else self.state.best
        self.state = self.state.model_copy(update={"metrics": metrics, "best": best})
        self.log.validation(done, metrics)
        if self.validation is not None:
            context = self.fabric.autocast()
            sheets = example_sheets(judged, self.validation, forward_context=context)
            self.log.examples(done, sheets)
        return improved

    def _save(self, done: int, *, best: bool, stop: bool) -> None:
        """Count the step, and write a checkpoint where one is due."""
        config, now = self.job.recipe.training, time.monotonic()
        self.state = self.state.model_copy(
            update={
                "step": done,
                "seconds": self.spent_before + now - self.began,
                "processes": self.fabric.world_size,
            }
        )
        due = _due(config.checkpoint_every, config.checkpoint_minutes, done, now - self.saved_at)
        epoch_ends = self.job.plan.place(done)[1] == 0
        if self.fabric.is_global_zero and (epoch_ends or stop or due):
            save_checkpoint(
                self.job.out, self.network, self.optimizer, self.state,
                self.job.recipe.model_dump(mode="json"), best=best,
                average=None if self.average is None else self.average.network,
            )  # fmt: skip
            self.saved_at = time.monotonic()


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
