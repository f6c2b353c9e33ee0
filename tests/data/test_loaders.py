"""The plan of an epoch, and batches that depend on nothing but seed, epoch and position."""

from __future__ import annotations

import atexit
import multiprocessing
import re
import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from fakestormer.data import handover
from fakestormer.data.loaders import (
    ClipPlan,
    PairBatch,
    TrainingClips,
    synthesise,
    training_batches,
)
from fakestormer.data.manifest import read_manifest
from fakestormer.errors import InputError
from fakestormer.recipe.synthesis import SynthesisConfig
from store_fixtures import whole_batch

SIZE, PATCH = 32, 8


def _plan(lengths: list[int], **changes: object) -> ClipPlan:
    fields: dict[str, object] = {
        "clip_length": 4, "pairs": 2, "clips_per_track": None, "seed": 0, "epochs": 3
    }  # fmt: skip
    return ClipPlan(lengths, **{**fields, **changes})  # type: ignore[arg-type]


def test_clips_of_a_track_do_not_overlap_and_stay_inside() -> None:
    plan = _plan([13, 4, 30], epochs=6)
    offsets = set()
    for epoch in range(6):
        clips = plan.clips(epoch)
        for track, length in enumerate(plan.lengths):
            mine = clips[clips[:, 0] == track, 1:]
            assert np.all(np.diff(mine, axis=1) == 1)
            assert len(np.unique(mine)) == mine.size
            assert mine.min() >= 0
            assert mine.max() < length
            if track == 2:
                offsets.add(int(mine.min()))
                assert len(mine) >= (30 - 3) // 4
    assert len(offsets) > 1, "the offset is drawn anew each epoch"


def test_an_epoch_is_a_pure_function_of_seed_and_epoch() -> None:
    one, other = _plan([20, 21]), _plan([20, 21])
    assert np.array_equal(other.clips(2), one.clips(2))
    assert not np.array_equal(one.clips(0), one.clips(1))
    assert not np.array_equal(one.clips(0), _plan([20, 21], seed=1).clips(0))


def test_clips_per_track_is_a_cap() -> None:
    plan = _plan([40, 5], clips_per_track=3, pairs=1)
    assert np.bincount(plan.clips(0)[:, 0]).tolist() == [3, 1]


