"""Facts about a file that limit the trust in its score: rate, cuts, bits, blur, tags.

They are measured while faces are followed; nothing is decoded a second time.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from einops import rearrange

from fakestormer.detection.activity import Activity
from fakestormer.detection.verdict import LONGEST_STEP
from fakestormer.drawing.timeline import time_code
from fakestormer.types import FaceTrack
from fakestormer.types.arrays import Doubles, Floats, Pixels
from fakestormer.video.container import open_video
from fakestormer.video.decode import VideoInfo
from fakestormer.video.packets import PacketLog

#: Bits for each pixel of a face, of H.264 and older codecs: below the first a warning, below the
#: second a low score says nothing. What films have: see activity.py.
FEW_BITS, TOO_FEW_BITS = 0.03, 0.02
#: Codecs that need about this share of H.264's bits for the same picture.
_NEWER = {"hevc": 0.6, "vp9": 0.6, "libvpx-vp9": 0.6, "av1": 0.5, "libdav1d": 0.5, "vvc": 0.4}

#: Variance of the Laplacian over the variance of a face's inner half. 23 sharp faces had 0.040 to
#: 0.47, and after a Gaussian blur of 2 pixels 0.007 to 0.022.
BLURRED = 0.02
_LEAST_SIDE = 32
_CLIPS_MEASURED = 8

#: Steps between frames this far from the median, as a share of it, are irregular ...
_IRREGULAR = 0.25
#: ... and the rate varies when more of them than this share are.
_VARIABLE = 0.05
_GAP = 1.75

_MOST_TAGS, _LONGEST_TAG, _MOST_CUTS = 64, 200, 100
#: Parts of the names of tags about places, whose values are not shown.
_PLACES = ("location", "gps", "geo", "xyz")
#: The names that programs write into a file's tags; cameras write others. Nearly every file from a
#: site or a messenger names a converter.
_CONVERTERS = {
    "lavf": "FFmpeg's library, as most sites, messengers and editors use it",
    "handbrake": "HandBrake, a converter",
    "google": "Google's servers",
}
_EDITORS = {
    "adobe": "an editor by Adobe",
    "premiere": "an editor by Adobe",
    "davinci": "DaVinci Resolve, an editor",
}


@dataclass(slots=True)
class Watched:
    """The times and cuts of a video, noted frame by frame: 8 bytes a frame."""

    times: array[float] = field(default_factory=lambda: array("d"))
    cuts: list[float] = field(default_factory=list)
    activity: Activity = field(default_factory=Activity)

    def see(self, seconds: float, rgb_hwc: Pixels) -> None:
        self.activity.see(len(self.times), rgb_hwc)
        self.times.append(seconds)

    def facts(self) -> dict[str, Any]:
        """For a report's `video`: "frame_rate", "gaps", and when the first hundred cuts are."""
        pace = pace_of(np.frombuffer(self.times, np.float64))
        return {
            "frame_rate": "variable" if pace.variable else "constant",
            "gaps": len(pace.gaps),
            "cuts": [round(seconds, 3) for seconds in self.cuts[:_MOST_CUTS]],
            "cuts_found": len(self.cuts),
        }

    def warnings(self) -> list[str]:
        texts = []
        pace = pace_of(np.frombuffer(self.times, np.float64))
        if pace.usual > LONGEST_STEP:
            texts.append(
                f"The video has few frames a second, about {1 / pace.usual:.3g}: the method judges "
                "change from frame to frame, and learnt it at 24 to 30."
            )
        if pace.variable:
            texts.append(
                f"The frame rate varies, between about {pace.slowest:.3g} and {pace.fastest:.3g} "
                "frames per second: the method judges change from frame to frame, and learnt it at "
                "constant rates."
            )
        elif pace.gaps:
            longest, at = max((step, -seconds) for seconds, step in pace.gaps)
            texts.append(
                f"Frames are missing in {len(pace.gaps)} "
                f"{'place' if len(pace.gaps) == 1 else 'places'}, the longest "
                f"{longest:.2f} s at {time_code(-at)}: a clip across a gap sees a jump."
            )
        if self.cuts:
            times = ", ".join(time_code(seconds) for seconds in self.cuts[:5])
            more = f" and {len(self.cuts) - 5} more" if len(self.cuts) > 5 else ""
            texts.append(
                f"The video has several scenes: {len(self.cuts)} "
                f"{'cut was' if len(self.cuts) == 1 else 'cuts were'} found ({times}{more}). The "
                "same person is another face after each."
            )
        return texts


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How regularly frames follow each other. slowest, fastest: the 5th and 95th percentile of the
    rate. usual: seconds from a frame to the next, the median. gaps: (seconds, length in seconds) of
    each place where a frame or more is missing.
    """

    variable: bool
    slowest: float
    fastest: float
    usual: float
    gaps: tuple[tuple[float, float], ...]


def pace_of(seconds_t: Doubles) -> Pace:
    """Times of all frames, increasing -> how regular they are.

    # 0 40 80 120 160 240 280 ms: constant, one gap of 80 ms at 160 ms
    """
    steps = np.diff(seconds_t)
    if not len(steps):
        return Pace(variable=False, slowest=0.0, fastest=0.0, usual=0.0, gaps=())
    usual = float(np.median(steps))
    # Containers that count milliseconds make steps of 33 and 34.
    irregular = np.abs(steps - usual) > max(_IRREGULAR * usual, 0.0015)
    gaps = np.flatnonzero(steps > _GAP * usual)
    fastest, slowest = 1 / np.quantile(steps, [0.05, 0.95])
    return Pace(
        variable=bool(irregular.mean() > _VARIABLE) and len(steps) >= 20,
        slowest=float(slowest),
        fastest=float(fastest),
        usual=usual,
        gaps=tuple((float(seconds_t[k]), float(steps[k])) for k in gaps),
    )


def bits_per_pixel(bits: float | None, pixels: int, codec: str) -> float | None:
    """Bits that each pixel of a frame got, as H.264 would have needed them; None if unknown.

    # 4,000 bits for each frame of 256 x 256: 0.061

    Args:
        bits: of the stream's own packets, for each frame that is shown.
        pixels: of a frame, as it is stored.
        codec: FFmpeg's name of it.
    """
    if bits is None or not pixels:
        return None
    return bits / pixels / _NEWER.get(codec, 1.0)


def bits_of_face(
    track: FaceTrack, log: PacketLog, activity: Activity, info: VideoInfo
) -> float | None:
    """`bits_per_pixel` in a face's area while it is seen; None if unknown."""
    first = int(track.indices[0])
    bits = log.bits_per_frame(first, first + len(track) - 1)
    average = bits_per_pixel(bits, log.pixels, info.codec)
    return None if average is None else average * activity.share(track, info.width, info.height)


