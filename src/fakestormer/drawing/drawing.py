"""Drawing faces into whole frames: box, number, scores, and the heat map of h over the face."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray

from fakestormer.drawing import overlays
from fakestormer.types import FaceReport, Report, Verdict

RGB = NDArray[np.uint8]

Ink = tuple[int, int, int]

_COLOURS: dict[Verdict, Ink] = {
    "likely fake": (255, 120, 84),
    "no manipulation found": (120, 190, 255),
    "inconclusive": (240, 200, 90),
}
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_DARK = (16, 18, 20)


def drawn_scene(report: Report, name: str) -> RGB | None:
    """The report's scene with its face drawn into it, called `name`; None without either."""
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
    draw_face(
        picture,
        face,
        name,
        (face.boxes[scene.clip, scene.frame] * scene.scale).tolist(),
        score=float(prediction.clip_probabilities[scene.clip]),
        frame_score=frame_score,
        change_gg=change_gg,
        heat_scale=heat_scale(face),
    )
    return picture


def heat_scale(face: FaceReport) -> float:
    change_ctgg = face.prediction.derivative
    return overlays.SCALE_FLOOR if change_ctgg is None else overlays.display_scale(change_ctgg)


def draw_face(
    picture: RGB,
    face: FaceReport,
    name: str,
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
    write_text(picture, f"{name}: {face.prediction.probability:.2f}", x0, y0, colour, -1)
    now = "" if score is None else f"clip {score:.2f}"
    if frame_score is not None:
        now += f"  frame {frame_score:.2f}"
    if now:
        write_text(picture, now, x0, y1, colour, 1)


def write_text(picture: RGB, text: str, x: int, y: int, ink: Ink, side: int) -> None:
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


def made_smaller(rgb_hwc: RGB, longest: int) -> tuple[RGB, float]:
    """A copy with at most `longest` pixels on the longer side, and its pixels per source pixel."""
    height, width = rgb_hwc.shape[:2]
    scale = min(1.0, longest / max(height, width))
    if scale == 1.0:
        return rgb_hwc.copy(), 1.0
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(rgb_hwc, size, interpolation=cv2.INTER_AREA), np.uint8), scale
