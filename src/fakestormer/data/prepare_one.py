"""One entry of a data set -> its rows and track files.

    unit -> frames -> face tracks -> crops (faces/crop.py) -> tracks/*.zip

Everything that is unfit is rejected here, once, with a reason, and counted; later steps take what
the manifest offers as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from fakestormer.data.early_crops import EarlyCrops
from fakestormer.data.landmark_files import LandmarkError, LandmarkFiles
from fakestormer.data.listing import Entry
from fakestormer.data.manifest import Reason, Row, StoreSettings
from fakestormer.data.store import encode_frame, write_track
from fakestormer.data.units import Unit, at_hand, units_of
from fakestormer.detection.warnings import another_stream, picture_notes
from fakestormer.errors import InputError
from fakestormer.faces.crop import crop, crop_squares, map_landmarks
from fakestormer.faces.protocol import FaceBackend
from fakestormer.faces.upright import find_upright_tracks
from fakestormer.types import FaceTrack
from fakestormer.types.arrays import Floats
from fakestormer.video.colour import turn_clockwise
from fakestormer.video.decode import Frame
from fakestormer.video.objects import write

#: A landmark may leave the crop by this share of its side (a moving face, a smoothed box).
SLACK_OUTSIDE = 0.02

#: What finds the faces of a unit.
FaceSource = FaceBackend | LandmarkFiles


class PrepareOne:
    """`prepare_entry` for a worker process: opens the face models there, once, at first use."""

    def __init__(
        self,
        entries: dict[str, Entry],
        max_frames: Mapping[str, int | None],
        store: Path,
        settings: StoreSettings,
        open_this: Callable[[], FaceSource],
        tracks: str | None = None,
    ) -> None:
        """tracks: the address of the store that gets the tracks, instead of the folder."""
        self.entries, self.max_frames = entries, max_frames
        self.store, self.settings = store, settings
        self.open_this, self.tracks = open_this, tracks
        self._source: FaceSource | None = None

    def __call__(self, name: str) -> tuple[Row, ...]:
        if self._source is None:
            self._source = self.open_this()
        prepare = partial(
            prepare_entry,
            self.entries[name],
            faces=self._source,
            settings=self.settings,
            max_frames=self.max_frames[name],
        )
        if self.tracks is None:
            return prepare(self.store)
        with TemporaryDirectory(prefix="fakestormer-") as folder:
            rows = prepare(Path(folder))
            for file in Path(folder, "tracks").rglob("*.zip"):
                write(f"{self.tracks}/{file.relative_to(folder).as_posix()}", file)
        return rows


def prepare_entry(
    entry: Entry,
    store: Path,
    faces: FaceSource,
    settings: StoreSettings,
    *,
    max_frames: int | None,
) -> tuple[Row, ...]:
    """The rows of one entry, not labelled yet; its usable tracks are written into the store.

    max_frames: from the beginning; None takes all. Memory holds the encoded crops, and of the
    frames only the last few.
    """
    rows: list[Row] = []
    try:
        with (
            at_hand(entry) as here,
            units_of(here, max_frames=max_frames, scratch=store, stream=settings.stream) as units,
        ):
            for unit in units:
                rows += _prepare_unit(unit, store, faces, settings)
    except InputError as error:
        why: Reason = "not fetched" if entry.address else "undecodable"
        return (Row(video=entry.video, sha256="", rejected=why, detail=str(error)),)
    if not entry.address:
        return tuple(rows)
    # What is said of its file is said of the object: the file is gone.
    said = [row.detail.replace(str(here.path), entry.address) for row in rows]
    return tuple(replace(row, detail=detail) for row, detail in zip(rows, said, strict=True))


def _prepare_unit(unit: Unit, store: Path, faces: FaceSource, settings: StoreSettings) -> list[Row]:
    try:
        early = EarlyCrops(settings)
        tracks = followed(unit, faces, settings, early)
        info = None if unit.info is None else unit.info()
        if not tracks:
            another = another_stream(info) if info is not None else ""
            detail = f"no face could be followed in it{'; ' if another else ''}{another}"
            return [Row(video=unit.video, sha256=unit.sha256, rejected="no face", detail=detail)]
        rows = _store_tracks(unit, store, tracks, early)
        if info is None:
            return rows
        notes = " ".join(picture_notes(info.turned_clockwise(tracks[0].turned)))
        return [row if row.rejected else replace(row, detail=notes) for row in rows]
    except LandmarkError as error:
        detail = str(error)
        return [Row(video=unit.video, sha256=unit.sha256, rejected="no landmarks", detail=detail)]
    except InputError as error:
        detail = str(error)
        return [Row(video=unit.video, sha256=unit.sha256, rejected="undecodable", detail=detail)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """One face of a unit, before its crops are cut. row: rejected where the track is unfit.

    squares_t3: float32 (T, 3), see faces/crop.py. landmarks_tk2: float32 (T, K, 2), crop px. size:
    S of the crops. turned: the clockwise degrees by which frames are turned first.
    """

    track: FaceTrack
    row: Row
    squares_t3: Floats
    landmarks_tk2: Floats
    size: int
    turned: int

    def cut_out(self, rgb_hwc: NDArray[np.uint8], position: int) -> NDArray[np.uint8]:
        """The crop at a position of the track: uint8 (S, S, 3); the frame is as the unit has it."""
        upright = turn_clockwise(rgb_hwc, self.turned)
        return crop(upright, self.squares_t3[position], self.size)


def followed(
    unit: Unit, faces: FaceSource, settings: StoreSettings, early: EarlyCrops | None = None
) -> list[Followed]:
    """Every face track of a unit and whether it can be used; by track number.

    early: takes crops on the way. Raises InputError where nothing can be decoded, LandmarkError
    where landmarks are not usable.
    """
    every_track = settings.tracking.model_copy(update={"min_track_frames": 1, "min_face_pixels": 0})
    candidates = []
    side = settings.crop.stored_size
    if isinstance(faces, LandmarkFiles):
        turned, tracks = 0, faces.tracks(unit)
    else:
        turned, tracks = find_upright_tracks(
            partial(_frames, unit, early),
            unit.at,
            faces,
            every_track,
            on_frame=None if early is None else early.see,
        )
        if early is not None:
            early.finish()
    for track in tracks:
        squares_t3 = crop_squares(track, settings.crop)
        landmarks_tk2 = np.stack(
            [
                map_landmarks(points, square, side)
                for points, square in zip(track.landmarks, squares_t3, strict=True)
            ]
        )
        row = Row(
            video=unit.video,
            sha256=unit.sha256,
            track=track.number,
            first_frame=int(track.indices[0]),
            frames=len(track),
            face_side=_face_side(track),
            landmarks=track.landmarks.shape[1],
            confidence=float(track.confidence.mean()),
        )
        reason, detail = _unfit(row, landmarks_tk2, settings)
        if reason is not None:
            row = replace(row, rejected=reason, detail=detail)
        candidates.append(
            Followed(
                track=track,
                row=row,
                squares_t3=squares_t3,
                landmarks_tk2=landmarks_tk2,
                size=side,
                turned=turned,
            )
        )
    return sorted(candidates, key=lambda face: face.row.track)


def _frames(unit: Unit, early: EarlyCrops | None, degrees: int) -> Iterator[Frame]:
    if early is not None:
        early.restart()
    return unit.turned(degrees)


def _store_tracks(unit: Unit, store: Path, faces: list[Followed], early: EarlyCrops) -> list[Row]:
    wanted = [face for face in faces if not face.row.rejected]
    pngs = [early.pngs(int(face.track.indices[0]), face.squares_t3) for face in wanted]
    lacking = any(len(png) < len(face.track) for face, png in zip(wanted, pngs, strict=True))
    for index, _, rgb_hwc in unit.frames() if lacking else ():
        for face, encoded in zip(wanted, pngs, strict=True):
            position = index - int(face.track.indices[0])
            if 0 <= position < len(face.track) and position not in encoded:
                encoded[position] = encode_frame(face.cut_out(rgb_hwc, position))
    files = {}
    for face, encoded in zip(wanted, pngs, strict=True):
        files[face.row.track] = f"tracks/{unit.video}.{face.row.track}.zip"
        write_track(
            store / files[face.row.track],
            face.track,
            pngs=[encoded[position] for position in range(len(face.track))],
            squares_t3=face.squares_t3,
            landmarks_tk2=face.landmarks_tk2,
        )
    return [replace(face.row, file=files.get(face.row.track, "")) for face in faces]


def _unfit(row: Row, landmarks_tk2: Floats, settings: StoreSettings) -> tuple[Reason | None, str]:
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
        frames = int((~inside.all(axis=(1, 2))).sum())
        return "landmarks outside the crop", f"in {frames} of {row.frames} frames"
    return None, ""


def _face_side(track: FaceTrack) -> float:
    """Median over the track of the face box's longer side, source px."""
    sides_t2 = track.boxes[:, 2:] - track.boxes[:, :2]
    return float(np.median(sides_t2.max(axis=1)))
