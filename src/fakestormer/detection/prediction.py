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
import torch
from numpy.typing import NDArray
from torch import Tensor

from fakestormer.errors import InputError
from fakestormer.faces.clips import sample_clips
from fakestormer.faces.resample import cut_margin
from fakestormer.model.network import VideoNetwork
from fakestormer.recipe.prediction import REFERENCE_SIDE, PredictionConfig
from fakestormer.synthesis.cutout import hide_patches
from fakestormer.types import Clip, Outputs, Prediction, Verdict


def network_input(frames: Tensor, *, margin: float, size: int) -> Tensor:
    """Stored crops (..., S, S) to network input (..., size, size); the margin scales with S."""
    return cut_margin(frames, margin=margin * frames.shape[-1] / REFERENCE_SIDE, size=size)


def pool(logits: Tensor, pooling: Literal["probability", "logit"]) -> float:
    """One probability from logits of clips, shots or both: their mean as either of the two."""
    logits = logits.double()
    pooled = logits.sigmoid().mean() if pooling == "probability" else logits.mean().sigmoid()
    return float(pooled)


def calibrated(scores: Tensor, config: PredictionConfig) -> Tensor:
    """The probabilities of scores of any shape; the scores where nothing is calibrated."""
    return torch.tensor([config.probability(s) for s in scores.flatten().tolist()]).view_as(scores)


def verdict(probability: float, config: PredictionConfig) -> Verdict:
    """The words for a probability; between the two thresholds nothing is claimed.

    # fake_from 0.9, clear_below 0.2:
    # 0.97 -> "likely fake", 0.52 -> "inconclusive", 0.08 -> "no manipulation found"
    """
    if probability >= config.fake_from:
        return "likely fake"
    return "no manipulation found" if probability <= config.clear_below else "inconclusive"


#: Clips of a batch on a CPU, and elsewhere.
_FEW, _MANY = 2, 8


@torch.inference_mode()
def predict_clips(
    network: VideoNetwork, clips: Sequence[Clip], config: PredictionConfig
) -> tuple[Prediction, Tensor]:
    """Score the clips of one track.

    Returns the Prediction and the crops exactly as the network saw them first, uint8 (C, T, 3, H,
    W). Frame scores and D~ are those of the first shot, which sees the whole face. Where `config`
    has a calibration, all probabilities are calibrated by it, so that one threshold holds for all.
    It was fitted on tracks: of a single clip or frame a number says less. The network is put into
    evaluation mode. Raises ValueError without clips, or when a clip's length is not the network's
    T; InputError when several shots are asked of a network without h.
    """
    if not clips:
        raise ValueError("predict_clips: no clips; a track needs at least one")
    length = network.config.frames
    for clip in clips:
        if len(clip) != length:
            raise ValueError(f"{clip.source}: expected clips of {length} frames, got {len(clip)}")
    network.eval()
    crops_cthw = torch.stack(
        [
            network_input(clip.frames, margin=config.margin, size=network.config.image_size)
            for clip in clips
        ]
    )
    batches = [judge_in_shots(network, batch, config) for batch in in_batches(crops_cthw, network)]
    logits_cs = torch.cat([logits for logits, _ in batches])
    outputs = [first for _, first in batches]
    counted_cs = logits_cs if config.shot_score == "mean" else logits_cs[:, -1:]
    score = pool(counted_cs, config.pooling)
    of_clips = torch.tensor([pool(shots, config.pooling) for shots in counted_cs])
    of_shots = torch.tensor([pool(clips, config.pooling) for clips in logits_cs.T])
    of_frames = _joined([o.frame_logits for o in outputs], torch.sigmoid)
    is_calibrated = config.calibration is not None
    distance_c = _joined([o.distance for o in outputs])
    prediction = Prediction(
        probability=config.probability(score),
        raw=score if is_calibrated else None,
        clip_probabilities=calibrated(of_clips, config),
        clip_raw=of_clips if is_calibrated else None,
        shot_probabilities=calibrated(of_shots, config),
        shot_raw=of_shots if is_calibrated else None,
        frame_probabilities=None if of_frames is None else calibrated(of_frames, config),
        frame_raw=of_frames if is_calibrated else None,
        derivative=_joined([o.derivative for o in outputs]),
        indices=torch.stack([clip.indices for clip in clips]),
        pts_seconds=torch.stack([clip.pts_seconds for clip in clips]),
        distance=None if distance_c is None else float(distance_c.mean()),
    )
    return prediction, crops_cthw


