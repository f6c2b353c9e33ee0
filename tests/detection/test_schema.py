"""The published schema of `detect --json`: what we write fits it, and what is wrong does not."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any, get_args

import pytest

from fakestormer.detection.collected import Collected
from fakestormer.detection.detector import Detector
from fakestormer.detection.results import SCHEMA, failure_of
from fakestormer.types import FaceReport, ReasonCode, Report, Verdict

jsonschema = pytest.importorskip("jsonschema")

DOCUMENT = json.loads((files("fakestormer.detection") / "results.schema.json").read_text())


@pytest.fixture(scope="module")
def validate() -> Callable[[object], None]:
    jsonschema.Draft202012Validator.check_schema(DOCUMENT)
    return jsonschema.Draft202012Validator(DOCUMENT).validate


def test_the_schema_names_what_the_program_has() -> None:
    defined = DOCUMENT["$defs"]
    assert DOCUMENT["properties"]["schema"]["const"] == SCHEMA
    assert defined["verdict"]["enum"] == list(get_args(Verdict))
    codes = defined["reasons"]["items"]["properties"]["code"]["enum"]
    assert codes == list(get_args(ReasonCode))


@pytest.mark.usefixtures("face_backend_ready")
def test_what_detection_writes_fits(
    validate: Callable[[object], None],
    untrained_model: Path,
    astronaut_video: Callable[..., Path],
    tmp_path: Path,
) -> None:
    video = astronaut_video(tmp_path / "two.mp4", count=12, faces=2)
    target = tmp_path / "r.json"
    with Collected([str(video), "no.mp4"], json_file=target) as collected:
        collected.add(str(video), Detector(untrained_model).detect(video).to_dict())
        collected.add("no.mp4", failure_of("no.mp4", "no.mp4: no such file; check the path"))
    document = json.loads(target.read_text())
    validate(document)
    result, failure = document["results"]
    assert result["file"]["size"] == video.stat().st_size
    assert "file" not in failure


@pytest.mark.parametrize("branches", [("h", "g"), ("g",), ()])
def test_models_without_heads_fit(
    validate: Callable[[object], None],
    fake_face: Callable[..., FaceReport],
    fake_report: Callable[..., Report],
    branches: tuple[str, ...],
) -> None:
    validate(
        {"schema": SCHEMA, "results": [fake_report((fake_face(branches=branches),)).to_dict()]}
    )


WRONG: dict[str, Callable[[dict[str, Any]], object]] = {
    "a verdict of ours that does not exist": lambda r: r.update(verdict="real"),
    "a number beyond 1": lambda r: r.update(probability=1.2),
    "no hash": lambda r: r.pop("sha256"),
    "a reason without a need": lambda r: r["reasons"].append(
        {"code": "clips_disagree", "text": "x"}
    ),
    "half an interval": lambda r: r.update(interval=[0.1]),
    "a face without clips": lambda r: r["faces"][0].update(clips=[]),
    "a failure with a number": lambda r: r.update(error="no"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_does_not_fit(
    validate: Callable[[object], None], fake_report: Callable[..., Report], what: str
) -> None:
    result = json.loads(json.dumps(fake_report().to_dict()))
    validate({"schema": SCHEMA, "results": [result]})
    wrong = copy.deepcopy(result)
    WRONG[what](wrong)
    with pytest.raises(jsonschema.ValidationError):
        validate({"schema": SCHEMA, "results": [wrong]})
    with pytest.raises(jsonschema.ValidationError):
        validate({"schema": "fakestormer/detect/0", "results": [result]})
