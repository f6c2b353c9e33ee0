"""Self-blended clips a second and core: `render` against the plain per-frame version of the tests.

    python benchmarks/synthesis.py [--quick] [--device cuda --batch 32]

Made-up 4-frame clips at 256 px (224 px shown) and at 128 px (112 px). Reference: the oracle,
tests/synthesis/oracle.py, on the same clips and draws, in the same run. Processor time of one
thread, median and range of the rounds. Then the share of each stage of `render`, measured around
the functions it calls; what is left is copying and Python. Then what the options beyond the method
cost, against `render` in the same run. `--device cuda` times whole batches on the GPU by the clock
instead.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "synthesis"))

import oracle

from fakestormer.parallel.memory import keep_freed_memory
from fakestormer.recipe.synthesis import BeyondConfig, SynthesisConfig
from fakestormer.synthesis import render as room
from fakestormer.synthesis.beyond.donor import lay_on
from fakestormer.synthesis.pairs import pair_targets
from fakestormer.synthesis.params import ClipParams, sample
from fakestormer.synthesis.render import render
from fakestormer.types.network import SelfBlended

T = 4
SIZES = {256: 224, 128: 112}
STAGES = {
    "hulls filled": "hull_mask",
    "elastic field": "elastic_field",
    "warps (mask and copy)": "take",
    "mask shrunk and feathered": "soften",
    "mask resized back": "resize",
    "colours": "change_colour",
    "detail": "change_detail",
    "margin and resize": "cut_margin",
    "JPEG": "compress_jpeg",
}


def made_up_clip(stored: int, seed: int) -> tuple[Tensor, Tensor]:
    """uint8 (1, T, 3, S, S): smooth random pictures with grain; and 81 points of a face's size."""
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(T):
        coarse = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
        smooth = cv2.resize(coarse, (stored, stored), interpolation=cv2.INTER_CUBIC)
        grain = rng.normal(0, 3, smooth.shape)
        frames.append(np.clip(smooth + grain, 0, 255).astype(np.uint8).transpose(2, 0, 1))
    angle = np.linspace(0, 2 * np.pi, 81)
    radius = 0.5 + 0.5 * rng.random(81)
    face = np.stack([60 * radius * np.cos(angle), 78 * radius * np.sin(angle)], axis=-1)
    landmarks = (face + 127.5 + rng.normal(0, 0.5, (T, 81, 2))) * (stored / 256)
    as_stored = np.ascontiguousarray(frames)  # plane by plane, as a store gives them
    return torch.from_numpy(as_stored)[None], torch.from_numpy(landmarks)[None].float()


def per_clip_ms(
    work: Callable[[ClipParams], object],
    draws: Sequence[ClipParams],
    rounds: int,
    clock: Callable[[], float] = time.process_time,
) -> list[float]:
    """Milliseconds a clip in each round, after a few clips that do not count."""
    for params in draws[:3]:
        work(params)
    taken = []
    for _ in range(rounds):
        began = clock()
        for params in draws:
            work(params)
        taken.append(1000 * (clock() - began) / len(draws))
    return taken


def render_one(frames: Tensor, landmarks: Tensor, size: int, params: ClipParams) -> SelfBlended:
    return render(frames, landmarks, [params], size=size)


def pair_one(frames: Tensor, landmarks: Tensor, size: int, params: ClipParams) -> object:
    blended = render_one(frames, landmarks, size, params)
    return pair_targets(blended, [params], SynthesisConfig(), patch_size=16)


def blend_one(frames: np.ndarray, points: np.ndarray, size: int, params: ClipParams) -> object:
    return oracle.blend_clip(frames, points, params, size=size)


def beyond(
    frames: Tensor, landmarks: Tensor, size: int, draws: Sequence[ClipParams], rounds: int
) -> None:
    """What blending in the gradient domain costs, and laying another's face on the clip's."""
    donor, donor_landmarks = made_up_clip(frames.shape[-1], seed=1)
    rng = np.random.default_rng(0)
    config = SynthesisConfig(beyond=BeyondConfig(gradient_domain_probability=1.0))
    poisson = [sample(rng, config, clip_length=T) for _ in draws]

    def lay(params: ClipParams, *, bent: bool) -> Tensor:
        how = {"interpolation": params.interpolation, "bent": bent}
        return lay_on(donor[0], donor_landmarks[0], frames[0], landmarks[0], **how)

    print("\n| beyond the method | ms a clip, processor time | clips a second and core | render |")
    print("| --- | --- | --- | --- |")
    rendered = partial(render_one, frames, landmarks, size)
    reference = row("render, self-blended (reference)", per_clip_ms(rendered, draws, rounds), 0)
    row("render, gradient domain", per_clip_ms(rendered, poisson, rounds), reference)
    row("a face laid on, turned", per_clip_ms(partial(lay, bent=False), draws, rounds), reference)
    row("a face laid on, bent", per_clip_ms(partial(lay, bent=True), draws, rounds), reference)


