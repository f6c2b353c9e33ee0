"""Sheets of examples: targets and predictions of validation pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fakestormer.data.manifest import read_manifest, tracks_of
from fakestormer.model.build import build
from fakestormer.recipe.recipe import Recipe
from fakestormer.training.examples import example_sheets
from fakestormer.training.validation import ValidationSet, build_validation_set


@pytest.fixture(scope="module")
def validation(recipe: Recipe, store: Path) -> ValidationSet:
    return build_validation_set(
        store, tracks_of(read_manifest(store), "validation"), synthesis=recipe.synthesis,
        model=recipe.model, clips_per_track=2, seed=0,
    )  # fmt: skip


def test_examples_are_pairs_with_their_targets(validation: ValidationSet) -> None:
    assert [example.source for example in validation.examples] == [
        "validation_0.mp4#0@0", "validation_1.mp4#0@0",
    ]  # fmt: skip
    for example in validation.examples:
        assert validation.label[[example.real, example.fake]].tolist() == [0, 1]
        real, fake = validation.video[[example.real, example.fake]].tolist()
        assert fake == real + 1
        assert float(example.soft_labels.max()) > 0
        # eq. 5: standardised over the frames that have one before them
        assert float(example.derivative[1:].mean()) == pytest.approx(0, abs=1e-4)


def test_a_sheet_shows_what_the_network_says(recipe: Recipe, validation: ValidationSet) -> None:
    torch.manual_seed(0)
    network = build(recipe.model).train()
    sheets = example_sheets(network, validation)
    assert network.training
    assert list(sheets) == ["1 of 2", "2 of 2"]
    assert {sheet.dtype for sheet in sheets.values()} == {np.dtype(np.uint8)}
    # Other weights change the rows of predictions, not those of frames and target.
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter))
    after = example_sheets(network, validation)["1 of 2"]
    changed = np.flatnonzero((after != sheets["1 of 2"]).any(axis=(1, 2)))
    targets_end = 2 * 26 + 26 + 2 * 116
    assert set(changed[changed < targets_end]) <= set(range(52, 78))  # f, in the heading
    assert (changed >= targets_end).any()
    without_h = build(recipe.model.model_copy(update={"branches": ("g",)}))
    shorter = example_sheets(without_h, validation)["1 of 2"]
    assert len(shorter) == len(after) - 2 * 116
