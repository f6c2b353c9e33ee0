"""How often the landmark interpolation of eq. 1 does anything on a store's tracks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fakestormer.data.manifest import Row, read_settings
from fakestormer.data.store import read_landmarks
from fakestormer.recipe.synthesis import REFERENCE_SIZE


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpolation:
    """pairs: of neighbouring frames. moved: of those with d > tau, whose landmarks eq. 1 moves.
    median: of d, pixels of a 256 px crop. tau: the recipe's.
    """

    pairs: int
    moved: int
    median: float
    tau: float

    def __str__(self) -> str:
        """`eq. 1 moves the landmarks of 12 of 752 frame pairs (1.6 %; median d 0.10, tau 0.35)`."""
        share = 100 * self.moved / max(self.pairs, 1)
        return (
            f"eq. 1 moves the landmarks of {self.moved} of {self.pairs} frame pairs ({share:.1f} "
            f"%; median d {self.median:.2f}, tau {self.tau:g})"
        )


def interpolation_in(store: Path, rows: Iterable[Row], tau: float) -> Interpolation:
    """How often d > tau between neighbouring frames of these tracks of a store.

    Raises InputError for a track file that is missing or damaged.
    """
    scale = REFERENCE_SIZE / read_settings(store).crop.stored_size
    distances = [np.empty(0)]
    for row in rows:
        landmarks_tk2 = read_landmarks(store / row.file) * scale
        steps_tk2 = np.diff(landmarks_tk2, axis=0)
        distances.append(np.linalg.norm(steps_tk2, axis=(1, 2)) / landmarks_tk2.shape[1])
    d = np.concatenate(distances)
    return Interpolation(
        pairs=len(d),
        moved=int((d > tau).sum()),
        median=float(np.median(d)) if len(d) else 0.0,
        tau=tau,
    )
