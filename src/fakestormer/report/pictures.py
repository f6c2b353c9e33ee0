"""The pictures of a report as data URLs, small enough that the page stays below its limit.

A frame and its heat map are two pictures, laid over each other by the page: the heat map can then
be taken off, faded, or shown beside the frame.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from einops import rearrange
from torch import Tensor

from fakestormer.drawing import overlays
from fakestormer.drawing.overlays import Pixels
from fakestormer.types import FaceReport

PAGE_BUDGET, PAGE_PER_FRAME, PAGE_PER_ROW = 4_700_000, 900, 400
"""Characters of a page below 5 MB, of what the page says about a frame besides its picture, and of
a face's row in the table of faces."""

_FOR_FRAMES = 0.5
"""The share of the page that text about frames may take; the rest is for pictures."""

QUALITIES = ((224, 85), (224, 70), (160, 70), (128, 60), (96, 50))
"""(side in pixels, WebP quality), tried in this order until the pictures fit."""

LAYER_SIDE, LAYER_QUALITY = 112, 80
THUMBNAIL_SIDE = 96


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A frame and the heat map to lay over it: none for a clip's first frame, or without h."""

    frame: str
    layer: str | None


ClipPictures = tuple[Picture, ...]
Album = dict[tuple[int, int], ClipPictures]
"""By place of the face among those given and of the clip in the face; clips left out are absent."""


def shown_in_detail(faces: Sequence[FaceReport], decisive: int | None) -> list[int]:
    """Places of the faces that a page shows with all their clips: those with pictures, and as many
    as its text has room for. decisive: the number of a face that is always among them.

    The page lists the others. Likely fake ones come first, then those with high scores.
    """
    pictured = [place for place, face in enumerate(faces) if face.crops is not None]
    first_is = {
        place: (
            faces[place].number == decisive,
            faces[place].verdict == "likely fake",
            faces[place].prediction.score,
        )
        for place in pictured
    }
    room = _FOR_FRAMES * (PAGE_BUDGET - PAGE_PER_ROW * len(faces))
    shown: list[int] = []
    for place in sorted(pictured, key=first_is.__getitem__, reverse=True):
        room -= PAGE_PER_FRAME * faces[place].prediction.indices.numel()
        if room < 0 and shown:
            break
        shown.append(place)
    return sorted(shown)


def room_for_pictures(faces: Sequence[FaceReport]) -> int:
    """Characters that the pictures of a page may take together."""
    frames = sum(face.prediction.indices.numel() for face in faces)
    return max(0, PAGE_BUDGET - PAGE_PER_FRAME * frames)


def album(faces: Sequence[FaceReport], *, budget: int) -> Album:
    """All pictures of these faces, at the best quality that fits into `budget` characters.

    When the smallest pictures are still too many, each face keeps those of its highest-scoring
    clips only: half of them, a quarter, ...
    """
    most = max((len(face.prediction.clip_probabilities) for face in faces), default=0)
    steps = [(side, quality, most) for side, quality in QUALITIES]
    while steps and steps[-1][2] > 0:
        side, quality, clips = steps[-1]
        steps.append((side, quality, clips // 2))
    for side, quality, clips in steps:
        pictures: Album = {}
        size = 0
        for place, clip_pictures in _pictures(faces, side=side, quality=quality, clips=clips):
            pictures[place] = clip_pictures
            size += sum(len(p.frame) + len(p.layer or "") for p in clip_pictures)
            if size > budget:
                break
        if size <= budget:
            return pictures
    return {}


def thumbnail(face: FaceReport) -> str | None:
    """The first frame of the face's highest-scoring clip, small; None without pictures."""
    if face.crops is None or not len(face.crops):
        return None
    strongest = int(face.prediction.clip_probabilities.argmax())
    return picture_url(face.crops[strongest, 0], side=THUMBNAIL_SIDE, quality=80)


def _pictures(
    faces: Sequence[FaceReport], *, side: int, quality: int, clips: int
) -> Iterator[tuple[tuple[int, int], ClipPictures]]:
    for f, face in enumerate(faces):
        if face.crops is None:
            continue
        change_ctgg = face.prediction.derivative
        scale = None if change_ctgg is None else overlays.display_scale(change_ctgg)
        ranked = face.prediction.clip_probabilities.argsort(descending=True, stable=True)
        for c in sorted(ranked[:clips].tolist()):
            layers: list[str | None] = [None] * len(face.crops[c])
            if change_ctgg is not None and scale is not None:
                drawn = overlays.heat_layer(change_ctgg[c], scale=scale, size=min(LAYER_SIDE, side))
                layers[1:] = [_url(layer, quality=LAYER_QUALITY) for layer in drawn[1:]]
            yield (
                (f, c),
                tuple(
                    Picture(frame=picture_url(frame, side=side, quality=quality), layer=layer)
                    for frame, layer in zip(face.crops[c], layers, strict=True)
                ),
            )


def picture_url(frame_3hw: Tensor, *, side: int, quality: int) -> str:
    """uint8 (3, H, W) as a WebP data URL, at most `side` pixels on the longer side."""
    rgb: Pixels = rearrange(frame_3hw.cpu(), "c h w -> h w c").contiguous().numpy()
    longer = max(rgb.shape[:2])
    if longer > side:
        height, width = (max(1, round(n * side / longer)) for n in rgb.shape[:2])
        rgb = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8)
    return _url(rgb, quality=quality)


def _url(rgb_or_rgba: Pixels, *, quality: int) -> str:
    order = cv2.COLOR_RGBA2BGRA if rgb_or_rgba.shape[2] == 4 else cv2.COLOR_RGB2BGR
    done, encoded = cv2.imencode(
        ".webp", cv2.cvtColor(rgb_or_rgba, order), [cv2.IMWRITE_WEBP_QUALITY, quality]
    )
    assert done, "OpenCV was built without WebP"
    return "data:image/webp;base64," + base64.b64encode(encoded.tobytes()).decode("ascii")
