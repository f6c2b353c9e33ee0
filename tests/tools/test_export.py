"""Exported networks say what torch says, and nothing half-done is left on the disk."""

from __future__ import annotations

import json
import logging
import resource
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor
from torch.export import ExportedProgram

from command_line import run
from exported_models import CASES, MORE, Case
from fakestormer.cli import ExitCode
from fakestormer.errors import InputError, SetupError
from fakestormer.files import sha256_of
from fakestormer.model.model_file import load_model, save_model
from fakestormer.model.network import VideoNetwork
from fakestormer.recipe.model import ModelConfig
from fakestormer.runtimes import program as program_room
from fakestormer.runtimes.onnx_engine import check_frames, relative_error
from fakestormer.tools import export as export_room
from fakestormer.tools.export import TOLERANCE, export

OUTPUTS = {
    "timesformer": {"logit"},
    "resnet3d": {"logit"},
    "h alone": {"logit", "derivative"},
}
Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Cli:
    return lambda *arguments: run(["export", *arguments], monkeypatch, capfd)


def frames(network: VideoNetwork, clips: int) -> Tensor:
    c, g = network.config, torch.Generator().manual_seed(100 + clips)
    size = (clips, c.frames, 3, c.image_size, c.image_size)
    return torch.randint(0, 256, size, dtype=torch.uint8, generator=g)


def expected(network: VideoNetwork, x: Tensor) -> dict[str, Tensor]:
    with torch.inference_mode():
        y = network(x)
    named = {"logit": y.logit, "derivative": y.derivative, "frame_logits": y.frame_logits}
    return {name: tensor for name, tensor in named.items() if tensor is not None}


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.fixture(
    scope="session",
    params=[*CASES, *(pytest.param(case, marks=pytest.mark.slow) for case in MORE)],
)
def case(request: pytest.FixtureRequest, exported_model: Callable[[str], Case]) -> Case:
    return exported_model(request.param)


def test_both_say_what_torch_says_of_any_number_of_clips(case: Case) -> None:
    c = case.network.config
    names = [output.name for output in case.session.get_outputs()]
    assert set(names) == OUTPUTS.get(case.name, {"logit", "derivative", "frame_logits"})
    for clips in (1, 3, 5):
        x = frames(case.network, clips)
        wanted = expected(case.network, x)
        by_onnx = dict(zip(names, case.session.run(names, {"frames": x.numpy()}), strict=True))
        by_pt2 = case.module(x)
        assert by_onnx.keys() == by_pt2.keys() == wanted.keys()
        for name, y in wanted.items():
            limit = TOLERANCE * max(1.0, float(y.abs().max()))
            assert clips == 1 or y.std(dim=0).max() > 10 * limit, "all clips alike prove little"
            close = {"atol": limit, "rtol": 0, "msg": lambda m, n=name: f"{n}: {m}"}
            torch.testing.assert_close(torch.from_numpy(by_onnx[name]), y, **close)
            torch.testing.assert_close(by_pt2[name], y, **close)

    (input_,) = case.session.get_inputs()
    assert (input_.name, input_.type) == ("frames", "tensor(uint8)")
    assert input_.shape == ["batch", c.frames, 3, c.image_size, c.image_size]
    shapes = {output.name: output.shape for output in case.session.get_outputs()}
    assert shapes["logit"] == ["batch"]
    assert shapes.get("frame_logits", ["batch", c.frames]) == ["batch", c.frames]
    volume = ["batch", c.frames, c.grid, c.grid]
    assert shapes.get("derivative", volume) == volume


def test_both_refuse_another_number_of_frames(case: Case) -> None:
    more = frames(case.network, 2).repeat(1, 2, 1, 1, 1)
    with pytest.raises(onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument):
        case.session.run(None, {"frames": more.numpy()})
    with pytest.raises((AssertionError, RuntimeError)):
        case.module(more)


