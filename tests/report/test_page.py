"""The report page: complete in itself, true to the numbers, safe against its input."""

from __future__ import annotations

import base64
import datetime
import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from fakestormer.detection.film import film_name
from fakestormer.detection.printable import page_name
from fakestormer.drawing import overlays
from fakestormer.errors import InputError
from fakestormer.report import pictures
from fakestormer.report.page import render_report, write_report
from fakestormer.types import EverySecond, FaceReport, Reason, Report, Scene

DATE = datetime.date(2026, 11, 23)
HOSTILE = '<script>alert("1")</script>&\'<img src=x onerror=alert(2)>'

FakeFace = Callable[..., FaceReport]
FakeReport = Callable[..., Report]

VOID = {"meta", "link", "img", "input", "br", "hr"}
REQUESTING = {"src", "href", "action", "data", "srcset", "poster", "background", "xlink:href"}


class Page(HTMLParser):
    """A page taken apart: every tag with its attributes, all text, and whether tags are closed."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.pieces: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1] == tag, f"</{tag}> closes <{self.open[-1]}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in {"script", "style"}:
            self.pieces.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.pieces))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page_of(report: Report) -> Page:
    return Page(render_report(report, date=DATE))


@pytest.fixture(scope="module")
def two_faces(fake_face: FakeFace, fake_report: FakeReport) -> Report:
    calm = fake_face(
        1, scores=(0.08, 0.22), verdict="no manipulation found", warnings=("Seen from the side.",)
    )
    return fake_report((fake_face(), calm), warnings=("The file ends early.",))


def test_is_well_formed_and_says_what_it_is(two_faces: Report) -> None:
    html = render_report(two_faces, date=DATE)
    page = Page(html)
    assert html.startswith("<!DOCTYPE html>")
    assert page.open == []
    assert page.all("html")[0]["lang"] == "en"
    assert len(page.all("h1")) == 1
    assert len(page.all("main")) == 1


def test_asks_nobody_for_anything(two_faces: Report) -> None:
    html = render_report(two_faces, date=DATE)
    assert "http:" not in html
    assert "https:" not in html
    assert "url(" not in html
    assert "@import" not in html
    for tag, attributes in Page(html).tags:
        for name in REQUESTING & attributes.keys():
            value = attributes[name] or ""
            assert value.startswith(("#", "data:")), f"<{tag} {name}={value[:40]!r}>"
    policy = next(m["content"] for m in Page(html).all("meta") if "http-equiv" in m) or ""
    assert policy.startswith("default-src 'none'; img-src data:; media-src data:;")


def test_policy_allows_its_own_script_only(two_faces: Report) -> None:
    html = render_report(two_faces, date=DATE)
    scripts = re.findall(r"<script>(.*?)</script>", html, flags=re.DOTALL)
    assert len(scripts) == 1
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in html
    assert not re.search(r"\son\w+=", html), "the policy would block inline handlers"


def test_same_report_and_date_give_the_same_bytes(
    two_faces: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = write_report(two_faces, tmp_path / "a", date=DATE).read_bytes()
    second = write_report(two_faces, tmp_path / "b", date=DATE).read_bytes()
    assert first == second
    later = write_report(two_faces, tmp_path / "a", date=datetime.date(2027, 1, 5)).read_bytes()
    assert later != first
    assert later.replace(b"2027-01-05", b"2026-11-23") == first
    assert [p.name for p in (tmp_path / "a").iterdir()] == [
        page_name(two_faces.path, two_faces.sha256)
    ]


def test_shows_the_numbers_of_the_report(two_faces: Report) -> None:
    page = page_of(two_faces)
    assert "0.871" in page.text
    assert "0.871000" in page.text
    for face in two_faces.faces:
        assert f"Face {face.number}" in page.text
        assert f"{face.prediction.probability:.2f}" in page.text
        for probability in face.prediction.clip_probabilities.tolist():
            assert f"{probability:.3f}" in page.text
        for score in face.prediction.frame_probabilities.flatten().tolist():
            assert f"Frame alone {score:.3f}" in page.text
        for index in face.prediction.indices.flatten().tolist():
            assert f"frame {index}" in page.text
    assert "The file ends early." in page.text
    assert "Seen from the side." in page.text


def test_records_what_is_needed_to_repeat_the_analysis(two_faces: Report) -> None:
    text = page_of(two_faces).text
    assert two_faces.sha256 in text
    assert two_faces.model["weights_sha256"] in text
    assert "versions: torch 2.13.0" in text
    assert "sampling windows" in text
    assert "codec h264" in text
    assert "bit rate not known" in text


def test_does_not_give_away_the_folder(two_faces: Report) -> None:
    html = render_report(two_faces, date=DATE)
    assert "interview.mp4" in html
    assert "home/somebody" not in html


def test_time_line_points_lead_to_their_clips(two_faces: Report) -> None:
    page = page_of(two_faces)
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids)), "ids are unique"
    links = [a for a in page.all("a") if a["href"] and a["href"].startswith("#")]
    assert {(a["href"] or "")[1:] for a in links} <= set(ids)
    points = [a for a in links if "aria-label" in a]
    assert len(points) == sum(len(f.prediction.clip_probabilities) for f in two_faces.faces)
    above = [a["aria-label"] or "" for a in points if a["class"] == "alarm"]
    assert len(above) == 1
    assert "probability 0.930" in above[0]
    assert above[0].startswith("Clip 2, 0:01.60 to 0:01.72")
    described = [
        a[k] for _, a in page.tags for k in ("aria-labelledby", "aria-describedby") if k in a
    ]
    assert set(described) <= set(ids)


def test_points_stand_at_their_score(two_faces: Report) -> None:
    dots = [c for c in page_of(two_faces).all("circle") if c.get("class") == "dot"]
    scores = [p for face in two_faces.faces for p in face.prediction.clip_probabilities.tolist()]
    heights = [float((c["cy"] or "").rstrip("%")) for c in dots]
    assert heights == pytest.approx([100 * (1 - p) for p in scores], abs=0.01)


def test_pictures_are_inlined_and_described(two_faces: Report) -> None:
    page = page_of(two_faces)
    images = page.all("img")
    frames = sum(f.crops.shape[0] * f.crops.shape[1] for f in two_faces.faces)
    faces = len(two_faces.faces)
    # each frame, and a picture of each face in overview and heading
    assert len(images) == frames + 2 * faces
    assert all((image.get("alt") or "").strip() for image in images)
    shown = decode(next(i for i in images if i["alt"] == "Face 1 at 0:00.00, frame 0")["src"])
    original = two_faces.faces[0].crops[0, 0].transpose(1, 2, 0)
    assert shown.shape == original.shape
    assert np.abs(shown[..., ::-1].astype(float) - original).mean() < 8, "colours in RGB order"


def decode(url: str | None) -> np.ndarray:
    assert url is not None
    kind, data = url.split(",", 1)
    assert kind == "data:image/webp;base64"
    return cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_UNCHANGED)


def test_heat_maps_are_see_through() -> None:
    rgba = overlays.colour_table()[None].repeat(256, axis=0)
    back = decode(pictures.picture_url_of(rgba, quality=80))
    assert back.shape == (256, 256, 4)
    assert np.abs(back[..., 3].astype(int) - rgba[..., 3]).mean() < 2


def test_hostile_input_stays_text(fake_face: FakeFace, fake_report: FakeReport) -> None:
    report = fake_report(
        (fake_face(warnings=(HOSTILE,)),),
        path=f"/tmp/{HOSTILE.replace('/', '')}.mp4",
        sha256=HOSTILE,
        warnings=(HOSTILE,),
        video={HOSTILE: HOSTILE, "width": HOSTILE, "duration_seconds": float("nan")},
        model={"versions": {HOSTILE: [HOSTILE, {"a": HOSTILE}]}},
        settings={"threshold": HOSTILE, "nested": {"more": {HOSTILE: None}}},
    )
    html = render_report(report, date=DATE)
    page = Page(html)
    clean = page_of(fake_report((fake_face(warnings=("x",)),), warnings=("x",)))
    assert page.open == []
    assert len(page.all("script")) == len(clean.all("script"))
    assert len(page.all("img")) == len(clean.all("img"))
    assert not any("onerror" in attributes for _, attributes in page.tags)
    assert HOSTILE in page.text


def test_names_that_cannot_be_shown_are_cleaned(fake_report: FakeReport, tmp_path: Path) -> None:
    name = "a\u202egpj.exe\udcff\x00\n.mp4"
    report = fake_report(path=name, video={"tag": "\ud800"})
    page = Page(write_report(report, tmp_path, date=DATE).read_text(encoding="utf-8"))
    assert "a�gpj.exe" in page.text
    assert "\u202e" not in page.text


@pytest.mark.parametrize(
    ("path", "start"),
    [
        ("clip.mp4", "clip-"),
        ("/a/b/two words.final.mov", "two_words.final-"),
        ("<script>alert(1)</script>.mp4", "script-"),
        ("../..mp4", "video-"),
        ("a\\b:c*?.mp4", "a_b_c-"),
        ("...", "video-"),
        ("中文 видео.mp4", "中文_видео-"),
        ("x" * 300 + ".mp4", "x" * 40 + "-"),
    ],
)
def test_file_names_are_safe(fake_report: FakeReport, path: str, start: str) -> None:
    name = page_name(path, "0123456789abcdef" * 4)
    assert name == start + "0123456789ab.html"
    assert Path(name).name == name


def test_same_name_of_other_videos_does_not_collide(fake_report: FakeReport) -> None:
    one = fake_report((), path="a/clip.mp4", sha256="a" * 64)
    other = fake_report((), path="b/clip.mp4", sha256="b" * 64)
    assert page_name(one.path, one.sha256) != page_name(other.path, other.sha256)


def test_without_faces(fake_report: FakeReport) -> None:
    report = fake_report(
        (),
        verdict="inconclusive",
        probability=None,
        face_number=None,
        warnings=("No face was found in any of 310 frames.",),
    )
    page = page_of(report)
    assert page.open == []
    assert "Inconclusive" in page.text
    assert "No score" in page.text
    assert "No face was found in any of 310 frames." in page.text
    assert page.all("img") == []
    assert "None" not in page.text


def test_without_any_facts(fake_report: FakeReport) -> None:
    report = fake_report(video={}, model={}, settings={})
    page = page_of(report)
    assert page.open == []
    assert "likely fake from 0.50" in page.text


def test_face_without_clips_and_no_score(fake_face: FakeFace, fake_report: FakeReport) -> None:
    face = fake_face(scores=(), verdict="inconclusive")
    page = page_of(fake_report((face,), verdict="inconclusive", probability=None, face_number=None))
    assert page.open == []
    assert "No clip of this face was scored." in page.text


PLAIN = "This model is a plain classifier: it was not taught where or what to look for."


def layers(page: Page) -> list[dict[str, str | None]]:
    return [image for image in page.all("img") if image.get("class") == "layer"]


def test_maps_cover_the_face_alone_on_one_scale(
    fake_face: FakeFace, fake_report: FakeReport
) -> None:
    face = fake_face(explained=True)
    maps = layers(page_of(fake_report((face,))))
    assert len(maps) == 3 * 4, "the first frame of a clip has a map, too"
    assert layers(page_of(fake_report())) == [], "and nothing is drawn that was not explained"
    alpha = np.stack([decode(image["src"])[..., 3] for image in maps]).astype(float)
    rows, columns = np.nonzero(alpha.max(axis=0) > 20)
    # The drawn landmarks fill 0.2 to 0.8 of the crop; the border reaches 12 % beyond.
    assert 0.15 < rows.min() / 112 < rows.max() / 112 < 0.86
    assert 0.15 < columns.min() / 112 < columns.max() / 112 < 0.86
    # Clip 1 has 0.12 of the evidence that clip 2 has 0.93 of.
    assert alpha[4:8].max() > 180
    assert alpha[0:4].max() < 0.5 * alpha[4:8].max()


def test_the_most_suspicious_clip_sets_the_scale(
    fake_face: FakeFace, fake_report: FakeReport
) -> None:
    # As gradients are: tiny in the clip of which f is sure, large in the others.
    face = fake_face(explained=True)
    assert face.prediction.evidence is not None
    times_c111 = np.array([1000, 1, 1000], np.float32)[:, None, None, None]
    evidence_ctgg = face.prediction.evidence * times_c111
    face = replace(face, prediction=replace(face.prediction, evidence=evidence_ctgg))
    assert face.moment is not None
    assert face.moment.clip == 1
    maps = layers(page_of(fake_report((face,))))
    alpha = np.stack([decode(image["src"])[..., 3] for image in maps[4:8]])
    assert alpha.max() > 180, "its map can be seen"


def test_the_moment_is_named_and_outlined(fake_face: FakeFace, fake_report: FakeReport) -> None:
    face = fake_face(explained=True)
    picture = np.full((3, 720, 1280), 90, dtype=np.uint8)
    scene = Scene(picture=picture, scale=1.0, clip=1, frame=2, loop=b"a film")
    page = page_of(replace(fake_report((face,)), scene=scene))
    assert face.moment is not None
    assert face.moment.region == "left jaw line", "the fixture's evidence peaks at (0.25, 0.7)"
    assert "Strongest: left jaw line, 1.6 to 1.7 s" in page.text
    (polygon,) = page.all("polygon")
    points = np.array([point.split(",") for point in (polygon["points"] or "").split()], float)
    assert points[:, 0].min() < 0.25 < points[:, 0].max()
    assert points[:, 1].min() < 0.7 < points[:, 1].max()
    (still,) = (i for i in page.all("img") if "as it is in the video" in str(i["alt"]))
    assert (still["width"], still["height"]) == ("1280", "720"), "the video's own resolution"
    assert decode(still["src"]).shape == (720, 1280, 3)
    (box,) = (d for d in page.all("div") if d.get("class") == "face-box")
    assert box["style"] == "left:15.62%;top:16.67%;width:20.31%;height:36.11%"
    (film,) = page.all("video")
    assert base64.b64decode(str(film["src"]).partition(",")[2]) == b"a film"
    assert not page_of(fake_report()).all("video")


def test_a_green_verdict_beside_a_high_clip_is_explained(
    fake_face: FakeFace, fake_report: FakeReport
) -> None:
    face = fake_face(scores=(0.1, 0.95, 0.2), verdict="no manipulation found")
    settings = {"fake_from": 0.8, "clear_below": 0.45}
    calm = fake_report(
        (face,), verdict="no manipulation found", probability=0.42, settings=settings
    )
    assert (
        "found none above its threshold. One of its 3 clips alone reaches that threshold, with up "
        "to 0.95 at 0:01.60; the verdict rests on all clips together, and they come to 0.42."
    ) in page_of(calm).text
    low = fake_face(scores=(0.1, 0.5, 0.2), verdict="no manipulation found")
    assert "alone reaches" not in page_of(replace(calm, faces=(low,))).text


def test_colours_go_by_the_thresholds_of_the_verdicts(
    fake_face: FakeFace, fake_report: FakeReport
) -> None:
    face = fake_face(scores=(0.99, 0.57, 0.2))
    page = page_of(fake_report((face,), settings={"fake_from": 0.83, "clear_below": 0.35}))
    points = [a for a in page.all("a") if "Clip" in str(a.get("aria-label"))]
    assert [a["class"] for a in points] == ["alarm", "unsure", "calm"]
    assert "Flagged, from 0.83 on: 0.0 to 0.1 s." in page.text


def test_the_film_is_linked_where_it_lies_beside_the_page(
    fake_report: FakeReport, tmp_path: Path
) -> None:
    report = replace(
        fake_report(),
        scene=Scene(picture=np.zeros((3, 8, 8), dtype=np.uint8), scale=1.0, clip=0, frame=0),
    )
    name = film_name(report.path, report.sha256)
    assert name not in write_report(report, tmp_path, date=DATE).read_text()
    (tmp_path / name).write_bytes(b"")
    links = [
        a["href"] for a in Page(write_report(report, tmp_path, date=DATE).read_text()).all("a")
    ]
    assert name in links


def test_network_without_g_shows_no_frame_scores(
    fake_face: FakeFace, fake_report: FakeReport
) -> None:
    page = page_of(fake_report((fake_face(branches=("h",)),)))
    assert page.open == []
    assert not re.search("frame scores?\\b", page.text, flags=re.IGNORECASE)
    assert not any("frame score" in (f.get("data-caption") or "") for f in page.all("figure"))
    assert not any(e.get("class") == "bar" for e in page.all("span"))
    assert "This model gives no scores of single frames." in page.text
    assert PLAIN not in page.text


def test_plain_classifier_is_called_so(fake_face: FakeFace, fake_report: FakeReport) -> None:
    page = page_of(fake_report((fake_face(branches=()),)))
    assert page.open == []
    assert PLAIN in page.text
    assert not re.search(r"frame alone|trembles|None", page.text, flags=re.IGNORECASE)
    assert len([i for i in page.all("img") if "at 0:" in (i["alt"] or "")]) == 3 * 4, "frames stay"
    assert "0.930" in page.text


def test_several_shots_show_the_last_and_the_mean(
    fake_face: FakeFace, fake_report: FakeReport
) -> None:
    text = page_of(fake_report((fake_face(shots=(0.9, 0.75, 0.6)),))).text
    assert "Face 1, shots 3: last 0.600000, mean 0.750000 (each: 0.900, 0.750, 0.600)" in text
    assert "Frames are shown and scored as the first of 3 shots saw them" in text
    assert "shots" not in page_of(fake_report()).text


@pytest.mark.parametrize("frames", [1, 8, 16])
def test_other_clip_lengths_and_grids(
    fake_face: FakeFace, fake_report: FakeReport, frames: int
) -> None:
    face = fake_face(scores=(0.3, 0.6), frames=frames, grid=4, size=32, explained=True)
    assert len(layers(page_of(fake_report((face,))))) == 2 * frames


def test_never_says_real_or_authentic_as_a_verdict(
    fake_face: FakeFace, fake_report: FakeReport
) -> None:
    face = fake_face(scores=(0.1, 0.2), verdict="no manipulation found")
    text = page_of(fake_report((face,), verdict="no manipulation found", probability=0.15)).text
    assert "No manipulation found" in text
    assert "This does not show that the video is authentic." in text
    assert not re.search(r"\breal\b", text, flags=re.IGNORECASE)


def test_limits_are_stated(two_faces: Report) -> None:
    text = page_of(two_faces).text
    for words in (
        "generated as a whole",
        "Sound",
        "A low probability is not proof of authenticity",
    ):
        assert words in text


def test_threshold_and_band_come_from_the_settings(
    fake_face: FakeFace, fake_report: FakeReport
) -> None:
    report = fake_report(
        (fake_face(verdict="inconclusive"),),
        verdict="inconclusive",
        probability=0.42,
        settings={"fake_from": 0.93, "clear_below": 0.4, "error_rates": "Of 7 real videos none."},
    )
    page = page_of(report)
    assert "likely fake from 0.93" in page.text
    assert "lies between the two thresholds" in page.text
    assert "Of 7 real videos none." in page.text
    assert "at this threshold was not measured" not in page.text
    above = [a for a in page.all("a") if a.get("class") == "alarm"]
    assert len(above) == 1, "0.93 reaches 0.93, 0.41 and 0.12 do not"


def test_a_report_may_have_one_threshold_and_no_error_rates(
    fake_face: FakeFace, fake_report: FakeReport
) -> None:
    report = fake_report((fake_face(),), probability=0.6, settings={"fake_from": 0.4})
    page = page_of(report)
    assert "likely fake from 0.40" in page.text
    assert "How often this model errs at this threshold was not measured." in page.text
    assert "between the two thresholds" not in page.text


def test_page_stays_small(fake_face: FakeFace, fake_report: FakeReport, tmp_path: Path) -> None:
    """Even noise, which compresses worst: quality falls first, then whole clips go."""
    faces = tuple(
        fake_face(n, scores=(0.2, 0.9, 0.4, 0.1), size=224, noise=True) for n in range(12)
    )
    path = write_report(fake_report(faces), tmp_path, date=DATE)
    assert path.stat().st_size < 5_000_000


def test_clips_left_out_are_the_lowest_and_keep_their_numbers(fake_face: FakeFace) -> None:
    faces = (fake_face(scores=(0.2, 0.9, 0.4, 0.1)), fake_face(1, scores=(0.3, 0.1, 0.2, 0.7)))
    everything = pictures.album(faces, budget=10**9)
    assert set(everything) == {(f, c) for f in (0, 1) for c in range(4)}
    smallest = pictures.album(faces, budget=0)
    assert smallest == {}
    side, quality = pictures.QUALITIES[-1]
    small = dict(pictures._pictures(faces, side=side, quality=quality, clips=1))
    least = sum(len(p.frame) + len(p.layer or "") for clip in small.values() for p in clip)
    assert pictures.album(faces, budget=least) == small
    assert set(small) == {(0, 1), (1, 3)}, "each face keeps its highest-scoring clip"


def test_says_when_pictures_are_left_out(
    fake_report: FakeReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "room_for_pictures", lambda _faces: 0)
    page = page_of(fake_report())
    assert "3 clips, to keep this page small; their numbers are complete." in page.text
    assert "Frame alone" in page.text
    assert all(image["alt"] != "" for image in page.all("img"))


def test_folder_that_cannot_be_made(fake_report: FakeReport, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file, not a folder")
    with pytest.raises(InputError, match="cannot be written"):
        write_report(fake_report(()), tmp_path / "taken", date=DATE)


def judged(report: Report, **changes: object) -> Report:
    """The report, its deciding face changed."""
    (face, *others) = report.faces
    return replace(report, faces=(replace(face, **changes), *others))


def test_reasons_and_interval_are_shown(fake_report: FakeReport) -> None:
    reason = Reason(code="clips_disagree", text="Its clips disagree <b>much</b>.")
    plain = fake_report(verdict="inconclusive", probability=0.6)
    changes = {"verdict": "inconclusive", "reasons": (reason,), "interval": (0.123, 0.934)}
    page = page_of(judged(plain, **changes))
    assert "Why inconclusive Its clips disagree <b>much</b>." in page.text
    assert "(0.12 to 0.93 over its clips)" in page.text
    assert not page.all("b") or "much" not in [attributes.get("b") for attributes in page.all("b")]
    assert "0.123000 to 0.934000 (percentile bootstrap" in page.text
    assert "Why inconclusive" not in page_of(plain).text
    assert "over its clips)" not in page_of(plain).text


def test_every_second_is_a_line_and_a_table(fake_report: FakeReport) -> None:
    line = EverySecond(
        seconds=np.array([0.0, 1.0, 12.4], np.float64),
        probabilities=np.array([0.0, 0.75, 1.0], np.float32),
    )
    page = page_of(judged(fake_report(), every_second=line))
    (polyline,) = page.all("polyline")
    assert polyline["points"] == "0.0,100.0 8.06,25.0 100.0,0.0"
    assert (
        "Every second of Face 1 From Probability 0:00.00 0.000 0:01.00 0.750 0:12.40 1.000"
        in page.text
    )
    assert not page_of(fake_report()).all("polyline")


def test_an_hour_of_seconds_fits(fake_face: FakeFace, fake_report: FakeReport) -> None:
    line = EverySecond(
        seconds=np.arange(3600, dtype=np.float64),
        probabilities=np.random.default_rng(0).random(3600, np.float32),
    )
    face = fake_face(scores=[0.5] * 8, noise=True, size=224)
    report = judged(fake_report((face,)), every_second=line)
    assert len(render_report(report, date=DATE)) < 5_000_000


def test_credentials_are_told_or_said_to_be_unchecked(fake_report: FakeReport) -> None:
    assert "the package c2pa-python is not installed" in page_of(fake_report()).text
    found = {
        "checked": True, "found": True, "state": "Valid", "issuer": "<i>Maker\u202e</i>",
        "generator": None, "time": None, "problems": [],
    }  # fmt: skip
    page = page_of(fake_report(video={"content_credentials": found}))
    assert page.text.count("Signed in the name of <i>Maker�</i>. The signature holds") == 2
    assert "The file carries Content Credentials" in page.text
    without = page_of(fake_report(video={"content_credentials": {"checked": True, "found": False}}))
    assert "The file carries Content Credentials" not in without.text
    assert "The file carries none." in without.text


def test_says_which_part_of_the_video_was_looked_at(fake_report: FakeReport) -> None:
    facts = {"frame_count": 12, "cuts": []}
    assert "Only part of the video was looked at: 12 frames of 310." in page_of(fake_report()).text
    whole = page_of(fake_report(video=facts)).text
    assert "Only part of the video" not in whole
    assert "cuts none" in whole
    unknown = page_of(fake_report(video={})).text
    assert "Only part of the video was looked at: 12 frames." in unknown
