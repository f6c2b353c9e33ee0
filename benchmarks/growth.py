"""How the cost of detection grows: with length, resolution, number of faces, and size of a batch.

    python benchmarks/growth.py length|resolution|faces|batch VIDEO [--rounds 3] [--plot FILE]
                                [--points 3 30 300 ...] [--folder FOLDER] [--seconds 10]

The films are made of VIDEO, which shows one face, forward and backward again and again, at 25
frames a second. length: 640 x 360, so many seconds. resolution: so many lines, 16 : 9. faces: so
many pictures of VIDEO side by side in 1920 x 1080. batch: so many clips go through the network that
ships at once, with all cores.

`fakestormer detect FILM` runs as a user runs it, in a new process each time, the films in turn.
Reference: the first point of the same run. Of every point: processor time and time by the clock
(median, and the range of the rounds), both for a second of film beside the reference's, and the
largest resident size. Start-up is in them, so that a number below 1 is what it loses in weight.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from fakestormer.detection.detector import Detector
from fakestormer.video.decode import stream_frames

RGB = NDArray[np.uint8]
RATE = 25
POINTS = {
    "length": [3, 30, 300, 3600],
    "resolution": [360, 720, 1080, 2160],
    "faces": [1, 2, 4, 8, 12],
    "batch": [1, 2, 4, 8, 16],
}
UNITS = {"length": "seconds", "resolution": "lines", "faces": "faces", "batch": "clips at once"}


@dataclass(slots=True)
class Cost:
    """Of one point: seconds by the clock and of the processor of each round; MiB at most."""

    clock: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    mebibytes: float = 0.0


def fitted(rgb_hwc: RGB, width: int, height: int) -> RGB:
    """Made to fit, with grey borders."""
    scale = min(width / rgb_hwc.shape[1], height / rgb_hwc.shape[0])
    size = (round(rgb_hwc.shape[1] * scale), round(rgb_hwc.shape[0] * scale))
    picture = cv2.resize(rgb_hwc, size, interpolation=cv2.INTER_AREA if scale < 1 else 1)
    top, left = (height - size[1]) // 2, (width - size[0]) // 2
    whole = np.full((height, width, 3), 60, np.uint8)
    whole[top : top + size[1], left : left + size[0]] = picture
    return whole


def side_by_side(rgb_hwc: RGB, count: int, width: int, height: int) -> RGB:
    """So many of the picture's middle in a grid that fills the frame."""
    left = max(0, rgb_hwc.shape[1] - rgb_hwc.shape[0]) // 2
    rgb_hwc = rgb_hwc[:, left : left + rgb_hwc.shape[0]]
    columns = min(count, 4)
    rows = -(-count // columns)
    cell = fitted(rgb_hwc, width // columns, height // rows)
    whole = np.full((height, width, 3), 60, np.uint8)
    for number in range(count):
        y, x = number // columns * cell.shape[0], number % columns * cell.shape[1]
        whole[y : y + cell.shape[0], x : x + cell.shape[1]] = cell
    return whole


def there_and_back(video: Path, count: int) -> Iterator[RGB]:
    """So many frames of the video, forward and backward again and again."""
    frames = [rgb_hwc for _, _, rgb_hwc in stream_frames(video, stop_index=RATE * 5)]
    order = [*range(len(frames)), *range(len(frames) - 2, 0, -1)]
    return (frames[order[number % len(order)]] for number in range(count))


def encode(path: Path, frames: Iterable[RGB]) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(RATE))
        # No frame refers to a later one, so that packets can be repeated in their order.
        stream.options = {"crf": "20", "preset": "veryfast", "g": str(2 * RATE), "bf": "0"}
        stream.pix_fmt = "yuv420p"
        for number, frame in enumerate(frames):
            if number == 0:
                stream.height, stream.width = frame.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def repeat(part: Path, path: Path, count: int) -> None:
    """The packets of `part` again and again, until the film has so many frames."""
    with av.open(str(part)) as source, av.open(str(path), "w") as target:
        given = source.streams.video[0]
        stream = target.add_stream_from_template(given)
        packets = [packet for packet in source.demux(given) if packet.size]
        contents = [(bytes(packet), packet.is_keyframe) for packet in packets]
        assert packets[0].pts is not None
        assert packets[1].pts is not None
        assert given.time_base is not None
        step = packets[1].pts - packets[0].pts
        for number in range(count):
            content, is_keyframe = contents[number % len(contents)]
            packet = av.Packet(content)
            packet.pts = packet.dts = number * step
            packet.time_base, packet.stream = given.time_base, stream
            packet.is_keyframe = is_keyframe
            target.mux(packet)


def film(kind: str, point: int, video: Path, seconds: int, folder: Path) -> Path:
    """The film of a point; made once in a folder."""
    path = folder / f"{kind}-{point}.mp4"
    if path.is_file():
        return path
    if kind == "length":
        part = folder / "part.mp4"
        if not part.is_file():
            encode(part, (fitted(f, 640, 360) for f in there_and_back(video, 10 * RATE)))
        repeat(part, path, point * RATE)
    elif kind == "resolution":
        size = (round(point * 16 / 9), point)
        encode(path, (fitted(f, *size) for f in there_and_back(video, seconds * RATE)))
    else:
        frames = there_and_back(video, seconds * RATE)
        encode(path, (side_by_side(f, point, 1920, 1080) for f in frames))
    return path


def run(path: Path, faces: int, cost: Cost) -> None:
    """Add one `fakestormer detect` of the film, which must find so many faces."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "fakestormer", "detect", str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    if status or printed.count("\n  Face ") != faces:
        raise SystemExit(f"{path}: {faces} faces expected; {printed[-1000:]}")
    cost.clock.append(time.perf_counter() - began)
    cost.processor.append(used.ru_utime + used.ru_stime)
    cost.mebibytes = max(cost.mebibytes, used.ru_maxrss / 1024)


def batch(point: int) -> Callable[[Cost], None]:
    """A call that adds the time for 16 clips in batches of so many."""
    engine = Detector().engine
    side, length = engine.config.image_size, engine.config.frames
    clips = np.random.default_rng(0).integers(0, 256, (16, length, 3, side, side), dtype=np.uint8)

    def call(cost: Cost) -> None:
        clock, processor = time.perf_counter(), time.process_time()
        for first in range(0, len(clips), point):
            engine.judge(clips[first : first + point])
        cost.clock.append(time.perf_counter() - clock)
        cost.processor.append(time.process_time() - processor)

    call(Cost())
    return call


def spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def draw(kind: str, costs: dict[int, Cost], weights: dict[int, float], file: Path) -> None:
    """Processor time and memory against the point, and what would be proportional to the last."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import LogLocator

    figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    points = list(costs)
    values = [statistics.median(costs[p].processor) for p in points]
    axes.plot(points, values, marker="o", label="processor time")
    axes.set(xscale="log", xlabel=UNITS[kind], ylabel="seconds of the processor")
    if kind == "batch":
        axes.set(ylim=(0, 1.2 * max(values)))
    else:
        proportional = [values[-1] * weights[p] / weights[points[-1]] for p in points]
        axes.plot(points, proportional, "--", color="grey", label="proportional to the last")
        axes.set(yscale="log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xticks(points, [str(point) for point in points], minor=False)
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    if any(cost.mebibytes for cost in costs.values()):
        right = axes.twinx()
        right.plot(points, [costs[p].mebibytes for p in points], "s:", color="tab:green")
        most = max(cost.mebibytes for cost in costs.values())
        right.set(ylabel="MiB at most (squares)", ylim=(0, 1.2 * most))
    axes.legend(fontsize="small", loc="lower right")
    figure.savefig(file, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kind", choices=tuple(POINTS))
    parser.add_argument("video", type=Path)
    parser.add_argument("--points", nargs="+", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=10, help="of the films, but for length")
    parser.add_argument("--folder", type=Path, help="films lie here, and are made once")
    parser.add_argument("--plot", type=Path, help="write the plot here, as PNG")
    asked = parser.parse_args()
    kind, points = asked.kind, asked.points or POINTS[asked.kind]
    costs = {point: Cost() for point in points}
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        calls: dict[int, Callable[[Cost], None]] = {}
        for point in points:
            if kind == "batch":
                calls[point] = batch(point)
            else:
                path = film(kind, point, asked.video, asked.seconds, folder)
                faces = point if kind == "faces" else 1
                calls[point] = partial(run, path, faces)
        for _ in range(asked.rounds):
            for point, call in calls.items():
                call(costs[point])
    weight = {"length": lambda p: p, "resolution": lambda p: p * p, "faces": lambda p: p}
    weights = {point: float(weight.get(kind, lambda p: 1)(point)) for point in points}
    print(f"| {UNITS[kind]} | of the processor, s | by the clock, s | against the first | ", end="")
    print("against it, for as much | MiB |\n| --- | --- | --- | --- | --- | --- |")
    first = points[0]
    reference = statistics.median(costs[first].processor)
    for point, cost in costs.items():
        ratio = statistics.median(cost.processor) / reference
        print(
            f"| {point} | {spread(cost.processor)} | {spread(cost.clock)} | {ratio:.2f}x | "
            f"{ratio / (weights[point] / weights[first]):.2f}x | {cost.mebibytes:.0f} |"
        )
    if asked.plot is not None:
        draw(kind, costs, weights, asked.plot)


if __name__ == "__main__":
    main()
