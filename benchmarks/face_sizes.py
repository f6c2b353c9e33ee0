"""Which faces are found, by their size and the frame's, and what looking closer costs.

    python benchmarks/face_sizes.py [--places 6]

scikit-image's portrait, resized so that its face has the size named, lies at places drawn at random
(corners included) on scikit-image's photograph of a coffee table, which has no face. Before: the
whole frame alone is searched. After: where that finds nobody, it is looked at more closely. A face
counts as found where a detection with a score of 0.6, the tracker's threshold, overlaps it by half.
Milliseconds per detection, median, one thread: with the face, and with an empty frame.
"""

from __future__ import annotations

import argparse
import statistics
import time

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data

from fakestormer.faces.blazeface import BlazeFace
from fakestormer.faces.protocol import FaceDetection

FRAMES = {"720p": (720, 1280), "1080p": (1080, 1920), "4K": (2160, 3840)}
SIZES = (48, 64, 80, 96, 128, 160, 192, 256)
# The face of the portrait, by eye: left, top, right, bottom; forehead to chin.
FACE = np.array([176, 66, 272, 180])
SCORE, OVERLAP = 0.6, 0.5


def frames(
    height: int, width: int, size: int, places: int
) -> list[tuple[NDArray[np.uint8], NDArray[np.float64]]]:
    """Frames with a face of that height, and the box of each."""
    rng = np.random.default_rng(size)
    scale = size / (FACE[3] - FACE[1])
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    portrait = cv2.resize(data.astronaut(), None, fx=scale, fy=scale, interpolation=way)
    portrait = portrait[: min(len(portrait), height), : min(portrait.shape[1], width)]
    high, wide = portrait.shape[:2]
    found = []
    for place in range(places):
        frame = empty(height, width)
        y, x = (int(rng.integers(0, free + 1)) for free in (height - high, width - wide))
        if place < 2:  # the corners at the left
            y, x = (0, height - high)[place], 0
        frame[y : y + high, x : x + wide] = portrait
        found.append((frame, FACE * scale + np.array([x, y, x, y])))
    return found


def empty(height: int, width: int) -> NDArray[np.uint8]:
    """A frame without a face."""
    return np.asarray(cv2.resize(data.coffee(), (width, height)), np.uint8)


def before(backend: BlazeFace, frame: NDArray[np.uint8]) -> list[FaceDetection]:
    return [face for face in backend.detect(frame) if face.score >= SCORE]


def after(backend: BlazeFace, frame: NDArray[np.uint8]) -> list[FaceDetection]:
    looked = before(backend, frame) or backend.detect_closely(frame)
    return [face for face in looked if face.score >= SCORE]


def is_found(faces: list[FaceDetection], box: NDArray[np.float64]) -> bool:
    """Whether one of the detections is that face."""
    for face in faces:
        low = np.maximum(face.box_xyxy[:2], box[:2])
        high = np.minimum(face.box_xyxy[2:], box[2:])
        shared = float(np.prod(np.maximum(high - low, 0.0)))
        areas = [float(np.prod(b[2:] - b[:2])) for b in (face.box_xyxy, box)]
        if shared / (sum(areas) - shared) >= OVERLAP:
            return True
    return False


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--places", type=int, default=6, help="frames of each kind")
    places = parser.parse_args().places
    backend = BlazeFace()
    print("| frame | | " + " | ".join(f"{size} px" for size in SIZES) + " | ms, face | ms, none |")
    print("| --- " * (len(SIZES) + 4) + "|")
    for name, (height, width) in FRAMES.items():
        for way in (before, after):
            recalls, spent = [], []
            for size in SIZES:
                hits = 0
                for frame, box in frames(height, width, size, places):
                    began = time.thread_time()
                    faces = way(backend, frame)
                    spent.append(1000 * (time.thread_time() - began))
                    hits += is_found(faces, box)
                recalls.append(hits / places)
            nothing = []
            for _ in range(places):
                frame = empty(height, width)
                began = time.thread_time()
                way(backend, frame)
                nothing.append(1000 * (time.thread_time() - began))
            cells = [f"{recall:.2f}" for recall in recalls]
            cells += [f"{statistics.median(times):.1f}" for times in (spent, nothing)]
            print(f"| {name} | {way.__name__} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
