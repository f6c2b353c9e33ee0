"""The page in a real browser: Debian's Chromium, driven by Playwright; skipped where it is absent.

FAKESTORMER_SCREENSHOTS names a folder to keep pictures of every state in, for people to look at.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from fakestormer.detection.batch import DetectorSettings
from fakestormer.server.limits import Limits
from fakestormer.server.run import ServerSettings, worker_entry
from fakestormer.server.worker import WorkerSettings, judge_videos
from served import serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
PATIENCE_MS = 60_000


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
def stubbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    store = tmp_path_factory.mktemp("store")
    limits = Limits(megabytes=1)
    with serving(ServerSettings(store=store, port=0, queue=1, limits=limits)) as client:
        yield str(client.base_url)


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Page]]:
    """`visit(url, dark=, width=)`: a page whose console has to stay silent, on no other host."""
    pages: list[Page] = []
    complaints: list[str] = []
    asked: list[str] = []

    def open_page(url: str, *, dark: bool = False, width: int = 1000) -> Page:
        context = browser.new_context(
            color_scheme="dark" if dark else "light", viewport={"width": width, "height": 900}
        )
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", lambda said: complaints.append(said.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        context.on("request", lambda request: asked.append(request.url))
        page.goto(url)
        pages.append(page)
        return page

    yield open_page
    hosts = {httpx.URL(page.url).host for page in pages if page.url.startswith("http")}
    for page in pages:
        page.context.close()
    # The browser itself says that a full queue answered so.
    assert [said for said in complaints if "status of 429" not in said] == []
    assert {httpx.URL(url).host for url in asked if not url.startswith(("data:", "blob:"))} <= hosts


def send(page: Page, name: str, content: bytes) -> Any:
    """Choose a file; the card that shows it."""
    file = {"name": name, "mimeType": "video/mp4", "buffer": content}
    page.get_by_label("Drop videos here").set_input_files(file)
    return page.get_by_role("listitem").filter(has=page.get_by_role("heading", name=name))


def picture(page: Page, name: str) -> None:
    folder = os.environ.get("FAKESTORMER_SCREENSHOTS")
    if folder:
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


@pytest.mark.usefixtures("face_backend_ready")
def test_upload_progress_result_report_and_error(
    visit: Callable[..., Page],
    untrained_model: Path,
    tmp_path: Path,
    astronaut_video: Callable[..., Path],
) -> None:
    film = astronaut_video(tmp_path / "a.mp4", count=240).read_bytes()
    worker = WorkerSettings(detector=DetectorSettings(model=untrained_model), limits=Limits())
    settings = ServerSettings(store=tmp_path / "store", port=0)
    with serving(settings, worker_entry(judge_videos, worker)) as client:
        page = visit(str(client.base_url))
        page.get_by_text("None yet.").wait_for()
        page.evaluate(SAY_EVERYTHING)
        card = send(page, "interview <b>.mp4", film)
        card.get_by_text(re.compile(r"Following faces: \d+ of 240")).wait_for()
        bar = card.get_by_role("progressbar", name=re.compile("Following faces"))
        assert int(bar.get_attribute("max") or 0) == 240
        picture(page, "running")
        verdict = re.compile("^(Likely fake|No manipulation found|Inconclusive)$")
        card.get_by_text(verdict).wait_for()
        assert card.get_by_text(
            re.compile(r"^Probability of a fake 0\.\d\d \(.* over its clips\)\.$")
        ).count()
        with page.context.expect_page() as opened:
            card.get_by_role("link", name="Open the report").click()
        report = opened.value
        report.get_by_role("heading", level=2, name=verdict).wait_for()
        assert report.get_by_role("heading", level=1).inner_text() == "interview <b>.mp4"
        # The report's script runs, and its page is of no origin: it cannot reach the API.
        assert report.evaluate("document.documentElement.classList.contains('js')")
        assert report.evaluate("self.origin") == "null"
        report.close()
        bad = send(page, "notes.txt", b"no film")
        bad.get_by_text("notes.txt: cannot be opened as a video").wait_for()
        assert bad.get_by_text("No verdict").count() == 1
        told = page.evaluate("window.told")
        assert "interview <b>.mp4: Following faces" in told
        assert any(re.match(r"interview <b>\.mp4: (Likely|No mani|Inconcl)", said) for said in told)
        picture(page, "done")
        # Later: another visitor finds the results, and on a phone.
        dark = visit(str(client.base_url), dark=True, width=400)
        dark.get_by_role("heading", name="interview <b>.mp4").wait_for()
        wide = "document.documentElement.scrollWidth <= innerWidth"
        assert dark.evaluate(wide), "a phone would have to scroll sideways"
        picture(dark, "dark-phone")
        dark.get_by_role("button", name="Delete notes.txt").click()
        bad.wait_for(state="detached")
        assert client.get("/v1/jobs").json()["total"] == 1
        page.context.close()
        dark.context.close()


#: Keeps what is announced to people who listen.
SAY_EVERYTHING = """
window.told = [];
new MutationObserver(() => told.push(document.querySelector('#news').textContent))
  .observe(document.querySelector('#news'), {childList: true});
