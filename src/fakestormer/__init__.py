"""FakeSTormer: explainable deepfake video detection, trained on real videos only.

The public names; they load when first used, so that `import fakestormer` is fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fakestormer.detection.detector import Detector as Detector
    from fakestormer.errors import InputError as InputError
    from fakestormer.errors import NoFaceError as NoFaceError
    from fakestormer.errors import SetupError as SetupError
    from fakestormer.recipe.recipe import Recipe as Recipe
    from fakestormer.report.page import write_report as write_report
    from fakestormer.types import Report as Report

_HOME = {
    "Detector": "detection.detector",
    "InputError": "errors",
    "NoFaceError": "errors",
    "Recipe": "recipe.recipe",
    "Report": "types",
    "SetupError": "errors",
    "write_report": "report.page",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'fakestormer' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f"fakestormer.{_HOME[name]}"), name)
