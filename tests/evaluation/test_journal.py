"""An evaluation is stopped and goes on; nothing stale is taken, nothing is done twice."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fakestormer.errors import InputError
from fakestormer.evaluation import journal as journal_module
from fakestormer.evaluation.journal import Scores, opened, score_plan
from fakestormer.evaluation.plan import CLEAN, Condition, Plan, Task
from fakestormer.evaluation.score_task import Scored, ScoreTask
from fakestormer.model.model_file import load_model
from fakestormer.recipe.prediction import PredictionConfig
from fakestormer.runtimes.engine import Engine
from fakestormer.runtimes.torch_engine import TorchEngine
from store_fixtures import CROP

JPEG = Condition(corruption="jpeg", level=2)


def evaluate(plan: Plan, out: Path, **more: Any) -> Scores:
    with opened(out):
        return score_plan(plan, out, **more)


@pytest.fixture(scope="module")
def engine(drawn_model: Path) -> Engine:
    return TorchEngine(load_model(drawn_model)[0])


@pytest.fixture(scope="module")
def stores(
    make_store: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    return {
        "one": make_store(folder / "one", frames=14, test=2, fakes={"test": {"swap": 1}}),
        "two": make_store(folder / "two", frames=14, test=1, train=1, fakes={"test": {"swap": 1}}),
    }


@pytest.fixture
def plan(stores: dict[str, Path], engine: Engine) -> Plan:
    def no_faces() -> Any:
        raise AssertionError("stored crops need no face backend")

    return Plan(
        stores=stores,
        crop=CROP,
        weights_sha256="ab" * 32,
        open_engine=lambda: engine,
        open_faces=no_faces,
        predictions={
            "windows": PredictionConfig(frames=8),
            "spread": PredictionConfig(sampling="spread", frames=8),
        },
        conditions=(CLEAN, JPEG),
        applied_to="crops",
    )


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tasks that are really scored, in order."""
    keys: list[str] = []
    real = ScoreTask.__call__

    def counted(self: ScoreTask, key: str) -> Any:
        keys.append(key)
        return real(self, key)

    monkeypatch.setattr(ScoreTask, "__call__", counted)
    return keys


def test_everything_is_scored_once_and_told(plan: Plan, done: list[str], tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    scores = evaluate(plan, tmp_path / "out", progress=lambda n, of, _: told.append((n, of)))
    assert len(scores) == 2 * 2 * 2
    for (data, _, _), own in scores.items():
        assert [s.video for s in own] == sorted(s.video for s in own)
        assert {s.data for s in own} == {data}
        assert len(own) == {"one": 3, "two": 2}[data]  # the training video is not of the split
    assert len(done) == len(set(done)) == 2 * 5
    assert told == [(n, 10) for n in range(11)]
    first = [s.score for s in scores["one", CLEAN, "windows"]]
    assert first != [s.score for s in scores["one", JPEG, "windows"]]
    assert first != [s.score for s in scores["one", CLEAN, "spread"]]


def test_a_second_call_only_reads(plan: Plan, done: list[str], tmp_path: Path) -> None:
    first = evaluate(plan, tmp_path)
    done.clear()
    assert evaluate(plan, tmp_path) == first
    assert done == []
    # Fewer conditions or samplings, or more: what is known is taken.
    fewer = replace(plan, conditions=(CLEAN,), predictions={"spread": plan.predictions["spread"]})
    assert evaluate(fewer, tmp_path) == {
        ("one", CLEAN, "spread"): first["one", CLEAN, "spread"],
        ("two", CLEAN, "spread"): first["two", CLEAN, "spread"],
    }
    assert done == []
    more = replace(plan, conditions=(CLEAN, JPEG, replace(JPEG, level=3)))
    assert len(evaluate(more, tmp_path)) == 12
    assert len(done) == 5


def test_a_call_that_breaks_off_loses_nothing(
    plan: Plan, done: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = evaluate(plan, tmp_path / "whole")
    done.clear()
    counted = ScoreTask.__call__

    def stops(self: ScoreTask, key: str) -> Any:
        if len(done) == 4:
            raise KeyboardInterrupt
        return counted(self, key)

    monkeypatch.setattr(ScoreTask, "__call__", stops)
    with pytest.raises(KeyboardInterrupt):
        evaluate(plan, tmp_path / "out")
    monkeypatch.setattr(ScoreTask, "__call__", counted)
    # As a process that was killed while it wrote leaves it.
    (journal,) = (tmp_path / "out" / "scores").glob("one-*.jsonl")
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[:-1]) + lines[-1][:40])
    with journal.open("ab") as file:  # and what else can befall a file
        file.write(b'\n\xff\xfe\n{"key": "x", "scores": []}\n[1]\n')
    assert evaluate(plan, tmp_path / "out") == whole
    assert len(done) == 4 + 10 - 3


