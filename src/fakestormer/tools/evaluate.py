"""The command `evaluate` as a function; the command line uses it too."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fakestormer.faces.open import BackendName, OpenBackend

if TYPE_CHECKING:
    from fakestormer.detection.batch import DetectorSettings
    from fakestormer.detection.detector import Detector
    from fakestormer.evaluation.corruptions import CorruptionName
    from fakestormer.evaluation.protocol import FaceChoice, SplitChoice
    from fakestormer.evaluation.run import Plan
    from fakestormer.evaluation.scoring import AppliedTo
    from fakestormer.model.network import VideoNetwork
    from fakestormer.recipe.prediction import Sampling

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateSettings:
    """What `evaluate` measures.

    samplings: "windows", "consecutive", "spread"; empty takes the model's own. split: which videos
    of the stores. face: which of several faces counts. corruptions, levels: every corruption at
    every level, beside the clean videos. applied_to: "frames" (before faces are found) or "crops".
    roots: the folders of a store's videos, where they were moved. faces: the backend that finds
    faces in corrupted frames. workers: processes; 0 works in this one.
    """

    samplings: tuple[Sampling, ...] = ()
    split: SplitChoice = "test"
    face: FaceChoice = "largest"
    corruptions: tuple[CorruptionName, ...] = ()
    levels: tuple[int, ...] = (1, 2, 3, 4, 5)
    applied_to: AppliedTo = "frames"
    roots: Mapping[str, Path] = dataclasses.field(default_factory=dict)
    faces: BackendName = "auto"
    workers: int = 0


def evaluate(
    stores: Mapping[str, str | Path],
    out: str | Path,
    *,
    detector: DetectorSettings | None = None,
    settings: EvaluateSettings | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> dict[str, Any]:
    """Score every video of prepared stores as detection would, and measure how well they separate.

    The same call goes on where an earlier one was stopped.

    Args:
        stores: by the name of the data set, a store of real and fake videos.
        out: the folder of evaluation.json, .md and .html, scores.csv and plots.
        detector: the model, its device and shots; None takes the weights that come with the
            package.
        settings: which videos, samplings and corruptions.
        progress: called with (tasks done, tasks in all, the task under way).

    Returns:
        What evaluation.json holds.

    Raises:
        InputError: a store or the model cannot be used, or `out` cannot be written.
        SetupError: the extra `train` is not installed, or the face models are needed and missing.
    """
    from fakestormer.detection.batch import DetectorSettings
    from fakestormer.evaluation.outputs import write_outputs
    from fakestormer.evaluation.run import evaluate as score
    from fakestormer.evaluation.run import opened

    detector = detector or DetectorSettings()
    opened_model = open_model(detector)
    plan = _plan(
        {name: Path(store) for name, store in stores.items()},
        detector,
        opened_model,
        settings or EvaluateSettings(),
    )
    with opened(Path(out)):
        scores = score(plan, Path(out), progress=progress)
        return write_outputs(
            plan,
            scores,
            Path(out),
            model=opened_model.fingerprint(faces=False),
            clip_length=opened_model.network.config.frames,
        )


def _plan(
    stores: dict[str, Path], detector: DetectorSettings, model: Detector, settings: EvaluateSettings
) -> Plan:
    """What is scored and how. What is wrong with a store is found before hours are spent."""
    from fakestormer.data.manifest import read_settings
    from fakestormer.data.origin import entries_of
    from fakestormer.evaluation.protocol import videos_of
    from fakestormer.evaluation.run import Plan
    from fakestormer.evaluation.scoring import CLEAN, Condition, check_backend

    for store in stores.values():
        videos_of(store, model.recipe.crop, settings.split)
    conditions = [
        Condition(corruption=name, level=level)
        for name in settings.corruptions
        for level in settings.levels
    ]
    entries = None
    if conditions and settings.applied_to == "frames":
        for store in stores.values():
            check_backend(OpenBackend(settings.faces)(), store)
        entries = {
            name: entries_of(store, settings.roots.get(name)) for name, store in stores.items()
        }
    plan = Plan(
        stores=stores,
        crop=model.recipe.crop,
        weights_sha256=model.weights_sha256,
        open_network=OpenNetwork(detector, model, alone=settings.workers == 0),
        open_faces=OpenBackend(settings.faces),
        predictions={
            sampling: model.prediction.model_copy(update={"sampling": sampling})
            for sampling in settings.samplings or (model.prediction.sampling,)
        },
        split=settings.split,
        face=settings.face,
        conditions=(CLEAN, *conditions),
        applied_to=settings.applied_to,
        entries=entries,
        workers=settings.workers,
    )
    for name, store in stores.items():
        backend = read_settings(store).backend
        if model.trained_with not in (None, backend):
            log.warning(
                "%s: its faces were found by %s, the model was trained on faces found by %s: they "
                "are cropped a little differently",
                name, backend, model.trained_with,
            )  # fmt: skip
    return plan


def open_model(settings: DetectorSettings) -> Detector:
    """A detector for faces that are found already; needs no face models."""
    from fakestormer.detection.detector import Detector

    return Detector(settings.model, device=settings.device).predicting(
        sampling=settings.sampling, shots=settings.shots, shot_score=settings.shot_score
    )


class OpenNetwork:
    """Opens the network of a model in a process that scores; alone: gives the one at hand."""

    def __init__(self, settings: DetectorSettings, detector: Detector, *, alone: bool) -> None:
        self.settings = settings
        self._at_hand = detector.network if alone else None

    def __call__(self) -> VideoNetwork:
        return open_model(self.settings).network if self._at_hand is None else self._at_hand
