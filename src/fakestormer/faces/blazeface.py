"""The default face backend: BlazeFace full-range detector and 468-point face mesh, by LiteRT.

Both networks see 192 x 192 pixels. What leaves here are the 81 points of the method: 68 in the
iBUG order and 13 along the forehead, from one temple to the other, left to right as seen.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from fakestormer.faces.face_models import model_paths
from fakestormer.faces.protocol import FaceDetection, FaceLandmarks, FaceRegion
from fakestormer.parallel.threads import thread_count
from fakestormer.types.arrays import Doubles, Floats, Pixels

_INPUT = 192
# One anchor in the middle of each cell of 4 x 4 pixels.
_GRID = 48
# Detections below this are noise; what is believed is the tracker's decision.
_MIN_SCORE = 0.3
_NMS_OVERLAP = 0.3
# Faces from about a fourteenth of a picture's longer side on are found (benchmarks/face_sizes.py).
# Larger frames are looked at more closely: tiles of at most so many pixels are searched, for faces
# from 64 pixels on. They overlap so far that a face too small for the whole frame is whole in one.
_WHOLE, _TILE = 896, 720
_REACH = 12
# Around a small face that is followed, a tile of so many times its side is searched.
_ROOM_AROUND = 4
# A face that fills the frame is found where the frame fills only so much of the searched picture.
_FAR = 0.5
# The mesh network was trained on the face with a quarter of its size around it on each side.
_MESH_MARGIN = 1.5

# Mesh vertices in the order of the 81 points (checked against dlib's 68 points).
_JAW = (127, 234, 132, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 361, 454, 356)
_BROWS = (70, 63, 105, 66, 107, 336, 296, 334, 293, 300)
_NOSE = (168, 197, 5, 4, 75, 97, 2, 326, 305)
_EYES = (33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380)
_OUTER_LIPS = (61, 39, 37, 0, 267, 269, 291, 321, 314, 17, 84, 91)
_INNER_LIPS = (78, 82, 13, 312, 308, 317, 14, 87)
_FOREHEAD = (162, 21, 54, 103, 67, 109, 10, 338, 297, 332, 284, 251, 389)
MESH_TO_81 = np.array(_JAW + _BROWS + _NOSE + _EYES + _OUTER_LIPS + _INNER_LIPS + _FOREHEAD)
_OUTER_EYE_CORNERS = (33, 263)


class BlazeFace:
    """Face detection and landmarks; one instance per thread.

    Where the process may use two threads or more, both networks take two: with them they need 0.53
    times the time. Raises SetupError when the model files are missing or altered.
    """

    name = "blazeface"

    def __init__(self) -> None:
        threads = min(2, thread_count())
        self._detector, self._mesh = (_Network(path, threads) for path in model_paths())
        cells = (np.arange(_GRID, dtype=np.float32) + 0.5) / _GRID
        self._anchors_n2 = np.stack(np.meshgrid(cells, cells), axis=-1).reshape(-1, 2)

    def detect(self, rgb_hwc: Pixels) -> list[FaceDetection]:
        """All faces with a score of at least 0.3, best first.

        The whole frame is shrunk to 192 px, so a face should measure at least about a fourteenth of
        the frame's longer side, and not fill it.
        """
        return self._search(rgb_hwc)

    def detect_small(self, rgb_hwc: Pixels, near: FaceRegion | None = None) -> list[FaceDetection]:
        """Faces too small for `detect`, best first; slow in large frames.

        Tiles of the frame are searched, where faces of 64 px are found in frames of up to 4320 px,
        and of a 70th of the longer side in larger ones.
        near: one tile is searched, with this face in its middle.
        """
        height, width = rgb_hwc.shape[:2]
        longer = max(height, width)
        if near is None:
            if longer <= _WHOLE:
                return []
            overlap = math.ceil(longer / _REACH)
            rows, columns = _spans(height, overlap), _spans(width, overlap)
            tiles = [(left, top, right, bottom) for top, bottom in rows for left, right in columns]
        elif near.side * _REACH >= longer:
            return []
        else:
            tiles = [_around(near, width, height)]
        found: list[FaceDetection] = []
        for tile in tiles:
            left, top, right, bottom = tile
            part = self._search(np.ascontiguousarray(rgb_hwc[top:bottom, left:right]))
            moved = [_moved(face, left, top) for face in part]
            found += [face for face in moved if not _is_cut(face, tile, width, height)]
        return _best_of_each(found)

    def detect_filling(self, rgb_hwc: Pixels) -> list[FaceDetection]:
        """A face too large for `detect`: the whole frame is searched from further away."""
        return self._search(rgb_hwc, share=_FAR)

    def _search(self, rgb_hwc: Pixels, *, share: float = 1.0) -> list[FaceDetection]:
        """The faces of one picture, best first; share: of the network's input that it fills."""
        letterboxed, scale, left, top = _letterbox(rgb_hwc, share)
        raw_boxes, raw_scores = self._detector.run(letterboxed * (2.0 / 255.0) - 1.0, (16, 1))
        scores = _sigmoid(raw_scores[:, 0])
        chosen = np.flatnonzero(scores >= _MIN_SCORE)
        if chosen.size == 0:
            return []
        # (centre, size, 6 keypoints), each (x, y), in parts of the input, relative to the anchor.
        pairs_n82 = raw_boxes[chosen].reshape(-1, 8, 2) / _INPUT
        anchors_n12 = self._anchors_n2[chosen, None]
        size_n12 = pairs_n82[:, 1:2]
        centre_n12 = pairs_n82[:, 0:1] + anchors_n12
        eyes_n22 = pairs_n82[:, 2:4] + anchors_n12
        corners = [centre_n12 - size_n12 / 2, centre_n12 + size_n12 / 2, eyes_n22]
        points_n42 = np.concatenate(corners, axis=1) * _INPUT
        # Pixel edges of the input -> pixel centres of the frame.
        points_n42 = (points_n42 - np.array([left, top])) / scale - 0.5
        merged = _merge_overlapping(points_n42.astype(np.float32), scores[chosen])
        return [_detection(points_42, score) for points_42, score in merged]

    def landmarks(self, rgb_hwc: Pixels, region: FaceRegion) -> FaceLandmarks | None:
        """The 81 points of the face in `region`; None for a region of no size or off the frame."""
        height, width = rgb_hwc.shape[:2]
        on_frame = 0 <= region.cx < width and 0 <= region.cy < height
        if not on_frame or region.side < 8:
            return None
        side = region.side * _MESH_MARGIN
        patch, to_frame_23 = _upright_patch(rgb_hwc, region, side)
        unit = np.multiply(patch, np.float32(1 / 255.0), dtype=np.float32)
        raw_points, raw_score = self._mesh.run(unit, (1404, 1))
        mesh_k2 = raw_points.reshape(468, 3)[:, :2] - 0.5
        points_k2 = mesh_k2 @ to_frame_23[:, :2].T + to_frame_23[:, 2]
        return FaceLandmarks(
            points_k2=np.ascontiguousarray(points_k2[MESH_TO_81], np.float32),
            confidence=float(_sigmoid(raw_score).item()),
            region=_region_of_mesh(points_k2),
        )


