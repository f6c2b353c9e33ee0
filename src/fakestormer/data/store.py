"""The track store's files: one prepared face track is one ZIP of lossless frames.

    tracks/<video>.<track number>.zip
        track.npz        indices, pts_seconds, boxes, confidence, squares, landmarks
        00000.png ...    face crops, S x S, RGB

The members are stored, not compressed again, so that T frames of a track are read without touching
the others, and any tool opens the file. A file appears under its name only when it is complete.
Of all filters and strategies of PNG level 1, rows as differences from the row above and run lengths
were the best on 256 px face crops: of libpng's own choice they need 0.55 times the time to write,
0.6 to read, and 0.99 of the bytes. WebP lossless needs half the bytes and 20 times the time.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np

from fakestormer.errors import InputError
from fakestormer.files import write_atomically
from fakestormer.types import Clip, FaceTrack
from fakestormer.types.arrays import Floats

# cv2.IMWRITE_PNG_FILTER and cv2.IMWRITE_PNG_FILTER_UP: OpenCV below 4.12 lacks these names, and
# passes over settings that it does not know. Its files hold the same pixels.
_FILTER, _UP = 19, 32
_PNG = [
    *(cv2.IMWRITE_PNG_COMPRESSION, 1),
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE),
    *(_FILTER, _UP),
]


def encode_frame(rgb_hwc: np.ndarray) -> bytes:
    """One crop, uint8 (S, S, 3) RGB, as PNG."""
    fine, png = cv2.imencode(".png", cv2.cvtColor(rgb_hwc, cv2.COLOR_RGB2BGR), _PNG)
    assert fine, f"PNG encoder refused a crop of shape {rgb_hwc.shape}"
    return bytes(png)


def write_track(
    path: Path,
    track: FaceTrack,
    *,
    pngs: Sequence[bytes],
    squares_t3: Floats,
    landmarks_tk2: Floats,
) -> None:
    """Write one track file.

    pngs: the T encoded crops. squares_t3: float32 (T, 3), centre x, centre y and side of each crop,
    source px. landmarks_tk2: float32 (T, K, 2), crop px.
    """
    assert len(pngs) == len(track) == len(squares_t3) == len(landmarks_tk2)
    arrays = io.BytesIO()
    np.savez(
        arrays,
        indices=track.indices,
        pts_seconds=track.pts_seconds,
        boxes=track.boxes,
        confidence=track.confidence,
        squares=squares_t3,
        landmarks=landmarks_tk2,
    )
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as members:
        # ZipInfo without a date: the same track is the same file, whenever it was written.
        members.writestr(zipfile.ZipInfo("track.npz"), arrays.getvalue())
        for position, png in enumerate(pngs):
            members.writestr(zipfile.ZipInfo(f"{position:05d}.png"), png)
    write_atomically(path, archive.getvalue())


def read_clip(path: Path, positions: Iterable[int], *, video: str, number: int) -> Clip:
    """The frames at `positions` of one stored track; InputError where the file lacks them.

    video, number: which track this is, for `Clip.source`.
    """
    positions = [int(position) for position in positions]
    try:
        with zipfile.ZipFile(path) as members:
            with np.load(io.BytesIO(members.read("track.npz"))) as arrays:
                indices = arrays["indices"][positions]
                pts_seconds = arrays["pts_seconds"][positions]
                landmarks = arrays["landmarks"][positions]
            pngs = [members.read(f"{position:05d}.png") for position in positions]
    except (OSError, KeyError, IndexError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path}: cannot read frames {positions} of this prepared track ({error}); delete the "
            "file and its journal entry and run prepare again"
        ) from error
    frames_thwc = np.stack([_decode_frame(png, path) for png in pngs])
    return Clip(
        frames=np.ascontiguousarray(frames_thwc.transpose(0, 3, 1, 2)),
        landmarks=landmarks.astype(np.float32),
        indices=indices.astype(np.int64),
        pts_seconds=pts_seconds.astype(np.float64),
        source=f"{video}#{number}@{indices[0]}",
    )


def read_landmarks(path: Path) -> Floats:
    """The landmarks of one stored track, float32 (T, K, 2), crop px.

    Raises InputError when the file is missing or damaged.
    """
    try:
        with (
            zipfile.ZipFile(path) as members,
            np.load(io.BytesIO(members.read("track.npz"))) as arrays,
        ):
            return np.asarray(arrays["landmarks"], np.float32)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path}: cannot read this prepared track ({error}); delete the file and its journal "
            "entry and run prepare again"
        ) from error


def _decode_frame(png: bytes, path: Path) -> np.ndarray:
    bgr = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        raise InputError(f"{path}: a frame of this prepared track is damaged; run prepare again")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