def bit_facts(log: PacketLog, info: VideoInfo, frames: int, face: float | None) -> dict[str, Any]:
    """For a report's `video`: the bits of the whole picture and of the deciding face.

    frames: decoded. face: `bits_of_face`.
    """
    picture = bits_per_pixel(log.bits_per_frame(0, frames - 1), log.pixels, info.codec)
    facts = {"bits_per_pixel": picture, "face_bits_per_pixel": face}
    return {key: None if bits is None else round(bits, 4) for key, bits in facts.items()}


def compression_warnings(bits: float | None, codec: str) -> list[str]:
    """That the face that decides has few bits. bits: see `bits_of_face`."""
    if bits is None or bits >= FEW_BITS:
        return []
    return [
        f"The face has few bits, {bits:.3f} for each of its pixels in a frame ({codec}): it hardly "
        "moves, or it is strongly compressed, and that wipes traces of manipulation out."
    ]


def sharpness(crops_ct3hw: Pixels, boxes_ct4: Floats) -> float | None:
    """Variance of the Laplacian over the variance, of faces at the size they have in the video.

    Crops that were enlarged are made as small as they were, so that a small face does not count as
    a blurred one. The median over at most eight clips, of the inner half of the first frame's
    crop; None where that is too small or flat to say.
    """
    values = []
    for c in range(min(len(crops_ct3hw), _CLIPS_MEASURED)):
        rgb = np.ascontiguousarray(rearrange(crops_ct3hw[c, 0], "c h w -> h w c"))
        grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)
        side = int(min(grey.shape[0], float(boxes_ct4[c, 0, 2] - boxes_ct4[c, 0, 0])))
        if side < _LEAST_SIDE:
            continue
        if side < grey.shape[0]:
            smaller = cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA)
            grey = np.asarray(smaller, np.float32)
        inner = grey[side // 4 : -(side // 4), side // 4 : -(side // 4)]
        if (contrast := float(inner.var())) > 1.0:
            values.append(float(cv2.Laplacian(inner, cv2.CV_32F).var()) / contrast)
    return float(np.median(values)) if values else None


def blur_warnings(crops_ct3hw: Pixels, boxes_ct4: Floats) -> list[str]:
    sharp = sharpness(crops_ct3hw, boxes_ct4)
    if sharp is None or sharp >= BLURRED:
        return []
    below = math.floor(1000 * sharp) / 1000  # rounded it could be the limit itself
    return [
        f"The face is blurred (sharpness {below:.3f}, usually above {BLURRED:.3f}): fine traces of "
        "blending may be gone, so a low score says little."
    ]


def container_tags(path: Path, stream_number: int | None = None) -> dict[str, str]:
    """The tags of the container and of its video stream: at most 64 short texts, sorted.

    Tags about places are named without their value.
    """
    with open_video(path, stream_number) as (container, stream):
        tags = {f"container {key}": value for key, value in container.metadata.items()}
        tags |= {f"stream {key}": value for key, value in stream.metadata.items()}
    kept = {}
    for key in sorted(tags)[:_MOST_TAGS]:
        private = any(part in key.lower() for part in _PLACES)
        kept[key[:_LONGEST_TAG]] = "present, not shown" if private else tags[key][:_LONGEST_TAG]
    return kept


def written_by(tags: dict[str, str]) -> str | None:
    """Which program wrote the file, by the names in its tags; None without such a name.

    A file without one may be re-encoded all the same, and one with a name need not be manipulated.
    """
    if (writer := _writer(tags, _EDITORS | _CONVERTERS)) is None:
        return None
    who, tag = writer
    return (
        f"{who} (its tag says {tag!r}): not as a camera left it, probably re-encoded, and nothing "
        "more than that"
    )


def editing_warnings(tags: dict[str, str]) -> list[str]:
    """That an editing program wrote the file. Converters are a fact of nearly every file."""
    if (writer := _writer(tags, _EDITORS)) is None:
        return []
    who, tag = writer
    return [
        f"The file was written by {who} (its tag says {tag!r}): it is not as a camera left it. "
        "What was edited is not known; cutting and colours leave such a tag, too."
    ]


def _writer(tags: dict[str, str], names: dict[str, str]) -> tuple[str, str] | None:
    for key, value in tags.items():
        # What somebody wrote about a film is not who wrote the file.
        if "description" in key.lower() or "title" in key.lower():
            continue
        for name, who in names.items():
            if name in value.lower():
                return who, value
    return None
