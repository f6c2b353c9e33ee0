"""From stored clips to a track's score: the one path that evaluation and detection use.

clips (u8[T,3,S,S] each) -> test margin cut -> network -> clip probabilities -> track probability
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from fakestormer.model.fakestormer import FakeSTormer
from fakestormer.resample import cut_margin
from fakestormer.types import Clip, Prediction, Verdict
from fakestormer.video.clips import Sampling, sample_clips

#: The stored crop side that `PredictionConfig.margin` is given for.
REFERENCE_SIDE = 256


class PredictionConfig(BaseModel):
    """How a video becomes one number (method section 5)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sampling: Sampling = "windows"
    frames: int = Field(default=32, ge=1, description="frames of a track that are looked at")
    pooling: Literal["probability", "logit"] = Field(
        default="probability", description="mean over clips of probabilities, or of logits"
    )
    margin: float = Field(
        default=15, ge=0, lt=128, description="cut off each side, px of a 256 px crop"
    )
    threshold: float = Field(default=0.5, ge=0, le=1, description="from here on: likely fake")
    inconclusive: float = Field(
        default=0.05, ge=0, le=0.5, description="half-width of the band around the threshold"
    )
    largest_share: float = Field(
        default=0.3,
        ge=0,
        le=1,
        description="faces seen in fewer frames than this share of the longest track's do not "
        "decide the video's verdict",
    )


def network_input(frames: Tensor, *, margin: float, size: int) -> Tensor:
    """Stored crops (..., S, S) to network input (..., size, size); the margin scales with S."""
    return cut_margin(frames, margin=margin * frames.shape[-1] / REFERENCE_SIDE, size=size)


def pool(logits_c: Tensor, pooling: Literal["probability", "logit"]) -> float:
    """One probability from the clips' logits (C,): their mean as probabilities or as logits."""
    logits_c = logits_c.double()
    pooled = logits_c.sigmoid().mean() if pooling == "probability" else logits_c.mean().sigmoid()
    return float(pooled)


def verdict(probability: float, config: PredictionConfig) -> Verdict:
    """The words for a probability; close to the threshold nothing is claimed.

    0.97 -> "likely fake", 0.52 -> "inconclusive", 0.08 -> "no manipulation found" (at 0.5 +- 0.05)
    """
    if abs(probability - config.threshold) < config.inconclusive:
        return "inconclusive"
    return "likely fake" if probability >= config.threshold else "no manipulation found"


@torch.inference_mode()
def predict_clips(
    network: FakeSTormer, clips: Sequence[Clip], config: PredictionConfig, *, batch_size: int = 8
) -> tuple[Prediction, Tensor]:
    """Score the clips of one track.

    Returns the Prediction and the crops exactly as the network saw them, uint8 (C, T, 3, H, W).
    The network is put into evaluation mode; the result does not depend on `batch_size` beyond
    rounding. Raises ValueError without clips, or when a clip's length is not the network's T.
    """
    if not clips:
        raise ValueError("predict_clips: no clips; a track needs at least one")
    length = network.config.frames
    for clip in clips:
        if len(clip) != length:
            raise ValueError(f"{clip.source}: expected clips of {length} frames, got {len(clip)}")
    network.eval()
    device = next(network.parameters()).device
    crops_cthw = torch.stack(
        [
            network_input(clip.frames, margin=config.margin, size=network.config.image_size)
            for clip in clips
        ]
    )
    logits, derivatives, frame_logits = [], [], []
    for batch in torch.split(crops_cthw, batch_size):
        outputs = network(batch.to(device))
        logits.append(outputs.logit.float().cpu())
        derivatives.append(outputs.derivative.float().cpu())
        frame_logits.append(outputs.frame_logits.float().cpu())
    logit_c = torch.cat(logits)
    prediction = Prediction(
        probability=pool(logit_c, config.pooling),
        clip_probabilities=logit_c.sigmoid(),
        frame_scores=torch.cat(frame_logits).sigmoid(),
        derivative=torch.cat(derivatives),
        indices=torch.stack([clip.indices for clip in clips]),
        pts_seconds=torch.stack([clip.pts_seconds for clip in clips]),
    )
    return prediction, crops_cthw


def predict_track(
    network: FakeSTormer,
    track_length: int,
    read: Callable[[np.ndarray], Sequence[Clip]],
    config: PredictionConfig,
    *,
    batch_size: int = 8,
) -> tuple[Prediction, Tensor]:
    """Sample clips of a track of `track_length` frames, read and score them.

    `read` maps positions in the track, int64 (C, T), to the clips cut there: from a video file in
    detection, from a prepared store in evaluation. Everything after it is the same code, so the
    two give the same number for the same track. Returns what `predict_clips` returns.
    """
    positions_ct = sample_clips(
        config.sampling, track_length, network.config.frames, frames=config.frames
    )
    return predict_clips(network, read(positions_ct), config, batch_size=batch_size)
