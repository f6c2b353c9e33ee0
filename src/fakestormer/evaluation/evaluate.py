"""An evaluation from beginning to end: stores of real and fake videos -> numbers, tables, pictures.

plan.py -> score_task.py (score.py, corrupted.py) -> journal.py    which videos, their scores
        -> groups.py (metrics.py) -> document.py                   the numbers
        -> outputs.py (tables.py, plots.py, page.py)               the files

evaluate("RUN", {"CDF2": Path("stores/celeb")}, Path("evaluation"))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from fakestormer.data.manifest import read_settings
from fakestormer.data.origin import entries_of
from fakestormer.detection.detector import Detector
from fakestormer.evaluation.corruptions import CorruptionName
from fakestormer.evaluation.journal import Progress, opened, score_plan
from fakestormer.evaluation.outputs import write_outputs
from fakestormer.evaluation.plan import (
    CLEAN,
    AppliedTo,
    Condition,
    FaceChoice,
    Plan,
    SplitChoice,
    check_backend,
    videos_of,
)
from fakestormer.faces.open import BackendName, open_backend
from fakestormer.recipe.prediction import PredictionConfig, Sampling
from fakestormer.runtimes.engine import Engine
from fakestormer.video.objects import copied, is_object, kept


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSettings:
    """What is scored and how.

    prediction: in place of the model's own way. samplings: none for the model's own one. shots,
    shot_score: None keeps the model's. face: which of several faces counts, the "largest" or the
    highest score ("max"). corruptions: of the robustness benchmark, at each of `levels`;
    applied_to: whole "frames" before faces are found, or stored "crops". roots: where the videos of
    a store are now, by its name. faces: the backend that finds faces in corrupted frames. workers:
    processes; 0 works in this one. cluster: the address of a Ray cluster instead ("auto",
    "host:port", "local"), whose nodes read model, stores and videos under the same paths.
    """

    prediction: PredictionConfig | None = None
    samplings: tuple[Sampling, ...] = ()
    shots: int | None = None
    shot_score: Literal["last", "mean"] | None = None
    split: SplitChoice = "test"
    face: FaceChoice = "largest"
    corruptions: tuple[CorruptionName, ...] = ()
    levels: tuple[int, ...] = (1, 2, 3, 4, 5)
    applied_to: AppliedTo = "frames"
    roots: Mapping[str, str | Path] = field(default_factory=dict)
    faces: BackendName = "auto"
    device: str = "cpu"
    workers: int = 0
    cluster: str | None = None


def evaluate(
    model: str | Path | None,
    stores: Mapping[str, str | Path],
    out: str | Path,
    settings: EvaluationSettings | None = None,
    *,
    progress: Progress | None = None,
    warn: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Score every video of prepared stores as detection would; write how well they separate.

    Stopped at any moment, the same call goes on where it was.

    Args:
        model: a `.safetensors` file with its `.json` beside it, or their folder; None takes the
            model that came with the package.
        stores: prepared stores of real and fake videos, by the names of the data sets.
        out: the folder for evaluation.json, .md, .html, scores.csv and pictures. It and stores may
            be addresses in an object store.
        settings: what is scored and how; None takes the defaults.
        progress: gets (tasks done, tasks in all, the task under way).
        warn: gets a sentence where a store's faces were found otherwise than the model's.

    Returns:
        The document that evaluation.json holds.

    Raises:
        InputError: for a model or a store that cannot be used, or an `out` that cannot be written.
        SetupError: where a package is missing.
    """
    settings = settings or EvaluationSettings()
    if settings.cluster is not None:  # its nodes are not in this folder
        model = None if model is None else Path(model).resolve()
    detector = Detector(model, device=settings.device, prediction=settings.prediction).predicting(
        shots=settings.shots, shot_score=settings.shot_score
    )
    on_ffpp = detector.trained_on.get("dataset") == "ffpp"
    learned_from = detector.trained_on["compression"] if on_ffpp else ""
    with ExitStack() as at_hand:
        paths = {name: at_hand.enter_context(copied(store)) for name, store in stores.items()}
        addresses = {
            name: str(store).rstrip("/") for name, store in stores.items() if is_object(store)
        }
        if settings.cluster is not None:
            paths = {name: store.resolve() for name, store in paths.items()}
        plan = replace(_plan(detector, model, paths, settings), addresses=addresses)
        if warn is not None:
            _warn_of_other_faces(detector, paths, warn)
        place = at_hand.enter_context(kept(out))
        with opened(place.folder):
            return write_outputs(
                plan,
                score_plan(plan, place.folder, progress=place.beside(progress)),
                place.folder,
                model=detector.fingerprint(faces=False),
                clip_length=detector.engine.config.frames,
                learned_from=learned_from,
            )


def _warn_of_other_faces(
    detector: Detector, stores: Mapping[str, Path], warn: Callable[[str], None]
) -> None:
    for name, store in stores.items():
        backend = read_settings(store).backend
        if detector.trained_with not in (None, backend):
            warn(
                f"{name}: its faces were found by {backend}, the model was trained on faces found "
                f"by {detector.trained_with}: they are cropped a little differently"
            )


def _plan(
    detector: Detector,
    model: str | Path | None,
    stores: Mapping[str, Path],
    settings: EvaluationSettings,
) -> Plan:
    """The plan; a store that cannot be evaluated is refused before hours are spent on others."""
    for store in stores.values():
        videos_of(store, detector.recipe.crop, settings.split)
    conditions = [
        Condition(corruption=name, level=level)
        for name in settings.corruptions
        for level in settings.levels
    ]
    open_faces = partial(open_backend, settings.faces)
    entries = None
    if conditions and settings.applied_to == "frames":
        for store in stores.values():
            check_backend(open_faces(), store, read_settings(store).backend)
        entries = {
            name: entries_of(store, settings.roots.get(name)) for name, store in stores.items()
        }
    return Plan(
        stores=stores,
        crop=detector.recipe.crop,
        weights_sha256=detector.weights_sha256,
        open_engine=OpenEngine(
            model, detector, alone=settings.workers == 0 and settings.cluster is None
        ),
        open_faces=open_faces,
        predictions={
            sampling: detector.prediction.model_copy(update={"sampling": sampling})
            for sampling in settings.samplings or (detector.prediction.sampling,)
        },
        split=settings.split,
        face=settings.face,
        conditions=(CLEAN, *conditions),
        applied_to=settings.applied_to,
        entries=entries,
        workers=settings.workers,
        cluster=settings.cluster,
    )


class OpenEngine:
    """The engine of a model, for a process that scores: loaded there, or the detector's own."""

    def __init__(self, model: str | Path | None, detector: Detector, *, alone: bool) -> None:
        self.model = model
        self.device = detector.device
        self._at_hand = detector.engine if alone else None

    def __call__(self) -> Engine:
        if self._at_hand is not None:
            return self._at_hand
        return Detector(self.model, device=self.device).engine
