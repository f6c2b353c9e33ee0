"""What a report shows of its video: the still and the loop of a moment, and the whole as a film.

The film has boxes, names and the map of f's evidence drawn in, and the numbers in a bar below the
picture, where they cover nothing. Detection scores a few clips of a video; a film wants every
frame. So each face is scored once more, in a clip every 0.4 seconds: each frame is decoded once,
and a few at a time are kept as the film will have them. The next ones are decoded and scored while
those are drawn into and compressed. The film has no sound.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from einops import rearrange

from fakestormer.detection.moment import MAP_SIDE, face_mask, map_scale, smoothed
from fakestormer.detection.prediction import calibrated, network_input, sigmoid
from fakestormer.detection.printable import face_name, page_name
from fakestormer.drawing.drawing import (
    BAR_HEIGHT,
    COLOURS,
    RGB,
    FaceLook,
    bar,
    draw_face,
    drawn_area,
    made_smaller,
)
from fakestormer.drawing.timeline import time_code
from fakestormer.errors import OutputError
from fakestormer.faces.crop import crop
from fakestormer.files import replacing, writing
from fakestormer.recipe.faces import CropConfig
from fakestormer.recipe.prediction import REFERENCE_SIDE, PredictionConfig
from fakestormer.runtimes.engine import Engine
from fakestormer.types import FaceReport, Report, Scene
from fakestormer.types.arrays import Floats
from fakestormer.video.colour import turn_clockwise
from fakestormer.video.decode import Frame, FrameReader, stored_frames
from fakestormer.video.encode import write_frames
from fakestormer.video.planes import ToPlanes, put_rgb, rgb_of

_LONGEST_SIDE = 1280
#: Of the still: larger videos are made smaller.
_SCENE_SIDE = 3840
#: Of the loop: pixels, half of its seconds, frames per second at most.
_LOOP_SIDE, _LOOP_REACH, _LOOP_RATE = 400, 1.0, 26.0
_CRF, _LOOP_CRF = 20, 26
#: Seconds from a scored clip to the next, and the rate at most that is believed for them.
_CLIP_EVERY, _HIGHEST_RATE = 0.4, 60.0


@dataclass(slots=True)
class _Seen:
    """A face in one frame: its square, its crop where that is scored, and what is drawn."""

    square: tuple[float, float, float]
    crop: RGB | None
    probability: float | None = None
    evidence_gg: Floats | None = None


@dataclass(slots=True)
class _Kept:
    """A frame that waits to be drawn into, with its faces by place."""

    index: int
    seconds: float
    frame: av.VideoFrame
    scale: float
    faces: dict[int, _Seen] = field(default_factory=dict)


def film_name(path: str, sha256: str) -> str:
    """`page_name` with `.overlay.mp4` for `.html`."""
    return page_name(path, sha256).removesuffix(".html") + ".overlay.mp4"


def scene_of(reader: FrameReader, face: FaceReport) -> Scene:
    """The frame of the face's moment, and two seconds that show it.

    Without a moment, the first frame of its highest-scoring clip. Raises InputError when the video
    ends before it.
    """
    c, t = face.shown_frame
    index = int(face.prediction.indices[c, t])
    assert face.squares is not None, "a detected face has them"
    first, last = face.first_frame, face.first_frame + len(face.squares) - 1
    moment = float(face.prediction.pts_seconds[c, t])  # times of damaged files leap
    reach = round(_LOOP_REACH / max(_step(face), 1e-3))
    # Near an end of the film the moment is not in the middle.
    begin = max(first, min(index - reach, last - 2 * reach))
    near = range(begin, min(last, begin + 2 * reach) + 1)
    skip = max(1, round(1 / (_LOOP_RATE * max(_step(face), 1e-3))))
    side = min(_LOOP_SIDE, max(64, round(float(face.squares[index - first, 2]))))
    picture: RGB | None = None
    frames: list[Frame] = []
    with reader:
        for at, seconds, rgb_hwc in reader.at({*near[::skip], index}):
            if at in near[::skip] and abs(seconds - moment) <= 2 * _LOOP_REACH:
                frames.append((at, seconds, crop(rgb_hwc, face.squares[at - first], side)))
            if at == index:
                picture = rgb_hwc
    assert picture is not None, "it was asked for"
    small, scale = made_smaller(picture, _SCENE_SIDE)
    return Scene(
        picture=np.ascontiguousarray(rearrange(small, "h w c -> c h w")),
        scale=scale,
        clip=c,
        frame=t,
        loop=_encoded(frames) if len(frames) > 1 else None,
    )


def _step(face: FaceReport) -> float:
    """Seconds from a frame to the next, the median within clips; 0.04 where a clip has one."""
    seconds, frames = np.diff(face.prediction.pts_seconds), np.diff(face.prediction.indices)
    steps = seconds[frames > 0] / frames[frames > 0]
    return float(np.median(steps)) if steps.size else 0.04


def _encoded(frames: Sequence[Frame]) -> bytes:
    with tempfile.TemporaryDirectory(prefix="fakestormer-") as folder:
        path = Path(folder) / "loop.mp4"
        write_frames(path, frames, crf=_LOOP_CRF, fast=True)
        return path.read_bytes()


def write_overlay(
    report: Report,
    folder: Path,
    engine: Engine,
    prediction: PredictionConfig,
    config: CropConfig,
    *,
    video: str | Path,
) -> Path:
    """Draw `report` into its `video`, at most 1280 pixels on the longer side; returns the film.

    Raises InputError when the video cannot be read any more, OutputError when the film cannot be
    written.
    """
    target = folder / film_name(report.path, report.sha256)
    drawn = _drawn(report, prediction, _scored(report, engine, prediction, config, video))
    with writing(target, OutputError), replacing(target) as partial:
        write_frames(partial, drawn, crf=_CRF, fast=True)
    return target


def _drawn(
    report: Report, prediction: PredictionConfig, scored: Iterator[list[_Kept]]
) -> Iterator[tuple[int, float, av.VideoFrame]]:
    margin = 1 - 2 * prediction.margin / REFERENCE_SIDE
    looks = [_look(face, report) for face in report.faces]
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, scored, None)
        while (kept := coming.result()) is not None:
            coming = thread.submit(next, scored, None)
            for one in kept:
                size = one.frame.width, one.frame.height - BAR_HEIGHT
                numbers = []
                for place, seen in sorted(one.faces.items()):
                    cx, cy, side = (value * one.scale for value in seen.square)
                    half = side / 2 * margin
                    box = (cx - half, cy - half, cx + half, cy + half)
                    _draw(one.frame, looks[place], box, seen.evidence_gg, size)
                    numbers.append(f"{looks[place].name} {seen.probability:.2f}")
                below = (0, size[1], size[0], size[1] + BAR_HEIGHT)
                put_rgb(one.frame, below, bar(size[0], _caption(report, one.seconds), numbers))
                yield one.index, one.seconds, one.frame


def _draw(
    frame: av.VideoFrame,
    look: FaceLook,
    box: tuple[float, float, float, float],
    evidence_gg: Floats | None,
    size: tuple[int, int],
) -> None:
    left, top, right, bottom = area = drawn_area(look, box, size)
    if left >= right or top >= bottom:
        return
    picture = rgb_of(frame, area)
    within = (box[0] - left, box[1] - top, box[2] - left, box[3] - top)
    draw_face(picture, look, within, evidence_gg=evidence_gg, size=size)
    put_rgb(frame, area, picture)


def _look(face: FaceReport, report: Report) -> FaceLook:
    """How a face is drawn in every frame: all faces by the scale of the one that decides."""
    decisive = (report.decisive or face).prediction
    of = face.prediction if decisive.evidence is None else decisive
    mask_ss = np.ones((MAP_SIDE, MAP_SIDE), bool)
    if face.landmarks is not None:
        mask_ss = face_mask(face.landmarks.mean(axis=(0, 1)), MAP_SIDE)
    return FaceLook(
        name=face_name(face.number),
        colour=COLOURS[face.verdict],
        scale=1.0 if of.evidence is None else map_scale(of),
        mask_ss=mask_ss,
    )


def _scored(
    report: Report,
    engine: Engine,
    prediction: PredictionConfig,
    config: CropConfig,
    video: str | Path,
) -> Iterator[list[_Kept]]:
    """The frames of the video, as many at once as a clip stands for, with what is drawn."""
    length = engine.config.frames
    rate = min(_HIGHEST_RATE, report.video["frames_per_second"])
    period = max(length, round(_CLIP_EVERY * rate))
    with closing(_kept_frames(report, config, video, length, period)) as frames:
        while kept := list(itertools.islice(frames, period)):
            for place in sorted({place for one in kept for place in one.faces}):
                shown = [one.faces[place] for one in kept if place in one.faces]
                _score(shown, engine, prediction)
            yield kept


def _kept_frames(
    report: Report, config: CropConfig, video: str | Path, length: int, period: int
) -> Generator[_Kept, None, None]:
    # Of a film with thousands of faces only those on the screen are looked at for each frame.
    ahead = [
        (face.first_frame, k) for k, face in enumerate(report.faces) if face.squares is not None
    ]
    ahead.sort(reverse=True)
    visible: list[tuple[int, Floats]] = []  # place of the face, its squares
    turned = report.video["turned"]
    planes: ToPlanes | None = None
    stored = stored_frames(video, stream_number=report.settings.get("stream"))
    for index, seconds, frame, upright in stored:
        while ahead and ahead[-1][0] <= index:
            place = ahead.pop()[1]
            squares_n3 = report.faces[place].squares
            assert squares_n3 is not None, "chosen above"
            visible.append((place, squares_n3))
        visible = [
            (place, squares_n3)
            for place, squares_n3 in visible
            if index - report.faces[place].first_frame < len(squares_n3)
        ]
        planes = planes or ToPlanes(upright, turned=turned, longest=_LONGEST_SIDE, below=BAR_HEIGHT)
        kept = _Kept(index, seconds, planes(frame), planes.scale)
        rgb_hwc: RGB | None = None
        for place, squares_n3 in visible:
            since = index - report.faces[place].first_frame
            cx, cy, side = squares_n3[since].tolist()
            shown: RGB | None = None
            if min(since, index % period) < length:
                if rgb_hwc is None:
                    rgb_hwc = turn_clockwise(upright(frame), turned)
                shown = crop(rgb_hwc, (cx, cy, side), config.stored_size)
            kept.faces[place] = _Seen((cx, cy, side), shown)
        yield kept


def _score(shown: list[_Seen], engine: Engine, prediction: PredictionConfig) -> None:
    """Write into a face in some frames the probability of its clip, and the evidence in each.

    The first few, a clip, are scored, and the last of these stands for the others: maps and numbers
    change as fast as an eye follows. Too few for a clip repeat their last one.
    """
    length = engine.config.frames
    crops = [face.crop for face in shown[:length] if face.crop is not None]
    crops += crops[-1:] * (length - len(crops))
    stored = rearrange(crops, "t h w c -> 1 t c h w")
    seen = network_input(stored, margin=prediction.margin, size=engine.config.image_size)
    logits, maps_btgg = engine.explain(seen)
    (probability,) = calibrated(sigmoid(logits), prediction).tolist()
    maps_tgg = smoothed(maps_btgg[0])
    for t, face in enumerate(shown):
        face.probability = probability
        face.evidence_gg = maps_tgg[min(t, length - 1)]


def _caption(report: Report, seconds: float) -> str:
    score = "" if report.probability is None else f" {report.probability:.2f}"
    return f"{time_code(seconds)}   video: {report.verdict}{score}"
