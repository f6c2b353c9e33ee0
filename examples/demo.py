"""The whole system in some minutes on two cores: real video in, explained verdict out.

It makes short real clips from one portrait (NASA's photograph of Eileen Collins, public domain,
which scikit-image ships) moved by a simulated camera, trains the `tiny` recipe on them and on
their self-blended copies, and then detects clips that it did not train on: a real one and its
pseudo-fake. Run it with `make demo`.
"""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path

import av
import cv2
import numpy as np
from rich.console import Console
from rich.table import Table
from skimage.data import astronaut

from fakestormer import (
    DetectorSettings,
    PrepareSettings,
    ResultFiles,
    TrainSettings,
    detect_many,
    load_recipe,
    prepare,
    synthesize,
    train,
    write_report,
)

SIDE, RATE, FRAMES = 384, 25, 48
FACE_CENTRE = (222.0, 130.0)  # in the portrait, pixels
TRAIN_VIDEOS, VALIDATION_VIDEOS, TEST_VIDEOS = 12, 4, 4

#: Only a folder with this file in it is emptied.
MARK = ".fakestormer-demo"
#: What some ninety seconds on two cores allow.
OVERRIDES = (
    "training.epochs=10",
    "training.validate_every=5",
    # r = 1, blends at full strength, as a face swap is: subtle ones take longer to learn
    "synthesis.blend_ratios=[1.0]",
    # Pairs teach, not their length; and b is told where the blend lies, which teaches soonest.
    "model.frames=2",
    'model.branches=["h","g","b"]',
    "training.loss.lambda_b=2",
)

WHAT_IT_SHOWS = """
What this shows: the whole path works. Faces are found and followed, real clips are blended with
themselves, a network learns to tell the two apart, and its verdict comes with a report: the most
suspicious moment, what speaks for a fake there, and the scores over time.

What it does not show: that it detects deepfakes. This network has seen one face, for a minute or
two, and fakes of one kind, and its scores of them are often too low: part of what it learns so soon
is a shortcut, where the face stands in its crop (docs/experiments.md), which a file does not offer.
The weights that ship (docs/model-card.md) call five of sixteen real face swaps likely fake, and
leave the others open. Train on your own real videos (README), for longer, before you trust an
answer.
"""

console = Console(width=120)


