"""Every command of the README and the documentation runs, page by page, on small inputs.

A block that needs gated data or a network has `<!-- not run: REASON -->` above it. Commands about
installing and serving are run by other tests, which `ELSEWHERE` names.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakestormer.cli import ExitCode
from miniature_material import Material, call, material_of, write_model
from miniatures import build_miniature

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
#: Beginnings of commands that are run elsewhere, and where.
ELSEWHERE = {
    "pip install": "tests/test_package.py",
    "pip wheel": "tests/test_package.py",
    "python3 -m venv": "tests/test_package.py",
    "uvx": "tests/test_package.py",
    "pipx": "tests/test_package.py",
    "docker": "tests/test_dockerfile.py",
    "make": "the Makefile is what CI runs",
    "fakestormer serve": "tests/server",
    "curl": "tests/server/test_documented_session.py",
}
#: Words of the documentation that stand for something of the reader's.
STANDS_FOR = {"FILE...": "interview.mp4"}
#: What makes a command small, appended to it.
SMALL_TRAINING = tuple(
    word
    for setting in (
        "model.width=16", "model.depth=1", "model.heads=2", "training.epochs=1",
        "training.batch_size=2", "training.clips_per_track=1", "prediction.frames=8",
    )
    for word in ("--set", setting)
)  # fmt: skip
SMALL = {
    "detect": ("--workers", "0"),
    "prepare": ("--workers", "0"),
    "train": ("--workers", "0", "--accelerator", "cpu", *SMALL_TRAINING),
    "fit": ("--pairs", "100"),
    "evaluate": ("--workers", "0"),
    "shortcuts": ("--at-most", "2"),
    "ablate": ("--only", "SBV", "--workers", "0", "--accelerator", "cpu", *SMALL_TRAINING),
}

pytestmark = pytest.mark.slow


def blocks_of(page: Path) -> Iterator[str]:
    """The blocks of commands of a page that are not marked."""
    text = page.read_text(encoding="utf-8")
    for mark, language, block in re.findall(
        r"(<!-- not run: [^\n]+ -->\n)?^```([^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL
    ):
        if not mark and language in ("", "sh"):
            yield block


def commands_of(page: Path) -> list[str]:
    """Every command of a page, continued lines joined, comments and variables left out."""
    lines = "".join(blocks_of(page)).replace("\\\n", " ").splitlines()
    return [line for line in (re.sub(r"\s+#.*|^#.*", "", line).strip() for line in lines) if line]


def run_elsewhere(command: str) -> bool:
    return any(command.startswith(beginning) for beginning in ELSEWHERE)


@pytest.fixture
def readers_files(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The files that the documentation takes for granted, under its names for them."""
    material = material_of(request)
    interview, *_ = material.reals
    for name in ("interview.mp4", "VIDEO", "FOLDER/a.mp4", "FOLDER/b.mp4"):
        put(interview, tmp_path / name)
    write_model(tmp_path / "RUN")
    names = ("grid_1", "grid_2", "web_1", "web_2", "SOURCE_1", "ANOTHER_1")
    for name, real in zip(names, material.reals, strict=True):
        put(real, tmp_path / "VIDEOS" / f"{name}.mp4")
    for number in range(8):  # `fit` wants twelve people or more
        put(material.faces[number % 6], tmp_path / "VIDEOS" / f"more_{number}.mp4")
    for method, fake in zip(("swap", "swap", "SOURCE"), material.fakes[0], strict=False):
        put(fake, tmp_path / "VIDEOS" / "fake" / method / fake.name)
    for real, fake in zip(material.faces, material.fakes[1], strict=True):
        put(real, tmp_path / "UNSEEN" / real.name)
        put(real, tmp_path / "TEST_VIDEOS" / "real" / real.name)
        put(fake, tmp_path / "TEST_VIDEOS" / "fake" / "self-blended" / fake.name)
    (tmp_path / "ABOUT_THE_DATA.txt").write_text("Six people.")
    return tmp_path


def put(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, target)


def words_of(command: str, folder: Path, material: Material) -> list[str]:
    """A command as it is run: the reader's names filled in, and made small."""
    words = [STANDS_FOR.get(word, word) for word in shlex.split(command.partition(" > ")[0])]
    assert words[0] == "fakestormer", f"{command}: not a command of ours; name it in ELSEWHERE"
    if "DIR" in words:
        root = folder / "data sets" / words[2]
        if not root.exists():
            build_miniature(words[2], root.parent, material)
        words[words.index("DIR")] = str(root)
    small = SMALL.get(words[1], ())
    if "--check" in words:
        small = ()
    if "--corruptions" in words:
        small += ("--level", "1")
    if {"model.architecture=resnet3d", "model.stem=efficientnet-lite0"} & set(words):
        small = small[:4] + small[10:]  # they have widths of their own
    return [*words[1:], *small]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_run(
    page: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    commands = [command for command in commands_of(page) if not run_elsewhere(command)]
    if not commands:
        return
    folder: Path = request.getfixturevalue("readers_files")
    monkeypatch.chdir(folder)
    failures = []
    for command in commands:
        words = words_of(command, folder, material_of(request))
        if words[0] in ("train", "fit", "pack"):  # the page shows several ways to make it
            shutil.rmtree(folder / "RUN" if words[0] == "train" else folder / "FITTED", True)
        if words[0] == "compare":
            shutil.copytree(folder / "RESULTS", folder / "OTHER_RESULTS")
        code, out, err = call(words, capfd)
        # Of a miniature some videos are no videos, as of some data sets.
        some = {"--root", "CDF2=CELEB"} & set(words)
        fine = (ExitCode.DONE, ExitCode.SOME_FAILED) if some else (ExitCode.DONE,)
        if code not in fine:
            failures.append(f"{shlex.join(words)}: exit code {code}\n{out[-2000:]}\n{err[-2000:]}")
    assert failures == []
