"""From stored clips to a track's score: the one path that evaluation and detection use.

clips (u8[T,3,S,S] each) -> test margin cut -> network -> clip probabilities -> track score
    -> calibration, where the model has one -> probabilities of track, clips, shots and frames

Several shots (paper 6.6): after each shot the patches where h sees much more change than usual are
hidden in all frames, on top of those hidden before, and the clip is judged again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from fakestormer.errors import InputError
from fakestormer.faces.clips import sample_clips
from fakestormer.faces.resample import cut_margin
from fakestormer.recipe.prediction import REFERENCE_SIDE, PredictionConfig
from fakestormer.runtimes.engine import Engine
from fakestormer.types import Clip, ClipScores, Prediction, Verdict
from fakestormer.types.arrays import Flags, Floats, Integers, Pixels


def network_input(frames: Pixels, *, margin: float, size: int) -> Pixels:
    """Stored crops (..., S, S) to network input (..., size, size); the margin scales with S."""
    return cut_margin(frames, margin=margin * frames.shape[-1] / REFERENCE_SIDE, size=size)


def sigmoid(logits: Floats) -> Floats:
    """1 / (1 + exp(-x)), in double precision."""
    with np.errstate(over="ignore"):  # exp of a large number is infinite, and its inverse 0
        probabilities: Floats = (1 / (1 + np.exp(-logits.astype(np.float64)))).astype(np.float32)
    return probabilities


def pool(logits: Floats, pooling: Literal["probability", "logit"]) -> float:
    """One probability from logits of clips, shots or both: their mean as either of the two."""
    logits = logits.astype(np.float64)
    with np.errstate(over="ignore"):
        if pooling == "probability":
            return float((1 / (1 + np.exp(-logits))).mean())
        return float(1 / (1 + np.exp(-logits.mean())))


def calibrated(scores: Floats, config: PredictionConfig) -> Floats:
    """The probabilities of scores of any shape; the scores where nothing is calibrated."""
    values = [config.probability(s) for s in scores.flatten().tolist()]
    return np.array(values, np.float32).reshape(scores.shape)


def verdict(probability: float, config: PredictionConfig) -> Verdict:
    """The words for a probability; between the two thresholds nothing is claimed.

    # fake_from 0.9, clear_below 0.2:
    # 0.97 -> "likely fake", 0.52 -> "inconclusive", 0.08 -> "no manipulation found"
    """
    if probability >= config.fake_from:
        return "likely fake"
    return "no manipulation found" if probability <= config.clear_below else "inconclusive"


def predict_clips(
    engine: Engine, clips: Sequence[Clip], config: PredictionConfig, *, branches: bool = True
) -> tuple[Prediction, Pixels]:
    """Score the clips of one track; branches: as of `Engine.judge`.

    Returns the Prediction and the crops exactly as the network saw them first, uint8 (C, T, 3, H,
    W). Frame scores and D~ are those of the first shot, which sees the whole face. Where `config`
    has a calibration, all probabilities are calibrated by it, so that one threshold holds for all.
    It was fitted on tracks: of a single clip or frame a number says less. Raises ValueError without
    clips, or when a clip's length is not the network's T; InputError when several shots are asked
    of a network without h.
    """
    if not clips:
        raise ValueError("predict_clips: no clips; a track needs at least one")
    length = engine.config.frames
    for clip in clips:
        if len(clip) != length:
            raise ValueError(f"{clip.source}: expected clips of {length} frames, got {len(clip)}")
    size = engine.config.image_size
    crops_cthw = np.stack(
        [network_input(clip.frames, margin=config.margin, size=size) for clip in clips]
    )
    batches = [
        judge_in_shots(engine, batch, config, branches=branches)
        for batch in engine.batches(crops_cthw)
    ]
    logits_cs = np.concatenate([logits for logits, _ in batches])
    first_shot = [scores for _, scores in batches]
    counted_cs = logits_cs if config.shot_score == "mean" else logits_cs[:, -1:]
    score = pool(counted_cs, config.pooling)
    of_clips = np.array([pool(shots, config.pooling) for shots in counted_cs], np.float32)
    of_shots = np.array([pool(clips, config.pooling) for clips in logits_cs.T], np.float32)
    frame_logits = _joined([scores.frame_logits for scores in first_shot])
    of_frames = None if frame_logits is None else sigmoid(frame_logits)
    is_calibrated = config.calibration is not None
    distance_c = _joined([scores.distance for scores in first_shot])
    prediction = Prediction(
        probability=config.probability(score),
        raw=score if is_calibrated else None,
        clip_probabilities=calibrated(of_clips, config),
        clip_raw=of_clips if is_calibrated else None,
        shot_probabilities=calibrated(of_shots, config),
        shot_raw=of_shots if is_calibrated else None,
        frame_probabilities=None if of_frames is None else calibrated(of_frames, config),
        frame_raw=of_frames if is_calibrated else None,
        derivative=_joined([scores.derivative for scores in first_shot]),
        evidence=_joined([scores.evidence for scores in first_shot]),
        indices=np.stack([clip.indices for clip in clips]),
        pts_seconds=np.stack([clip.pts_seconds for clip in clips]),
        distance=None if distance_c is None else float(distance_c.mean()),
    )
    return prediction, crops_cthw


def judge_in_shots(
    engine: Engine, frames_btchw: Pixels, config: PredictionConfig, *, branches: bool = True
) -> tuple[Floats, ClipScores]:
    """The logit of every shot, float32 (B, shots), and what the first shot says.

    Each shot hides, in all frames, the patches that D~(1) of the shot before points at (paper 6.6,
    its t = 2), cumulatively, so that a later shot must find other traces. Raises InputError when
    there is more than one shot and the network has no h.
    """
    first = scores = engine.judge(frames_btchw, branches=branches or config.shots > 1)
    logits = [first.logits]
    kept_bgg: Flags | None = None
    for _ in range(config.shots - 1):
        if scores.derivative is None or engine.config.frames < 2:
            raise InputError(
                "several shots hide the patches that h points at, and this model has no h that "
                "sees a change; use 1 shot"
            )
        change_bgg = scores.derivative[:, 1]
        if kept_bgg is None:
            kept_bgg = np.ones(change_bgg.shape, bool)
        kept_bgg = kept_bgg & ~patches_to_hide(change_bgg, kept_bgg, config.shot_threshold)
        scores = engine.judge(_hidden(frames_btchw, kept_bgg))
        logits.append(scores.logits)
    return np.stack(logits, axis=1), first


def patches_to_hide(change_bgg: Floats, kept_bgg: Flags, threshold: float | None) -> Flags:
    """P, the visible patches that a next shot hides; bool (B, G, G).

    change: D~(1), float32 (B, G, G), signed. h predicts the standardised D^, so a value below 0
    means less change than usual and never hides a patch. kept: bool, visible so far. Values are
    divided by the clip's largest visible one, and those above the threshold are hidden (the set P
    of paper 3.1); None hides the largest alone, as the release does. Nothing is hidden where no
    value is above 0, or where no patch would be left.

    # change [[1, 3], [2, -9]], all visible: 0.5 -> [[0, 1], [1, 0]], None -> [[0, 1], [0, 0]]
    """
    seen = np.maximum(np.where(kept_bgg, change_bgg, 0), 0)
    highest = seen.max(axis=(-2, -1), keepdims=True)
    hidden = seen >= highest if threshold is None else seen > threshold * highest
    hidden &= seen > 0
    # A clip without any visible patch would be judged by nothing.
    leaves_some: Flags = (kept_bgg & ~hidden).any(axis=(-2, -1), keepdims=True)
    return np.asarray(hidden & leaves_some, bool)


def _hidden(frames_btchw: Pixels, kept_bgg: Flags) -> Pixels:
    """The frames, black wherever a patch is not kept; as `synthesis.cutout` does in training."""
    patch = frames_btchw.shape[-1] // kept_bgg.shape[-1]
    kept_bhw = kept_bgg.repeat(patch, axis=1).repeat(patch, axis=2)
    return frames_btchw * kept_bhw[:, None, None]


def _joined(parts: Sequence[Floats | None]) -> Floats | None:
    """The batches' parts as one array; None where the head is missing."""
    present = [part for part in parts if part is not None]
    return np.concatenate(present) if present else None


