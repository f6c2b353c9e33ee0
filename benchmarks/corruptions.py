"""What each corruption costs per 1280x720 frame, and how often that is one plain Gaussian blur.

    python benchmarks/corruptions.py [--height 720 --width 1280 --repeats 15]

Prints milliseconds of processor time, the fastest of the repeats, and the ratio to the reference:
one cv2.GaussianBlur of 7 x 7 px on the same frame. "video" is encoding in x264, per frame of a film
of 24, a moving portrait, colour conversion included. One thread throughout.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from fakestormer.evaluation.corruptions import LEVELS, corrupt_frame, recompress


def fastest_ms(work: Callable[[], object], repeats: int) -> float:
    """Processor milliseconds of the fastest of `repeats` calls, after one that does not count."""
    work()
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return 1000 * min(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--height", type=int, default=720)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--repeats", type=int, default=15)
    asked = parser.parse_args()
    height, width = asked.height, asked.width
    from skimage.data import astronaut  # public domain

    cv2.setNumThreads(1)
    large_hwc = cv2.resize(astronaut(), (width + 24, height + 24), interpolation=cv2.INTER_CUBIC)
    film = [
        (i, i / 25, np.ascontiguousarray(large_hwc[i : i + height, i : i + width]))
        for i in range(24)
    ]
    rgb_hwc = film[0][2]
    rng = np.random.default_rng(0)
    blur = fastest_ms(lambda: cv2.GaussianBlur(rgb_hwc, (7, 7), 7 / 6), asked.repeats)
    copy = fastest_ms(rgb_hwc.copy, asked.repeats)
    print(f"frames of {width}x{height} px; reference: cv2.GaussianBlur 7x7, {blur:.2f} ms")
    print(f"{'corruption':16}" + "".join(f"   level {level}     " for level in range(1, 6)))
    print(f"{'(copy)':16}{copy:7.2f} {copy / blur:5.2f}x")
    for name in LEVELS:
        cells = []
        for level in range(1, 6):
            if name == "video":
                with tempfile.TemporaryDirectory() as folder:
                    path = Path(folder) / "film.mp4"
                    ms = fastest_ms(lambda at=path, n=level: recompress(film, at, n), 1) / len(film)
            else:
                ms = fastest_ms(
                    lambda what=name, n=level: corrupt_frame(rgb_hwc, what, n, rng), asked.repeats
                )
            cells.append(f"{ms:7.2f} {ms / blur:5.2f}x  ")
        print(f"{name:16}" + "".join(cells), flush=True)


if __name__ == "__main__":
    main()
