"""Commands that judge videos: detect, saliency."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fakestormer.cli.needs import require
from fakestormer.cli.options import (
    ExitCode,
    Faces,
    Model,
    Ray,
    SamplingName,
    Shots,
    ShotScore,
    app,
    backend_of,
    model_of,
    one_of,
    require_file,
    require_folder,
    same_place,
    say,
    say_news_of,
)

if TYPE_CHECKING:
    from fakestormer.errors import InputError


@app.command()
def detect(
    videos: Annotated[
        list[str], typer.Argument(help="video files, folders, patterns; - reads a list")
    ],
    model: Model = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="write all results here")] = None,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="a line per file, here")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="keep what --json holds of an earlier run")
    ] = False,
    report: Annotated[
        Path | None, typer.Option(help="write one HTML report per video into this folder")
    ] = None,
    overlay: Annotated[
        bool, typer.Option("--overlay", help="with --report: also each video, drawn into")
    ] = False,
    every_second: Annotated[
        bool, typer.Option("--every-second", help="score each second, for the time line")
    ] = False,
    stream: Annotated[
        int | None,
        typer.Option(min=0, help="judge this video stream; else the one that players show"),
    ] = None,
    sampling: SamplingName = None,
    shots: Shots = None,
    shot_score: ShotScore = None,
    faces: Faces = "auto",
    device: Annotated[str, typer.Option(help="cpu, cuda, ...")] = "cpu",
    runtime: Annotated[
        str, typer.Option(help="what computes the network on the CPU: torch, onnx or openvino")
    ] = "torch",
    workers: Annotated[
        int, typer.Option(min=0, help="processes, each with a model; 0 works in this one")
    ] = 0,
    ray: Ray = None,
) -> None:
    """Say for every face of every video how likely it is to be manipulated, and show why."""
    from fakestormer.cli.console.detecting import detected, print_report, print_summary
    from fakestormer.cli.inputs import named_files
    from fakestormer.detection.batch import DetectorSettings
    from fakestormer.detection.collected import Collected, finished_before
    from fakestormer.detection.film import film_name
    from fakestormer.detection.printable import page_name
    from fakestormer.detection.results import failure_of, result_of
    from fakestormer.report.page import write_report

    for option, file in (("--json", json_file), ("--csv", csv_file)):
        if file is not None:
            require_file(file, option)
    if json_file is not None and csv_file is not None and same_place(json_file, csv_file):
        raise typer.BadParameter(f"--json and --csv both name {csv_file}; name two files")
    if resume and json_file is None:
        raise typer.BadParameter("--resume needs --json: the file of the run to go on with")
    if report is not None:
        require_folder(report, "--report")
    elif overlay:
        raise typer.BadParameter("--overlay needs --report: the folder the drawn videos go into")
    if runtime != "torch" and device != "cpu":
        raise typer.BadParameter(f"--runtime {runtime}: works on the CPU; leave out --device")
    if ray is not None:
        require("cluster", "ray")
    settings = DetectorSettings(
        model=model_of(model),
        device=device,
        faces=backend_of(faces),
        sampling=one_of(sampling, "consecutive", "spread", "windows"),
        shots=shots,
        shot_score=one_of(shot_score, "last", "mean"),
        every_second=every_second,
        stream=stream,
        scene=report is not None,
        runtime=one_of(runtime, "torch", "onnx", "openvino"),
        # From here and from the nodes of a cluster it is the same folder.
        overlay=report.absolute() if report is not None and overlay else None,
    )
    unusable: dict[str, str] = {}

    def told(folder: Path, error: InputError) -> None:
        unusable.setdefault(str(folder), str(error))

    named = named_files(videos, unusable=told)
    files = list(dict.fromkeys([*map(str, named), *unusable]))
    say_news_of("fakestormer.runtimes.exported")
    with Collected(files, json_file=json_file, csv_file=csv_file) as collected:
        # Before anything is written: what is wrong with the model leaves an older file as it was.
        detector = settings.open()
        if json_file is not None and resume:
            done = finished_before(
                json_file,
                files,
                model=detector.fingerprint(),
                settings=detector.settings(every_second=every_second, stream=stream),
            )
            kinds = [name for name, on in ((page_name, report), (film_name, overlay)) if on]
            done = {
                path: result
                for path, result in done.items()
                if report is None
                or all((report / name(path, result["sha256"])).is_file() for name in kinds)
            }
            collected.keep(done)
            say(f"{json_file}: {len(done)} of {len(files)} files were done earlier and are kept")
        for folder, sentence in unusable.items():
            say(sentence)
            collected.add(folder, failure_of(folder, sentence))
        left = [path for path in files if path not in collected.results]
        for path, found in detected(settings, detector, left, workers=workers, cluster=ray):
            if isinstance(found, str):
                say(found)
                collected.add(path, failure_of(path, found))
                continue
            page = None if report is None else write_report(found, report)
            collected.add(path, result_of(found))
            print_report(found)
            if page is not None:
                print(f"  report: {page}")
                if overlay:
                    print(f"  overlay: {page.parent / film_name(found.path, found.sha256)}")
    if len(files) > 1:
        print_summary([collected.results[path] for path in files])
    failed = sum("error" in result for result in collected.results.values())
    if failed == len(files):
        raise typer.Exit(ExitCode.ALL_FAILED)
    if failed:
        raise typer.Exit(ExitCode.SOME_FAILED)


@app.command("saliency")
def draw_saliency(
    videos: Annotated[list[Path], typer.Argument(help="video files")],
    out: Annotated[Path, typer.Option(help="write the sheets into this folder")],
    model: Model = None,
    clips: Annotated[int, typer.Option(min=1, help="sheets per video: its highest clips")] = 1,
    faces: Faces = "auto",
    device: Annotated[str, typer.Option(help="cpu, cuda, ...")] = "cpu",
) -> None:
    """Draw what the branches h and g drew on: a sheet for each of a video's highest clips."""
    require("saliency", "captum")
    from fakestormer.cli.console.detecting import detect_with_bar
    from fakestormer.detection.detector import Detector
    from fakestormer.detection.printable import face_name, shown
    from fakestormer.errors import InputError
    from fakestormer.faces.open import open_backend
    from fakestormer.report.saliency import explainable
    from fakestormer.report.saliency_sheet import write_saliency_sheets

    require_folder(out, "--out")
    chosen = model_of(model)
    detector = Detector.load(chosen, device=device, backend=open_backend(backend_of(faces)))
    explainable(detector.network, str(chosen))
    failed = 0
    for path in videos:
        try:
            report = detect_with_bar(detector, path, scene=False)
            for face, clip, sheet in write_saliency_sheets(
                report, detector.network, out, clips=clips
            ):
                score = float(face.prediction.clip_probabilities[clip])
                print(
                    f"{shown(report.path)}: {face_name(face.number)}, clip {clip + 1} of "
                    f"{len(face.prediction.clip_probabilities)} ({score:.3f}): {sheet}"
                )
        except InputError as error:
            failed += 1
            say(str(error))
    if failed == len(videos):
        raise typer.Exit(ExitCode.ALL_FAILED)
    if failed:
        raise typer.Exit(ExitCode.SOME_FAILED)
