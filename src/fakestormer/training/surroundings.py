"""f in closed form, `model.classifier` "surroundings": a linear discriminant on ImageNet's layers.

    training tracks -> single frames and their pseudo-fakes -> means inside the face and around it
                    -> ridge discriminant -> f's weights, in the place of the f that was trained

    w = (S + ridge I)^-1 (m1 - m0),   logit = w x - w (m0 + m1) / 2

x: standardised means within `SurroundingsHead.LIMIT`, m0 and m1 those of real frames and
pseudo-fakes, S their covariance within the classes. Real frames of the people that a fit without
them takes for fake most weigh more. Nothing is searched for: the same tracks, seed and ridge give
the same weights, in minutes. Networks trained by gradient descent on such pairs separated
pseudo-fakes better and real swaps no better (docs/experiments.md, 2026-11-29).
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
from fakestormer.model.build import build
from fakestormer.model.efficientnet import load_published
from fakestormer.model.fakestormer import FakeSTormer
from fakestormer.model.heads import SurroundingsHead
from fakestormer.model.network import VideoNetwork
from fakestormer.recipe.recipe import Recipe, override

Array = NDArray[np.float64]

#: Parts of the groups of tracks; each is judged by a fit to the others.
_FOLDS = 6
#: The share of groups left out whose distance from the training frames counts as usual.
_FAMILIAR = 0.99
_BATCH = 32
#: Frames that go through ImageNet's layers at once: what they give of 32 fits in no CPU's cache.
_AT_ONCE = 8
#: Parameters of an f that was trained, or fitted before.
_FITTED = ("f.", "reference.")
#: The share of groups whose real frames look most like fakes, and how often each of them counts.
_HARD, _HARD_WEIGHT = 0.1, 4.0
#: Of each track before any is drawn again, with other blending.
_FRAMES = 16


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FittedSurroundings:
    """Pairs and tracks used, and the AUC on all pairs, each by a fit without its group."""

    pairs: int
    tracks: int
    left_out_auc: float


def with_surroundings(network: VideoNetwork, recipe: Recipe) -> tuple[FakeSTormer, Recipe]:
    """The network with an f to be fitted in the place of its own, and the recipe that says so.

    Raises InputError for another architecture or size of patches; SetupError where ImageNet's
    weights are not installed.
    """
    try:
        changed = override(recipe, ["model.classifier=surroundings"])
    except ValueError as error:
        raise InputError(f"this model has no f that could be fitted: {error}") from error
    fitted = build(changed.model)
    assert isinstance(fitted, FakeSTormer)
    assert fitted.reference is not None
    load_published(fitted.reference)
    state = {n: t for n, t in network.state_dict().items() if not n.startswith(_FITTED)}
    missing = fitted.load_state_dict(state, strict=False)
    assert not missing.unexpected_keys
    assert all(name.startswith(_FITTED) for name in missing.missing_keys)
    return fitted, changed


def fit_surroundings(
    network: FakeSTormer,
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
        network: of `with_surroundings`; f alone changes.
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
        InputError: for too few tracks.
    """
    training = [row for row in tracks_of(rows, "train") if row.frames >= 1]
    if len({row.group for row in training}) < 2 * _FOLDS:
        raise InputError(f"{store}: has too few training videos to fit f to; prepare more people")
    chosen, clips = _chosen(training, recipe, store, pairs, seed)
    means = _Means(network)
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
    others = _left_out(real_nk, fake_nk, groups, ridge)
    fitted = discriminant(real_nk, fake_nk, ridge, real_weights_n=others.weights_n)
    _set(means.head, fitted, others.limit)
    tracks = len({track for track, _ in chosen})
    return FittedSurroundings(pairs=len(chosen), tracks=tracks, left_out_auc=others.auc)


@torch.no_grad()
def _set(head: SurroundingsHead, fitted: Discriminant, limit: float) -> None:
    """limit: of distances, which the head gives in units of it."""
    head.mean.copy_(torch.from_numpy(fitted.mean))
    head.scale.copy_(torch.from_numpy(fitted.scale))
    head.centres.copy_(torch.from_numpy(fitted.centres))
    head.axes.copy_(torch.from_numpy(fitted.axes))
    head.along.copy_(torch.from_numpy(fitted.along / limit))
    head.elsewhere.fill_(fitted.elsewhere / limit)
    head.linear.weight.copy_(torch.from_numpy(fitted.weights)[None])
    head.linear.bias.fill_(fitted.bias)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Discriminant:
    """logit = weights z + bias, z = (x - mean) * scale, within +-limit; float64.

    mean, scale, weights: (K,). centres: (2, K), m0 and m1. (S + ridge I)^-1 is about
    elsewhere I + axes' diag(along) axes. axes: (A, K), those of the largest variance; exact where A
    is K. along: (A,).
    """

    mean: Array
    scale: Array
    centres: Array
    axes: Array
    along: Array
    elsewhere: float
    weights: Array
    bias: float
    limit: float

    def logits(self, x_nk: Array) -> Array:
        """(N, K) -> (N,)."""
        z_nk = ((x_nk - self.mean) * self.scale).clip(-self.limit, self.limit)
        logits_n: Array = z_nk @ self.weights + self.bias
        return logits_n

    def distances(self, x_nk: Array) -> Array:
        """(N, K) -> (N,), squared Mahalanobis distance to the nearer class."""
        from_n2k = ((x_nk - self.mean) * self.scale)[:, None] - self.centres
        along_n2 = (from_n2k @ self.axes.T) ** 2 @ self.along
        squared_n2: Array = along_n2 + self.elsewhere * np.sum(from_n2k**2, axis=2)
        nearest_n: Array = squared_n2.min(axis=1)
        return nearest_n


