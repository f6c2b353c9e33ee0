"""The report in Debian's Chromium: by keyboard alone, on paper, on a phone, light and dark.

FAKESTORMER_SCREENSHOTS names a folder to keep pictures of every state in, for people to look at.
"""

from __future__ import annotations

import datetime
import itertools
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fakestormer.detection.results import failure_of
from fakestormer.errors import InputError, SetupError
from fakestormer.recipe.prediction import ErrorRates
from fakestormer.report.index import write_index, write_thumbnail
from fakestormer.report.page import write_report
from fakestormer.report.pdf import find_browser, write_pdf
from fakestormer.types import EverySecond, FaceReport, Reason, Report, Scene

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
DATE = datetime.date(2026, 11, 23)
PHONE = 390
SCENE = Scene(picture=np.full((3, 720, 1280), 90, dtype=np.uint8), scale=1.0, clip=1, frame=2)
#: Pixels of a desktop that the page may take before its details.
LONGEST = 3000
OPEN = "document.querySelectorAll('details').forEach((d) => { d.open = true; })"

#: What can be reached: a group of radio buttons is one stop.
STOPS = """[...document.querySelectorAll('a[href], button, input, summary, [tabindex="0"]')]
  .filter((e) => e.checkVisibility({contentVisibilityAuto: true, visibilityProperty: true}))
  .filter((e) => e.type !== 'radio' || e.checked).length"""

#: The element with the focus: what it is called, whether its mark is seen, whether it is covered.
FOCUSED = """(() => {
  const e = document.activeElement;
  if (e === document.body) return null;
  const seen = (s) => s && s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2;
  const ring = e.querySelector('.ring');
  const mark = seen(getComputedStyle(e))
    || (e.type === 'radio' && seen(getComputedStyle(e.nextElementSibling)))
    || (ring && getComputedStyle(ring).visibility === 'visible');
  const at = (e.querySelector('.dot') || e).getBoundingClientRect();
  const top = document.elementFromPoint(
    at.left + at.width / 2, Math.min(at.top + at.height / 2, innerHeight - 2));
  const id = [...document.querySelectorAll('*')].indexOf(e);
  return {id, mark: Boolean(mark), clear: Boolean(top && (e.contains(top) || top.contains(e))),
    name: e.getAttribute('aria-label') || e.id || e.textContent.trim().slice(0, 60)};
})()"""

#: Texts whose contrast is below what WCAG 2 AA asks: 4.5, or 3 where they are large.
PALE = """(() => {
  const parse = (text) => {
    const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number);
    return {c: [r, g, b], a};
  };
  const over = (top, under) => top.c.map((v, i) => v * top.a + under[i] * (1 - top.a));
  const light = (c) => c.map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (e) => {
    const layers = [];
    for (; e; e = e.parentElement) layers.push(parse(getComputedStyle(e).backgroundColor));
    return layers.reverse().reduce((under, layer) => over(layer, under), [255, 255, 255]);
  };
  const found = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let texts = 0;
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement, style = getComputedStyle(e);
    if (!walk.currentNode.data.trim() || e.closest('.unseen, .skip, script, style')) continue;
    if (!e.checkVisibility({contentVisibilityAuto: true, visibilityProperty: true})) continue;
    const ink = parse(e instanceof SVGElement ? style.fill : style.color);
    const under = ground(e), a = light(over(ink, under)), b = light(under);
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = parseFloat(style.fontSize), bold = Number(style.fontWeight) >= 600;
    texts += 1;
    if (ratio < (size >= 24 || (bold && size >= 18.66) ? 3 : 4.5))
      found.push(`${ratio.toFixed(2)}: ${walk.currentNode.data.trim().slice(0, 40)}`);
  }
  return {texts, found};
})()"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    if not CHROMIUM.is_file():
        pytest.skip(f"needs a browser: no {CHROMIUM} (Debian's chromium, or set CHROMIUM)")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def file(
    fake_face: Callable[..., FaceReport],
    fake_report: Callable[..., Report],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A report with everything that a report can have."""
    first = replace(
        fake_face(warnings=("Seen from the side.",), explained=True),
        interval=(0.62, 0.94),
        every_second=EverySecond(
            seconds=np.arange(12, dtype=np.float64),
            probabilities=np.linspace(0.2, 0.9, 12, dtype=np.float32),
        ),
    )
    reason = Reason(code="clips_disagree", text="Its clips disagree: 0.31 to 0.64.")
    second = replace(fake_face(1, scores=(0.31, 0.64), verdict="inconclusive"), reasons=(reason,))
    calm = fake_face(2, scores=(0.05, 0.08), verdict="no manipulation found")
    credentials = {
        "checked": True, "found": True, "state": "Valid", "issuer": "Maker", "generator": "Camera",
        "time": None, "sources": ["digitalCapture"], "problems": [],
    }  # fmt: skip
    report = fake_report((first, second, calm), warnings=("The file ends early.",))
    report = replace(report, video=report.video | {"content_credentials": credentials})
    return write_report(replace(report, scene=SCENE), tmp_path_factory.mktemp("report"), date=DATE)


