"""Made-up reports: drawn faces, drawn scores; no real people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import pytest

from drawn_faces import template
from fakestormer.detection.moment import moment_of
from fakestormer.types import FaceReport, Prediction, Report, Verdict

SHA256 = "3f5a" * 16
WEIGHTS_SHA256 = "9b0c" * 16
FakeFace = Callable[..., FaceReport]
FakeReport = Callable[..., Report]


def drawn_face(rng: np.random.Generator, *, size: int, shift: float) -> np.ndarray:
    """A cartoon head in front of a soft background: uint8 (3, S, S)."""
    y, x = np.mgrid[0:size, 0:size] / size
    picture = np.stack([90 + 60 * x, 110 + 40 * y, 140 - 30 * x], axis=-1)
    centre = (round(size * (0.5 + 0.02 * shift)), round(size * 0.52))

    def oval(at: tuple[int, int], axes: tuple[float, float], colour: tuple[int, int, int]) -> None:
        lengths = (max(1, round(size * axes[0])), max(1, round(size * axes[1])))
        cv2.ellipse(picture, at, lengths, 0, 0, 360, colour, -1, cv2.LINE_8)

    oval((centre[0], centre[1] - size // 10), (0.34, 0.42), (70, 50, 40))
    oval(centre, (0.3, 0.4), (214, 170, 142))
    for side in (-1, 1):
        eye = (centre[0] + round(side * 0.12 * size), centre[1] - round(0.08 * size))
        oval(eye, (0.05, 0.03), (245, 245, 240))
        oval(eye, (0.02, 0.025), (60, 80, 90))
    oval((centre[0], centre[1] + round(0.07 * size)), (0.03, 0.07), (196, 148, 122))
    oval((centre[0], centre[1] + round(0.2 * size)), (0.1, 0.03), (170, 80, 80))
    noise = rng.normal(0.0, 3.0, (size, size, 1))
    picture = cv2.GaussianBlur(picture, (0, 0), size / 160) + noise
    return np.asarray(picture.clip(0, 255).astype(np.uint8)).transpose(2, 0, 1)


@pytest.fixture(scope="session")
def fake_face() -> FakeFace:
    def build(
        place: int = 0,
        *,
        scores: Sequence[float] = (0.12, 0.93, 0.41),
        verdict: Verdict = "likely fake",
        frames: int = 4,
        size: int = 64,
        noise: bool = False,
        grid: int = 14,
        first_second: float = 0.0,
        seconds_apart: float = 1.6,
        warnings: tuple[str, ...] = (),
        branches: tuple[str, ...] = ("h", "g"),
        shots: Sequence[float] | None = None,
        explained: bool = False,
    ) -> FaceReport:
        """place: from 0, where it stands; as Face 1, 2, ... explained: with evidence, a moment."""
        rng = np.random.default_rng(place)
        clips = len(scores)
        starts = first_second + seconds_apart * np.arange(clips)
        seconds = np.asarray(starts[:, None] + np.arange(frames) / 25.0)
        crops = np.zeros((clips, frames, 3, size, size), dtype=np.uint8)
        for c in range(clips):
            for t in range(frames):
                if noise:
                    drawn = rng.integers(0, 256, (3, size, size), dtype=np.uint8)
                    crops[c, t] = np.asarray(drawn)
                else:
                    crops[c, t] = drawn_face(rng, size=size, shift=float(np.sin(c + 0.3 * t)))
        y, x = np.mgrid[0:grid, 0:grid] / (grid - 1)
        ring = np.exp(-((np.hypot(x - 0.5, (y - 0.52) / 1.3) - 0.32) ** 2) / 0.004)
        side = np.exp(-((x - 0.25) ** 2 + (y - 0.7) ** 2) / 0.03)
        change = (
            np.stack(
                [
                    score * 3.0 * (0.5 * ring + side)
                    - 0.5
                    + rng.normal(0, 0.1, (frames, grid, grid))
                    for score in scores
                ]
            ).astype(np.float32)
            if clips
            else np.zeros((0, frames, grid, grid), dtype=np.float32)
        )
        probabilities = np.array(scores, np.float32)
        wobble = np.asarray(rng.normal(0, 0.05, (clips, frames)).astype(np.float32))
        prediction = Prediction(
            probability=float(probabilities.mean()) if clips else 0.0,
            clip_probabilities=probabilities,
            shot_probabilities=np.array(
                ([probabilities.mean()] if clips else [0.0]) if shots is None else shots, np.float32
            ),
            frame_probabilities=np.clip(probabilities[:, None] + wobble, 0.0, 1.0)
            if "g" in branches
            else None,
            derivative=np.asarray(change) if "h" in branches else None,
            evidence=np.asarray(change) if explained else None,
            indices=(seconds * 25).round().astype(np.int64),
            pts_seconds=seconds,
        )
        landmarks = np.broadcast_to(
            (0.2 + 0.6 * template()).astype(np.float32), (clips, frames, 81, 2)
        )
        left = 200.0 + 400.0 * place
        box = np.array([left, 120.0, left + 260.0, 380.0], np.float32)
        return FaceReport(
            number=place + 1,
            verdict=verdict,
            prediction=prediction,
            crops=crops,
            boxes=(
                box + 6.0 * np.linspace(-1, 1, clips)[:, None, None].repeat(frames, axis=1)
            ).astype(np.float32),
            warnings=warnings,
            landmarks=landmarks if explained else None,
            moment=moment_of(prediction, landmarks) if explained else None,
        )

    return build


@pytest.fixture(scope="session")
def fake_report(fake_face: FakeFace) -> FakeReport:
    def build(
        faces: tuple[FaceReport, ...] | None = None,
        *,
        path: str = "/home/somebody/private/interview.mp4",
        verdict: Verdict = "likely fake",
        probability: float | None = 0.871,
        face_number: int | None = 1,
        warnings: tuple[str, ...] = (),
        video: dict[str, Any] | None = None,
        model: dict[str, Any] | None = None,
        settings: dict[str, Any] | None = None,
        sha256: str = SHA256,
    ) -> Report:
        return Report(
            path=path,
            sha256=sha256,
            probability=probability,
            verdict=verdict,
            face_number=face_number,
            faces=(fake_face(),) if faces is None else faces,
            warnings=warnings,
            video=video
            if video is not None
            else {
                "path": path,
                "container": "mp4",
                "codec": "h264",
                "width": 1280,
                "height": 720,
                "rotation": 0,
                "frames_per_second": 25.0,
                "duration_seconds": 12.4,
                "frame_count": 310,
                "pixel_format": "yuv420p",
                "bit_rate": None,
            },
            model=model
            if model is not None
            else {
                "name": "vit-b/16, recipe paper",
                "weights_sha256": WEIGHTS_SHA256,
                "versions": {"fakestormer": "0.1.0", "torch": "2.13.0"},
            },
            settings=settings
            if settings is not None
            else {"sampling": "windows", "frames": 32, "enlarge": 1.25, "threshold": 0.5},
        )

    return build
