"""Names, tags and facts from files, cleaned for print."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

JOINERS = "\u200c\u200d"
"""Format characters that words and emoji of many languages need."""


def face_name(number: int) -> str:
    """The name of a face in reports and messages; numbers count from 1."""
    return f"Face {number}"


def page_name(path: str, sha256: str) -> str:
    """`<video stem>-<12 digits of its SHA-256>.html`, safe on every file system.

    Two videos never share a name; a second report on the same video replaces the first.
    """
    stem = unicodedata.normalize("NFKC", shown(PurePath(path).stem))
    safe = re.sub(r"[^\w.-]+", "_", stem).strip("._-")[:40] or "video"
    digest = "".join(c for c in sha256.lower() if c in "0123456789abcdef")[:12]
    return f"{safe}-{digest or 'unhashed'}.html"


def shown(text: object) -> str:
    """Text from a file, cleaned for print: invisible and direction characters become "�".

    Covers control and format characters (which can make "exe.4pm" read "mp4.exe"), and the
    halves of characters that Python makes of file names that are not UTF-8.
    """
    return "".join(
        "�" if unicodedata.category(c) in {"Cc", "Cf", "Cs"} and c not in JOINERS else c
        for c in str(text)
    )


def picture_size(video: Mapping[str, Any]) -> tuple[int, int] | None:
    width, height = number(video, "width"), number(video, "height")
    if width is None or height is None or width < 1 or height < 1:
        return None
    return int(width), int(height)


def number(facts: Mapping[str, Any], key: str) -> float | None:
    """A fact that may be absent or not a number: metadata of strangers."""
    value = facts.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def rows(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """{"versions": {"torch": "2.13"}, "rotation": 0} -> ("versions: torch", "2.13"), ..."""
    for key, value in facts.items():
        name = prefix + shown(key).replace("_", " ")
        if isinstance(value, Mapping):
            yield from rows(value, prefix=f"{name}: ")
        elif value is None:
            yield name, "not known"
        elif isinstance(value, list | tuple) and not value:
            yield name, "none"
        elif isinstance(value, list | tuple):
            yield name, shown(json.dumps(_rounded(value), ensure_ascii=False, default=str))
        else:
            yield name, shown(_rounded(value))


def _rounded(value: Any) -> Any:
    """Numbers to four digits, also within lists: people read them."""
    if isinstance(value, list | tuple):
        return [_rounded(part) for part in value]
    return float(f"{value:.4g}") if isinstance(value, float) and math.isfinite(value) else value