def test_metadata_travel_along(case: Case) -> None:
    folder, metadata = case.folder, case.pt2_metadata
    document = json.loads((folder / "model.json").read_text())
    c = ModelConfig.model_validate(document["recipe"]["model"])
    assert metadata["name"] == "named"
    assert metadata["weights_sha256"] == sha256_of(folder / "model.safetensors")
    assert (metadata["frames"], metadata["image_size"]) == (c.frames, c.image_size)
    assert (metadata["patch_size"], metadata["architecture"]) == (c.patch_size, c.architecture)
    assert metadata["branches"] == list(c.branches)
    for key in ("sampling", "pooling", "margin"):
        assert metadata["prediction"][key] == document["recipe"]["prediction"][key]
    assert metadata["crop"]["enlarge"] == document["recipe"]["crop"]["enlarge"]
    assert metadata["code"] == document["code"]
    assert metadata["face_backend"] == "blazeface"
    assert metadata.get("licence") == ("not for all" if case.name == "release" else None)

    proto = onnx.load(folder / "m.onnx")
    props = {entry.key: entry.value for entry in proto.metadata_props}
    assert props == {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in metadata.items()
    }
    beside = json.loads((folder / "m.onnx.json").read_text())
    assert beside.pop("sha256") == sha256_of(folder / "m.onnx")
    assert beside.pop("errors") == case.results[0].errors
    (logit,) = beside.pop("check_logits")
    with torch.inference_mode():
        wanted = case.network(torch.from_numpy(check_frames(c))).logit
    assert logit == pytest.approx(float(wanted), abs=1e-5)
    assert beside == metadata

    assert [result.files[0].name for result in case.results] == ["m.onnx", "m.pt2"]
    for result in case.results:
        assert max(result.errors.values()) <= TOLERANCE
        assert result.shapes["logit"] == ("batch",)
        for file in result.files:
            assert str(Path(export_room.__file__).parent).encode() not in file.read_bytes()
    assert files_in(folder) == {
        "model.safetensors", "model.json", "m.onnx", "m.onnx.json", "m.pt2",
    }  # fmt: skip


# Failures. The untrained model is traced once for all of them, which takes seconds.


@pytest.fixture(scope="module")
def traced(untrained_model: Path) -> ExportedProgram:
    return program_room.program_of(program_room.ByName(load_model(untrained_model)[0]).eval())


