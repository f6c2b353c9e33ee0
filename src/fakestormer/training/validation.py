"""The frozen validation set: held-out real videos and their pseudo-fakes, made once from a seed.

It is what a model is chosen by, so it holds nothing of the training videos, nothing of any test
set, and the same clips every time it is built. One draw of the synthesis per track makes one
pseudo-fake *video*, like a real manipulation that stays the same throughout. Cutout belongs to
training and is left out; all else is the recipe's synthesis.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fakestormer.data.donors import Donors
from fakestormer.data.loaders import join_pairs, one_clip, synthesise, with_donor
from fakestormer.data.manifest import Row
from fakestormer.data.store import read_clip
from fakestormer.detection.prediction import network_input, pool
from fakestormer.errors import InputError, TrainingError
from fakestormer.evaluation.metrics import auc
from fakestormer.faces.clips import sample_clips
from fakestormer.model.network import VideoNetwork
from fakestormer.recipe.model import ModelConfig
from fakestormer.recipe.synthesis import SynthesisConfig
from fakestormer.synthesis.params import sample
from fakestormer.types import Clip

#: So many held-out tracks give an example for people to look at.
EXAMPLES = 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Example:
    """A pseudo-fake of the set beside its real clip. source: names the clip. real, fake: their
    places in the set. derivative: float32 (T, G, G), D^ of the pseudo-fake. soft_labels: float32
    (T,), its p(t)."""

    source: str
    real: int
    fake: int
    derivative: Tensor
    soft_labels: Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ValidationSet:
    """frames: uint8 (M, T, 3, H, W), clips. video: int64 (M,), which video a clip is of (real and
    pseudo-fake count apart). label: float32 (M,), 1 = fake. fingerprint: SHA-256 of all of it.
    examples: of tracks spread over the set; none in a set of fake videos, which have no targets."""

    frames: Tensor
    video: Tensor
    label: Tensor
    fingerprint: str
    examples: tuple[Example, ...] = ()


def build_validation_set(
    store: Path,
    rows: Sequence[Row],
    *,
    synthesis: SynthesisConfig,
    model: ModelConfig,
    clips_per_track: int,
    seed: int,
) -> ValidationSet:
    """Clips spread over every held-out real track, and their pseudo-fakes.

    Faces that are blended in are of held-out tracks, too; where there is one group alone, its own.
    Raises InputError without rows, or when one of them is not of the validation split.
    """
    _check_held_out(store, rows)
    config = synthesis.model_copy(update={"cutout_probability": 0.0})
    if len({row.group for row in rows}) == 1:
        config = config.without_donors()  # nobody is there to give
    donors = Donors(store, rows, candidates=config.beyond.donor_candidates)
    frames: list[Tensor] = []
    video, label = [], []
    examples: list[Example] = []
    shown = {int(place) for place in np.linspace(0, len(rows) - 1, min(EXAMPLES, len(rows)))}
    for number, row in enumerate(rows):
        params = sample(_rng(seed, row), config, clip_length=model.frames)
        pairs = join_pairs(
            [
                synthesise(
                    with_donor(one_clip(clip, params), donors, row, clip),
                    config,
                    size=model.image_size,
                    patch_size=model.patch_size,
                )
                for clip in _spread(store, row, model, clips_per_track)
            ]
        )
        count = len(pairs.sources)
        if number in shown:
            first = sum(len(earlier) for earlier in frames)
            examples.append(
                Example(
                    source=pairs.sources[0],
                    real=first,
                    fake=first + count,
                    derivative=pairs.targets.derivative[count],
                    soft_labels=pairs.targets.soft_labels[count],
                )
            )
        frames.append(pairs.frames)
        label.append(pairs.targets.label)
        video.append(torch.tensor([2 * number] * count + [2 * number + 1] * count))
    return _frozen(frames, video, label, tuple(examples))


def videos_validation_set(
    store: Path,
    rows: Sequence[Row],
    *,
    margin: float,
    model: ModelConfig,
    clips_per_track: int,
) -> ValidationSet:
    """Clips spread over every held-out track, real or fake by its label, as detection crops them.

    For binary classifiers that train on fake videos. margin: px of a 256 px crop. Raises InputError
    without both kinds, or when a row is not of the validation split.
    """
    _check_held_out(store, rows)
    if {row.label for row in rows} != {"real", "fake"}:
        raise InputError(
            f"{store}: training on fake videos needs real and fake ones held out for validation; "
            "prepare again with a split column in the table, or a fraction held out"
        )
    frames, video, label = [], [], []
    for number, row in enumerate(rows):
        clips = _spread(store, row, model, clips_per_track)
        frames += [
            torch.from_numpy(network_input(clip.frames, margin=margin, size=model.image_size))[None]
            for clip in clips
        ]
        video.append(torch.full((len(clips),), number))
        label.append(torch.full((len(clips),), float(row.label == "fake")))
    return _frozen(frames, video, label)


def _spread(store: Path, row: Row, model: ModelConfig, count: int) -> list[Clip]:
    """`count` clips of a track, spread evenly, or as many as it can fill."""
    positions_ct = sample_clips("windows", row.frames, model.frames, frames=count * model.frames)
    return [
        read_clip(store / row.file, positions, video=row.video, number=row.track)
        for positions in positions_ct
    ]


def _check_held_out(store: Path, rows: Sequence[Row]) -> None:
    for row in rows:
        if row.split != "validation":
            raise InputError(
                f"{row.video}: belongs to the split {row.split!r}; a model is chosen on held-out "
                "validation videos only, never on training or test videos"
            )
    if not rows:
        raise InputError(
            f"{store}: no held-out videos to choose a model by; run prepare again with a source or "
            "a fraction held out for validation (finished videos are not done again)"
        )


def _frozen(
    frames: list[Tensor],
    video: list[Tensor],
    label: list[Tensor],
    examples: tuple[Example, ...] = (),
) -> ValidationSet:
    together = torch.cat(frames)
    digest = hashlib.sha256(together.numpy().data)
    digest.update(torch.cat(video).numpy().data)
    return ValidationSet(
        frames=together,
        video=torch.cat(video),
        label=torch.cat(label),
        fingerprint=digest.hexdigest(),
        examples=examples,
    )


def _rng(seed: int, row: Row) -> np.random.Generator:
    """Keyed by the track's name, so that more videos do not change those already there."""
    name = hashlib.sha256(f"{row.video}#{row.track}".encode()).digest()[:8]
    return np.random.default_rng(
        np.random.SeedSequence(seed, spawn_key=(2, int.from_bytes(name, "big")))
    )