def test_steps_and_places() -> None:
    plan = _plan([30, 30])
    assert plan.steps_per_epoch == tuple(len(plan.clips(epoch)) // 2 for epoch in range(3))
    first = plan.steps_per_epoch[0]
    assert plan.place(first - 1) == (0, first - 1)
    assert plan.place(first) == (1, 0)
    assert plan.place(plan.steps) == (3, 0)
    shared = plan.keys(1, rank=0, world_size=2) + plan.keys(1, rank=1, world_size=2)
    assert sorted(shared) == plan.keys(1) == [(0, 2), (0, 3)]


def test_too_short_tracks_and_too_large_batches_are_refused() -> None:
    with pytest.raises(InputError, match="at least 4 frames to give a clip, found 3"):
        _plan([10, 3])
    with pytest.raises(
        InputError, match=r"has 2 clips, .* of 9 pairs; lower training\.batch_size to 4"
    ):
        _plan([4, 4], pairs=9)


def _clips(store: Path) -> TrainingClips:
    rows = [row for row in read_manifest(store) if not row.rejected]
    plan = ClipPlan(
        [row.frames for row in rows], clip_length=4, pairs=4, clips_per_track=None, seed=5, epochs=2
    )
    return TrainingClips(store, rows, plan, SynthesisConfig())


def _check_same(a: PairBatch, b: PairBatch) -> None:
    assert a.sources == b.sources
    assert torch.equal(a.frames, b.frames)
    for name in ("boundary", "derivative", "soft_labels", "label", "kept"):
        assert torch.equal(getattr(a.targets, name), getattr(b.targets, name)), name


def test_workers_do_not_change_the_batches(store: Path) -> None:
    alone = list(training_batches(_clips(store), size=SIZE, patch_size=PATCH))
    helped = list(training_batches(_clips(store), size=SIZE, patch_size=PATCH, workers=2))
    assert len(alone) == len(helped) == _clips(store).plan.steps
    for a, b in zip(alone, helped, strict=True):
        _check_same(a, b)
    assert alone[0].frames.shape == (8, 4, 3, SIZE, SIZE)
    assert alone[0].targets.label.tolist() == [0] * 4 + [1] * 4


def test_a_run_can_begin_at_any_step(store: Path) -> None:
    whole = list(training_batches(_clips(store), size=SIZE, patch_size=PATCH))
    later = list(training_batches(_clips(store), size=SIZE, patch_size=PATCH, first_step=2))
    assert len(later) == len(whole) - 2 > 0
    for a, b in zip(whole[2:], later, strict=True):
        _check_same(a, b)


@pytest.fixture
def no_shared_memory(store: Path) -> Iterator[None]:
    """Files of more than 4 KB cannot be made once the store is there; shared memory is files."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("no_shared_memory")
def test_batches_arrive_where_shared_memory_is_too_small(
    store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    here = list(training_batches(_clips(store), size=SIZE, patch_size=PATCH))
    there = list(training_batches(_clips(store), size=SIZE, patch_size=PATCH, workers=1))
    assert len(there) == len(here) > 2
    for a, b in zip(there, here, strict=True):
        _check_same(a, b)
    said = [record.getMessage() for record in caplog.records if record.name == handover.__name__]
    assert len(said) == 1
    assert said[0].startswith("Shared memory (/dev/shm) has room for 0 MB")


@pytest.mark.parametrize(("room", "enough"), [(None, True), (0, False), (599, False), (600, True)])
def test_room_is_needed_for_all_batches_under_way(
    room: int | None, enough: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "shared_memory", lambda: room)
    assert handover.has_room(50, workers=2, processes=2) is enough


def _work_and_end(finalised: Path) -> None:
    handover.start_worker(0)
    atexit.register(finalised.touch)


def test_a_loading_process_ends_before_python_ends_its_threads(tmp_path: Path) -> None:
    """Python ends them inside C++ code, which aborted one in twenty processes."""
    finalised = tmp_path / "finalised"
    process = multiprocessing.get_context("spawn").Process(target=_work_and_end, args=(finalised,))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert not finalised.exists()


def test_synthesis_for_a_whole_batch_gives_the_same_pairs(store: Path) -> None:
    clips = _clips(store)
    one_by_one = next(iter(training_batches(clips, size=SIZE, patch_size=PATCH)))
    whole = whole_batch(clips, 0)
    _check_same(one_by_one, synthesise(whole, clips.config, size=SIZE, patch_size=PATCH))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_clip_that_cannot_be_blended_is_named_in_one_sentence(workers: int, store: Path) -> None:
    clips = _clips(store)
    # What is left of the middle lies wholly inside the mask, where there is no boundary.
    nothing_left = clips.config.model_copy(update={"margin": (127, 127)})
    clips = TrainingClips(store, clips.rows, clips.plan, nothing_left)
    with pytest.raises(InputError) as caught:
        list(training_batches(clips, size=SIZE, patch_size=PATCH, workers=workers))
    sentence = r"\w+_00\d\.mp4#0@\d+: no pseudo-fake can be made of it \(.*; take the video out .*"
    assert re.fullmatch(sentence, str(caught.value))


def test_processes_share_a_batch(store: Path) -> None:
    clips = _clips(store)
    whole = next(iter(training_batches(clips, size=SIZE, patch_size=PATCH)))
    parts = [
        next(iter(training_batches(clips, size=SIZE, patch_size=PATCH, rank=rank, world_size=2)))
        for rank in range(2)
    ]
    assert parts[0].sources + parts[1].sources == whole.sources[0::2] + whole.sources[1::2]
    assert torch.equal(parts[1].frames[2:], whole.frames[4:][1::2])
    with pytest.raises(InputError, match="multiple of 6"):
        next(iter(training_batches(clips, size=SIZE, patch_size=PATCH, world_size=3)))
