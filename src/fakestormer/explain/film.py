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

import cv2
import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray

from fakestormer.errors import InputError
from fakestormer.explain import overlays
from fakestormer.explain.report import face_name, page_name
from fakestormer.explain.timeline import time_code
from fakestormer.files import PARTIAL
from fakestormer.model.network import VideoNetwork
from fakestormer.prediction import REFERENCE_SIDE, PredictionConfig, network_input
from fakestormer.types import FaceReport, Report, Scene, Verdict
from fakestormer.video.crop import CropConfig, crop
from fakestormer.video.decode import Frame, stream_frames, stream_frames_at
from fakestormer.video.encode import write_frames

RGB = NDArray[np.uint8]

_LONGEST_SIDE = 1280
_SCENE_SIDE = 640
_CRF = 20
_CLIPS_AT_ONCE = 8
_COLOURS: dict[Verdict, tuple[int, int, int]] = {
    "likely fake": (255, 120, 84),
    "no manipulation found": (120, 190, 255),
    "inconclusive": (240, 200, 90),
}
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_DARK = (16, 18, 20)


@dataclass(slots=True)
class _Seen:
    """A face in one frame: its square, its crop, and what the network said, once it did."""

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


def scene_of(file: Path, face: FaceReport) -> Scene:
    """The frame in which the face's highest-scoring clip changes most; its first where none does.

    Raises InputError when the video ends before it.
    """
    prediction = face.prediction
    c = int(prediction.clip_probabilities.argmax())
    t = 0
    if prediction.derivative is not None and prediction.derivative.shape[1] > 1:
        t = 1 + int(torch.nan_to_num(prediction.derivative[c, 1:]).amax(dim=(1, 2)).argmax())
    ((_, _, rgb_hwc),) = stream_frames_at(file, [int(prediction.indices[c, t])])
    small, scale = _smaller(rgb_hwc, _SCENE_SIDE)
    picture = rearrange(torch.from_numpy(small), "h w c -> c h w").contiguous()
    return Scene(picture=picture, scale=scale, clip=c, frame=t)


def drawn_scene(report: Report) -> RGB | None:
    """The report's scene with its face drawn into it: box, number, scores, heat map."""
    scene, face = report.scene, report.decisive
    if scene is None or face is None:
        return None
    picture = rearrange(scene.picture, "c h w -> h w c").contiguous().numpy().copy()
    prediction = face.prediction
    change_gg, frame_score = None, None
    if prediction.derivative is not None and scene.frame:
        change_gg = prediction.derivative[scene.clip, scene.frame]
    if prediction.frame_scores is not None:
        frame_score = float(prediction.frame_scores[scene.clip, scene.frame])
    _draw(
        picture,
        face,
        (face.boxes[scene.clip, scene.frame] * scene.scale).tolist(),
        score=float(prediction.clip_probabilities[scene.clip]),
        frame_score=frame_score,
        change_gg=change_gg,
        heat_scale=_heat_scale(face),
    )
    return picture