@pytest.fixture(scope="module")
def of_one_face(
    fake_face: Callable[..., FaceReport],
    fake_report: Callable[..., Report],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """An ordinary report: one face, eight clips, and as much to say as there can be."""
    scores = (0.91, 0.87, 0.93, 0.62, 0.9, 0.31, 0.95, 0.88)
    face = replace(
        fake_face(scores=scores, seconds_apart=1.5, explained=True, warnings=("It is small.",)),
        interval=(0.72, 0.94),
    )
    rates = ErrorRates(
        real=118, real_called_fake=2, real_cleared=77, fakes=77, fakes_called_fake=31,
        fakes_cleared=7,
    )  # fmt: skip
    settings = {"fake_from": 0.832, "clear_below": 0.347, "error_rates": rates.sentence()}
    report = fake_report((face,), warnings=("The file ends early.",), settings=settings)
    folder = tmp_path_factory.mktemp("one")
    return write_report(replace(report, scene=SCENE), folder, date=DATE)


@pytest.fixture
def visit(browser: Browser, file: Path) -> Iterator[Callable[..., Page]]:
    """`visit(dark=, width=, script=)`: the report, whose console has to stay silent."""
    complaints: list[str] = []
    pages: list[Page] = []

    def open_page(*, dark: bool = False, width: int = 1000, script: bool = True) -> Page:
        context = browser.new_context(
            color_scheme="dark" if dark else "light",
            viewport={"width": width, "height": 844},
            java_script_enabled=script,
            reduced_motion="reduce",
        )
        page = context.new_page()
        page.on("console", lambda said: complaints.append(said.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        context.on(
            "request",
            lambda asked: (
                None
                if asked.url.startswith(("data:", file.as_uri()))
                else complaints.append(asked.url)
            ),
        )
        page.goto(file.as_uri())
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.context.close()
    assert complaints == []


def picture(page: Page, name: str) -> None:
    folder = os.environ.get("FAKESTORMER_SCREENSHOTS")
    if folder:
        page.screenshot(path=Path(folder) / f"report-{name}.png", full_page=True)


@pytest.mark.parametrize("width", [PHONE, 1000])
def test_everything_is_reached_by_tab_and_seen_to_be(
    visit: Callable[..., Page], width: int
) -> None:
    page = visit(width=width)
    stops = page.evaluate(STOPS)
    assert stops >= 13
    reached: dict[int, str] = {}
    for _ in range(stops):
        page.keyboard.press("Tab")
        focused = page.evaluate(FOCUSED)
        assert focused is not None, f"the focus left the page after {reached}"
        assert focused["mark"], f"no mark on {focused['name']}"
        assert focused["clear"], f"{focused['name']} is covered or out of view"
        reached[focused["id"]] = focused["name"]
    assert len(reached) == stops, "every stop once, and none holds the focus"
    assert next(iter(reached.values())) == "Skip to the verdict"
    page.keyboard.press("Tab")
    after = page.evaluate(FOCUSED)
    assert after is None or after["name"] == "Skip to the verdict", "the focus can leave the page"


def test_points_of_the_time_line_are_announced_and_lead_to_their_clip(
    visit: Callable[..., Page],
) -> None:
    page = visit()
    line = page.get_by_role("group", name="Probability over time: Face 1")
    points = line.get_by_role("link")
    assert points.count() == 3
    point = line.get_by_role(
        "link",
        name="Clip 2, 0:01.60 to 0:01.72, probability 0.930, at or above the threshold. "
        "Show its frames.",
    )
    line.get_by_role("link").first.focus()
    page.keyboard.press("Tab")
    assert point.evaluate("(e) => e === document.activeElement")
    assert point.locator(".tip").is_visible()
    assert not points.nth(2).locator(".tip").is_visible()
    page.keyboard.press("Enter")
    clip = page.locator("#face-1-clip-2")
    assert clip.evaluate("(e) => e === document.activeElement")
    heading = clip.get_by_role("heading", name="Clip 2").bounding_box()
    assert heading is not None
    assert 0 < heading["y"] < 844, "in view"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('.clip').id") == "face-1-clip-2"


def test_clips_are_played_and_stepped_through_by_keyboard(visit: Callable[..., Page]) -> None:
    page = visit()
    page.evaluate(OPEN)
    opener = page.get_by_role("button", name="Enlarge and play").first
    opener.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Face 1, clip 1")
    dialog.wait_for()
    caption = dialog.locator("#player-caption")
    assert page.evaluate("document.activeElement.textContent") == "Play", "motion waits to be asked"
    said = [caption.inner_text()]
    assert caption.get_attribute("aria-live") == "polite"
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft"):
        page.keyboard.press(key)
        said.append(caption.inner_text())
    assert [re.findall(r"frame (\d+)", text)[0] for text in said] == ["0", "1", "2", "1"]
    assert "Map of Face 1" in str(dialog.get_by_role("img").last.get_attribute("alt"))
    page.keyboard.press("Space")
    dialog.get_by_role("button", name="Pause").wait_for()
    assert caption.get_attribute("aria-live") == "off", "four announcements a second help nobody"
    page.wait_for_function(
        "(before) => document.querySelector('#player-caption').textContent !== before", arg=said[-1]
    )
    page.keyboard.press("Space")
    dialog.get_by_role("button", name="Play").wait_for()
    names = set()
    for _ in range(6):
        page.keyboard.press("Tab")
        focused = page.evaluate(FOCUSED)
        if focused is not None:
            assert focused["mark"]
            names.add(focused["name"])
    assert {"Previous frame", "Next frame", "player-play", "player-close"} <= names
    assert not any("Clip" in name for name in names), "the page behind is out of reach"
    page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    assert opener.evaluate("(e) => e === document.activeElement"), "back where one was"


def test_the_map_is_taken_off_by_keyboard(visit: Callable[..., Page]) -> None:
    page = visit()
    page.evaluate(OPEN)
    over_still, over_frame = page.locator(".on-face"), page.locator(".frames .layer").first
    assert over_still.is_visible()
    assert over_frame.is_visible()
    page.get_by_role("checkbox", name="Show the map").focus()
    page.keyboard.press("Space")
    assert not over_still.is_visible()
    assert not over_frame.is_visible()
    still = page.locator(".picture").bounding_box()
    box = page.locator(".face-box").bounding_box()
    assert still is not None
    assert box is not None
    # The crop's square in the video, (200..460, 120..380) of 1280 x 720.
    assert (box["x"] - still["x"]) / still["width"] == pytest.approx(200 / 1280, abs=0.01)
    assert box["height"] / still["height"] == pytest.approx(260 / 720, abs=0.01)


def test_headings_stand_in_order_and_pictures_say_what_they_show(
    visit: Callable[..., Page],
) -> None:
    page = visit()
    levels = page.evaluate(
        "[...document.querySelectorAll('h1,h2,h3,h4')].map((h) => +h.tagName[1])"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    steps = [after - before for before, after in itertools.pairwise(levels)]
    assert max(steps) == 1, "no level is left out"
    assert page.locator("img:not([alt]), img[alt='']").count() == 0
    assert page.locator("svg:not([aria-hidden], [aria-label], [aria-labelledby])").count() == 0
    assert page.locator("section:not([aria-labelledby])").count() == 0
    # The verdict is the first thing that is said.
    assert page.get_by_role("heading", level=2).first.inner_text() == "Likely fake"


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [PHONE, 1000])
def test_fits_a_phone_and_is_readable_in_light_and_dark(
    visit: Callable[..., Page], dark: bool, width: int
) -> None:
    page = visit(dark=dark, width=width)
    page.evaluate(OPEN)
    picture(page, f"{width}-{'dark' if dark else 'light'}")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.querySelector('.card').scrollWidth") <= width
    pale = page.evaluate(PALE)
    assert pale["texts"] > 150
    assert pale["found"] == []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground))) < 3 * 60) == dark


