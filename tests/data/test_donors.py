"""Which face is blended into another, and that training and validation get it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from fakestormer.data.donors import Donors
from fakestormer.data.loaders import (
    ClipPlan,
    PairBatch,
    TrainingClips,
    synthesise,
    training_batches,
)
from fakestormer.data.manifest import Row, read_manifest, tracks_of
from fakestormer.data.store import read_clip
from fakestormer.errors import InputError
from fakestormer.recipe.recipe import Recipe
from fakestormer.recipe.synthesis import BeyondConfig, SynthesisConfig
from fakestormer.synthesis.params import ClipParams, sample
from fakestormer.training.validation import ValidationSet, build_validation_set
from fakestormer.types import Clip
from store_fixtures import whole_batch

ALWAYS = SynthesisConfig(
    beyond=BeyondConfig(donor_probability=1.0, resamplings=("linear", "cubic"))
)


@pytest.fixture(scope="module")
def faces(make_store: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("donors") / "store", train=5)


def _clip(store: Path, row: Row) -> Clip:
    return read_clip(store / row.file, range(2, 6), video=row.video, number=row.track)


def _asking(seed: int) -> ClipParams:
    params = sample(np.random.default_rng(0), ALWAYS, clip_length=4)
    return params.model_copy(update={"donor": seed})


def _videos(donors: Donors, row: Row, clip: Clip, seeds: int) -> list[str]:
    """The videos of so many draws."""
    return [donors.give(_asking(seed), row, clip)[1].partition("#")[0] for seed in range(seeds)]


def test_the_same_seed_gives_the_same_face_and_never_ones_own(faces: Path) -> None:
    rows = read_manifest(faces)
    donors, clip = Donors(faces, rows, candidates=1), _clip(faces, rows[0])
    given = {}
    for seed in range(30):
        laid, source = donors.give(_asking(seed), rows[0], clip)
        again, same = Donors(faces, rows, candidates=1).give(_asking(seed), rows[0], clip)
        assert torch.equal(laid, again)
        assert same == source
        assert laid.shape == clip.frames.shape
        given[source] = laid
    videos = {source.partition("#")[0] for source in given}
    assert videos == {row.video for row in rows[1:]}
    assert len(given) > len(videos), "other places of a video, too"


def test_more_tracks_change_only_what_they_win(faces: Path) -> None:
    rows = read_manifest(faces)
    clip = _clip(faces, rows[0])
    few = _videos(Donors(faces, rows[:4], candidates=1), rows[0], clip, 40)
    more = _videos(Donors(faces, rows, candidates=1), rows[0], clip, 40)
    changed = [new for old, new in zip(few, more, strict=True) if new != old]
    assert set(changed) == {rows[4].video}
    assert 3 <= len(changed) <= 20  # a quarter of 40 is expected


def test_all_clips_of_a_track_get_one_donor(faces: Path) -> None:
    """Also where their own landmarks are like other faces'."""
    rows = read_manifest(faces)
    donors, clip = Donors(faces, rows, candidates=3), _clip(faces, rows[0])
    wide = dataclasses.replace(clip, landmarks=clip.landmarks * np.float32([1.3, 1.0]))
    assert _videos(donors, rows[0], clip, 10) == _videos(donors, rows[0], wide, 10)


def test_nobody_of_the_same_group_gives(faces: Path) -> None:
    rows = read_manifest(faces)
    family = [dataclasses.replace(row, group="one") for row in rows[:4]] + [rows[4]]
    clip = _clip(faces, rows[0])
    donors = Donors(faces, family, candidates=20)
    assert set(_videos(donors, family[0], clip, 5)) == {rows[4].video}
    with pytest.raises(
        InputError, match=r"nobody else .* set synthesis\.beyond\.donor_probability to 0"
    ):
        Donors(faces, family[:4], candidates=20).give(_asking(0), family[0], clip)


