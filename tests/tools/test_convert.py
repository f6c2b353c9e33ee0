"""The authors' weights become a model like any other."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from command_line import run
from fakestormer.cli import ExitCode
from fakestormer.detection.detector import Detector
from fakestormer.detection.prediction import predict_clips
from fakestormer.errors import InputError
from fakestormer.model.model_file import load_model
from fakestormer.model.release import ReleaseNetwork
from fakestormer.tools.convert import LICENCE_NOTE, convert, read_state
from fakestormer.types import Clip
from release_reference import Sizes, numbers, random_state

MakeVideo = Callable[..., Path]
SIZES = Sizes(image=32, patch=16, width=64, frames=4, depth=2, heads=1, hidden=128)


@pytest.fixture
def authors(tmp_path: Path) -> Path:
    """A checkpoint as the authors would save it."""
    path = tmp_path / "authors.pth"
    torch.save({"epoch": 7, "state_dict": random_state(SIZES, 0)}, path)
    return path


@pytest.fixture
def cli(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    return lambda *arguments: run(list(arguments), monkeypatch, capfd)


def a_clip(seed: int, frames: int = 4) -> Clip:
    rng = np.random.default_rng(seed)
    return Clip(
        frames=rng.integers(0, 256, (frames, 3, 64, 64), dtype=np.uint8),
        landmarks=np.zeros((frames, 81, 2), np.float32),
        indices=np.arange(frames),
        pts_seconds=np.arange(frames, dtype=np.float64),
        source=f"made#{seed}",
    )


def test_converting_gives_a_model_that_scores_as_released(
    authors: Path, cli: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    output = tmp_path / "models" / "authors.safetensors"
    code, out, err = cli("convert", authors, "-o", output)
    assert (code, err) == (ExitCode.DONE, "")
    assert str(output) in out
    assert LICENCE_NOTE in out
    assert "academic use" in LICENCE_NOTE
    document = json.loads(output.with_suffix(".json").read_text())
    assert document["licence"] == LICENCE_NOTE
    assert document["recipe"]["name"] == "authors"
    assert document["recipe"]["prediction"]["sampling"] == "spread"
    assert document["recipe"]["prediction"]["pooling"] == "logit"

    detector = Detector(output)
    network = detector.engine.network
    assert isinstance(network, ReleaseNetwork)
    c = network.config
    assert (c.image_size, c.patch_size, c.width, c.frames, c.depth, c.heads) == (
        32, 16, 64, 4, 2, 1
    )  # fmt: skip
    assert c.mlp_ratio == 2
    prediction, crops = predict_clips(
        detector.engine, [a_clip(1), a_clip(2), a_clip(3)], detector.prediction
    )
    # A video's score is the mean logit of its clips, each judged by itself.
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    x_bcthw = ((torch.from_numpy(crops) / 255 - mean) / std).transpose(1, 2)
    said = [numbers(random_state(SIZES, 0), x, 1) for x in x_bcthw]
    logits = torch.cat([each["out_cls"][0] for each in said])
    assert prediction.probability == pytest.approx(float(logits.mean().sigmoid()), abs=1e-5)
    frame_scores = torch.cat([each["out_temp_loc"] for each in said]).sigmoid()
    np.testing.assert_allclose(prediction.frame_probabilities, frame_scores, atol=1e-5, rtol=0)


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model", "model_state_dict"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_the_usual_wrappings_come_off(wrapper: str | None, prefix: str, tmp_path: Path) -> None:
    state = random_state(SIZES, 0)
    entries: dict = {f"{prefix}{name}": value.double() for name, value in state.items()}
    torch.save({wrapper: entries, "epoch": 3} if wrapper else entries, tmp_path / "a.pth")
    network, _ = load_model(convert(tmp_path / "a.pth", tmp_path / "out"))
    own = network.state_dict()
    assert own.keys() == state.keys()
    assert all(torch.equal(own[name], value) for name, value in state.items())


def test_twelve_blocks_and_other_heads(tmp_path: Path) -> None:
    sizes = Sizes(image=48, patch=8, width=128, frames=8, depth=12, heads=2, hidden=512)
    torch.save(random_state(sizes, 1), tmp_path / "a.pth")
    network, document = load_model(convert(tmp_path / "a.pth", tmp_path / "out"))
    assert (network.config.depth, network.config.heads, network.config.frames) == (12, 2, 8)
    assert document["recipe"]["model"]["drop_path"] == 0.3
    network, _ = load_model(convert(tmp_path / "a.pth", tmp_path / "out", heads=8))
    assert network.config.heads == 8


def test_every_key_that_does_not_fit_is_named_and_nothing_is_written(
    cli: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    state: dict[str, object] = {**random_state(SIZES, 0)}
    missing = ["backbone.time_embed", "backbone.blocks.0.attn.qkv.bias", "backbone.norm.bias"]
    for name in missing:
        del state[name]
    unexpected = ["backbone.blocks.1.attn.relative", "fc.weight", "epoch"]
    state |= {unexpected[0]: torch.zeros(3), unexpected[1]: torch.zeros(2, 2), unexpected[2]: 7}
    state["backbone.pos_embed"] = torch.zeros(1, 5, 32)
    state["keypoint_head.cls.fc_out.weight"] = torch.zeros(2, 64)
    state["backbone.norm.weight"] = torch.full((64,), torch.nan)
    state["keypoint_head.cls.fc_out.bias"] = "zero"
    torch.save(state, tmp_path / "a.pth")
    code, out, err = cli("convert", tmp_path / "a.pth", "-o", tmp_path / "a.safetensors")
    assert code == ExitCode.ALL_FAILED
    assert out == ""
    assert len(err.strip().splitlines()) == 1
    assert "a.pth" in err
    for name in missing:
        assert f"missing {name}" in err
    for name in unexpected:
        assert f"unexpected {name}" in err
    assert "misshapen backbone.pos_embed: file (1, 5, 32), network (1, 5, 64)" in err
    assert "misshapen keypoint_head.cls.fc_out.weight: file (2, 64), network (1, 64)" in err
    assert "not finite backbone.norm.weight" in err
    assert "keypoint_head.cls.fc_out.bias" in err
    assert err.count(";") == len(missing) + len(unexpected) + 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pth"]


def test_two_names_that_become_one_are_both_seen(tmp_path: Path) -> None:
    state = random_state(SIZES, 0)
    torch.save(
        state | {"module.backbone.norm.bias": state["backbone.norm.bias"]}, tmp_path / "a.pth"
    )
    assert "module.backbone.norm.bias" in read_state(tmp_path / "a.pth")
    with pytest.raises(InputError, match=r"unexpected module\.backbone\.norm\.bias"):
        convert(tmp_path / "a.pth", tmp_path / "out")


class _Opens:
    """Unpickled, it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def test_no_code_in_a_file_is_run(cli: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    trace = tmp_path / "it was run"
    for content, named in (
        (_Opens(trace), "mkdir"),
        (argparse.Namespace(epochs=3), "argparse.Namespace"),
    ):
        torch.save({"state_dict": random_state(SIZES, 0), "extra": content}, tmp_path / "a.pth")
        code, _, err = cli("convert", tmp_path / "a.pth", "-o", tmp_path / "out")
        assert code == ExitCode.ALL_FAILED
        assert named in err
        assert "never runs code" in err
        assert len(err.strip().splitlines()) == 1
    assert not trace.exists()
    assert not (tmp_path / "out").exists()


BAD_FILES = {
    "missing": (None, "no such file"),
    "empty": (b"", "not a readable checkpoint"),
    "text": (b"no weights\n" * 99, "not a readable checkpoint"),
    "cut": (b"PK\x03\x04" + b"\x00" * 40, "not a readable checkpoint"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_files_that_are_no_checkpoints(case: str, tmp_path: Path) -> None:
    content, message = BAD_FILES[case]
    if content is not None:
        (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(InputError, match=rf"a\.pth: {message}"):
        convert(tmp_path / "a.pth", tmp_path / "out")


def test_other_contents_and_sizes_are_refused_in_one_sentence(
    authors: Path, tmp_path: Path
) -> None:
    path = tmp_path / "a.pth"
    torch.save([1, 2], path)
    with pytest.raises(InputError, match="expected a dictionary of tensors, found list"):
        convert(path, tmp_path / "out")
    torch.save({"weight": torch.zeros(3)}, path)
    with pytest.raises(InputError, match=r"missing backbone\.cls_token.*unexpected weight"):
        convert(path, tmp_path / "out")
    torch.save(random_state(Sizes(width=48), 0), path)
    with pytest.raises(InputError, match=r"48 channels wide.*--heads"):
        convert(path, tmp_path / "out")
    with pytest.raises(InputError, match="width 48 is not a multiple of heads 5"):
        convert(path, tmp_path / "out", heads=5)
    torch.save(random_state(Sizes(width=64, frames=3), 0), path)
    with pytest.raises(InputError, match="width 64 is not a multiple of frames 3"):
        convert(path, tmp_path / "out")
    for output in (path, tmp_path / "folder.safetensors"):
        (tmp_path / "folder.safetensors").mkdir(exist_ok=True)
        with pytest.raises(InputError, match="cannot be the converted model"):
            convert(authors, output)


def test_an_older_model_is_replaced_whole(authors: Path, tmp_path: Path) -> None:
    output = tmp_path / "m.safetensors"
    convert(authors, output)
    torch.save(random_state(SIZES, 5), authors)
    convert(authors, output)
    network, _ = load_model(output)
    assert torch.equal(
        network.state_dict()["backbone.norm.bias"], random_state(SIZES, 5)["backbone.norm.bias"]
    )
    assert {path.name for path in tmp_path.iterdir()} == {
        "authors.pth", "m.safetensors", "m.json"
    }  # fmt: skip


@pytest.mark.usefixtures("face_backend_ready")
def test_detect_with_it_and_the_licence_goes_along(
    authors: Path,
    astronaut_video: MakeVideo,
    cli: Callable[..., tuple[int, str, str]],
    tmp_path: Path,
) -> None:
    model = convert(authors, tmp_path / "authors.safetensors")
    video = astronaut_video(tmp_path / "face.mp4", count=12)
    results, reports = tmp_path / "results.json", tmp_path / "reports"
    code, out, err = cli(
        "detect", video, "--model", model, "--json", results, "--report", reports, "--shots", "2"
    )
    assert code == ExitCode.DONE, err
    assert str(video) in out
    (result,) = json.loads(results.read_text())["results"]
    assert 0 < result["probability"] < 1
    assert result["model"]["licence"] == LICENCE_NOTE
    assert result["settings"]["sampling"] == "spread"
    (face,) = result["faces"]
    assert len(face["clips"]) == 3  # 12 frames in clips of 4
    assert len(face["shots"]["each"]) == 2  # the second hides where h, in true order, sees most
    assert len({clip["probability"] for clip in face["clips"]}) > 1
    (page,) = reports.glob("*.html")
    assert "for academic use only" in page.read_text()


def test_other_models_have_no_licence_note(untrained_model: Path) -> None:
    assert Detector(untrained_model).licence is None
    assert "licence" not in json.loads((untrained_model / "model.json").read_text())
