from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from fakestormer.data.manifest import Row, StoreSettings, write_manifest, write_settings
from fakestormer.data.store import encode_frame, write_track
from fakestormer.model.config import ModelConfig
from fakestormer.recipes import Recipe
from fakestormer.synthesis.config import SynthesisConfig
from fakestormer.training.config import TrainingConfig
from fakestormer.types import FaceTrack
from fakestormer.video.crop import CropConfig
from fakestormer.video.tracking import TrackingConfig

SIDE = 64
CROP = CropConfig(stored_size=SIDE)


def _landmarks() -> np.ndarray:
    """81 made-up landmarks within the crop: rings and rows where a face has its parts."""

    def arc(count: int, x: float, y: float, rx: float, ry: float, start: float, end: float) -> list:
        angles = np.linspace(start, end, count) * np.pi
        return [(x + rx * np.cos(a), y + ry * np.sin(a)) for a in angles]

    points = arc(17, 32, 28, 22, 28, 1, 0)  # jaw
    points += arc(5, 21, 22, 8, 3, 1, 2) + arc(5, 43, 22, 8, 3, 1, 2)  # brows
    points += [(32, y) for y in (27, 31, 35, 39)] + [(x, 42) for x in (28, 30, 32, 34, 36)]
    points += arc(6, 21, 28, 5, 2, 1, -0.66) + arc(6, 43, 28, 5, 2, 1, -0.66)
    points += arc(12, 32, 48, 10, 4, 1, -0.83) + arc(8, 32, 48, 7, 2, 1, -0.75)
    points += arc(13, 32, 24, 21, 18, 1.05, 1.95)  # forehead
    return np.asarray(points, np.float32)


def _draw(frames: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    skin, grain = rng.integers(140, 230, 3), rng.integers(0, 60, (SIDE, SIDE, 3))
    pictures, landmarks = [], []
    for t in range(frames):
        points = _landmarks() + np.float32((np.sin(t / 2 + seed), np.cos(t / 3)))
        picture = grain.astype(np.uint8)
        cv2.fillConvexPoly(picture, cv2.convexHull(points.astype(np.int32)), skin.tolist())
        cv2.fillConvexPoly(picture, points[48:60].astype(np.int32), (skin // 2).tolist())
        pictures.append(picture)
        landmarks.append(points)
    return np.stack(pictures), np.stack(landmarks)


@pytest.fixture(scope="session")
def make_store() -> Callable[..., Path]:
    """make_store(folder, train=3, validation=2, test=0, frames=9): a store of drawn faces."""

    def make(folder: Path, *, frames: int = 9, **splits: int) -> Path:
        settings = StoreSettings(
            backend="drawn", crop=CROP, tracking=TrackingConfig(), max_frames=256, min_frames=4
        )
        folder.mkdir(parents=True)
        write_settings(folder, settings)
        rows = []
        for split, count in splits.items():
            for number in range(count):
                video = f"{split}_{number}.mp4"
                pictures, landmarks = _draw(frames, seed=len(rows))
                points = torch.from_numpy(landmarks)
                track = FaceTrack(
                    number=0,
                    indices=torch.arange(frames),
                    pts_seconds=torch.arange(frames, dtype=torch.float64) / 25,
                    boxes=torch.cat([points.amin(1), points.amax(1)], dim=1),
                    landmarks=points,
                    confidence=torch.ones(frames),
                )
                write_track(
                    folder / f"tracks/{video}.0.zip",
                    track,
                    pngs=[encode_frame(picture) for picture in pictures],
                    squares_t3=torch.tensor([[31.5, 31.5, 64.0]]).expand(frames, 3).contiguous(),
                    landmarks_tk2=points,
                )
                rows.append(
                    Row(video=video, sha256="0" * 64, source=split, group=video, split=split,
                        track=0, file=f"tracks/{video}.0.zip", first_frame=0, frames=frames)
                )  # fmt: skip
        write_manifest(folder, rows)
        return folder

    return make


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory, make_store: Callable[..., Path]) -> Path:
    return make_store(tmp_path_factory.mktemp("drawn") / "store", train=4, validation=2)


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    """Two epochs of a network of two small blocks, with everything that draws at random on."""
    return Recipe(
        name="test",
        crop=CROP,
        synthesis=SynthesisConfig(),
        model=ModelConfig(
            image_size=32, patch_size=8, width=48, depth=2, heads=3, drop_path=0.2, frames=4
        ),
        training=TrainingConfig(
            epochs=2, batch_size=4, learning_rate=1e-3, freeze_epochs=0, validation_clips=2, seed=3
        ),
    )