def row(name: str, taken: list[float], reference: float) -> float:
    """Prints a row of the table; returns the median."""
    median = statistics.median(taken)
    print(
        f"| {name} | {median:.1f} ({min(taken):.1f}-{max(taken):.1f}) | {1000 / median:.0f} | "
        f"{reference / median if reference else 1:.1f}x |",
        flush=True,
    )
    return median


def stage_ms(work: Callable[[ClipParams], object], draws: Sequence[ClipParams]) -> dict[str, float]:
    """Milliseconds a clip inside each function of `STAGES`, in one round."""
    spent = dict.fromkeys(STAGES, 0.0)
    plain = {name: getattr(room, name) for name in STAGES.values()}

    def timed(stage: str, function: Callable[..., object]) -> Callable[..., object]:
        def wrapper(*positional: object, **named: object) -> object:
            began = time.process_time()
            try:
                return function(*positional, **named)
            finally:
                spent[stage] += 1000 * (time.process_time() - began) / len(draws)

        return wrapper

    try:
        for stage, name in STAGES.items():
            setattr(room, name, timed(stage, plain[name]))
        for params in draws:
            work(params)
    finally:
        for name, function in plain.items():
            setattr(room, name, function)
    return spent


def on_cpu(count: int, rounds: int) -> None:
    torch.set_num_threads(1)  # as a loading process has it
    cv2.setNumThreads(1)
    config = SynthesisConfig()
    rng = np.random.default_rng(0)
    draws = [sample(rng, config, clip_length=T) for _ in range(count)]
    plainly = {}
    for stored, size in SIZES.items():
        frames, landmarks = made_up_clip(stored, seed=0)
        frames_thwc = np.ascontiguousarray(frames[0].permute(0, 2, 3, 1).numpy())
        blend = partial(blend_one, frames_thwc, landmarks[0].numpy(), size)
        plainly[stored] = per_clip_ms(blend, draws, max(1, rounds // 2))
    keep_freed_memory()  # as a loading process does, and a plain program does not
    for stored, size in SIZES.items():
        frames, landmarks = made_up_clip(stored, seed=0)
        rendered = partial(render_one, frames, landmarks, size)
        with_targets = partial(pair_one, frames, landmarks, size)
        print(f"\n{count} clips of {T} frames at {stored} px, shown at {size} px\n")
        print("| | ms a clip, processor time | clips a second and core | against the oracle |")
        print("| --- | --- | --- | --- |")
        reference = row("oracle (reference)", plainly[stored], 0)
        whole = row("render", per_clip_ms(rendered, draws, rounds), reference)
        row("render, cutout and targets", per_clip_ms(with_targets, draws, rounds), reference)
        print("\n| stage of render | ms a clip | share |\n| --- | --- | --- |")
        spent = stage_ms(rendered, draws)
        spent["the rest"] = max(0.0, whole - sum(spent.values()))
        for stage, ms in sorted(spent.items(), key=lambda item: -item[1]):
            print(f"| {stage} | {ms:.2f} | {100 * ms / whole:.0f} % |")
        beyond(frames, landmarks, size, draws, rounds)


def on_gpu(device: torch.device, batch: int, rounds: int) -> None:
    """Batched `render`, frames on the device, by the clock; hulls and JPEG are the CPU's."""
    for jpeg in (0.5, 0.0):
        config = SynthesisConfig(jpeg_probability=jpeg)
        for stored, size in SIZES.items():
            clips = [made_up_clip(stored, seed) for seed in range(8)]
            chosen = [clips[i % len(clips)] for i in range(batch)]
            frames = torch.cat([frames for frames, _ in chosen]).to(device)
            landmarks = torch.cat([landmarks for _, landmarks in chosen]).to(device)
            rng = np.random.default_rng(0)
            draws = [sample(rng, config, clip_length=T) for _ in range(batch)]
            taken = []
            for _ in range(rounds + 1):
                torch.cuda.synchronize(device)
                began = time.perf_counter()
                render(frames, landmarks, draws, size=size)
                torch.cuda.synchronize(device)
                taken.append(time.perf_counter() - began)
            median = statistics.median(taken[1:])
            alone = partial(render_one, frames[:1].cpu(), landmarks[:1].cpu(), size)
            one = per_clip_ms(alone, draws[:8], 2, time.perf_counter)
            print(
                f"{stored} px, JPEG p = {jpeg}: {batch / median:.0f} clips, "
                f"{T * batch / median:.0f} frames a second; one CPU core in the same run "
                f"{1000 / min(one):.0f} clips (reference), {batch / median * min(one) / 1000:.1f}x"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few clips, one round")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=32, help="clips at a time, on a GPU")
    asked = parser.parse_args()
    device = torch.device(asked.device)
    print(f"{platform.machine()}, torch {torch.__version__}, OpenCV {cv2.__version__}, {device}")
    if device.type == "cpu":
        on_cpu(8 if asked.quick else 40, 1 if asked.quick else 5)
    else:
        on_gpu(device, asked.batch, 2 if asked.quick else 10)


if __name__ == "__main__":
    main()
