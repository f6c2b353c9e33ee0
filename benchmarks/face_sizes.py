"""Which faces are found, by their size and the frame's, and what looking closer costs.

    python benchmarks/face_sizes.py [--places 6] [--beside]
    python benchmarks/face_sizes.py --show FOLDER --films FILM...

scikit-image's portrait, resized so that its face has the size named, lies at places drawn at random
(corners included) on scikit-image's photograph of a coffee table, which has no face; the frame has
been through x264 at CRF 23. Before: the
whole frame alone is searched. After: where that finds nobody, it is looked at more closely. A face
counts as found where a detection with a score of 0.6, the tracker's threshold, overlaps it by half.
Milliseconds per detection, median, one thread: with the face, and with an empty frame.

With --beside there is a second portrait in each frame, whose face is a quarter of the frame's
height, and 30 such frames are followed. The face counts as found where a track overlaps it by half.
Before: small faces are not looked for. Milliseconds of following, for each frame.

With --films the tracks in the first 50 frames of real films are counted, as they are and at twice
their size, up to 4K. Of each track that only looking closer finds, a picture goes into the folder
of --show: whether it is a face, people say.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data

from fakestormer.faces.blazeface import BlazeFace
from fakestormer.faces.protocol import FaceDetection, FaceRegion
from fakestormer.faces.tracking import find_tracks
from fakestormer.recipe.faces import TrackingConfig
from fakestormer.types import FaceTrack
from fakestormer.video.decode import Frame, probe, stream_frames

FRAMES = {"720p": (720, 1280), "1080p": (1080, 1920), "4K": (2160, 3840)}
SIZES = (48, 64, 80, 96, 128, 160, 192, 256)
# The face of the portrait, by eye: left, top, right, bottom; forehead to chin.
FACE = np.array([176, 66, 272, 180])
SCORE, OVERLAP = 0.6, 0.5
FOLLOWED = 30
OF_EACH_FILM = 50


def frames(
    height: int, width: int, size: int, places: int
) -> list[tuple[NDArray[np.uint8], NDArray[np.float64]]]:
    """Frames with a face of that height, and the box of each."""
    rng = np.random.default_rng(size)
    scale = size / (FACE[3] - FACE[1])
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    portrait = cv2.resize(data.astronaut(), None, fx=scale, fy=scale, interpolation=way)
    portrait = portrait[: min(len(portrait), height), : min(portrait.shape[1], width)]
    high, wide = portrait.shape[:2]
    found = []
    for place in range(places):
        frame = empty(height, width)
        y, x = (int(rng.integers(0, free + 1)) for free in (height - high, width - wide))
        if place < 2:  # the corners at the left
            y, x = (0, height - high)[place], 0
        frame[y : y + high, x : x + wide] = portrait
        found.append((coded(frame), FACE * scale + np.array([x, y, x, y])))
    return found


def coded(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The frame as a film has it."""
    height, width = frame.shape[:2]
    with io.BytesIO() as film:
        with av.open(film, "w", format="mp4") as write:
            stream = write.add_stream("libx264", rate=25, options={"crf": "23"})
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            write.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            write.mux(stream.encode(None))
        film.seek(0)
        with av.open(film) as read:
            return next(read.decode(video=0)).to_ndarray(format="rgb24")


def empty(height: int, width: int) -> NDArray[np.uint8]:
    """A frame without a face."""
    return np.asarray(cv2.resize(data.coffee(), (width, height)), np.uint8)


def before(backend: BlazeFace, frame: NDArray[np.uint8]) -> list[FaceDetection]:
    return [face for face in backend.detect(frame) if face.score >= SCORE]


def after(backend: BlazeFace, frame: NDArray[np.uint8]) -> list[FaceDetection]:
    looked = before(backend, frame)
    if not looked:
        looked = backend.detect_filling(frame) + backend.detect_small(frame)
    return [face for face in looked if face.score >= SCORE]


class WholeFrames(BlazeFace):
    """Looks for no small faces."""

    def detect_small(
        self, rgb_hwc: NDArray[np.uint8], near: FaceRegion | None = None
    ) -> list[FaceDetection]:
        return []


