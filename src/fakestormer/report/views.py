"""A `Report` as its page prints it: every number as text or per cent, every picture a data URL."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fakestormer.detection.printable import face_name, picture_size, shown
from fakestormer.drawing import timeline
from fakestormer.report import pictures
from fakestormer.report.pictures import Album, Picture
from fakestormer.types import FaceReport, Prediction, Report, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameView:
    """A frame as printed. score: None without g. picture: None where the page had no room."""

    index: int
    time: str
    score: float | None
    picture: Picture | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipView:
    """A clip as printed. `number` counts from 1; `anchor` is the id of its part of the page.

    tone: "alarm" from the threshold on, "calm" up to where nothing was found, "unsure" between.
    """

    number: int
    anchor: str
    start: str
    end: str
    span: str
    score: float
    raw: float
    tone: str
    highest: bool
    point: timeline.Point
    frames: tuple[FrameView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondView:
    """A clip of the full time line as printed. x, y: per cent of the plot."""

    start: str
    score: float
    x: float
    y: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneView:
    """The frame of the most suspicious moment, as data URLs.

    box: of what the network saw, (x, y, width, height) in per cent; map: to lay over it; outline:
    of the strongest region, points of an SVG polygon within it. face: the crop without the map.
    loop: the two seconds around it.
    """

    original: str
    width: int
    height: int
    time: str
    index: int
    probability: float
    box: tuple[float, float, float, float]
    map: str | None
    outline: str
    face: str | None
    loop: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """Clips that reach the threshold of a video in which nothing was found."""

    count: int
    probability: float
    start: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShotsView:
    """The scores of several shots of a face. `each`: of every shot alone."""

    each: tuple[float, ...]
    last: float
    mean: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceView:
    """A face as printed. `squares`: where the crops lie, (x, y, width, height) in per cent of the
    video's picture.

    shots: None where one shot was all. raw: the score before calibration, None where there was
    none. moment: in words; mapped: whether it was explained. flagged: which clips reach the
    threshold, in a sentence. in_detail: whether the page has
    more than a row of a table for it; `clips` and what belongs to them is empty where not.
    pictured: whether pictures of it were kept. seen: first and last time that was scored.
    """

    number: int
    name: str
    verdict: Verdict
    decisive: bool
    score: float
    raw: float | None
    shots: ShotsView | None
    moment: str
    mapped: bool
    flagged: str
    thumbnail: str | None
    clips: tuple[ClipView, ...]
    warnings: tuple[str, ...]
    squares: tuple[tuple[float, float, float, float], ...]
    interval: tuple[float, float] | None
    reasons: tuple[str, ...]
    seconds: tuple[SecondView, ...]
    in_detail: bool
    pictured: bool
    clip_count: int
    seen: tuple[str, str]


def face_view(
    place: int,
    face: FaceReport,
    report: Report,
    *,
    axis: timeline.Axis,
    thresholds: tuple[float, float],
    album: Album,
) -> FaceView:
    """thresholds: up to which nothing was found, and from which a face is likely fake."""
    prediction = face.prediction
    assert face.crops is not None, "a face without pictures is only listed"
    assert prediction.indices.shape == face.crops.shape[:2], "crops of other clips"
    probabilities = prediction.clip_probabilities.tolist()
    raw = prediction.clip_scores.tolist()
    highest = max(range(len(probabilities)), key=probabilities.__getitem__, default=0)
    clips: list[ClipView] = []
    for c, probability in enumerate(probabilities):
        seconds = prediction.pts_seconds[c].tolist()
        drawn = album.get((place, c))
        frames = tuple(_frame(face, c, t, drawn[t] if drawn else None) for t in range(len(seconds)))
        clips.append(
            ClipView(
                number=c + 1,
                anchor=f"face-{face.number}-clip-{c + 1}",
                start=timeline.time_code(seconds[0]),
                end=timeline.time_code(seconds[-1]),
                span=timeline.span(seconds[0], seconds[-1]),
                score=probability,
                raw=raw[c],
                tone=tone(probability, thresholds),
                highest=c == highest,
                point=timeline.point(axis, seconds[0], seconds[-1], probability),
                frames=frames,
            )
        )
    return replace(
        listed_view(face, report),
        shots=_shots(prediction),
        mapped=prediction.evidence is not None,
        flagged=_flagged(clips, thresholds[1]),
        thumbnail=pictures.thumbnail(face),
        clips=tuple(clips),
        warnings=tuple(shown(w) for w in face.warnings),
        squares=_squares(face, picture_size(report.video)),
        reasons=tuple(shown(reason.text) for reason in face.reasons),
        seconds=_seconds(face, axis),
        in_detail=True,
    )


def listed_view(face: FaceReport, report: Report) -> FaceView:
    prediction = face.prediction
    return FaceView(
        number=face.number,
        name=face_name(face.number),
        verdict=face.verdict,
        decisive=face.number == report.face_number,
        score=prediction.probability,
        raw=prediction.raw,
        shots=None,
        moment="" if face.moment is None else face.moment.sentence,
        mapped=False,
        flagged="",
        thumbnail=None,
        clips=(),
        warnings=(),
        squares=(),
        interval=face.interval,
        reasons=(),
        seconds=(),
        in_detail=False,
        pictured=face.crops is not None,
        clip_count=len(prediction.clip_probabilities),
        seen=_seen(prediction),
    )


def _seen(prediction: Prediction) -> tuple[str, str]:
    if not prediction.pts_seconds.size:
        return "", ""
    first, last = prediction.pts_seconds.min(), prediction.pts_seconds.max()
    return timeline.time_code(float(first)), timeline.time_code(float(last))


def _seconds(face: FaceReport, axis: timeline.Axis) -> tuple[SecondView, ...]:
    if face.every_second is None:
        return ()
    line = face.every_second
    return tuple(
        SecondView(
            start=timeline.time_code(at), score=score, x=axis.x(at), y=timeline.height(score)
        )
        for at, score in zip(line.seconds.tolist(), line.probabilities.tolist(), strict=True)
    )


def tone(probability: float, thresholds: tuple[float, float]) -> str:
    """The colour of a probability by the thresholds of the verdicts."""
    clear, fake = thresholds
    return "alarm" if probability >= fake else "calm" if probability <= clear else "unsure"


def peak_of(face: FaceView | None) -> Peak | None:
    """The clips of a face that reach the threshold; None where none does."""
    flagged = [] if face is None else [clip for clip in face.clips if clip.tone == "alarm"]
    if not flagged:
        return None
    highest = max(flagged, key=lambda clip: clip.score)
    return Peak(count=len(flagged), probability=highest.score, start=highest.start)


def _flagged(clips: Sequence[ClipView], threshold: float) -> str:
    """# Flagged, from 0.83 on: 4.2 to 4.3 s, 7.0 to 7.1 s."""
    spans = [clip.span for clip in clips if clip.tone == "alarm"]
    if not spans:
        return f"No clip reaches {threshold:.2f}, from which a face is likely fake."
    return f"Flagged, from {threshold:.2f} on: {', '.join(spans)}."


