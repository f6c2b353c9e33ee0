"""The seven corruptions of DeeperForensics-1.0 at five levels, on full frames before detection.

Each is followed in its arithmetic, not only in its name, since the numbers they give are compared
with published ones. Against the original's output on a 256 px portrait (65,536 pixels): contrast,
blur and resizing equal at all levels; saturation equal but for one pixel at level 1, which differs
by one grey level. What matters for that:

- Saturation, contrast and noise are *truncated* to 8 bits, which darkens by half a grey level.
  Contrast multiplies in float32: in float64, 180 * 0.35 is 62 instead of 63.
- Colour goes to OpenCV's YCrCb (BT.601, constants of three digits) and on to video range, luma 16
  to 235 and chroma 16 to 240. Both ways are linear, so one 3x4 matrix does all of it.
- Saturation pulls chroma to 0.5 where grey is at 128 / 255: two thousandths of a grey level, and
  by the truncation grey pixels become one level darker.
- Noise is added in video range, so that it comes out larger than its variance says, by 255 / 219.

The random ones draw the same distribution, not the original's numbers. The share and the strength
of what they change agree with the original's, see tests.
"""

from __future__ import annotations

import functools
import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from fakestormer.video.colour import RGB
from fakestormer.video.decode import Frame, stream_frames
from fakestormer.video.encode import write_frames
from fakestormer.video.pictures import NOMINAL_RATE

CorruptionName = Literal[
    "saturation", "contrast", "block_wise", "gaussian_noise", "gaussian_blur", "jpeg", "video"
]

#: The parameter of each corruption at levels 1 to 5; what it means: see `corrupt_frame`.
LEVELS: Mapping[CorruptionName, tuple[float, ...]] = {
    "saturation": (0.4, 0.3, 0.2, 0.1, 0.0),
    "contrast": (0.85, 0.725, 0.6, 0.475, 0.35),
    "block_wise": (16, 32, 48, 64, 80),
    "gaussian_noise": (0.001, 0.002, 0.005, 0.01, 0.05),
    "gaussian_blur": (7, 9, 13, 17, 21),
    "jpeg": (2, 3, 4, 5, 6),
    "video": (30, 32, 35, 38, 40),
}
#: For people.
TITLES: Mapping[str, str] = {
    "saturation": "saturation",
    "contrast": "contrast",
    "block_wise": "block-wise",
    "gaussian_noise": "Gaussian noise",
    "gaussian_blur": "Gaussian blur",
    "jpeg": "JPEG (resizing)",
    "video": "video compression",
}

_BLOCK = 8  # px
_BLOCKS_PER = 256  # px of the short side
_GREY = 128
_STRIP_PIXELS = 32_768
# OpenCV's RGB -> (Y, Cr, Cb) and back, without the offsets.
_LUMA = np.array([0.299, 0.587, 0.114])
_TO_YCRCB = np.stack([_LUMA, 0.713 * ([1, 0, 0] - _LUMA), 0.564 * ([0, 0, 1] - _LUMA)])
_FROM_YCRCB = np.array([[1.0, 1.403, 0.0], [1.0, -0.714, -0.344], [1.0, 0.0, 1.773]])
_LUMA_RANGE, _CHROMA_RANGE = 235 - 16, 240 - 16


