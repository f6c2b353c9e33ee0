"""FakeSTormer: explainable deepfake video detection, trained on real videos only.

    from fakestormer import Detector, write_report

    report = Detector().detect("interview.mp4")
    print(report.verdict, report.probability)
    write_report(report, "reports")

These are all public names. Each loads when it is first used, so `import fakestormer` is fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fakestormer.data.layouts.options import Options as Options
    from fakestormer.data.origin import Origin as Origin
    from fakestormer.data.prepare import Summary as Summary
    from fakestormer.detection.batch import Detection as Detection
    from fakestormer.detection.batch import DetectorSettings as DetectorSettings
    from fakestormer.detection.batch import ResultFiles as ResultFiles
    from fakestormer.detection.batch import detect_many as detect_many
    from fakestormer.detection.detector import Detector as Detector
    from fakestormer.errors import InputError as InputError
    from fakestormer.errors import NoFaceError as NoFaceError
    from fakestormer.errors import OutputError as OutputError
    from fakestormer.errors import SetupError as SetupError
    from fakestormer.errors import TrainingError as TrainingError
    from fakestormer.evaluation.evaluate import EvaluationSettings as EvaluationSettings
    from fakestormer.evaluation.evaluate import evaluate as evaluate
    from fakestormer.recipe.named import load_recipe as load_recipe
    from fakestormer.recipe.recipe import Recipe as Recipe
    from fakestormer.report.index import write_index as write_index
    from fakestormer.report.index import write_thumbnail as write_thumbnail
    from fakestormer.report.page import write_report as write_report
    from fakestormer.report.pdf import write_pdf as write_pdf
    from fakestormer.tools.commands import PrepareSettings as PrepareSettings
    from fakestormer.tools.commands import fit as fit
    from fakestormer.tools.commands import prepare as prepare
    from fakestormer.tools.commands import train as train
    from fakestormer.tools.synthesize import SynthesisRecord as SynthesisRecord
    from fakestormer.tools.synthesize import synthesize as synthesize
    from fakestormer.training.loop import TrainingResult as TrainingResult
    from fakestormer.training.settings import TrainSettings as TrainSettings
    from fakestormer.training.surroundings import FittedSurroundings as FittedSurroundings
    from fakestormer.types import FaceReport as FaceReport
    from fakestormer.types import Prediction as Prediction
    from fakestormer.types import Report as Report

    __version__: str

# The module of each name.
_HOME = {
    "data.layouts.options": ("Options",),
    "data.origin": ("Origin",),
    "data.prepare": ("Summary",),
    "detection.batch": ("Detection", "DetectorSettings", "ResultFiles", "detect_many"),
    "detection.detector": ("Detector",),
    "errors": ("InputError", "NoFaceError", "OutputError", "SetupError", "TrainingError"),
    "evaluation.evaluate": ("EvaluationSettings", "evaluate"),
    "recipe.named": ("load_recipe",),
    "recipe.recipe": ("Recipe",),
    "report.index": ("write_index", "write_thumbnail"),
    "report.page": ("write_report",),
    "report.pdf": ("write_pdf",),
    "tools.commands": ("PrepareSettings", "fit", "prepare", "train"),
    "tools.synthesize": ("SynthesisRecord", "synthesize"),
    "training.loop": ("TrainingResult",),
    "training.settings": ("TrainSettings",),
    "training.surroundings": ("FittedSurroundings",),
    "types": ("FaceReport", "Prediction", "Report"),
}
_MODULES = {name: module for module, names in _HOME.items() for name in names}
__all__ = sorted([*_MODULES, "__version__"])


def __getattr__(name: str) -> Any:
    from importlib import import_module, metadata

    if name == "__version__":
        return metadata.version("fakestormer")
    if name not in _MODULES:
        raise AttributeError(f"module 'fakestormer' has no attribute '{name}'")
    if _MODULES[name].startswith(("detection", "types")):
        import_module("fakestormer.report.notebook")  # so that notebooks draw reports
    return getattr(import_module(f"fakestormer.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
