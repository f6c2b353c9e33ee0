"""The document, the Markdown and the CSV: all of the numbers, and what they depend on."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fakestormer.errors import InputError
from fakestormer.evaluation.document import evaluation_document, read_evaluation, scores_of
from fakestormer.evaluation.journal import Scores
from fakestormer.evaluation.plan import CLEAN, Condition, Plan
from fakestormer.evaluation.score import VideoScore
from fakestormer.evaluation.tables import markdown, per_cent, scores_csv
from fakestormer.recipe.prediction import PredictionConfig
from store_fixtures import CROP

CDF2 = [
    VideoScore(
        data="CDF2", video=f"{label}/{number}.mp4", sha256=f"{number}" * 64, label=label,
        method="swap" if label == "fake" else "", source="s", score=score, shots=(score, 0.25),
        clips=(score, score), faces=1,
    )
    for number, (label, score) in enumerate((("real", 0.125), ("real", 0.5), ("fake", 0.5)))
]  # fmt: skip
CDF2.append(
    VideoScore(data="CDF2", video="real/9.mp4", sha256="9" * 64, label="real", method="",
               source="s", score=None, reason="no face")
)  # fmt: skip
OTHER = [
    VideoScore(data="other", video="real/0.mp4", sha256="5" * 64, label="real", method="",
               source="o", score=0.75, shots=(0.75,), clips=(0.75,), faces=2, track=3),
]  # fmt: skip
BLUR = [Condition(corruption="gaussian_blur", level=level) for level in range(1, 6)]
BLOCKS = Condition(corruption="block_wise", level=1)  # does nothing on crops of 64 px
PREDICTION = PredictionConfig(sampling="spread", frames=8, shots=2, margin=10)


def _nothing() -> Any:
    raise AssertionError("nothing is scored here")


@pytest.fixture
def plan(make_store: Callable[..., Path], tmp_path: Path) -> Plan:
    return Plan(
        stores={name: make_store(tmp_path / name, test=1) for name in ("CDF2", "other")},
        crop=CROP,
        weights_sha256="ab" * 32,
        open_engine=_nothing,
        open_faces=_nothing,
        predictions={"spread": PREDICTION},
        face="max",
        conditions=(CLEAN, *BLUR),
        applied_to="crops",
    )


@pytest.fixture
def scores() -> Scores:
    """At every level of blur the real video with 0.5 gets 0.75: one fake of two pairs is lost."""
    found = {("CDF2", CLEAN, "spread"): CDF2, ("other", CLEAN, "spread"): OTHER}
    worse = [
        VideoScore(**{name: getattr(s, name) for name in s.__slots__} | {"score": 0.75})
        if s.video == "real/1.mp4"
        else s
        for s in CDF2
    ]
    for condition in BLUR:
        found["CDF2", condition, "spread"] = worse
        found["other", condition, "spread"] = OTHER
    return found


@pytest.fixture
def document(plan: Plan, scores: Scores) -> dict[str, Any]:
    return evaluation_document(
        plan,
        scores,
        model={"name": "mine", "weights_sha256": "ab" * 32},
        clip_length=4,
        learned_from="c23",
    )


def test_the_document_holds_the_numbers_and_what_repeats_them(
    document: dict[str, Any], tmp_path: Path
) -> None:
    assert document["model"] == {"name": "mine", "weights_sha256": "ab" * 32}
    settings = PREDICTION.model_dump(mode="json")
    assert document["settings"] == settings | {
        "samplings": ["spread"], "clip_length": 4, "split": "test", "face": "max",
        "fake_from": 0.55, "clear_below": 0.45,
    }  # fmt: skip
    assert {"fakestormer", "torch", "python"} <= document["versions"].keys()
    assert list(document["data"]) == ["CDF2", "other"]
    for name, data in document["data"].items():
        manifest = (tmp_path / name / "manifest.parquet").read_bytes()
        assert data["manifest_sha256"] == hashlib.sha256(manifest).hexdigest()
        # What was done before: who found the faces, and in how many frames.
        assert data["prepared"]["backend"] == "drawn"
        assert data["prepared"]["max_frames"] == 256
        assert data["prepared"]["crop"]["stored_size"] == 64
    first, second = (data["results"]["spread"] for data in document["data"].values())
    assert (first["videos"], first["scored"]) == (4, 3)
    assert first["left_out"] == {"real/9.mp4": "no face"}
    assert [s["group"] for s in first["groups"]] == ["all", "method swap"]
    assert first["groups"][0]["metrics"]["auc"] == pytest.approx(1.5 / 2)
    assert (second["videos"], second["scored"], second["left_out"]) == (1, 1, {})
    assert second["groups"][0]["metrics"]["auc"] is None
    # CDF2 is one of the paper's data sets by its name, the other is not.
    assert document["learned_from"] == "c23"
    (block,) = document["data"]["CDF2"]["published"]
    assert (block["table"], block["group"]) == ("Table 1", "all")
    assert block["rows"]["FakeSTormer_T4"] == 92.4
    assert document["data"]["other"]["published"] == []


def test_the_robustness_is_a_group_per_level_and_their_mean(document: dict[str, Any]) -> None:
    found = document["data"]["CDF2"]["robustness"]
    assert (found["applied_to"], found["sampling"]) == ("crops", "spread")
    assert found["clean"]["metrics"]["auc"] == pytest.approx(1.5 / 2)
    assert [level["metrics"]["auc"] for level in found["levels"]["gaussian_blur"]] == [0.5] * 5
    # One of the six corruptions is not their average.
    assert found["mean"] == {"gaussian_blur": 0.5, "Avg": None}
    assert document["data"]["other"]["robustness"]["mean"]["gaussian_blur"] is None
    text = markdown(document)
    assert "| gaussian_blur | 75.0 (1 left out) | 50.0 (1 left out) |" in text
    assert "stored face crops (not the benchmark's way" in text
    assert found["notes"] == {}
    assert "| FakeSTormer (paper, FF++) | 81.6 | 88.4 |" in text


def test_some_levels_have_no_mean_that_stands_beside_the_papers(plan: Plan, scores: Scores) -> None:
    few = replace(plan, conditions=(CLEAN, BLUR[0], BLUR[4]))
    known = {key: own for key, own in scores.items() if key[1] in few.conditions}
    document = evaluation_document(few, known, model={"name": "mine"}, clip_length=4)
    found = document["data"]["CDF2"]["robustness"]
    assert [level is None for level in found["levels"]["gaussian_blur"]] == [
        False, True, True, True, False
    ]  # fmt: skip
    assert found["mean"] == {"gaussian_blur": None, "Avg": None}
    assert "| not run | not run | not run | 50.0 (1 left out) | - |" in markdown(document)


def test_names_of_strangers_make_no_cells(plan: Plan, scores: Scores) -> None:
    fake = replace(CDF2[2], method="a|b\nc", score=0.9)
    odd = {**scores, ("CDF2", CLEAN, "spread"): [*CDF2[:2], fake]}
    clean = replace(plan, conditions=(CLEAN,))
    text = markdown(evaluation_document(clean, odd, model={"name": "mine"}, clip_length=4))
    assert "| method a\\|b c | 2 | 1 |" in text


def test_one_class_alone_and_other_splits_say_so(plan: Plan, scores: Scores) -> None:
    held_out = replace(plan, split="validation")
    document = evaluation_document(
        held_out, scores, model={"name": "mine"}, clip_length=4, learned_from="c23"
    )
    assert document["data"]["CDF2"]["published"] == [], "the paper's numbers are of test splits"
    assert "No AUC: no fake video was scored" in markdown(document)


def test_the_caption_names_every_convention(document: dict[str, Any]) -> None:
    text = markdown(document)
    assert text.startswith("# Evaluation of mine\n")
    first, second = text.split("\n## ")[1:]
    assert first.startswith("CDF2\n")
    for said in (
        "Video-level numbers in per cent", "3 of 4 videos scored, 1 left out", "split test",
        "compression as it came", "sampling spread", "8 frames in clips of 4", "shots 2 (last)",
        "mean of probability", "margin 10 of 256 px", "face: max", "found by drawn",
        "first 256 frames",
    ):  # fmt: skip
        assert said in first, said
    lines = first.strip().splitlines()
    # 2 real (0.125, 0.5), 1 fake (0.5). Of accuracy: 0.5 is called fake, so one real one is wrong.
    # AP: at the threshold 0.5 one of two is fake. With the one left out at 0.5: 0.5 against 0.125,
    # 0.5, 0.5; clips 2 x 2 against 2 x 4 alike.
    whole = next(line for line in lines if line.startswith("| all"))
    cells = [cell.strip() for cell in whole.strip("|").split("|")]
    assert cells[:5] == ["all", "2", "1", "75.0", "50.0 to 100.0"]
    assert cells[5] == "50.0"
    assert cells[7:] == ["66.7", "too few real", "too few real", "66.7", "75.0"]
    tables = first.split("\n\n")
    for table in (part for part in tables if part.startswith("|")):
        assert len({line.count("|") for line in table.strip().splitlines()}) == 1, table
    assert "| all | 1 | 0 | - | - | - | - | 0.0 | - | - | - | - |" in second


def test_the_scores_come_back(document: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps(document))
    for where in (path, tmp_path):
        read = read_evaluation(where)
        assert scores_of(read, "spread") == [*CDF2, *OTHER]
    path.write_text("{}")
    with pytest.raises(InputError, match=r"evaluation\.json: is no evaluation of layout 2"):
        read_evaluation(path)
    path.write_text("no json")
    with pytest.raises(InputError, match=r"evaluation\.json: is not the JSON"):
        read_evaluation(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_evaluation(tmp_path / "nowhere.json")


def test_the_csv_has_every_score_under_every_condition(scores: Scores) -> None:
    rows = list(csv.DictReader(io.StringIO(scores_csv(scores))))
    assert len(rows) == 6 * 5
    clean = [row for row in rows if row["condition"] == "clean"]
    assert [(row["data"], row["video"]) for row in clean] == [
        (s.data, s.video) for s in [*CDF2, *OTHER]
    ]
    assert [row["score"] for row in clean] == ["0.125", "0.5", "0.5", "", "0.75"]
    assert clean[3]["reason"] == "no face"
    assert clean[0]["shots"] == "0.125000 0.250000"
    assert (clean[3]["clips"], clean[4]["faces"], clean[2]["method"]) == ("", "2", "swap")
    blurred = [row for row in rows if row["condition"] == "gaussian_blur 5"]
    assert [row["score"] for row in blurred] == ["0.125", "0.75", "0.5", "", "0.75"]


def test_notes_say_on_how_many_videos_a_corruption_does_nothing(plan: Plan, scores: Scores) -> None:
    small = replace(plan, conditions=(CLEAN, BLUR[0], BLOCKS))
    document = evaluation_document(small, scores, model={"name": "mine"}, clip_length=4)
    notes = document["data"]["CDF2"]["robustness"]["notes"]
    assert notes.keys() == {"block_wise"}
    assert notes["block_wise"].startswith("does nothing on every video here: block-wise")
    assert f"- block_wise: {notes['block_wise']}" in markdown(document)


def test_per_cent() -> None:
    assert [per_cent(value) for value in (0.9347, 1.0, None)] == ["93.5", "100.0", "-"]
