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

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, cast, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from fakestormer.errors import InputError, first_complaint, needs
from fakestormer.files import write_atomically
from fakestormer.recipe.faces import CropConfig, StoredTracking

Split = Literal["train", "validation", "test"]
Label = Literal["real", "fake"]
Reason = Literal[
    "not fetched",
    "undecodable",
    "decoder crashed",
    "no face",
    "no landmarks",
    "too short",
    "face too small",
    "landmarks outside the crop",
]
#: Frames of each video, from its beginning: of every one, or by split; None for all of them.
MaxFrames = int | dict[Split, int] | None
#: What a user's CSV may call the splits.
SPLIT_WORDS: Mapping[str, Split] = {
    "train": "train",
    "validation": "validation",
    "val": "validation",
    "test": "test",
}
#: Layout of the store; a store of another layout is refused, never guessed at.
STORE_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One face track, or one video or track that was rejected.

    video: path below the prepared folder; of an archive of sequences, with the sequence's path in
    it. group: what a seeded split must not tear apart: the identity, else the video. method: how a
    fake was made, "" where nobody said. track: number within the video, -1 for a rejected video.
    file: below the store. face_side: px of the source, median over the track of the face box's
    longer side. landmarks: K. face_source: who found the face; "" in older stores. rejected: "" for
    a usable track, else why; `detail` is the sentence behind it, and of a usable track what was
    done to the picture: the choice of the stream, stretching, turning.
    """

    video: str
    sha256: str
    label: str = "real"
    method: str = ""
    source: str = ""
    identity: str = ""
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
    face_source: str = ""

    def __post_init__(self) -> None:
        if self.split and self.split not in get_args(Split):
            raise ValueError(
                f"{self.video}: unknown split {self.split!r}; expected {', '.join(get_args(Split))}"
            )
        if self.label not in get_args(Label):
            raise ValueError(
                f"{self.video}: unknown label {self.label!r}; expected {', '.join(get_args(Label))}"
            )
        if self.rejected and self.rejected not in get_args(Reason):
            raise ValueError(f"{self.video}: unknown reason {self.rejected!r}")


class StoreSettings(BaseModel):
    """How the tracks of a store were made; the network must be shown crops made the same way.

    dataset: name of its layout. compression: "" where the data set has no such choice. tracking:
    tracks below its limits are kept as rejected rows. stream: the number of the video stream that
    was taken of each file; None for the one that players show.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = STORE_VERSION
    dataset: str = "folder"
    compression: str = ""
    backend: str
    crop: CropConfig
    tracking: StoredTracking
    max_frames: MaxFrames
    min_frames: int
    stream: int | None = None

    def frames_in(self, split: str) -> int | None:
        """How many frames are taken of a video of this split; None takes all."""
        limits = self.max_frames
        return limits.get(cast(Split, split)) if isinstance(limits, dict) else limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelling:
    """Where a video comes from, what it is, which split it is in; nothing here touches the crops.

    validation_sources: sources held out wholly. validation_fraction: share of the remaining groups
    that a seeded draw holds out, at least one. split: that of every video of which the table says
    nothing else. table: per video, folder or archive, what the user's CSV says about it. A video is
    fake where the table says so, else where it lies in a folder named "fake", at any depth; the
    folder below that one is then its method. Where neither says anything, not even "real", the
    table's `else_label` holds.
    """

    validation_sources: frozenset[str] = frozenset()
    validation_fraction: float = 0.0
    seed: int = 0
    split: Split | None = None
    table: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0.0 <= self.validation_fraction < 1.0:
            raise ValueError(
                f"validation_fraction: expected at least 0 and less than 1, got "
                f"{self.validation_fraction}"
            )

    def table_row(self, video: str) -> Mapping[str, str]:
        """The table's row about a video, or about the nearest thing that it lies in."""
        path = PurePosixPath(video)
        for name in (path, *path.parents):
            if (row := self.table.get(name.as_posix())) is not None:
                return row
        return {}

    def source(self, video: str) -> str:
        """What the table calls the video's source, else what its name says."""
        return self.table_row(video).get("source") or source_of(video)

    def apply_all(self, rows: Iterable[Row]) -> list[Row]:
        """All rows of a store, labelled; holds out one group where the draw held out none.

        Videos that the table puts into a split stay there, and the last training group too.
        """
        labelled = [self.apply(row) for row in rows]
        usable = [row for row in labelled if not row.rejected]
        splits = {row.split for row in usable}
        training = {row.group for row in usable if row.split == "train"}
        fixed = {row.group for row in labelled if self.table_row(row.video).get("split")}
        free = training - fixed
        if not self.validation_fraction or "validation" in splits or not free or len(training) < 2:
            return labelled
        smallest = min(free, key=lambda group: (_uniform(self.seed, group), group))
        return [
            dataclasses.replace(row, split="validation") if row.group == smallest else row
            for row in labelled
        ]

    def apply(self, row: Row) -> Row:
        """The row with its label, source, group and split."""
        known = self.table_row(row.video)
        source = self.source(row.video)
        identity = known.get("identity", "")
        group = identity or row.video
        label, method = self.label(row.video)
        split = known.get("split") or self.split or ""
        if not split:
            held_out = source in self.validation_sources or (
                _uniform(self.seed, group) < self.validation_fraction
            )
            split = "validation" if held_out else "train"
        return dataclasses.replace(
            row,
            label=label,
            method=method,
            source=source,
            identity=identity,
            group=group,
            split=split,
        )

    def label(self, video: str) -> tuple[Label, str]:
        """("fake", method) or ("real", "")."""
        known = self.table_row(video)
        folders = [part.lower() for part in PurePosixPath(video).parent.parts]
        if known.get("label"):
            fake = known["label"] == "fake"
        elif "real" in folders or "fake" in folders:
            fake = "fake" in folders
        else:
            fake = known.get("else_label") == "fake"
        if not fake:
            return "real", ""
        below = (
            PurePosixPath(video).parts[folders.index("fake") + 1 : -1] if "fake" in folders else ()
        )
        return "fake", known.get("method") or (below[0] if below else "")


