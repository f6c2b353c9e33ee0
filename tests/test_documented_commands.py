"""Every command of the README and the documentation works, page by page, on small inputs.

Run: setup, detect, prepare (but of FaceForensics++), train, fit, synthesize, evaluate (one
sampling), compare, pseudo-fakes. Only parsed, for other tests run them: what `PARSED` names
(landmarks of files, weights of foundation models, saliency, all samplings, corruptions, calibrate,
shortcuts, ablate, export). A command is parsed by its own parser: an option or a setting that has
been renamed fails. Commands about installing and serving are other tests' too; `ELSEWHERE` names
them. A block that needs gated data or a network has `<!-- not run: REASON -->` above it.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import typer

from fakestormer.cli import ExitCode
from miniature_material import Material, call, material_of, parse, write_model
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
    "python runs/pack.py": "tests/test_pack.py",
    "python benchmarks/": "takes minutes; the result files beside the scripts are of such runs",
}
#: Beginnings of commands that are parsed here and not run, and the test that runs such a command.
PARSED = {
    "fakestormer prepare ffpp --root DIR --compression c23": (
        "tests/test_reproduce.py::test_every_command_of_the_page_runs"
    ),
    "fakestormer prepare ffpp --root DIR --out STORE --landmarks": (
        "tests/data/test_landmark_files.py"
        "::test_a_store_names_the_source_and_one_bad_file_costs_only_its_video"
    ),
    "fakestormer prepare VIDEOS --out STORE --ray": (
        "tests/test_on_a_cluster.py::test_prepare_loses_nothing_with_a_node"
    ),
    "fakestormer detect VIDEOS --json results.json --resume --ray": (
        "tests/test_on_a_cluster.py::test_detect_loses_nothing_with_a_node"
    ),
    "fakestormer prepare s3://": (
        "tests/data/test_prepare_objects.py::test_a_store_of_objects_is_that_of_their_files"
    ),
    "fakestormer evaluate --data NAME=s3://": (
        "tests/data/test_prepare_objects.py"
        "::test_a_store_and_an_evaluation_at_an_address_are_those_of_a_folder"
    ),
    "fakestormer detect s3://": (
        "tests/detection/test_objects.py::test_results_name_the_objects_and_nothing_stays_here"
    ),
    "fakestormer detect - --json s3://": (
        "tests/detection/test_objects.py::test_results_name_the_objects_and_nothing_stays_here"
    ),
    "fakestormer train STORE --out RUN --recipe foundation": (
        "tests/training/test_foundation.py::test_one_command_trains_norms_and_what_is_new"
    ),
    "fakestormer saliency": (
        "tests/cli/test_saliency_command.py::test_one_bad_file_does_not_stop_the_others"
    ),
    "fakestormer evaluate --data STORE --out EVALUATION --ray auto": (
        "tests/test_on_a_cluster.py::test_evaluate_gives_the_same_scores"
    ),
    "fakestormer evaluate --model RUN --data TEST --out RESULTS --sampling": (
        "tests/test_tour.py::test_two_models_by_every_sampling"
    ),
    "fakestormer evaluate --model RUN --data TEST --out RESULTS --corruptions": (
        "tests/test_tour.py::test_a_killed_evaluation_goes_on_where_it_was"
    ),
    "fakestormer calibrate": "tests/tools/test_calibrate.py::test_evaluate_calibrate_evaluate",
    "fakestormer shortcuts": "tests/tools/test_calibrate.py::test_shortcuts_command",
    "fakestormer ablate": (
        "tests/cli/test_evaluating_commands.py::test_ablate_runs_rows_and_goes_on"
    ),
    "fakestormer export": "tests/tools/test_export.py::test_the_command_says_what_it_wrote",
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
    "synthesize": ("--set", "model.image_size=64", "--set", "crop.stored_size=64"),
}
#: Typer names only the one kind of wrong usage; an option that is not there is its sibling.
(WRONG_USAGE,) = typer.BadParameter.__bases__

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


def begins_with(command: str, beginnings: Iterable[str]) -> bool:
    return any(" ".join(command.split()).startswith(beginning) for beginning in beginnings)


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
    for real, fake in zip(material.faces[:2], material.fakes[1], strict=False):
        put(real, tmp_path / "UNSEEN" / real.name)
        put(real, tmp_path / "TEST_VIDEOS" / "real" / real.name)
        put(fake, tmp_path / "TEST_VIDEOS" / "fake" / "self-blended" / fake.name)
    (tmp_path / "ABOUT_THE_DATA.txt").write_text("Six people.")
    return tmp_path


def put(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, target)


def arguments_of(command: str) -> list[str]:
    """A command as it is written, without its first word and the file that its output goes to."""
    first, *words = shlex.split(command.partition(" > ")[0])
    assert first == "fakestormer", f"{command}: not a command of ours; name it in ELSEWHERE"
    return [STANDS_FOR.get(word, word) for word in words]


def words_of(command: str, folder: Path, material: Material) -> list[str]:
    """A command as it is run: the reader's names filled in, and made small."""
    words = ["fakestormer", *arguments_of(command)]
    if "DIR" in words:
        root = folder / "data sets" / words[2]
        if not root.exists():
            build_miniature(words[2], root.parent, material)
        words[words.index("DIR")] = str(root)
    small = SMALL.get(words[1], ())
    if "--check" in words:
        small = ()
    if {"model.architecture=resnet3d", "model.stem=efficientnet-lite0"} & set(words):
        small = small[:4] + small[10:]  # they have widths of their own
    if "model.stem=efficientnet-lite0" in words:
        small += ("--set", "model.image_size=64")
    return [*words[1:], *small]


def test_what_is_parsed_here_is_documented_and_run_by_a_test_that_exists() -> None:
    documented = [" ".join(command.split()) for page in PAGES for command in commands_of(page)]
    for beginning, test in PARSED.items():
        assert any(command.startswith(beginning) for command in documented), beginning
        file, name = test.split("::")
        assert f"\ndef {name}(" in (ROOT / file).read_text(encoding="utf-8"), test


def test_a_renamed_option_or_setting_fails() -> None:
    train = "train STORE --out RUN"
    parse(train.split())
    for wrong in ("--recipes small", "--set model.size=3", "--recipe own"):
        with pytest.raises(WRONG_USAGE, match=r"such option|'own' is not|size"):
            parse(f"{train} {wrong}".split())


@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_run(
    page: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    ours = [command for command in commands_of(page) if not begins_with(command, ELSEWHERE)]
    commands = [command for command in ours if not begins_with(command, PARSED)]
    for command in ours:
        if begins_with(command, PARSED):
            parse(arguments_of(command))
    if not commands:
        return
    folder: Path = request.getfixturevalue("readers_files")
    monkeypatch.chdir(folder)
    failures = []
    for command in commands:
        words = words_of(command, folder, material_of(request))
        if words[0] in ("train", "fit"):  # the page shows several ways to make it
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
