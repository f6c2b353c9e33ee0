"""Faces found elsewhere: boxes and landmarks from files -> the tracks of a video.

Below the folder of --landmarks, one of these for each video (docs/datasets.md describes them):

    original_sequences/youtube/c23/videos/003.json or .npz     our own form; "003.mp4.json" too
    original_sequences/youtube/c23/landmarks/003/000.npy ...   dlib's points, a file for each frame
    original_sequences/youtube/c23/retina/003/000.npy ...      RetinaFace's boxes beside them

Everything is checked, and what is wrong is one sentence; nothing is filled in or left out silently.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fakestormer.data.units import Unit
from fakestormer.errors import InputError
from fakestormer.faces.protocol import face_box
from fakestormer.faces.tracking import overlap
from fakestormer.types import FaceTrack

#: A point may lie outside of the frame by this share of its face's larger side.
_OUTSIDE = 0.5
#: The least overlap of a box with the points it belongs to, and of a face with itself a frame on.
_OVERLAP = 0.3


class LandmarkError(InputError):
    """Landmarks of a video that cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Face:
    """A face through consecutive frames: landmarks (T, K, 2), boxes (T, 4), confidence (T,)."""

    first: int
    landmarks_tk2: NDArray[np.float32]
    boxes_t4: NDArray[np.float32]
    confidence_t: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class LandmarkFiles:
    """The files below a folder, or one file: of one video, or JSON with several ("videos").

    by: who found the faces, for stores and reports.
    """

    path: Path
    by: str = ""

    @property
    def name(self) -> str:
        """What stores call the source of such faces."""
        return f"given landmarks ({self.by})" if self.by else "given landmarks"

    def tracks(self, unit: Unit) -> list[FaceTrack]:
        """The faces of a video, in order of appearance, of those appearing together largest first.

        Frames that the unit leaves out are cut off. Raises InputError for files that are missing,
        damaged or of another video, and for numbers that are not finite or outside of the frame.
        """
        where, faces, stated = self._faces(unit)
        seconds, sizes = [], []
        for _, time, rgb_hwc in unit.frames():
            seconds.append(time)
            sizes.append((rgb_hwc.shape[1], rgb_hwc.shape[0]))
        whole = unit.frame_limit is None or len(seconds) < unit.frame_limit
        total = len(unit.pictures) or (len(seconds) if whole else stated)
        if stated is not None and stated != total:
            raise LandmarkError(
                f"{where}: was made of {stated} frames, but {unit.video} has {total}; they are of "
                f"another video, or of another cut of it"
            )
        shown = [
            _checked(face, where, len(seconds), unit.frame_limit, np.array(sizes, np.float32))
            for face in faces
        ]
        kept = [face for face in shown if face is not None]
        kept.sort(key=lambda face: (face.first, -float(_sides(face.boxes_t4)[0])))
        return [
            FaceTrack(
                number=number,
                indices=np.arange(face.first, face.first + len(face.boxes_t4), dtype=np.int64),
                pts_seconds=np.array(
                    seconds[face.first : face.first + len(face.boxes_t4)], np.float64
                ),
                boxes=face.boxes_t4,
                landmarks=face.landmarks_tk2,
                confidence=face.confidence_t,
            )
            for number, face in enumerate(kept)
        ]

    def _faces(self, unit: Unit) -> tuple[Path, list[_Face], int | None]:
        """The file or folder about a video, its faces, and of how many frames it was made."""
        if self.path.is_file():
            return self.path, *self._of_one_file(unit)
        name = PurePosixPath(unit.video)
        bare = name.with_suffix("")
        files = [self.path / f"{stem}{suffix}" for stem in dict.fromkeys((str(name), str(bare)))
                 for suffix in (".json", ".npz")]  # fmt: skip
        folders = [self.path / folder for folder in _landmark_folders(bare)]
        there = [file for file in files if file.is_file()]
        there += [folder for folder in folders if folder.is_dir() and any(folder.glob("*.npy"))]
        if not there:
            looked = ", ".join(str(p.relative_to(self.path)) for p in (*files[-2:], *folders))
            raise LandmarkError(
                f"{self.path}: has no landmarks of {unit.video} (looked for {looked}); the names "
                f"must be those of the videos below their root"
            )
        if len(there) > 1:
            raise LandmarkError(
                f"{unit.video}: has landmarks twice, in {there[0]} and {there[1]}; keep one"
            )
        (entry,) = there
        if entry.is_dir():
            return entry, list(_from_frames(entry, unit)), None
        document = _read_json(entry) if entry.suffix == ".json" else _read_npz(entry)
        return entry, *_from_document(document, entry)

    def _of_one_file(self, unit: Unit) -> tuple[list[_Face], int | None]:
        if self.path.suffix == ".npz":
            return _from_document(_read_npz(self.path), self.path)
        if self.path.suffix != ".json":
            raise LandmarkError(f"{self.path}: landmarks are .json or .npz, or a folder of them")
        document = _read_json(self.path)
        if "videos" in document:
            videos = document["videos"]
            if not isinstance(videos, dict) or unit.video not in videos:
                raise LandmarkError(f'{self.path}: has no "{unit.video}" below "videos"')
            document = videos[unit.video]
        return _from_document(document, self.path)


