"""Whose face is blended into a clip when it is not the clip's own: a seed -> a donor's clip."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fakestormer.data.manifest import Row
from fakestormer.data.store import read_clip
from fakestormer.errors import InputError
from fakestormer.synthesis.config import REFERENCE_SIZE, SynthesisConfig
from fakestormer.synthesis.donor import FOUND, lay_on, unlikeness
from fakestormer.types import Clip


class Donors:
    """The tracks whose faces can be given to one another.

    Of `config.donor_candidates` tracks drawn from those of other groups (other people, as far as
    known), the one whose face is shaped most like the clip's is the donor.
    """

    def __init__(self, store: Path, rows: Sequence[Row], config: SynthesisConfig) -> None:
        self.store, self.rows, self.config = store, tuple(rows), config

    @cached_property
    def _shapes(self) -> Tensor:
        """float64 (N, K, 2): the landmarks in the middle of each track."""
        middles = [
            read_clip(
                self.store / row.file, [row.frames // 2], video=row.video, number=row.track
            ).landmarks[0, :FOUND]
            for row in self.rows
        ]
        return torch.stack(middles).double()

    def give(self, seed: int, row: Row, clip: Clip) -> tuple[Tensor, str]:
        """A donor's frames, laid on the clip's face: uint8 (T, 3, S, S); and which clip they are.

        row: the clip's track. The same seed, clip and tracks give the same. Raises InputError when
        there is nobody else.
        """
        others = [n for n, other in enumerate(self.rows) if other.group != row.group]
        fitting = [n for n in others if self.rows[n].frames >= len(clip)]
        if not fitting:
            raise InputError(
                f"{row.video}: nobody else is there whose face could be blended into it; set "
                "synthesis.donor_probability to 0, or prepare videos of more people"
            )
        rng = np.random.default_rng(np.random.SeedSequence(seed))
        drawn = [
            fitting[int(n)] for n in rng.permutation(len(fitting))[: self.config.donor_candidates]
        ]
        middle = clip.landmarks[len(clip) // 2, :FOUND].double()
        apart = unlikeness(self._shapes[drawn], middle.expand(len(drawn), -1, -1))
        donor = self.rows[drawn[int(apart.argmin())]]
        start = int(rng.integers(donor.frames - len(clip) + 1))
        given = read_clip(
            self.store / donor.file,
            range(start, start + len(clip)),
            video=donor.video,
            number=donor.track,
        )
        scale = clip.frames.shape[-1] / REFERENCE_SIZE
        laid = lay_on(
            given.frames,
            given.landmarks,
            clip.frames,
            clip.landmarks,
            tau=self.config.tau * scale,
            d_bar=self.config.d_bar * scale,
        )
        return laid, given.source
