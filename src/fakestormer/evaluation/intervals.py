"""Every fake against every real video, by sorting: what the AUC's intervals are made of.

A table of all pairs would be 200 MB at 5,000 x 5,000 videos. Everything here counts half wins,
whole numbers, so that sums are exact and models that rank alike differ by exactly nothing.
"""

from __future__ import annotations

import numpy as np


def half_wins(real_n: np.ndarray, fake_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How often each fake stands above a real one, and each real one below a fake; ties count half.

    real_n: (N,), fake_m: (M,). Returns int64 (M,) out of 2 N and int64 (N,) out of 2 M: a win
    counts 2, a tie 1. Divided, they are DeLong's structural components (Sun & Xu 2014).
    # real [0.1, 0.4], fake [0.4, 0.9] -> [3, 4] of 4, [4, 3] of 4
    """
    real, fake = np.sort(real_n), np.sort(fake_m)
    of_fake = np.searchsorted(real, fake_m, "left") + np.searchsorted(real, fake_m, "right")
    of_real = np.searchsorted(fake, real_n, "left") + np.searchsorted(fake, real_n, "right")
    return of_fake, 2 * len(fake) - of_real


def resampled_aucs(
    real_n: np.ndarray, fake_m: np.ndarray, *, resamples: int, seed: int
) -> np.ndarray:
    """AUCs on `resamples` bootstrap draws of the videos, each of N real and M fake: float64."""
    real_count, fake_count = len(real_n), len(fake_m)
    rng = np.random.default_rng(seed)
    drawn_fake = rng.multinomial(fake_count, np.full(fake_count, 1 / fake_count), resamples)
    order = np.argsort(real_n)
    low, high = (np.searchsorted(real_n[order], fake_m, side) for side in ("left", "right"))
    halves = np.empty(resamples, np.int64)
    for start in range(0, resamples, _AT_ONCE):
        part = drawn_fake[start : start + _AT_ONCE]
        drawn_real = rng.multinomial(real_count, np.full(real_count, 1 / real_count), len(part))
        # One column more than videos: how many drawn real ones stand before each place.
        before = np.zeros((len(part), real_count + 1), np.int64)
        np.cumsum(drawn_real[:, order], axis=1, out=before[:, 1:])
        won = before[:, low] + before[:, high]
        halves[start : start + _AT_ONCE] = (won * part).sum(axis=1)
    aucs: np.ndarray = halves / (2 * real_count * fake_count)
    return aucs


#: Draws worked on together: bounds the memory, leaves the numbers as they are.
_AT_ONCE = 64
