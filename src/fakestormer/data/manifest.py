"""What a track store holds: typed rows, their splits, and the file they are kept in.

    store/
        store.json         how the tracks were made; one store, one way
        manifest.parquet   one row per track and per rejected video
        tracks/            the track files (`store.py`)
        journal/           the rows of each finished video, so that a killed run continues

Sources. A data set mixes sources (collections, channels, recording sessions), and a fair validation
set holds whole ones out. The source of a video is, in this order: the `source` column of a CSV the
user gives; in a flat folder, the file name up to the last "_" when digits follow it
("grid_007.mp4" -> "grid"); otherwise the name of the folder the video lies in.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, cast, get_args

from pydantic import BaseModel, ConfigDict

from fakestormer.data.store import write_atomically
from fakestormer.errors import InputError, SetupError
from fakestormer.video.crop import CropConfig
from fakestormer.video.tracking import TrackingConfig

Split = Literal["train", "validation", "test"]
Reason = Literal[
    "undecodable",
    "decoder crashed",
    "no face",
    "too short",
    "face too small",
    "landmarks outside the crop",
]
#: Layout of the store; a store of another layout is refused, never guessed at.
STORE_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One face track, or one video or track that was rejected.

    video: path relative to the prepared folder, "/"-separated. group: what must not be torn apart
    by a seeded split: an identity where the user's CSV names one, else the video. track: number
    within the video, -1 for a rejected video. file: relative to the store, "" when rejected.
    first_frame: position in the video. face_side: px of the source, median over the track of the
    face box's longer side. landmarks: K. split: "" when rejected. rejected: "" for a usable track,
    else why; `detail` is the sentence behind it.
    """

    video: str
    sha256: str
    label: str = "real"
    source: str = ""
    group: str = ""
    split: str = ""
    track: int = -1
    file: str = ""
    first_frame: int = -1
    frames: int = 0
    face_side: float = 0.0
    landmarks: int = 0
    confidence: float = 0.0
    rejected: str = ""
    detail: str = ""

    def __post_init__(self) -> None:
        if self.split and self.split not in get_args(Split):
            raise ValueError(
                f"{self.video}: unknown split {self.split!r}; expected {', '.join(get_args(Split))}"
            )
        if self.rejected and self.rejected not in get_args(Reason):
            raise ValueError(f"{self.video}: unknown reason {self.rejected!r}")