@pytest.fixture
def untrained(
    untrained_model: Path, traced: ExportedProgram, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The model, whose network need not be traced again."""
    monkeypatch.setattr(export_room, "program_of", lambda named: traced)
    return untrained_model


def test_other_numbers_are_not_written(
    untrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    """The ONNX file is right (or would be: this one is not even made), the .pt2 is not."""
    (tmp_path / "m.pt2").write_text("older")
    network, _ = load_model(untrained)

    def slightly_off(path: Path) -> export_room.Run:
        run_pt2 = export_room._run_pt2(path)

        def run_off(x: np.ndarray) -> dict[str, np.ndarray]:
            numbers = run_pt2(x)
            largest = max(1, np.abs(numbers["logit"]).max())
            return numbers | {"logit": numbers["logit"] + 3e-4 * largest}

        return run_off

    def right(x: np.ndarray) -> dict[str, np.ndarray]:
        return {name: y.numpy() for name, y in expected(network, torch.from_numpy(x)).items()}

    kinds = {
        ".onnx": (lambda _, path, *__: path.touch(), lambda _: right),
        ".pt2": (export_room._write_pt2, slightly_off),
    }
    monkeypatch.setattr(export_room, "_KINDS", kinds)
    code, out, err = cli(
        untrained, "--torch", tmp_path / "m.pt2", "--onnx",
        tmp_path / "new" / "deep" / "m.onnx",
    )  # fmt: skip
    assert (code, out) == (ExitCode.ALL_FAILED, "")
    announced, refused = err.splitlines()
    assert announced.endswith(
        "being written and compared with torch, which takes from seconds to minutes"
    )
    assert "m.pt2: not written, because its logit differs from torch's by 3.0e-04" in refused
    assert files_in(tmp_path) == {"m.pt2"}
    assert (tmp_path / "m.pt2").read_text() == "older"

    kinds[".pt2"] = (export_room._write_pt2, export_room._run_pt2)
    assert cli(
        untrained, "--torch", tmp_path / "m.pt2", "--onnx",
        tmp_path / "new" / "deep" / "m.onnx",
    )[0] == ExitCode.DONE  # fmt: skip
    assert (tmp_path / "m.pt2").stat().st_size > 1000
    assert files_in(tmp_path / "new" / "deep") == {"m.onnx", "m.onnx.json"}


@pytest.mark.parametrize(
    ("found", "error"),
    [
        (np.array([1.0, 200.0]), 0.0),
        (np.array([1.5, 200.0]), 0.5 / 200),
        (np.array([1.0, np.nan]), np.inf),
        (np.array([[1.0, 200.0]]), np.inf),
        (None, np.inf),
    ],
)
def test_what_counts_as_an_error(found: np.ndarray | None, error: float) -> None:
    assert relative_error(found, np.array([1.0, 200.0])) == pytest.approx(error)
    assert relative_error(np.array([0.25]), np.array([0.5])) == 0.25


def test_weights_that_are_not_numbers(untrained_model: Path, tmp_path: Path) -> None:
    network, document = load_model(untrained_model)
    with torch.no_grad():
        network.get_parameter("g.linear2.bias").fill_(torch.nan)
    save_model(tmp_path / "broken", network, document["recipe"], {})
    before = files_in(tmp_path)
    with pytest.raises(InputError, match=r"broken: its frame_logits is not a finite number"):
        export(tmp_path / "broken", pt2=tmp_path / "m.pt2")
    assert files_in(tmp_path) == before


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_a_full_disk(untrained: Path, tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"m{suffix}"
    target.write_text("older")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(InputError, match=rf"m\{suffix}: cannot be written \(File too large\)"):
            export(untrained, **{suffix[1:]: target})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert files_in(tmp_path) == {target.name}
    assert target.read_text() == "older"


def test_interrupted(untrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(torch.export, "load", interrupt)
    with pytest.raises(KeyboardInterrupt):
        export(untrained, pt2=tmp_path / "new" / "m.pt2")
    assert files_in(tmp_path) == set()


# The command.


def test_the_command_says_what_it_wrote(
    untrained_model: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights too large for one file lie beside it."""
    monkeypatch.setattr(program_room, "SINGLE_FILE_BYTES", 10)
    # Earlier tests' libraries log into streams that pytest has closed, and say so on stderr.
    monkeypatch.setattr(logging, "raiseExceptions", False)
    target = tmp_path / "made" / "m.onnx"
    level = logging.getLogger("torch.onnx._internal.exporter._registration").level
    code, out, err = cli(untrained_model, "--onnx", target)
    assert code == ExitCode.DONE
    assert err.startswith(f"{target}: being written and compared with torch")
    assert err.count("\n") == 1
    first, second = out.splitlines()
    files, _, outputs = first.partition(": ")
    assert set(files.split(", ")) == {str(target), f"{target}.json", f"{target}.data"}
    assert files.startswith(f"{target}, ")
    assert outputs == "logit (batch), derivative (batch, 4, 4, 4), frame_logits (batch, 4)"
    assert second.startswith("  at most ")
    assert files_in(tmp_path) == {"made", *(f"made/{n}" for n in ("m.onnx", "m.onnx.json",
                                                                  "m.onnx.data"))}  # fmt: skip
    assert logging.getLogger("torch.onnx._internal.exporter._registration").level == level
    shutil.move(tmp_path / "made", tmp_path / "elsewhere")
    session = onnxruntime.InferenceSession(
        str(tmp_path / "elsewhere" / "m.onnx"), providers=["CPUExecutionProvider"]
    )
    network, _ = load_model(untrained_model)
    x = frames(network, 4)
    (logit,) = session.run(["logit"], {"frames": x.numpy()})
    torch.testing.assert_close(torch.from_numpy(logit), network(x).logit, atol=1e-4, rtol=0)


def test_wrong_usage(untrained_model: Path, cli: Cli) -> None:
    code, _, err = cli(untrained_model)
    assert code == ExitCode.USAGE
    assert "--onnx" in err
    assert "--torch" in err
    with pytest.raises(ValueError, match="name a file"):
        export(untrained_model)


def test_places_where_nothing_can_go(untrained: Path, tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "a.onnx").mkdir()
    (tmp_path / "b.onnx.json").mkdir()
    (tmp_path / "file").write_text("")
    before = files_in(tmp_path)
    for option, name, sentence in (
        ("--onnx", "a.onnx", "is a folder"),
        ("--onnx", "b.onnx", "b.onnx.json: is a folder"),
        ("--onnx", "model.json", "name one that ends in .onnx"),
        ("--torch", "m.onnx", "name one that ends in .pt2"),
        ("--torch", "file/m.pt2", "cannot be written (File exists)"),
        ("--torch", "f\udce9.pt2", "not valid Unicode"),
    ):
        code, out, err = cli(untrained, option, tmp_path / name)
        assert (code, out) == (ExitCode.ALL_FAILED, "")
        assert sentence in err.splitlines()[-1]
        # What takes long is announced before, where it comes to that.
        assert len([line for line in err.splitlines() if "being written" not in line]) == 1
    assert files_in(tmp_path) == before


def test_a_model_that_is_not_there(tmp_path: Path, cli: Cli) -> None:
    code, _, err = cli(tmp_path / "none", "--torch", tmp_path / "new" / "m.pt2")
    assert code == ExitCode.ALL_FAILED
    assert err.count("\n") == 1
    assert "none" in err
    assert files_in(tmp_path) == set()


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_without_the_packages_the_command_is_named(
    package: str, untrained_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SetupError, match=r"pip install 'fakestormer\[export\]'"):
        export(untrained_model, onnx=tmp_path / "m.onnx")
    assert files_in(tmp_path) == set()
