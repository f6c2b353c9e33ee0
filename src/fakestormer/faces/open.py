"""Which face backend is used."""

from __future__ import annotations

import importlib.util
import warnings
from typing import Literal

from fakestormer.errors import SetupError
from fakestormer.faces import face_models
from fakestormer.faces.protocol import FaceBackend

BackendName = Literal["auto", "blazeface", "dlib"]


def open_backend(name: BackendName = "auto") -> FaceBackend:
    """The backend of that name; "auto" is blazeface, or dlib (with a warning) without its models.

    Raises SetupError saying what to run when it is not installed or set up.
    """
    if name not in ("auto", "blazeface", "dlib"):
        raise ValueError(f"unknown face backend {name!r}: choose auto, blazeface or dlib")
    if name == "auto" and not face_models.models_present():
        if importlib.util.find_spec("dlib") is None:
            raise SetupError(
                f"the face models are not in {face_models.cache_folder()}: run `fakestormer setup` "
                "once"
            )
        warnings.warn(
            "the default face models are not set up: using dlib, whose results differ; run "
            "`fakestormer setup` to use the default",
            stacklevel=2,
        )
        name = "dlib"
    if name == "dlib":
        from fakestormer.faces.dlib import DlibFaces

        return DlibFaces()
    from fakestormer.faces.blazeface import BlazeFace

    return BlazeFace()
