"""What miniatures of data sets are made of: short films of real people, and pseudo-fakes of them.

The development data's clips where they are (six people of four sources, cut to 12 frames), else six
variants of scikit-image's portrait: so the same tests run on every machine. Also a small model, and
how a command is called.
"""

from __future__ import annotations

import fcntl
import functools
import io
import os
import sys
from collections.abc import Iterable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import cv2
import pytest
import torch
from torch import nn
from typer.main import get_command

from fakestormer.cli import app, main
from fakestormer.cli.options import recipe_of
from fakestormer.data.manifest import read_manifest, tracks_of
from fakestormer.data.pseudo_fakes import write_pairs
from fakestormer.model.build import build
from fakestormer.model.model_file import save_model
from fakestormer.recipe.faces import CropConfig
from fakestormer.recipe.named import tiny
from fakestormer.recipe.recipe import override
from fakestormer.recipe.synthesis import SynthesisConfig
from fakestormer.video.decode import stream_frames
from folder_stores import prepare_folder
from video_fixtures import astronaut_frames, write_video

FRAMES = 12
#: Of six people; the last two are shown at 192 px instead of 256.
CLIPS = (
    "grid_001", "styletalk_001", "lrw-ar_002", "liveportrait_003", "grid_003", "lrw-ar_005",
)  # fmt: skip
SMALL = {"grid_003": 192, "lrw-ar_005": 192}
#: `--set` of what is small enough to prepare, train and judge miniatures in seconds.
SETS = (
    "crop.stored_size=64", "model.image_size=32", "model.patch_size=8", "model.width=16",
    "model.depth=1", "model.heads=2", "training.epochs=1", "training.batch_size=2",
    "training.clips_per_track=2", "prediction.frames=8",
)  # fmt: skip
SET_OPTIONS = ("--recipe", "tiny", *(w for setting in SETS for w in ("--set", setting)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """reals: a film of each person. faces: the same cut to the face, 224 px. fakes: by seed, a
    pseudo-fake of each of `faces`."""

    reals: tuple[Path, ...]
    faces: tuple[Path, ...]
    fakes: tuple[tuple[Path, ...], ...]


@functools.cache
def make_material(folder: Path, data: Path | None) -> Material:
    """Once per folder, which is the session's: processes that share the tests share it too.

    data: the development data, or None.
    """
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            _write_material(folder, data)
            (folder / "complete").touch()
    faces = [next((folder / "0" / "real").glob(f"{name}.*.mp4")) for name in CLIPS]
    return Material(
        reals=tuple(folder / "reals" / f"{name}.mp4" for name in CLIPS),
        faces=tuple(faces),
        fakes=tuple(
            tuple(folder / str(seed) / "fake" / "self-blended" / face.name for face in faces)
            for seed in (0, 1)
        ),
    )


def _write_material(folder: Path, data: Path | None) -> None:
    for number, name in enumerate(CLIPS):
        if data is not None:
            clip = data / "real" / f"{name}.mp4"
            pictures = [rgb for _, _, rgb in stream_frames(clip, stop_index=FRAMES)]
        else:
            pictures = astronaut_frames(40, width=300, height=300)[5 * number :][:FRAMES]
            pictures = [cv2.convertScaleAbs(rgb, alpha=1 - 0.1 * number) for rgb in pictures]
            pictures = [rgb[:, ::-1] if number % 2 else rgb for rgb in pictures]
        side = SMALL.get(name, 256)
        pictures = [cv2.resize(rgb, (side, side), interpolation=cv2.INTER_AREA) for rgb in pictures]
        write_video(pictures, folder / "reals" / f"{name}.mp4")
    store = folder / "store"
    # Wide enough that the face is found again in what is cut out.
    prepare_folder(folder / "reals", store, crop=CropConfig(stored_size=224, enlarge=1.5))
    rows = {Path(row.video).stem: row for row in tracks_of(read_manifest(store), "train")}
    people = [rows[name] for name in CLIPS]
    for seed in (0, 1):
        write_pairs(store, people, folder / str(seed), synthesis=SynthesisConfig(), seed=seed)


def material_of(request: pytest.FixtureRequest) -> Material:
    """The session's material; skips where the face models are absent."""
    request.getfixturevalue("face_backend_ready")
    factory: pytest.TempPathFactory = request.getfixturevalue("tmp_path_factory")
    try:
        data = request.getfixturevalue("shared_data")
    except pytest.skip.Exception:
        data = None
    session = factory.getbasetemp()
    shared = session.parent if "PYTEST_XDIST_WORKER" in os.environ else session
    return make_material(shared / "material", data)


def write_model(folder: Path, seed: int = 0) -> Path:
    """An untrained model of `SETS`, that says something, not anything right."""
    recipe = override(tiny(), SETS)
    torch.manual_seed(seed)
    network = build(recipe.model)
    for block in network.backbone.blocks:  # as built they end in zeros: nothing is heard of time
        nn.init.normal_(block.temporal_linear.weight, std=0.5)
    network.f.linear.weight.data.mul_(40)
    save_model(folder, network, recipe.model_dump(mode="json"), {"validation": {}})
    return folder


def call(arguments: Iterable[object], capfd: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """(exit code, standard output, standard error) of a command, in this process."""
    code = _exit_code(arguments)
    captured = capfd.readouterr()
    return code, captured.out, captured.err


def parse(arguments: Iterable[object]) -> None:
    """Read a command's options, and the recipe of its --recipe and --set; nothing is run.

    Raises:
        KeyError: there is no such command.
        Typer's wrong usage: an option, a recipe or a setting of it is not there.
    """
    name, *words = map(str, arguments)
    command = get_command(app).commands[name]  # type: ignore[attr-defined]
    options = command.make_context(name, words).params
    if "set_" in options:
        recipe_of(options["recipe_name"] or "tiny", options["set_"] or [])


def call_for_all(arguments: Iterable[object]) -> tuple[int, str, str]:
    """`call` for fixtures that outlive a test; does not see what libraries write past Python."""
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        code = _exit_code(arguments)
    return code, out.getvalue(), err.getvalue()


def _exit_code(arguments: Iterable[object]) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["fakestormer", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
    return int(stopped.value.code or 0)
