"""What a user writes with the public names; test_public_api.py checks its types, nobody runs it."""

from pathlib import Path
from typing import assert_type

import numpy as np

import fakestormer
from fakestormer import (
    Detection,
    Detector,
    DetectorSettings,
    EvaluationSettings,
    InputError,
    NoFaceError,
    PrepareSettings,
    Recipe,
    Report,
    ResultFiles,
    SetupError,
    TrainingError,
    TrainSettings,
    detect_many,
    evaluate,
    load_recipe,
    prepare,
    synthesize,
    train,
    write_report,
)


def detect(path: Path) -> Report | None:
    detector = Detector()
    try:
        report = detector.detect(path, progress=lambda stage, done, total: None)
    except NoFaceError:
        return None
    except (InputError, SetupError) as error:
        print(error)
        return None
    assert_type(report.probability, float | None)
    assert_type(write_report(report, "reports"), Path)
    detector.detect(b"bytes", name="upload.mp4")
    with path.open("rb") as file:
        detector.detect(file)
    detector.detect(np.zeros((8, 64, 64, 3), np.uint8), frames_per_second=25.0)
    return report


def detect_all(folder: str) -> list[Detection]:
    settings = DetectorSettings(model="RUN", sampling="windows", every_second=True)
    files = ResultFiles(json_file="results.json", csv_file=Path("a.csv"), resume=True)
    return list(detect_many([folder], settings=settings, files=files, workers=2))


def learn(videos: Path) -> dict[str, float]:
    recipe = load_recipe("tiny", ["training.epochs=3"])
    assert_type(recipe, Recipe)
    summary = prepare(videos, "store", recipe=recipe, settings=PrepareSettings(hold_out=("a",)))
    assert_type(summary.tracks, int)
    synthesize(videos / "a.mp4", "pair", seed=1)
    try:
        result = train("store", "run", recipe=recipe, settings=TrainSettings(workers=2))
    except TrainingError:
        return {}
    evaluate("RUN", {"mine": "store"}, "out", EvaluationSettings(split="test"))
    assert_type(fakestormer.__version__, str)
    return result.best