def predict_track(
    engine: Engine,
    track_length: int,
    read: Callable[[np.ndarray], Sequence[Clip]],
    config: PredictionConfig,
    *,
    branches: bool = True,
) -> tuple[Prediction, Pixels]:
    """Sample clips of a track of `track_length` frames, read and score them.

    `read` maps positions in the track, int64 (C, T), to the clips cut there: from a video file in
    detection, from a prepared store in evaluation. Everything after it is the same code, so the
    two give the same number for the same track. Returns what `predict_clips` returns.
    """
    clips = read(clip_positions(engine, track_length, config))
    return predict_clips(engine, clips, config, branches=branches)


def clip_positions(engine: Engine, track_length: int, config: PredictionConfig) -> Integers:
    """Positions in a track of the frames of its clips, int64 (C, T), as `config` samples them."""
    return sample_clips(config.sampling, track_length, engine.config.frames, frames=config.frames)


def input_boxes(squares_ct3: Floats, config: PredictionConfig) -> Floats:
    """The part of each frame that the network saw, as boxes float32 (C, T, 4), source pixels.

    squares_ct3: (cx, cy, side) of the crops, source pixels.
    """
    cx, cy, side = np.moveaxis(squares_ct3, -1, 0)
    half = side / 2 * (1 - 2 * config.margin / REFERENCE_SIDE)
    boxes: Floats = np.stack([cx - half, cy - half, cx + half, cy + half], axis=-1)
    return boxes.astype(np.float32)
