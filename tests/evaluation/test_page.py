"""evaluation.html: all of the numbers, complete in itself, safe against its input."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fakestormer.evaluation.page import (
    WorstError,
    pick_worst,
    picture_name,
    render_page,
    write_page,
)
from fakestormer.evaluation.score import VideoScore

HOSTILE = '<script>alert("1")</script>&\'<img src=x onerror=alert(2)>'
VOID = {"meta", "link", "img", "br"}
REQUESTING = {"src", "href", "action", "data", "srcset", "poster", "background", "xlink:href"}


class Page(HTMLParser):
    """A page taken apart: its tags, its text, whether tags are closed, and its tables' rows."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.pieces: list[str] = []
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1] == tag, f"</{tag}> closes <{self.open[-1]}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            return
        self.pieces.append(data)
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.pieces))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def picture(ending: str = ".png", grey: int = 128) -> bytes:
    encoded = cv2.imencode(ending, np.full((8, 8, 3), grey, np.uint8))[1]
    return bytes(encoded.tobytes())


def group(name: str, real: int, fake: int, area: float | None, unscored: int = 0) -> dict[str, Any]:
    return {
        "group": name,
        "real": real,
        "fake": fake,
        "unscored": unscored,
        "metrics": {
            "auc": area,
            "interval": None if area is None else [area - 0.01, area + 0.01],
            "average_precision": area and 0.9211,
            "equal_error_rate": area and 0.0722,
            "accuracy": area and 0.8733,
            "balanced_accuracy": area and 0.8244,
            "tpr_at_1_fpr": area and 0.6755,
            "tpr_at_01_fpr": area and 0.5266,
        },
        "auc_with_unscored": area and 0.7377,
        "auc_clip": area and 0.7188,
    }


def result(groups: list[dict[str, Any]], left_out: Mapping[str, str]) -> dict[str, Any]:
    scored = groups[0]["real"] + groups[0]["fake"]
    return {
        "videos": scored + len(left_out),
        "scored": scored,
        "left_out": dict(left_out),
        "groups": groups,
    }


def data_set(results: dict[str, Any], **more: Any) -> dict[str, Any]:
    prepared = {"backend": "drawn", "max_frames": 256, "crop": {"enlarge": 1.25}}
    return {
        "dataset": "folder",
        "compression": "",
        "manifest_sha256": "cd" * 32,
        "prepared": prepared,
        "results": results,
        "published": [],
    } | more


def document_of(data: dict[str, Any]) -> dict[str, Any]:
    return {
        "format": 2,
        "model": {"name": "mine", "weights_sha256": "ab" * 32},
        "settings": {
            "split": "test", "frames": 32, "clip_length": 4, "shots": 1, "shot_score": "last",
            "pooling": "probability", "margin": 15.0, "face": "largest", "threshold": 0.5,
        },
        "versions": {"torch": "2.13.0"},
        "data": data,
    }  # fmt: skip


@pytest.fixture
def document() -> dict[str, Any]:
    levels: list[Any] = [group("all", 100, 400, 0.96 - 0.01 * level) for level in range(5)]
    robustness = {
        "applied_to": "crops",
        "sampling": "windows",
        "clean": group("all", 100, 400, 0.98),
        "levels": {"contrast": levels, "block_wise": [None] * 5},
        "mean": {"contrast": 0.94, "block_wise": None, "Avg": None},
        "published": {"SBI": {"contrast": 92.3, "Avg": 81.7}},
        "notes": {"block_wise": "Frames are too small."},
    }
    whole = [group("all", 1000, 40, 0.9347, 1), group("method swap", 99, 40, 0.9123)]
    celeb = data_set(
        {
            "windows": result(whole, {"real/9.mp4": "no face was found"}),
            "spread": result([group("all", 1000, 40, 0.9512)], {}),
        },
        dataset="celeb-df-v2",
        published=[{"table": "Table 2", "group": "all", "rows": {"SBI": 93.2, "FTCN": 94.6}}],
    )
    ffpp = data_set(
        {"windows": result([group("all", 100, 400, 0.98)], {})},
        dataset="ffpp", compression="c23", robustness=robustness,
    )  # fmt: skip
    one_class = data_set({"windows": result([group("all", 12, 0, None)], {})})
    return document_of({"CDF2": celeb, "FF++": ffpp, "only real": one_class})


