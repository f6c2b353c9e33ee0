"""Commands that detect: detect, saliency."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fakestormer.cli import options
from fakestormer.cli.needs import require
from fakestormer.cli.options import ExitCode, app, say

if TYPE_CHECKING:
    from fakestormer.detection.batch import BatchProgress
    from fakestormer.types import Report

#: The verdicts as words of a command.
VERDICTS = ("likely-fake", "inconclusive", "no-manipulation-found")


@app.command()
def detect(
    videos: Annotated[
        list[str], typer.Argument(help="video files, folders, patterns, s3://...; - reads a list")
    ],
    model: options.Model = None,
    fetch_into: Annotated[
        Path | None,
        typer.Option("--fetch", help="fetch addresses with yt-dlp into this folder, and keep them"),
    ] = None,
    json_place: Annotated[
        str | None,
        typer.Option("--json", metavar="PATH", help="write all results here; - is standard output"),
    ] = None,
    lines_file: Annotated[
        Path | None,
        typer.Option("--jsonl", help="write each result here as it comes, one a line; or -"),
    ] = None,
    csv_place: Annotated[
        str | None, typer.Option("--csv", metavar="PATH", help="a line per file, here")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="keep the results that --json has of an earlier run")
    ] = False,
    report: Annotated[
        Path | None, typer.Option(help="write one HTML report per video into this folder")
    ] = None,
    pdf: Annotated[
        bool, typer.Option("--pdf", help="with --report: also each as PDF, by a browser")
    ] = False,
    overlay: Annotated[
        bool,
        typer.Option("--overlay", help="with --report: also the video with faces drawn in"),
    ] = False,
    every_second: Annotated[
        bool, typer.Option("--every-second", help="score each second, for the time line")
    ] = False,
    stream: options.Stream = None,
    threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="likely fake from this probability on; else the model's"),
    ] = None,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            help="exit with 7 if a file gets this verdict, e.g. likely-fake; repeatable",
            autocompletion=lambda: [*VERDICTS],
        ),
    ] = None,
    sampling: options.SamplingName = None,
    shots: options.Shots = None,
    shot_score: options.ShotScore = None,
    faces: options.Faces = "auto",
    device: Annotated[str, typer.Option(help="cpu, cuda, ...")] = "cpu",
    workers: Annotated[
        int, typer.Option(min=0, help="processes, each with a model; 0 works in this one")
    ] = 0,
    ray: options.Ray = None,
) -> None:
    """Give for every face of every video the probability of manipulation, and the evidence."""
    from fakestormer.cli.console.detecting import (
        machine_readable,
        print_report,
        print_summary,
        with_bar,
    )
    from fakestormer.cli.fetching import Fetching
    from fakestormer.cli.inputs import named_paths
    from fakestormer.cli.reports import ReportFolder
    from fakestormer.detection.batch import DetectorSettings, ResultFiles, detect_many

    json_file, csv_file = (
        None if place is None else options.place_of(place) for place in (json_place, csv_place)
    )
    bad_verdicts = {options.one_of(word, *VERDICTS).replace("-", " ") for word in fail_on or ()}
    _check_places(json_file, lines_file, csv_file, report, resume=resume, overlay=overlay, pdf=pdf)
    if ray is not None:
        require("cluster", "ray")
    settings = DetectorSettings(
        model=options.model_of(model),
        device=device,
        faces=faces,
        sampling=sampling,
        shots=shots,
        shot_score=shot_score,
        threshold=threshold,
        every_second=every_second,
        stream=stream,
        scene=report is not None,
        # What h and g say of frames is in reports and JSON, and not in what is printed.
        branches=any((report, json_file, lines_file)),
        # An absolute path is the same folder for this process and for the nodes of a cluster.
        overlay=report.absolute() if report is not None and overlay else None,
    )
    kept = None if json_file == options.STDOUT else json_file
    files = ResultFiles(json_file=kept, csv_file=csv_file, resume=resume, reports=report)
    fetching = None if fetch_into is None else Fetching(fetch_into)
    paths = named_paths(videos, fetching)
    reports = ReportFolder(report, inputs=paths, pdf=pdf, overlay=overlay)
    options.print_log_of("fakestormer.video.folder")
    options.print_log_of("fakestormer.detection.batch")
    results: dict[int, dict[str, Any]] = {}
    with machine_readable(json_file, lines_file, results) as write_line:
        for detection in with_bar(
            lambda progress: detect_many(
                paths,
                settings=settings,
                files=files,
                workers=workers,
                cluster=ray,
                progress=progress,
                unusable=None if fetching is None else fetching.failures,
            )
        ):
            results[detection.place] = detection.result
            write_line(detection.result)
            if detection.error is not None:
                say(str(detection.error))
            if (done := detection.report) is None:
                continue
            lines = reports.add(done)
            print_report(done)
            print("".join(f"{line}\n" for line in lines), end="")
        if len(results) > 1:
            print_summary([results[place] for place in sorted(results)])
        reports.finish([results[place] for place in sorted(results)])
    judged = {result["verdict"] for result in results.values() if "error" not in result}
    if judged & bad_verdicts:
        raise typer.Exit(ExitCode.VERDICT)
    # A page that could not be printed has a verdict: it is never all that failed.
    failed = sum("error" in result for result in results.values()) + reports.unprinted
    options.exit_by(failed=failed, of=len(results) + reports.unprinted)


def _check_places(
    json_file: Path | str | None,
    lines_file: Path | None,
    csv_file: Path | str | None,
    report: Path | None,
    *,
    resume: bool,
    overlay: bool,
    pdf: bool,
) -> None:
    """Wrong usage where the outputs of `detect` cannot be what or where the options say."""
    named = {"--json": json_file, "--jsonl": lines_file, "--csv": csv_file}
    files = {option: file for option, file in named.items() if file is not None}
    for option, file in files.items():
        if file != options.STDOUT or option == "--csv":
            options.require_file(file, option)
    for (a, file), (b, other) in itertools.combinations(files.items(), 2):
        if options.same_place(file, other):
            raise typer.BadParameter(f"{a} and {b} both name {other}; name two files")
    if resume and json_file in (None, options.STDOUT):
        raise typer.BadParameter("--resume needs --json: the results file of the earlier run")
    if report is not None:
        options.require_folder(report, "--report")
    elif overlay:
        raise typer.BadParameter("--overlay needs --report: the folder of the drawn videos")
    elif pdf:
        raise typer.BadParameter("--pdf needs --report: the folder of the printed pages")


@app.command("saliency")
def draw_saliency(
    videos: Annotated[list[str], typer.Argument(help="video files")],
    out: Annotated[Path, typer.Option(help="write the sheets into this folder")],
    model: options.Model = None,
    stream: options.Stream = None,
    clips: Annotated[int, typer.Option(min=1, help="sheets per video: its highest clips")] = 1,
    faces: options.Faces = "auto",
    device: Annotated[str, typer.Option(help="cpu, cuda, ...")] = "cpu",
) -> None:
    """Draw what the branches h and g drew on: a sheet for each of a video's highest clips."""
    require("saliency", "captum")
    from fakestormer.cli.console.detecting import with_bar
    from fakestormer.cli.inputs import named_file
    from fakestormer.detection.detector import Detector
    from fakestormer.detection.printable import face_name, shown
    from fakestormer.errors import InputError
    from fakestormer.faces.open import open_backend
    from fakestormer.report.saliency import explainable
    from fakestormer.report.saliency_sheet import write_saliency_sheets

    options.require_folder(out, "--out")
    chosen = options.model_of(model)
    detector = Detector(chosen, device=device, backend=open_backend(faces))
    explainable(detector.engine.network, str(chosen))

    def reports(path: Path, progress: BatchProgress) -> Iterator[Report]:
        bar = partial(progress, str(path))
        yield detector.detect(path, progress=bar, scene=False, stream=stream)

    failed = 0
    for path in map(named_file, videos):
        try:
            (report,) = with_bar(partial(reports, path))
            for face, clip, sheet in write_saliency_sheets(
                report, detector.engine.network, out, clips=clips
            ):
                score = float(face.prediction.clip_probabilities[clip])
                print(
                    f"{shown(report.path)}: {face_name(face.number)}, clip {clip + 1} of "
                    f"{len(face.prediction.clip_probabilities)} ({score:.3f}): {sheet}"
                )
        except InputError as error:
            failed += 1
            say(str(error))
    options.exit_by(failed=failed, of=len(videos))
