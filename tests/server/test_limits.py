"""What a video may ask of a server is counted from its pictures, not from what lies beside them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fakestormer.errors import InputError
from fakestormer.server.limits import Limits
from fakestormer.video.decode import probe
from odd_files import remuxed


def test_the_length_of_a_video_is_that_of_its_pictures(
    make_video: Callable[..., Path], tmp_path: Path
) -> None:
    pictures = [np.full((32, 32, 3), 10 * n, np.uint8) for n in range(20)]
    plain = make_video(pictures, tmp_path / "plain.mp4")
    late = remuxed(plain, tmp_path / "late.mkv", subtitle_at=3000.0)
    info = probe(late)
    assert info.duration_seconds > 1000, "the subtitle is to count in the file's own length"
    Limits(seconds=60.0).check(info)
    with pytest.raises(InputError, match="and this server takes up to"):
        Limits(seconds=0.2).check(info)
