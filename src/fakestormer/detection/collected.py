"""The results of a run over many files, written while it runs, and read when it is resumed.

results.json    all results, as `results.schema.json` describes them; a resumed run reads it
results.csv     a line per file, for spreadsheets
"""

from __future__ import annotations

import csv
import io
import json
import os
import stat
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fakestormer.detection.results import SCHEMA, document_of, write_whole
from fakestormer.errors import InputError
from fakestormer.files import held, sha256_of
from fakestormer.video.objects import is_object, read, size_and_time

#: Writing takes at most about this share of a run, because each time writes all results.
WRITING_SHARE = 0.05
#: Least seconds between two writings.
WRITE_EVERY = 2.0

COLUMNS = (
    "path", "verdict", "probability", "interval_low", "interval_high", "face", "faces", "reasons",
    "warnings", "error", "sha256", "model", "weights_sha256",
)  # fmt: skip


Stamp = dict[str, int]


def stamp_of(path: str) -> Stamp | None:
    """{"size": bytes, "modified_ns": ...} of a file as it is now; None where there is none."""
    if is_object(path):
        there = size_and_time(path)
        return None if there is None else {"size": there[0], "modified_ns": there[1]}
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    if stat.S_ISDIR(status.st_mode):
        return None
    return {"size": status.st_size, "modified_ns": status.st_mtime_ns}


class Collected:
    """Results by file, in the order of `files`, whatever file finishes first.

    As a context: when it ends, for whatever reason, the files hold all that was finished; meanwhile
    no other run can write to them. Both files are always whole; older ones stay as they are until
    the first result. Raises InputError where one cannot be written, and, when the context begins,
    where another run writes to one.
    """

    def __init__(
        self,
        files: Sequence[str],
        *,
        json_file: Path | str | None = None,
        csv_file: Path | str | None = None,
    ) -> None:
        self.files = list(files)
        self.results: dict[str, dict[str, Any]] = {}
        self._json_file, self._csv_file = json_file, csv_file
        self._stamps = {path: stamp_of(path) for path in self.files}
        self._next_writing = 0.0
        self._unwritten = False
        self._held = ExitStack()

    def add(self, path: str, result: dict[str, Any]) -> None:
        """Add a file's entry of "results", with the file's size and time at the start."""
        stamp = self._stamps.get(path)
        self.results[path] = result if stamp is None else result | {"file": stamp}
        self._unwritten = True
        if time.monotonic() >= self._next_writing:
            self.write()

    def keep(self, earlier: Mapping[str, dict[str, Any]]) -> None:
        """Add entries of an earlier run, with the size and time that their files have now."""
        for path, result in earlier.items():
            self.results[path] = result | {"file": self._stamps[path]}
        self._unwritten = True

    def write(self) -> None:
        began = time.monotonic()
        results = [self.results[path] for path in self.files if path in self.results]
        if self._json_file is not None:
            write_whole(self._json_file, document_of(results).encode())
        if self._csv_file is not None:
            write_whole(self._csv_file, table(results).encode(errors="backslashreplace"))
        ended = time.monotonic()
        self._next_writing = ended + max(WRITE_EVERY, (ended - began) / WRITING_SHARE)
        self._unwritten = False

    def __enter__(self) -> Self:
        with ExitStack() as entered:
            for file in (self._json_file, self._csv_file):
                if file is not None and not is_object(file):  # a store has no locks
                    entered.enter_context(held(Path(file), "detect"))
            self._held = entered.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._held:
            if self._unwritten:
                self.write()


def table(results: Sequence[dict[str, Any]]) -> str:
    """The results as CSV (RFC 4180, but with \\n): `COLUMNS`, several values joined by "; ".

    No value is a formula for a spreadsheet: a path that would be one begins with "./", any other
    text with an apostrophe.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for result in results:
        low, high = result.get("interval") or ("", "")
        decisive = [f for f in result["faces"] if f["number"] == result["face"]]
        warnings = result.get("warnings", []) + [w for f in decisive for w in f["warnings"]]
        model = result.get("model", {})
        probability = result["probability"]
        writer.writerow(
            [
                _plain(result["path"], "./"),
                result["verdict"] or "",
                "" if probability is None else probability,
                low,
                high,
                "" if result["face"] is None else result["face"],
                "" if "error" in result else len(result["faces"]),
                "; ".join(reason["code"] for reason in result.get("reasons", [])),
                _plain("; ".join(warnings), "'"),
                _plain(result.get("error", ""), "'"),
                result.get("sha256", ""),
                _plain(str(model.get("name", "")), "'"),
                model.get("weights_sha256", ""),
            ]
        )
    return text.getvalue()


def _plain(text: str, before: str) -> str:
    return before + text if text[:1] in set("=+-@\t\r") else text


def finished_before(
    json_file: Path | str,
    files: Sequence[str],
    *,
    model: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> dict[str, dict[str, Any]]:
    """The results of an earlier run that still hold for these files; failures never do.

    A result holds where path, model (weights, recipe, face backend, versions) and settings are the
    same, and the file has the same size and time, or the same size and SHA-256. A missing results
    file gives none, as does one of an older version, whose numbers mean something else. Raises
    InputError where `json_file` is no results file.
    """
    try:
        content = json.loads(
            read(str(json_file)) if is_object(json_file) else Path(json_file).read_bytes()
        )
        results = content["results"] if content["schema"] == SCHEMA else ()
        by_path = {entry["path"]: entry for entry in results if "error" not in entry}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InputError(f"{json_file}: cannot be read ({error.strerror}); check it") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{json_file}: holds no results of `fakestormer detect`, so there is nothing to "
            "resume; name another file, or leave --resume out to write over it"
        ) from error
    # With the types that JSON gives back.
    wanted = json.loads(json.dumps({"model": dict(model), "settings": dict(settings)}))
    return {
        path: entry
        for path in files
        if (entry := by_path.get(path)) is not None
        and {key: entry.get(key) for key in wanted} == wanted
        and _is_unchanged(path, entry)
    }


def _is_unchanged(path: str, entry: Mapping[str, Any]) -> bool:
    now, then = stamp_of(path), entry.get("file")
    if now is None or not isinstance(then, dict) or now["size"] != then.get("size"):
        return False
    if now == then:
        return True
    try:
        return sha256_of(Path(path)) == entry.get("sha256")
    except InputError:
        return False