@contextmanager
def judging(network: VideoNetwork) -> Iterator[None]:
    """Within: evaluation mode. After: the mode that it was in."""
    was_training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(was_training)


@torch.inference_mode()
def validate(
    network: VideoNetwork,
    validation: ValidationSet,
    *,
    batch_size: int,
    pooling: Literal["probability", "logit"],
    forward_context: AbstractContextManager[object] | None = None,
) -> dict[str, float]:
    """`auc_video`: of each video's score, its clips pooled as detection pools them (`pooling`).
    `auc_clip`: of single clips, another and usually lower number. `classification_loss`: mean
    cross-entropy of f's logits.

    All clips count, whatever `batch_size`. The network's mode is put back as it was. Raises
    TrainingError when a logit is not finite.
    """
    device = next(network.parameters()).device
    with judging(network), forward_context or nullcontext():
        logits = [
            network(frames.to(device)).logit.float().cpu()
            for frames in torch.split(validation.frames, batch_size)
        ]
    logit = torch.cat(logits)
    if not bool(torch.isfinite(logit).all()):
        raise TrainingError(
            "validation: the network gives logits that are not finite; lower "
            "training.learning_rate, or set training.gradient_clip"
        )
    videos = range(int(validation.video.max()) + 1)
    scores = [pool(logit[validation.video == video].numpy(), pooling) for video in videos]
    is_fake = [float(validation.label[validation.video == video][0]) for video in videos]
    loss = F.binary_cross_entropy_with_logits(logit, validation.label)
    return {
        "auc_video": auc(is_fake, scores),
        "auc_clip": auc(validation.label.numpy(), logit.double().sigmoid().numpy()),
        "classification_loss": float(loss),
    }