def test_paper_has_no_controls(visit: Callable[..., Page]) -> None:
    page = visit(dark=True)
    page.evaluate(OPEN)
    on_screen = [".switch", "button.open-player", "a.skip", ".no-print"]
    for selector in on_screen:
        assert page.locator(selector).count(), selector
    page.emulate_media(media="print")
    for selector in [*on_screen, "dialog", "input", "button"]:
        shown = page.locator(selector).evaluate_all(
            "(all) => all.filter((e) => e.checkVisibility())"
        )
        assert shown == [], selector
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(255, 255, 255)", "paper is white, whatever the screen"
    assert page.evaluate(PALE)["found"] == []


def pages_of(pdf: bytes) -> int:
    return len(re.findall(rb"/Type\s*/Page\b", pdf))


def test_one_face_is_one_page_and_few_screens(browser: Browser, of_one_face: Path) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(of_one_face.as_uri())
    details = page.locator("#details").bounding_box()
    assert details is not None
    assert details["y"] <= LONGEST
    assert pages_of(page.pdf(format="A4", prefer_css_page_size=True)) == 1
    page.evaluate(OPEN)
    assert 2 <= pages_of(page.pdf(format="A4")) <= 11, "what was opened is printed behind it"
    page.close()


def test_the_installed_browser_prints_the_same(of_one_face: Path) -> None:
    if not CHROMIUM.is_file():
        pytest.skip(f"needs a browser: no {CHROMIUM} (Debian's chromium, or set CHROMIUM)")
    target = write_pdf(of_one_face, browser=str(CHROMIUM))
    assert target == of_one_face.with_suffix(".pdf")
    assert pages_of(target.read_bytes()) == 1


