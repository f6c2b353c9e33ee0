"""The command that makes a store again for another recipe."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from fakestormer.cli import main
from fakestormer.data.layouts.options import Options
from fakestormer.data.manifest import Split, StoreSettings, write_settings
from fakestormer.data.origin import Origin, write_origin
from fakestormer.data.remake import remake_command
from fakestormer.errors import InputError
from fakestormer.model.document import recipe_of_shipped
from fakestormer.recipe.faces import CropConfig, TrackingConfig
from fakestormer.recipe.named import paper, release
from fakestormer.recipe.recipe import Recipe, override
from fakestormer.training.tracks import choose_tracks

FRAMES: dict[Split, int] = {"train": 256, "validation": 32, "test": 32}


def _store(folder: Path, layout: str, labels: tuple[str, ...], **settings: object) -> Path:
    store = folder / "store"
    store.mkdir()
    fields: dict[str, object] = {
        "backend": "blazeface", "crop": CropConfig(), "tracking": TrackingConfig(),
        "max_frames": 256, "min_frames": 4,
    }  # fmt: skip
    write_settings(store, StoreSettings.model_validate(fields | settings))
    write_origin(
        store, Origin(layout=layout, root=folder / "a b", options=Options(), labels=labels)
    )
    return store


def _command(store: Path, recipe: Recipe) -> list[str]:
    return shlex.split(remake_command(store, recipe.crop, recipe.tracking))


def test_a_store_of_ffpp_for_the_recipe_paper(tmp_path: Path) -> None:
    store = _store(tmp_path, "ffpp", (), dataset="ffpp", compression="c40", max_frames=FRAMES)
    assert _command(store, paper()) == [
        "fakestormer", "prepare", "ffpp", "--root", str(tmp_path / "a b"), "--compression", "c40",
        "--faces", "blazeface", "--recipe", "paper", "--out", f"{store}-paper",
    ]  # fmt: skip
    assert "--recipe release" in remake_command(store, release().crop, release().tracking)


def test_labels_frames_and_other_crops_are_kept(tmp_path: Path) -> None:
    labels = ("--hold-out", "grid", "--only", "test")
    store = _store(tmp_path, "folder", labels, max_frames=None)
    usual = recipe_of_shipped()
    other = override(usual, ["crop.enlarge=1.4", "tracking.detect_every=3"])
    assert _command(store, other) == [
        "fakestormer", "prepare", str(tmp_path / "a b"), *labels,
        "--max-frames", "0", "--faces", "blazeface", "--set", "tracking.detect_every=3",
        "--set", "crop.enlarge=1.4", "--out", f"{store}-anew",
    ]  # fmt: skip


def test_training_with_the_wrong_store_names_the_command(
    tmp_path: Path, make_store: Callable[..., Path], recipe: Recipe
) -> None:
    store = make_store(tmp_path / "store", train=1)
    wanted = recipe.model_copy(update={"crop": paper().crop})
    with pytest.raises(InputError, match=r"fakestormer prepare VIDEOS .*--recipe paper --out"):
        choose_tracks(wanted, store)


def test_a_store_whose_faces_were_measured_in_every_frame_is_known_as_such(
    tmp_path: Path, make_store: Callable[..., Path], recipe: Recipe
) -> None:
    store = make_store(tmp_path / "store", train=1)
    settings = json.loads((store / "store.json").read_text())
    del settings["tracking"]["measure_every"]  # as older versions wrote it
    (store / "store.json").write_text(json.dumps(settings))
    with pytest.raises(InputError, match=r"measure_every 1 instead of 3; make a store that fits"):
        choose_tracks(recipe, store)


def test_the_command_is_one_that_prepare_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It gets as far as looking for the videos, which are not there."""
    store = _store(tmp_path, "ffpp", ("--only", "test"), dataset="ffpp", compression="c23")
    monkeypatch.setattr("sys.argv", _command(store, paper()))
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 4
    assert f"{tmp_path / 'a b'}: no such folder" in capfd.readouterr().err
