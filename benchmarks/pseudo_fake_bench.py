"""Does a kind of pseudo-fake point towards real face swaps? An answer in seconds, not hours.

    fakestormer prepare VIDEOS --out STORE --set crop.enlarge=1.5 --set crop.stored_size=192
    fakestormer prepare SWAPS --out SWAPS_STORE --split test   # the same --set; real/ and fake/
    python benchmarks/pseudo_fake_bench.py STORE SWAPS_STORE

A linear probe is fitted to frozen EfficientNet-Lite0 features (ImageNet's weights; mean and spread
over positions at stride 8 and 16) of pairs of one kind, and put to the real swaps. A row says:

    own     AUC on pairs of its own kind that it was not fitted to
    AUC     of the swaps against their originals, video scores (means over frames)
    wins    swaps that score above their own original
    t       mean of these differences over its standard error: the least noisy figure
    others  AUC of the swaps against the store's real validation videos

Kinds are settings of the synthesis: `--kind NAME "FIELD=VALUE ..."` adds one, without any the table
below is run. A kind that separates its own well and has t near 0 teaches something else than swaps.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch import Tensor

from fakestormer.data.loaders import ClipPlan, TrainingClips, synthesise
from fakestormer.data.manifest import Row, read_manifest, read_settings
from fakestormer.data.store import read_clip
from fakestormer.model.efficientnet import EfficientNetLite, published_state
from fakestormer.recipe.named import tiny
from fakestormer.recipe.recipe import Recipe, override
from fakestormer.synthesis.resample import cut_margin

#: Nothing recoloured, sharpened, coarsened or cut out: what is left is the blend.
_PLAIN = (
    "synthesis.cutout_probability=0 synthesis.downscale_probability=0 "
    "synthesis.sharpen_alpha=[0,0] synthesis.change.hsv_probability=0 "
    "synthesis.change.rgb_probability=0 synthesis.change.contrast_probability=0"
)
_SMALL = (
    "synthesis.beyond.resolution_probability=1 synthesis.beyond.resolution=[0.6,1] "
    "synthesis.jpeg_probability=0.85 synthesis.jpeg_quality=[45,95] "
    "synthesis.jitter.rgb_probability=0 synthesis.jitter.contrast_probability=0"
)
_FIRST = f"synthesis.beyond.damage_first=true {_SMALL}"
_DONOR = "synthesis.beyond.donor_probability=1 synthesis.beyond.donor_changed_probability=0"
KINDS = {
    "self-blended, as in the method": "synthesis.cutout_probability=0",
    "self-blended, plain": _PLAIN,
    "plain, damaged after enlarging": f"{_PLAIN} {_SMALL}",
    "plain, damaged first": f"{_PLAIN} {_FIRST}",
    "as in the method, damaged first": f"synthesis.cutout_probability=0 {_FIRST}",
    "plain, the whole real clip moved": (
        f"{_PLAIN} {_FIRST} synthesis.beyond.moved_real_probability=1"
    ),
    "donors as they are, damaged first": f"{_PLAIN} {_FIRST} {_DONOR}",
}


class Features:
    """Frozen features: uint8 (N, 3, H, W) -> float32 (N, 2 * (40 + 112))."""

    def __init__(self) -> None:
        self.network = EfficientNetLite("efficientnet-lite0")
        state = published_state("efficientnet-lite0")
        self.network.load_state_dict({key: state[key] for key in self.network.state_dict()})
        self.network.eval()

    @torch.inference_mode()
    def __call__(self, frames_nchw: Tensor) -> NDArray[np.float32]:
        parts = []
        for frames in frames_nchw.split(16):
            x = (frames.float() - 127) / 128
            x = x.contiguous(memory_format=torch.channels_last)
            seen = []
            for n, part in enumerate(self.network.parts()):
                x = part(x)
                if n in (3, 5):  # the ends of strides 8 and 16
                    seen += [x.mean(dim=(2, 3)), x.std(dim=(2, 3))]
            parts.append(torch.cat(seen, dim=1))
        return torch.cat(parts).numpy()


def pairs_of(
    store: Path, rows: Sequence[Row], recipe: Recipe, count: int, seed: int
) -> tuple[Tensor, Tensor]:
    """`count` single real frames and their pseudo-fakes: uint8 (count, 3, H, W) each."""
    plan = ClipPlan(
        [row.frames for row in rows], clip_length=1, pairs=1, clips_per_track=3, seed=seed, epochs=1
    )
    clips = TrainingClips(store, rows, plan, recipe.synthesis)
    size, patch = recipe.model.image_size, recipe.model.patch_size
    batches = [
        synthesise(clips[(0, n)], recipe.synthesis, size=size, patch_size=patch)
        for n in range(min(count, len(plan.clips(0))))
    ]
    return tuple(torch.stack([b.frames[twin, 0] for b in batches]) for twin in (0, 1))  # type: ignore[return-value]


def frames_of(store: Path, row: Row, recipe: Recipe, count: int = 8) -> Tensor:
    """Frames spread over a track, as detection would show them: uint8 (count, 3, H, W)."""
    at = np.unique(np.linspace(0, row.frames - 1, count).round().astype(int))
    clip = read_clip(store / row.file, at, video=row.video, number=row.track)
    margin = recipe.prediction.margin * clip.frames.shape[-1] / 256
    frames = torch.from_numpy(clip.frames)
    return cut_margin(frames, margin=margin, size=recipe.model.image_size)


Probe = Callable[[NDArray[np.float32]], NDArray[np.float64]]


def fitted(real: NDArray[np.float32], fake: NDArray[np.float32]) -> Probe:
    """A linear probe on standardised features: the higher, the more like the fakes."""
    both = np.concatenate([real, fake])
    mean, spread = both.mean(axis=0), both.std(axis=0) + 1e-6
    labels = np.r_[np.zeros(len(real)), np.ones(len(fake))]
    model = LogisticRegression(C=0.01, max_iter=300).fit((both - mean) / spread, labels)
    return lambda features: model.decision_function((features - mean) / spread)


def auc(fake: Sequence[float] | NDArray[np.float64], real: Sequence[float]) -> float:
    """Of fake scores against real ones."""
    labels = np.r_[np.ones(len(fake)), np.zeros(len(real))]
    return float(roc_auc_score(labels, np.r_[fake, real]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path, help="prepared real videos, training and validation")
    parser.add_argument("swaps", type=Path, help="prepared swaps and originals of the same names")
    parser.add_argument("--pairs", type=int, default=180)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", dest="sets", action="append", default=[], help="FIELD=VALUE")
    parser.add_argument(
        "--kind", nargs=2, action="append", metavar=("NAME", "SETTINGS"), help="a row"
    )
    arguments = parser.parse_args()
    kinds = dict(arguments.kind) if arguments.kind else KINDS

    crop = read_settings(arguments.store).crop
    same = [f"crop.{field}={value}" for field, value in crop.model_dump().items()]
    base = override(
        tiny(),
        [
            "model.frames=1", "model.image_size=192", "prediction.margin=30",
            "synthesis.margin=[20,44]", *same, *arguments.sets,
        ],
    )  # fmt: skip
    features = Features()
    rows = [row for row in read_manifest(arguments.store) if not row.rejected]
    training = [row for row in rows if row.split == "train" and row.label == "real"]
    held_out = [row for row in rows if row.split == "validation" and row.label == "real"]
    videos: dict[str, dict[str, list[NDArray[np.float32]]]] = defaultdict(lambda: defaultdict(list))
    for row in read_manifest(arguments.swaps):
        if not row.rejected and row.track == 0:
            name = Path(row.video).stem
            videos[name][row.label].append(features(frames_of(arguments.swaps, row, base)))
    others = [features(frames_of(arguments.store, row, base, count=4)) for row in held_out]

    print("| pseudo-fakes the probe was fitted to | own | AUC | wins | t | others | seconds |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, settings in kinds.items():
        began = time.monotonic()
        recipe = override(base, settings.split())
        real, fake = map(
            features, pairs_of(arguments.store, training, recipe, arguments.pairs, arguments.seed)
        )
        kept = len(real) * 3 // 4
        probe = fitted(real[:kept], fake[:kept])
        own = auc(probe(fake[kept:]), list(probe(real[kept:])))
        probe = fitted(real, fake)
        scores = {
            video: {label: float(np.mean(probe(np.concatenate(x)))) for label, x in labels.items()}
            for video, labels in videos.items()
        }
        swapped = [labels["fake"] for labels in scores.values() if "fake" in labels]
        originals = [labels["real"] for labels in scores.values() if "real" in labels]
        apart = np.array([s["fake"] - s["real"] for s in scores.values() if len(s) == 2])
        t = apart.mean() / (apart.std(ddof=1) / np.sqrt(len(apart)))
        against = auc(swapped, [float(np.mean(probe(x))) for x in others]) if others else np.nan
        print(
            f"| {name} | {own:.2f} | {auc(swapped, originals):.3f} | {(apart > 0).sum()} of "
            f"{len(apart)} | {t:.1f} | {against:.3f} | {time.monotonic() - began:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