def test_what_could_not_be_read_is_tried_again(
    plan: Plan, done: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = ScoreTask.__call__

    def away(self: ScoreTask, key: str) -> Scored:
        task = Task.of(key)
        return self.unscored(task, "is away", final=False)

    monkeypatch.setattr(ScoreTask, "__call__", away)
    scores = evaluate(plan, tmp_path)
    assert {s.reason for own in scores.values() for s in own} == {"is away"}
    monkeypatch.setattr(ScoreTask, "__call__", counted)
    scores = evaluate(plan, tmp_path)
    assert {s.reason for own in scores.values() for s in own} == {""}
    assert len(done) == 10


def test_a_video_that_kills_its_process_is_left_out(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        journal_module,
        "map_videos",
        lambda work, keys, **_: iter([(key, None) for key in keys]),
    )
    scores = evaluate(plan, tmp_path)
    assert {(s.score, s.reason) for own in scores.values() for s in own} == {
        (None, "the process died on it")
    }


def test_nothing_stale_is_taken(
    plan: Plan,
    done: list[str],
    tmp_path: Path,
    make_store: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def scored_anew(changed: Plan) -> int:
        done.clear()
        evaluate(changed, tmp_path / "out")
        return len(done)

    assert scored_anew(plan) == 10
    assert scored_anew(replace(plan, weights_sha256="cd" * 32)) == 10
    assert scored_anew(replace(plan, face="max")) == 10
    margin = {
        name: way.model_copy(update={"margin": 3.0}) for name, way in plan.predictions.items()
    }
    assert scored_anew(replace(plan, predictions=margin)) == 10
    other = make_store(tmp_path / "other", test=2)
    assert scored_anew(replace(plan, stores={**plan.stores, "two": other})) == 4
    # How a score is put into words changes no score.
    words = {
        name: way.model_copy(update={"threshold": 0.7}) for name, way in plan.predictions.items()
    }
    assert scored_anew(replace(plan, predictions=words)) == 0
    assert scored_anew(plan) == 0
    monkeypatch.setattr(journal_module, "version", lambda name: "0.0.0")
    assert scored_anew(plan) == 10


def test_data_sets_of_one_name_after_cleaning_stay_apart(
    plan: Plan, tmp_path: Path, stores: dict[str, Path]
) -> None:
    odd = replace(plan, stores={"a/b": stores["one"], "a b": stores["one"]}, conditions=(CLEAN,))
    evaluate(odd, tmp_path)
    assert len(list((tmp_path / "scores").glob("*.jsonl"))) == 2


def test_two_evaluations_at_once_are_refused(plan: Plan, tmp_path: Path) -> None:
    with (tmp_path / "lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with (
            pytest.raises(InputError, match="another evaluation is writing to it"),
            opened(tmp_path),
        ):
            raise AssertionError("it is held by another")


def test_a_folder_that_cannot_be_written_to(plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file/out: cannot be written to \(.*\); choose another"):
        evaluate(plan, tmp_path / "file" / "out")


def test_a_journal_is_lines_of_json(plan: Plan, tmp_path: Path) -> None:
    evaluate(plan, tmp_path)
    for journal in (tmp_path / "scores").iterdir():
        for line in journal.read_text().splitlines():
            assert json.loads(line)["scores"].keys() == {"windows", "spread"}


def test_labels() -> None:
    assert (str(CLEAN), str(JPEG)) == ("clean", "jpeg 2")
