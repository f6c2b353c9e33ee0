"""Track stores of drawn faces, for every room's tests: no videos and no face models needed.

`draw_store` writes the tracks of any rows; `make_store` makes the rows too, so many to a split.
`recipe` trains a very small network on them within a second.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fakestormer.data.loaders import ClipBatch, TrainingClips
from fakestormer.data.manifest import Row, Split, StoreSettings, write_manifest, write_settings
from fakestormer.data.store import encode_frame, write_track
from fakestormer.evaluation.plan import FaceChoice, SplitChoice, videos_of
from fakestormer.evaluation.score import Scoring, VideoScore, score_video, store_reader
from fakestormer.model.build import build
from fakestormer.model.fakestormer import build_fakestormer
from fakestormer.model.model_file import save_model
from fakestormer.recipe.faces import CropConfig, TrackingConfig
from fakestormer.recipe.model import ModelConfig
from fakestormer.recipe.prediction import PredictionConfig
from fakestormer.recipe.recipe import Recipe
from fakestormer.recipe.synthesis import SynthesisConfig
from fakestormer.recipe.training import TrainingConfig
from fakestormer.runtimes.engine import Engine
from fakestormer.training.settings import TrainSettings
from fakestormer.types import FaceTrack

if TYPE_CHECKING:
    from fakestormer.training.loop import TrainingResult

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


def _draw_store(folder: Path, rows: Iterable[Row]) -> Path:
    settings = StoreSettings(
        backend="drawn", crop=CROP, tracking=TrackingConfig(), max_frames=256, min_frames=4
    )
    folder.mkdir(parents=True)
    write_settings(folder, settings)
    written = []
    for seed, row in enumerate(rows):
        if row.rejected:
            written.append(row)
            continue
        file = f"tracks/{row.video}.{row.track}.zip"
        pictures, landmarks = _draw(row.frames, seed=seed)
        points = np.asarray(landmarks, np.float32)
        track = FaceTrack(
            number=row.track,
            indices=np.arange(row.frames),
            pts_seconds=np.arange(row.frames) / 25,
            boxes=np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1),
            landmarks=points,
            confidence=np.ones(row.frames, np.float32),
        )
        write_track(
            folder / file,
            track,
            pngs=[encode_frame(picture) for picture in pictures],
            squares_t3=np.full((row.frames, 3), [31.5, 31.5, 64.0], np.float32),
            landmarks_tk2=points,
        )
        written.append(dataclasses.replace(row, file=file))
    write_manifest(folder, written)
    return folder


@pytest.fixture(scope="session")
def draw_store() -> Callable[[Path, Iterable[Row]], Path]:
    """draw_store(folder, rows): a store of exactly these rows; each usable one gets a drawn track.

    Rows need video, track, frames and split; `file` is filled in.
    """
    return _draw_store


@pytest.fixture(scope="session")
def make_store() -> Callable[..., Path]:
    """make_store(folder, train=3, validation=2, test=0, frames=9): a store of drawn faces.

    fakes={"test": {"Deepfakes": 2}} adds fake videos, by split and method.
    """

    def make(
        folder: Path,
        *,
        frames: int = 9,
        fakes: Mapping[Split, Mapping[str, int]] | None = None,
        **splits: int,
    ) -> Path:
        named = [
            (f"{split}_{number}.mp4", split, "real", "")
            for split, count in splits.items()
            for number in range(count)
        ]
        named += [
            (f"fake/{method}/{split}_{number}.mp4", split, "fake", method)
            for split, methods in (fakes or {}).items()
            for method, count in methods.items()
            for number in range(count)
        ]
        rows = [
            Row(video=video, sha256=hashlib.sha256(f"{folder}/{video}".encode()).hexdigest(),
                label=label, method=method, source=split, group=video, split=split, track=0,
                first_frame=0, frames=frames)
            for video, split, label, method in named
        ]  # fmt: skip
        return _draw_store(folder, rows)

    return make


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


@pytest.fixture(scope="session")
def drawn_model(tmp_path_factory: pytest.TempPathFactory, recipe: Recipe) -> Path:
    """Folder of an untrained model that takes the faces of drawn stores: it tells them apart."""
    torch.manual_seed(0)
    network = build_fakestormer(recipe.model)
    for block in network.backbone.blocks:  # as built they end in zeros: nothing is heard of time
        nn.init.normal_(block.temporal_linear.weight, std=0.5)
    network.f.linear.weight.data.mul_(40)
    folder = tmp_path_factory.mktemp("drawn") / "model"
    save_model(
        folder, network, recipe.model_dump(mode="json"), {"validation": {}}, face_backend="drawn"
    )
    return folder


def train_here(recipe: Recipe, store: Path, out: Path, **options: Any) -> TrainingResult:
    """A training in this process, on the CPU; options: of `TrainSettings`."""
    from fakestormer.training.loop import train

    quiet = {"accelerator": "cpu", "workers": 0, "show_progress": False}
    return train(recipe, store, out, TrainSettings(**(quiet | options)))


def whole_batch(clips: TrainingClips, step: int) -> ClipBatch:
    """The clips of a step as one batch, which the program makes pairs of one by one."""
    batches = [clips[key] for key in clips.plan.keys(step)]
    donors = [b.frames if b.donors is None else b.donors for b in batches]
    return ClipBatch(
        frames=torch.cat([batch.frames for batch in batches]),
        landmarks=torch.cat([batch.landmarks for batch in batches]),
        params=tuple(params for batch in batches for params in batch.params),
        sources=tuple(source for batch in batches for source in batch.sources),
        donors=torch.cat(donors) if any(b.donors is not None for b in batches) else None,
    )


def write_image_model(recipe: Recipe, path: Path) -> Path:
    """A ViT in timm's layout, with random weights, that fits the recipe's network."""
    torch.manual_seed(1)
    own = build(recipe.model).state_dict()
    pick = "backbone."
    tensors = {
        "cls_token": own[pick + "embedding.spatial_token"],
        "pos_embed": own[pick + "embedding.position"],
        "patch_embed.proj.weight": own[pick + "stem.proj.weight"],
        "patch_embed.proj.bias": own[pick + "stem.proj.bias"],
        "norm.weight": own[pick + "patch_norm.weight"],
        "norm.bias": own[pick + "patch_norm.bias"],
    }
    names = {
        "norm1": "spatial_norm",
        "attn.qkv": "spatial_attention.qkv",
        "attn.proj": "spatial_attention.proj",
        "norm2": "mlp_norm",
        "mlp.fc1": "mlp.fc1",
        "mlp.fc2": "mlp.fc2",
    }
    for block in range(recipe.model.depth):
        for theirs, ours in names.items():
            for kind in ("weight", "bias"):
                tensor = own[f"{pick}blocks.{block}.{ours}.{kind}"]
                tensors[f"blocks.{block}.{theirs}.{kind}"] = tensor
    position = tensors["pos_embed"]
    tensors["pos_embed"] = position.reshape(1, -1, position.shape[-1])
    tensors["cls_token"] = tensors["cls_token"].reshape(1, 1, -1)
    save_file({name: tensor.clone().contiguous() for name, tensor in tensors.items()}, path)
    return path


def score_store(
    engine: Engine,
    prediction: PredictionConfig,
    crop: CropConfig,
    store: Path,
    *,
    split: SplitChoice = "test",
    face: FaceChoice = "largest",
) -> list[VideoScore]:
    """Every video of a split scored in this process; its data set is called "data"."""
    scoring = Scoring(engine=engine, predictions={"it": prediction}, face=face)
    return [
        score_video(scoring, rows, store_reader(store), data="data")["it"]
        for _, rows in videos_of(store, crop, split)
    ]
