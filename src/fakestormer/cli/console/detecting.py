"""Videos being judged: detect, saliency."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from fakestormer.cli.console.bars import LISTED, bar
from fakestormer.detection.batch import DetectorSettings, detect_many
from fakestormer.detection.detector import Detector
from fakestormer.detection.printable import face_name, shown
from fakestormer.errors import InputError, OutputError
from fakestormer.types import Report, Verdict


def detect_with_bar(
    detector: Detector,
    path: Path,
    *,
    every_second: bool = False,
    scene: bool = True,
    stream: int | None = None,
) -> Report:
    """`Detector.detect` with a progress bar by stage."""
    stages = {
        "faces": "following faces",
        "scores": "scoring faces",
        "seconds": "scoring every second",
    }
    with bar() as drawn:
        task = drawn.add_task(f"{shown(path.name)}: reading", total=None)

        def advance(stage: str, done: int, total: int | None) -> None:
            drawn.update(
                task,
                description=f"{shown(path.name)}: {stages[stage]}",
                completed=done,
                total=None if total is None else max(done, total),
            )

        return detector.detect(
            path, progress=advance, every_second=every_second, scene=scene, stream=stream
        )


def overlay_with_bar(detector: Detector, report: Report, folder: Path) -> None:
    """`Detector.write_overlay` with a bar that moves, for want of a measure."""
    with bar() as drawn:
        drawn.add_task(f"{shown(Path(report.path).name)}: drawing the overlay", total=None)
        detector.write_overlay(report, folder)


def detected(
    settings: DetectorSettings,
    detector: Detector,
    files: Sequence[str],
    *,
    workers: int,
    cluster: str | None,
) -> Iterator[tuple[str, Report | str]]:
    """(file, its report or the sentence why there is none), with a bar: by stage of each file, or
    of all files where other processes work on them, each with a detector of its own. Overlays are
    written where the work is done.

    detector: what `settings` opens; always here, so that what is wrong with a model is said once.
    """
    if not files:
        return
    if workers == 0 and cluster is None:
        for path in files:
            try:
                report = detect_with_bar(
                    detector,
                    Path(path),
                    every_second=settings.every_second,
                    scene=settings.scene,
                    stream=settings.stream,
                )
                if settings.overlay is not None:
                    overlay_with_bar(detector, report, settings.overlay)
            except OutputError:
                raise  # no other overlay could be written there either
            except InputError as error:
                yield path, str(error)
            else:
                yield path, report
        return
    with bar() as drawn:
        task = drawn.add_task("detecting", total=len(files))
        for path, found in detect_many(settings, files, workers=workers, cluster=cluster):
            drawn.advance(task)
            yield path, found


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
