"""How faces are followed and cut out: stored with prepared data and with weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from fakestormer.recipe.old_files import tracking_fields


class TrackingConfig(BaseModel):
    """How faces are found and followed; stored with prepared data.

    measure_every: frames from one set of landmarks to the next while a face is still; straight
    lines between. Where it moves, and with 1, every frame is measured.
    detect_every: frames between detections while somebody is followed; twice as many after one
    that was sure of every face, unless measure_every is 1.
    min_detection: score from which a detection may start or save a track.
    min_confidence: landmarks below it are a loss. Both in [0, 1].
    min_overlap: intersection over union of a detection and the face it belongs to; the same for
    one face in two neighbouring frames, below which it is another face.
    max_unseen_frames: a face that no detection confirms for so long is not believed any further
    (landmarks can settle on a background); what came after the last detection is dropped.
    bridge_frames: a loss of at most so many frames is filled by straight lines between the
    landmarks before and after, with confidence 0, instead of ending the track.
    min_track_frames: shorter tracks are dropped. min_face_pixels: so are faces whose box is
    smaller (longer side, median over the track); too little is left of them to judge.
    cut_correlation, cut_colours: see video/cuts.py; higher finds more cuts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    measure_every: int = Field(3, ge=1)
    detect_every: int = Field(5, ge=1)
    min_detection: float = Field(0.6, ge=0.0, le=1.0)
    min_confidence: float = Field(0.5, ge=0.0, le=1.0)
    min_overlap: float = Field(0.3, gt=0.0, lt=1.0)
    max_unseen_frames: int = Field(30, ge=1)
    bridge_frames: int = Field(3, ge=0)
    min_track_frames: int = Field(2, ge=1)
    min_face_pixels: float = Field(24.0, ge=0.0)
    cut_correlation: float = Field(0.7, ge=-1.0, le=1.0)
    cut_colours: float = Field(0.85, ge=0.0, le=1.0)


def _of_any_version(fields: Any) -> Any:
    return tracking_fields(fields) if isinstance(fields, Mapping) else fields


#: How faces were followed, where a file says it.
StoredTracking = Annotated[TrackingConfig, BeforeValidator(_of_any_version)]


class CropConfig(BaseModel):
    """How faces are cut out; stored with prepared data and with weights.

    enlarge: the square's side over the face box's longer side. stored_size: S, pixels.
    smooth_frames: sigma in frames of the Gaussian that smooths the squares along a track; 0 takes
    each frame's own box, as in the paper. At 2 the trembling (second difference) falls to about a
    sixth (median of 12 videos); the square stays within 1 % of its side of each frame's own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    enlarge: float = Field(1.25, ge=1.0, le=4.0)
    stored_size: int = Field(256, ge=16, le=2048)
    smooth_frames: float = Field(2.0, ge=0.0, le=100.0)
