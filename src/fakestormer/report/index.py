"""`index.html` of a batch: every video in one table that can be sorted, beside their reports.

It works from a folder and offline: links and thumbnails are files beside it.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote

from fakestormer.detection.printable import page_name, shown
from fakestormer.files import write_atomically, writing
from fakestormer.report.pictures import thumbnail_webp
from fakestormer.report.templates import template_environment
from fakestormer.types import Report, Verdict

#: Rows stand in this order, each by falling probability; then files that could not be used.
_ORDER: tuple[Verdict | None, ...] = (
    "likely fake",
    "inconclusive",
    "no manipulation found",
    None,
)
_THUMBNAILS = "thumbnails"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A file as the table prints it. page, thumbnail: addresses beside the index, "" for none."""

    name: str
    verdict: Verdict | None
    rank: int
    probability: float | None
    reason: str
    page: str
    thumbnail: str


def write_thumbnail(report: Report, folder: str | Path) -> Path | None:
    """Write the picture of a report's face that its row in the index shows.

    Args:
        report: what `Detector.detect` gave.
        folder: that of the report and the index; the picture goes into `thumbnails` in it.

    Returns:
        The path of the picture; None for a report without pictures.

    Raises:
        InputError: the folder cannot be written to.
    """
    content = None if report.decisive is None else thumbnail_webp(report.decisive)
    if content is None:
        return None
    target = Path(folder) / _THUMBNAILS / _picture(page_name(report.path, report.sha256))
    with writing(target):
        write_atomically(target, content)
    return target


def write_index(
    results: Sequence[Mapping[str, Any]], folder: str | Path, *, date: datetime.date | None = None
) -> Path:
    """Write `index.html` of a folder of reports.

    Args:
        results: of each file what `Report.to_dict` gives, or what `detect --json` says of a file
            that could not be used (`Detection.result`).
        folder: of `write_report` and `write_thumbnail`. A row links to its report and shows its
            picture where they are there.
        date: printed on the page, today by default.

    Returns:
        The path of the index.

    Raises:
        InputError: the folder cannot be written to.
    """
    target = Path(folder) / "index.html"
    rows = [_row(result, target.parent) for result in results]
    rows.sort(key=lambda row: (row.rank, -(row.probability or 0.0)))
    template = template_environment("report").get_template("index.html.jinja")
    page = template.render(
        rows=rows,
        counts={verdict: sum(row.verdict == verdict for row in rows) for verdict in _ORDER},
        date=(date or datetime.date.today()).isoformat(),
    )
    with writing(target):
        write_atomically(target, page.encode())
    return target


def _row(result: Mapping[str, Any], folder: Path) -> Row:
    reasons = [reason["text"] for reason in result.get("reasons", ())]
    strongest = [face["strongest"] for face in result["faces"] if "strongest" in face]
    if "error" in result:
        # The row names the file, and the folder it lay in is nobody's business.
        reasons = [result["error"].removeprefix(f"{result['path']}: ")]
    elif not reasons and strongest and result["verdict"] == "likely fake":
        first, last = strongest[0]["seconds"]
        reasons = [f"strongest: {strongest[0]['region']}, {first:.1f} to {last:.1f} s"]
    name = page_name(result["path"], result["sha256"]) if "sha256" in result else ""
    has_page = bool(name) and (folder / name).is_file()
    has_picture = bool(name) and (folder / _THUMBNAILS / _picture(name)).is_file()
    return Row(
        name=shown(PurePath(result["path"]).name),
        verdict=result["verdict"],
        rank=_ORDER.index(result["verdict"]),
        probability=result["probability"],
        reason=shown(" ".join(reasons)),
        page=quote(name) if has_page else "",
        thumbnail=f"{_THUMBNAILS}/{quote(_picture(name))}" if has_picture else "",
    )


def _picture(page: str) -> str:
    return page.removesuffix(".html") + ".webp"
