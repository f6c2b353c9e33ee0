"""Sheets of examples, curves, and the page of a run."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch

from fakestormer.data.manifest import read_manifest, tracks_of
from fakestormer.model.build import build
from fakestormer.recipe.recipe import Recipe, override
from fakestormer.training.checkpoint import RunState
from fakestormer.training.curves import HEIGHT, WIDTH, chart
from fakestormer.training.examples import example_sheets
from fakestormer.training.history import History, StepRecord, ValidationRecord
from fakestormer.training.page import render_page
from fakestormer.training.tracks import choose_tracks
from fakestormer.training.validation import ValidationSet, build_validation_set

STATE = RunState(
    step=6,
    metrics={},
    best={"auc_video": 0.875, "auc_clip": 0.75, "classification_loss": 0.5, "step": 4.0},
    tracks="a" * 64,
    validation="b" * 64,
    seconds=4503.0,
    processes=2,
)


def _history(first: int = 0) -> History:
    return History(
        steps=tuple(
            StepRecord(
                step=step, epoch=step // 3, learning_rate=1e-3, total=50.0 - step,
                classification=0.7, temporal=0.5, spatial=0.6,
            )
            for step in range(first, 6)
        ),
        validations=(
            ValidationRecord(
                steps_done=3,
                metrics={"auc_video": 0.5, "auc_clip": 0.4, "classification_loss": 0.69},
            ),
        ),
    )  # fmt: skip


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


def test_a_chart_by_hand() -> None:
    drawn = chart("t", [("a", [(0, 0.0), (5, 5.0), (10, float("nan")), (10, 10.0)])], steps=10)
    assert drawn is not None
    assert drawn.lines[0].points == (
        f"0.0,{HEIGHT:.1f} {WIDTH / 2:.1f},{HEIGHT / 2:.1f} {WIDTH:.1f},0.0"
    )
    assert [label for _, label in drawn.y_ticks] == ["0", "5", "10"]
    assert drawn.lines[0].last == "10"
    assert chart("t", [("a", [])], steps=10) is None
    flat = chart("t", [("a", [(1, 3.0), (2, 3.0)])], steps=2)
    assert flat is not None
    assert len({point.split(",")[1] for point in flat.lines[0].points.split()}) == 1


def test_many_steps_are_averaged() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(1.0, 0.2, 4001)
    drawn = chart("t", [("a", list(enumerate(values)))], steps=4001, limits=(0.0, 2.0))
    assert drawn is not None
    points = [tuple(map(float, point.split(","))) for point in drawn.lines[0].points.split()]
    assert len(points) <= 200
    first = HEIGHT * (1 - values[:21].mean() / 2)
    assert points[0][1] == pytest.approx(first, abs=0.06)


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "link", "img"):
            self.open.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ("line", "circle", "polyline")  # within an SVG

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_says_what_was_done(
    recipe: Recipe, make_store: Callable[..., Path], tmp_path: Path
) -> None:
    odd = override(recipe, ["training.seed=77", "training.ema_decay=0.99"])
    store = make_store(tmp_path / "store", train=3, validation=2)
    sheet = np.zeros((20, 30, 3), np.uint8)
    text = render_page(
        odd, choose_tracks(odd, store), STATE, _history(first=2), examples={"1 of 1": sheet},
        device="CPU", name="<script>alert(1)</script>",
    )  # fmt: skip
    page = _Page(text)
    assert page.open == []
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    assert "<script" not in text
    plain = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text.split("</style>")[1]))
    for said in (
        "87.5 video AUC in per cent, 75.0 of single clips, after 4 steps",
        "moving average of the weights (decay 0.99)",
        "seed 77",
        "time 1 h 15 min",
        "processes 2",
        "The first 2 steps were not recorded",
        "train 3 27",
        "validation 2 18",
        "training.ema_decay 0.99",
        "faces found by drawn",
        "torch",
    ):
        assert said in plain, said
    assert text.count("<polyline") + text.count("<circle") == 8  # 2 AUCs, 2 + 2 losses, ...