def film(path: Path, seed: int) -> None:
    """Write a clip of the portrait: smooth camera motion, slow light change, sensor noise."""
    rng = np.random.default_rng(seed)
    portrait = astronaut()
    centre_x, centre_y = FACE_CENTRE
    if rng.random() < 0.5:
        portrait = np.ascontiguousarray(portrait[:, ::-1])
        centre_x = portrait.shape[1] - 1 - centre_x
    amplitude = rng.uniform([8, 6, 0.03, 1.5, 6], [24, 18, 0.10, 5.0, 16])
    frequency = rng.uniform(0.15, 0.9, size=5)
    phase = rng.uniform(0, 2 * np.pi, size=5)
    zoom = rng.uniform(1.5, 2.0)
    contrast, saturation = rng.uniform(0.8, 1.15), rng.uniform(0.7, 1.2)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264", rate=RATE, options={"crf": "18", "preset": "veryfast"}
        )
        stream.width, stream.height, stream.pix_fmt = SIDE, SIDE, "yuv420p"
        for frame in range(FRAMES):
            wave = amplitude * np.sin(2 * np.pi * frequency * frame / RATE + phase)
            dx, dy, dzoom, angle, light = wave
            matrix = cv2.getRotationMatrix2D((centre_x, centre_y), angle, zoom * (1 + dzoom))
            matrix[:, 2] += [SIDE / 2 - centre_x + dx, SIDE / 2 - centre_y + dy]
            image = cv2.warpAffine(
                portrait,
                matrix,
                (SIDE, SIDE),
                flags=cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REFLECT,
            ).astype(np.float32)
            grey = image.mean(axis=2, keepdims=True)
            image = (grey + (image - grey) * saturation - 128) * contrast + 128 + light
            image += 2 * rng.standard_normal(image.shape, np.float32)
            picture = av.VideoFrame.from_ndarray(image.clip(0, 255).astype(np.uint8), "rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def film_all(videos: Path) -> list[Path]:
    """Clips to train on, to choose the model by, and to test on; returns the last."""
    for number in range(TRAIN_VIDEOS + VALIDATION_VIDEOS):
        folder = videos / ("train" if number < TRAIN_VIDEOS else "validation")
        folder.mkdir(parents=True, exist_ok=True)
        film(folder / f"clip_{number:02d}.mp4", seed=number)
    test = videos.with_name("unseen")
    test.mkdir()
    paths = [test / f"unseen_{number}.mp4" for number in range(TEST_VIDEOS)]
    for number, path in enumerate(paths):
        film(path, seed=1000 + number)
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo"), help="made anew each time")
    out: Path = parser.parse_args().out
    started = time.monotonic()
    if out.exists() and not (out / MARK).exists():
        parser.error(f"{out} exists and was not made by this demo; name another folder")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / MARK).touch()

    console.rule("1. Real clips: one portrait and a simulated camera")
    unseen = film_all(out / "videos")
    print(f"{TRAIN_VIDEOS + VALIDATION_VIDEOS} clips to train with, {len(unseen)} to test on")

    console.rule("2. Faces: found, followed, cropped")
    recipe = load_recipe("tiny", OVERRIDES)
    store = out / "store"
    settings = PrepareSettings(hold_out=("validation",), workers=2)
    summary = prepare(out / "videos", store, recipe=recipe, settings=settings)
    print(f"{summary.tracks} face tracks, {summary.frames} frames")

    console.rule("3. Training: every real clip against its self-blended copy")
    result = train(store, out / "model", recipe=recipe, settings=TrainSettings(workers=1))
    print(f"validation AUC {result.best['auc_video']:.3f} on {VALIDATION_VIDEOS} clips held out")

    console.rule("4. Detection: clips the network has not seen, real and pseudo-fake")
    twins = []
    for number, video in enumerate(unseen):
        pair = out / "pairs" / str(number)
        synthesize(video, pair, seed=number, recipe=recipe)
        twins += [pair / "real.mp4", pair / "fake.mp4"]
    own = {}
    files = ResultFiles(json_file=out / "results.json")
    for detection in detect_many(twins, settings=DetectorSettings(model=result.model), files=files):
        own[detection.path] = detection.report
    plain = DetectorSettings(scene=False)  # its reports are not written
    shipped = {detection.path: detection.report for detection in detect_many(twins, settings=plain)}
    table = Table("clip", "is", "verdict", "probability of fake", "weights that ship", "report")
    for twin in twins:
        report, other = own[str(twin)], shipped[str(twin)]
        page = write_report(report, out / "reports" / f"{twin.parent.name}_{twin.stem}")
        table.add_row(
            unseen[int(twin.parent.name)].stem,
            {"real": "real", "fake": "pseudo-fake"}[twin.stem],
            report.verdict,
            f"{report.probability:.3f}",
            f"{other.verdict} ({other.probability:.3f})",
            str(page),
        )
    console.print(table)
    higher, shipped_higher = (
        sum(
            reports[str(fake)].probability > reports[str(real)].probability
            for real, fake in zip(twins[::2], twins[1::2], strict=True)
        )
        for reports in (own, shipped)
    )
    print(
        f"The pseudo-fake scores higher than its real twin in {higher} of {len(unseen)} pairs, and "
        f"in {shipped_higher} by the weights that ship, which have never seen this face."
    )
    console.print(WHAT_IT_SHOWS, soft_wrap=True)
    print(f"Done in {time.monotonic() - started:.0f} seconds; everything is in {out}/")


if __name__ == "__main__":
    main()