def error(*, reason: str = "", thumbnails: tuple[bytes, ...] = (), **changes: Any) -> WorstError:
    standard: dict[str, Any] = {
        "data": "CDF2", "video": "real/1.mp4", "sha256": "", "label": "real", "method": "",
        "source": "", "score": 0.875,
    }  # fmt: skip
    video = VideoScore(**(standard | changes))
    return WorstError(video=video, reason=reason, thumbnails=thumbnails)


def test_is_well_formed_and_says_what_it_is(document: dict[str, Any]) -> None:
    html = render_page(document, pictures={}, worst=())
    page = Page(html)
    assert html.startswith("<!DOCTYPE html>")
    assert page.open == []
    assert len(page.all("h1")) == len(page.all("main")) == 1
    assert "Evaluation of mine" in page.text
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids)), "ids are unique"
    links = [(a["href"] or "")[1:] for a in page.all("a")]
    assert set(links) <= set(ids)
    assert {"data-1", "data-2", "data-3"} <= set(links)


def test_asks_nobody_for_anything(document: dict[str, Any]) -> None:
    pictures = {picture_name("roc", "CDF2", "windows"): picture()}
    html = render_page(document, pictures=pictures, worst=[error(thumbnails=(picture(".jpg"),))])
    for forbidden in ("http:", "https:", "url(", "@import", "<script"):
        assert forbidden not in html
    page = Page(html)
    for tag, attributes in page.tags:
        for name in REQUESTING & attributes.keys():
            value = attributes[name] or ""
            assert value.startswith(("#", "data:")), f"<{tag} {name}={value[:40]!r}>"
    policy = next(m["content"] for m in page.all("meta") if "http-equiv" in m) or ""
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "script-src" not in policy, "the page has no script"


def test_tables_have_the_numbers_of_the_document(document: dict[str, Any]) -> None:
    rows = Page(render_page(document, pictures={}, worst=())).rows
    rest = ["92.1", "7.2", "87.3", "82.4"]
    assert ["all", "1000", "40", "1", "93.5", "92.5 to 94.5", *rest, "67.5", "52.7", "73.8",
            "71.9"] in rows  # fmt: skip
    # 99 real videos cannot show 1 %.
    few = ["too few real", "too few real"]
    assert ["method swap", "99", "40", "0", "91.2", "90.2 to 92.2", *rest, *few, "73.8",
            "71.9"] in rows  # fmt: skip
    assert ["all", "12", "0", "0", *["-"] * 10] in rows
    assert len({len(row) for row in rows if row[0] in {"group", "all", "method swap"}}) == 1


def test_headlines_and_captions(document: dict[str, Any]) -> None:
    text = Page(render_page(document, pictures={}, worst=())).text
    assert "93.5 92.5 to 94.5" in text
    assert "95.1 94.1 to 96.1" in text
    assert "1000 real, 40 fake, 1 left out" in text
    assert text.count("No AUC: real and fake videos are both needed.") == 1
    for said in ("1040 of 1041 videos scored, 1 left out", "sampling spread", "margin 15 of 256 px",
                 "clips of 4", "compression c23", "boxes enlarged by 1.25"):  # fmt: skip
        assert said in text, said


def test_published_numbers_stand_beside_in_order(document: dict[str, Any]) -> None:
    page = Page(render_page(document, pictures={}, worst=()))
    at = page.rows.index(["detector", "AUC", "from 50 to 100"])
    beside = [row[:2] for row in page.rows[at + 1 : at + 5]]
    assert beside == [
        ["this evaluation, spread", "95.1"],
        ["FTCN", "94.6"],
        ["this evaluation, windows", "93.5"],
        ["SBI", "93.2"],
    ]
    assert page.text.count("Beside Table 2 of the paper") == 1, "only where there are some"


