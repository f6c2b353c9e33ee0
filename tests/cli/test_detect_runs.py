"""`detect` over many files: how they are named, and runs that are stopped and gone on with."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import command_line
from fakestormer.cli import ExitCode
from fakestormer.cli.inputs import named_paths
from fakestormer.detection.batch import Detection, DetectorSettings, files_of
from fakestormer.detection.collected import COLUMNS, Collected, finished_before, table
from fakestormer.detection.detector import Detector
from fakestormer.detection.results import failure_of
from fakestormer.errors import InputError
from fakestormer.types import Report

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """(exit code, standard output, standard error) of the command, in this process."""

    def call(*arguments: object) -> tuple[int, str, str]:
        return command_line.run(["detect", *arguments], monkeypatch, capfd)

    return call


def _files(arguments: list[str]) -> list[Path]:
    return files_of(named_paths(arguments), unusable=_refuse)


def _refuse(folder: Path, error: InputError) -> None:
    raise error


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("a.mp4", "b.mkv", "deep/c.mp4", "deep/er/d.mp4", "odd[1].mp4", "note.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["a.mp4", "missing.mp4", "a.mp4"], ["a.mp4", "missing.mp4"]),
        (["deep"], ["deep/c.mp4", "deep/er/d.mp4"]),
        (["*.mp4", "a.mp4"], ["a.mp4", "odd[1].mp4"]),
        (["d??p/*.mp4"], ["deep/c.mp4"]),
        (["**/*.mp4"], ["a.mp4", "deep/c.mp4", "deep/er/d.mp4", "odd[1].mp4"]),
        (["dee*"], ["deep/c.mp4", "deep/er/d.mp4"]),  # a folder that a pattern meets
        (["deep/**"], ["deep/c.mp4", "deep/er/d.mp4"]),
        (["odd[1].mp4"], ["odd[1].mp4"]),  # a file of that very name
    ],
)
def test_files_folders_and_patterns(tree: Path, arguments: list[str], names: list[str]) -> None:
    assert _files(arguments) == [Path(name) for name in names]


def test_a_pattern_without_a_match_is_refused(tree: Path) -> None:
    with pytest.raises(InputError, match=r"x\*\.mp4: no file matches"):
        named_paths(["a.mp4", "x*.mp4"])


class _Input:
    def __init__(self, content: bytes) -> None:
        self.buffer = io.BytesIO(content)


@pytest.mark.parametrize(
    "content", [b"a.mp4\r\n\ndeep\n*.mp4\nf\xe9.mp4", b"a.mp4\0deep\0*.mp4\0f\xe9.mp4\0"]
)
def test_lists_on_standard_input(
    tree: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names in a list are names: no patterns, and any bytes."""
    monkeypatch.setattr(sys, "stdin", _Input(content))
    strange = os.fsdecode(b"f\xe9.mp4")
    expected = ["b.mkv", "a.mp4", "deep/c.mp4", "deep/er/d.mp4", "*.mp4", strange]
    assert _files(["b.mkv", "-"]) == [Path(name) for name in expected]


def test_an_empty_list_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", _Input(b"\n \n"))
    with pytest.raises(InputError, match="standard input: names no file"):
        named_paths(["-"])


def test_an_empty_name_is_not_this_folder(tree: Path) -> None:
    with pytest.raises(InputError, match="an empty name stands for no file"):
        named_paths(["a.mp4", ""])