def write_overlay(
    report: Report,
    folder: Path,
    network: VideoNetwork,
    prediction: PredictionConfig,
    config: CropConfig,
) -> Path:
    """Draw `report` into its video, at most 1280 pixels on the longer side; returns the film.

    Raises InputError when the video has no frame any more or the film cannot be written.
    """
    target = folder / film_name(report.path, report.sha256)
    partial = target.with_name(f".{secrets.token_hex(8)}{PARTIAL}")
    drawn = _drawn(report, network, prediction, config)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_frames(partial, drawn, crf=_CRF)
        partial.replace(target)
    except OSError as error:
        raise InputError(
            f"{folder}: the overlay cannot be written there ({error.strerror}); "
            "choose a folder you may write to, with room on its disk"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return target


def _drawn(
    report: Report, network: VideoNetwork, prediction: PredictionConfig, config: CropConfig
) -> Iterator[Frame]:
    margin = 1 - 2 * prediction.margin / REFERENCE_SIDE
    heat_scales = [_heat_scale(face) for face in report.faces]
    length = network.config.frames
    frames = (_keep(frame, report, config) for frame in stream_frames(report.path))
    last: list[_Kept] = []  # of the group before, for the change of this one's first frame
    while kept := list(itertools.islice(frames, _CLIPS_AT_ONCE * max(1, length - 1))):
        for place in range(len(report.faces)):
            for run in _runs(last + kept, place):
                _score(run, network, prediction)
        for one in kept:
            index, seconds, picture = one.frame
            for place, seen in sorted(one.faces.items()):
                cx, cy, side = (value * one.scale for value in seen.square)
                half = side / 2 * margin
                _draw(
                    picture,
                    report.faces[place],
                    [cx - half, cy - half, cx + half, cy + half],
                    score=seen.score,
                    frame_score=seen.frame_score,
                    change_gg=seen.change_gg,
                    heat_scale=heat_scales[place],
                )
            _caption(picture, report, seconds)
            yield index, seconds, picture
        last = kept[-1:]


def _keep(frame: Frame, report: Report, config: CropConfig) -> _Kept:
    index, seconds, rgb_hwc = frame
    small, scale = _smaller(rgb_hwc, _LONGEST_SIDE)
    kept = _Kept((index, seconds, small), scale)
    for place, face in enumerate(report.faces):
        if face.squares is None or not 0 <= index - face.first_frame < len(face.squares):
            continue
        cx, cy, side = face.squares[index - face.first_frame].tolist()
        kept.faces[place] = _Seen((cx, cy, side), crop(rgb_hwc, (cx, cy, side), config.stored_size))
    return kept


def _runs(frames: list[_Kept], place: int) -> list[list[_Seen]]:
    """The frames that show a face, in runs without a gap."""
    grouped = itertools.groupby(frames, key=lambda kept: place in kept.faces)
    return [[kept.faces[place] for kept in run] for there, run in grouped if there]


@torch.inference_mode()
def _score(run: list[_Seen], network: VideoNetwork, prediction: PredictionConfig) -> None:
    """Write into each face what the network says of a clip that ends with it or goes on after it.

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


def _heat_scale(face: FaceReport) -> float:
    change_ctgg = face.prediction.derivative
    return overlays.SCALE_FLOOR if change_ctgg is None else overlays.display_scale(change_ctgg)


def _draw(
    picture: RGB,
    face: FaceReport,
    box: list[float],
    *,
    score: float | None,
    frame_score: float | None,
    change_gg: torch.Tensor | None,
    heat_scale: float,
) -> None:
    """Draw one face into a picture, in place."""
    height, width = picture.shape[:2]
    x0, y0, x1, y1 = (round(value) for value in box)
    if change_gg is not None and x1 - x0 > 1:
        side = x1 - x0
        still = torch.zeros_like(change_gg)
        layer = overlays.heat_layer(torch.stack([still, change_gg]), scale=heat_scale, size=side)[1]
        left, top = max(0, x0), max(0, y0)
        right, bottom = min(width, x0 + side), min(height, y0 + side)
        if left < right and top < bottom:
            seen = layer[top - y0 : bottom - y0, left - x0 : right - x0].astype(np.float32)
            alpha = seen[..., 3:] / 255.0
            under = picture[top:bottom, left:right]
            under[:] = np.rint((1 - alpha) * under + alpha * seen[..., :3]).astype(np.uint8)
    colour = _COLOURS[face.verdict]
    thick = max(1, round(max(height, width) / 500))
    cv2.rectangle(picture, (x0, y0), (x1, y1), _DARK, thick + 2, cv2.LINE_AA)
    cv2.rectangle(picture, (x0, y0), (x1, y1), colour, thick, cv2.LINE_AA)
    _text(
        picture, f"{face_name(face.number)}: {face.prediction.probability:.2f}", x0, y0, colour, -1
    )
    now = "" if score is None else f"clip {score:.2f}"
    if frame_score is not None:
        now += f"  frame {frame_score:.2f}"
    if now:
        _text(picture, now, x0, y1, colour, 1)


def _caption(picture: RGB, report: Report, seconds: float) -> None:
    score = "" if report.probability is None else f" {report.probability:.2f}"
    text = f"{time_code(seconds)}   video: {report.verdict}{score}"
    _text(picture, text, 0, picture.shape[0], (235, 238, 240), -1)


def _text(picture: RGB, text: str, x: int, y: int, ink: tuple[int, int, int], side: int) -> None:
    """On a dark ground, above (-1) or below (1) the line y, moved to where it can be read."""
    size = max(0.4, max(picture.shape[:2]) / 1600)
    (width, height), base = cv2.getTextSize(text, _FONT, size, 1)
    tall = height + base + 4
    top = y - tall if side < 0 else y
    top = min(max(top, 0), max(0, picture.shape[0] - tall))
    left = min(max(x, 0), max(0, picture.shape[1] - width - 8))
    cv2.rectangle(picture, (left, top), (left + width + 8, top + tall), _DARK, -1)
    at = (left + 4, top + height + 2)
    cv2.putText(picture, text, at, _FONT, size, ink, 1, cv2.LINE_AA)


def _smaller(rgb_hwc: RGB, longest: int) -> tuple[RGB, float]:
    """A copy with at most `longest` pixels on the longer side, and how many times as large it is."""
    height, width = rgb_hwc.shape[:2]
    scale = min(1.0, longest / max(height, width))
    if scale == 1.0:
        return rgb_hwc.copy(), 1.0
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(rgb_hwc, size, interpolation=cv2.INTER_AREA), np.uint8), scale
