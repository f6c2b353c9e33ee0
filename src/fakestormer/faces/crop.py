"""THE crop: how a face is cut out of a frame, for training, evaluation and detection alike.

A square around the face box's centre, 1.25 times its longer side (paper), aspect kept, resampled
once. Parts outside the frame repeat its border pixels. Landmarks take the same path.

Detectors' boxes tremble, and a trembling crop looks like change over time; so the squares are
smoothed along the whole track, at every use of the track (docs/decisions.md 7).

A square is (cx, cy, side) in source pixels, pixel centres at whole numbers: it covers
cx - side/2 ... cx + side/2, and pixel u of a crop with S pixels shows
x = cx - side/2 + (u + 1/2) side/S.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from einops import rearrange

from fakestormer.recipe.faces import CropConfig
from fakestormer.types import Clip, FaceTrack
from fakestormer.types.arrays import Doubles, Floats, Pixels


def crop_squares(track: FaceTrack, config: CropConfig) -> Floats:
    """The square of every frame of a track: float32 (T, 3), (cx, cy, side) in source pixels."""
    return smoothed_squares(track.boxes, config)


def smoothed_squares(boxes_t4: Floats, config: CropConfig) -> Floats:
    """The same of face boxes of consecutive frames, float32 (T, 4).

    Each square depends on the boxes of `smoothing_reach` frames before and after it, and no others.
    """
    boxes = boxes_t4.astype(np.float64)
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    side = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True) * config.enlarge
    squares = smooth_path(np.concatenate([centre, side], axis=1), config.smooth_frames)
    # A box of a few pixels must still be something that can be cut out.
    squares[:, 2] = np.maximum(squares[:, 2], 2.0)
    return squares.astype(np.float32)


def smoothing_reach(sigma: float) -> int:
    """The frames before and after a frame whose boxes its square depends on."""
    return max(1, round(3 * sigma))


def smooth_path(path_td: Doubles, sigma: float) -> Doubles:
    """Gaussian smoothing along the first axis that does not bend at the ends.

    path_td: float64 (T, D). At each frame a straight line is fitted to its neighbours with Gaussian
    weights (sigma in frames, cut at 3 sigma) and read off there. In the middle this *is* the
    Gaussian filter; near an end, where neighbours lie on one side only, a plain average would pull
    towards the middle of the track, the line does not. Below sigma = 0.1 nothing is smoothed.
    Returns a new (T, D) array.
    """
    if sigma < 0.1 or len(path_td) < 3:
        return path_td.copy()
    reach = smoothing_reach(sigma)
    offsets = np.arange(-reach, reach + 1, dtype=np.float64)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    inside = np.ones((len(path_td), 1))
    moments = weights, weights * offsets, weights * offsets**2
    s0, s1, s2 = (_slide(inside, kernel) for kernel in moments)
    y0, y1 = (_slide(path_td, kernel) for kernel in moments[:2])
    # T >= 3 leaves at least two frames in every window, so the line is determined.
    smoothed: Doubles = (s2 * y0 - s1 * y1) / (s0 * s2 - s1 * s1)
    return smoothed


def _slide(path_td: Doubles, kernel: Doubles) -> Doubles:
    """sum_k kernel[k] path[t + k - reach], zero outside the path: (T, D)."""
    reach = len(kernel) // 2
    padded = np.pad(path_td, ((reach, reach), (0, 0)))
    columns = [np.correlate(column, kernel) for column in padded.T]
    return np.stack(columns, axis=1)


def crop(rgb_hwc: Pixels, square: Floats | Sequence[float], size: int) -> Pixels:
    """Cut `square` out of a frame: uint8 (H, W, 3) -> uint8 (size, size, 3).

    Bilinear; when shrinking, the source is blurred first so that fine detail does not alias.
    """
    cx, cy, side = (float(value) for value in square)
    if not side > 0:
        raise ValueError(f"crop: expected a square with a side above 0, got {side}")
    scale = side / size
    sigma = max(0.0, (scale - 1.0) / 2.0)
    # Work on the part of the frame that can be seen, with room for the blur and the border.
    margin = int(np.ceil(4 * sigma)) + 2
    height, width = rgb_hwc.shape[:2]
    left, right = (_within(cx + end * (side / 2 + margin), width) for end in (-1, 1))
    top, bottom = (_within(cy + end * (side / 2 + margin), height) for end in (-1, 1))
    part = rgb_hwc[top : bottom + 1, left : right + 1]
    if sigma > 0.25:
        part = np.asarray(cv2.GaussianBlur(part, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE))
    to_source = np.array(
        [
            [scale, 0.0, cx - side / 2 + scale / 2 - left],
            [0.0, scale, cy - side / 2 + scale / 2 - top],
        ]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(
        part, to_source, (size, size), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(warped, np.uint8)


def _within(position: float, length: int) -> int:
    return min(max(round(position), 0), length - 1)


def map_landmarks(points_k2: Floats, square: Floats | Sequence[float], size: int) -> Floats:
    """Source pixels -> crop pixels, exactly as `crop` moves the picture: (..., K, 2) f32."""
    cx, cy, side = (float(value) for value in square)
    corner = np.array([cx - side / 2, cy - side / 2])
    mapped: Floats = ((points_k2 - corner) * (size / side) - 0.5).astype(np.float32)
    return mapped


def assemble_clip(
    crops: dict[int, Pixels],
    track: FaceTrack,
    positions: Sequence[int],
    squares: Floats,
    config: CropConfig,
    source: str,
) -> Clip:
    """A clip from crops already cut, uint8 (S, S, 3) by position in the track."""
    size = config.stored_size
    frames_thwc = np.stack([crops[position] for position in positions])
    landmarks = [map_landmarks(track.landmarks[p], squares[p], size) for p in positions]
    return Clip(
        frames=np.ascontiguousarray(rearrange(frames_thwc, "t h w c -> t c h w")),
        landmarks=np.stack(landmarks),
        indices=track.indices[list(positions)],
        pts_seconds=track.pts_seconds[list(positions)],
        source=source,
    )
