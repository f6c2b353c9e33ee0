"""Treatments of real clips, and whether a network that goes by one of them is caught."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from torch import Tensor

from fakestormer.errors import InputError
from fakestormer.evaluation import shortcuts
from fakestormer.evaluation.metrics import auc, auc_interval
from fakestormer.evaluation.shortcuts import (
    find_shortcuts,
    markdown,
    paired_auc,
    shortcut,
    write_shortcuts,
)
from fakestormer.evaluation.treatments import TREATMENTS, _moved
from fakestormer.model.network import VideoNetwork
from fakestormer.recipe.prediction import PredictionConfig
from fakestormer.recipe.recipe import Recipe
from fakestormer.runtimes.torch_engine import TorchEngine
from fakestormer.types.network import Outputs
from store_fixtures import score_store

BY_NAME = {treatment.name: treatment for treatment in TREATMENTS}
RNG = np.random.default_rng(0)


class Brightness(VideoNetwork):
    """Takes bright clips for fakes: the shortcut that is to be found."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__(recipe.model)

    def forward(self, frames_btchw: Tensor) -> Outputs:
        return Outputs(
            logit=frames_btchw.float().mean((1, 2, 3, 4)) / 4 - 30,
            derivative=None,
            frame_logits=None,
        )


@pytest.fixture
def picture() -> np.ndarray:
    """A soft picture with an edge and grain, uint8 (64, 64, 3)."""
    y, x = np.mgrid[0:64, 0:64]
    drawn = np.stack([100 + x, 140 + 0 * x, 180 - y], axis=-1) + RNG.normal(0, 6, (64, 64, 1))
    drawn[20:44, 16:40] -= 60
    return drawn.clip(0, 255).astype(np.uint8)


def test_every_treatment_has_its_own_name() -> None:
    assert len(BY_NAME) == len(TREATMENTS)
    assert {treatment.group for treatment in TREATMENTS} == {
        "resize", "blur", "sharpening", "H.264", "JPEG", "noise", "colour", "crop",
    }  # fmt: skip


@pytest.mark.parametrize("name", [name for name, t in BY_NAME.items() if t.crf is None])
def test_a_treatment_changes_the_picture_a_little_and_repeats_itself(
    name: str, picture: np.ndarray
) -> None:
    before = picture.copy()
    treated = BY_NAME[name].frame(picture, key="ab", index=3)
    assert (treated.dtype, treated.shape) == (np.uint8, picture.shape)
    assert treated.flags.c_contiguous
    assert np.array_equal(picture, before)
    error = np.abs(treated.astype(int) - picture).mean()
    assert 0.2 < error < 30
    assert np.array_equal(treated, BY_NAME[name].frame(picture, key="ab", index=3))
    random = not np.array_equal(treated, BY_NAME[name].frame(picture, key="ab", index=4))
    assert random == (BY_NAME[name].group == "noise")


def test_blurring_and_sharpening_do_what_they_say(picture: np.ndarray) -> None:
    def sharpness(rgb: np.ndarray) -> float:
        return float(cv2.Laplacian(rgb[..., 1].astype(np.float32), cv2.CV_32F).var())

    def after(name: str) -> float:
        return sharpness(BY_NAME[name].frame(picture, key="", index=0))

    assert after("blur sigma 1 px") < after("blur sigma 0.5 px") < sharpness(picture)
    assert after("resize to 1/2 and back") < after("resize to 3/4 and back") < sharpness(picture)
    assert after("sharpening 1") > after("sharpening 0.5") > sharpness(picture)
    worse = [
        np.abs(BY_NAME[f"JPEG quality {q}"].frame(picture, key="", index=0) - picture.astype(int))
        for q in (90, 70, 40)
    ]
    assert worse[0].mean() < worse[1].mean() < worse[2].mean()


def test_moves_are_in_pixels_of_a_256_px_crop(picture: np.ndarray) -> None:
    moved = BY_NAME["crop 12 px to the right"].frame(picture, key="", index=0)
    assert np.array_equal(moved[:, 3:], picture[:, :-3])  # 12 of 256 px are 3 of 64
    down = BY_NAME["crop 12 px down"].frame(picture, key="", index=0)
    assert np.array_equal(down[3:], picture[:-3])
    assert np.array_equal(_moved(picture, RNG), picture)
    soft = cv2.GaussianBlur(picture, (0, 0), 3)
    larger = _moved(soft, RNG, scale=1.1).astype(int)
    # What was 10 px from the centre is 11 px from it; the centre lies between two pixels.
    assert np.abs(larger[32, 31 - 11] - soft[32, 31 - 10]).max() <= 3
    assert np.abs(larger[32, 32 + 11] - soft[32, 32 + 10]).max() <= 3


def test_films_are_recompressed_as_films(picture: np.ndarray) -> None:
    frames = [np.roll(picture, shift, axis=1) for shift in range(6)]
    errors = []
    for crf in (18, 28, 38):
        film = BY_NAME[f"H.264 crf {crf}"].film(frames)
        assert [frame.shape for frame in film] == [picture.shape] * 6
        errors.append(np.abs(np.stack(film).astype(int) - np.stack(frames)).mean())
    assert errors == sorted(errors)
    assert np.argmin([np.abs(film[4] - frame.astype(int)).mean() for frame in frames]) == 4


