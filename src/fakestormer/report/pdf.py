"""A report as PDF, printed by a browser that is installed: Chromium, Chrome or Edge."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from fakestormer.errors import InputError, OutputError, SetupError
from fakestormer.files import writing

#: Names of browsers that print pages, as commands; then where macOS and Windows keep them.
_COMMANDS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "microsoft-edge",
    "msedge",
)
_PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
)
#: Seconds that a page may take.
_PATIENCE = 120


def find_browser() -> str:
    """The path of a browser that can print: that of the variable CHROMIUM, or an installed one.

    Raises:
        SetupError: there is none.
    """
    named = os.environ.get("CHROMIUM")
    candidates = [named] if named else [*map(shutil.which, _COMMANDS), *_PLACES]
    browser = next((path for path in candidates if path and Path(path).is_file()), None)
    if browser is None:
        raise SetupError(
            "a PDF is printed by a browser, and none was found: install Chromium, Chrome or Edge, "
            "or set CHROMIUM to the path of one"
        )
    return browser


def write_pdf(page: str | Path, *, browser: str | None = None) -> Path:
    """Print a report: one page for one face, with what its first screen has.

    Args:
        page: of `write_report`.
        browser: of `find_browser`, which is asked where it is None.

    Returns:
        The path of the PDF, beside the page.

    Raises:
        SetupError: there is no browser.
        InputError: the browser could not print this page.
        OutputError: the PDF cannot be written.
    """
    page = Path(page).resolve()
    target = page.with_suffix(".pdf")
    with tempfile.TemporaryDirectory(prefix="fakestormer-") as folder:
        printed = Path(folder) / "page.pdf"
        command = [
            browser or find_browser(),
            "--headless",
            "--disable-gpu",
            "--no-first-run",
            "--no-pdf-header-footer",
            f"--user-data-dir={folder}/profile",
            f"--print-to-pdf={printed}",
            page.as_uri(),
        ]
        # Chromium does not start for root within its sandbox. The page is ours, and its policy
        # lets it load nothing and run one script, whose hash it names.
        if sys.platform == "linux" and os.geteuid() == 0:
            command.insert(1, "--no-sandbox")
        try:
            with writing(target, OutputError):
                done = subprocess.run(command, capture_output=True, timeout=_PATIENCE, check=False)
                if done.returncode or not printed.is_file():
                    last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
                    reason = " ".join(last) or done.returncode
                    raise InputError(
                        f"{page}: {command[0]} could not print it ({reason}); open the page in a "
                        "browser and print it there"
                    )
                shutil.copyfile(printed, target)
        except subprocess.TimeoutExpired as error:
            raise InputError(
                f"{page}: {command[0]} did not print it within {_PATIENCE} s; open the page in a "
                "browser and print it there"
            ) from error
    return target
