"""Runs the rows of a table: train, evaluate, and go on where an earlier call stopped.

OUT/runs/<row>-<hash>/            a training run; the hash is of all that it depends on, so rows
                                  (also of other tables) that ask for the same network share it
OUT/runs/<row>-<hash>/evaluation-<hash>/   its evaluation, one per way of testing
OUT/<table>.json, OUT/<table>.md  what is known so far, written anew after every row
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from fakestormer.data.manifest import Row, read_manifest, read_settings, tracks_of
from fakestormer.errors import InputError
from fakestormer.evaluation.corruptions import LEVELS
from fakestormer.evaluation.evaluate import EvaluationSettings, evaluate
from fakestormer.evaluation.plan import SplitChoice, usable, videos_of
from fakestormer.files import sha256_of, write_atomically
from fakestormer.model.model_file import load_model
from fakestormer.recipe.recipe import Recipe, override
from fakestormer.tools.ablation.tables import Table, TableRow
from fakestormer.training.loop import train
from fakestormer.training.settings import TrainSettings
from fakestormer.training.tracks import choose_tracks

_UNSEEN = "an ablation is tested on videos that nothing was trained on or chosen by"
#: By test set: the numbers of its groups of videos, as evaluation.json has them.
Measured = Mapping[str, Sequence[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowResult:
    """One training of a row. run: its folder. reason: why it was not run, "" where it was.

    measured: by test set. robustness: AUCs by test set, corruption and level, and their means.
    best: validation metrics of the chosen checkpoint. seconds: over all calls.
    """

    row: TableRow
    run: str = ""
    seed: int = 0
    robustness: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    measured: Measured = dataclasses.field(default_factory=dict)
    best: Mapping[str, float] = dataclasses.field(default_factory=dict)
    steps: int = 0
    seconds: float = 0.0
    parameters: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where and on what the rows of a table are run.

    tests: test stores by name. initial_weights: for the rows that start from some. progress: gets a
    line on each thing that begins. Raises InputError, before hours are spent, for stores that
    scoring or training would refuse, and for test videos that are in the training store.
    """

    recipe: Recipe
    training_store: Path
    tests: Mapping[str, Path]
    out: Path
    split: SplitChoice = "test"
    initial_weights: Path | None = None
    accelerator: str = "auto"
    workers: int = 1
    progress: Callable[[str], None] | None = None

    def __post_init__(self) -> None:
        trained_on = _manifest_hash(self.training_store)
        choose_tracks(self.recipe, self.training_store)
        rows = read_manifest(self.training_store)
        seen = {row.sha256 for row in usable(rows) if row.split in ("train", "validation")}
        for store in self.tests.values():
            if _manifest_hash(store) == trained_on:
                raise InputError(f"{store}: the test store is the training store; {_UNSEEN}")
            for video, tracks in videos_of(store, self.recipe.crop, self.split):
                if any(row.sha256 in seen for row in usable(tracks)):
                    raise InputError(
                        f"{store}: {video} is in the training store too, for training or "
                        f"validation; {_UNSEEN}"
                    )

    def say(self, line: str) -> None:
        if self.progress is not None:
            self.progress(line)


def check_bench(table: Table, bench: Bench) -> None:
    """Raise InputError for stores that give no numbers of this table, before hours are spent."""
    made = read_settings(bench.training_store)
    if made.dataset == "ffpp" and made.compression != table.level:
        raise InputError(
            f"{bench.training_store}: holds FF++ at {made.compression}, and {table.title} is "
            f"trained at {table.level}; prepare FF++ with --compression {table.level} into a store "
            "of its own"
        )
    if table.cells != "sets" and len(bench.tests) != 1:
        raise InputError(
            f"{table.title} is measured on one test set, FF++, and {len(bench.tests)} were given; "
            "give one with --test"
        )


def run_row(row: TableRow, bench: Bench, *, seed: int = 0, corrupted: bool = False) -> RowResult:
    """Train the row's network, unless that is done, and score every test set, unless that is done.

    seed: added to that of the recipe. corrupted: score under the benchmark's corruptions, too. An
    unfinished training run is resumed. A row that this training store cannot serve (no fake videos
    of its kind) is a result with a reason.
    """
    recipe = override(bench.recipe, row.sets)
    missing = missing_fakes(recipe, bench.training_store)
    if missing:
        return RowResult(row=row, reason=missing)
    training = training_of(row, bench, seed)
    run, label = training.folder, f"{row.name}, seed {training.seed}" if seed else row.name
    seconds = _train(training, bench, label)
    network, document = load_model(run)
    corruptions = tuple(name for name in LEVELS if name != "video") if corrupted else ()
    settings = EvaluationSettings(
        prediction=recipe.prediction,
        split=bench.split,
        corruptions=corruptions,
        device=_device(bench.accelerator),
    )
    way = _hash(recipe.prediction.model_dump(mode="json"), bench.split, *corruptions)

    def begins(done: int, total: int, name: str) -> None:
        if not name and done < total:  # the first call; nothing is said where all is scored
            bench.say(f"{label}: scoring {', '.join(bench.tests)}")

    evaluation = evaluate(run, bench.tests, run / f"evaluation-{way}", settings, progress=begins)
    measured = {
        name: data["results"][recipe.prediction.sampling]["groups"]
        for name, data in evaluation["data"].items()
    }
    return RowResult(
        row=row,
        run=str(run.relative_to(bench.out)),
        seed=training.seed,
        measured=measured,
        robustness={
            name: data["robustness"] for name, data in evaluation["data"].items() if corrupted
        },
        best=document["metrics"]["validation"],
        steps=document["metrics"]["steps"],
        seconds=seconds,
        parameters=sum(p.numel() for p in network.parameters()),
    )


