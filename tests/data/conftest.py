from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from folder_stores import prepare_folder


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory, drawn: ModuleType) -> Path:
    """Four good videos of two sources, and one of each kind that cannot be used."""
    folder = tmp_path_factory.mktemp("videos")
    for number in (1, 2):
        for source in ("alpha", "beta"):
            frames, _ = drawn.draw(13, seed=number + len(source))
            drawn.write_video(folder / f"{source}_{number:03d}.mp4", frames)
    black = drawn.draw(8)[0] * 0
    drawn.write_video(folder / "odd" / "black.mkv", black)
    drawn.write_video(folder / "odd" / "short.mov", drawn.draw(3)[0])
    drawn.write_video(folder / "odd" / "small.mp4", drawn.draw(8, face=0.2)[0])
    (folder / "odd" / "broken.mp4").write_bytes(b"\x00\x01 this is no video" * 50)
    (folder / "notes.txt").write_text("not a video")
    return folder


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory, videos: Path, drawn: ModuleType) -> Path:
    """`videos`, prepared, with beta held out."""
    folder = tmp_path_factory.mktemp("prepared") / "store"
    prepare_folder(videos, folder, backend=drawn.DrawnFaces, validation_sources=("beta",))
    return folder
