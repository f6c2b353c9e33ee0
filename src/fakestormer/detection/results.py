"""The JSON that `detect --json` writes, as `results.schema.json` describes it:

{"schema": "fakestormer/detect/1", "results": [{"path", "probability", "verdict", ...}]}

Of a calibrated model "probability" of a video and of a face is calibrated and "raw" beside it is
not; a model without calibration has no "raw". Numbers of shots, clips and frames are always raw.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from fakestormer.errors import InputError
from fakestormer.files import write_atomically
from fakestormer.types import FaceReport, Reason, Report

#: What the JSON says it is; the number rises when something is taken out or changes its meaning.
SCHEMA = "fakestormer/detect/1"


def _numbers(tensor: Tensor, digits: int = 6) -> Any:
    """Nested lists of numbers, rounded: what lies below is noise of the arithmetic."""
    if tensor.ndim:
        return [_numbers(part, digits) for part in tensor]
    return round(float(tensor), digits) if tensor.is_floating_point() else int(tensor)


def result_of(report: Report) -> dict[str, Any]:
    """One entry of "results" for a video that was scored."""
    return {
        "path": report.path,
        "sha256": report.sha256,
        "probability": None if report.probability is None else round(report.probability, 6),
        **({} if report.decisive is None else _raw(report.decisive)),
        "interval": _interval(report.interval),
        "verdict": report.verdict,
        "reasons": _reasons(report.reasons),
        "face": report.face_number,
        "faces": [_face(face) for face in report.faces],
        "warnings": list(report.warnings),
        "video": report.video,
        "model": report.model,
        "settings": report.settings,
    }


def _face(face: FaceReport) -> dict[str, Any]:
    prediction = face.prediction
    return {
        "number": face.number,
        "probability": round(prediction.probability, 6),
        **_raw(face),
        "interval": _interval(face.interval),
        "verdict": face.verdict,
        "reasons": _reasons(face.reasons),
        "warnings": list(face.warnings),
        "shots": {
            "last": round(float(prediction.shot_probabilities[-1]), 6),
            "mean": round(float(prediction.shot_probabilities.double().mean()), 6),
            "each": _numbers(prediction.shot_probabilities),
        },
        "clips": [
            {
                "probability": round(float(prediction.clip_probabilities[c]), 6),
                "frames": _numbers(prediction.indices[c]),
                "seconds": _numbers(prediction.pts_seconds[c]),
                "frame_scores": None
                if prediction.frame_scores is None
                else _numbers(prediction.frame_scores[c]),
                "boxes": _numbers(face.boxes[c], digits=2),
            }
            for c in range(len(prediction.clip_probabilities))
        ],
        **_every_second(face),
    }


def _every_second(face: FaceReport) -> dict[str, Any]:
    if face.every_second is None:
        return {}
    seconds = _numbers(face.every_second.seconds)
    scores = _numbers(face.every_second.probabilities)
    pairs = zip(seconds, scores, strict=True)
    return {"every_second": [{"seconds": at, "probability": score} for at, score in pairs]}


def _interval(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else [round(bound, 6) for bound in interval]


def _reasons(reasons: Sequence[Reason]) -> list[dict[str, str]]:
    return [{"code": reason.code, "text": reason.text} for reason in reasons]


def _raw(face: FaceReport) -> dict[str, float]:
    raw = face.prediction.raw
    return {} if raw is None else {"raw": round(raw, 6)}


def failure_of(path: str, sentence: str) -> dict[str, Any]:
    """One entry of "results" for a video that could not be scored: nothing is claimed."""
    return {
        "path": path,
        "probability": None,
        "verdict": "inconclusive",
        "face": None,
        "faces": [],
        "error": sentence,
    }


def write_results(path: Path, results: Sequence[dict[str, Any]]) -> None:
    """Write all results so far, whole or not at all, over an older file.

    Raises InputError where that is not possible; the older file then stays as it is.
    """
    document = {"schema": SCHEMA, "results": list(results)}
    # ASCII with escapes: file names need not be valid Unicode, a JSON file must be.
    content = (json.dumps(document, indent=2) + "\n").encode()
    try:
        write_atomically(path, content)
    except OSError as error:
        raise InputError(
            f"{path}: the results cannot be written there ({error.strerror}); choose a place that "
            "you may write to and that has room"
        ) from error