def discriminant(
    real_nk: Array,
    fake_nk: Array,
    ridge: float,
    *,
    real_weights_n: Array | None = None,
    limit: float = SurroundingsHead.LIMIT,
) -> Discriminant:
    """Fisher's linear discriminant of two classes of the same size, with a ridge.

    Args:
        real_nk: (N, K), of real frames.
        fake_nk: (N, K), of their pseudo-fakes.
        ridge: see above.
        real_weights_n: how much each real frame counts; None is all alike.
        limit: of standardised values.
    """
    both = np.concatenate([real_nk, fake_nk])
    mean, scale = both.mean(axis=0), 1 / (both.std(axis=0) + 1e-6)
    real, fake = (((x - mean) * scale).clip(-limit, limit) for x in (real_nk, fake_nk))
    counts_n = np.ones(len(real)) if real_weights_n is None else real_weights_n
    m0, m1 = counts_n @ real / counts_n.sum(), fake.mean(axis=0)
    covariance_real = (counts_n * (real - m0).T) @ (real - m0) / counts_n.sum()
    covariance_fake = (fake - m1).T @ (fake - m1) / len(fake)
    covariance = (covariance_real + covariance_fake) / 2
    variances, axes = np.linalg.eigh(covariance)
    largest_first = np.argsort(-variances)
    precisions, axes = 1 / (variances[largest_first] + ridge), axes.T[largest_first]
    weights = axes.T @ (precisions * (axes @ (m1 - m0)))
    kept, rest = np.split(precisions, [SurroundingsHead.AXES])
    elsewhere = float(rest.mean()) if len(rest) else 0.0
    return Discriminant(
        mean=mean,
        scale=scale,
        centres=np.stack([m0, m1]),
        axes=axes[: SurroundingsHead.AXES],
        along=kept - elsewhere,
        elsewhere=elsewhere,
        weights=weights,
        bias=-float(weights @ (m0 + m1)) / 2,
        limit=limit,
    )


class _Means:
    """Frames uint8 (N, 1, 3, H, W) -> what f sees of them, float64 (N, K)."""

    def __init__(self, network: FakeSTormer) -> None:
        assert isinstance(network.f, SurroundingsHead)
        assert network.reference is not None
        self.network, self.reference, self.head = network.eval(), network.reference, network.f

    @torch.inference_mode()
    def __call__(self, frames_n1chw: Tensor) -> Array:
        frames = frames_n1chw[:, 0].to(next(self.network.parameters()).device)
        few_nk = []
        for start in range(0, len(frames), _AT_ONCE):
            few_nchw = self.network.normalised(frames[start : start + _AT_ONCE])
            seen_ncyx = self.reference(few_nchw)
            few_nk.append(self.head.means(rearrange(seen_ncyx, "n c y x -> n 1 c y x"))[:, 0])
        return torch.cat(few_nk).double().cpu().numpy()


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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _LeftOut:
    """What fits without a group say of it.

    auc: of all pairs. limit: what the mean distances of 99 % of the groups stay under, real or
    pseudo-fake. weights_n: of the real frames.
    """

    auc: float
    limit: float
    weights_n: Array


def _left_out(real_nk: Array, fake_nk: Array, groups: Sequence[str], ridge: float) -> _LeftOut:
    """Each group by a fit to the groups of other folds."""
    names, number_n = np.unique(groups, return_inverse=True)
    logits_2n, distances = np.empty((2, len(real_nk))), []
    for fold in range(_FOLDS):
        held_n = number_n % _FOLDS == fold
        fitted = discriminant(real_nk[~held_n], fake_nk[~held_n], ridge)
        for kind, x_nk in enumerate((real_nk, fake_nk)):
            logits_2n[kind, held_n] = fitted.logits(x_nk[held_n])
            distance_n = fitted.distances(x_nk[held_n])
            distances += [
                distance_n[number_n[held_n] == number].mean()
                for number in range(fold, len(names), _FOLDS)
            ]
    mean_logits = np.bincount(number_n, logits_2n[0]) / np.bincount(number_n)
    hard = mean_logits >= np.quantile(mean_logits, 1 - _HARD)
    return _LeftOut(
        auc=auc(np.repeat([0, 1], len(real_nk)), logits_2n.ravel()),
        limit=float(np.quantile(distances, _FAMILIAR)),
        weights_n=np.where(hard[number_n], _HARD_WEIGHT, 1.0),
    )