def scene_view(report: Report) -> SceneView | None:
    """What is shown of the most suspicious moment; None without a scene."""
    scene, face = report.scene, report.decisive
    if scene is None or face is None:
        return None
    height, width = scene.picture.shape[1:]
    x0, y0, x1, y1 = (face.boxes[scene.clip, scene.frame] * scene.scale).tolist()
    box = (100 * x0 / width, 100 * y0 / height, 100 * (x1 - x0) / width, 100 * (y1 - y0) / height)
    layers, crop_3hw = pictures.map_layers(face), pictures.moment_crop(face)
    outline = [] if face.moment is None else face.moment.outline.tolist()
    film = None if scene.loop is None else base64.b64encode(scene.loop).decode("ascii")
    return SceneView(
        original=pictures.picture_url(scene.picture, side=max(width, height), quality=80),
        width=width,
        height=height,
        time=timeline.time_code(float(face.prediction.pts_seconds[scene.clip, scene.frame])),
        index=int(face.prediction.indices[scene.clip, scene.frame]),
        probability=float(face.prediction.clip_probabilities[scene.clip]),
        box=(round(box[0], 2), round(box[1], 2), round(box[2], 2), round(box[3], 2)),
        map=None
        if layers is None
        else pictures.picture_url_of(
            layers[scene.clip][scene.frame], quality=pictures.LAYER_QUALITY
        ),
        outline=" ".join(f"{x:.3f},{y:.3f}" for x, y in outline),
        face=None if crop_3hw is None else pictures.picture_url(crop_3hw, side=224, quality=85),
        loop=None if film is None else f"data:video/mp4;base64,{film}",
    )


def _frame(face: FaceReport, c: int, t: int, picture: Picture | None) -> FrameView:
    prediction = face.prediction
    frames_ct = prediction.frame_probabilities
    return FrameView(
        index=int(prediction.indices[c, t]),
        time=timeline.time_code(float(prediction.pts_seconds[c, t])),
        score=None if frames_ct is None else float(frames_ct[c, t]),
        picture=picture,
    )


def _shots(prediction: Prediction) -> ShotsView | None:
    each = prediction.shot_probabilities.tolist()
    if len(each) < 2:
        return None
    return ShotsView(each=tuple(each), last=each[-1], mean=sum(each) / len(each))


def _squares(
    face: FaceReport, size: tuple[int, int] | None
) -> tuple[tuple[float, float, float, float], ...]:
    """Where the face stood at the start of each clip: x, y, width, height in per cent."""
    if size is None or not len(face.boxes):
        return ()
    whole = np.array([*size, *size], np.float32)
    corners = (100.0 * face.boxes[:, 0] / whole).tolist()
    return tuple(
        (round(x0, 1), round(y0, 1), round(x1 - x0, 1), round(y1 - y0, 1))
        for x0, y0, x1, y1 in corners
    )
