"""Other runtimes say what torch says of a video, in several shots too; or what is missing."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest
import torch

from command_line import run
from exported_models import Case
from fakestormer.cli import ExitCode
from fakestormer.detection.detector import Detector
from fakestormer.detection.prediction import judge_in_shots
from fakestormer.errors import InputError, SetupError
from fakestormer.files import sha256_of
from fakestormer.model.build import build
from fakestormer.model.network import VideoNetwork
from fakestormer.recipe.model import ModelConfig
from fakestormer.recipe.prediction import PredictionConfig
from fakestormer.runtimes import exported
from fakestormer.runtimes.exported import ExportedNetwork, RuntimeName
from fakestormer.types import Report

RUNTIMES = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(find_spec(package) is None, reason=f"{package} not installed"),
    )
    for name, package in (("onnx", "onnxruntime"), ("openvino", "openvino"))
]


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder for all of this file, so that each model is exported once."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exported, "cache_folder", lambda: folder)
        yield folder


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory, drawn: ModuleType) -> Path:
    """Long enough for eleven clips of four frames: a full batch and a smaller one."""
    path: Path = tmp_path_factory.mktemp("film") / "face.mp4"
    drawn.write_video(path, drawn.draw(44)[0])
    return path


@pytest.fixture(scope="module")
def f_alone(exported_model: Callable[[str], Case]) -> Path:
    """A model that gives its logit alone, with an export beside it, called as its weights are."""
    folder = exported_model("timesformer").folder
    named = folder.with_name("f_alone")
    shutil.copytree(folder, named)
    for suffix in ("", ".json"):
        (named / f"m.onnx{suffix}").rename(named / f"model.onnx{suffix}")
    return named


@pytest.fixture(scope="module", params=["drawn_model", "f_alone"])
def model(request: pytest.FixtureRequest) -> Path:
    folder: Path = request.getfixturevalue(request.param)
    return folder


@pytest.mark.parametrize("name", RUNTIMES)
def test_a_video_gets_the_scores_that_torch_gives(
    name: RuntimeName, model: Path, video: Path, drawn: ModuleType
) -> None:
    reports: list[Report] = []
    for runtime in ("torch", name):
        detector = Detector(
            model,
            backend=drawn.DrawnFaces(),
            prediction=PredictionConfig(frames=44),
            runtime=runtime,
        )
        shots = 3 if "h" in detector.network.config.branches else 1
        reports.append(detector.predicting(shots=shots).detect(video))
    wanted, found = (report.faces[0].prediction for report in reports)
    assert len(wanted.clip_probabilities) > 8, "one batch proves little"
    close = {"atol": 1e-4, "rtol": 0}
    for part in ("clip_probabilities", "shot_probabilities", "frame_probabilities"):
        torch.testing.assert_close(getattr(found, part), getattr(wanted, part), **close)
    assert found.probability == pytest.approx(wanted.probability, abs=1e-4)
    if wanted.derivative is None:
        assert found.derivative is None
    else:
        # Also that no batch, and no shot, has written over the one before it.
        largest = max(1.0, float(wanted.derivative.abs().max()))
        assert found.derivative is not None
        torch.testing.assert_close(found.derivative, wanted.derivative, atol=1e-4 * largest, rtol=0)
        assert wanted.derivative.std(dim=0).max() > 1e-3, "all clips alike prove little"
    assert "runtime" not in reports[0].model
    said = {"onnx": "ONNX Runtime ", "openvino": "OpenVINO "}[name]
    assert reports[1].model["runtime"].startswith(said)


@pytest.mark.parametrize("name", RUNTIMES)
def test_frames_that_no_network_takes(name: RuntimeName, drawn_model: Path) -> None:
    network = Detector(drawn_model, runtime=name).network
    c = network.config
    size = (2, c.frames, 3, c.image_size, c.image_size)
    with pytest.raises(ValueError, match=r"expected uint8 frames, got torch\.float32"):
        network(torch.zeros(size))
    with pytest.raises(ValueError, match="expected frames of shape"):
        network(torch.zeros((*size[:-1], c.image_size + 1), dtype=torch.uint8))


def test_several_shots_need_h(tmp_path: Path) -> None:
    network = ExportedNetwork(
        VideoNetwork(ModelConfig(image_size=16, patch_size=8, frames=2, branches=[])),
        lambda frames: {"logit": torch.zeros(len(frames))},
        runtime="a test",
    )
    frames = torch.zeros((1, 2, 3, 16, 16), dtype=torch.uint8)
    assert judge_in_shots(network, frames, PredictionConfig())[0].tolist() == [[0.0]]
    with pytest.raises(InputError, match="no h that sees a change"):
        judge_in_shots(network, frames, PredictionConfig(shots=2))


# The file in between.


@pytest.fixture
def counted(cache: Path, drawn_model: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Files that were made, in order: copies of the drawn model's, which is quicker."""
    Detector(drawn_model, runtime="onnx")
    made: list[Path] = []

    def copy(_: object, path: Path, __: object) -> None:
        path.parent.mkdir(exist_ok=True)
        for name in (path.name, f"{path.name}.json"):
            shutil.copy(cache / "networks" / name, path.with_name(name))
        made.append(path)

    monkeypatch.setattr(exported, "_make", copy)
    return made


@pytest.mark.skipif(find_spec("onnxruntime") is None, reason="onnxruntime not installed")
def test_it_is_made_once_and_again_when_damaged(
    cache: Path,
    drawn_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    counted: list[Path],
) -> None:
    # Nothing half-done is left beside what was really made.
    for file in (cache / "networks").iterdir():
        assert file.with_name(file.name.removesuffix(".json")).suffix == ".onnx"
    monkeypatch.setattr(exported, "cache_folder", lambda: tmp_path)
    for _ in range(2):
        Detector(drawn_model, runtime="onnx")
    (path,) = counted
    assert path.parent == tmp_path / "networks"
    path.write_bytes(path.read_bytes()[:-100])
    Detector(drawn_model, runtime="onnx")
    assert counted == [path, path]
    assert exported._is_of(path, sha256_of(drawn_model / "model.safetensors"))


