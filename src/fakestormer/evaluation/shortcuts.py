"""Does the detector go by something else? Real clips against themselves, treated.

    real video -> its score
               -> resized, blurred, recompressed, ... -> its score        for each treatment

Nothing of this makes a video fake, so that the AUC of treated against untouched clips should be
near 0.5. Compression of real and fake alike is another question: `evaluate --corruptions video
--corrupt crops` answers it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fakestormer.data.manifest import Row
from fakestormer.errors import InputError
from fakestormer.evaluation.calibration import wilson
from fakestormer.evaluation.corrupted import pictures, with_pictures
from fakestormer.evaluation.plan import SplitChoice, usable, videos_of
from fakestormer.evaluation.score import ReadClips, Scoring, score_video, store_reader
from fakestormer.evaluation.treatments import FEWEST, TREATMENTS, Shortcut, Treatment
from fakestormer.files import write_atomically
from fakestormer.parallel.pool import map_videos
from fakestormer.recipe.faces import CropConfig
from fakestormer.recipe.prediction import PredictionConfig
from fakestormer.runtimes.engine import Engine
from fakestormer.types import Clip

#: Layout of shortcuts.json.
FORMAT = 1
_RESAMPLES = 2000
_UNTOUCHED = ""


@dataclass(kw_only=True)
class ScoreTreated:
    """Name of a real video -> its probability by treatment ("" for untouched); picklable."""

    store: Path
    videos: Mapping[str, Sequence[Row]]
    open_engine: Callable[[], Engine]
    prediction: PredictionConfig

    @cached_property
    def _scoring(self) -> Scoring:
        predictions = {str(self.prediction.sampling): self.prediction}
        return Scoring(engine=self.open_engine(), predictions=predictions, face="largest")

    def __call__(self, video: str) -> dict[str, float]:
        rows = self.videos[video]
        tracks = _Tracks(self.store)
        scores = {}
        for treatment in (None, *TREATMENTS):
            reader = tracks.reader(treatment)
            (score,) = score_video(self._scoring, rows, reader, data="").values()
            assert score.score is not None, "only videos with a usable track are scored"
            scores[_UNTOUCHED if treatment is None else treatment.name] = score.score
        return scores


class _Tracks:
    """Whole tracks of one video, read once for all treatments."""

    def __init__(self, store: Path) -> None:
        self._stored = store_reader(store)
        self._whole: dict[str, Clip] = {}

    def reader(self, treatment: Treatment | None) -> Callable[[Row], ReadClips]:
        def reader(row: Row) -> ReadClips:
            whole = self._whole.get(row.file)
            if whole is None:
                (whole,) = self._stored(row)(np.arange(row.frames)[None])
                self._whole[row.file] = whole
            frames = pictures(whole)
            if treatment is not None and treatment.crf is not None:
                frames = treatment.film(frames)

            def read(positions_ct: np.ndarray) -> list[Clip]:
                clips = []
                for positions in positions_ct.tolist():
                    chosen = [frames[position] for position in positions]
                    if treatment is not None and treatment.crf is None:
                        chosen = [
                            treatment.frame(picture, key=row.sha256, index=position)
                            for picture, position in zip(chosen, positions, strict=True)
                        ]
                    clip = replace(
                        whole,
                        frames=whole.frames[positions],
                        landmarks=whole.landmarks[positions],
                        indices=whole.indices[positions],
                        pts_seconds=whole.pts_seconds[positions],
                    )
                    clips.append(with_pictures(clip, chosen))
                return clips

            return read

        return reader


def find_shortcuts(
    store: Path,
    crop: CropConfig,
    prediction: PredictionConfig,
    open_engine: Callable[[], Engine],
    *,
    split: SplitChoice = "test",
    at_most: int | None = None,
    workers: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Shortcut], dict[str, dict[str, float]]]:
    """Score the store's real videos of a split, untouched and after every treatment.

    at_most: videos, spread evenly over their names. progress: (done, total) videos. Returns the
    numbers of each treatment, and the probabilities by video and treatment.
    """
    real = {
        video: rows
        for video, rows in videos_of(store, crop, split)
        if rows[0].label == "real" and usable(rows)
    }
    names = list(real)
    if at_most is not None and at_most < len(names):
        names = [names[k * len(names) // at_most] for k in range(at_most)]
    if len(names) < 2:
        raise InputError(
            f"{store}: has {len(names)} real videos in the split {split!r}; shortcuts are looked "
            "for in two or more, better a hundred"
        )
    work = ScoreTreated(
        store=store,
        videos={name: real[name] for name in names},
        open_engine=open_engine,
        prediction=prediction,
    )
    scores: dict[str, dict[str, float]] = {name: {} for name in names}
    for done, (name, scored) in enumerate(map_videos(work, names, workers=workers), start=1):
        if scored is None:
            raise RuntimeError(f"{name}: scoring it killed its process; see --workers 0")
        scores[name] = scored
        if progress is not None:
            progress(done, len(names))
    untouched = [scores[name][_UNTOUCHED] for name in names]
    shortcuts = [
        shortcut(
            treatment,
            untouched,
            [scores[name][treatment.name] for name in names],
            threshold=prediction.fake_from,
        )
        for treatment in TREATMENTS
    ]
    return shortcuts, scores


def shortcut(
    treatment: Treatment, untouched: Sequence[float], treated: Sequence[float], *, threshold: float
) -> Shortcut:
    """The numbers of one treatment, from the probabilities of the same videos in the same order."""
    before_n, after_n = np.asarray(untouched), np.asarray(treated)
    higher = float(np.mean(after_n > before_n) + 0.5 * np.mean(after_n == before_n))
    auc, interval = paired_auc(before_n, after_n)
    return Shortcut(
        treatment=treatment.name,
        group=treatment.group,
        videos=len(before_n),
        auc=auc,
        interval=interval,
        wins=higher,
        wins_interval=wilson(higher, len(before_n)),
        change=float(np.mean(after_n - before_n)),
        called_fake=float(np.mean(after_n >= threshold)),
        called_fake_untouched=float(np.mean(before_n >= threshold)),
    )


def paired_auc(
    before_n: np.ndarray, after_n: np.ndarray, *, resamples: int = _RESAMPLES, seed: int = 0
) -> tuple[float, tuple[float, float]]:
    """AUC of `after` against `before`, both (N,) of the same videos, and its 95 % interval.

    The bootstrap draws videos, each with both its scores: drawing the two apart would make the
    interval too wide. Memory grows as N^2, 4 bytes for each.
    """
    wins_nn = (after_n[:, None] > before_n).astype(np.float32)
    wins_nn += 0.5 * (after_n[:, None] == before_n)
    count = len(before_n)
    rng = np.random.default_rng(seed)
    drawn_rn = rng.multinomial(count, np.full(count, 1 / count), resamples).astype(np.float32)
    aucs_r = ((drawn_rn @ wins_nn) * drawn_rn).sum(axis=1, dtype=np.float64) / count**2
    low, high = np.percentile(aucs_r, (2.5, 97.5))
    return float(wins_nn.mean(dtype=np.float64)), (float(low), float(high))


def write_shortcuts(
    out: Path,
    shortcuts: Sequence[Shortcut],
    scores: Mapping[str, Mapping[str, float]],
    *,
    about: Mapping[str, Any],
) -> str:
    """Write shortcuts.json, .md and .png; returns the Markdown.

    about: JSON-able, "model" (of the detector's fingerprint), "store", "split" and "settings".
    """
    from fakestormer.evaluation.shortcut_plot import shortcut_plot

    text = markdown(shortcuts, about)
    document = {
        "format": FORMAT,
        **about,
        "treatments": [asdict(one) | {"suspicious": one.suspicious} for one in shortcuts],
        "scores": {
            video: {name or "untouched": score for name, score in probabilities.items()}
            for video, probabilities in scores.items()
        },
    }
    shortcut_plot(out / "shortcuts.png", shortcuts, title=f"Shortcuts of {about['model']['name']}")
    write_atomically(out / "shortcuts.md", text.encode())
    content = json.dumps(document, indent=2, allow_nan=False) + "\n"
    write_atomically(out / "shortcuts.json", content.encode())
    return text


def markdown(shortcuts: Sequence[Shortcut], about: Mapping[str, Any]) -> str:
    """The table, under what its numbers depend on."""
    first, settings = shortcuts[0], about["settings"]
    rows = "".join(
        f"| {one.treatment} | {one.auc:.3f}{' **!**' if one.suspicious else ''} | "
        f"{one.interval[0]:.3f} to {one.interval[1]:.3f} | {100 * one.wins:.0f} | "
        f"{100 * one.wins_interval[0]:.0f} to {100 * one.wins_interval[1]:.0f} | "
        f"{one.change:+.3f} | {100 * one.called_fake:.1f} |\n"
        for one in shortcuts
    )
    marked = sum(one.suspicious for one in shortcuts)
    chance = 0.05 * len(shortcuts)
    result = (
        f"{marked} of {len(shortcuts)} treatments are marked; chance alone would mark about "
        f"{chance:.0f}."
        if first.videos >= FEWEST
        else f"Too few videos to mark a treatment: that takes {FEWEST}."
    )
    furthest = max(shortcuts, key=lambda one: abs(one.auc - 0.5))
    return (
        f"# Shortcuts of {about['model']['name']}\n\n"
        f"{first.videos} real videos of {about['store']} (split {about['split']}) against "
        f"themselves, treated: AUC near 0.5 and wins near 50 % mean that the treatment is not "
        f"taken for manipulation. Intervals 95 %, over videos, both scores of a video drawn "
        f"together; **!** where the AUC's does not hold 0.5, of {FEWEST} videos or more. Wins: "
        f"share that scores higher treated. Treatments are applied to stored crops; sampling "
        f"{settings['sampling']}, {settings['frames']} frames, margin "
        f"{settings['margin']:g} of 256 px. Untouched, {100 * first.called_fake_untouched:.1f} % "
        f"are called likely fake, from {settings['fake_from']:.3g} on.\n\n"
        "| treatment | AUC | 95 % | wins, % | 95 % | mean change | likely fake, % |\n"
        f"|{' --- |' * 7}\n{rows}\n"
        f"{result} Furthest from 0.5: {furthest.treatment}, {furthest.auc:.3f}. "
        "How detection itself falls with compression: `fakestormer evaluate --corruptions video "
        "--corrupt crops`.\n"
    )
