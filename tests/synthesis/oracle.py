"""Self-blended videos, plainly: one frame and one OpenCV call after another, in 8-bit pictures.

Written from section 1 of the method and from what `ClipParams` says of its numbers, not from
`render`: they share no function, no layout and no resampling. `render` must agree with it
(test_oracle.py), and it is the reference of `benchmarks/synthesis.py`: what one would write first.
Every step of the method is a function here, in its order.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from fakestormer.synthesis.params import ClipParams, Colour, Downscale, SBVParams, Sharpen

Frame = NDArray[np.uint8]  # (S, S, 3), RGB
Mask = NDArray[np.float32]  # (S, S)
Points = NDArray[np.float64]  # (K, 2), (x, y)

REFERENCE = 256
"""The crop side that all pixel numbers of the parameters refer to."""
PLATEAU = 1e-3
"""A blurred mask counts as 1 where it is that close to it: floating point seldom reaches 1."""


def blend_clip(
    frames_thwc: NDArray[np.uint8], landmarks_tk2: Points, params: ClipParams, *, size: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32]]:
    """One clip -> real twin and pseudo-fake (T, size, size, 3), and the mask (T, size, size).

    Algorithm 1 of the paper, with params.frames[0] for all frames (CSP), or one entry a frame.
    """
    side = frames_thwc.shape[1]
    scale = side / REFERENCE
    frames = list(frames_thwc)
    points = [landmarks.astype(np.float64) for landmarks in landmarks_tk2]
    if params.flip:
        frames = [cv2.flip(frame, 1) for frame in frames]
        points = [mirrored(landmarks, side) for landmarks in points]
    if params.interpolation is not None:
        points = interpolated(
            points, tau=params.interpolation.tau * scale, d_bar=params.interpolation.d_bar * scale
        )
    order = params.order or range(len(frames))
    real, fake, masks = [], [], []
    for t, frame in enumerate(frames):
        sbv = params.frames[t if len(params.frames) > 1 else 0]
        mask = soft_mask(points[t], sbv, side)
        background, copy = frame, frames[order[t]]
        if sbv.changed_side == "copy":
            copy = with_detail(recoloured(copy, sbv.colour), sbv.detail)
        else:
            background = with_detail(recoloured(background, sbv.colour), sbv.detail)
        copy = moved(copy.astype(np.float32), sbv, cv2.BORDER_REPLICATE)
        weight = (sbv.ratio * mask)[..., None]
        blended = np.rint(weight * copy + (1 - weight) * background)
        real.append(shown(background, params, size))
        fake.append(shown(np.clip(blended, 0, 255).astype(np.uint8), params, size))
        masks.append(windowed(mask, params, size))
    return np.stack(real), np.stack(fake), np.stack(masks)


def mirrored(points: Points, width: int) -> Points:
    """Landmarks of the flipped picture: x <- width - 1 - x, left and right points exchanged."""
    pairs = [(i, 16 - i) for i in range(17)]  # jaw
    pairs += [(17 + i, 26 - i) for i in range(10)]  # brows
    pairs += [(i, i) for i in range(27, 31)]  # nose bridge
    pairs += [(31 + i, 35 - i) for i in range(5)]  # nostrils
    pairs += [(36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46)]  # eyes
    pairs += [(45, 36), (44, 37), (43, 38), (42, 39), (47, 40), (46, 41)]
    pairs += [(48 + i, 54 - i) for i in range(7)] + [(55 + i, 59 - i) for i in range(5)]  # lips
    pairs += [(60 + i, 64 - i) for i in range(5)] + [(65 + i, 67 - i) for i in range(3)]
    pairs += [(68 + i, 80 - i) for i in range(13)]  # forehead, temple to temple
    flipped = np.empty_like(points)
    for new, old in pairs[: len(points)]:
        flipped[new] = (width - 1 - points[old][0], points[old][1])
    return flipped


def interpolated(points: list[Points], *, tau: float, d_bar: float) -> list[Points]:
    """Eq. 1: a jump of more than tau is gone only 1 / round(d / d_bar) of the way."""
    smooth = [points[0]]
    for here in points[1:]:
        before = smooth[-1]
        d = np.linalg.norm(here - before) / len(here)  # Frobenius
        if d > tau:
            here = before + (here - before) / max(1, round(d / d_bar))
        smooth.append(here)
    return smooth


def hull(points: Points, params: SBVParams, side: int) -> Mask:
    """The union of filled convex hulls, 1 inside, 0 outside."""
    if not params.forehead:
        points = points[:68]
    mask = np.zeros((side, side), np.uint8)
    if params.hull == "facehull":
        groups = [list(range(len(points)))]
    elif params.hull == "full":
        groups = [
            [*range(17), *range(48, 68)],
            [*range(27, 31), 33],
            [*range(17, 27), 0, 27, 16, 33],
        ]
    else:
        nostrils = list(range(31, 36))
        groups = [
            [*range(9), 17],
            [*range(8, 17), 26],
            [*range(17, 20), 8],
            [*range(24, 27), 8],
            [*range(19, 25), 8],
            [*range(17, 22), 27, *nostrils, 8],
            [*range(22, 27), 27, *nostrils, 8],
            [*range(27, 31), *nostrils],
        ]
    if params.hull == "extended":
        mean = lambda a, b: (a + b) / 2  # noqa: E731
        ql = mean(points[36], mean(points[36], points[0]))
        qr = mean(points[45], mean(points[16], points[45]))
        left = [ql, points[36], points[37], points[38], points[39]]
        right = [points[42], points[43], points[44], points[45], qr]
        points = points.copy()
        for brow, eye in zip(range(17, 27), left + right, strict=True):
            points[brow] = points[brow] + (points[brow] - eye) / 2
    for group in groups:
        sixteenths = np.rint(points[group] * 16).astype(np.int32)
        cv2.fillConvexPoly(mask, cv2.convexHull(sixteenths), 1, cv2.LINE_8, 4)
    return mask.astype(np.float32)


def moved(picture: NDArray[np.float32], params: SBVParams, border: int) -> NDArray[np.float32]:
    """Scaled about its centre and translated."""
    side = picture.shape[0]
    middle = (side - 1) / 2
    s = params.scale
    matrix = np.array(
        [[s, 0, middle * (1 - s) + side * params.translate[0]],
         [0, s, middle * (1 - s) + side * params.translate[1]]]
    )  # fmt: skip
    return cv2.warpAffine(picture, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=border)


def displacement(params: SBVParams, side: int) -> NDArray[np.float32]:
    """The elastic field (side, side, 2), px: Gaussian-blurred noise of the raw PCG64 stream.

    Of a 256 px crop; four 16-bit numbers out of every 64-bit one, x first, then y.
    """
    raw = np.random.PCG64(params.elastic_seed).random_raw(2 * REFERENCE**2 // 4)
    uniform = (raw.astype("<u8").view("<u2").astype(np.float64) + 0.5) / 32768 - 1
    field = np.empty((REFERENCE, REFERENCE, 2), np.float32)
    width = 2 * math.floor(4 * params.elastic_sigma) + 1
    inside = np.ones((REFERENCE, REFERENCE))
    for axis, noise in enumerate(uniform.reshape(2, REFERENCE, REFERENCE)):
        blurred, counted = (
            cv2.GaussianBlur(
                x, (width, width), params.elastic_sigma, borderType=cv2.BORDER_CONSTANT
            )
            for x in (noise, inside)
        )
        field[..., axis] = params.elastic_amplitude * blurred / counted
    if side != REFERENCE:
        field = cv2.resize(field, (side, side)) * (side / REFERENCE)
    return field


def soft_mask(points: Points, params: SBVParams, side: int) -> Mask:
    """The hull moved, deformed, stretched, shrunk, feathered and resized back."""
    mask = moved(hull(points, params, side), params, cv2.BORDER_CONSTANT)
    x, y = np.meshgrid(np.arange(side, dtype=np.float32), np.arange(side, dtype=np.float32))
    field = displacement(params, side)
    mask = cv2.remap(mask, x + field[..., 0], y + field[..., 1], cv2.INTER_LINEAR)
    width, height = (max(1, round(side * stretch)) for stretch in params.mask_stretch)
    mask = cv2.resize(mask, (width, height), interpolation=cv2.INTER_LINEAR)
    scale = side / REFERENCE
    own_sigma = 0.3 * ((params.erosion_kernel - 1) / 2 - 1) + 0.8
    mask = blurred(mask, params.erosion_kernel, own_sigma, scale)
    mask[mask < 1 - PLATEAU] = 0
    mask = blurred(mask, params.feather_kernel, params.feather_sigma, scale)
    return cv2.resize(mask, (side, side), interpolation=cv2.INTER_LINEAR)


def blurred(mask: Mask, kernel: int, sigma: float, scale: float) -> Mask:
    """Gaussian blur with the largest value 1 again."""
    kernel = 2 * round((kernel - 1) / 2 * scale) + 1
    mask = cv2.GaussianBlur(mask, (kernel, kernel), sigma * scale)
    return mask / mask.max()


def recoloured(frame: Frame, colour: Colour) -> Frame:
    """RGB shift, HSV shift in whole 8-bit steps, contrast and brightness, each clipped."""
    picture = np.clip(frame + np.array(colour.rgb_shift), 0, 255)
    hue_steps, *other_steps = np.rint(colour.hsv_shift)
    if hue_steps or any(other_steps):
        # floating: an 8-bit hue is 2 degrees wide, and rounding to it moves colours by 4 levels
        hsv = cv2.cvtColor((np.rint(picture) / 255).astype(np.float32), cv2.COLOR_RGB2HSV)
        hsv[..., 0] = (hsv[..., 0] + 2 * hue_steps) % 360
        hsv[..., 1:] = np.clip(hsv[..., 1:] + np.array(other_steps) / 255, 0, 1)
        picture = np.rint(255.0 * cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))
    picture = np.clip(picture * (1 + colour.contrast) + 255 * colour.brightness, 0, 255)
    return np.rint(picture).astype(np.uint8)


def with_detail(frame: Frame, detail: Downscale | Sharpen) -> Frame:
    """Every second or fourth pixel kept and enlarged linearly; or sharpened."""
    height, width = frame.shape[:2]
    if isinstance(detail, Downscale):
        small = (max(1, width // detail.factor), max(1, height // detail.factor))
        few = cv2.resize(frame, small, interpolation=cv2.INTER_NEAREST)
        return cv2.resize(few, (width, height), interpolation=cv2.INTER_LINEAR)
    neighbours = np.array([[-1, -1, -1], [-1, 8 + detail.lightness, -1], [-1, -1, -1]])
    same = np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]])
    kernel = (1 - detail.alpha) * same + detail.alpha * neighbours
    return cv2.filter2D(frame, -1, kernel, borderType=cv2.BORDER_REFLECT_101)


def shown(frame: Frame, params: ClipParams, size: int) -> Frame:
    """What both clips of a pair go through: margin, colour jitter, JPEG."""
    frame = np.rint(windowed(frame.astype(np.float32), params, size)).astype(np.uint8)
    frame = recoloured(frame, params.jitter)
    if params.jpeg_quality is None:
        return frame
    bgr = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
    _, code = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, params.jpeg_quality])
    return cv2.cvtColor(cv2.imdecode(code, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def windowed(picture: NDArray[np.float32], params: ClipParams, size: int) -> NDArray[np.float32]:
    """The margin cut off, the rest resized; bilinear, antialiased by a wider triangle."""
    side = picture.shape[0]
    scale = side / REFERENCE
    margin = round(params.margin * scale)
    right, down = (round(shift * scale) for shift in params.shift)
    kept = picture[margin + down : side - margin + down, margin + right : side - margin + right]
    if len(kept) == size:
        return kept
    step = len(kept) / size
    centres = (np.arange(size) + 0.5) * step - 0.5
    distance = np.abs(centres[:, None] - np.arange(len(kept))[None])
    weights = np.maximum(0, 1 - distance / max(1.0, step))
    weights = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    rows = np.tensordot(weights, kept, axes=(1, 0))
    return np.moveaxis(np.tensordot(weights, rows, axes=(1, 1)), 0, 1)