def _landmark_folders(bare: PurePosixPath) -> list[str]:
    """Where the files for each frame lie: beside "frames" and "videos" in "landmarks"."""
    parts = list(bare.parts)
    places = [i for i, part in enumerate(parts) if part in ("frames", "videos")]
    if not places:
        return [f"landmarks/{bare}", str(bare)]
    parts[places[-1]] = "landmarks"
    return ["/".join(parts)]


def _from_frames(folder: Path, unit: Unit) -> Iterator[_Face]:
    """A `.npy` for each frame, (K, 2) or (faces, K, 2); named by the frame's number or picture.

    Where RetinaFace's boxes lie beside them, (faces, 2 or more, 2) with corners first, a frame
    counts that has both, and each face gets the box that overlaps it most.
    """
    places = {name: i for i, name in enumerate(unit.pictures)}
    boxes_folder = Path(*(("retina" if p == "landmarks" else p) for p in folder.parts))
    boxed = boxes_folder != folder and boxes_folder.is_dir()
    frames: dict[int, list[tuple[NDArray[np.float32], NDArray[np.float32]]]] = {}
    for file in sorted(folder.glob("*.npy")):
        place = places.get(file.stem, -1) if places else _number(file)
        if place < 0:
            raise LandmarkError(
                f"{file}: {unit.video} has no picture {file.stem}; is it of another?"
            )
        points_nk2 = _read_npy(file)
        points_nk2 = points_nk2[None] if points_nk2.ndim == 2 else points_nk2
        _check_points(points_nk2, file)
        boxes_n4 = face_box(points_nk2)
        if boxed:
            if not (boxes_folder / file.name).is_file():
                continue
            boxes_n4 = _boxes_of(boxes_folder / file.name, boxes_n4)
        frames[place] = list(zip(points_nk2, boxes_n4, strict=True))
    yield from _linked(frames)


def _linked(
    frames: Mapping[int, list[tuple[NDArray[np.float32], NDArray[np.float32]]]],
) -> Iterator[_Face]:
    """Faces of neighbouring frames that overlap most are one; a frame left out ends all."""
    active: list[tuple[int, list[tuple[NDArray[np.float32], NDArray[np.float32]]]]] = []
    before = -2
    for place in sorted(frames):
        if place != before + 1:
            yield from (_face(*track) for track in active)
            active = []
        going_on, free = [], list(frames[place])
        for first, seen in active:
            overlaps = [overlap(box, seen[-1][1]) for _, box in free]
            if overlaps and max(overlaps) >= _OVERLAP:
                going_on.append((first, [*seen, free.pop(int(np.argmax(overlaps)))]))
            else:
                yield _face(first, seen)
        active = [*going_on, *((place, [face]) for face in free)]
        before = place
    yield from (_face(*track) for track in active)


