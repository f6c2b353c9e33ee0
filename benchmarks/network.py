"""Forward, forward and backward, and a SAM step: fused attention, torch.compile, bf16, by size.

    python benchmarks/network.py [--sizes tiny small] [--device cuda] [--clips 8] [--quick]

Reference: the same network with a plain attention, softmax(Q K^T / sqrt(d)) V in separate kernels,
in the same run. Share of peak: the network's own floating-point operations (matrix products,
convolutions and attention, counted by torch) a second, over what one large float32 (or bfloat16)
matrix product reaches in the same run. On a CPU processor time of one thread, else the clock.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from fakestormer.model import attention as attention_of_ours
from fakestormer.model.attention import Attention, attend
from fakestormer.model.build import build
from fakestormer.recipe import model as sizes
from fakestormer.training.sam import SAM, frozen_statistics

SIZES = {"tiny": sizes.tiny, "small": sizes.small, "base": sizes.base}


def plain_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(Q K^T / sqrt(d)) V, (..., h, l, c) each, as one writes it down."""
    scores = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5
    return torch.softmax(scores, dim=-1) @ v


@contextmanager
def attention(kernel: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Iterator[None]:
    """Within: the network attends by `kernel`."""
    ours = attention_of_ours.attend
    attention_of_ours.attend = kernel
    try:
        yield
    finally:
        attention_of_ours.attend = ours


@dataclass(frozen=True)
class Clock:
    device: torch.device
    rounds: int

    def ms(self, work: Callable[[], object]) -> float:
        """Median milliseconds of a call, after two that do not count (or compile)."""
        for _ in range(2):
            work()
        taken = []
        for _ in range(self.rounds):
            began = self._now()
            work()
            taken.append(1000 * (self._now() - began))
        return statistics.median(taken)

    def _now(self) -> float:
        if self.device.type == "cpu":
            return time.process_time()
        torch.cuda.synchronize(self.device)
        return time.perf_counter()


def peak_gflops(clock: Clock, dtype: torch.dtype) -> float:
    """What a large square matrix product reaches, 10^9 operations a second."""
    side = 768 if clock.device.type == "cpu" else 8192
    a, b = (torch.randn(side, side, device=clock.device).to(dtype) for _ in range(2))
    return 2 * side**3 / (1e6 * clock.ms(lambda: a @ b))


def operations(work: Callable[[], object]) -> float:
    """10^9 floating-point operations of one call."""
    with FlopCounterMode(display=False) as counted:
        work()
    return counted.get_total_flops() / 1e9


def measure(name: str, clips: int, clock: Clock, *, compiled: bool) -> None:
    torch.manual_seed(0)
    shape = SIZES[name]()
    network = build(shape).to(clock.device)
    side = shape.image_size
    frames = torch.randint(
        0, 256, (clips, shape.frames, 3, side, side), dtype=torch.uint8, device=clock.device
    )
    kernel = F.scaled_dot_product_attention
    bf16 = torch.autocast(clock.device.type, dtype=torch.bfloat16)
    peaks = {dtype: peak_gflops(clock, dtype) for dtype in (torch.float32, torch.bfloat16)}
    print(
        f"\n{name}: {clips} clips of {shape.frames} frames at {side} px; measured peak "
        f"{peaks[torch.float32]:.0f} GFLOP/s in float32, {peaks[torch.bfloat16]:.0f} in bfloat16\n"
    )
    print(
        "| | forward, ms a clip | | of peak | and backward, ms a clip | | of peak | SAM step, ms a "
        "clip |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-6)
    sam = SAM(optimizer, rho=0.05)
    fast: nn.Module = torch.compile(network) if compiled else network  # type: ignore[assignment]
    variants: list[tuple[str, nn.Module, object, AbstractContextManager[None], torch.dtype]] = [
        ("plain attention (reference)", network, plain_attention, nullcontext(), torch.float32),
        ("fused attention", network, kernel, nullcontext(), torch.float32),
        ("fused, bf16", network, kernel, bf16, torch.bfloat16),
        ("ours, bf16: plain in training on a CPU", network, attend, bf16, torch.bfloat16),
    ]
    if compiled:
        variants += [
            ("fused, compiled", fast, kernel, nullcontext(), torch.float32),
            ("fused, compiled, bf16", fast, kernel, bf16, torch.bfloat16),
        ]
    reference: tuple[float, float] | None = None
    work: tuple[float, float] | None = None
    for label, module, how, context, dtype in variants:

        def forward(module: nn.Module = module, context=context) -> None:  # type: ignore[no-untyped-def]
            with torch.inference_mode(), context:
                module(frames)

        def backward(module: nn.Module = module, context=context) -> None:  # type: ignore[no-untyped-def]
            with context:
                outputs = module(frames)
            total = outputs.logit.float().sum() + outputs.derivative.float().square().mean()
            (total + outputs.frame_logits.float().sum()).backward()

        def both(backward: Callable[[], None] = backward) -> None:
            backward()
            optimizer.zero_grad()

        def sam_step(backward: Callable[[], None] = backward) -> None:
            backward()
            with sam.perturbed(), frozen_statistics(network):
                optimizer.zero_grad()
                backward()
            optimizer.step()
            optimizer.zero_grad()

        with attention(how):  # type: ignore[arg-type]
            network.eval()
            work = work or (operations(forward), 0.0)
            ahead = clock.ms(forward) / clips
            network.train()
            if not work[1]:
                work = (work[0], operations(both))
            back = clock.ms(both) / clips
            step = clock.ms(sam_step) / clips
        reference = reference or (ahead, back)
        # 10^9 operations a clip in so many milliseconds
        shares = [
            100 * work[i] / clips / ms * 1000 / peaks[dtype] for i, ms in enumerate((ahead, back))
        ]
        print(
            f"| {label} | {ahead:.1f} | {reference[0] / ahead:.2f}x | {shares[0]:.0f} % | "
            f"{back:.1f} | {reference[1] / back:.2f}x | {shares[1]:.0f} % | {step:.1f} |",
            flush=True,
        )


def attention_alone(name: str, clips: int, clock: Clock) -> None:
    """Both kernels on the two shapes of rows: many of T + 1 tokens, few of N + 1; both dtypes."""
    shape = SIZES[name]()
    layer = Attention(shape.width, shape.heads).to(clock.device)
    positions = shape.grid**2
    print(f"\n{name}, one attention layer, ms for {clips} clips, forward and backward\n")
    print("| rows | plain (reference) | fused | |\n| --- | --- | --- | --- |")
    for kind, rows, length in (
        ("temporal", clips * positions, shape.frames + 1),
        ("spatial", clips * shape.frames, positions + 1),
    ):
        x_rld = torch.randn(rows, length, shape.width, device=clock.device, requires_grad=True)
        for dtype in (torch.float32, torch.bfloat16):
            taken = []
            autocast = torch.autocast(
                clock.device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16
            )
            for kernel in (plain_attention, F.scaled_dot_product_attention):
                with attention(kernel), autocast:
                    taken.append(clock.ms(lambda x=x_rld: layer(x).float().sum().backward()))
            print(
                f"| {kind}, {rows} of {length}, {str(dtype).removeprefix('torch.')} | "
                f"{taken[0]:.1f} | {taken[1]:.1f} | {taken[0] / taken[1]:.2f}x |"
            )


def growth(clock: Clock, clips: int, plot: Path | None) -> None:
    """Forward and backward of the network that ships (stem frozen) against T and against size."""
    taken: dict[tuple[int, int], float] = {}
    base = sizes.tiny().model_copy(
        update={
            "stem": "efficientnet-lite0", "frozen_stages": 6, "branches": ("h", "g", "b"),
            "width": 192, "heads": 3, "image_size": 192,
        }
    )  # fmt: skip
    print(f"\n{clips} clips, EfficientNet-Lite0 stem frozen, width 192\n")
    print("| frames T | px | ms a clip | ms a frame |\n| --- | --- | --- | --- |")
    for frames, side in ((1, 192), (4, 192), (8, 192), (16, 192), (4, 96), (4, 128), (4, 256)):
        torch.manual_seed(0)
        shape = base.model_copy(update={"frames": frames, "image_size": side})
        network = build(shape).to(clock.device).train()
        shown = torch.randint(0, 256, (clips, frames, 3, side, side), dtype=torch.uint8)
        shown = shown.to(clock.device)

        def step(network: nn.Module = network, shown: Tensor = shown) -> None:
            outputs = network(shown)
            total = outputs.derivative.square().mean() + outputs.boundary_logits.mean()
            (total + outputs.frame_logits.sum()).backward()
            network.zero_grad(set_to_none=True)

        ms = taken[frames, side] = clock.ms(step) / clips
        print(f"| {frames} | {side} | {ms:.0f} | {ms / frames:.1f} |", flush=True)

    if plot is not None:
        draw(taken, plot)


def draw(taken: dict[tuple[int, int], float], file: Path) -> None:
    """Milliseconds against T and against pixels, beside the line of what is proportional."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3), layout="constrained")
    base = taken[4, 192]
    panels: list[tuple[str, dict[float, float], float]] = [
        ("frames T, at 192 px", {t: ms for (t, side), ms in taken.items() if side == 192}, 4),
        (
            "thousands of pixels a frame, T = 4",
            {side**2 / 1000: ms for (t, side), ms in sorted(taken.items()) if t == 4},
            192**2 / 1000,
        ),
    ]
    for axes, (what, points, at) in zip(figure.subplots(1, 2), panels, strict=True):
        axes.plot(list(points), list(points.values()), "o-", label="measured")
        axes.plot([0, max(points)], [0, base * max(points) / at], ":", label="proportional")
        axes.set_xlabel(what)
        axes.set_ylabel("ms a clip")
        axes.legend()
    figure.savefig(file, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=["tiny", "small"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--clips", type=int, help="per batch; default 2 on a CPU, else 32")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--growth", action="store_true", help="only: a step against T and size")
    parser.add_argument("--plot", type=Path, help="with --growth: draw it into this PNG")
    parser.add_argument("--quick", action="store_true", help="tiny alone, not compiled, 2 rounds")
    asked = parser.parse_args()
    device = torch.device(asked.device)
    if device.type == "cpu":
        torch.set_num_threads(1)
    clips = asked.clips or (2 if device.type == "cpu" else 32)
    clock = Clock(device, rounds=2 if asked.quick else 5)
    print(f"{platform.machine()}, torch {torch.__version__}, {device}")
    if asked.growth:
        growth(clock, clips, asked.plot)
        return
    for name in ["tiny"] if asked.quick else asked.sizes:
        measure(name, clips, clock, compiled=not (asked.quick or asked.no_compile))
        attention_alone(name, clips, clock)


if __name__ == "__main__":
    main()