def test_paired_auc_by_hand_and_by_brute_force() -> None:
    before, after = np.array([0.1, 0.4]), np.array([0.4, 0.9])
    assert paired_auc(before, after)[0] == 3.5 / 4
    rng = np.random.default_rng(1)
    before, after = rng.random(40), rng.random(40).round(1)
    labels = np.repeat([0, 1], 40)
    found, interval = paired_auc(before, after)
    assert found == pytest.approx(auc(labels, np.concatenate([before, after])))
    assert interval[0] < found < interval[1]
    same, same_interval = paired_auc(before, before)
    assert (same, *same_interval) == (0.5, 0.5, 0.5)


def test_the_interval_knows_that_videos_are_pairs() -> None:
    rng = np.random.default_rng(2)
    before = rng.random(80)
    after = before + 0.05
    _, paired = paired_auc(before, after)
    apart = auc_interval(np.repeat([0, 1], 80), np.concatenate([before, after]))
    assert paired[1] - paired[0] < 0.5 * (apart[1] - apart[0])
    assert paired[0] > 0.5 > apart[0]


def test_numbers_of_a_treatment_by_hand() -> None:
    found = shortcut(TREATMENTS[0], [0.2, 0.4, 0.6, 0.8], [0.3, 0.5, 0.6, 0.7], threshold=0.5)
    assert found.wins == (2 + 0.5) / 4
    assert found.change == pytest.approx(0.025)
    assert (found.called_fake, found.called_fake_untouched) == (0.75, 0.5)
    assert found.videos == 4
    assert not found.suspicious


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, make_store: Callable[..., Path]) -> Path:
    folder = tmp_path_factory.mktemp("stores") / "test"
    return make_store(folder, train=1, test=6, fakes={"test": {"swap": 2}})


CHOSEN = ("colour brighter by 16", "crop 4 px to the right", "noise benchmark level 1",
          "H.264 crf 28")  # fmt: skip


@pytest.fixture(autouse=True)
def _some_treatments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shortcuts, "TREATMENTS", [BY_NAME[name] for name in CHOSEN])


def test_a_network_that_goes_by_brightness_is_caught(
    store: Path, recipe: Recipe, tmp_path: Path
) -> None:
    engine = TorchEngine(Brightness(recipe))
    told: list[tuple[int, int]] = []
    found, scores = find_shortcuts(
        store,
        recipe.crop,
        PredictionConfig(frames=8),
        lambda: engine,
        progress=lambda done, total: told.append((done, total)),
    )
    assert told[-1] == (6, 6)  # real ones of the split, no fakes
    by_name = {one.treatment: one for one in found}
    assert set(by_name) == set(CHOSEN)
    brighter = by_name["colour brighter by 16"]
    assert brighter.wins == 1.0
    assert not brighter.suspicious, "six videos are too few"
    assert replace(brighter, videos=10).suspicious
    assert brighter.auc > 0.5
    # Clipping at 255 aside, 16 levels are 4 of logit.
    for own in scores.values():
        logits = [math.log(own[name] / (1 - own[name])) for name in ("", "colour brighter by 16")]
        assert logits[1] - logits[0] == pytest.approx(4.0, abs=0.2)
    assert abs(by_name["crop 4 px to the right"].change) < 0.2 * brighter.change

    plain = score_store(engine, PredictionConfig(frames=8), recipe.crop, store)
    assert {s.video: s.score for s in plain if s.label == "real"} == pytest.approx(
        {video: own[""] for video, own in scores.items()}
    )

    about = {
        "model": {"name": "brightness"}, "store": "store", "split": "test",
        "settings": PredictionConfig(frames=8).model_dump(mode="json") | {"fake_from": 0.55},
    }  # fmt: skip
    text = write_shortcuts(tmp_path, found, scores, about=about)
    assert "Too few videos to mark a treatment: that takes 10." in text
    assert "**!** |" not in text
    found = [replace(one, videos=10) for one in found]
    text = write_shortcuts(tmp_path, found, scores, about=about)
    assert "Too few" not in text
    assert "4 treatments are marked" in text
    assert text == (tmp_path / "shortcuts.md").read_text() == markdown(found, about)
    (row,) = [line for line in text.splitlines() if line.startswith("| colour brighter")]
    assert "**!**" in row
    assert "| 100 |" in row
    document = json.loads((tmp_path / "shortcuts.json").read_text())
    assert [entry["treatment"] for entry in document["treatments"]] == [
        one.treatment for one in found
    ]
    assert len(document["scores"]) == 6
    assert (tmp_path / "shortcuts.png").stat().st_size > 1000


def test_some_videos_and_too_few(store: Path, recipe: Recipe) -> None:
    engine = TorchEngine(Brightness(recipe))

    def find(**how: object) -> dict:
        return find_shortcuts(
            store, recipe.crop, PredictionConfig(frames=4), lambda: engine, **how,
        )[1]  # fmt: skip

    assert list(find(at_most=3)) == ["test_0.mp4", "test_2.mp4", "test_4.mp4"]
    with pytest.raises(InputError, match="has 1 real videos in the split 'train'"):
        find(split="train")