def _face(first: int, seen: list[tuple[NDArray[np.float32], NDArray[np.float32]]]) -> _Face:
    return _Face(
        first=first,
        landmarks_tk2=np.stack([points for points, _ in seen]),
        boxes_t4=np.stack([box for _, box in seen]),
        confidence_t=np.ones(len(seen), np.float32),
    )


def _boxes_of(file: Path, faces_n4: NDArray[np.float32]) -> NDArray[np.float32]:
    """RetinaFace's box of each face."""
    corners = _read_npy(file)
    if corners.ndim != 3 or corners.shape[1] < 2 or corners.shape[2] != 2:
        raise LandmarkError(
            f"{file}: expected boxes (faces, 2 or more, 2) with two corners first, got shape "
            f"{corners.shape}"
        )
    boxes_m4 = corners[:, :2].reshape(-1, 4)
    best = []
    for face in faces_n4:
        overlaps = [overlap(face, box) for box in boxes_m4]
        if max(overlaps, default=0.0) < _OVERLAP:
            raise LandmarkError(
                f"{file}: no box overlaps the landmarks at {_around(face)}; are the two of one "
                f"video?"
            )
        best.append(boxes_m4[int(np.argmax(overlaps))])
    return np.stack(best)


def _from_document(document: Any, file: Path) -> tuple[list[_Face], int | None]:
    """Our own form: {"frames": 300, "tracks": [{"first_frame", "landmarks", "boxes", ...}]}."""
    if not isinstance(document, dict) or not isinstance(document.get("tracks"), list):
        raise LandmarkError(f'{file}: expected an object with "tracks", as docs/datasets.md has it')
    stated = document.get("frames")
    if stated is not None and not isinstance(stated, int):
        raise LandmarkError(f'{file}: "frames" is {stated!r}, not a number of frames')
    tracks = enumerate(document["tracks"])
    return [_of_track(track, f"{file}, track {number}") for number, track in tracks], stated


def _of_track(track: Any, where: str) -> _Face:
    if not isinstance(track, dict) or "landmarks" not in track:
        raise LandmarkError(f'{where}: has no "landmarks"')
    landmarks_tk2 = _array(track["landmarks"], where, "landmarks")
    _check_points(landmarks_tk2, where)
    frames = len(landmarks_tk2)
    boxes_t4, confidence_t = face_box(landmarks_tk2), np.ones(frames, np.float32)
    if track.get("boxes") is not None:
        boxes_t4 = _array(track["boxes"], where, "boxes")
    if track.get("confidence") is not None:
        confidence_t = _array(track["confidence"], where, "confidence")
    if boxes_t4.shape != (frames, 4) or confidence_t.shape != (frames,):
        raise LandmarkError(
            f"{where}: landmarks are of {frames} frames, boxes have the shape {boxes_t4.shape} and "
            f"confidence {confidence_t.shape}; all need one of each frame"
        )
    first = track.get("first_frame", 0)
    if not isinstance(first, int) or first < 0:
        raise LandmarkError(f"{where}: first_frame is {first!r}, not the number of a frame")
    return _Face(
        first=first, landmarks_tk2=landmarks_tk2, boxes_t4=boxes_t4, confidence_t=confidence_t
    )


def _checked(
    face: _Face, where: Path, frames: int, limit: int | None, sizes_t2: NDArray[np.float32]
) -> _Face | None:
    """The face within the frames that were decoded, None where none of them is left.

    frames: decoded, at most `limit`; fewer are all that the video has.
    """
    last = face.first + len(face.boxes_t4) - 1
    if last >= frames and (limit is None or frames < limit):
        raise LandmarkError(
            f"{where}: has landmarks of frame {last}, but the video ends with frame {frames - 1}; "
            f"they are of another video, or of another cut of it"
        )
    count = min(len(face.boxes_t4), frames - face.first)
    if count < 1:
        return None
    shown = _Face(
        first=face.first,
        landmarks_tk2=face.landmarks_tk2[:count],
        boxes_t4=face.boxes_t4[:count],
        confidence_t=face.confidence_t[:count],
    )
    _check_numbers(shown, where)
    _check_places(shown, where, sizes_t2[face.first : face.first + count])
    return shown