def test_the_same_weights_in_another_network_are_another_file(
    drawn_model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made: list[Path] = []
    monkeypatch.setattr(exported, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(exported, "require_onnx", lambda: None)
    monkeypatch.setattr(exported, "_make", lambda _, path, __: made.append(path))
    config = Detector(drawn_model).network.config
    for heads in (config.heads, 1, config.heads):
        network = build(config.model_copy(update={"heads": heads}))
        exported._exported(network, drawn_model / "model.safetensors", "of both", "ONNX")
    assert made[0] == made[2] != made[1]


def test_an_export_beside_the_weights_is_taken(
    f_alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(exported, "cache_folder", lambda: tmp_path / "cache")
    # Nothing but the runtime itself is needed then.
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    Detector(f_alone, runtime="onnx")

    folder = shutil.copytree(f_alone, tmp_path / "model")
    described = folder / "model.onnx.json"
    document = json.loads(described.read_text())
    described.write_text(json.dumps(document | {"weights_sha256": "of others"}))
    with pytest.raises(SetupError, match=r"needs onnx, onnxscript and onnxruntime"):
        Detector(folder, runtime="onnx")


def test_other_numbers_are_refused(drawn_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    engine = exported._ENGINES["onnx"]

    def off(path: Path) -> exported.Run:
        plain = engine.run(path)
        return lambda frames: {name: y * 1.01 for name, y in plain(frames).items()}

    changed = exported._Engine(engine.title, engine.package, engine.extra, off)
    monkeypatch.setattr(exported, "_ENGINES", {"onnx": changed})
    with pytest.raises(InputError, match=r"in ONNX Runtime .* differs from torch's by .*--runtime"):
        Detector(drawn_model, runtime="onnx")


def test_a_cache_that_cannot_be_written(
    drawn_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(exported, "cache_folder", lambda: tmp_path / "file")
    with pytest.raises(SetupError, match=r"Not a directory.*set FAKESTORMER_CACHE"):
        Detector(drawn_model, runtime="onnx")


# What is missing, and what does not go together.


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [("onnx", "onnxruntime", "export"), ("openvino", "openvino", "openvino")],
)
def test_without_the_package_the_command_is_named(
    name: RuntimeName,
    package: str,
    extra: str,
    drawn_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    drawn: ModuleType,
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SetupError, match=rf"pip install 'fakestormer\[{extra}\]'"):
        Detector(drawn_model, runtime=name)
    monkeypatch.setattr("fakestormer.detection.batch.open_backend", lambda _: drawn.DrawnFaces())
    code, out, err = run(
        ["detect", "x.mp4", "--model", drawn_model, "--runtime", name], monkeypatch, capfd
    )
    assert (code, out) == (ExitCode.SETUP_NEEDED, "")
    assert err.count("\n") == 1
    assert f"--runtime {name} needs" in err


def test_another_device_is_refused(
    drawn_model: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match="runtime 'onnx' works on the CPU, not on device 'cuda'"):
        Detector(drawn_model, runtime="onnx", device="cuda")
    for arguments, sentence in (
        (["--runtime", "onnx", "--device", "cuda"], "works on the CPU"),
        (["--runtime", "tensorrt"], "'tensorrt' is not one of torch, onnx, openvino"),
    ):
        code, out, err = run(
            ["detect", "x.mp4", "--model", drawn_model, *arguments], monkeypatch, capfd
        )
        assert (code, out) == (ExitCode.USAGE, "")
        assert sentence in " ".join(err.replace("│", " ").split())


@pytest.mark.skipif(find_spec("onnxruntime") is None, reason="onnxruntime not installed")
def test_the_command_uses_it(
    drawn_model: Path,
    video: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    drawn: ModuleType,
    counted: list[Path],
) -> None:
    monkeypatch.setattr("fakestormer.detection.batch.open_backend", lambda _: drawn.DrawnFaces())
    monkeypatch.setattr(exported, "cache_folder", lambda: tmp_path)
    results = tmp_path / "results.json"
    command = ["detect", video, "--model", drawn_model, "--runtime", "onnx", "--json", results]
    code, _, err = run(command, monkeypatch, capfd)
    assert code == ExitCode.DONE, err
    # Before it takes long, not after; and the second time there is nothing to wait for.
    assert err.count("its network is now written for ONNX Runtime; this is done once") == 1
    assert len(err.splitlines()) == 1
    assert run(command, monkeypatch, capfd)[2] == ""
    assert len(counted) == 1
    (result,) = json.loads(results.read_text())["results"]
    assert result["model"]["runtime"].startswith("ONNX Runtime ")
    assert result["probability"] is not None


def test_nobody_is_told(drawn_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both report to their makers unless told not to (seen with strace: onnxruntime 1.32 opening
    a session, openvino 2026.4 being imported).
    """
    onnxruntime = pytest.importorskip("onnxruntime")
    order: list[str] = []
    session = onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, "disable_telemetry_events", lambda: order.append("silence"))
    monkeypatch.setattr(
        onnxruntime,
        "InferenceSession",
        lambda *given, **named: order.append("session") or session(*given, **named),
    )
    Detector(drawn_model, runtime="onnx")
    assert order[0] == "silence"
    assert order.count("session") == 1
    if find_spec("openvino") is not None:
        Detector(drawn_model, runtime="openvino")
        assert "openvino_telemetry.main" not in sys.modules
