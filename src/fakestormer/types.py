"""The values that flow between the rooms of the system; imports nothing of ours.

Every value is a frozen dataclass that refuses wrong shapes and dtypes when it is built, and says
both shapes. Shapes are written with one letter per axis; a letter keeps its size within a value:

    B clips in a batch    T frames of a clip     K landmarks        C clips of a track
    H, W height, width    S side of a square crop (pixels)          G patches along one side

Pixel coordinates are (x, y), x to the right, y down; the centre of the top-left pixel is (0, 0).
Boxes are (x0, y0, x1, y1). Times are seconds from the start of the video. Masks are float32 in
[0, 1]. Frames are 8-bit RGB, channels first.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor


def _check(value: object, **specs: tuple[str, torch.dtype]) -> None:
    """Refuse a value whose fields do not have the shape and dtype in `specs`.

    A spec is ("T 3 H W", torch.uint8). Letters bind to the first size they meet; digits are
    literal. A field that is None is not looked at where the spec begins with "?". Raises ValueError
    naming the field, the shape expected and the shape found.
    """
    sizes: dict[str, int] = {}
    for field, (spec, dtype) in specs.items():
        tensor = getattr(value, field)
        if spec.startswith("?"):
            if tensor is None:
                continue
            spec = spec.removeprefix("?")
        where = f"{type(value).__name__}.{field}"
        axes = spec.split()
        bound = ", ".join(f"{a}={sizes[a]}" if a in sizes else a for a in axes)
        if not isinstance(tensor, Tensor):
            raise ValueError(f"{where}: expected a tensor ({bound}), got {type(tensor).__name__}")
        found = tuple(tensor.shape)
        fits = len(found) == len(axes)
        if fits:
            for axis, size in zip(axes, found, strict=True):
                wanted = int(axis) if axis.isdigit() else sizes.setdefault(axis, size)
                fits = fits and wanted == size
        if not fits:
            raise ValueError(f"{where}: expected shape ({bound}), got {found}")
        if tensor.dtype != dtype:
            raise ValueError(f"{where}: expected dtype {dtype}, got {tensor.dtype}")


def _describe(value: Any) -> str:
    """`Clip(frames=uint8[4, 3, 256, 256], ...)`: shapes, never pixels."""
    parts = []
    for field in dataclasses.fields(value):
        content = getattr(value, field.name)
        if isinstance(content, Tensor):
            dtype = str(content.dtype).removeprefix("torch.")
            parts.append(f"{field.name}={dtype}{list(content.shape)}")
        else:
            parts.append(f"{field.name}={content!r}")
    return f"{type(value).__name__}({', '.join(parts)})"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FaceTrack:
    """One face through consecutive frames of one video, in source pixels.

    number: counts the tracks of a video from 0, in order of appearance, including those that are
    too short or too small to be used.
    indices: int64 (T,), frame positions in the video, consecutive.
    boxes: float32 (T, 4), the face box: bounding box of the landmarks, forehead included.
    landmarks: float32 (T, K, 2), K = 81 (68 iBUG points + 13 along the forehead) or 68.
    confidence: float32 (T,), in [0, 1].
    """

    number: int
    indices: Tensor
    pts_seconds: Tensor
    boxes: Tensor
    landmarks: Tensor
    confidence: Tensor

    __repr__ = _describe

    def __post_init__(self) -> None:
        _check(
            self,
            indices=("T", torch.int64),
            pts_seconds=("T", torch.float64),
            boxes=("T 4", torch.float32),
            landmarks=("T K 2", torch.float32),
            confidence=("T", torch.float32),
        )
        if len(self) and not bool((self.indices.diff() == 1).all()):
            raise ValueError("FaceTrack.indices: expected consecutive frames, found a gap")

    def __len__(self) -> int:
        return int(self.indices.shape[0])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Clip:
    """Face crops of frames of one track, as stored: square, aspect kept, landmarks mapped along.

    frames: uint8 (T, 3, S, S). landmarks: float32 (T, K, 2), crop pixels.
    indices: int64 (T,), frame positions in the video. source: who this is, for messages
    and replay, e.g. "video.mp4#0@120" (file, track number, first frame).
    """

    frames: Tensor
    landmarks: Tensor
    indices: Tensor
    pts_seconds: Tensor
    source: str

    __repr__ = _describe

    def __post_init__(self) -> None:
        _check(
            self,
            frames=("T 3 S S", torch.uint8),
            landmarks=("T K 2", torch.float32),
            indices=("T", torch.int64),
            pts_seconds=("T", torch.float64),
        )

    def __len__(self) -> int:
        return int(self.indices.shape[0])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SelfBlended:
    """A batch of pairs: real clips and their self-blended pseudo-fakes (paper 3.1).

    real, fake: uint8 (B, T, 3, H, W), network input size, same geometry and colour jitter.
    mask: float32 (B, T, H, W), the soft blending mask M in [0, 1], without the blend ratio r (and
    before it is cut at one half, where a copy was blended in the gradient domain).
    """

    real: Tensor
    fake: Tensor
    mask: Tensor

    __repr__ = _describe

    def __post_init__(self) -> None:
        _check(
            self,
            real=("B T 3 H W", torch.uint8),
            fake=("B T 3 H W", torch.uint8),
            mask=("B T H W", torch.float32),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Targets:
    """What the three heads should say (eqs. 3, 5, 9, 14), for a batch of real and fake clips.

    boundary: float32 (B, T, G, G), patch vulnerability after cutout, B~; zero for real clips.
    derivative: float32 (B, T, G, G), normalised change of B~ over time, D^.
    soft_labels: float32 (B, T), p(t), the largest value of B~(t). label: float32 (B,), 1 = fake.
    kept: bool (B, G, G), the patches that cutout left visible.
    """

    boundary: Tensor
    derivative: Tensor
    soft_labels: Tensor
    label: Tensor
    kept: Tensor

    __repr__ = _describe

    def __post_init__(self) -> None:
        _check(
            self,
            boundary=("B T G G", torch.float32),
            derivative=("B T G G", torch.float32),
            soft_labels=("B T", torch.float32),
            label=("B", torch.float32),
            kept=("B G G", torch.bool),
        )

    def to(self, device: torch.device | str) -> Targets:
        """The same targets on another device."""
        return Targets(
            **{f.name: getattr(self, f.name).to(device) for f in dataclasses.fields(self)}
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outputs:
    """What the network says about a batch of clips (eqs. 7, 10, 12).

    logit: (B,), f, positive = fake. derivative: (B, T, G, G), h, the regressed D~ (not squashed);
    None for a network without h. frame_logits: (B, T), g, one logit per frame; None without g.
    boundary_logits: (B, T, G, G), b, one logit per patch of the boundary itself; None without b.
    Any floating dtype, all the same.
    """

    logit: Tensor
    derivative: Tensor | None
    frame_logits: Tensor | None
    boundary_logits: Tensor | None = None

    __repr__ = _describe

    def __post_init__(self) -> None:
        dtype = self.logit.dtype
        _check(
            self,
            logit=("B", dtype),
            frame_logits=("?B T", dtype),
            derivative=("?B T G G", dtype),
            boundary_logits=("?B T G G", dtype),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Losses:
    """Scalars: total = lambda_c classification + lambda_h temporal + lambda_g spatial (eq. 13),
    and lambda_b boundary where the network has b, which the paper does not know.

    The parts are stored unweighted; that of a head which the network lacks is 0.
    """

    total: Tensor
    classification: Tensor
    temporal: Tensor
    spatial: Tensor
    boundary: Tensor

    __repr__ = _describe

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            tensor = getattr(self, field.name)
            if tensor.ndim:
                raise ValueError(
                    f"Losses.{field.name}: expected a scalar, got {tuple(tensor.shape)}"
                )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prediction:
    """The network's answer for one face track: C clips of T frames.

    probability: of "fake", the track's score, calibrated where the model is. raw: the score before
    that; None where it is not. clip_probabilities: float32 (C,), never calibrated.
    shot_probabilities: float32 (S,), the track's score by each of S shots alone (paper 6.6), 1 as a
    rule; never calibrated.
    frame_scores: float32 (C, T), sigmoid of g, None for a network without g. derivative: float32
    (C, T, G, G), D~, None without h.
    indices: int64 (C, T) and pts_seconds: float64 (C, T), of every frame used.
    """

    probability: float
    clip_probabilities: Tensor
    shot_probabilities: Tensor
    frame_scores: Tensor | None
    derivative: Tensor | None
    indices: Tensor
    pts_seconds: Tensor
    raw: float | None = None

    __repr__ = _describe

    @property
    def score(self) -> float:
        """What the network said: `raw`, or `probability` where nothing was calibrated."""
        return self.probability if self.raw is None else self.raw

    def __post_init__(self) -> None:
        _check(
            self,
            clip_probabilities=("C", torch.float32),
            shot_probabilities=("S", torch.float32),
            frame_scores=("?C T", torch.float32),
            derivative=("?C T G G", torch.float32),
            indices=("C T", torch.int64),
            pts_seconds=("C T", torch.float64),
        )
        for name, value in (("probability", self.probability), ("raw", self.score)):
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"Prediction.{name}: expected [0, 1], got {value}")


Verdict = Literal["likely fake", "no manipulation found", "inconclusive"]

ReasonCode = Literal[
    "near_threshold",
    "clips_disagree",
    "shots_disagree",
    "face_too_small",
    "too_few_frames",
    "strong_compression",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a verdict is "inconclusive": for machines, and as a full sentence."""

    code: ReasonCode
    text: str


