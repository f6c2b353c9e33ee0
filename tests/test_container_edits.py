"""Random edits of a container: the verdict stays that of the plain file, or says truly why not.

FAKESTORMER_EDITS=300 makes as many as the release is checked with.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from fakestormer.detection.detector import Detector
from fakestormer.types import Report
from odd_files import remuxed, several
from video_fixtures import number_frames, write_video

EDITS = int(os.environ.get("FAKESTORMER_EDITS", "12"))
MakeVideo = Callable[..., Path]

pytestmark = pytest.mark.usefixtures("face_backend_ready")


@pytest.fixture(scope="module")
def detector(untrained_model: Path) -> Detector:
    """Far from its threshold, whatever it sees: reasons are those of the file."""
    detector = Detector(untrained_model)
    detector.prediction = detector.prediction.model_copy(
        update={"threshold": 0.99999, "inconclusive": 1e-7}
    )
    return detector


@pytest.fixture(scope="module")
def plain(astronaut_video: MakeVideo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plain") / "plain.mp4"
    return astronaut_video(path, count=16, how={"options": {"g": "8", "crf": "20", "bf": "0"}})


def edit_of(rng: random.Random) -> tuple[str, dict[str, Any]]:
    """A container and what is done: streams added, reordered, cut, retimed, re-aspected."""
    suffix = rng.choice([".mp4", ".mkv", ".mov", ".ts", ".flv"])
    how: dict[str, Any] = {}
    if rng.random() < 0.5:
        how["sound"] = rng.choice([0.3, 3.0, 20.0])
        how["sound_first"] = rng.random() < 0.5
    if suffix in (".mp4", ".mkv") and rng.random() < 0.3:
        how["subtitle_at"] = rng.choice([1.0, 600.0])
    if suffix == ".mkv" and rng.random() < 0.3:
        how["attachment"] = rng.choice([10_000, 1_000_000])
    if rng.random() < 0.3:
        how["delay"] = rng.choice([0.5, 7.0])
    if rng.random() < 0.3:
        how["slower"] = rng.choice([2, 5, 50])
    if rng.random() < 0.3:
        how["keep"] = rng.choice([0.7, 0.8])
    elif rng.random() < 0.3:
        how["begin"] = 8
    if suffix in (".mp4", ".mov") and rng.random() < 0.3:
        meant = [Fraction(16, 15), Fraction(4, 3), Fraction(3, 4)]
        how["aspect"] = rng.choice([Fraction(1), Fraction(4095, 4096), Fraction(1000), *meant])
    if rng.random() < 0.2:
        how["jump"] = rng.choice([90.0, 3600.0])
    return suffix, how


def check(report: Report, expected: Report, how: dict[str, Any]) -> None:
    assert not any("truncated" in text for text in report.warnings), how
    meant = abs(how.get("aspect", 1) - 1) > 0.01 and how["aspect"] < 4
    assert any("Its pixels are not square" in text for text in report.warnings) == meant, how
    codes = {reason.code for reason in report.reasons}
    allowed = {"frames_far_apart"} if how.get("slower", 1) > 2 else set()
    assert codes == allowed, how
    if not allowed:
        assert report.verdict == expected.verdict, how
    if not meant and not how.keys() & {"keep", "begin"}:
        assert report.probability == expected.probability, how


@pytest.mark.parametrize("seed", range(EDITS))
def test_an_edited_container_is_judged_as_the_plain_one(
    seed: int, detector: Detector, plain: Path, tmp_path: Path
) -> None:
    rng = random.Random(seed)
    suffix, how = edit_of(rng)
    expected = detector.detect(plain)
    assert expected.verdict == "no manipulation found"
    edited = remuxed(plain, tmp_path / f"edited{suffix}", **how)
    check(detector.detect(edited), expected, how)
    if suffix in (".mkv", ".mov") and rng.random() < 0.5:
        preview = write_video(number_frames(16, width=64, height=64), tmp_path / "preview.mp4")
        first = rng.random() < 0.5
        streams = (preview, edited) if first else (edited, preview)
        both = several(tmp_path / f"both{suffix}", *streams, default=(int(first),))
        judged = detector.detect(both)
        assert judged.video["stream"] == int(first)
        # The aspect of the container is not taken along.
        check(judged, expected, {name: what for name, what in how.items() if name != "aspect"})