def source_of(video: str) -> str:
    """`grid_007.mp4` -> `grid`; `c23/actor_1/take.mp4` -> `actor_1`; `take.mp4` -> `take`.

    A folder "real" or "fake" at the top says what the videos are, not where they come from.
    """
    path = PurePosixPath(video)
    if path.parts[0].lower() in get_args(Label) and len(path.parts) > 1:
        path = PurePosixPath(*path.parts[1:])
    if path.parent.name:
        return path.parent.name
    numbered = re.fullmatch(r"(.+)_\d+", path.stem)
    return numbered.group(1) if numbered else path.stem


def _uniform(seed: int, group: str) -> float:
    """A number in [0, 1) that depends on nothing but the seed and the group's name."""
    digest = hashlib.sha256(f"{seed}:{group}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


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
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        layout = content["version"]
        if layout == STORE_VERSION:
            return StoreSettings.model_validate(content)
    except (ValueError, KeyError, TypeError) as error:
        where = ""
        if isinstance(error, ValidationError):
            where = ": {}: {}".format(*first_complaint(error))
        raise InputError(
            f"{path}: is damaged or no store's{where}; prepare the videos into a new folder"
        ) from error
    raise InputError(
        f"{store}: a store of layout {layout}, this program reads {STORE_VERSION}; prepare the "
        "videos again"
    )


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
    try:
        return tuple(Row(**row) for row in parquet.read_table(path).to_pylist())
    except (OSError, ValueError, TypeError) as error:  # pyarrow's own errors are ValueErrors
        raise InputError(f"{path}: is damaged; run prepare again, it writes it anew") from error


def tracks_of(rows: Sequence[Row], split: Split, label: Label = "real") -> tuple[Row, ...]:
    """The usable tracks of one split, the real ones unless fakes are asked for."""
    return tuple(
        row for row in rows if (row.split, row.label) == (split, label) and not row.rejected
    )


def _pyarrow() -> tuple[Any, Any]:
    with needs("a manifest", "fakestormer[train]"):
        import pyarrow
        import pyarrow.parquet
    return pyarrow, pyarrow.parquet