class _Network:
    """One TFLite file: (192, 192, 3) float32 in, its outputs by their last axis out."""

    def __init__(self, path: Path, threads: int) -> None:
        with _silent_stderr():
            self._interpreter: Any = Interpreter(str(path), num_threads=threads)
            self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        outputs = self._interpreter.get_output_details()
        self._by_size = {int(detail["shape"][-1]): detail["index"] for detail in outputs}

    def run(self, image_hwc: Floats, sizes: tuple[int, int]) -> tuple[Floats, Floats]:
        """The two outputs whose last axes have these sizes, each as (n, size)."""
        self._interpreter.set_tensor(self._input, image_hwc[None])
        self._interpreter.invoke()
        first, second = (
            self._interpreter.get_tensor(self._by_size[size]).reshape(-1, size) for size in sizes
        )
        return first, second


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """LiteRT announces its CPU kernels on the C level's stderr; nothing else can silence it."""
    if sys.stderr is not None:
        sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # a process without stderr has nothing to silence
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _letterbox(rgb_hwc: Pixels, share: float) -> tuple[Floats, float, int, int]:
    """The frame in the middle of a black 192 px square: (picture, scale, left, top).

    share: of the square's side that the frame's longer side takes.
    """
    height, width = rgb_hwc.shape[:2]
    scale = share * _INPUT / max(height, width)
    new_w, new_h = max(1, round(width * scale)), max(1, round(height * scale))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    # Means of 2 x 2 pixels take a tenth of the time of other shares.
    while min(height, width) > 3 * min(new_w, new_h) and height % 2 == width % 2 == 0:
        height, width = height // 2, width // 2
        rgb_hwc = np.asarray(cv2.resize(rgb_hwc, (width, height), interpolation=cv2.INTER_AREA))
    small = cv2.resize(rgb_hwc, (new_w, new_h), interpolation=interpolation)
    left, top = (_INPUT - new_w) // 2, (_INPUT - new_h) // 2
    boxed = np.zeros((_INPUT, _INPUT, 3), np.float32)
    boxed[top : top + new_h, left : left + new_w] = small
    return boxed, scale, left, top


