"""Drawing faces into frames: box, name, the map of f's evidence; numbers in a bar below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from fakestormer.drawing import overlays
from fakestormer.types import Verdict
from fakestormer.types.arrays import Flags, Floats, Pixels

RGB = Pixels

Ink = tuple[int, int, int]

#: Of boxes and names over pictures, by verdict.
COLOURS: dict[Verdict, Ink] = {
    "likely fake": (255, 120, 84),
    "no manipulation found": (120, 190, 255),
    "inconclusive": (240, 200, 90),
}
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_DARK, _LIGHT = (16, 18, 20), (235, 238, 240)
_LINE = 26
BAR_HEIGHT = 2 * _LINE
"""All frames of a film have one size: two lines, whatever there is to say."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FaceLook:
    """What is drawn of a face in every frame: name, colour; the map's scale, and its mask, bool
    (S, S), the face within the box."""

    name: str
    colour: Ink
    scale: float
    mask_ss: Flags


def drawn_area(
    look: FaceLook, box: Sequence[float], size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """What `draw_face` may change: left, top, right, bottom, all even, within the picture.

    size: width and height of the picture, even. Nothing is left of a face outside it.
    """
    width, height = size
    x0, y0, x1, y1 = (round(value) for value in box)
    line = _thickness(size) + 4
    wide, tall, _ = _name_size(look.name, size)
    left, right = min(x0, width - wide) - line, max(x1, max(x0, 0) + wide) + line
    top, bottom = y0 - tall - line, y1 + tall + line
    return (
        max(0, left) // 2 * 2,
        max(0, top) // 2 * 2,
        (min(width, right) + 1) // 2 * 2,
        (min(height, bottom) + 1) // 2 * 2,
    )


def draw_face(
    picture: RGB,
    look: FaceLook,
    box: Sequence[float],
    *,
    evidence_gg: Floats | None,
    size: tuple[int, int],
) -> None:
    """Draw one face into a picture or its `drawn_area`, in place.

    box: x0, y0, x1, y1 of what the network saw, from the corner of what is drawn into. size: width
    and height of the whole picture.
    """
    height, width = picture.shape[:2]
    x0, y0, x1, y1 = (round(value) for value in box)
    side = x1 - x0
    left, top = max(0, x0), max(0, y0)
    right, bottom = min(width, x0 + side), min(height, y0 + side)
    if evidence_gg is not None and side > 1 and left < right and top < bottom:
        small = overlays.evidence_layer(evidence_gg[None], look.mask_ss[None], scale=look.scale)[0]
        layer = cv2.resize(small, (side, side), interpolation=cv2.INTER_LINEAR)
        under = picture[top:bottom, left:right]
        seen = layer[top - y0 : bottom - y0, left - x0 : right - x0]
        under[:] = laid_over(under, np.asarray(seen, np.uint8))
    thick = _thickness(size)
    cv2.rectangle(picture, (x0, y0), (x1, y1), _DARK, thick + 2, cv2.LINE_AA)
    cv2.rectangle(picture, (x0, y0), (x1, y1), look.colour, thick, cv2.LINE_AA)
    _write_beside(picture, look.name, (x0, y0, x1, y1), look.colour, size)


def laid_over(picture: RGB, layer: RGB) -> RGB:
    """A picture with a layer, RGBA, over it; the layer is stretched to it."""
    height, width = picture.shape[:2]
    seen = cv2.resize(layer, (width, height), interpolation=cv2.INTER_LINEAR)
    alpha = cv2.extractChannel(seen, 3) * np.float32(1 / 255)
    colours = cv2.cvtColor(seen, cv2.COLOR_RGBA2RGB)
    return np.asarray(cv2.blendLinear(picture, colours, 1 - alpha, alpha), np.uint8)


def bar(width: int, caption: str, numbers: Sequence[str]) -> RGB:
    """What stands below a picture: the caption, and the numbers as far as there is room."""
    size = max(0.4, min(0.55, width / 1000))
    lines, line = [], caption
    for text in numbers:
        longer = f"{line}   {text}"
        if cv2.getTextSize(longer, _FONT, size, 1)[0][0] <= width - 12:
            line = longer
            continue
        lines.append(line)
        line = text
    lines.append(line)
    ground = np.zeros((BAR_HEIGHT, width, 3), np.uint8)
    cv2.rectangle(ground, (0, 0), (width, BAR_HEIGHT), _DARK, -1)
    for number, text in enumerate(lines[:2]):
        at = (6, number * _LINE + 18)
        cv2.putText(ground, text, at, _FONT, size, _LIGHT, 1, cv2.LINE_AA)
    return ground


def _thickness(size: tuple[int, int]) -> int:
    return max(1, round(max(size) / 500))


def _name_size(text: str, size: tuple[int, int]) -> tuple[int, int, float]:
    """Width and height of a name with its ground, and the scale of its letters."""
    scale = max(0.4, max(size) / 1600)
    (width, height), base = cv2.getTextSize(text, _FONT, scale, 1)
    return width + 8, height + base + 4, scale


def _write_beside(
    picture: RGB, text: str, box: tuple[int, int, int, int], ink: Ink, size: tuple[int, int]
) -> None:
    """On a dark ground above the box, or below it, or in its corner, where there is room."""
    x0, y0, _, y1 = box
    wide, tall, scale = _name_size(text, size)
    top = y0 - tall if y0 >= tall else y1 if y1 + tall <= picture.shape[0] else max(0, y0)
    left = min(max(x0, 0), max(0, picture.shape[1] - wide))
    cv2.rectangle(picture, (left, top), (left + wide, top + tall), _DARK, -1)
    (_, height), _ = cv2.getTextSize(text, _FONT, scale, 1)
    cv2.putText(picture, text, (left + 4, top + height + 2), _FONT, scale, ink, 1, cv2.LINE_AA)


def made_smaller(rgb_hwc: RGB, longest: int) -> tuple[RGB, float]:
    """A copy with at most `longest` pixels on the longer side, and its pixels per source pixel."""
    height, width = rgb_hwc.shape[:2]
    scale = min(1.0, longest / max(height, width))
    if scale == 1.0:
        return rgb_hwc.copy(), 1.0
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(rgb_hwc, size, interpolation=cv2.INTER_AREA), np.uint8), scale
