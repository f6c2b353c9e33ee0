"""A `Report` as one HTML file that explains itself and asks nobody for anything.

The page holds its pictures, its style and its script; a content security policy in its head
forbids every request and every script but its own. File names and metadata come from strangers:
they reach the page only through the template's escaping, cleaned of what could not be shown.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import jinja2
import torch

from fakestormer.errors import InputError
from fakestormer.explain import overlays, pictures, timeline
from fakestormer.explain.drawing import drawn_scene
from fakestormer.explain.pictures import Album, Picture
from fakestormer.explain.provenance import credentials_sentence
from fakestormer.files import write_atomically
from fakestormer.types import FaceReport, Prediction, Report, Verdict

DEFAULT_THRESHOLD = 0.5
PAGE_PER_SECOND = 120
"""Characters that the page says about a second of the full time line."""

_NOT_LISTED = {"path", "content_credentials"}

JOINERS = "\u200c\u200d"
"""Format characters that words and emoji of many languages need."""


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
    """What several shots said about a face. `each`: the score of every shot alone."""

    each: tuple[float, ...]
    last: float
    mean: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceView:
    """A face as printed. `squares`: the crops' (x, y, side) in per cent of the video's picture.

    scale: the value of D~ drawn brightest, None without h. shots: None where one shot was all.
    raw: the score before calibration, None where there was none.
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


def face_name(number: int) -> str:
    """What people call track `number` in reports and messages: they count from 1."""
    return f"Face {number + 1}"


def decision_threshold(report: Report) -> float:
    """`settings["threshold"]` where it is a number within [0, 1], else 0.5."""
    stated = _number(report.settings, "threshold")
    return DEFAULT_THRESHOLD if stated is None or not 0.0 <= stated <= 1.0 else stated


def clip_threshold(report: Report) -> float:
    """The threshold for single clips: of a calibrated model the score that is given the threshold.

    `settings["raw_threshold"]` where it is a number within [0, 1], else `decision_threshold`.
    """
    stated = _number(report.settings, "raw_threshold")
    return decision_threshold(report) if stated is None or not 0.0 <= stated <= 1.0 else stated


def undecided_width(report: Report) -> float:
    """Half the width of the band around the threshold in which nothing is claimed, or 0."""
    stated = _number(report.settings, "inconclusive")
    return 0.0 if stated is None or not 0.0 <= stated <= 1.0 else stated


def report_name(report: Report) -> str:
    """`page_name` of the video that was judged."""
    return page_name(report.path, report.sha256)


def page_name(path: str, sha256: str) -> str:
    """`<video stem>-<12 digits of its SHA-256>.html`, safe on every file system.

    Two videos never share a name; a second report on the same video replaces the first.
    """
    stem = unicodedata.normalize("NFKC", shown(PurePath(path).stem))
    safe = re.sub(r"[^\w.-]+", "_", stem).strip("._-")[:40] or "video"
    digest = "".join(c for c in sha256.lower() if c in "0123456789abcdef")[:12]
    return f"{safe}-{digest or 'unhashed'}.html"


def write_report(report: Report, folder: Path, *, date: datetime.date | None = None) -> Path:
    """Write the report into `folder` (made if absent) and return the file's path.

    date: printed on the page, today by default; the same report and date give the same bytes.
    Raises InputError when the folder cannot be made or written to.
    """
    page = render_report(report, date=date or datetime.date.today())
    target = folder / report_name(report)
    try:
        write_atomically(target, page.encode("utf-8"))
    except OSError as error:
        raise InputError(
            f"{folder}: the report cannot be written there ({error.strerror}); "
            "choose a folder that you may write to and that has room"
        ) from error
    return target


