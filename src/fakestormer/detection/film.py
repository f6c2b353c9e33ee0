"""The video of a report with everything drawn into it: boxes, numbers, scores, the heat map of h.

Detection scores a few clips of a video; a film wants every frame. So each face is scored once more,
in clips that overlap by one frame, because a clip's first frame has no change to show. Of a frame
only what is drawn is kept, a few at a time. The film has no sound.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from fakestormer.detection.prediction import network_input
from fakestormer.detection.printable import face_name, page_name
from fakestormer.drawing.drawing import RGB, draw_face, heat_scale, made_smaller, write_text
from fakestormer.drawing.timeline import time_code
from fakestormer.errors import OutputError
from fakestormer.faces.crop import crop
from fakestormer.files import PARTIAL
from fakestormer.model.network import VideoNetwork
from fakestormer.recipe.faces import CropConfig
from fakestormer.recipe.prediction import REFERENCE_SIDE, PredictionConfig
from fakestormer.types import FaceReport, Report, Scene
from fakestormer.video.decode import Frame, FrameReader, stream_frames
from fakestormer.video.encode import write_frames

_LONGEST_SIDE = 1280
_SCENE_SIDE = 640
_CRF = 20
_CLIPS_AT_ONCE = 8


@dataclass(slots=True)
class _Seen:
    """A face in one frame: its square, its crop, and the network's scores once they are known."""

    square: tuple[float, float, float]
    crop: RGB
    score: float | None = None
    frame_score: float | None = None
    change_gg: torch.Tensor | None = None


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
    """The frame in which the face's highest-scoring clip changes most; its first where none does.

    Raises InputError when the video ends before it.
    """
    prediction = face.prediction
    c = int(prediction.clip_probabilities.argmax())
    t = 0
    if prediction.derivative is not None and prediction.derivative.shape[1] > 1:
        t = 1 + int(torch.nan_to_num(prediction.derivative[c, 1:]).amax(dim=(1, 2)).argmax())
    index = int(prediction.indices[c, t])
    with reader:
        ((_, _, rgb_hwc),) = reader.at([index])
    small, scale = made_smaller(rgb_hwc, _SCENE_SIDE)
    picture = rearrange(torch.from_numpy(small), "h w c -> c h w").contiguous()
    return Scene(picture=picture, scale=scale, clip=c, frame=t)


def write_overlay(
    report: Report,
    folder: Path,
    network: VideoNetwork,
    prediction: PredictionConfig,
    config: CropConfig,
) -> Path:
    """Draw `report` into its video, at most 1280 pixels on the longer side; returns the film.

    Raises InputError when the video cannot be read any more, OutputError when the film cannot be
    written.
    """
    target = folder / film_name(report.path, report.sha256)
    partial = target.with_name(f".{secrets.token_hex(8)}{PARTIAL}")
    drawn = _drawn(report, network, prediction, config)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            write_frames(partial, drawn, crf=_CRF)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"{folder}: the overlay cannot be written there ({error.strerror}); "
            "choose a folder you may write to, with room on its disk"
        ) from error
    return target


def _drawn(
    report: Report, network: VideoNetwork, prediction: PredictionConfig, config: CropConfig
) -> Iterator[Frame]:
    margin = 1 - 2 * prediction.margin / REFERENCE_SIDE
    heat_scales = [heat_scale(face) for face in report.faces]
    length = network.config.frames
    frames = _kept_frames(report, config)
    last: list[_Kept] = []  # of the group before, for the change of this one's first frame
    while kept := list(itertools.islice(frames, _CLIPS_AT_ONCE * max(1, length - 1))):
        for place in sorted({place for one in kept for place in one.faces}):
            for run in _runs(last + kept, place):
                _score(run, network, prediction)
        for one in kept:
            index, seconds, picture = one.frame
            for place, seen in sorted(one.faces.items()):
                cx, cy, side = (value * one.scale for value in seen.square)
                half = side / 2 * margin
                draw_face(
                    picture,
                    report.faces[place],
                    face_name(report.faces[place].number),
                    [cx - half, cy - half, cx + half, cy + half],
                    score=seen.score,
                    frame_score=seen.frame_score,
                    change_gg=seen.change_gg,
                    heat_scale=heat_scales[place],
                )
            _caption(picture, report, seconds)
            yield index, seconds, picture
        last = kept[-1:]


def _kept_frames(report: Report, config: CropConfig) -> Iterator[_Kept]:
    # Of a film with thousands of faces only those on the screen are looked at for each frame.
    ahead = [
        (face.first_frame, k) for k, face in enumerate(report.faces) if face.squares is not None
    ]
    ahead.sort(reverse=True)
    visible: list[tuple[int, Tensor]] = []  # place of the face, its squares
    for index, seconds, rgb_hwc in stream_frames(
        report.path,
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


@torch.inference_mode()
def _score(run: list[_Seen], network: VideoNetwork, prediction: PredictionConfig) -> None:
    """Write into each face the scores of a clip that ends with it or continues after it.

    Clips overlap by a frame; the last begins earlier, or repeats the last frame of a short run.
    """
    length = network.config.frames
    starts = list(range(0, max(1, len(run) - length + 1), max(1, length - 1)))
    if starts[-1] + length < len(run):
        starts.append(len(run) - length)
    places = [[min(s + t, len(run) - 1) for t in range(length)] for s in starts]
    crops = np.stack([np.stack([run[k].crop for k in row]) for row in places])
    stored = rearrange(torch.from_numpy(crops), "b t h w c -> b t c h w")
    device = next(network.parameters()).device
    seen = network_input(stored, margin=prediction.margin, size=network.config.image_size)
    outputs = network(seen.to(device))
    scores = outputs.logit.float().sigmoid().cpu().tolist()
    for row, places_t in enumerate(places):
        for t, k in enumerate(places_t):
            if run[k].change_gg is not None or (t and places_t[t - 1] == k):
                continue
            run[k].score = scores[row]
            if outputs.frame_logits is not None:
                run[k].frame_score = float(outputs.frame_logits[row, t].float().sigmoid())
            if outputs.derivative is not None and t:
                run[k].change_gg = outputs.derivative[row, t].float().cpu()


def _caption(picture: RGB, report: Report, seconds: float) -> None:
    score = "" if report.probability is None else f" {report.probability:.2f}"
    text = f"{time_code(seconds)}   video: {report.verdict}{score}"
    write_text(picture, text, 0, picture.shape[0], (235, 238, 240), -1)
