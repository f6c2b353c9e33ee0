"""What real videos go through on their way that makes none of them fake, on stored face crops.

Each changes a clip in one way alone: resizing, blur, sharpening, recompression, noise, colour, or
where the face stands in its crop. A detector that scores a treated clip higher than the same clip
untouched goes by that instead of by traces of blending (`shortcuts`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np

from fakestormer.evaluation.corruptions import CorruptionName, corrupt_frame, recompressed
from fakestormer.recipe.prediction import REFERENCE_SIDE
from fakestormer.video.colour import RGB

#: rgb uint8 (S, S, 3), random numbers of that frame -> the same, changed
Change = Callable[[RGB, np.random.Generator], RGB]


@dataclass(frozen=True, slots=True, kw_only=True)
class Treatment:
    """A change of every frame by itself, or of all of a track as one film of H.264 (crf)."""

    name: str
    group: str
    change: Change | None = None
    crf: int | None = None

    def frame(self, rgb_hwc: RGB, *, key: str, index: int) -> RGB:
        """One frame, changed; the same key (the video's hash) and index give the same pixels."""
        assert self.change is not None
        name_of_frame = f"{key}/{self.name}/{index}".encode()
        rng = np.random.default_rng(int.from_bytes(hashlib.sha256(name_of_frame).digest()))
        return np.ascontiguousarray(self.change(rgb_hwc, rng))

    def film(self, frames: Sequence[RGB]) -> list[RGB]:
        """All frames of a track, recompressed as one film."""
        assert self.crf is not None
        return recompressed(frames, self.crf)


def _resized(rgb_hwc: RGB, _: np.random.Generator, *, share: float) -> RGB:
    """Smaller and back, both by area or cubic interpolation, as players and sites do."""
    height, width = rgb_hwc.shape[:2]
    size = (max(1, round(width * share)), max(1, round(height * share)))
    small = cv2.resize(rgb_hwc, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def _blurred(rgb_hwc: RGB, _: np.random.Generator, *, sigma: float) -> RGB:
    return np.asarray(cv2.GaussianBlur(rgb_hwc, (0, 0), sigma), np.uint8)


def _sharpened(rgb_hwc: RGB, _: np.random.Generator, *, amount: float) -> RGB:
    """Unsharp mask of 1 px."""
    soft = cv2.GaussianBlur(rgb_hwc, (0, 0), 1.0)
    return np.asarray(cv2.addWeighted(rgb_hwc, 1 + amount, soft, -amount, 0), np.uint8)


def _jpeg(rgb_hwc: RGB, _: np.random.Generator, *, quality: int) -> RGB:
    bgr = np.ascontiguousarray(rgb_hwc[..., ::-1])
    fine, content = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(content, cv2.IMREAD_COLOR)
    assert fine, "JPEG encoder refused a crop"
    assert decoded is not None, "JPEG decoder refused a crop"
    return np.asarray(decoded[..., ::-1], np.uint8)


def _shifted_colour(rgb_hwc: RGB, _: np.random.Generator, *, by: tuple[int, int, int]) -> RGB:
    return np.clip(rgb_hwc.astype(np.int16) + np.array(by, np.int16), 0, 255).astype(np.uint8)


def _benchmark(rgb_hwc: RGB, rng: np.random.Generator, *, name: CorruptionName, level: int) -> RGB:
    """One of DeeperForensics-1.0's (corruptions.py)."""
    return corrupt_frame(rgb_hwc, name, level, rng)


def _moved(
    rgb_hwc: RGB, _: np.random.Generator, *, x: float = 0, y: float = 0, scale: float = 1
) -> RGB:
    """The picture moved by (x, y) px of a 256 px crop and scaled around its centre.

    Its edges are repeated; none of them is seen behind the test margin of 15 px, for moves up to 15
    px and scales from 0.9.
    """
    side = rgb_hwc.shape[0]
    unit, centre = side / REFERENCE_SIDE, (side - 1) / 2
    matrix_23 = np.array(
        [
            [scale, 0, centre * (1 - scale) + x * unit],
            [0, scale, centre * (1 - scale) + y * unit],
        ]
    )
    moved = cv2.warpAffine(
        rgb_hwc, matrix_23, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(moved, np.uint8)


def _treatments() -> tuple[Treatment, ...]:
    frames: list[tuple[str, str, Change]] = [
        ("resize", "to 3/4 and back", partial(_resized, share=0.75)),
        ("resize", "to 1/2 and back", partial(_resized, share=0.5)),
        ("resize", "benchmark level 2 (1/3)", partial(_benchmark, name="jpeg", level=2)),
        ("blur", "sigma 0.5 px", partial(_blurred, sigma=0.5)),
        ("blur", "sigma 1 px", partial(_blurred, sigma=1.0)),
        ("blur", "benchmark level 2", partial(_benchmark, name="gaussian_blur", level=2)),
        ("sharpening", "0.5", partial(_sharpened, amount=0.5)),
        ("sharpening", "1", partial(_sharpened, amount=1.0)),
        ("JPEG", "quality 90", partial(_jpeg, quality=90)),
        ("JPEG", "quality 70", partial(_jpeg, quality=70)),
        ("JPEG", "quality 40", partial(_jpeg, quality=40)),
        ("noise", "benchmark level 1", partial(_benchmark, name="gaussian_noise", level=1)),
        ("noise", "benchmark level 3", partial(_benchmark, name="gaussian_noise", level=3)),
        ("colour", "red +8, blue -8", partial(_shifted_colour, by=(8, 0, -8))),
        ("colour", "brighter by 16", partial(_shifted_colour, by=(16, 16, 16))),
        ("colour", "contrast, level 1", partial(_benchmark, name="contrast", level=1)),
        ("colour", "saturation, level 1", partial(_benchmark, name="saturation", level=1)),
        ("crop", "4 px to the right", partial(_moved, x=4)),
        ("crop", "12 px to the right", partial(_moved, x=12)),
        ("crop", "12 px down", partial(_moved, y=12)),
        ("crop", "enlarged by 1.1", partial(_moved, scale=1.1)),
        ("crop", "made smaller, 0.92", partial(_moved, scale=0.92)),
    ]
    made = [Treatment(name=f"{group} {how}", group=group, change=c) for group, how, c in frames]
    films = [
        Treatment(name=f"H.264 crf {crf}", group="H.264", crf=crf) for crf in (18, 23, 28, 32, 38)
    ]
    at = next(i for i, treatment in enumerate(made) if treatment.group == "JPEG")
    return (*made[:at], *films, *made[at:])


#: Videos below which no treatment is called suspicious. Where nothing but chance is at work, the
#: interval leaves 0.5 out for 49 % of treatments with 2 videos, 25 % with 3, 14 % with 4, and about
#: 5 % from 6 on (600 draws each); videos of one person count as fewer than they are.
FEWEST = 10

#: By group, from weak to strong.
TREATMENTS = _treatments()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortcut:
    """What one treatment does to the scores of real videos, all in 0..1.

    auc: of treated against untouched, near 0.5 where the treatment is not taken for a trace of
    manipulation; interval: 95 %, bootstrap over videos. wins: share that scores higher treated
    (equal ones count half), with its 95 % (Wilson): it shows shifts too small for the AUC. change:
    mean change of the probability. called_fake, called_fake_untouched: share at or above the
    threshold.
    """

    treatment: str
    group: str
    videos: int
    auc: float
    interval: tuple[float, float]
    wins: float
    wins_interval: tuple[float, float]
    change: float
    called_fake: float
    called_fake_untouched: float

    @property
    def suspicious(self) -> bool:
        """Whether chance does not explain the AUC; never with too few videos to say so."""
        return self.videos >= FEWEST and not self.interval[0] <= 0.5 <= self.interval[1]