def _spans(length: int, overlap: int) -> list[tuple[int, int]]:
    """One side of the tiles: equal stretches that overlap, as few as may be.

    At most half of a tile is overlap: else there were thousands of them in frames of 8K.

    # 1280, overlap 107 -> [(0, 694), (586, 1280)]
    """
    longest = max(_TILE, 2 * overlap)
    if length <= longest:
        return [(0, length)]
    count = math.ceil((length - overlap) / (longest - overlap))
    side = math.ceil((length + (count - 1) * overlap) / count)
    starts = [round(n * (length - side) / (count - 1)) for n in range(count)]
    return [(start, start + side) for start in starts]


def _around(face: FaceRegion, width: int, height: int) -> tuple[int, int, int, int]:
    """A tile with this face in its middle: left, top, right, bottom."""
    half = _ROOM_AROUND * face.side / 2
    left, top = max(0, int(face.cx - half)), max(0, int(face.cy - half))
    right, bottom = min(width, int(face.cx + half) + 1), min(height, int(face.cy + half) + 1)
    return min(left, width - 1), min(top, height - 1), max(right, 1), max(bottom, 1)


def _moved(face: FaceDetection, left: int, top: int) -> FaceDetection:
    region = replace(face.region, cx=face.region.cx + left, cy=face.region.cy + top)
    box_xyxy = face.box_xyxy + np.array([left, top, left, top], np.float32)
    return replace(face, box_xyxy=box_xyxy, region=region)


def _is_cut(
    face: FaceDetection, tile_xyxy: tuple[int, int, int, int], width: int, height: int
) -> bool:
    """Whether a border of its tile within the frame runs through the face: another has it whole."""
    low, high = face.box_xyxy[:2], face.box_xyxy[2:]
    left, top, right, bottom = tile_xyxy
    before = (left > 0 and low[0] < left) or (top > 0 and low[1] < top)
    after = (right < width and high[0] > right) or (bottom < height and high[1] > bottom)
    return bool(before or after)


def _best_of_each(faces: list[FaceDetection]) -> list[FaceDetection]:
    """Best first; of those that overlap the best, as it is."""
    kept: list[FaceDetection] = []
    for face in sorted(faces, key=lambda face: -face.score):
        boxes_n22 = np.array([other.box_xyxy for other in kept], np.float32).reshape(-1, 2, 2)
        if not (_iou(face.box_xyxy.reshape(2, 2), boxes_n22) >= _NMS_OVERLAP).any():
            kept.append(face)
    return kept


def _merge_overlapping(points_n42: Floats, scores_n: Floats) -> list[tuple[Floats, float]]:
    """Weighted non-maximum suppression: overlapping boxes become their score-weighted mean.

    points_n42: box corners and eyes of each candidate. Best score first.
    """
    merged = []
    left = np.argsort(-scores_n, kind="stable")
    while left.size:
        best = left[0]
        overlap = _iou(points_n42[best, :2], points_n42[left, :2])
        group = left[overlap >= _NMS_OVERLAP]
        group = group if group.size else left[:1]  # a box of no size overlaps not even itself
        weights = scores_n[group, None, None]
        mean_42 = (points_n42[group] * weights).sum(axis=0) / weights.sum()
        merged.append((mean_42, float(scores_n[best])))
        left = np.setdiff1d(left, group, assume_unique=True)
        left = left[np.argsort(-scores_n[left], kind="stable")]
    return merged


