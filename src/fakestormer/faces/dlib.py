"""The second face backend: dlib's HOG detector and landmark predictor (`fakestormer[dlib]`).

Slower and for frontal faces. The predictor comes with `face_recognition_models` (68 points; its
model excludes commercial use), or is a file of the user's own named by FAKESTORMER_DLIB_PREDICTOR,
with 68 or 81 points.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fakestormer.errors import InputError, SetupError
from fakestormer.faces.protocol import FaceDetection, FaceLandmarks, FaceRegion
from fakestormer.types.arrays import Floats, Pixels

PREDICTOR_VARIABLE = "FAKESTORMER_DLIB_PREDICTOR"

# Longer side at which frames are searched: faces from about 80 px of it on are found.
_SEARCH_PIXELS = 960
# While following, the face's neighbourhood is searched with the face at about this size.
_FOLLOW_PIXELS = 120


class DlibFaces:
    """Face detection and landmarks by dlib; one instance per thread.

    predictor: a shape predictor file with 68 or 81 points. Raises SetupError when dlib or its model
    is not installed, InputError for a file that is no such predictor.
    """

    name = "dlib"

    def __init__(self, predictor: Path | None = None) -> None:
        if importlib.util.find_spec("dlib") is None:
            raise SetupError(
                "dlib is not installed: run `pip install 'fakestormer[dlib]'`, or use the default "
                "face backend"
            )
        import dlib

        path = predictor or _predictor_path()
        try:
            self._predictor: Any = dlib.shape_predictor(str(path))
        except RuntimeError as error:
            raise InputError(
                f"{path}: cannot be read as a dlib shape predictor ({error}); give a file with 68 "
                "or 81 points"
            ) from error
        self._detector: Any = dlib.get_frontal_face_detector()
        self._rectangle: Any = dlib.rectangle

    def detect(self, rgb_hwc: Pixels) -> list[FaceDetection]:
        """All frontal, upright faces, best first."""
        scale = _SEARCH_PIXELS / max(rgb_hwc.shape[:2])
        found = self._search(rgb_hwc, min(scale, 2.0))
        return sorted(found, key=lambda detection: -detection.score)

    def detect_small(self, rgb_hwc: Pixels, near: FaceRegion | None = None) -> list[FaceDetection]:
        """None: `detect` takes long enough."""
        return []

    def detect_filling(self, rgb_hwc: Pixels) -> list[FaceDetection]:
        """None: `detect` searches for faces of every size above its smallest."""
        return []

    def landmarks(self, rgb_hwc: Pixels, region: FaceRegion) -> FaceLandmarks | None:
        """The points of the face in `region`; None where the detector sees none there.

        dlib's predictor puts points on anything and says nothing about them, so a detection in the
        region's neighbourhood has to confirm the face; its score is the confidence.
        """
        height, width = rgb_hwc.shape[:2]
        left, top = (max(0, int(c - region.side)) for c in (region.cx, region.cy))
        right = min(width, int(region.cx + region.side))
        bottom = min(height, int(region.cy + region.side))
        if right - left < 8 or bottom - top < 8:
            return None
        part = np.ascontiguousarray(rgb_hwc[top:bottom, left:right])
        found = self._search(part, _FOLLOW_PIXELS / region.side)
        if not found:
            return None
        centre = np.array([region.cx - left, region.cy - top])
        best = min(found, key=lambda d: float(np.abs(_centre(d.box_xyxy) - centre).sum()))
        x0, y0, x1, y1 = (round(float(value)) for value in best.box_xyxy)
        shape = self._predictor(part, self._rectangle(x0, y0, x1, y1))
        points = [(shape.part(k).x + left, shape.part(k).y + top) for k in range(shape.num_parts)]
        points_k2 = forehead_in_order(np.array(points, np.float32))
        box_xyxy = best.box_xyxy + np.array([left, top, left, top], np.float32)
        return FaceLandmarks(
            points_k2=points_k2, confidence=best.score, region=_detection(box_xyxy, 0.0).region
        )

    def _search(self, rgb_hwc: Pixels, scale: float) -> list[FaceDetection]:
        """Detections in a picture that is first resized by `scale`, in its own pixels."""
        interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        resized = cv2.resize(rgb_hwc, None, fx=scale, fy=scale, interpolation=interpolation)
        boxes, scores, _ = self._detector.run(resized, 0, 0.0)
        return [
            _detection(
                np.array([b.left(), b.top(), b.right(), b.bottom()], np.float32) / scale,
                # dlib's margin: 0 is its threshold, clear faces have 1 to 3.
                float(1.0 / (1.0 + np.exp(-2.0 * score))),
            )
            for b, score in zip(boxes, scores, strict=True)
        ]


def forehead_in_order(points_k2: Floats) -> Floats:
    """The 13 forehead points of 81 (68:81) from the image's left temple to the right one.

    Predictors number them as they were annotated. Their angle around the bridge of the nose
    (point 27), from the direction of the left temple on, is the order along the forehead.
    68 points are returned as they are; other numbers raise InputError.
    """
    if len(points_k2) == 68:
        return points_k2
    if len(points_k2) != 81:
        raise InputError(
            f"the dlib predictor gives {len(points_k2)} points; use one with 68 or 81 points"
        )
    across = points_k2[16] - points_k2[0]
    from_bridge = points_k2[68:] - points_k2[27]
    along = from_bridge @ across
    up = from_bridge @ np.array([across[1], -across[0]])
    # From the left (-across) over the top to the right: 0 to pi.
    order = np.argsort(np.pi - np.arctan2(up, along), kind="stable")
    return np.concatenate([points_k2[:68], points_k2[68:][order]])


def _centre(box_xyxy: Floats) -> Floats:
    return np.asarray((box_xyxy[:2] + box_xyxy[2:]) / 2, np.float32)


def _detection(box_xyxy: Floats, score: float) -> FaceDetection:
    cx, cy = (float(value) for value in _centre(box_xyxy))
    side = float((box_xyxy[2:] - box_xyxy[:2]).max())
    return FaceDetection(
        box_xyxy=box_xyxy, score=score, region=FaceRegion(cx=cx, cy=cy, side=side, roll=0.0)
    )


def _predictor_path() -> Path:
    """The user's predictor file, else the one of `face_recognition_models`.

    That package cannot be imported (it needs the removed pkg_resources); its folder can be found.
    """
    chosen = os.environ.get(PREDICTOR_VARIABLE)
    if chosen:
        path = Path(chosen).expanduser()
        if not path.is_file():
            raise InputError(f"{path}: no such file; correct {PREDICTOR_VARIABLE}")
        return path
    spec = importlib.util.find_spec("face_recognition_models")
    folders = spec.submodule_search_locations if spec is not None else None
    for folder in folders or []:
        path = Path(folder) / "models" / "shape_predictor_68_face_landmarks.dat"
        if path.is_file():
            return path
    raise SetupError(
        "dlib's landmark model is not installed: run `pip install 'fakestormer[dlib]'`, or name a "
        f"predictor file in {PREDICTOR_VARIABLE}"
    )
