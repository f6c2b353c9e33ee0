"""The JSON that `detect --json` writes, as `results.schema.json` describes it:

{"schema": "fakestormer/detect/2", "results": [{"path", "probability", "verdict", ...}]}

An entry of "results" is `Report.to_dict()`, or `failure_of` a video that could not be scored.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fakestormer.errors import InputError
from fakestormer.files import write_atomically
from fakestormer.video.objects import is_object, write

#: What the JSON says it is; the number rises when something is taken out or changes its meaning.
#: Version 1 counted faces from 0, and its probabilities of clips and shots were not calibrated.
SCHEMA = "fakestormer/detect/2"


def failure_of(path: str, sentence: str) -> dict[str, Any]:
    """One entry of "results" for a video that could not be scored: nothing is claimed."""
    return {
        "path": path,
        "probability": None,
        "verdict": None,
        "face": None,
        "faces": [],
        "error": sentence,
    }


def document_of(results: Sequence[dict[str, Any]]) -> str:
    """All results as JSON, in ASCII with escapes: file names need not be valid Unicode."""
    return json.dumps({"schema": SCHEMA, "results": list(results)}, indent=2) + "\n"


def write_whole(place: Path | str, content: bytes) -> None:
    """Write a file or an object, whole or not at all. Raises OSError or OutputError."""
    if is_object(place):
        write(str(place), content)
    else:
        write_atomically(Path(place), content)


def write_results(path: Path | str, results: Sequence[dict[str, Any]]) -> None:
    """Write all results so far, whole or not at all, over an older file.

    Raises InputError where that is not possible; the older file then stays as it is.
    """
    try:
        write_whole(path, document_of(results).encode())
    except OSError as error:
        raise InputError(
            f"{path}: the results cannot be written there ({error.strerror}); choose a place that "
            "you may write to and that has room"
        ) from error
