"""A model before it is given away: calibrated, found without being named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import command_line
from fakestormer.cli import ExitCode
from fakestormer.cli.console.detecting import print_report
from fakestormer.data.manifest import read_manifest
from fakestormer.detection.detector import Detector
from fakestormer.detection.prediction import predict_track, verdict
from fakestormer.detection.verdict import standing
from fakestormer.errors import InputError, SetupError
from fakestormer.files import sha256_of
from fakestormer.model import document
from fakestormer.model.document import SHIPPED, weights_file
from fakestormer.model.model_file import load_model
from fakestormer.recipe.named import tiny
from fakestormer.recipe.prediction import Calibration, PredictionConfig
from fakestormer.recipe.recipe import Recipe
from fakestormer.report.page import write_report
from fakestormer.runtimes.torch_engine import TorchEngine
from fakestormer.tools.calibrate import calibrate
from folder_stores import prepare_folder
from store_fixtures import score_store

MakeVideo = Callable[..., Path]
Run = Callable[..., tuple[int, str, str]]
PLATT = {"method": "platt", "slope": 0.5, "offset": -1.0}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """(exit code, standard output, standard error) of a command, in this process."""

    def call(*arguments: object) -> tuple[int, str, str]:
        return command_line.run([*arguments], monkeypatch, capfd)

    return call


def with_entry(model: Path, folder: Path, **entries: Any) -> Path:
    """A copy of a model with more in its JSON."""
    shutil.copytree(model, folder, dirs_exist_ok=True)
    described = folder / "model.json"
    described.write_text(json.dumps(json.loads(described.read_text()) | entries))
    return folder


def copied(model: Path, weights: Path) -> None:
    """A model in a folder, as a file and its JSON."""
    weights.parent.mkdir(parents=True, exist_ok=True)
    for suffix in (".safetensors", ".json"):
        shutil.copy(model / f"model{suffix}", weights.with_suffix(suffix))


# the model that came with the package


def test_without_a_model_the_one_of_the_package_is_taken(
    drawn_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = tmp_path / "weights" / "fakestormer-compact.safetensors"
    monkeypatch.setattr(document, "SHIPPED", shipped)
    with pytest.raises(SetupError, match=r"without trained weights: name a model.*train one with"):
        Detector()
    copied(drawn_model, shipped)
    assert Detector().name == "fakestormer-compact"
    assert Detector(None).weights_sha256 == sha256_of(shipped)
    assert weights_file(None) == shipped
    assert weights_file(tmp_path) == tmp_path / "model.safetensors"


@pytest.mark.parametrize(
    "command",
    [
        ("detect", "a.mp4"),
        ("saliency", "a.mp4", "--out", "x"),
        ("evaluate", "--data", "STORE", "--out", "x"),
        ("shortcuts", "--data", "STORE", "--out", "x"),
    ],
)
def test_commands_take_it_too(
    command: tuple[str, ...],
    drawn_model: Path,
    tmp_path: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FAKESTORMER_MODEL", raising=False)
    shipped = tmp_path / "fakestormer-compact.safetensors"
    monkeypatch.setattr(document, "SHIPPED", shipped)
    code, _, err = run(*command)
    assert code == ExitCode.USAGE
    said = " ".join(err.replace("│", " ").split())
    assert "comes without trained weights" in said
    assert "fakestormer train VIDEOS" in said
    asked: list[Path | None] = []

    def stop(self: Detector, model: Path | None = None, **_: object) -> None:
        asked.append(model)
        raise InputError("far enough")

    copied(drawn_model, shipped)
    monkeypatch.setattr(Detector, "__init__", stop)
    assert run(*command)[0] in (ExitCode.ALL_FAILED, ExitCode.SETUP_NEEDED)
    assert asked in ([shipped], [])  # [] where no face models are set up


@pytest.mark.skipif(not SHIPPED.is_file(), reason="this package comes without weights")
def test_the_weights_of_the_package() -> None:
    assert SHIPPED.stat().st_size < 25e6
    network, document = load_model(SHIPPED)
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    on_disk = load_file(SHIPPED)
    assert all(on_disk[name].dtype == torch.float16 for name, _ in network.named_parameters())
    assert document["data"], "where the training data come from, and on what terms"
    assert Detector().prediction.calibration is not None


# a calibrated model


def test_without_calibration_nothing_is_said_of_it() -> None:
    config = PredictionConfig()
    assert "calibration" not in config.model_dump(mode="json")
    assert "calibration" not in tiny().model_dump(mode="json")["prediction"]
    calibrated = config.model_copy(update={"calibration": Calibration.model_validate(PLATT)})
    dumped = json.loads(calibrated.model_dump_json())
    assert dumped["calibration"]["slope"] == 0.5
    assert PredictionConfig.model_validate(dumped) == calibrated
    assert "margin" not in calibrated.model_dump(exclude={"margin"})


@pytest.mark.usefixtures("face_backend_ready")
def test_a_calibrated_model_says_the_same_in_detection_and_evaluation(
    untrained_model: Path,
    astronaut_video: MakeVideo,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    video = astronaut_video(tmp_path / "videos" / "face.mp4", count=12)
    before = Detector(untrained_model)
    after = Detector(with_entry(untrained_model, tmp_path / "model", calibration=PLATT))
    raw, report = before.detect(video), after.detect(video)
    assert raw.probability is not None
    (face,) = report.faces
    expected = Calibration.model_validate(PLATT).probability(raw.probability)
    assert report.probability == face.prediction.probability == expected
    assert face.prediction.raw == face.prediction.score == raw.probability
    assert raw.faces[0].prediction.raw is None
    assert raw.faces[0].prediction.score == raw.probability
    of_clips, network_said = face.prediction, raw.faces[0].prediction
    assert np.array_equal(of_clips.clip_scores, network_said.clip_probabilities)
    calibrated = [Calibration.model_validate(PLATT).probability(s) for s in of_clips.clip_scores]
    assert of_clips.clip_probabilities.tolist() == pytest.approx(calibrated)
    if not report.reasons:
        assert report.verdict == verdict(expected, PredictionConfig())

    store, recipe = tmp_path / "store", after.recipe
    prepare_folder(video.parent, store, crop=recipe.crop, tracking=recipe.tracking, max_frames=None)
    (score,) = score_store(
        after.engine, after.prediction, recipe.crop, store,
        split=read_manifest(store)[0].split,
    )  # fmt: skip
    assert (score.score, score.raw) == (report.probability, raw.probability)
    assert np.mean(score.clips) == pytest.approx(raw.probability)

    result = report.to_dict()
    assert result["raw"] == result["faces"][0]["raw"] == round(raw.probability, 6)
    assert "raw" not in raw.to_dict()
    assert "raw" not in raw.to_dict()["faces"][0]
    assert report.settings["fake_from"] == pytest.approx(0.55)
    (clip, *_) = result["faces"][0]["clips"]
    assert clip["raw"] == round(float(of_clips.clip_scores[0]), 6)
    assert clip["probability"] == round(float(of_clips.clip_probabilities[0]), 6)
    print_report(report)
    print_report(raw)
    out = capsys.readouterr().out
    assert out.count(f"before calibration {raw.probability:.3f}") == 1
    page = write_report(report, tmp_path).read_text()
    assert f"is called raw: Face 1 {raw.probability:.3f}" in page
    assert page.count("- - likely fake from 0.55") == 1, "one line for all probabilities"
    assert "calibrat" not in write_report(raw, tmp_path / "raw").read_text()
    assert not any("calibrated" in warning for warning in report.warnings)
    warning = after.predicting(sampling="spread").detect(video).warnings[0]
    assert "calibrated for sampling windows, shots 1, and here it is spread, 1" in warning


def test_the_face_that_decides_is_the_same() -> None:
    """Isotonic calibration can give two faces one probability; the higher score still decides."""

    class Face:
        verdict = "inconclusive"

        def __init__(self, score: float) -> None:
            self.prediction = type("P", (), {"score": score, "probability": 0.5})

    faces = [Face(0.2), Face(0.9), Face(0.4)]
    best = max(faces, key=lambda face: standing(face, lasting=True))  # type: ignore[arg-type]
    assert best is faces[1]


@pytest.mark.parametrize("entry", [{"method": "magic"}, {"slope": 1}, 3, {**PLATT, "slope": -1}])
def test_a_damaged_calibration_is_one_sentence(
    entry: object, untrained_model: Path, tmp_path: Path
) -> None:
    model = with_entry(untrained_model, tmp_path, calibration=entry)
    with pytest.raises(InputError, match=r"model\.json: its calibration cannot be used") as found:
        Detector(model)
    assert "\n" not in str(found.value)


def test_shots_clips_and_frames_are_calibrated_and_keep_the_raw_score(
    drawn_model: Path, recipe: Recipe
) -> None:
    engine = TorchEngine(load_model(drawn_model)[0])
    clips = [_noise(recipe, seed) for seed in range(2)]
    config = PredictionConfig(shots=2, shot_score="mean", frames=8)
    calibrated = config.model_copy(update={"calibration": Calibration.model_validate(PLATT)})
    raw, _ = predict_track(engine, 8, lambda _: clips, config)
    found, _ = predict_track(engine, 8, lambda _: clips, calibrated)
    assert found.raw == raw.probability != found.probability
    curve = Calibration.model_validate(PLATT).probability
    for part in ("clip", "shot", "frame"):
        said = getattr(raw, f"{part}_probabilities")
        assert np.array_equal(getattr(found, f"{part}_raw"), said)
        expected = np.array([curve(score) for score in said.flatten().tolist()], np.float32)
        assert np.array_equal(getattr(found, f"{part}_probabilities").flatten(), expected)


def _noise(recipe: Recipe, seed: int) -> Any:
    from fakestormer.types import Clip

    side = recipe.crop.stored_size
    rng = np.random.default_rng(seed)
    return Clip(
        frames=rng.integers(0, 256, (4, 3, side, side), dtype=np.uint8),
        landmarks=np.zeros((4, 68, 2), np.float32),
        indices=np.arange(4),
        pts_seconds=np.arange(4) / 25,
        source="noise",
    )


# the commands


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory, make_store: Callable[..., Path]) -> Path:
    folder = tmp_path_factory.mktemp("pairs") / "pairs"
    return make_store(folder, frames=4, test=12, fakes={"test": {"swap": 12}})


def tell_apart(out: Path) -> None:
    """Untrained scores say nothing: give the fakes of an evaluation higher ones."""
    path = out / "evaluation.json"
    document = json.loads(path.read_text())
    (by_sampling,) = document["scores"].values()
    for number, entry in enumerate(by_sampling["windows"]):
        entry["score"] = 0.3 + 0.01 * (number % 12) + (0.2 if entry["label"] == "fake" else 0)
    path.write_text(json.dumps(document))


def test_evaluate_calibrate_evaluate(
    run: Run, drawn_model: Path, pairs: Path, tmp_path: Path
) -> None:
    compact = tmp_path / "compact.safetensors"
    copied(drawn_model, compact)
    out = tmp_path / "raw"
    arguments = ("evaluate", "--model", compact, "--data", pairs, "--out")
    assert run(*arguments, out)[0] == ExitCode.DONE
    before = json.loads((out / "evaluation.json").read_text())
    assert "calibration" not in before["settings"]

    of_another = tmp_path / "of_another.json"
    of_another.write_text(json.dumps(before | {"model": {"weights_sha256": "0" * 64}}))
    code, _, err = run("calibrate", compact, "--scores", of_another)
    assert code == ExitCode.ALL_FAILED
    assert "evaluate this model first" in err
    assert len(err.strip().splitlines()) == 1

    tell_apart(out)
    code, printed, err = run("calibrate", compact, "--scores", out)
    assert (code, err) == (ExitCode.DONE, "")
    assert "platt on 12 real videos and 12 fakes, sampling windows, slope" in printed
    assert (tmp_path / "compact-reliability.png").is_file()
    code, printed, _ = run(
        "calibrate", compact, "--scores", out, "--plot", tmp_path / "plots" / "a.png"
    )
    assert code == ExitCode.DONE
    assert (tmp_path / "plots" / "a.png").is_file()
    entry = json.loads(compact.with_suffix(".json").read_text())["calibration"]
    assert entry["method"] == "platt"
    assert entry["fitted_on"]["evaluation_sha256"] == sha256_of(out / "evaluation.json")
    assert entry["fitted_on"]["weights_sha256"] == sha256_of(compact)

    # Of several samplings it takes the model's own, unless told.
    document = json.loads((out / "evaluation.json").read_text())
    document["settings"]["samplings"] = ["spread", "windows"]
    for by_sampling in document["scores"].values():
        by_sampling["spread"] = by_sampling["windows"]
    (tmp_path / "two.json").write_text(json.dumps(document))
    for sampling, taken in (("spread", "spread"), (None, "windows")):
        fitted, _ = calibrate(compact, tmp_path / "two.json", sampling=sampling)
        assert fitted.calibration.sampling == taken

    # In the same folder: scores of before are not taken for calibrated ones.
    calibration = Detector(compact).prediction.calibration
    assert calibration is not None
    code, printed, _ = run(*arguments, out)
    assert code == ExitCode.DONE
    assert "calibrated (platt; clips are not)" in printed
    after = json.loads((out / "evaluation.json").read_text())
    assert after["settings"]["calibration"]["slope"] == pytest.approx(entry["slope"])
    old, new = (d["scores"]["pairs"]["windows"] for d in (before, after))
    assert [s["raw"] for s in new] == pytest.approx([s["score"] for s in old])
    assert [s["score"] for s in new] == pytest.approx(
        [calibration.probability(s["score"]) for s in old]
    )
    assert [s["clips"] for s in new] == [s["clips"] for s in old]
    aucs = [
        d["data"]["pairs"]["results"]["windows"]["groups"][0]["metrics"]["auc"]
        for d in (before, after)
    ]
    assert aucs[0] == aucs[1]
    accuracy = after["data"]["pairs"]["results"]["windows"]["groups"][0]["metrics"]["accuracy"]
    assert accuracy == np.mean([(s["score"] >= 0.5) == (s["label"] == "fake") for s in new])


def test_shortcuts_command(run: Run, drawn_model: Path, pairs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, printed, err = run(
        "shortcuts", "--model", drawn_model, "--data", pairs, "--out", out, "--at-most", 2
    )
    assert (code, err) == (ExitCode.DONE, "")
    assert "2 real videos" in printed
    assert "| H.264 crf 28 |" in printed
    assert {path.name for path in out.iterdir()} == {
        "shortcuts.json", "shortcuts.md", "shortcuts.png",
    }  # fmt: skip


def test_wrong_usage(run: Run, drawn_model: Path, tmp_path: Path) -> None:
    code, _, err = run("calibrate", drawn_model, "--scores", tmp_path)
    assert code == ExitCode.ALL_FAILED
    assert "evaluation.json: cannot be read" in err