def test_without_a_browser_one_sentence_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setattr("fakestormer.report.pdf._PLACES", ())
    with pytest.raises(SetupError, match="install Chromium, Chrome or Edge, or set CHROMIUM"):
        find_browser()
    (broken := tmp_path / "browser").write_text("#!/bin/sh\necho 'no display' >&2; exit 3\n")
    broken.chmod(0o755)
    with pytest.raises(InputError, match="could not print it \\(no display\\)"):
        write_pdf(tmp_path / "a.html", browser=str(broken))


def test_a_batch_is_one_table_that_can_be_sorted(
    browser: Browser,
    fake_face: Callable[..., FaceReport],
    fake_report: Callable[..., Report],
    tmp_path: Path,
) -> None:
    results = []
    for name, score, verdict in (
        ("a.mp4", 0.2, "no manipulation found"),
        ("b <i>.mp4", 0.91, "likely fake"),
        ("c.mp4", 0.5, "inconclusive"),
    ):
        face = fake_face(verdict=verdict, size=32, explained=True)
        report = fake_report(
            (face,), path=f"/x/{name}", verdict=verdict, probability=score,
            sha256=f"{ord(name[0]):02x}" * 32,
        )  # fmt: skip
        write_report(report, tmp_path, date=DATE)
        write_thumbnail(report, tmp_path)
        results.append(report.to_dict())
    results.append(failure_of("/x/d.mp4", "/x/d.mp4: is empty; copy it again"))
    index = write_index(results, tmp_path, date=DATE)
    page = browser.new_page(viewport={"width": 1000, "height": 700})
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text))
    page.goto(index.as_uri())
    names = page.locator("tbody th")
    assert names.all_inner_texts() == ["b <i>.mp4", "c.mp4", "a.mp4", "d.mp4"]
    widths = page.locator("tbody img").evaluate_all("(all) => all.map((i) => i.naturalWidth)")
    assert widths == [32, 32, 32]
    assert "is empty" in page.locator("tbody tr").last.inner_text()
    assert "/x/" not in index.read_text(), "the folder a video lay in is nobody's business"
    assert "strongest: left jaw line" in page.locator("tbody tr").first.inner_text()
    page.get_by_role("button", name="Video").click()
    assert names.all_inner_texts() == ["a.mp4", "b <i>.mp4", "c.mp4", "d.mp4"]
    probability = page.get_by_role("button", name="Probability")
    probability.click()
    assert names.all_inner_texts() == ["a.mp4", "c.mp4", "b <i>.mp4", "d.mp4"]
    probability.click()
    assert names.all_inner_texts() == ["b <i>.mp4", "c.mp4", "a.mp4", "d.mp4"]
    page.get_by_role("link", name="Report on b <i>.mp4").click()
    assert "Likely fake" in page.title()
    assert complaints == []
    page.close()
