"""The network in each runtime on the CPU: ms for a batch, a video's clips and all of `detect`.

    python benchmarks/runtimes.py MODEL [VIDEO] [--threads 1 2] [--compile] [--quick]

A batch is 8 clips: all that `detect` takes of a face by default (32 frames, T = 4). `detect` adds
decoding, faces and crops. Reference: torch in float32, in the same run; ratios above 1x are faster
than it. Variants take turns, so that what else the machine does meets all alike, and the fastest of
the rounds counts. By the clock; "of the processor" is the time of all threads in the same rounds.
Opening: a model whose .onnx file is there. Largest difference: of clip probabilities from the
reference, on the video's clips (or on random ones).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from fakestormer.detection.detector import Detector
from fakestormer.faces.open import open_backend
from fakestormer.runtimes.exported import RuntimeName
from fakestormer.types import Outputs

BATCH = 8
RUNTIMES: tuple[RuntimeName, ...] = ("torch", "onnx", "openvino")
Judge = Callable[[Tensor], Outputs]


@dataclass
class Row:
    """One variant and what it took, ms of each round."""

    label: str
    judge: Judge
    opened: float
    clock: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    difference: float = 0.0


def variants(model: Path, *, compiled: bool) -> tuple[list[Row], dict[str, Detector]]:
    """The rows, torch first, and the detectors of those that `detect` can use."""
    backend = open_backend()
    rows, detectors = [], {}
    for name in RUNTIMES:
        # Twice: the first time may have to make the file.
        for _ in range(2):
            began = time.perf_counter()
            detector = Detector(model, backend=backend, runtime=name)
            opened = 1000 * (time.perf_counter() - began)
        label = detector.fingerprint(faces=False).get("runtime", "torch")
        rows.append(Row(label, detector.network, opened))
        detectors[label] = detector
    network = rows[0].judge

    def bf16(frames: Tensor) -> Outputs:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            outputs: Outputs = network(frames)
        return outputs

    rows.append(Row("torch, bfloat16", bf16, rows[0].opened))
    if compiled:
        rows.append(Row("torch.compile", torch.compile(network), rows[0].opened))
    return rows, detectors


@torch.inference_mode()
def measure(rows: list[Row], crops: Tensor, rounds: int) -> None:
    """A batch of the crops, uint8 (C, T, 3, H, W), in turns."""
    batch = crops.repeat(-(-BATCH // len(crops)), 1, 1, 1, 1)[:BATCH]
    reference = rows[0].judge(batch).logit.sigmoid()
    for row in rows:
        row.judge(batch)
        scores = row.judge(batch).logit.float().sigmoid()
        row.difference = float((scores - reference).abs().max())
    for _ in range(rounds):
        for row in rows:
            began = time.perf_counter(), time.process_time()
            row.judge(batch)
            row.clock.append(1000 * (time.perf_counter() - began[0]))
            row.processor.append(1000 * (time.process_time() - began[1]))


def measure_detect(
    rows: list[Row], detectors: dict[str, Detector], video: Path, rounds: int
) -> None:
    """Of the rows that have a detector."""
    for _ in range(rounds):
        for row in rows:
            if row.label in detectors:
                began = time.process_time()
                detectors[row.label].detect(video)
                row.whole.append(1000 * (time.process_time() - began))


def table(rows: list[Row], *, video: bool) -> str:
    def ratio(of: str, row: Row) -> str:
        best, first = min(getattr(row, of)), min(getattr(rows[0], of))
        return f"{best:.1f} | {first / best:.2f}x"

    titles = ["runtime", f"batch of {BATCH}, ms", "", "of the processor, ms", ""]
    titles += ["`detect`, ms of the processor", ""] if video else []
    titles += ["opening, ms", "largest difference"]
    lines = ["| " + " | ".join(titles) + " |", "| --- " * len(titles) + "|"]
    for row in rows:
        cells = [row.label, ratio("clock", row), ratio("processor", row)]
        if video:
            cells.append(ratio("whole", row) if row.whole else " | ")
        cells += [f"{row.opened:.0f}", f"{row.difference:.1e}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("video", type=Path, nargs="?")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--compile", action="store_true", help="torch.compile too: takes minutes")
    parser.add_argument("--quick", action="store_true", help="five rounds instead of 41")
    asked = parser.parse_args()
    rounds = 5 if asked.quick else 41
    for threads in asked.threads:
        torch.set_num_threads(threads)
        rows, detectors = variants(asked.model, compiled=asked.compile)
        plain = detectors[rows[0].label]
        c = plain.network.config
        if asked.video:
            crops = plain.detect(asked.video).faces[0].crops
        else:
            size = (BATCH, c.frames, 3, c.image_size, c.image_size)
            crops = torch.randint(0, 256, size, dtype=torch.uint8)
        measure(rows, crops, rounds)
        if asked.video:
            measure_detect(rows, detectors, asked.video, 3 if asked.quick else 7)
        print(f"\n{plain.name}: T = {c.frames}, {c.image_size} px; threads: {threads}\n")
        print(table(rows, video=asked.video is not None), flush=True)


if __name__ == "__main__":
    main()
