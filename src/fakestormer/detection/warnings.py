"""Warnings about a verdict, in full sentences; see also quality.py."""

from __future__ import annotations

from collections.abc import Sequence

from fakestormer.detection.printable import face_name
from fakestormer.detection.verdict import SMALL_FACE_PX
from fakestormer.recipe.prediction import PredictionConfig
from fakestormer.types import FaceReport
from fakestormer.video.decode import VideoInfo


def truncation_warnings(info: VideoInfo, seen: int, last_seconds: float) -> list[str]:
    """The container announces more than could be decoded. seen: frames."""
    announced = (
        f"{info.frame_count} frames" if info.frame_count else f"{info.duration_seconds:.1f} s"
    )
    decoded = f"{seen} frames" if info.frame_count else f"{last_seconds:.1f} s"
    missing = (
        seen < 0.98 * info.frame_count
        if info.frame_count
        else last_seconds < 0.95 * info.duration_seconds - 0.5
    )
    if not missing:
        return []
    return [
        f"The container announces {announced} but {decoded} could be decoded: the file "
        "is truncated or damaged, and only the readable part was judged."
    ]


def backend_warnings(trained_with: str | None, used: str) -> list[str]:
    """Another face backend was used than in training."""
    if trained_with is None or trained_with == used:
        return []
    return [
        f"The model was trained on faces found by {trained_with}, here they were "
        f"found by {used}: they are cropped a little differently, and the "
        "score may be off."
    ]


def calibration_warnings(config: PredictionConfig) -> list[str]:
    """The calibration is for another sampling."""
    calibration = config.calibration
    if calibration is None or calibration.fits(config):
        return []
    return [
        f"The probability was calibrated for sampling {calibration.sampling}, shots "
        f"{calibration.shots}, and here it is {config.sampling}, "
        f"{config.shots}: it may be too high or too low."
    ]


def face_warnings(*, frames: int, width: float, clip: int) -> list[str]:
    """The face is small or short. width: pixels. frames: of its track; clip: of one clip."""
    warnings = []
    if width < SMALL_FACE_PX:
        warnings.append(
            f"The face is only {width:.0f} pixels wide; traces of blending need about "
            f"{SMALL_FACE_PX} or more, so this score says little."
        )
    if frames < clip:
        warnings.append(
            f"The face was followed for {frames} frames, fewer than the {clip} of one "
            "clip; the last frame was repeated, so this score says little."
        )
    return warnings


def unjudged_warnings(decisive: FaceReport, faces: Sequence[FaceReport]) -> list[str]:
    """A verdict "no manipulation found" does not cover faces that are inconclusive."""
    unjudged = [face_name(face.number) for face in faces if face.verdict == "inconclusive"]
    if decisive.verdict != "no manipulation found" or not unjudged:
        return []
    names = ", ".join(unjudged[:5]) + (", ..." if len(unjudged) > 5 else "")
    return [f"The verdict does not cover every face: inconclusive remained {names}."]


def no_face(file: str, frames: int) -> str:
    """Why a video with so many frames has no verdict, and what to give instead."""
    if frames == 1:
        return (
            f"{file}: has a single frame, and this method judges change over time; "
            "give it a video of at least two frames."
        )
    return (
        f"{file}: no face could be followed in its {frames} frames; "
        "give it a video in which a face is seen from the front for a while."
    )
