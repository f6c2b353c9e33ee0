"""f in closed form, for `model.classifier` "surroundings": a linear discriminant on a frozen stem.

    training tracks -> single frames and their pseudo-fakes -> means inside the face and around it
                    -> ridge discriminant -> f's weights

    w = (S + ridge I)^-1 (m1 - m0),   logit = w x - w (m0 + m1) / 2

x: standardised means, m0 and m1 those of real frames and pseudo-fakes, S their covariance within
the classes. Nothing is searched for: the same tracks, seed and ridge give the same weights, in
minutes. Networks trained by gradient descent on such pairs separated pseudo-fakes better and real
swaps no better (docs/experiments.md, 2026-11-29).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from fakestormer.data.loaders import ClipPlan, Key, TrainingClips, synthesise
from fakestormer.data.manifest import Row, tracks_of
from fakestormer.errors import InputError
from fakestormer.evaluation.metrics import auc
from fakestormer.model.backbone import Backbone
from fakestormer.model.efficientnet import EfficientNetStem
from fakestormer.model.fakestormer import FakeSTormer
from fakestormer.model.heads import SurroundingsHead
from fakestormer.model.network import VideoNetwork
from fakestormer.recipe.recipe import Recipe

#: Every so manieth group of tracks is left out, to say how well the fit separates.
_FOLDS = 6
_BATCH = 32
#: Of each track before any is drawn again, with other blending.
_FRAMES = 16


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FittedSurroundings:
    """What was fitted: pairs and tracks used, and the AUC on pairs of tracks left out of a fit."""

    pairs: int
    tracks: int
    left_out_auc: float


def fit_surroundings(
    network: VideoNetwork,
    recipe: Recipe,
    store: Path,
    rows: Sequence[Row],
    *,
    pairs: int,
    ridge: float,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> FittedSurroundings:
    """Set f's weights from pseudo-fakes of the store's real training tracks.

    Args:
        network: whose classifier is "surroundings"; f alone changes.
        recipe: says how pseudo-fakes are made.
        store: a track store.
        rows: its manifest's rows.
        pairs: real frames, each with its pseudo-fake.
        ridge: added to the diagonal of the covariance of standardised means.
        seed: draws frames and blending.
        progress: called with the number of pairs done.

    Returns:
        What it was fitted to.

    Raises:
        InputError: for another kind of network, or too few tracks.
    """
    if not isinstance(network, FakeSTormer) or not isinstance(network.f, SurroundingsHead):
        raise InputError(
            "this model's f is trained, not fitted; fit one made with model.classifier=surroundings"
        )
    training = [row for row in tracks_of(rows, "train") if row.frames >= 1]
    if len({row.group for row in training}) < 2 * _FOLDS:
        raise InputError(f"{store}: has too few training videos to fit f to; prepare more people")
    chosen, clips = _chosen(training, recipe, store, pairs, seed)
    head, means = network.f, _Means(network)
    real, fake, groups = [], [], []
    size, patch = recipe.model.image_size, recipe.model.patch_size
    pair_of = partial(synthesise, config=recipe.synthesis, size=size, patch_size=patch)
    for start in range(0, len(chosen), _BATCH):
        part = chosen[start : start + _BATCH]
        batches = [pair_of(clips[key]) for _, key in part]
        real.append(means(torch.cat([batch.frames[:1] for batch in batches])))
        fake.append(means(torch.cat([batch.frames[1:] for batch in batches])))
        groups += [training[track].group for track, _ in part]
        if progress is not None:
            progress(start + len(part))
    real_nk, fake_nk = np.concatenate(real), np.concatenate(fake)
    left_out_auc = _left_out(real_nk, fake_nk, groups, ridge)
    fitted = discriminant(real_nk, fake_nk, ridge)
    with torch.no_grad():
        head.mean.copy_(torch.from_numpy(fitted.mean))
        head.scale.copy_(torch.from_numpy(fitted.scale))
        head.linear.weight.copy_(torch.from_numpy(fitted.weights)[None])
        head.linear.bias.fill_(fitted.bias)
    tracks = len({track for track, _ in chosen})
    return FittedSurroundings(pairs=len(chosen), tracks=tracks, left_out_auc=left_out_auc)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Discriminant:
    """logit = weights ((x - mean) * scale) + bias; arrays (K,), float64."""

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    weights: NDArray[np.float64]
    bias: float

    def logits(self, x_nk: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, K) -> (N,)."""
        logits_n: NDArray[np.float64] = (x_nk - self.mean) * self.scale @ self.weights + self.bias
        return logits_n


