"""`detect` end to end: seconds for a second of video, by stage, on the files given.

    python benchmarks/detect.py VIDEOS... [--model MODEL] [--scene] [--quick]

Stages: decoding; finding faces (the detector); following them (landmarks); the rest of that pass
(cuts, facts about the file, tracks); reading and cropping the sampled clips; the network; and the
rest. Start-up is in none of them. Without --model the weights that ship are measured.
Reference: decoding all frames once and nothing else, in the same run. Seconds by the clock, or of
the processor; peak memory is that of the process.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fakestormer.detection import detector as room
from fakestormer.detection import following, source
from fakestormer.detection.detector import Detector
from fakestormer.errors import NoFaceError
from fakestormer.parallel.threads import thread_count, use_threads
from fakestormer.video.decode import probe, stream_frames

STAGES = (
    "decoding",
    "finding faces",
    "following faces",
    "cuts and facts",
    "clips read and cropped",
    "network",
    "the rest",
)


class Stages:
    """Time spent in what `detector.py` calls, measured around its names."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.spent = dict.fromkeys(STAGES, 0.0)
        self.frames = 0

    def streamed(self, *positional: Any, **named: Any) -> Iterator[Any]:
        frames = iter(stream_frames(*positional, **named))
        while True:
            began = self.clock()
            frame = next(frames, None)
            self.spent["decoding"] += self.clock() - began
            if frame is None:
                return
            self.frames += 1
            yield frame

    def around(self, stage: str, inner: tuple[str, ...], work: Callable[..., Any]) -> Any:
        """`work`, its time put down to `stage`, less what it spends in the `inner` stages."""

        def timed(*positional: Any, **named: Any) -> Any:
            within = sum(self.spent[name] for name in inner)
            began = self.clock()
            try:
                return work(*positional, **named)
            finally:
                took = self.clock() - began
                self.spent[stage] += took - (sum(self.spent[name] for name in inner) - within)

        return timed


def detect_once(
    detector: Detector, path: Path, clock: Callable[[], float], *, scene: bool
) -> tuple[Stages, float]:
    """Stages of one `detect`; all its seconds."""
    stages = Stages(clock)
    clips = ("clips read and cropped",)
    wrapped = {
        (source, "stream_frames"): stages.streamed,
        (following, "find_upright_tracks"): stages.around(
            STAGES[3], STAGES[:3], following.find_upright_tracks
        ),
        (room, "read_clips"): stages.around(clips[0], (), room.read_clips),
        (room, "predict_track"): stages.around("network", clips, room.predict_track),
    }
    faces = detector.backend
    for name in ("detect", "detect_small", "detect_filling"):
        wrapped[faces, name] = stages.around(STAGES[1], (), getattr(faces, name))
    wrapped[faces, "landmarks"] = stages.around(STAGES[2], (), faces.landmarks)
    plain = {(module, name): getattr(module, name) for module, name in wrapped}
    began = clock()
    try:
        for (module, name), function in wrapped.items():
            setattr(module, name, function)
        detector.detect(path, scene=scene)
    except NoFaceError:
        print(f"| {path.name} | no face |")
    finally:
        for (module, name), function in plain.items():
            setattr(module, name, function)
    whole = clock() - began
    stages.spent["the rest"] = whole - sum(stages.spent.values())
    return stages, whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("videos", nargs="+", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--threads", type=int, help="default: as many as there are cores")
    parser.add_argument("--quick", action="store_true", help="the first two videos")
    parser.add_argument(
        "--scene", action="store_true", help="decode the whole frame for the report, too"
    )
    parser.add_argument(
        "--processor", action="store_true", help="processor time of all threads: for busy machines"
    )
    asked = parser.parse_args()
    clock = time.process_time if asked.processor else time.perf_counter
    if asked.threads:
        use_threads(asked.threads)
    detector = Detector(asked.model)
    videos = asked.videos[:2] if asked.quick else asked.videos
    detect_once(detector, videos[0], clock, scene=asked.scene)  # once, to be warm
    kind = "of the processor" if asked.processor else "by the clock"
    print(f"{thread_count()} threads; seconds {kind}\n")
    print(
        "| video | size | length, s | detect, s | s for a second | against decoding | "
        + " | ".join(STAGES)
        + " |\n"
        + "| --- " * (6 + len(STAGES))
        + "|"
    )
    totals = dict.fromkeys(STAGES, 0.0)
    ratios, rates = [], []
    for path in videos:
        info = probe(path)
        began = clock()
        frames = sum(1 for _ in stream_frames(path))
        decoding = clock() - began
        length = frames / info.frames_per_second
        stages, whole = detect_once(detector, path, clock, scene=asked.scene)
        for name, seconds in stages.spent.items():
            totals[name] += seconds
        ratios.append(whole / decoding)
        rates.append(whole / length)
        shares = " | ".join(f"{100 * stages.spent[name] / whole:.0f} %" for name in STAGES)
        print(
            f"| {path.name} | {info.width}x{info.height} | {length:.1f} | {whole:.2f} | "
            f"{rates[-1]:.2f} | {ratios[-1]:.1f}x | {shares} |",
            flush=True,
        )
    everything = sum(totals.values())
    shares = " | ".join(f"{100 * totals[name] / everything:.0f} %" for name in STAGES)
    print(
        f"| all (medians) | | | {everything:.1f} | {statistics.median(rates):.2f} | "
        f"{statistics.median(ratios):.1f}x | {shares} |"
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"\npeak memory {peak:.2f} GiB")


if __name__ == "__main__":
    main()
