"""A store's real tracks -> pairs of video files: each real clip and its pseudo-fake, filmed alike.

    OUT/real/<video>.<track>.mp4            the background of the pair
    OUT/fake/self-blended/<video>.<track>.mp4
    OUT/videos.csv                          for `prepare --table`: label, method, source, identity
    OUT/pairs.json                          what all pairs are drawn by: seed and synthesis

A test set of one's own that needs no fakes. The two files of a pair have the same size, rate and
compression, and whoever judges them finds and crops each face anew: a network that goes by where
the face stands in its crop (docs/experiments.md), or by compression, gains nothing.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from torch import Tensor

from fakestormer.data.manifest import Row
from fakestormer.data.store import read_clip
from fakestormer.errors import InputError
from fakestormer.files import PARTIAL, write_atomically, writing
from fakestormer.recipe.synthesis import SynthesisConfig
from fakestormer.synthesis.params import ClipParams, sample
from fakestormer.synthesis.render import render_clip
from fakestormer.types import Clip
from fakestormer.types.arrays import Doubles
from fakestormer.types.network import SelfBlended
from fakestormer.video.encode import write_film

METHOD = "self-blended"


def write_pairs(
    store: Path,
    rows: Sequence[Row],
    out: Path,
    *,
    synthesis: SynthesisConfig,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the pairs of all `rows` (real tracks) and the table about them; returns its path.

    One draw of the synthesis per track, by the seed and the track's name. Nothing is cut out, no
    margin cut off, and the face is the clip's own. Pairs that are there already are kept: run it
    again to go on. Raises InputError for an `out` that was begun with another seed or synthesis.
    """
    _begin(out, synthesis, seed)
    lines = []
    for done, row in enumerate(rows, start=1):
        # Another suffix stays: a.mov and a.mp4 are two videos.
        stem = f"{row.video.removesuffix('.mp4')}.{row.track}.mp4"
        files = (f"real/{stem}", f"fake/{METHOD}/{stem}")
        if not all((out / file).is_file() for file in files):
            clip = read_clip(store / row.file, range(row.frames), video=row.video, number=row.track)
            blended = _blend(clip, row, synthesis, seed)
            rate = frame_rate(clip.pts_seconds)
            for file, twin_btchw in zip(files, (blended.real, blended.fake), strict=True):
                _film(out / file, twin_btchw[0], rate)
        for file, label, method in zip(files, ("real", "fake"), ("", METHOD), strict=True):
            lines.append((file, label, method, row.source, row.group))
        if progress is not None:
            progress(done, len(rows))
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerows([("path", "label", "method", "source", "identity"), *lines])
    path = out / "videos.csv"
    with writing(path):
        write_atomically(path, table.getvalue().encode())
    return path


def _begin(out: Path, synthesis: SynthesisConfig, seed: int) -> None:
    """Keep what the pairs are drawn by, so that those already there are not taken for others."""
    path = out / "pairs.json"
    content = json.dumps({"seed": seed, "synthesis": synthesis.model_dump(mode="json")}, indent=2)
    if path.is_file() and _drawn_by(path) != (seed, synthesis):
        raise InputError(
            f"{out}: its pairs were drawn with another seed or synthesis (see {path.name}); give "
            "the same ones, or another folder"
        )
    with writing(path):
        write_atomically(path, content.encode())


def _drawn_by(path: Path) -> tuple[int, SynthesisConfig] | None:
    """Seed and synthesis; what a file of before lacks has the value it had then, the default."""
    try:
        content = json.loads(path.read_bytes())
        return content["seed"], SynthesisConfig.model_validate(content["synthesis"])
    except (ValueError, KeyError, TypeError):
        return None


def draw(row: Row, synthesis: SynthesisConfig, *, seed: int) -> ClipParams:
    """The parameters of a track's pseudo-fake."""
    name = hashlib.sha256(f"{row.video}#{row.track}".encode()).digest()[:8]
    key = (4, int.from_bytes(name, "big"))
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
    off = {"moved_real_probability": 0.0, "donor_probability": 0.0}
    beyond = synthesis.beyond.model_copy(update=off)
    config = synthesis.model_copy(update={"cutout_probability": 0.0, "beyond": beyond})
    params = sample(rng, config, clip_length=row.frames)
    return params.model_copy(update={"margin": 0, "shift": (0, 0)})


def _blend(clip: Clip, row: Row, synthesis: SynthesisConfig, seed: int) -> SelfBlended:
    params = draw(row, synthesis, seed=seed)
    try:
        return render_clip(clip, params, size=clip.frames.shape[-1])
    except ValueError as error:
        raise InputError(
            f"{clip.source}: no pseudo-fake can be made of it ({error}); take the video out of the "
            "folder and run prepare again"
        ) from error


def frame_rate(pts_seconds: Doubles) -> Fraction:
    """Frames a second by the times of the frames; what a file claims may be 1000, or 1 in 150 s."""
    steps = np.diff(pts_seconds)
    step = float(np.median(steps)) if len(steps) else 0.0
    return Fraction(min(max(1 / step if step > 0 else 25.0, 1.0), 240.0)).limit_denominator(1001)


def _film(path: Path, pictures_tchw: Tensor, rate: Fraction) -> None:
    partial = path.with_name(f".{path.name}{PARTIAL}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write_film(partial, pictures_tchw.numpy(), rate)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