class StoreSettings(BaseModel):
    """How the tracks of a store were made; the network must be shown crops made the same way."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = STORE_VERSION
    backend: str
    crop: CropConfig
    tracking: TrackingConfig
    max_frames: int
    min_frames: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelling:
    """Where a video comes from and which split it belongs to; nothing here touches the crops.

    validation_sources: sources held out wholly. validation_fraction: share of the remaining groups
    that a seeded draw holds out. table: per video, what the user's CSV says about it.
    """

    validation_sources: frozenset[str] = frozenset()
    validation_fraction: float = 0.0
    seed: int = 0
    table: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0.0 <= self.validation_fraction < 1.0:
            raise ValueError(
                f"validation_fraction: expected at least 0 and less than 1, got "
                f"{self.validation_fraction}"
            )

    def apply(self, row: Row) -> Row:
        """The row with its source, group and (unless rejected) split."""
        said = self.table.get(row.video, {})
        source = said.get("source") or source_of(row.video)
        group = said.get("identity") or row.video
        split = said.get("split", "")
        if not split:
            held_out = source in self.validation_sources or (
                _uniform(self.seed, group) < self.validation_fraction
            )
            split = "validation" if held_out else "train"
        return dataclasses.replace(
            row, source=source, group=group, split="" if row.rejected else split
        )


def source_of(video: str) -> str:
    """`grid_007.mp4` -> `grid`; `c23/actor_1/take.mp4` -> `actor_1`; `take.mp4` -> `take`."""
    path = PurePosixPath(video)
    if path.parent.name:
        return path.parent.name
    numbered = re.fullmatch(r"(.+)_\d+", path.stem)
    return numbered.group(1) if numbered else path.stem


def _uniform(seed: int, group: str) -> float:
    """A number in [0, 1) that depends on nothing but the seed and the group's name."""
    digest = hashlib.sha256(f"{seed}:{group}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def read_table(path: Path, videos: Path) -> dict[str, dict[str, str]]:
    """A CSV about the videos: a `path` column, and any of `source`, `identity` and `split`.

    Paths are relative to the CSV's own folder. Rows about files outside `videos` are left out.
    Returns {path relative to `videos`: row}. Raises InputError naming the CSV.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    if rows and "path" not in rows[0]:
        raise InputError(f"{path}: has no column `path`; found {', '.join(rows[0])}")
    root = videos.resolve()
    table = {}
    for row in rows:
        video = (path.parent / row["path"]).resolve()
        if video.is_relative_to(root):
            table[video.relative_to(root).as_posix()] = {
                key: row.get(key) or "" for key in ("source", "identity", "split")
            }
    return table


def write_settings(store: Path, settings: StoreSettings) -> None:
    """Keep how the store is made. Raises InputError when it was begun with other settings."""
    if (store / "store.json").exists():
        before = read_settings(store)
        changed = [
            f"{name} was {getattr(before, name)!r} and is now {getattr(settings, name)!r}"
            for name in StoreSettings.model_fields
            if getattr(before, name) != getattr(settings, name)
        ]
        if changed:
            raise InputError(
                f"{store}: this store was made with other settings ({'; '.join(changed)}); "
                "use the same ones, or another folder"
            )
        return
    write_atomically(store / "store.json", settings.model_dump_json(indent=2).encode())


def read_settings(store: Path) -> StoreSettings:
    """How the tracks of this store were made. Raises InputError when `store` is not a store."""
    path = store / "store.json"
    if not path.is_file():
        raise InputError(f"{store}: not a track store (no store.json); make one with prepare")
    content = json.loads(path.read_text(encoding="utf-8"))
    if content.get("version") != STORE_VERSION:
        raise InputError(
            f"{store}: a store of layout {content.get('version')}, this program reads "
            f"{STORE_VERSION}; prepare the videos again"
        )
    return StoreSettings.model_validate(content)


def write_manifest(store: Path, rows: Iterable[Row]) -> Path:
    """Write `manifest.parquet`; it opens with any Parquet reader."""
    pa, parquet = _pyarrow()
    types = {"str": pa.string(), "int": pa.int64(), "float": pa.float64()}
    schema = pa.schema([(f.name, types[cast(str, f.type)]) for f in dataclasses.fields(Row)])
    table = pa.Table.from_pylist([dataclasses.asdict(row) for row in rows], schema=schema)
    content = pa.BufferOutputStream()
    parquet.write_table(table, content)
    path = store / "manifest.parquet"
    write_atomically(path, content.getvalue().to_pybytes())
    return path


def read_manifest(store: Path) -> tuple[Row, ...]:
    """All rows, in the order of the videos' names. Raises InputError when there is none."""
    path = store / "manifest.parquet"
    if not path.is_file():
        raise InputError(f"{store}: no manifest.parquet; prepare has not finished here")
    _, parquet = _pyarrow()
    return tuple(Row(**row) for row in parquet.read_table(path).to_pylist())


def tracks_of(rows: Sequence[Row], split: Split) -> tuple[Row, ...]:
    """The usable tracks of one split."""
    return tuple(row for row in rows if row.split == split and not row.rejected)


def rejections(rows: Iterable[Row]) -> dict[str, int]:
    """How many videos and tracks were rejected, by reason."""
    return dict(Counter(row.rejected for row in rows if row.rejected))


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise SetupError(
            "manifests need pyarrow: install it with `pip install 'fakestormer[train]'`"
        ) from error
    return pyarrow, pyarrow.parquet