def _iou(box_22: Floats, boxes_n22: Floats) -> Floats:
    low = np.maximum(box_22[0], boxes_n22[:, 0])
    high = np.minimum(box_22[1], boxes_n22[:, 1])
    shared = np.prod(np.maximum(high - low, 0.0), axis=1)
    areas = np.prod(boxes_n22[:, 1] - boxes_n22[:, 0], axis=1)
    union = np.prod(box_22[1] - box_22[0]) + areas - shared
    return np.asarray(shared / np.maximum(union, 1e-6), np.float32)


def _detection(points_42: Floats, score: float) -> FaceDetection:
    low, high, eye_left, eye_right = points_42
    centre = (low + high) / 2
    return FaceDetection(
        box_xyxy=np.concatenate([low, high]).astype(np.float32),
        score=score,
        region=FaceRegion(
            cx=float(centre[0]),
            cy=float(centre[1]),
            side=float((high - low).max()),
            roll=_roll(eye_left, eye_right),
        ),
    )


def _region_of_mesh(points_k2: NDArray[np.floating[Any]]) -> FaceRegion:
    """The square around the mesh along the face's own axes."""
    roll = _roll(*points_k2[list(_OUTER_EYE_CORNERS)])
    axes_22 = np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
    turned_k2 = points_k2 @ axes_22.T
    low, high = turned_k2.min(axis=0), turned_k2.max(axis=0)
    centre = ((low + high) / 2) @ axes_22
    side = float((high - low).max())
    return FaceRegion(cx=float(centre[0]), cy=float(centre[1]), side=side, roll=roll)


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(x, -80.0, 80.0))), np.float32)


def _roll(eye_left: NDArray[np.floating[Any]], eye_right: NDArray[np.floating[Any]]) -> float:
    dx, dy = eye_right - eye_left
    return float(np.arctan2(dy, dx))


def _upright_patch(rgb_hwc: Pixels, region: FaceRegion, side: float) -> tuple[Pixels, Doubles]:
    """The turned square of `side` frame pixels as uint8 (192, 192, 3).

    Also the 2 x 3 matrix from patch pixels (centres at whole numbers) to frame pixels.
    """
    scale = side / _INPUT
    cos, sin = np.cos(region.roll) * scale, np.sin(region.roll) * scale
    middle = (_INPUT - 1) / 2
    to_frame_23 = np.array(
        [
            [cos, -sin, region.cx - (cos - sin) * middle],
            [sin, cos, region.cy - (sin + cos) * middle],
        ]
    )
    source, to_source_23 = rgb_hwc, to_frame_23
    shrink = int(scale)
    if shrink >= 2:
        source, to_source_23 = _shrunk_around(rgb_hwc, region, side, shrink, to_frame_23)
    patch = cv2.warpAffine(
        source,
        to_source_23,
        (_INPUT, _INPUT),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(patch, np.uint8), to_frame_23


def _shrunk_around(
    rgb_hwc: Pixels,
    region: FaceRegion,
    side: float,
    shrink: int,
    to_frame_23: Doubles,
) -> tuple[Pixels, Doubles]:
    """The neighbourhood of a large face, shrunk by a whole number so that nothing aliases."""
    height, width = rgb_hwc.shape[:2]
    reach = side * 0.75  # half of the turned square's diagonal
    left, top = max(0, int(region.cx - reach)), max(0, int(region.cy - reach))
    new_w = max(1, (min(width, int(region.cx + reach)) - left) // shrink)
    new_h = max(1, (min(height, int(region.cy + reach)) - top) // shrink)
    part = rgb_hwc[top : top + new_h * shrink, left : left + new_w * shrink]
    small = cv2.resize(part, (new_w, new_h), interpolation=cv2.INTER_AREA)
    to_small_23 = to_frame_23.copy()
    to_small_23[:, 2] += np.array([0.5 - left, 0.5 - top])
    to_small_23 /= shrink
    to_small_23[:, 2] -= 0.5
    return np.asarray(small, np.uint8), to_small_23
