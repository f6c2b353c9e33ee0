"""Drawn faces with known landmarks, and a backend that finds them: no face models needed.

As a script: `drawn_faces.py VIDEOS STORE WORKERS` prepares a folder, slowly enough to be killed.
"""

from __future__ import annotations

import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from fakestormer.faces.protocol import FaceDetection, FaceLandmarks, FaceRegion
from folder_stores import prepare_folder


def template() -> np.ndarray:
    """81 landmarks of a face that fills the unit square, float32 (81, 2)."""
    half = np.linspace(0, np.pi, 17)
    jaw = np.stack([0.5 - 0.5 * np.cos(half), 0.4 + 0.6 * np.sin(half)], 1)
    brows = [(x, 0.3 - 0.02 * np.sin(x * 9)) for x in (*np.linspace(0.14, 0.42, 5),)]
    brows += [(1 - x, y) for x, y in reversed(brows)]
    nose = [(0.5, y) for y in np.linspace(0.4, 0.6, 4)]
    nose += [(x, 0.64) for x in np.linspace(0.4, 0.6, 5)]
    eye_x = np.array([-0.08, -0.03, 0.03, 0.08, 0.03, -0.03])
    eye_y = np.array([0.4, 0.37, 0.37, 0.4, 0.43, 0.43])
    round_ = np.linspace(np.pi, -np.pi, 13)[:12]
    mouth = np.stack([0.5 + 0.2 * np.cos(round_), 0.8 - 0.07 * np.sin(round_)], 1)
    inner = np.linspace(np.pi, -np.pi, 9)[:8]
    lips = np.stack([0.5 + 0.14 * np.cos(inner), 0.8 - 0.03 * np.sin(inner)], 1)
    top = np.linspace(0, np.pi, 15)[1:-1]
    forehead = np.stack([0.5 - 0.5 * np.cos(top), 0.4 - 0.4 * np.sin(top)], 1)
    eyes = [np.stack([eye_x + centre, eye_y], 1) for centre in (0.3, 0.7)]
    parts = [jaw, brows, nose, *eyes, mouth, lips, forehead]
    return np.concatenate([np.asarray(part) for part in parts]).astype(np.float32)


def draw(
    frames: int, *, size: int = 96, face: float = 0.6, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """A face that drifts: uint8 (T, S, S, 3) and its landmarks, float32 (T, 81, 2)."""
    rng = np.random.default_rng(seed)
    skin, points = rng.integers(150, 240, 3), template()
    grain = rng.integers(0, 40, (size, size, 3))
    pictures, landmarks = [], []
    for t in range(frames):
        corner = np.array(
            [(0.5 - face / 2) * size + 1.5 * np.sin(t / 3 + seed), (0.5 - face / 2) * size]
        )
        placed = corner + points * face * size
        picture = (grain + 20).astype(np.uint8)
        outline = np.concatenate([placed[:17], placed[68:][::-1]]).round().astype(np.int32)
        cv2.fillPoly(picture, [outline], skin.tolist())
        for part in (slice(36, 42), slice(42, 48), slice(48, 60)):
            cv2.fillPoly(picture, [placed[part].round().astype(np.int32)], (skin // 3).tolist())
        pictures.append(picture)
        landmarks.append(placed)
    return np.stack(pictures), np.stack(landmarks).astype(np.float32)


def write_video(path: Path, frames_thwc: np.ndarray) -> None:
    """H.264, nearly lossless."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(25))
        stream.height, stream.width = frames_thwc.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "8", "preset": "ultrafast"}
        for frame in frames_thwc:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


class DrawnFaces:
    """Finds the bright outline of a drawn face and puts the template into its box."""

    name = "drawn"

    def detect(self, rgb_hwc: np.ndarray) -> list[FaceDetection]:
        found = self._face(rgb_hwc)
        if found is None:
            return []
        return [FaceDetection(box_xyxy=found.box_xyxy, score=0.9, region=found.region)]

    def detect_small(
        self, rgb_hwc: np.ndarray, near: FaceRegion | None = None
    ) -> list[FaceDetection]:
        return []

    def detect_filling(self, rgb_hwc: np.ndarray) -> list[FaceDetection]:
        return []

    def landmarks(self, rgb_hwc: np.ndarray, region: FaceRegion) -> FaceLandmarks | None:
        return self._face(rgb_hwc)

    def _face(self, rgb_hwc: np.ndarray) -> FaceLandmarks | None:
        ys, xs = np.nonzero(rgb_hwc.max(axis=2) > 120)
        if len(xs) < 20:
            return None
        x0, y0, x1, y1 = (float(v) for v in (xs.min(), ys.min(), xs.max(), ys.max()))
        points = template() * (x1 - x0, y1 - y0) + (x0, y0)
        region = FaceRegion(cx=(x0 + x1) / 2, cy=(y0 + y1) / 2, side=x1 - x0, roll=0.0)
        return FaceLandmarks(points_k2=points.astype(np.float32), confidence=0.9, region=region)


class SlowDrawnFaces(DrawnFaces):
    """Takes a while for every frame."""

    def landmarks(self, rgb_hwc: np.ndarray, region: FaceRegion) -> FaceLandmarks | None:
        time.sleep(0.02)
        return super().landmarks(rgb_hwc, region)


if __name__ == "__main__":
    prepare_folder(
        Path(sys.argv[1]), Path(sys.argv[2]), backend=SlowDrawnFaces, workers=int(sys.argv[3])
    )
