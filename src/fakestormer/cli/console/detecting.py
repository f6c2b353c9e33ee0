"""Bars and results of the commands that detect: detect, saliency."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, TypeVar, get_args

from fakestormer.cli.console.bars import LISTED, bar
from fakestormer.cli.options import STDOUT
from fakestormer.detection.batch import BatchProgress
from fakestormer.detection.printable import face_name, shown
from fakestormer.detection.results import document_of
from fakestormer.files import writing
from fakestormer.types import Report, Verdict

Item = TypeVar("Item")

_STAGES = {
    "faces": "following faces",
    "scores": "scoring faces",
    "seconds": "scoring every second",
    "overlay": "drawing the overlay",
}


def with_bar(work: Callable[[BatchProgress], Iterable[Item]]) -> Iterator[Item]:
    """What `work(progress)` gives, with a bar for the stages of a file, or for all files.

    The bar is gone while an item is printed: it would send standard output to standard error.
    """
    drawn = bar()
    task = drawn.add_task("opening the model", total=None)
    drawn.start()

    def advance(path: str, stage: str, done: int, total: int | None) -> None:
        drawn.start()
        drawn.update(
            task,
            description=f"{shown(Path(path).name)}: {_STAGES[stage]}" if path else "detecting",
            completed=done,
            total=None if total is None else max(done, total),
        )

    try:
        for item in work(advance):
            drawn.live.stop()
            yield item
    finally:
        drawn.live.stop()


@contextmanager
def machine_readable(
    document: Path | str | None, lines: Path | None, results: Mapping[int, dict[str, Any]]
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Results for programs, complete when the context ends, an interrupted run included.

    Yields what writes a result as a line, where that is asked for. While one of both goes to
    standard output, what is printed for people goes to standard error.

    Args:
        document: "-" writes all results to standard output; a file is written elsewhere.
        lines: a file that gets each result as it comes, or "-".
        results: by place, filled within.
    """
    out = sys.stdout
    with ExitStack() as opened:
        if STDOUT in (document, lines):
            opened.enter_context(redirect_stdout(sys.stderr))
        line_file = out if lines == STDOUT else None
        if lines is not None and lines != STDOUT:
            with writing(lines):
                line_file = opened.enter_context(lines.open("w", encoding="ascii"))

        def write_line(result: dict[str, Any]) -> None:
            if line_file is not None:
                # ASCII with escapes: file names need not be valid Unicode.
                line_file.write(json.dumps(result) + "\n")
                line_file.flush()

        try:
            yield write_line
        finally:
            if document == STDOUT:
                out.write(document_of([results[place] for place in sorted(results)]))


def print_report(report: Report) -> None:
    """The verdict of a video and of every face in it, with what to bear in mind."""
    assert report.probability is not None, "a detected video has a score"
    print(f"{shown(report.path)}: {report.verdict} ({report.probability:.3f})")
    for face in report.faces:
        seconds = face.prediction.pts_seconds
        print(
            f"  {face_name(face.number)}, {float(seconds.min()):.1f}-{float(seconds.max()):.1f} s:"
            f" {face.verdict} ({face.prediction.probability:.3f})"
            + (
                ""
                if face.prediction.raw is None
                else f", before calibration {face.prediction.raw:.3f}"
            )
        )
        if face.interval is not None:
            low, high = face.interval
            print(f"    over its clips: {low:.3f} to {high:.3f}")
        for reason in face.reasons:
            print(f"    reason: {reason.text}")
        shots_s = face.prediction.shot_probabilities
        if len(shots_s) > 1:
            last, mean = float(shots_s[-1]), float(shots_s.mean())
            print(f"    {len(shots_s)} shots: last {last:.3f}, mean {mean:.3f}")
        for warning in face.warnings:
            print(f"    note: {shown(warning)}")
    for warning in report.warnings:
        print(f"  note: {shown(warning)}")


def print_summary(results: Sequence[Mapping[str, Any]]) -> None:
    """How many files got which verdict, and which could not be used; of entries of "results"."""
    counts = dict.fromkeys(get_args(Verdict), 0)
    failures = [result for result in results if "error" in result]
    for result in results:
        if "error" not in result:
            counts[result["verdict"]] += 1
    lines = {f"{len(results)} files": "", **{k: str(n) for k, n in counts.items()}}
    lines["could not be used"] = str(len(failures))
    widest = max(map(len, lines))
    print()
    for name, count in lines.items():
        print(f"{name:<{widest}}  {count:>6}".rstrip())
    for result in failures[:LISTED]:
        print(f"  {shown(result['path'])}")
    if len(failures) > LISTED:
        print(f"  ... and {len(failures) - LISTED} more")
