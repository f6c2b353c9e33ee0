"""A `Report` as its page prints it: every number as text or per cent, every picture a data URL."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from fakestormer.detection.printable import face_name, picture_size, shown
from fakestormer.drawing import overlays, timeline
from fakestormer.drawing.drawing import drawn_scene
from fakestormer.report import pictures
from fakestormer.report.pictures import Album, Picture
from fakestormer.types import FaceReport, Prediction, Report, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameView:
    """A frame as printed. `score` is None without g, `picture` where the page had no room for it.

    strongest, place: the largest value of D~ in this frame and where it lies; None and "" for a
    clip's first frame, and without h.
    """

    index: int
    time: str
    score: float | None
    picture: Picture | None
    strongest: float | None
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipView:
    """A clip as printed. `number` counts from 1; `anchor` is the id of its part of the page."""

    number: int
    anchor: str
    start: str
    end: str
    score: float
    above: bool
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
    """A whole frame of the video and the same drawn into, as data URLs."""

    original: str
    drawn: str
    width: int
    height: int
    time: str
    index: int


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

    scale: the value of D~ drawn brightest, None without h. shots: None where one shot was all.
    raw: the score before calibration, None where there was none. in_detail: whether the page has
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
    scale: float | None
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
    threshold: float,
    album: Album,
) -> FaceView:
    prediction = face.prediction
    assert face.crops is not None, "a face without pictures is only listed"
    assert prediction.indices.shape == face.crops.shape[:2], "crops of other clips"
    probabilities = prediction.clip_probabilities.tolist()
    highest = max(range(len(probabilities)), key=probabilities.__getitem__, default=0)
    clips: list[ClipView] = []
    for c, probability in enumerate(probabilities):
        seconds = prediction.pts_seconds[c].tolist()
        drawn = album.get((place, c))
        frames = tuple(_frame(face, c, t, drawn[t] if drawn else None) for t in range(len(seconds)))
        clips.append(
            ClipView(
                number=c + 1,
                anchor=f"face-{face.number + 1}-clip-{c + 1}",
                start=timeline.time_code(seconds[0]),
                end=timeline.time_code(seconds[-1]),
                score=probability,
                above=probability >= threshold,
                highest=c == highest,
                point=timeline.point(axis, seconds[0], seconds[-1], probability),
                frames=frames,
            )
        )
    return replace(
        listed_view(face, report),
        shots=_shots(prediction),
        scale=None
        if prediction.derivative is None
        else overlays.display_scale(prediction.derivative),
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
        scale=None,
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
    if not prediction.pts_seconds.numel():
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


def scene_view(report: Report) -> SceneView | None:
    scene, face = report.scene, report.decisive
    if scene is None or face is None:
        return None
    drawn = drawn_scene(report, face_name(face.number))
    assert drawn is not None, "there is a scene and a face"
    height, width = drawn.shape[:2]
    as_tensor = torch.from_numpy(drawn).permute(2, 0, 1)
    return SceneView(
        original=pictures.picture_url(scene.picture, side=max(width, height), quality=80),
        drawn=pictures.picture_url(as_tensor, side=max(width, height), quality=80),
        width=width,
        height=height,
        time=timeline.time_code(float(face.prediction.pts_seconds[scene.clip, scene.frame])),
        index=int(face.prediction.indices[scene.clip, scene.frame]),
    )


def _frame(face: FaceReport, c: int, t: int, picture: Picture | None) -> FrameView:
    prediction = face.prediction
    strongest, place = None, ""
    if prediction.derivative is not None and t:
        change_gg = torch.nan_to_num(prediction.derivative[c, t], nan=0.0)
        strongest, place = float(change_gg.max()), overlays.strongest_place(change_gg)
    return FrameView(
        index=int(prediction.indices[c, t]),
        time=timeline.time_code(float(prediction.pts_seconds[c, t])),
        score=None if prediction.frame_scores is None else float(prediction.frame_scores[c, t]),
        picture=picture,
        strongest=strongest,
        place=place,
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
    whole = torch.tensor([*size, *size], dtype=torch.float32)
    corners = (100.0 * face.boxes[:, 0].cpu().float() / whole).tolist()
    return tuple(
        (round(x0, 1), round(y0, 1), round(x1 - x0, 1), round(y1 - y0, 1))
        for x0, y0, x1, y1 in corners
    )
