"""The most suspicious moment of a face: which clip, which frame, and which region of the face.

    evidence of f (C, T, G, G) -> masked to the face -> the highest clip, its strongest frame
        -> the connected patches around the largest value -> outline, and a name from the landmarks

Left and right are the picture's, as a person sees them who looks at it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import cv2
import numpy as np

from fakestormer.drawing.overlays import enlarged, evidence_scale
from fakestormer.recipe.prediction import REFERENCE_SIDE, PredictionConfig
from fakestormer.runtimes.engine import Engine
from fakestormer.types import Clip, FaceReport, Moment, Prediction
from fakestormer.types.arrays import Flags, Floats

#: Landmark numbers (iBUG) of each region; a tuple of several stands for the point between them.
REGIONS: Final[dict[str, tuple[int | tuple[int, ...], ...]]] = {
    "left temple": (0, (0, 17)),
    "right temple": (16, (16, 26)),
    "left jaw line": (2, 3, 4, 5, 6),
    "right jaw line": (10, 11, 12, 13, 14),
    "chin": (7, 8, 9, (8, 57)),
    "left brow": (17, 18, 19, 20, 21),
    "right brow": (22, 23, 24, 25, 26),
    "left eye": (36, 37, 38, 39, 40, 41),
    "right eye": (42, 43, 44, 45, 46, 47),
    "nose": (27, 28, 29, 30, 31, 32, 33, 34, 35),
    "mouth": (48, 50, 52, 54, 56, 57, 58, 62, 66),
    "left cheek": ((2, 31), (1, 41), (3, 48)),
    "right cheek": ((14, 35), (15, 46), (13, 54)),
    "forehead": (69, 71, 73, 74, 75, 77, 79, (74, 27)),
}
#: The face reaches so far beyond its outermost landmarks: its border belongs to it.
BORDER = 1.12
#: Patches join the strongest region from this share of the largest value on.
_JOINS = 0.5
#: Side of the pictures in which maps are drawn and regions outlined.
MAP_SIDE = 112


def with_moments(
    faces: Sequence[FaceReport], decisive: int, engine: Engine
) -> tuple[FaceReport, ...]:
    """The faces; the one that decides and those that are likely fake are explained.

    decisive: its number.
    """
    return tuple(
        explained(face, engine)
        if face.crops is not None and (face.number == decisive or face.verdict == "likely fake")
        else face
        for face in faces
    )


def explained(face: FaceReport, engine: Engine) -> FaceReport:
    """The face with f's evidence and its most suspicious moment."""
    assert face.crops is not None, "a face is explained by its pictures"
    assert face.landmarks is not None, "regions are named by landmarks"
    prediction = face.prediction
    if prediction.evidence is None:
        parts = [engine.explain(batch)[1] for batch in engine.batches(face.crops)]
        prediction = replace(prediction, evidence=np.concatenate(parts))
    return replace(face, prediction=prediction, moment=moment_of(prediction, face.landmarks))


def moment_of(prediction: Prediction, landmarks_ctk2: Floats) -> Moment:
    """Where the clip with the highest score most speaks for a fake.

    prediction: with evidence. landmarks_ctk2: as in `FaceReport`.
    """
    evidence_ctgg = prediction.evidence
    assert evidence_ctgg is not None, "it was explained"
    c = int(prediction.clip_probabilities.argmax())
    maps_tgg = smoothed(evidence_ctgg[c])
    masks_tss = np.stack([face_mask(points, MAP_SIDE) for points in landmarks_ctk2[c]])
    fine_tss = np.maximum(enlarged(maps_tgg, MAP_SIDE), 0) * masks_tss
    t = int(fine_tss.sum(axis=(1, 2)).argmax())
    outline_n2 = _outline(fine_tss[t])
    seconds = prediction.pts_seconds[c]
    return Moment(
        clip=c,
        frame=t,
        index=int(prediction.indices[c, t]),
        seconds=(float(seconds[0]), float(seconds[-1])),
        region=_region(fine_tss[t], outline_n2, landmarks_ctk2[c, t]),
        outline=outline_n2,
    )


