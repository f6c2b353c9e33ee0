"""What a user's CSV says about videos, and which of its rows are about which video.

A row that is about no video is never passed over in silence: a video would be taken as real.
"""

from __future__ import annotations

import csv
import difflib
import os
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import get_args

from fakestormer.data.manifest import SPLIT_WORDS, Label
from fakestormer.errors import InputError

_COLUMNS = ("path", "source", "identity", "split", "label", "method")
#: From here on a column's name is taken for a slip of the pen.
_ALIKE = 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """One row. line: of the file, from 1. path: as it is written. columns: for `Labelling`."""

    line: int
    path: str
    columns: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchedTable:
    """columns: of each video, by its name. unmatched: rows about no video, with line."""

    columns: dict[str, dict[str, str]]
    unmatched: tuple[str, ...]


def match_table(path: Path, videos: Path, names: Iterable[str]) -> MatchedTable:
    """The rows of a CSV by the videos that they are about.

    It has a `path` column, relative to the CSV's own folder, and any of: source, identity, split,
    label, method. An empty cell means "not known", but a label is never empty. Other columns are
    ignored. Blanks around a path, backslashes and the form of accented letters make no difference.
    A row may be about a folder. Rows about files outside of `videos` that exist are left out.
    names: the videos' names, relative to `videos`. Raises InputError, naming the CSV and the line
    that is to blame; also where no row is about any of the videos, and where two say different
    things about one.
    """
    known = {_plain(name): name for name in names}
    folders = {_plain(str(above)): str(above) for name in known.values() for above in _above(name)}
    by_video: dict[str, dict[str, str]] = {}
    lines: dict[str, int] = {}
    unmatched = []
    rows = _read_rows(path)
    for row in rows:
        name, elsewhere = _matched(path.parent, row.path, videos.resolve(), known, folders)
        if name is None:
            if not elsewhere:
                unmatched.append(f"line {row.line}: {row.path}")
            continue
        if name in by_video and by_video[name] != row.columns:
            raise InputError(
                f"{path}: lines {lines[name]} and {row.line} say different things about {name}; "
                "delete one of them"
            )
        by_video[name], lines[name] = row.columns, row.line
    if rows and not by_video:
        raise InputError(
            f"{path}: none of its {len(rows)} rows is about a video in {videos}; its paths are "
            f"taken as relative to the folder of the table, {path.parent or Path('.')}, and line "
            f"{rows[0].line} names {rows[0].path}; write them so, or move the table"
        )
    return MatchedTable(columns=by_video, unmatched=tuple(unmatched))


def _matched(
    folder: Path, written: str, root: Path, known: dict[str, str], folders: dict[str, str]
) -> tuple[str | None, bool]:
    """(the video's or folder's name or None, whether a file outside is meant)."""
    elsewhere = False
    for way in dict.fromkeys((written, written.strip(), written.strip().replace("\\", "/"))):
        # Not `resolve`: a video may be a link.
        meant = Path(os.path.abspath(folder.resolve() / way))
        for place in (meant, meant.resolve()):
            if not place.is_relative_to(root):
                elsewhere |= place.exists()
                continue
            name = _plain(place.relative_to(root).as_posix())
            if name in known:
                return known[name], False
            if name in folders:
                return folders[name], False
            # What lies in an archive or a folder of sequences.
            if any(str(above) in known for above in _above(name)):
                return name, False
    return None, elsewhere


def _above(name: str) -> list[PurePosixPath]:
    return list(PurePosixPath(name).parents)


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _read_rows(path: Path) -> list[TableRow]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = [(reader.line_num, row) for row in reader]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a CSV file in UTF-8 ({error}); save it as one") from error
    columns = list(reader.fieldnames or ())
    if rows and "path" not in columns:
        raise InputError(f"{path}: has no column `path`; found {', '.join(columns)}")
    _check_columns(path, columns)
    return [_row(path, number, line, row) for number, (line, row) in enumerate(rows, start=1)]


def _check_columns(path: Path, columns: list[str]) -> None:
    """Raise InputError for a column whose name is nearly one that is known."""
    lacking = [name for name in _COLUMNS if name not in columns]
    for column in columns:
        if column in _COLUMNS:
            continue
        alike = difflib.get_close_matches(column.strip().lower(), lacking, 1, _ALIKE)
        if alike:
            raise InputError(
                f"{path}: line 1 has a column {column!r}, which is not known; call it "
                f"{alike[0]!r}, or something that is less like it"
            )


def _row(path: Path, number: int, line: int, row: dict[str, str]) -> TableRow:
    if not row["path"]:
        raise InputError(f"{path}: row {number} has no path; name its video or delete the row")
    word = (row.get("split") or "").strip().lower()
    if word and word not in SPLIT_WORDS:
        raise InputError(
            f"{path}: row {number} ({row['path']}) has the split {row['split']!r}; use one of "
            f"{', '.join(SPLIT_WORDS)}, or leave it empty"
        )
    label = (row.get("label") or "").strip().lower()
    if label not in ("", *get_args(Label)):
        raise InputError(
            f"{path}: row {number} ({row['path']}) has the label {row['label']!r}; use one of "
            f"{', '.join(get_args(Label))}"
        )
    if "label" in row and not label:
        raise InputError(
            f"{path}: line {line} ({row['path']}) has no label; write real or fake, or leave the "
            "column out"
        )
    return TableRow(
        line=line,
        path=row["path"],
        columns={
            "source": row.get("source") or "",
            "identity": row.get("identity") or "",
            "split": SPLIT_WORDS[word] if word else "",
            "label": label,
            "method": row.get("method") or "",
        },
    )