def test_robustness(document: dict[str, Any]) -> None:
    page = Page(render_page(document, pictures={}, worst=()))
    assert ["contrast", "98.0", "96.0", "95.0", "94.0", "93.0", "92.0", "94.0"] in page.rows
    assert ["block-wise", "98.0", *["not run"] * 5, "-"] in page.rows
    assert ["detector", "contrast", "block-wise", "average"] in page.rows
    assert ["this evaluation", "94.0", "-", "-"] in page.rows
    assert ["SBI", "92.3", "-", "81.7"] in page.rows
    assert "block-wise : Frames are too small." in page.text.replace("block-wise:", "block-wise :")
    assert "stored face crops" in page.text
    assert "not the benchmark's way" in page.text
    levels = document["data"]["FF++"]["robustness"]
    levels["applied_to"] = "frames"
    levels["levels"]["contrast"][0]["unscored"] = 3
    text = Page(render_page(document, pictures={}, worst=())).text
    assert "not the benchmark's way" not in text
    assert "96.0 3 left out" in text


def test_technical_record_and_left_out_videos(document: dict[str, Any]) -> None:
    text = Page(render_page(document, pictures={}, worst=())).text
    assert "ab" * 32 in text
    assert "cd" * 32 in text
    assert "torch 2.13.0" in text
    assert "prepared: crop: enlarge 1.25" in text
    assert "Left out of CDF2 , windows: 1 video" in text
    assert "real/9.mp4 no face was found" in text


