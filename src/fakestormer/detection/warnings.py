"""Warnings about a verdict, in full sentences; see also quality.py."""

from __future__ import annotations

from collections.abc import Sequence

from fakestormer.detection.printable import face_name
from fakestormer.detection.verdict import SMALL_FACE_PX
from fakestormer.recipe.prediction import PredictionConfig
from fakestormer.types import FaceReport
from fakestormer.video.decode import VideoInfo
from fakestormer.video.packets import PacketLog


def truncation_warnings(log: PacketLog, last_seconds: float) -> list[str]:
    """Packets of the video stream are missing or cannot be decoded.

    The container's claims do not count: its duration is that of the longest sound or subtitle, and
    its number of frames includes those that an edit list hides. last_seconds: of the last frame.
    """
    if not log.damaged:
        if not log.breaks:
            return []
        places = "place" if log.breaks == 1 else "places"
        return [
            f"The transport stream breaks off in {log.breaks} {places}: packets were lost there, "
            "or recordings were joined. A clip across one sees a jump."
        ]
    damages = []
    if log.missing:
        damages.append(f"{log.missing} of its pictures are missing")
    if log.undecodable:
        damages.append(f"{log.undecodable} cannot be decoded")
    if not damages:
        damages.append(f"it ends in the middle, after {last_seconds:.1f} s of pictures")
    return [
        f"The file is truncated or damaged: {' and '.join(damages)}. Only the readable part was "
        "judged."
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


def no_face(file: str, frames: int, info: VideoInfo) -> str:
    """Why a video with so many frames has no verdict, and what to give instead."""
    if frames == 1:
        return (
            f"{file}: has a single frame, and this method judges change over time; "
            "give it a video of at least two frames."
        )
    another = another_stream(info)
    return (
        f"{file}: no face could be followed in its {frames} frames; "
        "give it a video in which a face is seen from the front for a while"
        f"{', or ' if another else ''}{another}."
    )


def another_stream(info: VideoInfo) -> str:
    """What may be done where a stream shows no face and there are others: words, or ""."""
    if not info.other_streams:
        return ""
    return f"name another of its video streams than {info.stream} with --stream"


def picture_notes(info: VideoInfo) -> list[str]:
    """The choice of the stream, pixels that were made square, and a picture that was turned."""
    notes = []
    if info.other_streams:
        others = f"{info.other_streams} other video stream{'s' * (info.other_streams > 1)}"
        notes.append(
            f"The file has {others} with moving pictures; stream {info.stream} ({info.codec}, "
            f"{info.width} x {info.height}) was taken. Choose another with --stream."
        )
    if info.pixel_aspect != "1":
        notes.append(
            f"Its pixels are not square as they are stored ({info.pixel_aspect} times as wide as "
            f"high): the picture was stretched to {info.width} x {info.height}, as players show it."
        )
    if info.turned:
        notes.append(
            f"The faces in it are not upright, and the file does not say how to turn it: it was "
            f"turned by {info.turned} degrees clockwise, to {info.width} x {info.height}."
        )
    return notes