def _check_interval(name: str, interval: tuple[float, float] | None) -> None:
    if interval is not None and not 0.0 <= interval[0] <= interval[1] <= 1.0:
        raise ValueError(f"{name}.interval: expected 0 <= low <= high <= 1, got {interval}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EverySecond:
    """One clip in each second that shows a face: where it begins, and its score.

    seconds: float64 (M,), rising. probabilities: float32 (M,), never calibrated.
    """

    seconds: Tensor
    probabilities: Tensor

    __repr__ = _describe

    def __post_init__(self) -> None:
        _check(self, seconds=("M", torch.float64), probabilities=("M", torch.float32))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """A whole frame of the video, made smaller, for people to look at.

    picture: uint8 (3, H, W). scale: its pixels per source pixel. clip, frame: which frame it is of
    the face that the verdict rests on.
    """

    picture: Tensor
    scale: float
    clip: int
    frame: int

    __repr__ = _describe

    def __post_init__(self) -> None:
        _check(self, picture=("3 H W", torch.uint8))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FaceReport:
    """What is said about one face of a video.

    crops: uint8 (C, T, 3, H, W), exactly what the network saw; None where a video has so many
    faces that not all of their pictures are kept (`detection.scored_faces`). boxes: float32
    (C, T, 4), the
    square that each crop shows, source pixels. warnings: full sentences. interval: of the
    probability over the clips, (low, high); None where there is one clip. reasons: why the verdict
    is "inconclusive", else empty. first_frame: where in the video the face is followed from, and
    squares: float32 (N, 3), (cx, cy, side) of its crop in each frame from there on, source pixels.
    every_second: where it was asked for.
    """

    number: int
    verdict: Verdict
    prediction: Prediction
    crops: Tensor | None
    boxes: Tensor
    warnings: tuple[str, ...] = ()
    interval: tuple[float, float] | None = None
    reasons: tuple[Reason, ...] = ()
    first_frame: int = 0
    squares: Tensor | None = None
    every_second: EverySecond | None = None

    __repr__ = _describe

    def __post_init__(self) -> None:
        _check(
            self,
            crops=("?C T 3 H W", torch.uint8),
            boxes=("C T 4", torch.float32),
            squares=("?N 3", torch.float32),
        )
        _check_interval("FaceReport", self.interval)
        if self.reasons and self.verdict != "inconclusive":
            raise ValueError(f"FaceReport.reasons: {self.verdict!r} needs none")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Report:
    """The answer for one video file.

    probability: of the face the verdict rests on (`face_number`); None when nothing could be
    scored, in which case verdict is "inconclusive". sha256: of the input file. video: facts
    about the file (container, codec, size, rate), model: name, weights hash, recipe, versions;
    settings: how clips were sampled. The three are JSON-able and printed as they are. interval and
    reasons: of the face that the verdict rests on. scene: of it, too.
    """

    path: str
    sha256: str
    probability: float | None
    verdict: Verdict
    face_number: int | None
    faces: tuple[FaceReport, ...]
    warnings: tuple[str, ...]
    video: dict[str, Any]
    model: dict[str, Any]
    settings: dict[str, Any]
    scene: Scene | None = None

    __repr__ = _describe

    @property
    def decisive(self) -> FaceReport | None:
        """The face that the verdict rests on."""
        return next((face for face in self.faces if face.number == self.face_number), None)

    @property
    def interval(self) -> tuple[float, float] | None:
        return None if self.decisive is None else self.decisive.interval

    @property
    def reasons(self) -> tuple[Reason, ...]:
        return () if self.decisive is None else self.decisive.reasons
