"""Detects a small film with the `fakestormer` that is installed, from another folder.

A script, so that continuous integration can run it where the tests are not; `test_package.py` runs
it too. Needs scikit-image, which ships the portrait, and the face models (`fakestormer setup`).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import av
import numpy as np
from skimage.data import astronaut

VERDICTS = ("likely fake", "no manipulation found", "inconclusive")


def write_film(path: Path, frames: int = 12) -> None:
    """The head of a public-domain portrait, under a camera that moves a little."""
    portrait = astronaut()
    with av.open(path, "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 256
        for index in range(frames):
            picture = np.ascontiguousarray(portrait[2 : 2 + 256, 94 + index : 94 + index + 256])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_film(folder / "film.mp4")
        command = [sys.executable, "-m", "fakestormer", "detect", "film.mp4"]
        subprocess.run(
            [*command, "--json", "results.json", "--report", "reports"], cwd=folder, check=True
        )
        document = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        (result,) = document["results"]
        assert result["verdict"] in VERDICTS, result
        assert 0 <= result["probability"] <= 1, result
        assert len(result["faces"]) == 1, result
        (page,) = (folder / "reports").iterdir()
        assert page.suffix == ".html", page
        print(f"fakestormer {result['model']['fakestormer']}: {result['verdict']}")


if __name__ == "__main__":
    main()
