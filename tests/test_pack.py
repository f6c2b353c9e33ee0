"""`runs/pack.py`: a compact copy of a trained model."""

from __future__ import annotations

import json
import runpy
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from conftest import ROOT
from fakestormer.detection.detector import Detector
from fakestormer.errors import InputError
from fakestormer.files import sha256_of
from fakestormer.model.build import build
from fakestormer.model.model_file import load_model, save_model
from fakestormer.recipe.prediction import Calibration
from fakestormer.recipe.recipe import Recipe

SCRIPT = str(ROOT / "runs" / "pack.py")
PLATT = {"method": "platt", "slope": 0.5, "offset": -1.0}

pack = runpy.run_path(SCRIPT)["pack"]


def test_packed_is_half_the_size_and_single_precision_in_memory(
    drawn_model: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(drawn_model, model)
    more = {"licence": "ask", "calibration": PLATT, "metrics": {"auc": 0.5}}
    described = model / "model.json"
    described.write_text(json.dumps(json.loads(described.read_text()) | more))
    packed = pack(model, tmp_path / "out" / "compact.safetensors", data="drawn faces")
    assert packed.weights == tmp_path / "out" / "compact.safetensors"
    assert packed.size == packed.weights.stat().st_size
    assert packed.size < 0.6 * (model / "model.safetensors").stat().st_size
    assert set(packed.differences) == {"logit", "frame_logits", "derivative"}
    assert all(0 < difference < 0.01 for difference in packed.differences.values())

    network, before = load_model(model)
    on_disk = load_file(packed.weights)
    for name, parameter in network.named_parameters():
        assert on_disk[name].dtype == torch.float16
        torch.testing.assert_close(on_disk[name].float(), parameter, rtol=1e-3, atol=1e-7)
    again, document = load_model(packed.weights)
    assert {parameter.dtype for parameter in again.parameters()} == {torch.float32}
    assert document["weights_sha256"] == sha256_of(packed.weights)
    assert document["packed"]["from_sha256"] == before["weights_sha256"]
    assert document["data"] == "drawn faces"
    kept = ("recipe", "metrics", "face_backend", "trained_on", "code", "licence", "calibration")
    assert {name: document[name] for name in kept} == {name: before[name] for name in kept}
    loaded = Detector(packed.weights)
    assert (loaded.name, loaded.licence) == ("compact", "ask")
    assert loaded.prediction.calibration == Calibration.model_validate(PLATT)


def test_batch_norm_survives_what_half_precision_does_not(tmp_path: Path, recipe: Recipe) -> None:
    """Variances of features that hardly vary, and of features that vary a lot."""
    network = build(recipe.model)
    buffers = {name: buffer for name, buffer in network.named_buffers() if "running" in name}
    assert buffers, "h has BatchNorm"
    for number, buffer in enumerate(buffers.values()):
        buffer.fill_((1e-9, 1e6)[number % 2])
    save_model(tmp_path / "model", network, recipe.model_dump(mode="json"), {})
    packed = pack(tmp_path / "model", tmp_path / "packed")
    again = dict(load_model(packed.weights)[0].named_buffers())
    for name, buffer in buffers.items():
        assert torch.equal(again[name], buffer)


def test_what_cannot_be_packed(
    tmp_path: Path, recipe: Recipe, drawn_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = build(recipe.model)
    with torch.no_grad():
        network.f.linear.bias.fill_(1e6)
    save_model(tmp_path / "large", network, recipe.model_dump(mode="json"), {})
    with pytest.raises(InputError, match=r"f\.linear\.bias holds numbers that half precision"):
        pack(tmp_path / "large", tmp_path / "out")
    assert not (tmp_path / "out").exists()

    own = tmp_path / "own"
    shutil.copytree(drawn_model, own)
    with monkeypatch.context() as patch:
        patch.setitem(pack.__globals__, "TOLERANCE", 1e-9)
        with pytest.raises(InputError, match=r"in half precision its \w+ differs by"):
            pack(own, tmp_path / "out")
    assert not (tmp_path / "out").exists()

    with pytest.raises(InputError, match="is the model itself"):
        pack(own, own / "model.safetensors")


def test_the_script(
    drawn_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "data.txt").write_text("Drawn faces.\n")
    compact = tmp_path / "compact.safetensors"
    words = ["pack.py", str(drawn_model), "-o", str(compact), "--data", str(tmp_path / "data.txt")]
    monkeypatch.setattr(sys, "argv", words)
    runpy.run_path(SCRIPT, run_name="__main__")
    printed = capsys.readouterr().out
    assert printed.startswith(f"{compact}: 0.")
    assert "largest differences" in printed
    assert json.loads(compact.with_suffix(".json").read_text())["data"] == "Drawn faces.\n"
    monkeypatch.setattr(sys, "argv", ["pack.py", str(compact), "-o", str(compact)])
    with pytest.raises(SystemExit, match="is the model itself"):
        runpy.run_path(SCRIPT, run_name="__main__")