def discriminant(
    real_nk: NDArray[np.float64], fake_nk: NDArray[np.float64], ridge: float
) -> Discriminant:
    """Fisher's linear discriminant of two classes of the same size, with a ridge.

    Args:
        real_nk: (N, K), of real frames.
        fake_nk: (N, K), of their pseudo-fakes.
        ridge: see above.
    """
    both = np.concatenate([real_nk, fake_nk])
    mean, scale = both.mean(axis=0), 1 / (both.std(axis=0) + 1e-6)
    real, fake = (real_nk - mean) * scale, (fake_nk - mean) * scale
    m0, m1 = real.mean(axis=0), fake.mean(axis=0)
    within = np.concatenate([real - m0, fake - m1])
    covariance = within.T @ within / len(within)
    weights = np.linalg.solve(covariance + ridge * np.eye(len(mean)), m1 - m0)
    bias = -float(weights @ (m0 + m1)) / 2
    return Discriminant(mean=mean, scale=scale, weights=weights, bias=bias)


class _Means:
    """Frames uint8 (N, 1, 3, H, W) -> what f sees of them, float64 (N, 2 c)."""

    def __init__(self, network: FakeSTormer) -> None:
        assert isinstance(network.backbone, Backbone)
        assert isinstance(network.backbone.stem, EfficientNetStem)
        assert isinstance(network.f, SurroundingsHead)
        self.network, self.stem, self.head = network.eval(), network.backbone.stem, network.f

    @torch.inference_mode()
    def __call__(self, frames_n1chw: Tensor) -> NDArray[np.float64]:
        frames = frames_n1chw[:, 0].to(next(self.network.parameters()).device)
        _, seen_ncyx = self.stem.both(self.network.normalised(frames))
        means_n1k = self.head.means(rearrange(seen_ncyx, "n c y x -> n 1 c y x"))
        return means_n1k[:, 0].double().cpu().numpy()


def _chosen(
    training: Sequence[Row], recipe: Recipe, store: Path, pairs: int, seed: int
) -> tuple[list[tuple[int, Key]], TrainingClips]:
    """(track, key) of each frame, and the clips that give them.

    Every track gives as many frames, where it has them.
    """
    frames = sum(min(row.frames, _FRAMES) for row in training)
    plan = ClipPlan(
        [row.frames for row in training],
        clip_length=1,
        pairs=1,
        clips_per_track=_FRAMES,
        seed=seed,
        epochs=math.ceil(pairs / frames),
    )
    keys = [
        (track, (epoch, position))
        for epoch in range(plan.epochs)
        for position, track in enumerate(plan.clips(epoch)[:, 0].tolist())
    ]
    # Cutout would black out what is compared.
    uncut = recipe.synthesis.model_copy(update={"cutout_probability": 0.0})
    return keys[:pairs], TrainingClips(store, training, plan, uncut)


def _left_out(
    real_nk: NDArray[np.float64], fake_nk: NDArray[np.float64], groups: Sequence[str], ridge: float
) -> float:
    """AUC on the pairs of every sixth group, fitted to the others."""
    names = sorted(set(groups))
    held = set(names[::_FOLDS])
    held_n = np.array([group in held for group in groups])
    fitted = discriminant(real_nk[~held_n], fake_nk[~held_n], ridge)
    scores = np.concatenate([fitted.logits(real_nk[held_n]), fitted.logits(fake_nk[held_n])])
    return auc(np.repeat([0, 1], int(held_n.sum())), scores)
