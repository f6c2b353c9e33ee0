"""Bad and odd inputs, made by code, and a process in which it shows what `detect` makes of them.

`CASES`: whole files, each with the outcome that docs/quickstart.md promises.
`SMALL`: small files of many containers and codecs, for `mutated` and `truncated`.
`Judge`: detects in another process within limits, so that a crash or a hang is seen as such.
"""

from __future__ import annotations

import datetime
import json
import signal
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import torch

from drawn_faces import draw, template
from fakestormer.detection.detector import Detector
from fakestormer.errors import InputError
from fakestormer.faces.protocol import FaceDetection, FaceLandmarks, FaceRegion
from fakestormer.model.fakestormer import build_fakestormer
from fakestormer.model.model_file import save_model
from fakestormer.recipe.model import ModelConfig
from fakestormer.recipe.named import tiny
from fakestormer.report.page import render_report
from video_fixtures import RGB, write_video

#: A judgement may take this long, in seconds of work and of waiting, on however busy a machine.
WORK_LIMIT, WAIT_LIMIT = 30.0, 200.0


class BrightFaces:
    """Finds every bright outline that `drawn_faces.draw` draws, and puts the template into it."""

    name = "drawn"

    def detect(self, rgb_hwc: RGB) -> list[FaceDetection]:
        boxes = self._boxes(rgb_hwc)
        return [FaceDetection(box_xyxy=box, score=0.9, region=_region(box)) for box in boxes]

    def detect_small(self, rgb_hwc: RGB, near: FaceRegion | None = None) -> list[FaceDetection]:
        return []

    def detect_filling(self, rgb_hwc: RGB) -> list[FaceDetection]:
        return []

    def landmarks(self, rgb_hwc: RGB, region: FaceRegion) -> FaceLandmarks | None:
        for x0, y0, x1, y1 in self._boxes(rgb_hwc):
            if x0 <= region.cx <= x1 and y0 <= region.cy <= y1:
                points = (template() * (x1 - x0, y1 - y0) + (x0, y0)).astype(np.float32)
                box = np.array([x0, y0, x1, y1], np.float32)
                return FaceLandmarks(points_k2=points, confidence=0.9, region=_region(box))
        return None

    def _boxes(self, rgb_hwc: RGB) -> list[Any]:
        step = max(1, max(rgb_hwc.shape) // 2048)
        bright = (rgb_hwc[::step, ::step].max(axis=2) > 120).astype(np.uint8)
        # The mouth and the eyes are holes, and blocks of compression cut corners off.
        whole = cv2.morphologyEx(bright, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
        _, _, stats, _ = cv2.connectedComponentsWithStats(whole)
        large = sorted((s for s in stats[1:] if s[4] >= 200), key=lambda s: (s[1], s[0]))
        return [
            np.array([x, y, x + w - 1, y + h - 1], np.float32) * step for x, y, w, h, _ in large
        ]


def _region(box: Any) -> FaceRegion:
    x0, y0, x1, y1 = (float(value) for value in box)
    return FaceRegion(cx=(x0 + x1) / 2, cy=(y0 + y1) / 2, side=x1 - x0, roll=0.0)


def small_detector() -> Detector:
    """Untrained, and so small that decoding is the work."""
    model = ModelConfig(image_size=32, patch_size=16, width=16, depth=1, heads=1)
    recipe = tiny().model_copy(update={"name": "untrained", "model": model})
    torch.manual_seed(0)
    network = build_fakestormer(model)
    with tempfile.TemporaryDirectory() as folder:
        save_model(folder, network, recipe.model_dump(mode="json"), {})
        return Detector(folder, backend=BrightFaces())


def face_frames(count: int, *, size: int = 96, seed: int = 0) -> list[RGB]:
    return list(draw(count, size=size, seed=seed)[0])


# ---- small files to damage -----------------------------------------------------------------------

SMALL: dict[str, dict[str, Any]] = {
    "h264.mp4": {"options": {"g": "6", "crf": "20"}},
    "front.mp4": {"options": {"g": "6"}, "container_options": {"movflags": "faststart"}},
    "h264.mkv": {"options": {"g": "6", "bf": "2"}},
    "hevc.mp4": {
        "codec": "libx265",
        "options": {"x265-params": "log-level=none:pools=1", "preset": "ultrafast"},
    },
    "vp9.webm": {
        "codec": "libvpx-vp9",
        "options": {"g": "6", "deadline": "realtime", "cpu-used": "8"},
    },
    "mpeg2.ts": {"codec": "mpeg2video", "options": {"g": "6", "bf": "2"}},
    "mpeg4.avi": {"codec": "mpeg4", "options": {"g": "6"}},
    "jpeg.mov": {"codec": "mjpeg", "pixel_format": "yuvj420p"},
}


def make_small(folder: Path) -> None:
    """All of `SMALL`: 12 frames of one face, one of them with sound."""
    for name, how in SMALL.items():
        write_video(face_frames(12), folder / name, audio=name == "front.mp4", **how)


def mutated(data: bytes, seed: int) -> bytes:
    """1 to 64 flipped bits anywhere; the same seed, the same file."""
    rng = np.random.default_rng(seed)
    damaged = bytearray(data)
    for _ in range(int(2 ** rng.integers(0, 7))):
        damaged[rng.integers(len(damaged))] ^= 1 << int(rng.integers(8))
    return bytes(damaged)


@dataclass(frozen=True, slots=True)
class Judged:
    """sentence: why there is no score, else None. peak_mib: of its process so far."""

    sentence: str | None
    peak_mib: float


class Judge:
    """ "FOLDER/NAME?bits=SEED" or "?part=PERMILLE" -> Judged; for `map_videos`.

    What takes too long ends its process, as a crash would. Scores are written down as JSON, some as
    a page too, so that what damaged headers say reaches all of it.
    """

    def __init__(self) -> None:
        self._detector: Detector | None = None

    def __call__(self, name: str) -> Judged:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, WAIT_LIMIT)
        signal.setitimer(signal.ITIMER_PROF, WORK_LIMIT)
        self._detector = self._detector or small_detector()
        path, _, damage = name.partition("?")
        kind, _, value = damage.partition("=")
        whole = Path(path).read_bytes()
        data = (
            mutated(whole, int(value))
            if kind == "bits"
            else whole[: len(whole) * int(value) // 1000]
        )
        file = Path(path).with_name(f"{kind}{value}-{Path(path).name}")
        file.write_bytes(data)
        try:
            report = self._detector.detect(file)
            json.dumps(report.to_dict(), allow_nan=False)
            if int(value) % 5 == 0:
                render_report(report, date=datetime.date(2026, 1, 1))
            sentence = None
        except InputError as error:
            sentence = str(error).replace(str(file), path)
        finally:
            file.unlink()
        return Judged(sentence=sentence, peak_mib=_peak_mib())


def _peak_mib() -> float:
    """The most memory this process had at once. Not ru_maxrss, which a process inherits from the
    one that started it."""
    status = Path("/proc/self/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024


# ---- whole files, with what becomes of them ------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """make: folder -> the file. says: in the sentence that refuses it; None where it is judged.

    faces: how many are judged. notes: in the video's or a face's warnings.
    """

    make: Callable[[Path], Path]
    says: str | None = None
    faces: int = 1
    notes: str | None = None


def _video(name: str, frames: Callable[[], list[RGB]], **how: Any) -> Callable[[Path], Path]:
    return lambda folder: write_video(frames(), folder / name, **how)


def _bytes(name: str, content: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


def _renamed(name: str, make: Callable[[Path], Path]) -> Callable[[Path], Path]:
    return lambda folder: make(folder).rename(folder / name)


def _sound(folder: Path) -> Path:
    path = folder / "sound.m4a"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), "fltp", "mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def _linked_in_a_circle(folder: Path) -> Path:
    (folder / "a.mp4").symlink_to(folder / "b.mp4")
    (folder / "b.mp4").symlink_to(folder / "a.mp4")
    return folder / "a.mp4"


def _glued(folder: Path) -> Path:
    """Two transport streams in one file: the second begins at its own time 0."""
    one = write_video(face_frames(10), folder / "one.ts", options={"bf": "0"})
    path = folder / "glued.ts"
    path.write_bytes(one.read_bytes() * 2)
    one.unlink()
    return path


def _times_gone(folder: Path) -> Path:
    """An MP4 whose table of times counts every frame as lasting 0."""
    path = write_video(face_frames(12), folder / "times.mp4", options={"bf": "0"})
    data = bytearray(path.read_bytes())
    entry = data.index(b"stts") + 4 + 4 + 4 + 4
    data[entry : entry + 4] = bytes(4)
    path.write_bytes(data)
    return path


def crowd(count: int = 8) -> list[RGB]:
    """12 faces in four columns."""
    people = [face_frames(count, seed=number) for number in range(12)]
    return [
        np.vstack([np.hstack([p[t] for p in people[row : row + 4]]) for row in (0, 4, 8)])
        for t in range(count)
    ]


def _nobody(count: int, size: int = 96) -> list[RGB]:
    dark = draw(1, size=size)[0][0] // 4
    return [np.roll(dark, number, axis=1) for number in range(count)]


def _leaves_and_returns() -> list[RGB]:
    return [*face_frames(15), *_nobody(15), *face_frames(15)]


def _cuts() -> list[RGB]:
    """Four shots of a second at 10 frames per second: other people, places and colours."""
    frames = []
    for number, tint in enumerate(((100, 0, 0), (0, 100, 0), (0, 0, 100), (100, 90, 0))):
        top, left = 80 * (number // 2), 120 * (number % 2)
        for face_hwc in face_frames(10, seed=number):
            rgb_hwc = np.full((176, 216, 3), tint, np.uint8)
            rgb_hwc[top : top + 96, left : left + 96] = face_hwc
            frames.append(rgb_hwc)
    return frames


def _turned(degrees: int) -> list[RGB]:
    return [np.ascontiguousarray(np.rot90(f, k=degrees // 90)) for f in face_frames(8)]


_LOSSLESS = {"codec": "ffv1", "pixel_format": "bgr0"}
_JPEG = cv2.imencode(".jpg", face_frames(1)[0])[1].tobytes()

CASES: dict[str, Case] = {
    "missing": Case(make=lambda folder: folder / "missing.mp4", says="no such file"),
    "name too long": Case(make=lambda folder: folder / ("x" * 300 + ".mp4"), says="cannot be read"),
    "empty": Case(make=_bytes("empty.mp4", b""), says="is empty"),
    "zeros": Case(make=_bytes("zeros.mp4", bytes(5000)), says="cannot be opened as a video"),
    "text": Case(make=_bytes("letter.mp4", b"a letter\n" * 99), says="it is a text, such as"),
    "picture as a video": Case(make=_bytes("picture.mp4", _JPEG), says="is a still picture"),
    "sound only": Case(make=_renamed("sound.mp4", _sound), says="has no video stream"),
    "link in a circle": Case(make=_linked_in_a_circle, says="leads round in a circle"),
    "encrypted": Case(
        make=_video(
            "encrypted.mp4",
            lambda: face_frames(8),
            container_options={
                "encryption_scheme": "cenc-aes-ctr",
                "encryption_key": "76a6c65c5ea762046bd749a2e632ccbb",
                "encryption_kid": "a7e61c373e219033c21091fa607bf3b8",
            },
        ),
        says="not one frame of its video stream can be decoded; it is damaged, incomplete or enc",
    ),
    "one frame": Case(make=_video("one.mp4", lambda: face_frames(1)), says="has a single frame"),
    "nobody": Case(make=_video("nobody.mp4", lambda: _nobody(8)), says="no face could be followed"),
    "1 x 1": Case(
        make=_video("dot.mkv", lambda: [np.full((1, 1, 3), 200, np.uint8)] * 4, **_LOSSLESS),
        says="no face could be followed in its 4 frames",
    ),
    "2 x 300": Case(
        make=_video("line.mkv", lambda: [np.full((2, 300, 3), 9, np.uint8)] * 3, **_LOSSLESS),
        says="no face could be followed in its 3 frames",
    ),
    "too long a side": Case(
        make=_video("wide.mkv", lambda: [np.zeros((2, 20000, 3), np.uint8)] * 2, **_LOSSLESS),
        says="its pictures are 20000 x 2",
    ),
    "wrong extension": Case(
        make=_renamed("video.txt", _video("v.mkv", lambda: face_frames(8))),
    ),
    "two frames": Case(make=_video("two.mp4", lambda: face_frames(2)), notes="followed for 2"),
    "odd size": Case(
        make=_video("odd.mp4", lambda: face_frames(8, size=97), pixel_format="yuv444p")
    ),
    "turned by 90": Case(make=_video("r90.mp4", lambda: _turned(90), rotation=90)),
    "turned by 270": Case(make=_video("r270.mp4", lambda: _turned(270), rotation=270)),
    "10 bit": Case(
        make=_video(
            "ten.mp4",
            lambda: face_frames(8),
            codec="libx265",
            pixel_format="yuv420p10le",
            options={"x265-params": "log-level=none:pools=1"},
        )
    ),
    "interlaced": Case(
        make=_video(
            "lace.ts",
            lambda: face_frames(8),
            codec="mpeg2video",
            options={"flags": "+ildct+ilme", "top": "1"},
        )
    ),
    "variable rate": Case(
        make=_video("vfr.mp4", lambda: face_frames(6), times_ms=[0, 40, 47, 400, 401, 3000])
    ),
    "no times": Case(make=_video("bare.h264", lambda: face_frames(12), options={"bf": "2"})),
    "times that stand still": Case(make=_times_gone),
    "times that run backwards": Case(make=_glued),
    "12 faces": Case(make=_video("crowd.mp4", crowd, options={"crf": "12"}), faces=12),
    "leaves and returns": Case(make=_video("again.mp4", _leaves_and_returns), faces=2),
    "cuts every second": Case(make=_video("cuts.mp4", _cuts, fps=10), faces=4),
}
