"""Trees of empty files with the names that data sets have."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path


def touch(root: Path, names: Iterable[str]) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def write_json(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def ffpp_videos(
    numbers: Iterable[str], fakes: Iterable[str], methods: Iterable[str], level: str = "c23"
) -> list[str]:
    """Names below FaceForensics++'s root."""
    fakes = list(fakes)
    real = [f"original_sequences/youtube/{level}/videos/{number}.mp4" for number in numbers]
    return real + [
        f"manipulated_sequences/{method}/{level}/videos/{fake}.mp4"
        for method in methods
        for fake in fakes
    ]
