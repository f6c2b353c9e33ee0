"""evaluation.html: an evaluation as one page that holds all it shows and asks nobody for anything.

Its numbers are those of evaluation.json. Names of videos, methods and stores come from strangers:
they reach the page only through the template's escaping, cleaned of what could not be shown.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from fakestormer.data.manifest import Label
from fakestormer.detection.printable import shown
from fakestormer.evaluation.corruptions import TITLES
from fakestormer.evaluation.document import FORMAT
from fakestormer.evaluation.score import VideoScore
from fakestormer.evaluation.tables import areas_of, cell, conventions, per_cent
from fakestormer.files import write_atomically
from fakestormer.report.page import DEFAULT_THRESHOLD
from fakestormer.report.templates import template_environment

PictureKind = Literal["roc", "distribution", "robustness", "abstention"]

#: Columns of a result's table: its title, and where a group's dict has it.
_METRICS = (
    ("AUC", "auc"),
    ("95 %", "interval"),
    ("average precision", "average_precision"),
    ("equal error rate", "equal_error_rate"),
    ("accuracy", "accuracy"),
    ("balanced accuracy", "balanced_accuracy"),
    ("TPR at 1 % FPR", "tpr_at_1_fpr"),
    ("TPR at 0.1 % FPR", "tpr_at_01_fpr"),
)

#: What the technical record says of each data set.
_RECORDED = ("dataset", "compression", "manifest_sha256", "prepared")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstError:
    """A video that was judged wrongly, or nearly so. thumbnails: whole PNG or JPEG files."""

    video: VideoScore
    reason: str = ""
    thumbnails: tuple[bytes, ...] = ()


def pick_worst(
    scores: Sequence[VideoScore], count: int = 12, *, threshold: float = DEFAULT_THRESHOLD
) -> tuple[VideoScore, ...]:
    """The real videos that scored highest and the fakes that scored lowest, half of each.

    Where one kind has fewer videos, the other fills up. First come those on the wrong side of the
    threshold (real ones, then fakes), then the near misses; each from the worst on.
    """
    scored = [s for s in scores if s.score is not None]
    real = sorted(
        (s for s in scored if s.label == "real"), key=lambda s: (-_score(s), s.data, s.video)
    )
    fake = sorted(
        (s for s in scored if s.label == "fake"), key=lambda s: (_score(s), s.data, s.video)
    )
    of_fake = min(len(fake), max(count // 2, count - len(real)))
    picked = [*real[: count - of_fake], *fake[:of_fake]]
    # sorted() keeps the order within the wrong ones and within the others
    return tuple(sorted(picked, key=lambda s: not _is_wrong(s.label, _score(s), threshold)))


def picture_name(kind: PictureKind, data: str, sampling: str) -> str:
    """The file name of a picture, and its key in `write_page`: "roc-CDF2-windows.png".

    A name that had to be changed to be safe on every file system gets digits of its own.
    """
    whole = f"{data}-{sampling}"
    safe = re.sub(r"[^A-Za-z0-9_-]+", "_", whole)[:60]
    if safe != whole:
        safe += "-" + hashlib.sha256(whole.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return f"{kind}-{safe}.png"


def write_page(
    path: Path,
    document: Mapping[str, Any],
    *,
    pictures: Mapping[str, bytes],
    worst: Sequence[WorstError],
) -> None:
    """Write the page, whole or not at all; the same input gives the same bytes.

    document: what evaluation.json holds. pictures: PNGs by `picture_name`. worst: see `pick_worst`.
    """
    write_atomically(path, render_page(document, pictures=pictures, worst=worst).encode("utf-8"))


def render_page(
    document: Mapping[str, Any], *, pictures: Mapping[str, bytes], worst: Sequence[WorstError]
) -> str:
    """The page as text. Raises ValueError as `write_page` does."""
    if document["format"] != FORMAT:
        raise ValueError(f"expected an evaluation of format {FORMAT}, got {document['format']!r}")
    data = document["data"]
    environment = template_environment("evaluation")
    environment.filters |= {"per_cent": per_cent, "data_url": _data_url}
    return environment.get_template("evaluation.html.jinja").render(
        name=shown(document["model"].get("name") or "a model"),
        document=document,
        threshold=document["settings"]["threshold"],
        fake_from=document["settings"].get("fake_from", document["settings"]["threshold"]),
        headlines=[
            (number, name, entry, sampling, result, _whole(result["groups"]))
            for number, (name, entry) in enumerate(data.items(), start=1)
            for sampling, result in entry["results"].items()
        ],
        published={
            name: [(block, _beside_published(entry, block)) for block in entry["published"]]
            for name, entry in data.items()
        },
        caption=lambda entry, sampling: shown(
            conventions(document["settings"] | {"sampling": sampling}, entry["prepared"])
        ),
        metrics=_METRICS,
        cell=cell,
        corruptions=TITLES,
        pictures={key: _data_url(content) for key, content in pictures.items()},
        picture_name=picture_name,
        worst={
            name: {label: [w for w in worst if (w.video.data, w.video.label) == (name, label)]
                   for label in get_args(Label)}
            for name in data
        },
        is_wrong=_is_wrong,
        records={
            "Model": tuple(_rows(document["model"])),
            "Settings": tuple(_rows(document["settings"])),
            "Versions": tuple(_rows(document["versions"])),
        }
        | {
            f"Data: {shown(name)}": tuple(
                _rows({key: entry[key] for key in _RECORDED})
            )
            for name, entry in data.items()
        },
    )  # fmt: skip


def _whole(groups: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The group of all videos."""
    return next(group for group in groups if group["group"] == "all")


def _beside_published(
    entry: Mapping[str, Any], block: Mapping[str, Any]
) -> list[tuple[str, float, bool]]:
    """(name, AUC in per cent, whether it is of this evaluation), highest first."""
    rows = [(shown(name), float(value), False) for name, value in block["rows"].items()]
    rows += [
        (f"this evaluation, {shown(sampling)}", 100.0 * area, True)
        for sampling, area in areas_of(entry, block["group"]).items()
        if area is not None
    ]
    return sorted(rows, key=lambda row: (-row[1], row[0]))


def _is_wrong(label: str, score: float, threshold: float) -> bool:
    """From the threshold on a video counts as fake."""
    return (score >= threshold) != (label == "fake")


def _score(video: VideoScore) -> float:
    assert video.score is not None, "unscored videos are left out"
    return video.score


def _rows(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """{"crop": {"enlarge": 1.25}, "split": None} -> ("crop: enlarge", "1.25"), ("split", "-")"""
    for key, value in facts.items():
        name = prefix + shown(key).replace("_", " ")
        if isinstance(value, Mapping):
            yield from _rows(value, prefix=f"{name}: ")
        elif isinstance(value, list | tuple):
            yield name, shown(json.dumps(value, ensure_ascii=False, default=str))
        else:
            yield name, "-" if value is None or value == "" else shown(value)


def _data_url(picture: bytes) -> str:
    kind = "png" if picture.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode('ascii')}"