def _check_numbers(face: _Face, where: Path) -> None:
    boxes_t4 = face.boxes_t4
    for name, values in (
        ("landmarks", face.landmarks_tk2),
        ("boxes", boxes_t4),
        ("confidence", face.confidence_t),
    ):
        finite = np.isfinite(values.reshape(len(boxes_t4), -1)).all(axis=1)
        if not finite.all():
            raise LandmarkError(
                f"{where}: {name} of frame {face.first + int(np.argmin(finite))} are no finite "
                f"numbers; leave that frame out"
            )
    filled = (boxes_t4[:, 2:] > boxes_t4[:, :2]).all(axis=1)
    if not filled.all():
        raise LandmarkError(
            f"{where}: the box of frame {face.first + int(np.argmin(filled))} is empty; boxes are "
            f"x0, y0, x1, y1"
        )


def _check_places(face: _Face, where: Path, sizes_t2: NDArray[np.float32]) -> None:
    slack_t1 = _OUTSIDE * _sides(face.boxes_t4)[:, None]
    corners_t22 = face.boxes_t4.reshape(-1, 2, 2)
    points_tm2 = np.concatenate([face.landmarks_tk2, corners_t22], axis=1)
    low, high = points_tm2.min(axis=1), points_tm2.max(axis=1)
    inside = ((low >= -slack_t1) & (high <= sizes_t2 - 1 + slack_t1)).all(axis=1)
    if not inside.all():
        frame = int(np.argmin(inside))
        width, height = (int(side) for side in sizes_t2[frame])
        raise LandmarkError(
            f"{where}: the face of frame {face.first + frame} lies outside of the frame "
            f"({_around(np.concatenate([low[frame], high[frame]]))}, the frame is {width} x "
            f"{height}); are they of a video of another size?"
        )


def _check_points(points: NDArray[np.float32], where: object) -> None:
    if (
        points.ndim != 3
        or points.shape[1] not in (68, 81)
        or points.shape[2] != 2
        or not len(points)
    ):
        raise LandmarkError(
            f"{where}: landmarks have the shape {points.shape}; 81 or 68 points (x, y) are needed, "
            f"in the order of dlib"
        )


@cache
def _read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LandmarkError(f"{file}: is not readable as JSON ({error}); write it again") from error


def _read_npz(file: Path) -> dict[str, Any]:
    """One face: the arrays of a track, and perhaps "frames"."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            content = {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise LandmarkError(f"{file}: is not readable as .npz ({error}); write it again") from error
    track = {
        name: content[name] for name in ("landmarks", "boxes", "confidence") if name in content
    }
    if "first_frame" in content:
        track["first_frame"] = int(content["first_frame"])
    frames = int(content["frames"]) if "frames" in content else None
    return {"frames": frames, "tracks": [track]}


def _read_npy(file: Path) -> NDArray[np.float32]:
    try:
        return np.asarray(np.load(file, allow_pickle=False), np.float32)
    except (OSError, ValueError, EOFError) as error:
        raise LandmarkError(f"{file}: is not readable as .npy ({error}); write it again") from error


def _array(values: Any, where: str, name: str) -> NDArray[np.float32]:
    try:
        return np.asarray(values, np.float32)
    except (ValueError, TypeError) as error:
        raise LandmarkError(f"{where}: {name} is no table of numbers ({error})") from error


def _number(file: Path) -> int:
    if not file.stem.isdecimal():
        raise LandmarkError(f"{file}: is not named by the number of its frame, as 000.npy is")
    return int(file.stem)


def _sides(boxes_t4: NDArray[np.float32]) -> NDArray[np.float32]:
    sides: NDArray[np.float32] = (boxes_t4[:, 2:] - boxes_t4[:, :2]).max(axis=1)
    return sides


def _around(box_xyxy: NDArray[np.float32]) -> str:
    return "x {:.0f} to {:.0f}, y {:.0f} to {:.0f}".format(*box_xyxy[[0, 2, 1, 3]])