def render_report(report: Report, *, date: datetime.date) -> str:
    """The page as text."""
    threshold = decision_threshold(report)
    of_clips = clip_threshold(report)
    duration = _number(report.video, "duration_seconds")
    spans = [
        (float(row[0]), float(row[-1]))
        for face in report.faces
        for row in face.prediction.pts_seconds
        if len(row)
    ]
    spans += [
        (float(at), float(at))
        for face in report.faces
        if face.every_second is not None
        for at in face.every_second.seconds
    ]
    axis = timeline.axis(spans, duration)
    scene = _scene(report)
    taken = 0 if scene is None else len(scene.original) + len(scene.drawn)
    taken += sum(
        PAGE_PER_SECOND * len(face.every_second.seconds)
        for face in report.faces
        if face.every_second is not None
    )
    room = pictures.room_for_pictures(report.faces) - taken
    album = pictures.album(report.faces, budget=max(0, room))
    faces = tuple(
        _face(place, face, report, axis=axis, threshold=of_clips, album=album)
        for place, face in enumerate(report.faces)
    )
    looked_at: set[int] = set()
    for face in report.faces:
        looked_at.update(face.prediction.indices.reshape(-1).tolist())
    decisive = next((f for f in faces if f.decisive), None)
    template = _environment().get_template("report.html.jinja")
    return template.render(
        file_name=shown(PurePath(report.path).name),
        date=date.isoformat(),
        report=report,
        faces=faces,
        decisive=decisive,
        scene=scene,
        credentials=shown(credentials_sentence(report.video.get("content_credentials"))),
        shows_change=all(face.prediction.derivative is not None for face in report.faces),
        scores_frames=all(face.prediction.frame_scores is not None for face in report.faces),
        threshold=threshold,
        undecided=undecided_width(report),
        clip_threshold=of_clips,
        threshold_y=timeline.height(of_clips),
        calibrated=any(face.prediction.raw is not None for face in report.faces),
        axis=axis,
        duration=duration,
        frame_count=_number(report.video, "frame_count"),
        picture_size=_picture_size(report.video),
        frame_rate=_number(report.video, "frames_per_second"),
        frames_seen=len(looked_at),
        clips_seen=sum(len(face.clips) for face in faces),
        pictures_left_out=sum(c.frames[0].picture is None for f in faces for c in f.clips),
        colour_table=overlays.colour_table().tolist(),
        scale_percentile=overlays.SCALE_PERCENTILE,
        scale_floor=overlays.SCALE_FLOOR,
        records={
            # The folder a video lay in says more about its owner than about the video.
            "Video": tuple(_rows({k: v for k, v in report.video.items() if k not in _NOT_LISTED})),
            "Model": tuple(_rows(report.model)),
            "Settings": tuple(_rows(report.settings)),
        },
    )


def shown(text: object) -> str:
    """Text from a stranger, fit for print: what is invisible or turns the writing becomes "�".

    Covers control and format characters (which can make "exe.4pm" read "mp4.exe"), and the
    halves of characters that Python makes of file names that are not UTF-8.
    """
    return "".join(
        "�" if unicodedata.category(c) in {"Cc", "Cf", "Cs"} and c not in JOINERS else c
        for c in str(text)
    )


def _face(
    place: int,
    face: FaceReport,
    report: Report,
    *,
    axis: timeline.Axis,
    threshold: float,
    album: Album,
) -> FaceView:
    prediction = face.prediction
    assert prediction.indices.shape == face.crops.shape[:2], "crops of other clips"
    probabilities = prediction.clip_probabilities.tolist()
    highest = max(range(len(probabilities)), key=probabilities.__getitem__, default=0)
    clips: list[ClipView] = []
    for c, probability in enumerate(probabilities):
        seconds = prediction.pts_seconds[c].tolist()
        found = album.get((place, c))
        frames = tuple(_frame(face, c, t, found[t] if found else None) for t in range(len(seconds)))
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
    return FaceView(
        number=face.number,
        name=face_name(face.number),
        verdict=face.verdict,
        decisive=face.number == report.face_number,
        score=prediction.probability,
        raw=prediction.raw,
        shots=_shots(prediction),
        scale=None
        if prediction.derivative is None
        else overlays.display_scale(prediction.derivative),
        thumbnail=pictures.thumbnail(face),
        clips=tuple(clips),
        warnings=tuple(shown(w) for w in face.warnings),
        squares=_squares(face, _picture_size(report.video)),
        interval=face.interval,
        reasons=tuple(shown(reason.text) for reason in face.reasons),
        seconds=_seconds(face, axis),
    )


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


def _scene(report: Report) -> SceneView | None:
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


def _picture_size(video: Mapping[str, Any]) -> tuple[int, int] | None:
    width, height = _number(video, "width"), _number(video, "height")
    if width is None or height is None or width < 1 or height < 1:
        return None
    return int(width), int(height)


def _number(facts: Mapping[str, Any], key: str) -> float | None:
    """A fact that may be absent or not a number: metadata of strangers."""
    value = facts.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _rows(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """{"versions": {"torch": "2.13"}, "rotation": 0} -> ("versions: torch", "2.13"), ..."""
    for key, value in facts.items():
        name = prefix + shown(key).replace("_", " ")
        if isinstance(value, Mapping):
            yield from _rows(value, prefix=f"{name}: ")
        elif value is None:
            yield name, "not known"
        elif isinstance(value, list | tuple):
            yield name, shown(json.dumps(value, ensure_ascii=False, default=str))
        else:
            yield name, shown(value)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("fakestormer", "explain"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["shown"] = shown
    environment.filters["csp_hash"] = _csp_hash
    return environment


def _csp_hash(script: str) -> str:
    """What a content security policy calls an inline script that it allows."""
    digest = hashlib.sha256(str(script).encode("utf-8")).digest()
    return "sha256-" + base64.b64encode(digest).decode("ascii")
