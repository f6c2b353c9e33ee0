"""Films with more faces than pictures fit into memory: which keep theirs, and what is said."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from fakestormer.detection.detector import Detector
from fakestormer.detection.scored_faces import ScoredFaces, kept_warnings
from fakestormer.detection.verdict import standing
from fakestormer.report import pictures
from fakestormer.report.page import write_report
from fakestormer.types import FaceReport, Report

DATE = datetime.date(2026, 11, 28)
TINTS = ((100, 0, 0), (0, 100, 0), (0, 0, 100), (100, 90, 0))
SHOTS, FRAMES = 14, 8

FakeFace = Callable[..., FaceReport]


@pytest.fixture(scope="module")
def detector(untrained_model: Path, drawn: ModuleType) -> Detector:
    return Detector(untrained_model, backend=drawn.DrawnFaces())


@pytest.fixture(scope="module")
def film(drawn: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fourteen shots of eight frames each, and in each another face in another place."""
    frames = []
    for shot in range(SHOTS):
        top, left = 80 * (shot // 2 % 2), 120 * (shot % 2)
        for face_hwc in drawn.draw(FRAMES, seed=shot)[0]:
            rgb_hwc = np.full((176, 216, 3), TINTS[shot % len(TINTS)], np.uint8)
            rgb_hwc[top : top + 96, left : left + 96] = face_hwc
            frames.append(rgb_hwc)
    path: Path = tmp_path_factory.mktemp("cuts") / "cuts.mp4"
    drawn.write_video(path, np.stack(frames))
    return path


@pytest.fixture(scope="module")
def whole(detector: Detector, film: Path) -> Report:
    report = detector.detect(film, every_second=True)
    assert len(report.faces) == SHOTS
    assert all(face.crops is not None for face in report.faces)
    assert not any("pictures" in warning for warning in report.warnings)
    return report


def size_of(face: FaceReport) -> int:
    return 0 if face.crops is None else face.crops.nbytes


@pytest.mark.parametrize("kept", [0, 1, 3])
def test_a_budget_changes_no_number(
    detector: Detector, film: Path, whole: Report, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = kept * size_of(whole.faces[0])
    most = 0
    add = ScoredFaces.add

    def watched(self: ScoredFaces, face: FaceReport, counts: tuple[bool, bool, float]) -> None:
        nonlocal most
        add(self, face, counts)
        most = max(most, sum(map(size_of, self.faces)))

    monkeypatch.setattr(ScoredFaces, "add", watched)
    report = detector.detect(film, every_second=True, picture_bytes=budget)
    pictured = [face for face in report.faces if face.crops is not None]
    # The face that decides keeps its pictures whatever they take.
    assert len(pictured) == max(1, kept)
    assert most == max(1, kept) * size_of(whole.faces[0])
    (said,) = [warning for warning in report.warnings if "pictures were kept" in warning]
    assert f"has {SHOTS} faces" in said
    assert f"of the {len(pictured)} that count most" in said
    without = {"warnings": [warning for warning in report.warnings if warning != said]}
    assert report.to_dict() | without == whole.to_dict()
    scores = sorted((face.prediction.score for face in whole.faces), reverse=True)
    likely = sum(face.verdict == "likely fake" for face in whole.faces)
    assert likely in (0, SHOTS) or likely >= 3, "so that the highest scores count most"
    assert sorted((f.prediction.score for f in pictured), reverse=True) == scores[: len(pictured)]
    for one, other in zip(report.faces, whole.faces, strict=True):
        assert np.array_equal(
            one.prediction.clip_probabilities, other.prediction.clip_probabilities
        )
        if one.crops is not None:
            assert other.crops is not None
            assert np.array_equal(one.crops, other.crops)


def test_the_page_says_where_no_pictures_were_kept(
    detector: Detector, film: Path, whole: Report, tmp_path: Path
) -> None:
    report = detector.detect(film, picture_bytes=2 * size_of(whole.faces[0]))
    page = write_report(report, tmp_path, date=DATE).read_text()
    assert page.count(">none kept<") == SHOTS - 2
    assert "12 faces of them are listed here only" in page
    assert "no pictures of the other 12" in page
    for face in report.faces:
        assert f"Face {face.number}" in page
        assert (f'id="face-{face.number}"' in page) == (face.crops is not None)
        assert (f'href="#face-{face.number}"' in page) == (face.crops is not None)
    plain = write_report(whole, tmp_path, date=DATE).read_text()
    assert "none kept" not in plain
    assert "listed here only" not in plain
    assert all(f'id="face-{number + 1}"' in plain for number in range(SHOTS))


def test_the_film_is_the_same_without_pictures(
    detector: Detector, film: Path, whole: Report, tmp_path: Path
) -> None:
    few = replace(whole, faces=tuple(replace(face, crops=None) for face in whole.faces), scene=None)
    films = [
        detector.write_overlay(report, tmp_path / n) for n, report in (("a", whole), ("b", few))
    ]
    assert films[0].read_bytes() == films[1].read_bytes()


def test_what_counts_by_hand(fake_face: FakeFace) -> None:
    """Seen for long, then likely fake, then the score; of equals the first."""
    likely, calm = (
        (fake_face(0, scores=(0.6,)), True),
        (fake_face(1, scores=(0.9,), verdict="no manipulation found"), True),
    )
    flits = (fake_face(2, scores=(0.99,)), False)
    higher = (fake_face(3, scores=(0.7,)), True)
    equal = (fake_face(4, scores=(0.7,)), True)
    size = size_of(likely[0])
    for order in ((likely, calm, flits, higher, equal), (higher, equal, flits, calm, likely)):
        for kept, numbers in enumerate(
            (set(), {4}, {4, 5}, {4, 5, 1}, {4, 5, 1, 2}, {4, 5, 1, 2, 3})
        ):
            scored = ScoredFaces(kept * size)
            for face, lasting in order:
                scored.add(face, standing(face, lasting=lasting))
            assert scored.decisive.number == 4
            assert scored.decisive.crops is not None
            pictured = {face.number for face in scored.faces if face.crops is not None}
            assert pictured == (numbers or {4})
            assert [face.number for face in scored.faces] == [face.number for face, _ in order]
            assert bool(kept_warnings(scored.faces)) == (kept < len(order))


def test_a_page_of_thousands_of_faces_stays_small(
    fake_face: FakeFace, fake_report: Callable[..., Report], tmp_path: Path
) -> None:
    base = fake_face(scores=(0.2,), size=32, branches=())
    low = replace(base, crops=None, verdict="no manipulation found")
    faces = [replace(low if n % 300 else base, number=n + 1) for n in range(6000)]
    path = write_report(fake_report(tuple(faces), face_number=301), tmp_path, date=DATE)
    page = path.read_text()
    assert path.stat().st_size < 5_000_000
    assert page.count('<tr><td><span class="small soft">none kept</span>') == 5980
    in_detail = [int(number) for number in re.findall(r'id="face-(\d+)"', page)]
    assert in_detail == list(range(1, 6001, 300))
    assert "Face 6000 <span" in page


def test_faces_that_a_page_has_room_for(fake_face: FakeFace) -> None:
    """28 frames take 25,200 characters; half a page less 150 rows has 2,320,000: 92 faces."""
    base = fake_face(scores=(0.2,) * 7)
    calm = replace(base, verdict="no manipulation found")
    faces = [replace(calm if n < 100 else base, number=n + 1) for n in range(150)]
    assert pictures.shown_in_detail(faces[:40], None) == list(range(40))
    shown = pictures.shown_in_detail(faces, 100)
    assert shown[-51:] == list(range(99, 150)), "the face that decides, and the likely fake ones"
    assert shown[:-51] == list(range(41)), "as many of the others as there is room for"
    assert pictures.shown_in_detail([replace(face, crops=None) for face in faces], 8) == []