def row_recipes(table: Table, recipe: Recipe, only: Sequence[str] = ()) -> list[TableRow]:
    """The rows to run (`only` these names, where given), checked before hours are spent."""
    names = [row.name for row in table.rows]
    unknown = [name for name in only if name not in names]
    if unknown:
        raise InputError(f"no row named {', '.join(unknown)}; there are: {', '.join(names)}")
    rows = [row for row in table.rows if not only or row.name in only]
    for row in rows:
        try:
            override(recipe, row.sets)
        except ValueError as error:
            raise InputError(f"row {row.name} does not fit this recipe: {error}") from error
    return rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """One training run: rows that ask for the same network share it. weights: it starts from."""

    recipe: Recipe
    weights: Path | None
    folder: Path

    @property
    def seed(self) -> int:
        return self.recipe.training.seed

    @property
    def is_done(self) -> bool:
        """Whether it has its model, whose JSON is written last."""
        return (self.folder / "model.json").is_file()


def training_of(row: TableRow, bench: Bench, seed: int) -> Training:
    """What the row's network is trained by; `seed` is added to that of the recipe."""
    wanted = [*row.sets, f"training.seed={bench.recipe.training.seed + seed}"]
    # How a network is tested does not change its training: such rows share a run.
    recipe = override(bench.recipe, wanted).model_copy(
        update={"prediction": bench.recipe.prediction}
    )
    weights = bench.initial_weights if row.from_weights else None
    return Training(recipe=recipe, weights=weights, folder=_run_folder(row, recipe, weights, bench))


def _train(training: Training, bench: Bench, name: str) -> float:
    """Make sure that its folder holds a finished model; returns the seconds its training took."""
    run = training.folder
    clock = run / "seconds.json"
    before = float(json.loads(clock.read_text())) if clock.is_file() else 0.0
    if training.is_done:
        return before
    resume = (run / "checkpoints" / "last").exists()
    bench.say(f"{name}: {'resuming' if resume else 'training'} in {run}")
    began = time.monotonic()
    try:
        settings = TrainSettings(
            initial_weights=training.weights,
            resume=resume,
            accelerator=bench.accelerator,
            workers=bench.workers,
        )
        train(training.recipe, bench.training_store, run, settings)
    finally:
        total = before + time.monotonic() - began
        write_atomically(clock, json.dumps(round(total, 1)).encode())
    return total


def missing_fakes(recipe: Recipe, store: Path) -> str:
    """Why the row cannot be trained on this store, or ""."""
    if recipe.training.fakes != "videos":
        return ""
    rows = read_manifest(store)
    splits: tuple[Literal["train", "validation"], ...] = ("train", "validation")
    for split in splits:
        fakes = [row for row in tracks_of(rows, split, "fake") if row.frames >= recipe.model.frames]
        made = {row.method for row in fakes}
        lacking = [method for method in recipe.training.fake_methods if method not in made]
        if lacking or not fakes:
            by = f" made by {', '.join(lacking)}" if lacking else ""
            return f"the training store holds no fake {split} videos{by}"
    return ""


def _device(accelerator: str) -> str:
    """Where networks are scored: on a GPU where training may use one."""
    return "cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu"


def _run_folder(row: TableRow, recipe: Recipe, weights: Path | None, bench: Bench) -> Path:
    """The run of all rows that ask for the same network; named after the first of them."""
    trained_on = _manifest_hash(bench.training_store)
    hashed = _hash(recipe.model_dump(mode="json"), trained_on, weights and sha256_of(weights))
    runs = bench.out / "runs"
    return next(runs.glob(f"*-{hashed}"), runs / f"{_slug(row.name)}-{hashed}")


def _manifest_hash(store: Path) -> str:
    path = store / "manifest.parquet"
    if not path.is_file():
        raise InputError(f"{store}: no manifest.parquet; make a store with `fakestormer prepare`")
    return sha256_of(path)


def _hash(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def _slug(name: str) -> str:
    return re.sub(r"[^\w.+]+", "-", name).strip("-")


def training_data(store: Path) -> dict[str, Any]:
    """What a store offers for training: {"store", "train": {...}, "validation": {...}}."""
    rows, settings = read_manifest(store), read_settings(store)

    def counted(chosen: Sequence[Row]) -> dict[str, Any]:
        return {
            "tracks": len(chosen),
            "frames": sum(row.frames for row in chosen),
            "sources": sorted({row.source for row in chosen}),
        }

    return {
        "store": store.name,
        "dataset": settings.dataset,
        "compression": settings.compression,
        "faces": settings.backend,
        "manifest_sha256": _manifest_hash(store),
        "train": counted(tracks_of(rows, "train")),
        "train_fakes": counted(tracks_of(rows, "train", "fake")),
        "validation": counted(tracks_of(rows, "validation")),
    }