def corrupt_frame(rgb_hwc: RGB, name: CorruptionName, level: int, rng: np.random.Generator) -> RGB:
    """One corrupted frame, uint8 (H, W, 3), contiguous; the one given is not changed.

    With the level's parameter p in LEVELS, and DeeperForensics' abbreviations:

    - "saturation" (CS): chroma pulled to its middle, p of it stays.
    - "contrast" (CC): values times p, towards black.
    - "block_wise" (BW): p * floor(min(H, W) / 256) grey squares of 8x8 px at uniform places.
    - "gaussian_noise" (GNC): noise of variance p on luma and both chromas, on a [0, 1] scale.
    - "gaussian_blur" (GB): kernel of p x p, standard deviation p / 6 px.
    - "jpeg" (JPEG): no JPEG in spite of its name: resized to H // p x W // p (at least 1) and
      back, both bilinear.

    level: 1 (weak) to 5. rng: used by BW and GNC only. Raises ValueError for "video" (VC), which
    is no matter of single frames: see `recompress`; for another level or name; for another array.
    """
    if name == "video":
        raise ValueError('corruption "video" needs the whole film: use recompress')
    p = _parameter(name, level)
    if rgb_hwc.dtype != np.uint8 or rgb_hwc.ndim != 3 or rgb_hwc.shape[2] != 3 or not rgb_hwc.size:
        raise ValueError(f"expected uint8 (H, W, 3), got {rgb_hwc.dtype} {rgb_hwc.shape}")
    rgb_hwc = np.ascontiguousarray(rgb_hwc)
    match name:
        case "saturation":
            return _saturation(rgb_hwc, p)
        case "contrast":
            table = (np.arange(256, dtype=np.float32) * np.float32(p)).astype(np.uint8)
            return np.asarray(cv2.LUT(rgb_hwc, table), np.uint8)
        case "block_wise":
            return _blocks(rgb_hwc, int(p), rng)
        case "gaussian_noise":
            return _noise(rgb_hwc, p, rng)
        case "gaussian_blur":
            return np.asarray(cv2.GaussianBlur(rgb_hwc, (int(p), int(p)), p / 6), np.uint8)
        case "jpeg":
            height, width = rgb_hwc.shape[:2]
            small = cv2.resize(rgb_hwc, (max(1, width // int(p)), max(1, height // int(p))))
            return np.asarray(cv2.resize(small, (width, height)), np.uint8)


def frame_rng(
    video_sha256: str, name: CorruptionName, level: int, index: int
) -> np.random.Generator:
    """The random numbers of one frame, so that it can be made again without the others."""
    name_of_frame = f"{video_sha256}/{name}/{level}/{index}"
    return np.random.default_rng(int.from_bytes(hashlib.sha256(name_of_frame.encode()).digest()))


def corrupt_frames(
    frames: Iterable[Frame], name: CorruptionName, level: int, *, key: str
) -> Iterator[Frame]:
    """`corrupt_frame` on each frame as it is asked for; indices and times stay.

    key: SHA-256 of the video's file; with it, a frame has the same pixels whichever come before.
    """
    if name == "video":
        raise ValueError('corruption "video" needs the whole film: use recompress')
    _parameter(name, level)
    return (
        (index, seconds, corrupt_frame(rgb_hwc, name, level, frame_rng(key, name, level, index)))
        for index, seconds, rgb_hwc in frames
    )


def recompress(frames: Iterable[Frame], path: Path, level: int) -> None:
    """The corruption "video" (VC): H.264 at the level's constant rate factor, into an mp4.

    Preset medium, 4:2:0: an odd side repeats its last row or column. Times are kept less the first
    one's. The same frames give the same file (one thread and no AVX-512: video/encode.py says why).
    """
    write_frames(path, frames, crf=int(_parameter("video", level)))


def recompressed(pictures: Sequence[RGB], crf: int) -> list[RGB]:
    """Pictures of one size after H.264 at a constant rate factor, as one film."""
    film = ((t, t / NOMINAL_RATE, rgb_hwc) for t, rgb_hwc in enumerate(pictures))
    height, width = pictures[0].shape[:2]
    with tempfile.TemporaryDirectory(prefix="fakestormer-") as folder:
        path = Path(folder) / "recompressed.mp4"
        write_frames(path, film, crf=crf)
        return [rgb_hwc[:height, :width] for _, _, rgb_hwc in stream_frames(path)]


def does_nothing(name: CorruptionName, height: int, width: int) -> str:
    """Why this corruption changes nothing on frames of this size, as a sentence; "" if it does."""
    _parameter(name, 1)
    if name == "block_wise" and min(height, width) < _BLOCKS_PER:
        return (
            f"block-wise corruption changes nothing on frames of {width}x{height} px: it draws "
            f"so many squares per whole {_BLOCKS_PER} px of the short side, and there are none"
        )
    return ""


def _parameter(name: CorruptionName, level: int) -> float:
    if name not in LEVELS:
        known = ", ".join(get_args(CorruptionName))
        raise ValueError(f"unknown corruption {name!r}; there are {known}")
    if level not in range(1, len(LEVELS[name]) + 1):
        raise ValueError(f"level of {name} must be 1 to {len(LEVELS[name])}, got {level}")
    return LEVELS[name][level - 1]


def _saturation(rgb_hwc: RGB, p: float) -> RGB:
    colour_3x3 = _FROM_YCRCB @ np.diag([1.0, p, p]) @ _TO_YCRCB
    # Grey is at 128 of 255 in video range, the middle that the original pulls to at 127.5.
    off_grey = (1 - p) * (127.5 - 128) / _CHROMA_RANGE
    offset_3 = _FROM_YCRCB @ [0.0, off_grey, off_grey]
    matrix_3x4 = np.column_stack([colour_3x3, offset_3])
    greyer_hwc = np.empty_like(rgb_hwc)
    for rows in _strips(rgb_hwc):
        # Within (-1, 256) for every colour, since p <= 1: truncation needs no clipping.
        greyer_hwc[rows] = cv2.transform(rgb_hwc[rows].astype(np.float32), matrix_3x4)
    return greyer_hwc


def _blocks(rgb_hwc: RGB, per_256_px: int, rng: np.random.Generator) -> RGB:
    height, width = rgb_hwc.shape[:2]
    blocked_hwc = rgb_hwc.copy()
    count = per_256_px * (min(height, width) // _BLOCKS_PER)
    if count == 0:
        return blocked_hwc
    tops = rng.integers(0, height - _BLOCK, count, endpoint=True).tolist()
    lefts = rng.integers(0, width - _BLOCK, count, endpoint=True).tolist()
    for top, left in zip(tops, lefts, strict=True):
        blocked_hwc[top : top + _BLOCK, left : left + _BLOCK] = _GREY
    return blocked_hwc


def _noise(rgb_hwc: RGB, variance: float, rng: np.random.Generator) -> RGB:
    gain = 255 * np.sqrt(variance) * 255 / np.array([_LUMA_RANGE, _CHROMA_RANGE, _CHROMA_RANGE])
    # Rounding half a grey level lower is truncation.
    matrix_3x4 = np.column_stack([_FROM_YCRCB * gain, np.full(3, -0.5)])
    noisy_hwc = np.empty_like(rgb_hwc)
    for rows in _strips(rgb_hwc):
        # Two random bytes pick one of 65,536 quantiles: three times as fast as numpy's normal
        # numbers and no different once rounded to 8 bits.
        picked = rng.integers(0, 65536, rgb_hwc[rows].shape, dtype=np.uint16)
        noise_hwc = cv2.transform(_normal_quantiles()[picked], matrix_3x4)
        noisy_hwc[rows] = cv2.add(rgb_hwc[rows], noise_hwc, dtype=cv2.CV_8U)
    return noisy_hwc


def _strips(rgb_hwc: RGB) -> Iterator[slice]:
    """Rows to work on at a time: float32 copies of a whole frame are new memory each time."""
    height, width = rgb_hwc.shape[:2]
    step = max(1, _STRIP_PIXELS // width)
    return (slice(top, top + step) for top in range(0, height, step))


@functools.cache
def _normal_quantiles() -> NDArray[np.float32]:
    """float32 (65536,): the standard normal distribution at probabilities (k + 1/2) / 65536."""
    quantile = NormalDist().inv_cdf
    return np.array([quantile((k + 0.5) / 65536) for k in range(65536)], np.float32)
