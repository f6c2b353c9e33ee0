"""Every value of a recipe has an origin, and the recipes are what their sources say."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from pydantic import BaseModel

from command_line import run
from fakestormer.recipe.named import RECIPES, paper, release
from fakestormer.recipe.recipe import Recipe, override
from fakestormer.recipe.sources import OURS, PAPER, RELEASE, origin, values_of


def _fields(model: type[BaseModel], path: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _fields(kind, f"{path}{name}.")
        else:
            yield f"{path}{name}"


FIELDS = [field for field in _fields(Recipe) if field != "name"]


def _is_ours(field: str) -> bool:
    return any(field == part or field.startswith(f"{part}.") for part in OURS)


def test_every_field_has_an_origin() -> None:
    without = [f for f in FIELDS if f not in PAPER and f not in RELEASE and not _is_ours(f)]
    assert without == [], "say in recipe/sources.py whose values these are"


def test_no_origin_is_of_a_field_that_is_not_there() -> None:
    assert set(PAPER) | set(RELEASE) <= set(FIELDS)
    assert [
        part for part in OURS if not any(f == part or f.startswith(f"{part}.") for f in FIELDS)
    ] == []
    assert [f for f in (*PAPER, *RELEASE) if _is_ours(f)] == [], "ours is what neither says"


def test_the_recipe_paper_is_the_paper_and_nothing_else() -> None:
    values = values_of(paper())
    for field, (said, where) in PAPER.items():
        assert values[field] == said, field
        assert origin(field, values[field]) == f"paper {where}"
    # By hand from 4.1, 6.9 and eqs. 8, 12, 13.
    recipe = paper()
    training, prediction = recipe.training, recipe.prediction
    assert (training.epochs, training.batch_size, training.learning_rate) == (100, 32, 5e-4)
    assert (training.freeze_epochs, training.weight_decay) == (5, 1e-4)
    assert (prediction.margin, prediction.frames, prediction.sampling) == (0, 32, "consecutive")
    assert (recipe.crop.enlarge, recipe.crop.smooth_frames) == (1.25, 0)
    assert not training.loss.ignore_cut_patches
    synthesis = recipe.synthesis
    assert (synthesis.flip_probability, synthesis.margin, synthesis.jpeg_probability) == (
        0,
        (0, 0),
        0,
    )
    assert (synthesis.tau, synthesis.d_bar) == (0.35, 0.2)


def test_the_recipe_release_takes_16_videos_and_their_twins_on_each_of_4_gpus() -> None:
    values = values_of(release())
    assert {field: values[field] for field in RELEASE} == dict(RELEASE)
    assert release().training.batch_size == 2 * 16 * 4
    assert release().training.pairs == 64
    assert origin("training.batch_size", 128) == "release"
    # Its margin is tuned per test set, and that value is nobody's but ours.
    assert origin("prediction.margin", values["prediction.margin"]) == "ours"


def test_a_changed_value_is_not_called_the_papers() -> None:
    changed = override(paper(), ["training.epochs=7", "synthesis.pooling=linear"])
    values = values_of(changed)
    assert origin("training.epochs", values["training.epochs"]) == "ours"
    assert origin("synthesis.pooling", values["synthesis.pooling"]) == "release"


@pytest.mark.parametrize("name", RECIPES)
def test_the_command_prints_each_field_as_set_takes_it(
    name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    code, printed, _ = run(["recipe", name], monkeypatch, capfd)
    assert code == 0
    lines = [line.rstrip() for line in printed.splitlines()[1:]]
    recipe = RECIPES[name]()
    values = values_of(recipe)
    origins = {}
    for line, (field, value) in zip(lines, values.items(), strict=True):
        assignment = f"{field}={json.dumps(value)}"
        assert line.startswith(f"{assignment} ")
        origins[field] = line.removeprefix(assignment).strip()
        assert override(recipe, [assignment]) == recipe
    assert origins == {field: origin(field, value) for field, value in values.items()}
    code, printed, _ = run(["recipe", name, "--json"], monkeypatch, capfd)
    assert Recipe.model_validate_json(printed) == recipe
