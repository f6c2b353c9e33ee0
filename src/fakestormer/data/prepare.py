"""A folder of videos -> a track store, resumable and in parallel.

    video file -> frames -> face tracks -> crops (video/crop.py) -> tracks/*.zip + journal/*.json
    all journals -> manifest.parquet

Everything that is unfit for training is rejected here, once, with a reason, and counted; later
steps take what the manifest offers as it is. What a video gave is journalled as soon as it is
known, so a run that was killed at any moment continues where it stopped, and one bad file, even
one that crashes the decoder, costs only itself.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from fakestormer.data.manifest import (
    Labelling,
    Reason,
    Row,
    Split,
    StoreSettings,
    read_table,
    rejections,
    write_manifest,
    write_settings,
)
from fakestormer.data.pool import map_videos
from fakestormer.data.store import encode_frame, write_track
from fakestormer.errors import InputError
from fakestormer.files import PARTIAL, sha256_of, write_atomically
from fakestormer.types import FaceTrack
from fakestormer.video.crop import CropConfig, crop, crop_squares, map_landmarks
from fakestormer.video.decode import stream_frames
from fakestormer.video.faces import BackendName, FaceBackend, open_backend
from fakestormer.video.tracking import TrackingConfig, find_tracks

#: Files that lie beside videos; everything else is tried.
NOT_VIDEO = frozenset(
    {
        ".csv", ".gif", ".gz", ".html", ".jpeg", ".jpg", ".json", ".jsonl", ".log", ".md", ".npy",
        ".npz", ".parquet", ".pdf", ".png", ".py", ".sh", ".srt", ".tar", ".txt", ".wav", ".webp",
        ".xml", ".yaml", ".yml", ".zip",
    }
)  # fmt: skip
#: A landmark may leave the crop by this share of its side (a moving face, a smoothed box).
SLACK_OUTSIDE = 0.02

BackendFactory = Callable[[], FaceBackend]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One more video is finished: `done` of `total`, and its rows."""

    done: int
    total: int
    video: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What the store holds now. resumed: videos that an earlier run had already finished."""

    videos: int
    resumed: int
    tracks: int
    frames: int
    by_split: Mapping[str, int]
    rejected: Mapping[str, int]


def prepare_folder(
    videos: Path,
    store: Path,
    *,
    backend: BackendName | BackendFactory = "auto",
    crop: CropConfig | None = None,
    tracking: TrackingConfig | None = None,
    workers: int = 0,
    max_frames: int | None = 256,
    min_frames: int = 4,
    validation_sources: tuple[str, ...] = (),
    validation_fraction: float = 0.0,
    seed: int = 0,
    split: Split | None = None,
    table: Path | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Summary:
    """Prepare every video below `videos` into `store`; run it again to continue or to add videos.

    backend: a name, or a picklable function that opens one. workers: processes, 0 = this one.
    max_frames: of each video, from its beginning (the paper's 256 for training); None takes all of
    them, as detection does. min_frames: shorter tracks are rejected (T of the network, at least).
    validation_*, seed, split, table: see `Labelling` and `read_table`; changing them only rewrites
    the manifest.

    Raises InputError when there are no videos, when a named validation source does not exist, when
    the store was begun with other settings or with another folder, or is in use by another run;
    SetupError when face models are missing.
    """
    names = find_videos(videos, store)
    said = read_table(table, videos) if table is not None else {}
    labelling = Labelling(
        validation_sources=frozenset(validation_sources),
        validation_fraction=validation_fraction,
        seed=seed,
        split=split,
        table=said,
    )
    _check_sources(labelling, names)
    tracking = tracking or TrackingConfig()
    open_this = backend if callable(backend) else _OpenByName(backend)
    opened = open_this()
    settings = StoreSettings(
        backend=opened.name,
        crop=crop or CropConfig(),
        tracking=tracking,
        max_frames=max_frames,
        min_frames=max(min_frames, tracking.min_track_frames),
    )
    store.mkdir(parents=True, exist_ok=True)
    with _locked(store):
        write_settings(store, settings)
        finished = _read_journal(videos, store, names)
        resumed = len(finished)
        todo = [name for name in names if name not in finished]
        prepare_one = _PrepareOne(videos, store, settings, open_this)
        for name, rows in map_videos(prepare_one, todo, workers=workers):
            if rows is None:
                rows = (_rejected(videos, name, "decoder crashed", "the process died on it"),)
            _write_journal(videos, store, name, rows)
            finished[name] = rows
            if progress is not None:
                progress(
                    Progress(done=len(finished), total=len(names), video=name, rows=tuple(rows))
                )
        labelled = labelling.apply_all(row for name in names for row in finished[name])
        write_manifest(store, labelled)
    good = [row for row in labelled if not row.rejected]
    return Summary(
        videos=len(names),
        resumed=resumed,
        tracks=len(good),
        frames=sum(row.frames for row in good),
        by_split={
            name: sum(row.split == name for row in good)
            for name in ("train", "validation", "test")
            if name != "test" or any(row.split == name for row in good)
        },
        rejected=rejections(labelled),
    )


def _check_sources(labelling: Labelling, names: list[str]) -> None:
    """Raise InputError for a validation source that no video has."""
    sources = {labelling.source(name) for name in names}
    unknown = labelling.validation_sources - sources
    if unknown:
        raise InputError(
            f"validation sources not found: {', '.join(sorted(unknown))}; the sources here are "
            f"{', '.join(sorted(sources))}"
        )


def find_videos(videos: Path, store: Path) -> list[str]:
    """Relative paths ("/"-separated, sorted) of the files below `videos` that may be videos.

    Hidden files, files that are clearly something else, and the store itself are left out.
    Raises InputError when nothing is left.
    """
    if not videos.is_dir():
        raise InputError(f"{videos}: no such folder; give the folder that holds the videos")
    own = store.resolve()
    names = sorted(
        path.relative_to(videos).as_posix()
        for path in videos.rglob("*")
        if path.is_file()
        and path.suffix.lower() not in NOT_VIDEO
        and not any(part.startswith(".") for part in path.relative_to(videos).parts)
        and not path.resolve().is_relative_to(own)
    )
    if not names:
        raise InputError(f"{videos}: no videos in this folder or below it")
    return names


def prepare_video(
    videos: Path, name: str, store: Path, backend: FaceBackend, settings: StoreSettings
) -> tuple[Row, ...]:
    """The rows of one video; its usable tracks are written into the store.

    Decodes twice, once to follow the faces and once to crop them, so that memory holds the encoded
    crops only.
    """
    path = videos / name
    every_track = settings.tracking.model_copy(update={"min_track_frames": 1, "min_face_pixels": 0})
    try:
        tracks = find_tracks(
            stream_frames(path, stop_index=settings.max_frames), backend, every_track
        )
        if not tracks:
            return (_rejected(videos, name, "no face", "no face could be followed in it"),)
        return _store_tracks(videos, name, store, tracks, settings)
    except InputError as error:
        return (_rejected(videos, name, "undecodable", str(error)),)


def _store_tracks(
    videos: Path, name: str, store: Path, tracks: list[FaceTrack], settings: StoreSettings
) -> tuple[Row, ...]:
    sha256 = sha256_of(videos / name)
    rows: list[Row] = []
    wanted: list[tuple[FaceTrack, Row, torch.Tensor, torch.Tensor]] = []
    for track in tracks:
        squares_t3 = crop_squares(track, settings.crop)
        side = settings.crop.stored_size
        landmarks_tk2 = torch.stack(
            [
                torch.as_tensor(map_landmarks(points, square, side))
                for points, square in zip(track.landmarks, squares_t3, strict=True)
            ]
        ).float()
        row = Row(
            video=name,
            sha256=sha256,
            track=track.number,
            first_frame=int(track.indices[0]),
            frames=len(track),
            face_side=_face_side(track),
            landmarks=track.landmarks.shape[1],
            confidence=float(track.confidence.mean()),
        )
        reason, detail = _unfit(row, landmarks_tk2, settings)
        if reason is not None:
            rows.append(replace(row, rejected=reason, detail=detail))
        else:
            wanted.append((track, row, squares_t3, landmarks_tk2))
    pngs: list[list[bytes]] = [[] for _ in wanted]
    for index, _, rgb_hwc in stream_frames(videos / name, stop_index=settings.max_frames):
        for (track, _, squares_t3, _), encoded in zip(wanted, pngs, strict=True):
            position = index - int(track.indices[0])
            if 0 <= position < len(track):
                crop_ssc = crop(rgb_hwc, squares_t3[position], settings.crop.stored_size)
                encoded.append(encode_frame(np.asarray(crop_ssc)))
    for (track, row, squares_t3, landmarks_tk2), encoded in zip(wanted, pngs, strict=True):
        file = f"tracks/{name}.{track.number}.zip"
        write_track(
            store / file, track, pngs=encoded, squares_t3=squares_t3, landmarks_tk2=landmarks_tk2
        )
        rows.append(replace(row, file=file))
    return tuple(sorted(rows, key=lambda row: row.track))


def _unfit(
    row: Row, landmarks_tk2: torch.Tensor, settings: StoreSettings
) -> tuple[Reason | None, str]:
    """Why a track cannot be trained on, or None."""
    if row.frames < settings.min_frames:
        return "too short", f"{row.frames} frames, at least {settings.min_frames} are needed"
    if row.face_side < settings.tracking.min_face_pixels:
        return (
            "face too small",
            f"{row.face_side:.0f} px, at least {settings.tracking.min_face_pixels:.0f} are needed",
        )
    side, slack = settings.crop.stored_size, SLACK_OUTSIDE * settings.crop.stored_size
    inside = (landmarks_tk2 >= -slack) & (landmarks_tk2 <= side - 1 + slack)  # False for NaN
    if not bool(inside.all()):
        frames = int((~inside.flatten(1).all(dim=1)).sum())
        return "landmarks outside the crop", f"in {frames} of {row.frames} frames"
    return None, ""


def _face_side(track: FaceTrack) -> float:
    """Median over the track of the face box's longer side, source px."""
    sides_t2 = track.boxes[:, 2:] - track.boxes[:, :2]
    return float(sides_t2.amax(dim=1).median())


def _rejected(videos: Path, name: str, reason: Reason, detail: str) -> Row:
    try:
        sha256 = sha256_of(videos / name)
    except InputError:  # not even readable: the row says why, the others go on
        sha256 = ""
    return Row(video=name, sha256=sha256, rejected=reason, detail=detail)


@dataclass(frozen=True, slots=True)
class _OpenByName:
    name: BackendName

    def __call__(self) -> FaceBackend:
        return open_backend(self.name)


class _PrepareOne:
    """`prepare_video` for a worker process: opens the face models there, once, at first use."""

    def __init__(
        self, videos: Path, store: Path, settings: StoreSettings, open_this: BackendFactory
    ) -> None:
        self.videos, self.store, self.settings, self.open_this = videos, store, settings, open_this
        self._backend: FaceBackend | None = None

    def __call__(self, name: str) -> tuple[Row, ...]:
        if self._backend is None:
            self._backend = self.open_this()
        return prepare_video(self.videos, name, self.store, self._backend, self.settings)


@contextmanager
def _locked(store: Path) -> Iterator[None]:
    """Hold the store for one run; the system lets go of it whenever the process ends."""
    with (store / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"{store}: another prepare is writing to this store; wait for it, or use another "
                "folder"
            ) from error
        for leftover in store.rglob(f".*{PARTIAL}"):  # of a killed run
            leftover.unlink(missing_ok=True)
        yield


def _journal_path(store: Path, name: str) -> Path:
    return store / "journal" / f"{name}.json"


def _stamp(path: Path) -> list[int]:
    """Size and modification time: a video that changed is prepared again. Empty when it is gone."""
    try:
        facts = path.stat()
    except OSError:
        return []
    return [facts.st_size, facts.st_mtime_ns]


def _write_journal(videos: Path, store: Path, name: str, rows: tuple[Row, ...]) -> None:
    entry = {"stamp": _stamp(videos / name), "rows": [asdict(row) for row in rows]}
    write_atomically(_journal_path(store, name), json.dumps(entry).encode())


def _read_journal(videos: Path, store: Path, names: list[str]) -> dict[str, tuple[Row, ...]]:
    """The rows of the videos that earlier runs finished and that have not changed since.

    A damaged entry counts as none, so that its video is prepared again.
    """
    known = {
        path.relative_to(store / "journal").as_posix().removesuffix(".json"): path
        for path in (store / "journal").rglob("*.json")
    }
    if known and not known.keys() & set(names):
        raise InputError(
            f"{store}: this store was made from another folder (it holds {min(known)}, which is "
            "not here); give each folder of videos a store of its own"
        )
    finished = {}
    for name in names:
        if name in known:
            try:
                entry = json.loads(known[name].read_text(encoding="utf-8"))
                stamp, rows = entry["stamp"], tuple(Row(**row) for row in entry["rows"])
            except (OSError, ValueError, KeyError, TypeError):
                continue
            if rows and stamp == _stamp(videos / name):
                finished[name] = rows
    return finished