def in_batches(crops_cthw: Tensor, network: VideoNetwork) -> list[Tensor]:
    """Clips as the network takes them at once, on its device.

    On a CPU few: what a layer gives of many fits in no cache, and each layer's memory comes from
    the system anew. 8 clips of the weights that ship take 0.49 s in one batch and 0.29 s in four
    (docs/performance.md).
    """
    device = network.pixel_scale.device
    size = _FEW if device.type == "cpu" else _MANY
    return [batch.to(device) for batch in torch.split(crops_cthw, size)]


def judge_in_shots(
    network: VideoNetwork, frames_btchw: Tensor, config: PredictionConfig
) -> tuple[Tensor, Outputs]:
    """The logit of every shot, float32 (B, shots) on the CPU, and the first shot's outputs.

    Each shot hides, in all frames, the patches that D~(1) of the shot before points at (paper 6.6,
    its t = 2), cumulatively, so that a later shot must find other traces. Raises InputError when
    there is more than one shot and the network has no h.
    """
    first = outputs = network(frames_btchw)
    logits = [first.logit.float().cpu()]
    kept_bgg: Tensor | None = None
    for _ in range(config.shots - 1):
        if outputs.derivative is None or network.config.frames < 2:
            raise InputError(
                "several shots hide the patches that h points at, and this model has no h that "
                "sees a change; use 1 shot"
            )
        change_bgg = outputs.derivative[:, 1].float()
        if kept_bgg is None:
            kept_bgg = torch.ones_like(change_bgg, dtype=torch.bool)
        kept_bgg = kept_bgg & ~patches_to_hide(change_bgg, kept_bgg, config.shot_threshold)
        outputs = network(hide_patches(frames_btchw, kept_bgg))
        logits.append(outputs.logit.float().cpu())
    return torch.stack(logits, dim=1), first


def patches_to_hide(change_bgg: Tensor, kept_bgg: Tensor, threshold: float | None) -> Tensor:
    """P, the visible patches that a next shot hides; bool (B, G, G).

    change: D~(1), float32 (B, G, G), signed. h predicts the standardised D^, so a value below 0
    means less change than usual and never hides a patch. kept: bool, visible so far. Values are
    divided by the clip's largest visible one, and those above the threshold are hidden (the set P
    of paper 3.1); None hides the largest alone, as the release does. Nothing is hidden where no
    value is above 0, or where no patch would be left.

    # change [[1, 3], [2, -9]], all visible: 0.5 -> [[0, 1], [1, 0]], None -> [[0, 1], [0, 0]]
    """
    seen = change_bgg.masked_fill(~kept_bgg, 0.0).clamp_min(0.0)
    highest = seen.amax(dim=(-2, -1), keepdim=True)
    hidden = seen >= highest if threshold is None else seen > threshold * highest
    hidden &= seen > 0
    # A clip without any visible patch would be judged by nothing.
    leaves_none = (kept_bgg & ~hidden).flatten(1).sum(1) == 0
    return hidden & ~leaves_none[:, None, None]


def _joined(
    parts: Sequence[Tensor | None], change: Callable[[Tensor], Tensor] | None = None
) -> Tensor | None:
    """The batches' parts as one float32 tensor on the CPU; None where the head is missing."""
    present = [part.float().cpu() for part in parts if part is not None]
    if not present:
        return None
    joined = torch.cat(present)
    return joined if change is None else change(joined)


def predict_track(
    network: VideoNetwork,
    track_length: int,
    read: Callable[[np.ndarray], Sequence[Clip]],
    config: PredictionConfig,
) -> tuple[Prediction, Tensor]:
    """Sample clips of a track of `track_length` frames, read and score them.

    `read` maps positions in the track, int64 (C, T), to the clips cut there: from a video file in
    detection, from a prepared store in evaluation. Everything after it is the same code, so the
    two give the same number for the same track. Returns what `predict_clips` returns.
    """
    return predict_clips(network, read(clip_positions(network, track_length, config)), config)


def clip_positions(
    network: VideoNetwork, track_length: int, config: PredictionConfig
) -> NDArray[np.int64]:
    """Positions in a track of the frames of its clips, int64 (C, T), as `config` samples them."""
    return sample_clips(config.sampling, track_length, network.config.frames, frames=config.frames)


def input_boxes(squares_ct3: Tensor, config: PredictionConfig) -> Tensor:
    """The part of each frame that the network saw, as boxes float32 (C, T, 4), source pixels.

    squares_ct3: (cx, cy, side) of the crops, source pixels.
    """
    cx, cy, side = squares_ct3.unbind(-1)
    half = side / 2 * (1 - 2 * config.margin / REFERENCE_SIDE)
    return torch.stack([cx - half, cy - half, cx + half, cy + half], dim=-1).float()
