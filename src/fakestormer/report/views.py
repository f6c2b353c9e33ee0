"""What a page shows of a `Report` beside the report itself: places on the time line, pictures."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import numpy as np

from fakestormer.detection.printable import picture_size
from fakestormer.drawing import timeline
from fakestormer.report import pictures
from fakestormer.report.pictures import Album, ClipPictures
from fakestormer.types import FaceReport, Report


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipView:
    """A clip as printed. `number` counts from 1; `anchor` is the id of its part of the page.

    seconds, indices: of its frames. frame_scores: of each alone, None without g. pictures: of its
    frames, empty where the page had no room. tone: "alarm" from the threshold on, "calm" up to
    where nothing was found, "unsure" between.
    """

    number: int
    anchor: str
    seconds: list[float]
    indices: list[int]
    frame_scores: list[float] | None
    pictures: ClipPictures
    score: float
    raw: float
    tone: str
    highest: bool
    point: timeline.Point


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceView:
    """A face that is shown in detail. `squares`: where the crops lie, (x, y, width, height) in per
    cent of the video's picture.
    """

    clips: tuple[ClipView, ...]
    thumbnail: str | None
    squares: tuple[tuple[float, float, float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneView:
    """The frame of the most suspicious moment, as data URLs.

    box: of what the network saw, (x, y, width, height) in per cent; map: to lay over it; outline:
    of the strongest region, points of an SVG polygon within it. face: the crop without the map.
    loop: the two seconds around it.
    """

    original: str
    box: tuple[float, float, float, float]
    map: str | None
    outline: str
    face: str | None
    loop: str | None


def face_view(
    place: int,
    face: FaceReport,
    report: Report,
    *,
    axis: timeline.Axis,
    thresholds: tuple[float, float],
    album: Album,
) -> FaceView:
    """place: of the face in the album. thresholds: as of `tone`."""
    prediction = face.prediction
    assert face.crops is not None, "a face without pictures is only listed"
    assert prediction.indices.shape == face.crops.shape[:2], "crops of other clips"
    probabilities = prediction.clip_probabilities.tolist()
    highest = max(range(len(probabilities)), key=probabilities.__getitem__, default=0)
    frames_ct = prediction.frame_probabilities
    clips: list[ClipView] = []
    for c, probability in enumerate(probabilities):
        seconds = prediction.pts_seconds[c].tolist()
        clips.append(
            ClipView(
                number=c + 1,
                anchor=f"face-{face.number}-clip-{c + 1}",
                seconds=seconds,
                indices=prediction.indices[c].tolist(),
                frame_scores=None if frames_ct is None else frames_ct[c].tolist(),
                pictures=album.get((place, c), ()),
                score=probability,
                raw=float(prediction.clip_scores[c]),
                tone=tone(probability, thresholds),
                highest=c == highest,
                point=timeline.point(axis, seconds[0], seconds[-1], probability),
            )
        )
    return FaceView(
        clips=tuple(clips),
        thumbnail=pictures.thumbnail(face),
        squares=_squares(face, picture_size(report.video)),
    )


def tone(probability: float, thresholds: tuple[float, float]) -> str:
    """The colour of a probability by the thresholds: up to which nothing was found, and from which
    a face is likely fake."""
    clear, fake = thresholds
    return "alarm" if probability >= fake else "calm" if probability <= clear else "unsure"


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
