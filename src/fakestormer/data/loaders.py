"""A track store's training tracks -> batches of pairs, the same for any number of workers.

    plan:   (seed, epoch) -> every track cut into clips at an offset drawn anew, shuffled
    item:   (seed, epoch, position) -> the clip's frames and its synthesis draws
    batch:  B pairs -> frames u8 (2B, T, 3, H, W), the B real clips first, + Targets

All randomness comes from generators keyed by these numbers, so a batch depends neither on the
processes that load it nor on the batches before it, and a run can be resumed at any step.
Synthesis runs where the clips are read, pair by pair.

A binary classifier can be trained on fake videos instead (Tables 5 and 9): then the pair of a real
clip is a clip of a fake track, drawn at random, and nothing is blended.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fakestormer.data.donors import Donors
from fakestormer.data.handover import ByPipe, has_room, opened, start_worker
from fakestormer.data.manifest import Row
from fakestormer.data.store import read_clip
from fakestormer.errors import InputError
from fakestormer.faces.clips import cut_clips
from fakestormer.recipe.synthesis import SynthesisConfig
from fakestormer.synthesis.pairs import label_pairs, make_pairs
from fakestormer.synthesis.params import ClipParams, sample
from fakestormer.types import Clip
from fakestormer.types.network import Targets
from fakestormer.types.tensors import joined

Key = tuple[int, int]  # (epoch, position within the epoch's shuffled clips)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClipBatch:
    """Real clips and the draws that will make their pseudo-fakes.

    frames: uint8 (B, T, 3, S, S), stored crops. landmarks: float32 (B, T, K, 2), crop px. sources:
    "video.mp4#0@120". fakes: like frames, clips of fake videos to pair the real ones with; None
    where pseudo-fakes are to be made. donors: like frames, other people's faces laid on those of
    the clips whose params have a donor (of the others: the clip itself); None where no clip has
    one.
    """

    frames: Tensor
    landmarks: Tensor
    params: tuple[ClipParams, ...]
    sources: tuple[str, ...]
    fakes: Tensor | None = None
    donors: Tensor | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairBatch:
    """Network input with its targets: frames uint8 (2B, T, 3, H, W), the B real clips first.

    sources: the B names; clip i and clip B + i come from sources[i].
    """

    frames: Tensor
    targets: Targets
    sources: tuple[str, ...]

    def to(self, device: torch.device) -> PairBatch:
        return PairBatch(
            frames=self.frames.to(device), targets=self.targets.to(device), sources=self.sources
        )


def synthesise(
    batch: ClipBatch, config: SynthesisConfig, *, size: int, patch_size: int
) -> PairBatch:
    """The pairs of a batch. Raises InputError naming the clip of which no pair can be made."""
    if batch.fakes is not None:
        frames, targets = label_pairs(
            batch.frames, batch.fakes, batch.params, size=size, patch_size=patch_size
        )
        return PairBatch(frames=frames, targets=targets, sources=batch.sources)
    try:
        frames, targets = make_pairs(
            batch.frames, batch.landmarks, batch.params, config, size=size, patch_size=patch_size,
            donors_btchw=batch.donors,
        )  # fmt: skip
    except ValueError as error:
        raise InputError(
            f"{', '.join(batch.sources)}: no pseudo-fake can be made of it ({error}); take the "
            "video out of the folder and run prepare again"
        ) from error
    return PairBatch(frames=frames, targets=targets, sources=batch.sources)


class ClipPlan:
    """Which clips each epoch shows, in which order; a pure function of (seed, epoch).

    lengths: frames of each track. pairs: clips per batch, over all processes. clips_per_track: at
    most so many of a track's clips per epoch; None takes all. An epoch's last, incomplete batch is
    left out. Raises InputError when a track is shorter than a clip or an epoch than a batch.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        *,
        clip_length: int,
        pairs: int,
        clips_per_track: int | None,
        seed: int,
        epochs: int,
    ) -> None:
        if min(lengths, default=0) < clip_length:
            raise InputError(
                f"every track needs at least {clip_length} frames to give a clip, found "
                f"{min(lengths, default=0)}; leave shorter tracks out"
            )
        self.lengths, self.clip_length, self.pairs = tuple(lengths), clip_length, pairs
        self.clips_per_track, self.seed, self.epochs = clips_per_track, seed, epochs
        fewest = min(len(self.clips(epoch)) for epoch in range(epochs))
        if fewest < pairs:
            raise InputError(
                f"too few training videos: an epoch has {fewest} clips, fewer than one batch of "
                f"{pairs} pairs; lower training.batch_size to {2 * fewest} or less, or prepare "
                "more videos"
            )

    def clips(self, epoch: int) -> np.ndarray:
        """int64 (C, 1 + T): the track's number and the positions in it, shuffled.

        # one track of 9 frames, T = 4, offset drawn as 1 -> [[0, 5, 6, 7, 8], [0, 1, 2, 3, 4]]
        """
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(0, epoch)))
        rows = []
        for track, length in enumerate(self.lengths):
            offset = int(rng.integers(min(self.clip_length, length - self.clip_length + 1)))
            positions_ct = np.asarray(cut_clips(length, self.clip_length, offset))
            cap = self.clips_per_track
            if cap is not None and len(positions_ct) > cap:
                positions_ct = positions_ct[rng.permutation(len(positions_ct))[:cap]]
            rows.append(np.insert(positions_ct, 0, track, axis=1))
        return rng.permutation(np.concatenate(rows))

    @cached_property
    def steps_per_epoch(self) -> tuple[int, ...]:
        """Batches of each epoch; they differ a little, because the offsets do."""
        return tuple(len(self.clips(epoch)) // self.pairs for epoch in range(self.epochs))

    @property
    def steps(self) -> int:
        """Batches of the whole run."""
        return sum(self.steps_per_epoch)

    def place(self, step: int) -> tuple[int, int]:
        """(epoch, batch within it) of a step counted from 0; (epochs, 0) at the end of the run."""
        for epoch, steps in enumerate(self.steps_per_epoch):
            if step < steps:
                return epoch, step
            step -= steps
        return self.epochs, 0

    def keys(self, step: int, *, rank: int = 0, world_size: int = 1) -> list[Key]:
        """The clips of one step that one process of several loads."""
        epoch, batch = self.place(step)
        first = batch * self.pairs
        return [(epoch, first + pair) for pair in range(rank, self.pairs, world_size)]


class TrainingClips(Dataset[ClipBatch]):
    """Reads the clip of a key and draws its synthesis; batches of one.

    fakes: tracks, of a clip's length at least; where there are some, each real clip is paired with
    a clip of one of them instead of a pseudo-fake.
    """

    def __init__(
        self,
        store: Path,
        rows: Sequence[Row],
        plan: ClipPlan,
        config: SynthesisConfig,
        *,
        fakes: Sequence[Row] = (),
    ) -> None:
        self.store, self.rows, self.plan, self.config = store, tuple(rows), plan, config
        self.fakes = tuple(fakes)
        self.donors = Donors(store, self.rows, candidates=config.beyond.donor_candidates)
        self._epoch: tuple[int, np.ndarray] | None = None  # the last epoch's clips, to not redraw

    def __getitem__(self, key: Key) -> ClipBatch:
        epoch, position = key
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = (epoch, self.plan.clips(epoch))
        track, *positions = self._epoch[1][position].tolist()
        row = self.rows[track]
        clip = read_clip(self.store / row.file, positions, video=row.video, number=row.track)
        rng = np.random.default_rng(
            np.random.SeedSequence(self.plan.seed, spawn_key=(1, epoch, position))
        )
        params = sample(rng, self.config, clip_length=len(clip))
        if self.fakes:
            return one_clip(clip, params, fake=self._fake_clip(rng, len(clip)))
        return with_donor(one_clip(clip, params), self.donors, row, clip)

    def _fake_clip(self, rng: np.random.Generator, length: int) -> Clip:
        row = self.fakes[int(rng.integers(len(self.fakes)))]
        start = int(rng.integers(row.frames - length + 1))
        return read_clip(
            self.store / row.file, range(start, start + length), video=row.video, number=row.track
        )


def one_clip(clip: Clip, params: ClipParams, *, fake: Clip | None = None) -> ClipBatch:
    """A batch of one."""
    source = clip.source if fake is None else f"{clip.source} and {fake.source}"
    return ClipBatch(
        frames=torch.from_numpy(clip.frames)[None],
        landmarks=torch.from_numpy(clip.landmarks)[None],
        params=(params,),
        sources=(source,),
        fakes=None if fake is None else torch.from_numpy(fake.frames)[None],
    )


def with_donor(one: ClipBatch, donors: Donors, row: Row, clip: Clip) -> ClipBatch:
    """A batch of one, with the donor that its params ask for; row: the clip's track."""
    (params,) = one.params
    if params.donor is None:
        return one
    given, source = donors.give(params, row, clip)
    sources = (f"{one.sources[0]} and {source}",)
    return dataclasses.replace(one, sources=sources, donors=given[None])


def join_pairs(batches: Sequence[PairBatch]) -> PairBatch:
    """Several batches as one: all their real clips, then all their fakes, each in order."""
    order = _real_then_fake([len(batch.sources) for batch in batches])
    return PairBatch(
        frames=torch.cat([batch.frames for batch in batches])[order],
        targets=joined([batch.targets for batch in batches], lambda part: torch.cat(part)[order]),
        sources=tuple(source for batch in batches for source in batch.sources),
    )


def _real_then_fake(sizes: Sequence[int]) -> Tensor:
    """[1, 2] -> [0, 2, 3, 1, 4, 5]: from (R F)(R R F F) to (R R R F F F)."""
    real: list[int] = []
    fake: list[int] = []
    start = 0
    for size in sizes:
        real += range(start, start + size)
        fake += range(start + size, start + 2 * size)
        start += 2 * size
    return torch.tensor(real + fake)


@dataclass(frozen=True, slots=True)
class _MakePairs:
    """Synthesis inside a worker: one clip, one pair at a time."""

    config: SynthesisConfig
    size: int
    patch_size: int

    def __call__(self, items: list[ClipBatch]) -> PairBatch:
        pairs = [
            synthesise(item, self.config, size=self.size, patch_size=self.patch_size)
            for item in items
        ]
        return join_pairs(pairs)


def training_batches(
    clips: TrainingClips,
    *,
    size: int,
    patch_size: int,
    first_step: int = 0,
    workers: int = 0,
    device: torch.device | None = None,
    rank: int = 0,
    world_size: int = 1,
) -> Iterator[PairBatch]:
    """The batches of the whole run from `first_step` on, across epochs, on `device`.

    workers: loading processes, 0 = this one. rank, world_size: this process of several takes every
    world_size-th pair. Raises InputError when the pairs cannot be shared evenly, or when a clip
    cannot be read or blended, wherever that happens.
    """
    plan = clips.plan
    if plan.pairs % world_size:
        raise InputError(
            f"{plan.pairs} pairs in a batch cannot be shared by {world_size} processes; choose a "
            f"batch size that is a multiple of {2 * world_size}"
        )
    device = device or torch.device("cpu")
    keys = [
        plan.keys(step, rank=rank, world_size=world_size) for step in range(first_step, plan.steps)
    ]
    make = _MakePairs(clips.config, size, patch_size)
    shared = True
    if workers and keys:
        frames = 2 * len(keys[0]) * plan.clip_length  # of the real clips, and of their pairs
        most = round(1.1 * frames * 3 * size**2)  # bytes; a tenth more for the targets
        shared = has_room(most, workers=workers, processes=world_size)
    loader: DataLoader[ClipBatch] = DataLoader(
        clips,
        batch_sampler=keys,
        collate_fn=make if shared else ByPipe(make),
        num_workers=workers,
        # Forked processes would inherit OpenCV's and torch's locked thread pools and hang.
        multiprocessing_context="spawn" if workers else None,
        worker_init_fn=start_worker,
    )
    try:
        for batch in opened(loader):
            yield batch.to(device)
    except InputError as error:
        # A loading process hands over its whole traceback as text, the sentence at its end.
        raise InputError(str(error).rpartition("InputError: ")[2].strip()) from error
