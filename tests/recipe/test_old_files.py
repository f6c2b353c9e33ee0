"""What 0.1.0 wrote is read as what it meant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from command_line import run
from fakestormer.errors import InputError
from fakestormer.model.document import SHIPPED, recipe_of, recipe_of_shipped
from fakestormer.recipe.faces import CropConfig, TrackingConfig
from fakestormer.recipe.named import tiny
from fakestormer.recipe.old_files import MOVED_BEYOND, new_name
from fakestormer.recipe.recipe import Recipe, difference, override, read_recipe
from fakestormer.recipe.synthesis import BeyondConfig, SynthesisConfig
from fakestormer.synthesis.params import sample
from fakestormer.tools.synthesize import SynthesisRecord
from fakestormer.training.checkpoint import RunState
from fakestormer.training.resume import resumed_state
from fakestormer.training.tracks import Tracks

CHANGES = [
    "synthesis.beyond.donor_probability=0.5",
    "synthesis.beyond.shift=12",
    'synthesis.beyond.resamplings=["linear", "cubic"]',
    "synthesis.beyond.noise=[2, 3]",
    "synthesis.tau=0.5",
]


def as_in_0_1_0(synthesis: SynthesisConfig) -> dict[str, Any]:
    """The document that 0.1.0 wrote: all fields beside each other."""
    document = synthesis.model_dump(mode="json")
    beyond = document.pop("beyond")
    return document | {name: beyond[name] for name in MOVED_BEYOND}


@pytest.fixture
def old() -> dict[str, Any]:
    recipe = override(tiny(), CHANGES)
    return recipe.model_dump(mode="json") | {"synthesis": as_in_0_1_0(recipe.synthesis)}


def test_flat_fields_go_beyond(old: dict[str, Any], tmp_path: Path) -> None:
    assert old["synthesis"]["donor_probability"] == 0.5
    assert "beyond" not in old["synthesis"]
    wanted = override(tiny(), CHANGES)
    assert wanted.synthesis.beyond == BeyondConfig(
        donor_probability=0.5, shift=12, resamplings=("linear", "cubic"), noise=(2, 3)
    )
    assert Recipe.model_validate(old) == wanted
    path = tmp_path / "model.json"
    path.write_text(json.dumps({"recipe": old}))
    assert read_recipe(path) == recipe_of({"recipe": old}, path) == wanted
    assert difference(read_recipe(path), wanted) == {}
    # A file of a still older version lacks some.
    assert SynthesisConfig.model_validate({"shift": 3}) == SynthesisConfig(
        beyond=BeyondConfig(shift=3)
    )


def test_every_field_beyond_was_a_field_of_0_1_0_or_is_new() -> None:
    assert BeyondConfig.model_fields.keys() >= MOVED_BEYOND
    assert not SynthesisConfig.model_fields.keys() & MOVED_BEYOND


@pytest.mark.skipif(not SHIPPED.is_file(), reason="this package comes without weights")
def test_the_shipped_recipe_keeps_its_values() -> None:
    document = json.loads(SHIPPED.with_suffix(".json").read_text())
    recipe = recipe_of(document, SHIPPED)
    written = document["recipe"]["synthesis"]
    read = recipe.synthesis.model_dump(mode="json")
    read |= read.pop("beyond")
    assert {name: read[name] for name in written if name != "beyond"} == {
        name: value for name, value in written.items() if name != "beyond"
    }


def test_faces_of_older_files_were_measured_in_every_frame(old: dict[str, Any]) -> None:
    del old["tracking"]["measure_every"]
    assert Recipe.model_validate(old).tracking == TrackingConfig(measure_every=1)
    assert TrackingConfig().measure_every > 1


@pytest.mark.skipif(not SHIPPED.is_file(), reason="this package comes without weights")
def test_the_shipped_weights_follow_faces_as_new_stores_do() -> None:
    assert recipe_of_shipped().tracking == TrackingConfig()


def test_a_field_in_both_places_is_refused() -> None:
    with pytest.raises(ValueError, match=r"synthesis\.shift: is given twice"):
        SynthesisConfig.model_validate({"shift": 1, "beyond": {"shift": 2}})
    with pytest.raises(ValueError, match=r"Extra inputs|extra_forbidden"):
        SynthesisConfig.model_validate({"shft": 1})


def test_a_run_of_0_1_0_goes_on(old: dict[str, Any], tmp_path: Path) -> None:
    tracks = Tracks(training=(), fakes=(), validation=(), face_backend="drawn", trained_on={})
    state = RunState(step=1, metrics={}, best={}, tracks="another", validation="v")
    document = {"state": state.model_dump(), "recipe": old}
    (tmp_path / "checkpoint.json").write_text(json.dumps(document))
    # The recipe is compared first, the tracks next.
    with pytest.raises(InputError, match="training tracks have changed"):
        resumed_state(tmp_path, override(tiny(), CHANGES), tmp_path, tracks, "v")
    other = override(tiny(), [*CHANGES, "synthesis.beyond.shift=3"])
    with pytest.raises(InputError, match=r"differs in synthesis\.beyond\.shift"):
        resumed_state(tmp_path, other, tmp_path, tracks, "v")


def test_parameters_of_0_1_0_are_replayed() -> None:
    synthesis = SynthesisConfig(beyond=BeyondConfig(gradient_domain_probability=1.0))
    record = SynthesisRecord(
        video="a.mp4", sha256="0" * 64, face_backend="drawn", track=0, first_index=0,
        frame_count=4, size=32, patch_size=8, tracking=TrackingConfig(), crop=CropConfig(),
        synthesis=synthesis, params=sample(np.random.default_rng(0), synthesis, clip_length=4),
    )  # fmt: skip
    document = record.model_dump(mode="json") | {"synthesis": as_in_0_1_0(synthesis)}
    assert SynthesisRecord.model_validate_json(json.dumps(document)) == record


def test_old_names_are_told_their_new_ones(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert new_name("synthesis.shift") == "synthesis.beyond.shift"
    assert new_name("synthesis.tau") is new_name("crop.noise") is None
    setting = "synthesis.donor_probability=0.5"
    code, printed, errors = run(["recipe", "tiny", "--set", setting], monkeypatch, capfd)
    assert (code, printed) == (2, "")
    assert "'synthesis.donor_probability': this field is now called" in errors
    assert "synthesis.beyond.donor_probability" in errors
