"""Commands that judge videos: detect, saliency."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fakestormer.cli.options import (
    ExitCode,
    Faces,
    Ray,
    SamplingName,
    Shots,
    ShotScore,
    app,
    backend_of,
    one_of,
    require_folder,
    say,
)


@app.command()
def detect(
    videos: Annotated[list[Path], typer.Argument(help="video files, or folders of them")],
    model: Annotated[
        Path, typer.Option(envvar="FAKESTORMER_MODEL", help="a model: .safetensors or its folder")
    ],
    json_file: Annotated[Path | None, typer.Option("--json", help="write all results here")] = None,
    report: Annotated[
        Path | None, typer.Option(help="write one HTML report per video into this folder")
    ] = None,
    sampling: SamplingName = None,
    shots: Shots = None,
    shot_score: ShotScore = None,
    faces: Faces = "auto",
    device: Annotated[str, typer.Option(help="cpu, cuda, ...")] = "cpu",
    workers: Annotated[
        int, typer.Option(min=0, help="processes, each with a model; 0 works in this one")
    ] = 0,
    ray: Ray = None,
) -> None:
    """Say for every face of every video how likely it is to be manipulated, and show why."""
    from fakestormer.batch import DetectorSettings, files_of
    from fakestormer.console import detected, print_report
    from fakestormer.explain.report import write_report
    from fakestormer.explain.results import failure_of, result_of, write_results

    if json_file is not None and json_file.is_dir():
        raise typer.BadParameter(f"--json {json_file}: is a folder; name a file")
    if report is not None:
        require_folder(report, "--report")
    settings = DetectorSettings(
        model=model,
        device=device,
        faces=backend_of(faces),
        sampling=one_of(sampling, "consecutive", "spread", "windows"),
        shots=shots,
        shot_score=one_of(shot_score, "last", "mean"),
    )
    files = [str(path) for path in files_of(videos)]
    results = {}
    failed = 0
    for path, found in detected(settings, files, workers=workers, cluster=ray):
        if isinstance(found, str):
            failed += 1
            say(found)
            results[path] = failure_of(path, found)
        else:
            results[path] = result_of(found)
            print_report(found)
            if report is not None:
                print(f"  report: {write_report(found, report)}")
        if json_file is not None:
            # In the order given, whatever the order they were finished in.
            write_results(json_file, [results[name] for name in files if name in results])
    if failed == len(files):
        raise typer.Exit(ExitCode.ALL_FAILED)
    if failed:
        raise typer.Exit(ExitCode.SOME_FAILED)


@app.command("saliency")
def draw_saliency(
    videos: Annotated[list[Path], typer.Argument(help="video files")],
    model: Annotated[
        Path, typer.Option(envvar="FAKESTORMER_MODEL", help="a model: .safetensors or its folder")
    ],
    out: Annotated[Path, typer.Option(help="write the sheets into this folder")],
    clips: Annotated[int, typer.Option(min=1, help="sheets per video: its highest clips")] = 1,
    faces: Faces = "auto",
    device: Annotated[str, typer.Option(help="cpu, cuda, ...")] = "cpu",
) -> None:
    """Draw what the branches h and g drew on: a sheet for each of a video's highest clips."""
    from fakestormer.console import detect_with_bar
    from fakestormer.detector import Detector
    from fakestormer.errors import InputError
    from fakestormer.explain.report import face_name, shown
    from fakestormer.explain.saliency import explainable
    from fakestormer.explain.saliency_sheet import write_saliency_sheets
    from fakestormer.video.faces import open_backend

    require_folder(out, "--out")
    detector = Detector.load(model, device=device, backend=open_backend(backend_of(faces)))
    explainable(detector.network, str(model))
    failed = 0
    for path in videos:
        try:
            report = detect_with_bar(detector, path)
            for face, clip, sheet in write_saliency_sheets(
                report, detector.network, out, clips=clips
            ):
                score = float(face.prediction.clip_probabilities[clip])
                print(
                    f"{shown(report.path)}: {face_name(face.number)}, clip {clip + 1} of "
                    f"{len(face.crops)} ({score:.3f}): {sheet}"
                )
        except InputError as error:
            failed += 1
            say(str(error))
    if failed == len(videos):
        raise typer.Exit(ExitCode.ALL_FAILED)
    if failed:
        raise typer.Exit(ExitCode.SOME_FAILED)
