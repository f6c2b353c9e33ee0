"""Whose face is blended into a clip when it is not the clip's own: a seed -> a donor's clip."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fakestormer.data.manifest import Row
from fakestormer.data.store import read_clip
from fakestormer.errors import InputError
from fakestormer.synthesis.beyond.donor import FOUND, lay_on, unlikeness
from fakestormer.synthesis.params import ClipParams
from fakestormer.types import Clip


class Donors:
    """The tracks whose faces can be given to one another.

    Of `candidates` tracks drawn from those of other people (or other videos, where identities are
    not known), the one whose face is shaped most like the track's is the donor.
    """

    def __init__(self, store: Path, rows: Sequence[Row], *, candidates: int) -> None:
        self.store, self.rows, self.candidates = store, tuple(rows), candidates
        self._place = {(row.video, row.track): n for n, row in enumerate(self.rows)}

    @cached_property
    def _shapes(self) -> Tensor:
        """float64 (N, K, 2): the landmarks in the middle of each track."""
        middles = [
            read_clip(
                self.store / row.file, [row.frames // 2], video=row.video, number=row.track
            ).landmarks[0, :FOUND]
            for row in self.rows
        ]
        return torch.from_numpy(np.stack(middles)).double()

    @cached_property
    def _names(self) -> NDArray[np.uint64]:
        """A number of each track, from its name alone."""
        digests = [hashlib.sha256(f"{r.video}#{r.track}".encode()).digest() for r in self.rows]
        return np.array([int.from_bytes(d[:8], "little") for d in digests], dtype=np.uint64)

    def give(self, params: ClipParams, row: Row, clip: Clip) -> tuple[Tensor, str]:
        """The donor that `params` ask for, laid on the clip's face: uint8 (T, 3, S, S); its name.

        All clips of a track get the same donor from the same params; tracks that are added change
        it only where they are nearer. Raises InputError when there is nobody else.
        """
        assert params.donor is not None
        others = [
            n
            for n, other in enumerate(self.rows)
            if other.group != row.group and other.frames >= len(clip)
        ]
        if not others:
            raise InputError(
                f"{row.video}: nobody else is there whose face could be blended into it; set "
                "synthesis.beyond.donor_probability to 0, or prepare videos of more people"
            )
        ranks = _mixed(self._names[others], params.donor)
        drawn = [others[n] for n in np.argsort(ranks)[: self.candidates]]
        shape = self._shapes[self._place[row.video, row.track]]
        apart = unlikeness(self._shapes[drawn], shape.expand(len(drawn), -1, -1))
        donor = self.rows[drawn[int(apart.argmin())]]
        rng = np.random.default_rng(np.random.SeedSequence(params.donor))
        start = int(rng.integers(donor.frames - len(clip) + 1))
        given = read_clip(
            self.store / donor.file,
            range(start, start + len(clip)),
            video=donor.video,
            number=donor.track,
        )
        laid = lay_on(
            torch.from_numpy(given.frames),
            torch.from_numpy(given.landmarks),
            torch.from_numpy(clip.frames),
            torch.from_numpy(clip.landmarks),
            interpolation=params.interpolation,
            bent=params.donor_bent,
        )
        return laid, given.source


def _mixed(names_n: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """Numbers that order tracks anew for each seed, each of its own name (SplitMix64's mixing)."""
    x = names_n ^ np.uint64(seed)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = x ^ (x >> np.uint64(31))
    return mixed