def test_the_face_shaped_most_alike_is_taken(faces: Path) -> None:
    rows = read_manifest(faces)
    donors = Donors(faces, rows, candidates=20)
    shapes = donors._shapes.clone()
    shapes[:, :, 0] *= torch.tensor([1.0, 1.3, 1.2, 1.02, 1.4]).view(-1, 1)
    donors.__dict__["_shapes"] = shapes
    assert _videos(donors, rows[0], _clip(faces, rows[0]), 3) == [rows[3].video] * 3


def test_the_face_is_bent_where_the_params_say_so(faces: Path) -> None:
    rows = read_manifest(faces)
    donors, clip = Donors(faces, rows, candidates=1), _clip(faces, rows[0])
    narrow = dataclasses.replace(
        clip, landmarks=clip.landmarks * np.float32([0.8, 1]) + np.float32([5, 0])
    )
    asking = _asking(0)
    plain, source = donors.give(asking, rows[0], narrow)
    bent, same = donors.give(asking.model_copy(update={"donor_bent": True}), rows[0], narrow)
    assert source == same
    assert not torch.equal(plain, bent)


def _clips(store: Path, config: SynthesisConfig) -> TrainingClips:
    rows = read_manifest(store)
    plan = ClipPlan(
        [row.frames for row in rows], clip_length=4, pairs=4, clips_per_track=None, seed=5, epochs=1
    )
    return TrainingClips(store, rows, plan, config)


def _batches(store: Path, config: SynthesisConfig) -> list[PairBatch]:
    return list(training_batches(_clips(store, config), size=32, patch_size=8))


def test_batches_have_donors_and_names_of_both(faces: Path) -> None:
    beyond = ALWAYS.beyond.model_copy(update={"donor_probability": 0.5})
    config = ALWAYS.model_copy(update={"beyond": beyond})
    one_by_one = _batches(faces, config)
    clips = _clips(faces, config)
    for step, a in enumerate(one_by_one):
        whole = whole_batch(clips, step)
        b = synthesise(whole, config, size=32, patch_size=8)
        assert torch.equal(a.frames, b.frames)
        assert torch.equal(a.targets.boundary, b.targets.boundary)
        assert a.sources == b.sources
    names = [source for batch in one_by_one for source in batch.sources]
    assert 0 < sum(" and " in name for name in names) < len(names)
    # The donor is all that is different.
    own = _batches(faces, config.without_donors())
    for a, b in zip(one_by_one, own, strict=True):
        real_a, fake_a = a.frames.chunk(2)
        real_b, fake_b = b.frames.chunk(2)
        for n, name in enumerate(a.sources):
            same = torch.equal(fake_a[n], fake_b[n])
            assert same == (" and " not in name)
            if same:  # else the ratio is another, and so may be what cutout hides
                assert torch.equal(real_a[n], real_b[n])


def test_a_validation_video_has_one_donor(
    make_store: Callable[..., Path], recipe: Recipe, tmp_path: Path
) -> None:
    store = make_store(tmp_path / "store", train=1, validation=4, frames=20)
    rows = tracks_of(read_manifest(store), "validation")

    def build(rows: Sequence[Row], synthesis: SynthesisConfig = ALWAYS) -> ValidationSet:
        return build_validation_set(
            store, rows, synthesis=synthesis, model=recipe.model, clips_per_track=3, seed=0
        )

    one = build(rows)
    assert build(rows).fingerprint == one.fingerprint
    assert one.label.tolist() == ([0] * 3 + [1] * 3) * 4
    names = [example.source.partition(" and ")[::2] for example in one.examples]
    assert len(names) == 4
    for own, donor in names:
        assert donor.startswith("validation_")
        assert donor.partition("#")[0] != own.partition("#")[0]
    # One group held out: its videos are there, with their own faces.
    alone = build(rows[:1])
    assert alone.fingerprint == build(rows[:1], ALWAYS.without_donors()).fingerprint
    assert alone.examples[0].source.count("#") == 1
