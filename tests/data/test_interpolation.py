"""How often eq. 1 fires on a store's tracks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from fakestormer.data.interpolation import Interpolation, interpolation_in
from fakestormer.data.manifest import read_manifest, read_settings, tracks_of
from fakestormer.data.store import read_landmarks
from fakestormer.errors import InputError
from fakestormer.synthesis.landmarks import interpolate_landmarks


def test_the_pairs_that_are_counted_are_those_whose_landmarks_are_moved(
    make_store: Callable[..., Path], tmp_path: Path
) -> None:
    store = make_store(tmp_path / "store", train=3, validation=1)
    rows = tracks_of(read_manifest(store), "train")
    scale = 256 / read_settings(store).crop.stored_size
    for tau in (0.05, 0.35, 5.0):
        counted = interpolation_in(store, rows, tau)
        assert counted.pairs == 3 * 8
        moved = 0
        for row in rows:
            landmarks = torch.from_numpy(read_landmarks(store / row.file)) * scale
            for t in range(8):
                pair = landmarks[t : t + 2]
                moved += not interpolate_landmarks(pair, tau, d_bar=0.01).equal(pair)
        assert counted.moved == moved
    assert interpolation_in(store, rows, 5.0).moved == 0
    assert interpolation_in(store, rows, 0.05).moved > 0


def test_it_is_told_in_a_sentence() -> None:
    told = Interpolation(pairs=752, moved=12, median=0.1, tau=0.35)
    assert str(told) == (
        "eq. 1 moves the landmarks of 12 of 752 frame pairs (1.6 %; median d 0.10, tau 0.35)"
    )


def test_no_pair_and_a_damaged_track(make_store: Callable[..., Path], tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", train=1)
    assert interpolation_in(store, (), 0.35).pairs == 0
    (row,) = tracks_of(read_manifest(store), "train")
    (store / row.file).write_bytes(b"no archive")
    with pytest.raises(InputError, match="cannot read this prepared track"):
        interpolation_in(store, (row,), 0.35)
