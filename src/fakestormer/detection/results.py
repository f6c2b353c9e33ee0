"""The JSON that `detect --json` writes, as `results.schema.json` describes it:

{"schema": "fakestormer/detect/2", "results": [{"path", "probability", "verdict", ...}]}

An entry of "results" is `Report.to_dict()`, or `failure_of` a video that could not be scored.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fakestormer.files import write_atomically, writing
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
    """Write a file or an object, whole or not at all, over an older one.

    Raises InputError where that is not possible; the older one then stays as it is.
    """
    if is_object(place):
        write(str(place), content)
    else:
        with writing(place):
            write_atomically(Path(place), content)
