"""What the network says about one face: of its clips, its frames, and every second."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fakestormer.types.arrays import Doubles, Floats, Integers
from fakestormer.types.checked import check_fields, described


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClipScores:
    """What a network says about a batch of B clips; `types.network.Outputs` as arrays.

    logits: float32 (B,), f, positive = fake. derivative: float32 (B, T, G, G), D~ of h, not
    squashed; None without h. frame_logits: float32 (B, T), g; None without g. distance: float32
    (B,), how unlike the training frames the clip is, above 1 for what 99 % of them stay under; None
    where f does not measure it. evidence: float32 (B, T, G, G), what each patch adds to the logit;
    None where that takes more than scoring (`Engine.explain`).
    """

    logits: Floats
    derivative: Floats | None = None
    frame_logits: Floats | None = None
    distance: Floats | None = None
    evidence: Floats | None = None

    __repr__ = described

    def __post_init__(self) -> None:
        check_fields(
            self,
            logits=("B", np.float32),
            derivative=("?B T G G", np.float32),
            frame_logits=("?B T", np.float32),
            distance=("?B", np.float32),
            evidence=("?B T G G", np.float32),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prediction:
    """The network's answer for one face track: C clips of T frames.

    All probabilities are on one scale: where the model has a calibration, every one went through
    it, and what the network itself said is beside it as ..._raw, which is None otherwise.

    probability, raw: of "fake", of the track. clip_probabilities, clip_raw: float32 (C,).
    shot_probabilities, shot_raw: float32 (S,), the track's by each of S shots alone (paper 6.6), 1
    as a rule. frame_probabilities, frame_raw: float32 (C, T), sigmoid of g, None for a network
    without g. derivative: float32 (C, T, G, G), D~, None without h. Both are None, too, where they
    were not asked for. evidence: float32 (C, T, G, G), what each patch adds to f's logit; None
    where that takes more than scoring and was not asked for.
    indices: int64 (C, T) and pts_seconds: float64 (C, T), of every frame used. distance: how unlike
    the training frames its clips are, their mean, above 1 for what 99 % of those stay under; None
    where the network does not measure it.
    """

    probability: float
    clip_probabilities: Floats
    shot_probabilities: Floats
    frame_probabilities: Floats | None
    derivative: Floats | None
    indices: Integers
    pts_seconds: Doubles
    raw: float | None = None
    clip_raw: Floats | None = None
    shot_raw: Floats | None = None
    frame_raw: Floats | None = None
    evidence: Floats | None = None
    distance: float | None = None

    __repr__ = described

    @property
    def score(self) -> float:
        """What the network said: `raw`, or `probability` where nothing was calibrated."""
        return self.probability if self.raw is None else self.raw

    @property
    def clip_scores(self) -> Floats:
        """What the network said of each clip, as `score`; float32 (C,)."""
        return self.clip_probabilities if self.clip_raw is None else self.clip_raw

    @property
    def shot_scores(self) -> Floats:
        """What the network said in each shot, as `score`; float32 (S,)."""
        return self.shot_probabilities if self.shot_raw is None else self.shot_raw

    def __post_init__(self) -> None:
        check_fields(
            self,
            clip_probabilities=("C", np.float32),
            shot_probabilities=("S", np.float32),
            frame_probabilities=("?C T", np.float32),
            clip_raw=("?C", np.float32),
            shot_raw=("?S", np.float32),
            frame_raw=("?C T", np.float32),
            derivative=("?C T G G", np.float32),
            evidence=("?C T G G", np.float32),
            indices=("C T", np.int64),
            pts_seconds=("C T", np.float64),
        )
        for name, value in (("probability", self.probability), ("raw", self.score)):
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"Prediction.{name}: expected [0, 1], got {value}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EverySecond:
    """One clip in each second that shows a face: where it begins, and its score.

    seconds: float64 (M,), rising. probabilities, raw: float32 (M,), as in `Prediction`.
    """

    seconds: Doubles
    probabilities: Floats
    raw: Floats | None = None

    __repr__ = described

    def __post_init__(self) -> None:
        check_fields(
            self,
            seconds=("M", np.float64),
            probabilities=("M", np.float32),
            raw=("?M", np.float32),
        )
