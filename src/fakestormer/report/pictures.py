"""The pictures of a report as data URLs, small enough that the page stays below its limit.

A frame and its map are two pictures, laid over each other by the page: the map can be taken off.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from einops import rearrange

from fakestormer.detection.moment import MAP_SIDE, face_mask, map_scale, smoothed
from fakestormer.drawing import overlays
from fakestormer.drawing.drawing import made_smaller
from fakestormer.types import FaceReport
from fakestormer.types.arrays import Pixels

PAGE_BUDGET, PAGE_PER_FRAME, PAGE_PER_ROW = 4_700_000, 900, 400
"""Characters of a page below 5 MB, of what the page says about a frame besides its picture, and of
a face's row in the table of faces."""

_FOR_FRAMES = 0.5
"""The share of the page that text about frames may take; the rest is for pictures."""

QUALITIES = ((224, 85), (224, 70), (160, 70), (128, 60), (96, 50))
"""(side in pixels, WebP quality), tried in this order until the pictures fit."""

LAYER_QUALITY = 80
THUMBNAIL_SIDE = 96


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A frame and the map to lay over it: none for a face that was not explained."""

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
        room -= PAGE_PER_FRAME * faces[place].prediction.indices.size
        if room < 0 and shown:
            break
        shown.append(place)
    return sorted(shown)


def room_for_pictures(faces: Sequence[FaceReport]) -> int:
    """Characters that the pictures of a page may take together."""
    frames = sum(face.prediction.indices.size for face in faces)
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
    """The frame of the face's moment, small, as a data URL; None without pictures."""
    frame_3hw = moment_crop(face)
    return None if frame_3hw is None else picture_url(frame_3hw, side=THUMBNAIL_SIDE, quality=80)


def thumbnail_webp(face: FaceReport) -> bytes | None:
    """The same as the bytes of a WebP file."""
    frame_3hw = moment_crop(face)
    if frame_3hw is None:
        return None
    return webp(_shrunk(frame_3hw, side=THUMBNAIL_SIDE), quality=80)


def moment_crop(face: FaceReport) -> Pixels | None:
    """What the network saw in the face's moment, uint8 (3, H, W); None without pictures.

    Without a moment, the first frame of the highest-scoring clip.
    """
    if face.crops is None or not len(face.crops):
        return None
    return np.asarray(face.crops[face.shown_frame])


def _pictures(
    faces: Sequence[FaceReport], *, side: int, quality: int, clips: int
) -> Iterator[tuple[tuple[int, int], ClipPictures]]:
    for f, face in enumerate(faces):
        if face.crops is None:
            continue
        layers_ct = map_layers(face)
        ranked = np.argsort(-face.prediction.clip_probabilities, kind="stable")
        for c in sorted(ranked[:clips].tolist()):
            layers: list[str | None] = [None] * len(face.crops[c])
            if layers_ct is not None:
                layers = [picture_url_of(layer, quality=LAYER_QUALITY) for layer in layers_ct[c]]
            yield (
                (f, c),
                tuple(
                    Picture(frame=picture_url(frame, side=side, quality=quality), layer=layer)
                    for frame, layer in zip(face.crops[c], layers, strict=True)
                ),
            )


def map_layers(face: FaceReport) -> list[Pixels] | None:
    """The maps of a face's clips, each uint8 RGBA (T, S, S, 4); None where it was not explained."""
    evidence_ctgg, landmarks_ctk2 = face.prediction.evidence, face.landmarks
    if face.moment is None:
        return None
    assert evidence_ctgg is not None, "a face with a moment was explained"
    assert landmarks_ctk2 is not None, "by its landmarks"
    smooth_ctgg = np.stack([smoothed(maps_tgg) for maps_tgg in evidence_ctgg])
    scale = map_scale(face.prediction)
    return [
        overlays.evidence_layer(
            maps_tgg,
            np.stack([face_mask(points_k2, MAP_SIDE) for points_k2 in points_tk2]),
            scale=scale,
        )
        for maps_tgg, points_tk2 in zip(smooth_ctgg, landmarks_ctk2, strict=True)
    ]


def picture_url(frame_3hw: Pixels, *, side: int, quality: int) -> str:
    """uint8 (3, H, W) as a WebP data URL, at most `side` pixels on the longer side."""
    return picture_url_of(_shrunk(frame_3hw, side=side), quality=quality)


def _shrunk(frame_3hw: Pixels, *, side: int) -> Pixels:
    rgb = np.ascontiguousarray(rearrange(frame_3hw, "c h w -> h w c"))
    return made_smaller(rgb, side)[0]


def picture_url_of(rgb_or_rgba: Pixels, *, quality: int) -> str:
    """uint8 (H, W, 3 or 4), RGB or RGBA, as a WebP data URL."""
    content = base64.b64encode(webp(rgb_or_rgba, quality=quality)).decode("ascii")
    return f"data:image/webp;base64,{content}"


def webp(rgb_or_rgba: Pixels, *, quality: int) -> bytes:
    """The same as the bytes of a WebP file."""
    order = cv2.COLOR_RGBA2BGRA if rgb_or_rgba.shape[2] == 4 else cv2.COLOR_RGB2BGR
    done, encoded = cv2.imencode(
        ".webp", cv2.cvtColor(rgb_or_rgba, order), [cv2.IMWRITE_WEBP_QUALITY, quality]
    )
    assert done, "OpenCV was built without WebP"
    return encoded.tobytes()
