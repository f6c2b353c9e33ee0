"""Memory and time of `fakestormer detect` on long files, made by repeating the videos given.

    python benchmarks/long_videos.py one|cuts VIDEOS... [--minutes 10 20 60] [--ways plain report]
                                     [--folder FOLDER] [--model MODEL]

one: the first video forward and backward, again and again, so that one face is followed from the
first frame to the last. cuts: a second of each video in turn, so that there is a face anew in each
second. Both 640 x 480 at 25 frames per second. The command is run as a user runs it, with the
default face backend and, without --model, with the weights that ship. Memory: the largest sum over
the command and its children, of the proportional set size (PSS: shared pages count once), looked at
once a second; beside it the largest resident size of the command itself as the kernel has it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from fakestormer.video.decode import stream_frames

RGB = NDArray[np.uint8]
WIDTH, HEIGHT, RATE = 640, 480, 25
#: Seconds of the part that is encoded, then repeated packet by packet.
PART = 120
LOOK_EVERY = 1.0

WAYS: dict[str, tuple[str, ...]] = {
    "plain": (),
    "every-second": ("--every-second",),
    "report": ("--report", "{out}"),
    "overlay": ("--report", "{out}", "--overlay"),
}


def fitted(rgb_hwc: RGB) -> RGB:
    """Made to fit 640 x 480, with black borders."""
    height, width = rgb_hwc.shape[:2]
    scale = min(WIDTH / width, HEIGHT / height)
    size = (round(width * scale), round(height * scale))
    small = cv2.resize(rgb_hwc, size, interpolation=cv2.INTER_AREA)
    top, left = (HEIGHT - small.shape[0]) // 2, (WIDTH - small.shape[1]) // 2
    whole = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    whole[top : top + small.shape[0], left : left + small.shape[1]] = small
    return whole


def one_face(videos: Sequence[Path]) -> Iterator[RGB]:
    frames = [fitted(rgb_hwc) for _, _, rgb_hwc in stream_frames(videos[0], stop_index=RATE * 60)]
    yield from frames
    yield from frames[-2:0:-1]


def cut_each_second(videos: Sequence[Path]) -> Iterator[RGB]:
    films = [[fitted(rgb_hwc) for _, _, rgb_hwc in stream_frames(path)] for path in videos]
    at = [0] * len(films)
    for second in range(PART):
        k = second % len(films)
        if at[k] + RATE > len(films[k]):
            at[k] = 0
        part = films[k][at[k] : at[k] + RATE]
        yield from part + [part[-1]] * (RATE - len(part))
        at[k] += RATE


def encode(path: Path, frames: Iterable[RGB]) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(RATE))
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        # No frame refers to a later one, so that packets can be repeated in their order.
        stream.options = {"crf": "20", "preset": "veryfast", "g": str(RATE), "bf": "0"}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def repeat(part: Path, path: Path, seconds: int) -> None:
    """The packets of `part` again and again, until the film is so long."""
    with av.open(str(part)) as source, av.open(str(path), "w") as target:
        given = source.streams.video[0]
        stream = target.add_stream_from_template(given)
        packets = [packet for packet in source.demux(given) if packet.size]
        contents = [(bytes(packet), packet.is_keyframe) for packet in packets]
        assert packets[0].pts is not None
        assert packets[1].pts is not None
        assert given.time_base is not None
        step = packets[1].pts - packets[0].pts
        for number in range(seconds * RATE):
            content, is_keyframe = contents[number % len(contents)]
            packet = av.Packet(content)
            packet.pts = packet.dts = number * step
            packet.time_base, packet.stream = given.time_base, stream
            packet.is_keyframe = is_keyframe
            target.mux(packet)


def family(root: int) -> list[int]:
    """The process and all below it."""
    found, new = [root], [root]
    while new:
        below: list[int] = []
        for pid in new:
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                try:
                    below += [int(child) for child in children.read_text().split()]
                except OSError:
                    continue
        found, new = found + below, below
    return found


def field_kib(path: Path, name: str) -> int:
    try:
        lines = path.read_text().splitlines()
    except OSError:  # ended meanwhile
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)


def measured(command: Sequence[str]) -> tuple[float, float, float]:
    """Seconds, GiB of all processes, GiB of the first."""
    with tempfile.TemporaryFile("w+") as output:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        everything = alone = 0
        while process.poll() is None:
            pids = family(process.pid)
            sizes = [field_kib(Path(f"/proc/{pid}/smaps_rollup"), "Pss:") for pid in pids]
            everything = max(everything, sum(sizes))
            alone = max(alone, field_kib(Path(f"/proc/{process.pid}/status"), "VmHWM:"))
            time.sleep(LOOK_EVERY)
        took = time.perf_counter() - began
        output.seek(0)
        said = output.read().splitlines()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: ended with {process.returncode}: {said[-3:]}")
    return took, everything / 2**20, alone / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=("one", "cuts"))
    parser.add_argument("videos", nargs="+", type=Path)
    parser.add_argument("--minutes", nargs="+", type=int, default=[10, 20, 60])
    parser.add_argument("--ways", nargs="+", choices=tuple(WAYS), default=["plain"])
    parser.add_argument("--folder", type=Path, help="films lie here, and are made once")
    parser.add_argument("--model", type=Path)
    asked = parser.parse_args()
    print("| film | way | time, s | peak of all, GiB | of the command, GiB | faces |")
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f"{asked.kind}.mp4"
        if not part.is_file():
            encode(part, {"one": one_face, "cuts": cut_each_second}[asked.kind](asked.videos))
        for minutes in asked.minutes:
            film = folder / f"{asked.kind}-{minutes}.mp4"
            if not film.is_file():
                repeat(part, film, minutes * 60)
            for way in asked.ways:
                out = folder / f"{film.stem}-{way}"
                options = [option.format(out=out) for option in WAYS[way]]
                results = out.with_suffix(".json")
                command = [sys.executable, "-m", "fakestormer", "detect", str(film)]
                command += ["--json", str(results), *options]
                command += ["--model", str(asked.model)] if asked.model else []
                took, everything, alone = measured(command)
                (result,) = json.loads(results.read_text())["results"]
                print(
                    f"| {film.stem} | {way} | {took:.0f} | {everything:.2f} | {alone:.2f} | "
                    f"{len(result['faces'])} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
