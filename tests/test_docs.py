"""The documentation: generated pages are up to date, links lead somewhere, lines are wrapped."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import fakestormer

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / ".github").rglob("*.md")]
)
WRITTEN = [*PAGES, *(ROOT / "src").rglob("*.py"), *(ROOT / "examples").rglob("*.py")]
#: Pages that readers of the repository do not have.
ABSENT = re.compile(
    r"\bmethod\.md\b|\bmethod notes\b|\bshared/(data|design)\b|\barchitecture\.md\b"
)


def _script(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _anchors(page: Path) -> set[str]:
    """As GitHub and the site make them of headings: "Exit codes" -> "exit-codes"."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_command_reference_is_up_to_date() -> None:
    script = _script(ROOT / "docs" / "command_reference.py")
    committed = script.PAGE.read_text(encoding="utf-8")
    assert committed == script.reference(), "out of date: run `make reference` and commit the page"


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_to_files_and_headings_that_are_there(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:|mailto:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), f"{target}: no such file"
        if anchor:
            assert anchor in _anchors(file), f"{target}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_lines_are_wrapped_at_100_columns(page: Path) -> None:
    """Rows of tables and lines of code cannot be wrapped."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    long = [
        line for line in text.splitlines() if len(line) > 100 and not line.startswith(("|", "!["))
    ]
    assert long == []


def test_nothing_refers_to_pages_that_readers_do_not_have() -> None:
    naming = [_name(file) for file in WRITTEN if ABSENT.search(file.read_text(encoding="utf-8"))]
    assert naming == []


def test_the_readme_fits_two_screens() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 100


def test_the_site_is_built_and_has_every_public_name(tmp_path: Path) -> None:
    pytest.importorskip("sphinx", reason="the extra `docs` is not installed (make setup does it)")
    site = tmp_path / "site"
    sphinx = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    command = [*sphinx, "-d", str(tmp_path / "cache")]
    done = subprocess.run([*command, str(ROOT / "docs"), str(site)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for page in (ROOT / "docs").rglob("*.md"):
        assert (site / page.relative_to(ROOT / "docs").with_suffix(".html")).is_file(), page
    api = (site / "reference" / "api.html").read_text(encoding="utf-8")
    missing = [n for n in fakestormer.__all__ if f'id="fakestormer.{n}"' not in api]
    assert [name for name in missing if not name.startswith("_")] == []


def test_every_situation_of_the_robustness_table_names_tests_that_are_there() -> None:
    page = (ROOT / "docs" / "robustness.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if re.match(r"\| (?!kind|---)", line)]
    assert len(rows) >= 40
    for row in rows:
        cells = re.split(r"(?<!\\)\|", row)[1:-1]
        assert len(cells) == 4, row
        names = re.findall(r"`((?:tests|\.ci)/[^` ]+)", cells[3])
        assert names, f"names no test: {row}"
        for name in names:
            file, _, test = name.partition("::")
            assert (ROOT / file).is_file(), name
            assert not test or f"def {test}(" in (ROOT / file).read_text(encoding="utf-8"), name