def test_a_closed_standard_input_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InputError, match="standard input: is closed"):
        named_paths(["-"])


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of folders that cannot be looked into, whoever runs the tests."""
    names: set[str] = set()
    scandir = os.scandir

    def refusing(path: str | Path) -> object:
        if Path(path).name in names:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    return names


@pytest.mark.usefixtures("face_backend_ready")
def test_folders_that_cannot_be_used_are_failed_inputs_among_others(
    untrained_model: Path,
    astronaut_video: Callable[..., Path],
    tmp_path: Path,
    run: Run,
    unreadable: set[str],
) -> None:
    videos, results = tmp_path / "videos", tmp_path / "r.json"
    good = astronaut_video(videos / "good.mp4", count=4)
    (videos / "shut").mkdir()
    (empty := tmp_path / "empty").mkdir()
    unreadable.add("shut")
    options = ["--model", untrained_model, "--json", results]
    code, said, err = run(videos, empty, *options)
    assert code == ExitCode.SOME_FAILED
    assert err.splitlines() == [
        f"{videos / 'shut'}: cannot be read (Permission denied); check its rights",
        f"{empty}: no videos in this folder or below it",
    ]
    found = json.loads(results.read_text())["results"]
    assert [entry["path"] for entry in found] == [str(good), str(videos / "shut"), str(empty)]
    assert [entry.get("error") for entry in found] == [None, *err.splitlines()]
    assert "could not be used           2" in said
    # Nothing but such folders; and that they can be read again is found out by going on.
    code, _, err = run(videos / "shut", "--model", untrained_model)
    assert (code, len(err.splitlines())) == (ExitCode.ALL_FAILED, 1)
    unreadable.clear()
    astronaut_video(videos / "shut" / "later.mp4", count=4)
    code, _, err = run(videos, *options, "--resume")
    assert code == ExitCode.DONE
    assert "1 of 2 files were done earlier" in err


@pytest.mark.usefixtures("face_backend_ready")
def test_a_name_that_is_too_long_stops_no_other(
    untrained_model: Path,
    astronaut_video: Callable[..., Path],
    tmp_path: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    video, long = astronaut_video(tmp_path / "a.mp4", count=4), tmp_path / f"{'x' * 300}.mp4"
    monkeypatch.setattr(sys, "stdin", _Input(f"{long}\n{video}\n".encode()))
    code, said, err = run("-", "--model", untrained_model)
    assert code == ExitCode.SOME_FAILED
    assert err == f"{long}: cannot be read (File name too long); check the path and its rights\n"
    assert f"{video}: " in said
    for wrong in (["--model", long], ["--model", untrained_model, "--json", long]):
        code, _, err = run(video, *wrong)
        assert code == ExitCode.ALL_FAILED
        assert err.startswith(f"{long}: cannot be ")
        assert len(err.splitlines()) == 1


def test_two_runs_never_write_to_one_file(untrained_model: Path, tmp_path: Path, run: Run) -> None:
    """Nor does a run that is refused touch what is there, or one that cannot even begin."""
    results, rows = tmp_path / "r.json", tmp_path / "r.csv"
    results.write_text("earlier")
    with Collected(["other.mp4"], json_file=results, csv_file=rows):
        for options in (
            ["--json", results],
            ["--json", results, "--resume"],
            ["--json", tmp_path / "." / "deep" / ".." / "r.json"],
            ["--json", tmp_path / "new.json", "--csv", rows],
        ):
            code, _, err = run("a.mp4", "--model", untrained_model, *options)
            assert code == ExitCode.ALL_FAILED
            assert "another detect is writing to it; wait for it, or name another file" in err
            assert len(err.splitlines()) == 1
    code, _, _ = run("a.mp4", "--model", tmp_path / "none", "--json", results)
    assert code == ExitCode.ALL_FAILED
    assert results.read_text() == "earlier"
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


def test_where_results_are_not_put(untrained_model: Path, tmp_path: Path, run: Run) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for options, why in (
        (["--json", fifo], "is a device or a pipe"),
        (["--csv", "/dev/null"], "is a device or a pipe"),
        (["--json", tmp_path / "r", "--csv", tmp_path / "." / "r"], "name two files"),
    ):
        code, _, err = run("a.mp4", "--model", untrained_model, *options)
        assert code == ExitCode.USAGE
        assert why in " ".join(err.replace("│", " ").split())
    assert [path.name for path in tmp_path.iterdir()] == ["fifo"]


@pytest.mark.usefixtures("face_backend_ready")
def test_a_run_that_is_gone_on_with(
    untrained_model: Path,
    astronaut_video: Callable[..., Path],
    tmp_path: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    videos, out = tmp_path / "videos", tmp_path / "out"
    first = astronaut_video(videos / "1.mp4", count=8)
    second = astronaut_video(videos / "2.mp4", count=8, width=420)
    (videos / "bad.mp4").write_bytes(b"no film")
    options = ["--model", untrained_model, "--json", out / "r.json", "--csv", out / "r.csv"]
    options += ["--report", out]
    scored: list[str] = []
    detect = Detector.detect

    def noted(self: Detector, path: str | Path, **how: object) -> Report:
        scored.append(Path(path).name)
        if stop_at == Path(path).name:
            raise KeyboardInterrupt
        return detect(self, path, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(Detector, "detect", noted)
    stop_at = "2.mp4"
    code, _, _ = run(videos, *options)
    assert code == ExitCode.INTERRUPTED
    (kept,) = json.loads((out / "r.json").read_text())["results"]
    assert kept["path"] == str(first)

    stop_at, scored[:] = "", []
    (broken := tmp_path / "browser").write_text("#!/bin/sh\necho 'no display' >&2; exit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CHROMIUM", str(broken))
    code, said, err = run(videos, *options, "--resume", "--pdf")
    assert code == ExitCode.SOME_FAILED
    assert "could not print it (no display)" in err
    assert (out / "index.html").is_file(), "a page that is not printed costs only itself"
    assert "1 of 3 files were done earlier" in err
    assert scored == ["2.mp4", "bad.mp4"]
    document = json.loads((out / "r.json").read_text())
    assert [entry["path"] for entry in document["results"]] == [
        str(videos / name) for name in ("1.mp4", "2.mp4", "bad.mp4")
    ]
    assert document["results"][0] == kept
    rows = list(csv.DictReader((out / "r.csv").open()))
    assert [row["path"] for row in rows] == [e["path"] for e in document["results"]]
    assert [row["error"] == "" for row in rows] == [True, True, False]
    summary = dict(line.rsplit(maxsplit=1) for line in said.splitlines() if "  " in line.strip())
    assert summary["could not be used"] == "1"
    assert "3 files" in said
    assert (
        sum(int(summary[v]) for v in ("likely fake", "no manipulation found", "inconclusive")) == 2
    )

    # Touched, but the same bytes: kept. Failures are tried again.
    os.utime(first, (1, 1))
    scored.clear()
    run(videos, *options, "--resume")
    assert scored == ["bad.mp4"]
    # Other bytes: scored again; and so is what lacks its report.
    first.write_bytes(second.read_bytes())
    next(out.glob("2-*.html")).unlink()
    scored.clear()
    run(videos, *options, "--resume")
    assert scored == ["1.mp4", "2.mp4", "bad.mp4"]
    # Other settings.
    scored.clear()
    run(videos, *options, "--resume", "--sampling", "consecutive")
    assert scored == ["1.mp4", "2.mp4", "bad.mp4"]
    # Not asked to go on: everything anew.
    scored.clear()
    run(videos, *options)
    assert scored == ["1.mp4", "2.mp4", "bad.mp4"]


def test_what_cannot_be_resumed(tmp_path: Path, run: Run, untrained_model: Path) -> None:
    code, _, err = run("a.mp4", "--model", untrained_model, "--resume")
    assert code == ExitCode.USAGE
    assert "--resume needs --json" in " ".join(err.split())
    other = tmp_path / "other.json"
    for content in ("[1]", "{", '{"results": 3}', '{"results": [{}]}'):
        other.write_text(content)
        with pytest.raises(InputError, match="nothing to resume"):
            finished_before(other, ["a.mp4"], model={}, settings={})
        assert other.read_text() == content
    assert finished_before(tmp_path / "none.json", ["a.mp4"], model={}, settings={}) == {}


def test_results_stand_in_the_order_given_and_failures_have_no_numbers(tmp_path: Path) -> None:
    target = tmp_path / "deeper" / "r.json"
    with Collected(["b", "a"], json_file=target) as collected:
        collected.add("a", failure_of("a", "a: no"))
        collected.add("b", failure_of("b", "b: no"))
    assert [r["path"] for r in json.loads(target.read_text())["results"]] == ["b", "a"]
    assert json.loads(target.read_text())["schema"] == "fakestormer/detect/2"
    assert [path.name for path in target.parent.iterdir()] == ["r.json"]


def test_where_results_cannot_be_written(tmp_path: Path) -> None:
    (blocked := tmp_path / "file").write_bytes(b"")
    for how in ({"json_file": blocked / "r.json"}, {"csv_file": blocked / "r.csv"}):
        collected = Collected(["a"], **how)
        with pytest.raises(InputError, match=r"file/r\.(json|csv): cannot be written"):
            collected.add("a", failure_of("a", "a: no"))


def test_the_table_holds_no_formula() -> None:
    text = table([failure_of('=cmd|"1"', "=cmd: no, really"), failure_of("x.mp4", "x.mp4: no")])
    header, first, second = csv.reader(io.StringIO(text))
    assert tuple(header) == COLUMNS
    assert first[0] == './=cmd|"1"'
    assert first[COLUMNS.index("error")] == "'=cmd: no, really"
    assert second[0] == "x.mp4"
    assert second[COLUMNS.index("probability")] == ""
    assert second[COLUMNS.index("faces")] == "", "nobody looked for faces"


@pytest.mark.usefixtures("face_backend_ready")
def test_the_overlay_lies_beside_the_report_and_belongs_to_what_is_done(
    untrained_model: Path, astronaut_video: Callable[..., Path], tmp_path: Path, run: Run
) -> None:
    video, out = astronaut_video(tmp_path / "a.mp4", count=8), tmp_path / "out"
    options = [video, "--model", untrained_model, "--json", tmp_path / "r.json"]
    code, _, err = run(*options, "--overlay")
    assert code == ExitCode.USAGE
    assert "--overlay needs --report" in " ".join(err.split())
    code, said, _ = run(*options, "--report", out, "--overlay", "--every-second")
    assert code == ExitCode.DONE
    film, page = sorted(out.iterdir(), key=lambda path: path.suffix, reverse=True)
    assert film.name == page.name.replace(".html", ".overlay.mp4")
    assert f"overlay: {film}" in said
    assert 'id="moment"' in page.read_text(encoding="utf-8")
    (result,) = json.loads((tmp_path / "r.json").read_text())["results"]
    assert [s["seconds"] for s in result["faces"][0]["every_second"]] == [0.0]
    again = [*options, "--report", out, "--overlay", "--every-second", "--resume"]
    assert "1 of 1 files were done earlier" in run(*again)[2]
    film.unlink()
    assert "0 of 1 files were done earlier" in run(*again)[2]
    assert film.is_file()


@pytest.mark.usefixtures("face_backend_ready")
def test_reasons_and_intervals_are_printed(
    untrained_model: Path, astronaut_video: Callable[..., Path], tmp_path: Path, run: Run
) -> None:
    long = astronaut_video(tmp_path / "long.mp4", count=8)
    short = astronaut_video(tmp_path / "short.mp4", count=3)
    _, said, _ = run(long, "--model", untrained_model)
    assert "    over its clips: 0." in said
    assert "FFmpeg" not in said, "a fact of nearly every file is no warning"
    _, said, _ = run(short, "--model", untrained_model)
    assert "    reason: The face was followed for 3 frames" in said
    assert "the last frame was repeated" in said, "warnings are printed, too"
    assert f"{short}: inconclusive" in said


@pytest.mark.usefixtures("face_backend_ready")
def test_results_for_programs_and_an_exit_code_for_a_verdict(
    untrained_model: Path, astronaut_video: Callable[..., Path], tmp_path: Path, run: Run
) -> None:
    video = astronaut_video(tmp_path / "a.mp4", count=8)
    lines = tmp_path / "lines.jsonl"
    (bad := tmp_path / "b.mp4").write_bytes(b"no film")
    command = (video, bad, "--model", untrained_model, "--threshold", 0.25)
    code, out, err = run(*command, "--json", "-", "--jsonl", lines)
    assert code == ExitCode.SOME_FAILED
    results = json.loads(out)["results"]
    by_line = [json.loads(line) for line in lines.read_text().splitlines()]
    assert by_line == results
    assert results[0]["settings"]["fake_from"] == 0.25
    assert f"{video}: {results[0]['verdict']} (" in err
    verdict = results[0]["verdict"].replace(" ", "-")
    others = {"likely-fake", "inconclusive", "no-manipulation-found"} - {verdict}
    code, out, _ = run(*command, "--jsonl", "-", "--fail-on", verdict)
    assert code == ExitCode.VERDICT
    assert [json.loads(line)["path"] for line in out.splitlines()] == [str(video), str(bad)]
    code, out, _ = run(*command, *(word for other in others for word in ("--fail-on", other)))
    assert code == ExitCode.SOME_FAILED
    assert f"{video}: " in out
    for wrong in (("--fail-on", "fake"), ("--json", "-", "--jsonl", "-"), ("--threshold", 2)):
        assert run(*command, *wrong)[0] == ExitCode.USAGE


@pytest.mark.parametrize(
    ("outputs", "branches"),
    [
        ([], False),
        (["--csv", "r.csv"], False),
        (["--json", "-"], True),
        (["--jsonl", "l.jsonl"], True),
        (["--report", "pages"], True),
    ],
)
def test_h_and_g_are_computed_where_they_are_written(
    outputs: list[str],
    branches: bool,
    tree: Path,
    untrained_model: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def nothing(*_: object, settings: DetectorSettings, **__: object) -> Iterator[Detection]:
        asked.append(settings.branches)
        return iter(())

    monkeypatch.setattr("fakestormer.detection.batch.detect_many", nothing)
    run("a.mp4", "--model", untrained_model, *outputs)
    assert asked == [branches]
