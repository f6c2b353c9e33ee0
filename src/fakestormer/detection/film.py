"""What a report shows of its video: the still and the loop of a moment, and the whole as a film.

The film has boxes, names and the map of f's evidence drawn in, and the numbers in a bar below the
picture, where they cover nothing. Detection scores a few clips of a video; a film wants every
frame. So each face is scored once more, in every second clip: each frame is decoded once, and of a
frame only what is drawn is kept, a few at a time. The film has no sound.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from einops import rearrange

from fakestormer.detection.moment import MAP_SIDE, face_mask, smoothed
from fakestormer.detection.prediction import calibrated, network_input, sigmoid
from fakestormer.detection.printable import face_name, page_name
from fakestormer.drawing.drawing import COLOURS, RGB, FaceLook, draw_face, made_smaller, with_bar
from fakestormer.drawing.overlays import evidence_scale
from fakestormer.drawing.timeline import time_code
from fakestormer.errors import OutputError
from fakestormer.faces.crop import crop
from fakestormer.files import replacing, writing
from fakestormer.recipe.faces import CropConfig
from fakestormer.recipe.prediction import REFERENCE_SIDE, PredictionConfig
from fakestormer.runtimes.engine import Engine
from fakestormer.types import FaceReport, Report, Scene
from fakestormer.types.arrays import Floats
from fakestormer.video.decode import Frame, FrameReader, stream_frames
from fakestormer.video.encode import write_frames

_LONGEST_SIDE = 1280
#: Of the still: larger videos are made smaller.
_SCENE_SIDE = 3840
#: Of the loop: pixels, half of its seconds, frames per second at most.
_LOOP_SIDE, _LOOP_REACH, _LOOP_RATE = 400, 1.0, 26.0
#: x264's preset: a quarter of the time of "medium", and no difference that a viewer would see.
_PRESET = "veryfast"
_CRF = 20
_LOOP_CRF = 26
_CLIPS_AT_ONCE = 4


@dataclass(slots=True)
class _Seen:
    """A face in one frame: its square, its crop, and what is drawn once it is known."""

    square: tuple[float, float, float]
    crop: RGB
    probability: float | None = None
    evidence_gg: Floats | None = None


@dataclass(slots=True)
class _Kept:
    """A frame that waits to be drawn into, made smaller by `scale`, with its faces by place."""

    frame: Frame
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
        write_frames(path, frames, crf=_LOOP_CRF, preset=_PRESET)
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
    drawn = _drawn(report, engine, prediction, _kept_frames(report, config, video))
    with writing(target, OutputError), replacing(target) as partial:
        write_frames(partial, drawn, crf=_CRF, preset=_PRESET)
    return target


def _drawn(
    report: Report, engine: Engine, prediction: PredictionConfig, frames: Iterator[_Kept]
) -> Iterator[Frame]:
    margin = 1 - 2 * prediction.margin / REFERENCE_SIDE
    looks = [_look(face, report) for face in report.faces]
    while kept := list(itertools.islice(frames, _CLIPS_AT_ONCE * 2 * engine.config.frames)):
        for place in sorted({place for one in kept for place in one.faces}):
            for run in _runs(kept, place):
                _score(run, engine, prediction)
        for one in kept:
            index, seconds, picture = one.frame
            numbers = []
            for place, seen in sorted(one.faces.items()):
                cx, cy, side = (value * one.scale for value in seen.square)
                half = side / 2 * margin
                box = [cx - half, cy - half, cx + half, cy + half]
                draw_face(picture, looks[place], box, evidence_gg=seen.evidence_gg)
                numbers.append(f"{looks[place].name} {seen.probability:.2f}")
            yield index, seconds, with_bar(picture, _caption(report, seconds), numbers)


def _look(face: FaceReport, report: Report) -> FaceLook:
    """How a face is drawn in every frame: all faces by the scale of the one that decides."""
    of = report.decisive or face
    evidence = (
        face.prediction.evidence if of.prediction.evidence is None else of.prediction.evidence
    )
    mask_ss = np.ones((MAP_SIDE, MAP_SIDE), bool)
    if face.landmarks is not None:
        mask_ss = face_mask(face.landmarks.mean(axis=(0, 1)), MAP_SIDE)
    return FaceLook(
        name=face_name(face.number),
        colour=COLOURS[face.verdict],
        scale=1.0
        if evidence is None
        else evidence_scale(np.stack([smoothed(maps_tgg) for maps_tgg in evidence])),
        mask_ss=mask_ss,
    )


def _kept_frames(report: Report, config: CropConfig, video: str | Path) -> Iterator[_Kept]:
    # Of a film with thousands of faces only those on the screen are looked at for each frame.
    ahead = [
        (face.first_frame, k) for k, face in enumerate(report.faces) if face.squares is not None
    ]
    ahead.sort(reverse=True)
    visible: list[tuple[int, Floats]] = []  # place of the face, its squares
    for index, seconds, rgb_hwc in stream_frames(
        video,
        stream_number=report.settings.get("stream"),
        turned=report.video["turned"],
    ):
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
        small, scale = made_smaller(rgb_hwc, _LONGEST_SIDE)
        kept = _Kept((index, seconds, small), scale)
        for place, squares_n3 in visible:
            cx, cy, side = squares_n3[index - report.faces[place].first_frame].tolist()
            shown = crop(rgb_hwc, (cx, cy, side), config.stored_size)
            kept.faces[place] = _Seen((cx, cy, side), shown)
        yield kept


def _runs(frames: list[_Kept], place: int) -> list[list[_Seen]]:
    """The frames that show a face, in runs without a gap."""
    grouped = itertools.groupby(frames, key=lambda kept: place in kept.faces)
    return [[kept.faces[place] for kept in run] for is_visible, run in grouped if is_visible]


def _score(run: list[_Seen], engine: Engine, prediction: PredictionConfig) -> None:
    """Write into each face the probability of its clip, and the evidence in its frame.

    Every second clip is scored, and its last frame stands for the next one too: maps and numbers
    change as fast as an eye follows, for half of the time. A run that is too short for a clip
    repeats its last frame.
    """
    length = engine.config.frames
    starts = range(0, len(run), 2 * length)
    places = [[min(s + t, len(run) - 1) for t in range(length)] for s in starts]
    crops = np.stack([np.stack([run[k].crop for k in row]) for row in places])
    stored = rearrange(crops, "b t h w c -> b t c h w")
    seen = network_input(stored, margin=prediction.margin, size=engine.config.image_size)
    explained = [engine.explain(batch) for batch in engine.batches(seen)]
    logits = np.concatenate([logits_b for logits_b, _ in explained])
    probabilities = calibrated(sigmoid(logits), prediction).tolist()
    maps_btgg = [smoothed(maps_tgg) for _, maps_btgg in explained for maps_tgg in maps_btgg]
    for k, face in enumerate(run):
        row, t = divmod(k, 2 * length)
        face.probability = probabilities[row]
        face.evidence_gg = maps_btgg[row][min(t, length - 1)]


def _caption(report: Report, seconds: float) -> str:
    score = "" if report.probability is None else f" {report.probability:.2f}"
    return f"{time_code(seconds)}   video: {report.verdict}{score}"
