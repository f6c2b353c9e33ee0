"""Detection without torch: ONNX Runtime says what torch says, from files that are checked."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from exported_models import Case
from fakestormer.detection.detector import Detector
from fakestormer.errors import InputError
from fakestormer.model.document import SHIPPED, read_document, recipe_of
from fakestormer.model.model_file import load_model
from fakestormer.runtimes.engine import Engine
from fakestormer.runtimes.onnx_engine import OnnxEngine
from fakestormer.runtimes.open import open_engine
from fakestormer.runtimes.torch_engine import TorchEngine
from fakestormer.tools.export import export


def opened(weights: Path) -> Engine:
    document = read_document(weights)
    return open_engine(weights, document, recipe_of(document, weights).model, "cpu")


def faces(engine: Engine, clips: int) -> np.ndarray:
    """Crops that drift and grow over a portrait: of noise, g of the weights that ship says -1.935
    again and again."""
    c, portrait = engine.config, astronaut()
    size = (c.image_size, c.image_size)
    squares = [
        cv2.resize(portrait[50 - n : 230, 120 + n : 300 + 2 * n], size)
        for n in range(0, 3 * clips * c.frames, 3)
    ]
    frames = np.stack(squares).reshape(clips, c.frames, *size, 3)
    return np.ascontiguousarray(frames.transpose(0, 1, 4, 2, 3))


def require_alike(one: Engine, other: Engine) -> None:
    frames = faces(one, 3)
    scores, wanted = one.judge(frames), other.judge(frames)
    for name in ("logits", "derivative", "frame_logits", "distance"):
        given, expected = getattr(scores, name), getattr(wanted, name)
        assert (given is None) == (expected is None), name
        if expected is not None:
            np.testing.assert_allclose(given, expected, atol=1e-4, rtol=1e-4, err_msg=name)
            assert expected.std() > 1e-3, "numbers that are all alike prove little"
    for given, expected in zip(one.explain(frames), other.explain(frames), strict=True):
        np.testing.assert_allclose(given, expected, atol=1e-4, rtol=1e-4)


def test_the_weights_that_ship_are_computed_by_onnx_runtime_and_say_what_torch_says() -> None:
    engine = opened(SHIPPED)
    assert isinstance(engine, OnnxEngine)
    assert engine.program.startswith("ONNX Runtime ")
    require_alike(engine, TorchEngine(load_model(SHIPPED)[0]))


WITHOUT_TORCH = """
import sys
class NotInstalled:
    def find_spec(self, name, *_):
        if name == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
sys.meta_path.insert(0, NotInstalled())
from fakestormer import Detector, SetupError, write_report
report = Detector().detect(sys.argv[1], every_second=True)
print(report.verdict, report.decisive.moment.sentence, write_report(report, sys.argv[2]).name)
for model, device in ((sys.argv[3], "cpu"), (None, "cuda")):
    try:
        Detector(model, device=device)
    except SetupError as error:
        print(error)
"""


def test_detection_does_without_torch(
    astronaut_video: Callable[..., Path], untrained_model: Path, tmp_path: Path
) -> None:
    film = astronaut_video(tmp_path / "a.mp4", count=12)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, film, tmp_path, untrained_model],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    report, *sentences = done.stdout.splitlines()
    assert report.endswith(".html")
    assert len(sentences) == 2
    assert "which has no .onnx file, needs torch: install it with" in sentences[0]
    assert sentences[1].startswith("device 'cuda' needs torch: ")


@pytest.fixture
def beside(
    exported_model: Callable[[str], Case], tmp_path: Path
) -> Callable[[str], tuple[Path, OnnxEngine]]:
    """A model with its export beside it, under the name that `detect` looks for."""

    def make(name: str) -> tuple[Path, OnnxEngine]:
        case = exported_model(name)
        folder = tmp_path / "model"
        shutil.copytree(case.folder, folder)
        for suffix in (".onnx", ".onnx.json"):
            (folder / f"m{suffix}").rename(folder / f"model{suffix}")
        engine = opened(folder / "model.safetensors")
        assert isinstance(engine, OnnxEngine)
        return folder, engine

    return make


def test_what_the_file_has_no_output_for_torch_computes(
    beside: Callable[[str], tuple[Path, OnnxEngine]],
) -> None:
    folder, engine = beside("fakestormer")
    require_alike(engine, TorchEngine(load_model(folder)[0]))


def test_frames_that_do_not_fit(beside: Callable[[str], tuple[Path, OnnxEngine]]) -> None:
    _, engine = beside("timesformer")
    frames = faces(engine, 1)
    for wrong in (frames[:, :-1], frames[..., :-1], frames.astype(np.float32)):
        with pytest.raises(ValueError, match="expected uint8 frames"):
            engine.judge(wrong)


def test_a_file_of_other_weights_is_left_alone(
    beside: Callable[[str], tuple[Path, OnnxEngine]],
) -> None:
    folder, _ = beside("timesformer")
    about = json.loads((folder / "model.onnx.json").read_text())
    (folder / "model.onnx.json").write_text(json.dumps(about | {"weights_sha256": "0" * 64}))
    engine = opened(folder / "model.safetensors")
    assert isinstance(engine, TorchEngine)
    assert engine.program.startswith("torch ")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"sha256": "0" * 64}, r"model\.onnx: is not the file that model\.onnx\.json describes"),
        ({"check_logits": [9.0]}, r"model\.onnx: its logits in ONNX Runtime .* differ from torch"),
        ({"branches_sha256": "0" * 64}, r"model\.branches\.onnx: is not the file"),
    ],
)
def test_a_file_that_is_damaged_or_says_something_else(
    beside: Callable[[str], tuple[Path, OnnxEngine]], change: dict[str, object], sentence: str
) -> None:
    folder, _ = beside("timesformer")
    about = json.loads((folder / "model.onnx.json").read_text())
    (folder / "model.onnx.json").write_text(json.dumps(about | change))
    with pytest.raises(InputError, match=sentence):
        Detector(folder)


def test_h_and_g_are_in_a_file_of_their_own_where_f_stands_alone(tmp_path: Path) -> None:
    """Of the weights that ship, exported once more."""
    for suffix in (".safetensors", ".json"):
        shutil.copy(SHIPPED.with_suffix(suffix), tmp_path / f"model{suffix}")
    export(tmp_path, onnx=tmp_path / "model.onnx")
    assert {path.name for path in tmp_path.glob("*.onnx*")} == {
        "model.onnx", "model.onnx.json", "model.branches.onnx",
    }  # fmt: skip
    engine = opened(tmp_path / "model.safetensors")
    require_alike(engine, opened(SHIPPED))

    frames = faces(engine, 3)
    whole = engine.judge(frames)
    assert whole.evidence is not None
    engine = opened(tmp_path / "model.safetensors")
    (tmp_path / "model.branches.onnx").unlink()
    f_alone = engine.judge(frames, branches=False)
    assert f_alone.derivative is None
    assert f_alone.frame_logits is None
    assert f_alone.logits.tolist() == whole.logits.tolist(), "to the last bit"
    for given, expected in zip(engine.explain(frames), (whole.logits, whole.evidence), strict=True):
        assert given.tolist() == expected.tolist()
