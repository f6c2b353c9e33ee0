"""What is handed to machines and printed: missing heads are null, shots are told apart."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from fakestormer.cli.console.detecting import print_report
from fakestormer.types import FaceReport, Report

FakeFace = Callable[..., FaceReport]
FakeReport = Callable[..., Report]


@pytest.mark.parametrize("branches", [("h", "g"), ("g",), ("h",), ()])
def test_missing_heads_are_null(
    fake_face: FakeFace, fake_report: FakeReport, branches: tuple[str, ...]
) -> None:
    result = json.loads(json.dumps(fake_report((fake_face(branches=branches),)).to_dict()))
    (face,) = result["faces"]
    assert [clip["probability"] for clip in face["clips"]] == [0.12, 0.93, 0.41]
    for clip in face["clips"]:
        assert (clip["frame_probabilities"] is not None) == ("g" in branches)


def test_shots_in_the_results(fake_face: FakeFace, fake_report: FakeReport) -> None:
    (face,) = fake_report((fake_face(shots=(0.9, 0.75, 0.6)),)).to_dict()["faces"]
    assert face["shots"] == {"last": 0.6, "mean": 0.75, "each": [0.9, 0.75, 0.6]}


def test_shots_in_print(
    fake_face: FakeFace, fake_report: FakeReport, capsys: pytest.CaptureFixture[str]
) -> None:
    print_report(fake_report((fake_face(shots=(0.9, 0.75, 0.6)),)))
    assert "    3 shots: last 0.600, mean 0.750\n" in capsys.readouterr().out
    print_report(fake_report())
    assert "shots" not in capsys.readouterr().out
