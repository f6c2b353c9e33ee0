"""What is finished in a store, so that a run that was killed at any moment goes on where it was.

store/lock             held by the one run that writes
store/origin.json      which data set it was made from, where that lay, with which options
store/journal/*.json   the rows of each finished entry, and its stamp
"""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from fakestormer.data.listing import Entry
from fakestormer.data.manifest import Row
from fakestormer.data.units import UNPACKED, stamp_of
from fakestormer.errors import InputError
from fakestormer.files import PARTIAL, write_atomically


@contextmanager
def hold(folder: Path, run: str) -> Iterator[None]:
    """Hold a folder for one run; the system lets go of it whenever the process ends.

    run: what it is, for the sentence that another one is told: "prepare", "evaluation".
    """
    with (folder / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"{folder}: another {run} is writing to it; wait for it, or use another folder"
            ) from error
        yield


def sweep(store: Path) -> None:
    """Remove what a killed run left unfinished in a store that is held."""
    for leftover in store.rglob(f".*{PARTIAL}"):
        leftover.unlink(missing_ok=True)
    for leftover in store.glob(f"{UNPACKED}*"):
        shutil.rmtree(leftover, ignore_errors=True)


def write_entry(store: Path, entry: Entry, rows: tuple[Row, ...]) -> None:
    """Keep that an entry is finished. Its rows are kept as they were made, without labels."""
    content = {"stamp": stamp_of(entry), "rows": [asdict(row) for row in rows]}
    write_atomically(store / "journal" / f"{entry.video}.json", json.dumps(content).encode())


def journalled(store: Path) -> dict[str, Path]:
    """The names of all entries that earlier runs finished, and where that is kept."""
    return {
        path.relative_to(store / "journal").as_posix().removesuffix(".json"): path
        for path in (store / "journal").rglob("*.json")
    }


def read_finished(store: Path, entries: Mapping[str, Entry]) -> dict[str, tuple[Row, ...]]:
    """The rows of the entries that earlier runs finished and that have not changed since.

    A damaged entry counts as none, so that its video is prepared again. Raises InputError for a
    store that was made from other videos altogether.
    """
    known = journalled(store)
    if known and not known.keys() & entries.keys():
        raise InputError(
            f"{store}: this store was made from another folder (it holds {min(known)}, which is "
            "not here); give each folder of videos a store of its own"
        )
    finished = {}
    for name, entry in entries.items():
        if name in known:
            try:
                content = json.loads(known[name].read_text(encoding="utf-8"))
                stamp, rows = content["stamp"], tuple(Row(**row) for row in content["rows"])
            except (OSError, ValueError, KeyError, TypeError):
                continue
            if rows and stamp == stamp_of(entry):
                finished[name] = rows
    return finished
