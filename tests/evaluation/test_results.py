"""evaluation.json, scores.csv and evaluation.md: all of the numbers, and what they depend on."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fakestormer.evaluation.protocol import VideoScore
from fakestormer.evaluation.results import (
    evaluation_document,
    markdown,
    per_cent,
    write_evaluation,
)
from fakestormer.prediction import PredictionConfig

SCORES = [
    VideoScore(
        data="CDF2", video=f"{label}/{number}.mp4", sha256=f"{number}" * 64, label=label,
        method="swap" if label == "fake" else "", source="s", score=score, shots=(score, 0.25),
        clips=(score, score), faces=1,
    )
    for number, (label, score) in enumerate((("real", 0.125), ("real", 0.5), ("fake", 0.5)))
]  # fmt: skip
SCORES += [
    VideoScore(data="CDF2", video="real/9.mp4", sha256="9" * 64, label="real", method="",
               source="s", score=None, reason="no face"),
    VideoScore(data="other", video="real/0.mp4", sha256="5" * 64, label="real", method="",
               source="o", score=0.75, shots=(0.75,), clips=(0.75,), faces=2),
]  # fmt: skip
SETTINGS = PredictionConfig(sampling="spread", frames=8, shots=2, margin=10).model_dump(
    mode="json"
) | {"clip_length": 4, "split": "test", "face": "max"}


@pytest.fixture
def document(make_store: Callable[..., Path], tmp_path: Path) -> dict[str, Any]:
    stores = {name: make_store(tmp_path / name, test=1) for name in ("CDF2", "other")}
    model = {"name": "mine", "weights_sha256": "ab" * 32}
    return evaluation_document(SCORES, stores, model=model, settings=SETTINGS)


def test_the_document_holds_the_numbers_and_what_repeats_them(
    document: dict[str, Any], tmp_path: Path
) -> None:
    assert document["model"] == {"name": "mine", "weights_sha256": "ab" * 32}
    assert document["settings"] == SETTINGS
    assert list(document["data"]) == ["CDF2", "other"]
    first, second = document["data"].values()
    for name, data in document["data"].items():
        manifest = (tmp_path / name / "manifest.parquet").read_bytes()
        assert data["manifest_sha256"] == hashlib.sha256(manifest).hexdigest()
        # What was done before: who found the faces, and in how many frames.
        assert data["prepared"]["backend"] == "drawn"
        assert data["prepared"]["max_frames"] == 256
        assert data["prepared"]["crop"]["stored_size"] == 64
    assert (first["videos"], first["scored"]) == (4, 3)
    assert first["left_out"] == {"real/9.mp4": "no face"}
    assert [s["group"] for s in first["separations"]] == ["all", "method swap", "source s"]
    assert first["separations"][0]["auc"] == pytest.approx(1.5 / 2)
    assert (second["videos"], second["scored"], second["left_out"]) == (1, 1, {})
    assert second["separations"][0]["auc"] is None


def test_the_caption_names_every_convention(document: dict[str, Any]) -> None:
    text = markdown(document)
    assert text.startswith("# Evaluation of mine\n")
    first, second = text.split("\n## ")[1:]
    assert first.startswith("CDF2\n")
    for said in (
        "Video-level AUC in per cent", "3 of 4 videos scored, 1 left out", "split test",
        "sampling spread", "8 frames in clips of 4", "shots 2 (last)", "mean of probability",
        "margin 10 of 256 px", "face: max", "found by drawn", "first 256 frames",
    ):  # fmt: skip
        assert said in first, said
    lines = first.strip().splitlines()
    # With the one left out at 0.5: 0.5 against 0.125, 0.5, 0.5; clips 2 x 2 against 2 x 4 alike.
    assert "| all | 2 | 1 | 75.0 | 50.0 to 100.0 | 66.7 | 75.0 |" in lines
    header = next(line for line in lines if line.startswith("| group"))
    assert {line.count("|") for line in lines if line.startswith("|")} == {header.count("|")}
    assert "| all | 1 | 0 | - | - | - | - |" in second


def test_the_files(document: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "new" / "folder"
    write_evaluation(out, SCORES, document)
    assert {path.name for path in out.iterdir()} == {
        "evaluation.json", "evaluation.md", "scores.csv",
    }  # fmt: skip
    # Tuples become lists, nothing else changes.
    assert json.loads((out / "evaluation.json").read_text()) == json.loads(json.dumps(document))
    assert (out / "evaluation.md").read_text() == markdown(document)
    with (out / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["data"], row["video"]) for row in rows] == [(s.data, s.video) for s in SCORES]
    assert [row["score"] for row in rows] == ["0.125", "0.5", "0.5", "", "0.75"]
    assert rows[3]["reason"] == "no face"
    assert rows[0]["shots"] == "0.125000 0.250000"
    assert (rows[3]["clips"], rows[4]["faces"], rows[2]["method"]) == ("", "2", "swap")


def test_per_cent() -> None:
    assert [per_cent(value) for value in (0.9347, 1.0, None)] == ["93.5", "100.0", "-"]