def map_scale(prediction: Prediction) -> float:
    """The evidence drawn brightest in all clips of a face: that of the clip with the highest score.

    Gradients are tiny in a clip of which f is sure. By the scale of its less sure clips its map
    could not be seen.
    """
    assert prediction.evidence is not None, "it was explained"
    c = int(prediction.clip_probabilities.argmax())
    return evidence_scale(smoothed(prediction.evidence[c]))


def smoothed(evidence_tgg: Floats) -> Floats:
    """Each patch's mean with its neighbours, of which there are eight but at the border: single
    patches of a linear f are noisy."""
    padded = np.pad(evidence_tgg, ((0, 0), (1, 1), (1, 1)), constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    mean_tgg: Floats = np.nanmean(windows, axis=(3, 4))
    return mean_tgg


def face_mask(landmarks_k2: Floats, size: int) -> Flags:
    """The face and its border, bool (size, size). landmarks: shares of the crop, 0 to 1."""
    points_k2 = landmarks_k2.astype(np.float64)
    hull_n2 = cv2.convexHull(points_k2.astype(np.float32))[:, 0].astype(np.float64)
    middle_2 = (hull_n2.min(axis=0) + hull_n2.max(axis=0)) / 2
    hull_n2 = middle_2 + BORDER * (hull_n2 - middle_2)
    filled = np.zeros((size, size), np.uint8)
    cv2.fillConvexPoly(filled, np.rint(16 * (hull_n2 * size - 0.5)).astype(np.int32), 1, shift=4)
    return filled.astype(bool)


def input_landmarks(clips: Sequence[Clip], config: PredictionConfig) -> Floats:
    """Landmarks of clips as shares of what the network sees, float32 (C, T, K, 2), 0 to 1."""
    side = clips[0].frames.shape[-1]
    margin = round(config.margin * side / REFERENCE_SIDE)
    points_ctk2 = np.stack([clip.landmarks for clip in clips])
    return np.asarray((points_ctk2 + 0.5 - margin) / (side - 2 * margin), np.float32)


def _outline(fine_ss: Floats) -> Floats:
    """The border of the region around the largest value, shares of the crop, float32 (N, 2)."""
    if not fine_ss.max() > 0:
        return np.zeros((0, 2), np.float32)
    joined = (fine_ss >= _JOINS * fine_ss.max()).astype(np.uint8)
    _, labels = cv2.connectedComponents(joined)
    y, x = divmod(int(fine_ss.argmax()), fine_ss.shape[1])
    part = (labels == labels[y, x]).astype(np.uint8)
    contours, _ = cv2.findContours(part, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    largest_n2 = max(contours, key=cv2.contourArea)[:, 0]
    return np.asarray((largest_n2 + 0.5) / fine_ss.shape[1], np.float32)


def _region(fine_ss: Floats, outline_n2: Floats, landmarks_k2: Floats) -> str:
    """The name of the region that holds most of the evidence within the outline."""
    if not len(outline_n2):
        return "no part of the face"
    side = fine_ss.shape[-1]
    inside = np.zeros((side, side), np.uint8)
    cv2.fillPoly(inside, [np.rint(outline_n2 * side - 0.5).astype(np.int32)], 1)
    ys, xs = np.nonzero(inside)
    at_p2 = (np.stack([xs, ys], axis=1) + 0.5) / side
    weights_p = fine_ss[ys, xs]
    anchors = {name: _anchors(landmarks_k2, points) for name, points in REGIONS.items()}
    distances_pr = np.stack(
        [
            np.linalg.norm(at_p2[:, None] - points_a2, axis=2).min(axis=1, initial=np.inf)
            for points_a2 in anchors.values()
        ],
        axis=1,
    )
    shares_r = np.bincount(distances_pr.argmin(axis=1), weights_p, minlength=len(anchors))
    return list(anchors)[int(shares_r.argmax())]


def _anchors(landmarks_k2: Floats, points: Sequence[int | tuple[int, ...]]) -> Floats:
    """The points of a region, (A, 2); those that 68 landmarks do not have are left out."""
    count = len(landmarks_k2)
    groups = [(point,) if isinstance(point, int) else point for point in points]
    there = [landmarks_k2[list(group)].mean(axis=0) for group in groups if max(group) < count]
    return np.stack(there) if there else np.zeros((0, 2), np.float32)