"""


def test_cancelling_a_running_a_waiting_and_an_unsent_one(
    visit: Callable[..., Page], stubbed: str
) -> None:
    page = visit(stubbed)
    first = send(page, "first.mp4", b"slow")
    first.get_by_text(re.compile("Following faces: ")).wait_for()
    second = send(page, "second.mp4", b"slow")
    second.get_by_text("Next.").wait_for()
    third = send(page, "third.mp4", b"film")
    third.get_by_text("The queue is full; waiting for a place").wait_for()
    picture(page, "full")
    third.get_by_role("button", name="Cancel third.mp4").click()
    for card in (second, first):
        card.get_by_role("button", name="Cancel").press("Enter")
        card.get_by_text("Cancelled").wait_for()
    third.wait_for(state="detached")
    again = send(page, "again.mp4", b"film")
    again.get_by_text("Likely fake").wait_for()
    assert again.get_by_text("Only a stub.").is_visible()
    for card in (first, second, again):
        card.get_by_role("button", name="Delete").click()
        card.wait_for(state="detached")


#: Drops two files, as a file manager does.
DROP = """
const dropped = new DataTransfer();
for (const name of ["left.mp4", "right.mp4"]) dropped.items.add(new File(["film"], name));
for (const kind of ["dragenter", "dragover", "drop"])
  document.querySelector("#drop").dispatchEvent(
    new DragEvent(kind, {dataTransfer: dropped, bubbles: true, cancelable: true}));
"""


def test_dropping_searching_and_deleting_several(
    visit: Callable[..., Page], tmp_path: Path
) -> None:
    with serving(ServerSettings(store=tmp_path, port=0)) as client:
        page = visit(str(client.base_url))
        page.get_by_text("None yet.").wait_for()
        page.evaluate(DROP)
        left, right = (
            page.get_by_role("listitem").filter(has=page.get_by_role("heading", name=name))
            for name in ("left.mp4", "right.mp4")
        )
        for card in (left, right):
            card.get_by_text("Likely fake").wait_for()
        assert left.locator("img").get_attribute("src").endswith("/thumbnail")  # type: ignore[union-attr]
        search = page.get_by_role("searchbox", name="Search the results")
        search.fill("RIGHT")
        left.wait_for(state="detached")
        table = page.get_by_role("link", name="Table (CSV)").get_attribute("href")
        assert client.get(str(table)).text.count("\n") == 2  # names of columns, one result
        search.fill("nothing of this name")
        page.get_by_text("Nothing fits.").wait_for()
        search.fill("")
        left.wait_for()
        page.get_by_role("checkbox", name="Select right.mp4").check()
        assert page.get_by_role("button", name="Delete 1 selected").is_visible()
        page.get_by_role("checkbox", name="Select all shown").check()
        picture(page, "selected")
        page.on("dialog", lambda dialog: dialog.accept())
        page.get_by_role("button", name="Delete 2 selected").click()
        page.get_by_text("None yet.").wait_for()
        assert client.get("/v1/jobs").json()["total"] == 0
        page.context.close()


def test_what_is_too_large_is_not_even_sent(visit: Callable[..., Page], stubbed: str) -> None:
    page = visit(stubbed)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    card = send(page, "large.mp4", b"x" * (2**20 + 1))
    card.get_by_text("large.mp4: is 1.0 MB, and this server takes up to 1.0 MB.").wait_for()
    card.get_by_role("button", name="Close").click()
    page.get_by_text("None yet.").wait_for()
    assert "POST" not in sent


def test_everything_is_reached_by_keyboard(visit: Callable[..., Page], stubbed: str) -> None:
    page = visit(stubbed)
    card = send(page, "keys.mp4", b"film")
    card.get_by_text("Likely fake").wait_for()
    page.reload()
    card.wait_for()
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "(e => e.getAttribute('aria-label') || e.id || e.textContent)"
                "(document.activeElement)"
            )
        )
    assert reached[:3] == ["Skip to the results", "API", "files"]
    links = ["Open the report: keys.mp4", "Save it: keys.mp4", "Result as JSON: keys.mp4"]
    wanted = ["Select keys.mp4", *links, "Delete keys.mp4"]
    assert wanted == [name for name in reached if "keys.mp4" in name]
    page.keyboard.press("Space")
    card.wait_for(state="detached")
    assert page.evaluate("document.activeElement.id") == "jobs"


def test_the_page_asks_for_the_token(visit: Callable[..., Page], tmp_path: Path) -> None:
    with serving(ServerSettings(store=tmp_path, port=0, token="open sesame")) as client:
        page = visit(str(client.base_url))
        picture(page, "login")
        page.get_by_label("The token").fill("open sesame")
        page.get_by_label("The token").press("Enter")
        page.get_by_text("None yet.").wait_for()  # its script runs
        page.get_by_label("Also make a film").check()
        card = send(page, "a.mp4", b"film")
        card.get_by_text("Likely fake").wait_for()
        # The report is of no origin, and what it links to needs the token all the same.
        with page.context.expect_page() as opened:
            card.get_by_role("link", name="Open the report").click()
        with opened.value.expect_response("**/overlay.mp4") as film:
            opened.value.get_by_role("link", name="film").click()
        assert film.value.status == 200
        opened.value.close()
        page.get_by_role("link", name="API").click()
        page.get_by_role("heading", name="POST /v1/jobs", exact=True).wait_for()
        picture(page, "api")
        page.get_by_role("link", name="Page").click()
        page.get_by_role("button", name="Log out").click()
        page.get_by_label("The token").wait_for()
        page.context.close()