def test_pictures_are_inlined_where_they_belong(document: dict[str, Any]) -> None:
    roc, jpeg = picture(grey=1), picture(".jpg")
    pictures = {
        picture_name("roc", "CDF2", "windows"): roc,
        picture_name("robustness", "FF++", "windows"): picture(grey=3),
    }
    worst = [error(thumbnails=(jpeg, picture(grey=5)), clips=(0.25, 1.0))]
    page = Page(render_page(document, pictures=pictures, worst=worst))
    images = {image["alt"]: image["src"] or "" for image in page.all("img")}
    assert list(images) == [
        "ROC curves of CDF2, sampling windows",
        "AUC of FF++ over the level of each corruption",
        "Face in real/1.mp4, picture 1 of 2",
        "Face in real/1.mp4, picture 2 of 2",
    ]
    kind, content = images["ROC curves of CDF2, sampling windows"].split(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(content) == roc
    kind, content = images["Face in real/1.mp4, picture 1 of 2"].split(",")
    assert kind == "data:image/jpeg;base64"
    assert base64.b64decode(content) == jpeg
    labels = [svg["aria-label"] for svg in page.all("svg")]
    assert labels == ["Scores of its clips: 0.25, 1.00"]
    assert [bar["height"] for bar in page.all("rect")] == ["7.00", "28.00"]


def test_worst_errors_stand_by_data_set_and_class(document: dict[str, Any]) -> None:
    worst = [
        error(video="fake/low.mp4", label="fake", method="swap", score=0.125, reason="Very dark."),
        error(video="real/high.mp4"),
        error(video="fake/near.mp4", label="fake", method="swap", score=0.5),
        error(data="FF++", video="033.mp4"),
    ]
    text = Page(render_page(document, pictures={}, worst=worst)).text
    places = [
        text.index(part)
        for part in (
            "CDF2 : real videos with the highest scores", "0.875 wrong real/high.mp4",
            "CDF2 : fake videos with the lowest scores", "0.125 wrong fake/low.mp4 fake, swap",
            "Very dark.", "0.500 right fake/near.mp4",
            "FF++ : real videos with the highest scores", "033.mp4",
        )
    ]  # fmt: skip
    assert places == sorted(places)
    assert "FF++ : fake videos" not in text
    assert "It contains pictures of people" in text
    assert "Where it errs" not in Page(render_page(document, pictures={}, worst=())).text


def test_hostile_names_stay_text(document: dict[str, Any]) -> None:
    own = data_set(
        {HOSTILE: result([group("all", 1, 1, 0.5), group(HOSTILE, 1, 1, 0.5)], {HOSTILE: HOSTILE})},
        dataset=HOSTILE, compression=HOSTILE,
        published=[{"table": HOSTILE, "group": HOSTILE, "rows": {HOSTILE: 50.0}}],
    )  # fmt: skip
    hostile = document_of({HOSTILE: own}) | {
        "model": {"name": HOSTILE, HOSTILE: [HOSTILE]},
        "versions": {HOSTILE: {HOSTILE: None}},
    }
    worst = [error(data=HOSTILE, video=HOSTILE, method=HOSTILE, reason=HOSTILE,
                   thumbnails=(picture(),))]  # fmt: skip
    pictures = {picture_name("roc", HOSTILE, HOSTILE): picture()}
    page = Page(render_page(hostile, pictures=pictures, worst=worst))
    assert page.open == []
    assert page.all("script") == []
    assert len(page.all("img")) == 2
    assert not any("onerror" in attributes for _, attributes in page.tags)
    assert page.text.count(HOSTILE) > 15


def test_names_that_cannot_be_shown_are_cleaned(document: dict[str, Any], tmp_path: Path) -> None:
    name = "a\u202egpj.exe\udcff\x00\n.mp4"
    document["data"] = {
        name: data_set({"windows": result([group("all", 1, 1, 0.5)], {name: name})})
    }
    write_page(tmp_path / "page.html", document, pictures={}, worst=[error(data=name, video=name)])
    text = Page((tmp_path / "page.html").read_text(encoding="utf-8")).text
    assert text.count("a�gpj.exe���.mp4") > 5
    assert "\u202e" not in text


def test_the_same_input_gives_the_same_bytes(document: dict[str, Any], tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_page(
            tmp_path / name,
            document,
            pictures={picture_name("roc", "CDF2", "windows"): picture()},
            worst=[error()],
        )
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_forty_methods_and_no_data_at_all(document: dict[str, Any]) -> None:
    methods = [group(f"method m{n}", 100, 10, 0.9) for n in range(40)]
    document["data"] = {
        "DF40": data_set({"w": result([group("all", 100, 400, 0.9), *methods], {})})
    }
    rows = Page(render_page(document, pictures={}, worst=())).rows
    assert sum(row[0].startswith("method m") for row in rows) == 40
    document["data"] = {}
    assert "No data set was evaluated." in Page(render_page(document, pictures={}, worst=())).text


def test_another_format_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected an evaluation of format 2, got 1"):
        render_page(document | {"format": 1}, pictures={}, worst=())


@dataclass(frozen=True)
class Score:
    video: str
    label: str
    score: float | None
    data: str = "d"
    method: str = ""


def names(picked: tuple[Score, ...]) -> list[str]:
    return [score.video for score in picked]


def test_the_worst_are_wrong_ones_first_half_of_each_class() -> None:
    scores = [
        Score("r1", "real", 0.4), Score("r2", "real", 0.9), Score("r3", "real", 0.6),
        Score("r4", "real", 0.1), Score("r5", "real", None),
        Score("f1", "fake", 0.5), Score("f2", "fake", 0.45), Score("f3", "fake", 0.99),
        Score("f4", "fake", None), Score("f5", "fake", 0.7),
    ]  # fmt: skip
    assert names(pick_worst(scores, 6)) == ["r2", "r3", "f2", "r1", "f1", "f5"]
    assert names(pick_worst(scores, 2)) == ["r2", "f2"]
    assert names(pick_worst(scores)) == ["r2", "r3", "f2", "r1", "r4", "f1", "f5", "f3"]
    # A higher threshold makes other videos wrong: r3 is right now, f1 and f5 are not.
    assert names(pick_worst(scores, 6, threshold=0.8)) == ["r2", "f2", "f1", "f5", "r3", "r1"]


def test_the_other_class_fills_up_and_ties_go_by_name() -> None:
    reals = [Score(f"r{n}", "real", 0.25) for n in (2, 0, 1)]
    assert names(pick_worst([*reals, Score("f", "fake", 0.75)], 4)) == ["r0", "r1", "r2", "f"]
    assert names(pick_worst(reals, 2)) == ["r0", "r1"]
    assert names(pick_worst(reals[:1] + [Score(f"f{n}", "fake", 0.75) for n in range(5)], 4)) == [
        "r2", "f0", "f1", "f2",
    ]  # fmt: skip
    assert pick_worst([], 4) == ()


def test_picture_names_are_safe_and_differ() -> None:
    assert picture_name("roc", "celeb-df-v2", "windows") == "roc-celeb-df-v2-windows.png"
    odd = [picture_name("roc", name, "spread") for name in ("../a", ".._a", "a b", "a_b", "\udcff",
                                                            "x" * 99, "x" * 98)]  # fmt: skip
    assert len(set(odd)) == len(odd)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,90}\.png", name) for name in odd)
