"""Which face is blended into another, and that training and validation get it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from fakestormer.data.donors import Donors
from fakestormer.data.loaders import ClipPlan, PairBatch, TrainingClips, training_batches
from fakestormer.data.manifest import Row, read_manifest
from fakestormer.data.store import read_clip
from fakestormer.errors import InputError
from fakestormer.synthesis.config import SynthesisConfig
from fakestormer.types import Clip

ALWAYS = SynthesisConfig(donor_probability=1.0, resamplings=("linear", "cubic"))


@pytest.fixture(scope="module")
def faces(make_store: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("donors") / "store", train=5)


def _clip(store: Path, row: Row) -> Clip:
    return read_clip(store / row.file, range(2, 6), video=row.video, number=row.track)


def test_the_same_seed_gives_the_same_face_and_never_ones_own(faces: Path) -> None:
    rows = read_manifest(faces)
    donors = Donors(faces, rows, ALWAYS.model_copy(update={"donor_candidates": 1}))
    clip = _clip(faces, rows[0])
    given = {}
    for seed in range(30):
        laid, source = donors.give(seed, rows[0], clip)
        again, same = Donors(faces, rows, donors.config).give(seed, rows[0], clip)
        assert torch.equal(laid, again)
        assert same == source
        assert laid.shape == clip.frames.shape
        given[source] = laid
    videos = {source.partition("#")[0] for source in given}
    assert videos == {row.video for row in rows[1:]}
    assert len(given) > len(videos), "other places of a video, too"


def test_nobody_of_the_same_group_gives(faces: Path) -> None:
    rows = read_manifest(faces)
    family = [dataclasses.replace(row, group="one") for row in rows[:4]] + [rows[4]]
    donors = Donors(faces, family, ALWAYS)
    sources = {donors.give(seed, family[0], _clip(faces, rows[0]))[1] for seed in range(5)}
    assert {source.partition("#")[0] for source in sources} == {rows[4].video}
    with pytest.raises(InputError, match=r"nobody else .* set synthesis\.donor_probability to 0"):
        Donors(faces, family[:4], ALWAYS).give(0, family[0], _clip(faces, rows[0]))


def test_the_face_shaped_most_alike_is_taken(faces: Path) -> None:
    rows = read_manifest(faces)
    donors = Donors(faces, rows, ALWAYS)
    shapes = donors._shapes.clone()
    shapes[:, :, 0] *= torch.tensor([1.0, 1.3, 1.2, 1.02, 1.4]).view(-1, 1)
    donors.__dict__["_shapes"] = shapes
    for seed in range(3):
        _, source = donors.give(seed, rows[0], _clip(faces, rows[0]))
        assert source.startswith(rows[3].video)


def _batches(store: Path, config: SynthesisConfig, **how: object) -> list[PairBatch]:
    rows = read_manifest(store)
    plan = ClipPlan(
        [row.frames for row in rows], clip_length=4, pairs=4, clips_per_track=None, seed=5, epochs=1
    )
    clips = TrainingClips(store, rows, plan, config)
    return list(training_batches(clips, size=32, patch_size=8, **how))  # type: ignore[arg-type]


def test_batches_have_donors_and_names_of_both(faces: Path) -> None:
    config = ALWAYS.model_copy(update={"donor_probability": 0.5})
    one_by_one = _batches(faces, config)
    whole = _batches(faces, config, synthesis_on="device")
    for a, b in zip(one_by_one, whole, strict=True):
        assert torch.equal(a.frames, b.frames)
        assert torch.equal(a.targets.boundary, b.targets.boundary)
        assert a.sources == b.sources
    names = [source for batch in one_by_one for source in batch.sources]
    assert 0 < sum(" and " in name for name in names) < len(names)
    # The donor is all that is different.
    own = _batches(faces, config.model_copy(update={"donor_probability": 0.0}))
    for a, b in zip(one_by_one, own, strict=True):
        real_a, fake_a = a.frames.chunk(2)
        real_b, fake_b = b.frames.chunk(2)
        for n, name in enumerate(a.sources):
            same = torch.equal(fake_a[n], fake_b[n])
            assert same == (" and " not in name)
            assert torch.equal(real_a[n], real_b[n])