def with_another(frame: NDArray[np.uint8], box: NDArray[np.float64]) -> NDArray[np.uint8]:
    """A large face in the half of the frame in which the face is not."""
    height, width = frame.shape[:2]
    scale = height / 4 / (FACE[3] - FACE[1])
    portrait = cv2.resize(data.astronaut(), None, fx=scale, fy=scale)[:height, : width // 2]
    left = 0 if box[0] > width / 2 else width - portrait.shape[1]
    both = frame.copy()
    both[: len(portrait), left : left + portrait.shape[1]] = portrait
    return both


def beside(backend: BlazeFace, name: str, way: str, places: int) -> str:
    """A row: recall by size, and the milliseconds that following takes for each frame."""
    height, width = FRAMES[name]
    recalls, spent = [], []
    for size in SIZES:
        hits = 0
        for frame, box in frames(height, width, size, places):
            both = with_another(frame, box)
            began = time.thread_time()
            tracks = find_tracks(
                ((k, k / 25, both) for k in range(FOLLOWED)), backend, TrackingConfig()
            )
            spent.append(1000 * (time.thread_time() - began) / FOLLOWED)
            hits += any(overlap(track.boxes[0], box) >= OVERLAP for track in tracks)
        recalls.append(f"{hits / places:.2f}")
    return f"| {name} | {way} | " + " | ".join([*recalls, f"{statistics.median(spent):.1f}"]) + " |"


def new_tracks(film: Path, scale: int) -> tuple[int, int, list[tuple[FaceTrack, NDArray]]]:
    """(frames, tracks before, (track, its middle frame) of each that looking closer adds)."""
    seen: set[int] = set()

    def frames() -> Iterator[Frame]:
        for index, seconds, frame in stream_frames(film, stop_index=OF_EACH_FILM):
            large = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
            seen.add(index)
            yield index, seconds, np.asarray(large, np.uint8)

    known = find_tracks(frames(), WholeFrames(), TrackingConfig())
    looked = find_tracks(frames(), BlazeFace(), TrackingConfig())
    fresh = [track for track in looked if not any(is_same(track, other) for other in known)]
    middles = {int(track.indices[len(track) // 2]): track for track in fresh}
    added = [(middles[k], frame) for k, _, frame in frames() if k in middles] if middles else []
    return len(seen), len(known), added


def is_same(track: FaceTrack, other: FaceTrack) -> bool:
    """Whether two tracks follow one face: their boxes overlap by half in a frame of both."""
    shared = sorted(set(track.indices.tolist()) & set(other.indices.tolist()))
    if not shared:
        return False
    a, b = (one.boxes[shared[0] - int(one.indices[0])] for one in (track, other))
    return overlap(a, b) >= OVERLAP


def count_in(films: list[Path], folder: Path) -> None:
    """Print a row for each size of film, and keep a picture of each track that is new."""
    folder.mkdir(parents=True, exist_ok=True)
    counts: dict[str, list[int]] = {}
    for film in films:
        info = probe(film)
        for scale in (1, 2):
            if max(info.width, info.height) * scale > 4096:
                continue
            frame_count, before_count, added = new_tracks(film, scale)
            size = f"{info.width * scale} x {info.height * scale}"
            row = counts.setdefault(size, [0, 0, 0, 0])
            for k, value in enumerate((1, frame_count, before_count, len(added))):
                row[k] += value
            for track, frame in added:
                left, top, right, bottom = track.boxes[len(track) // 2].int().tolist()
                room = right - left
                part = frame[max(0, top - room) : bottom + room, max(0, left - room) : right + room]
                name = f"{film.stem}-{scale}-{track.number}-{len(track)}-{right - left}.png"
                cv2.imwrite(str(folder / name), cv2.cvtColor(part, cv2.COLOR_RGB2BGR))
    print("| frame | films | frames | tracks before | new with tiles |\n| - | - | - | - | - |")
    for size, row in counts.items():
        print("| " + " | ".join([size, *map(str, row)]) + " |")


def overlap(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Intersection over union of two boxes."""
    shared = float(np.prod(np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0.0)))
    return shared / (sum(float(np.prod(box[2:] - box[:2])) for box in (a, b)) - shared)


def is_found(faces: list[FaceDetection], box: NDArray[np.float64]) -> bool:
    """Whether one of the detections is that face."""
    return any(overlap(face.box_xyxy, box) >= OVERLAP for face in faces)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--places", type=int, default=6, help="frames of each kind")
    parser.add_argument("--beside", action="store_true", help="beside a larger face")
    parser.add_argument("--films", nargs="+", type=Path, default=(), help="count tracks in these")
    parser.add_argument("--show", type=Path, help="with --films: the folder of the pictures")
    arguments = parser.parse_args()
    places, backend = arguments.places, BlazeFace()
    if arguments.films:
        count_in(arguments.films, arguments.show)
        return
    if arguments.beside:
        print("| frame | | " + " | ".join(f"{size} px" for size in SIZES) + " | ms a frame |")
        print("| --- " * (len(SIZES) + 3) + "|")
        for name in FRAMES:
            print(beside(WholeFrames(), name, "before", places), flush=True)
            print(beside(backend, name, "after", places), flush=True)
        return
    print("| frame | | " + " | ".join(f"{size} px" for size in SIZES) + " | ms, face | ms, none |")
    print("| --- " * (len(SIZES) + 4) + "|")
    for name, (height, width) in FRAMES.items():
        for way in (before, after):
            recalls, spent = [], []
            for size in SIZES:
                hits = 0
                for frame, box in frames(height, width, size, places):
                    began = time.thread_time()
                    faces = way(backend, frame)
                    spent.append(1000 * (time.thread_time() - began))
                    hits += is_found(faces, box)
                recalls.append(hits / places)
            nothing = []
            for _ in range(places):
                frame = empty(height, width)
                began = time.thread_time()
                way(backend, frame)
                nothing.append(1000 * (time.thread_time() - began))
            cells = [f"{recall:.2f}" for recall in recalls]
            cells += [f"{statistics.median(times):.1f}" for times in (spent, nothing)]
            print(f"| {name} | {way.__name__} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
