"""The command line: thin, every heavy import inside the command that needs it.

Exit codes: 0 all done; 2 the command was called wrongly; 3 some inputs could not be used (the
others are done); 4 none could; 5 something has to be set up first (the message says how);
6 training stopped because its numbers were no longer finite; 130 interrupted (finished work is
kept).
"""

from __future__ import annotations

import sys
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fakestormer.recipes import Recipe
    from fakestormer.video.faces import BackendName

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Explainable deepfake video detection, trained on real videos only.",
    epilog=(
        "Exit codes: 0 done; 2 wrong usage; 3 some inputs could not be used; 4 none could; "
        "5 set-up needed; 6 training stopped making sense; 130 interrupted."
    ),
)


class ExitCode(IntEnum):
    """What the shell is told; documented in --help and docs/quickstart.md."""

    DONE = 0
    USAGE = 2
    SOME_FAILED = 3
    ALL_FAILED = 4
    SETUP_NEEDED = 5
    TRAINING_FAILED = 6
    INTERRUPTED = 130


def _say(message: str) -> None:
    """One sentence on standard error, unwrapped and without markup, so that it can be grepped."""
    # File names need not be valid Unicode; what is printed must be.
    print(message.encode(errors="replace").decode(), file=sys.stderr)


@app.command()
def setup(
    wheel: Annotated[
        Path | None,
        typer.Option(help="a mediapipe 0.10.14 wheel you already have, instead of fetching it"),
    ] = None,
) -> None:
    """Fetch the two face model files once (through your own pip); everything works offline after.

    They are the BlazeFace detector and the 468-point face mesh (Apache-2.0), checked by SHA-256
    and kept with their licence in your cache folder.
    """
    from fakestormer.video.face_models import setup as fetch

    fetch(wheel, on_progress=print)


@app.command()
def recipe(
    name: Annotated[str, typer.Argument(help="paper, release, small or tiny")] = "tiny",
    set_: Annotated[list[str] | None, typer.Option("--set", help="FIELD=VALUE")] = None,
) -> None:
    """Print a recipe as JSON: every field that --set can change, with its value."""
    print(_recipe(name, set_ or []).model_dump_json(indent=2))


def _recipe(name: str, assignments: list[str]) -> Recipe:
    from fakestormer.recipes import RECIPES, override

    if name not in RECIPES:
        raise typer.BadParameter(f"no recipe named '{name}'; there are {', '.join(RECIPES)}")
    try:
        return override(RECIPES[name](), assignments)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _one_of(value: str, *choices: str) -> Any:
    """The value, if it is one of the choices; else wrong usage, naming them."""
    if value not in choices:
        raise typer.BadParameter(f"'{value}' is not one of {', '.join(choices)}")
    return value


def _require_folder(path: Path, option: str) -> None:
    if path.exists() and not path.is_dir():
        raise typer.BadParameter(f"{option} {path}: is a file; name a folder")


def _backend(name: str) -> BackendName:
    chosen: BackendName = _one_of(name, "auto", "blazeface", "dlib")
    return chosen


# What several commands share.
RecipeName = Annotated[str, typer.Option("--recipe", help="paper, release, small or tiny")]
Assignments = Annotated[
    list[str] | None, typer.Option("--set", help="FIELD=VALUE, e.g. training.epochs=3; repeatable")
]
HoldOut = Annotated[list[str] | None, typer.Option(help="a source kept for validation; repeatable")]
ValidationFraction = Annotated[
    float, typer.Option(min=0, max=0.9, help="share of the other videos kept for validation")
]
Table = Annotated[
    Path | None, typer.Option(help="a CSV about the videos: path, and source, identity or split")
]
Faces = Annotated[str, typer.Option(help="face backend: auto, blazeface or dlib")]


@app.command()
def prepare(
    videos: Annotated[Path, typer.Argument(help="a folder of real videos, at any depth")],
    store: Annotated[Path, typer.Option("--out", help="the track store to make or to go on with")],
    recipe_name: RecipeName = "tiny",
    set_: Assignments = None,
    hold_out: HoldOut = None,
    validation_fraction: ValidationFraction = 0.0,
    table: Table = None,
    workers: Annotated[int, typer.Option(min=0, help="processes; 0 works in this one")] = 2,
    faces: Faces = "auto",
    max_frames: Annotated[
        int, typer.Option(min=0, help="of each video, from its beginning; 0 takes all")
    ] = 256,
) -> None:
    """Follow the faces of many real videos and store their crops, for training.

    Stopped at any moment, the same command goes on where it was. Videos that cannot be used are
    listed with the reason. The source of a video is its folder, or in a flat folder its name up
    to the last underscore before digits (grid_007.mp4 is of grid).
    """
    from fakestormer.console import prepare_with_bar

    _require_folder(store, "--out")
    summary = prepare_with_bar(
        videos,
        store,
        _recipe(recipe_name, set_ or []),
        hold_out=tuple(hold_out or ()),
        validation_fraction=validation_fraction,
        table=table,
        workers=workers,
        faces=_backend(faces),
        max_frames=max_frames or None,
    )
    if not summary.tracks:
        raise typer.Exit(ExitCode.ALL_FAILED)
    if summary.rejected:
        raise typer.Exit(ExitCode.SOME_FAILED)


@app.command()
def synthesize(
    video: Annotated[Path, typer.Argument(help="a video of a real face")],
    folder: Annotated[Path, typer.Option("--out", help="where the pictures and videos go")],
    seed: Annotated[int, typer.Option(min=0, help="draws the parameters")] = 0,
    params: Annotated[
        Path | None, typer.Option(help="a params.json, to replay it to the same pixels")
    ] = None,
    recipe_name: RecipeName = "small",
    set_: Assignments = None,
    faces: Faces = "auto",
) -> None:
    """Show what a self-blended video is: real, pseudo-fake, mask, boundary, change, soft labels."""
    from fakestormer.synthesize import synthesize as run

    chosen = _recipe(recipe_name, set_ or [])
    record = run(
        video,
        folder,
        seed=seed,
        params=params,
        synthesis=chosen.synthesis,
        crop=chosen.crop,
        tracking=chosen.tracking,
        size=chosen.model.image_size,
        patch_size=chosen.model.patch_size,
        backend=_backend(faces),
    )
    print(f"{record.frame_count} frames of {video} from frame {record.first_index} on:")
    for name in ("contact_sheet.png", "side_by_side.mp4", "real.mp4", "fake.mp4", "params.json"):
        print(f"  {folder / name}")


@app.command()
def train(
    data: Annotated[Path, typer.Argument(help="a folder of real videos, or a prepared store")],
    run: Annotated[Path, typer.Option("--out", help="the run: checkpoints, logs, the model")],
    recipe_name: RecipeName = "tiny",
    set_: Assignments = None,
    hold_out: HoldOut = None,
    validation_fraction: Annotated[
        float | None,
        typer.Option(min=0, max=0.9, help="of a folder of videos; 0.1 unless sources are held out"),
    ] = None,
    table: Table = None,
    weights: Annotated[
        Path | None, typer.Option(help="pre-trained MAE ViT weights to start from")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on with the run in --out")] = False,
    devices: Annotated[int, typer.Option(min=1, help="GPUs, or processes on the CPU")] = 1,
    accelerator: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    workers: Annotated[int, typer.Option(min=0, help="processes that read and synthesise")] = 1,
    faces: Faces = "auto",
) -> None:
    """Train on real videos: every clip is paired with its self-blended pseudo-fake.

    A folder of videos is prepared into RUN/store first. The model that does best on the held-out
    videos is written to RUN/model.safetensors, with its JSON beside it.
    """
    from fakestormer.console import prepare_with_bar
    from fakestormer.training.loop import train as fit

    _require_folder(run, "--out")
    chosen = _recipe(recipe_name, set_ or [])
    store = data
    if not (data / "store.json").is_file():
        store = run / "store"
        fraction = 0.0 if hold_out else 0.1
        prepare_with_bar(
            data,
            store,
            chosen,
            hold_out=tuple(hold_out or ()),
            validation_fraction=fraction if validation_fraction is None else validation_fraction,
            table=table,
            workers=max(workers, 2),
            faces=_backend(faces),
        )
    elif hold_out or validation_fraction or table:
        raise typer.BadParameter(
            f"{data} is a prepared store: its split was fixed by `fakestormer prepare`; "
            "give --hold-out, --validation-fraction and --table there"
        )
    try:
        result = fit(
            chosen,
            store,
            run,
            initial_weights=weights,
            resume=resume,
            accelerator=accelerator,
            devices=devices,
            workers=workers,
        )
    except KeyboardInterrupt:
        if (run / "checkpoints" / "last").exists():
            _say(f"Stopped; the run is saved in {run}: the same command with --resume goes on")
        raise
    best = result.best
    print(
        f"{result.model}: validation AUC {best['auc_video']:.4f} (videos), "
        f"{best['auc_clip']:.4f} (clips), at step {best['step']:.0f}"
    )


@app.command()
def detect(
    videos: Annotated[list[Path], typer.Argument(help="video files")],
    model: Annotated[
        Path, typer.Option(envvar="FAKESTORMER_MODEL", help="a model: .safetensors or its folder")
    ],
    json_file: Annotated[Path | None, typer.Option("--json", help="write all results here")] = None,
    report: Annotated[
        Path | None, typer.Option(help="write one HTML report per video into this folder")
    ] = None,
    sampling: Annotated[
        str | None, typer.Option(help="windows, consecutive or spread; else the model's own")
    ] = None,
    faces: Faces = "auto",
    device: Annotated[str, typer.Option(help="cpu, cuda, ...")] = "cpu",
) -> None:
    """Say for every face of every video how likely it is to be manipulated, and show why."""
    from fakestormer.console import detect_with_bar, print_report
    from fakestormer.detector import Detector
    from fakestormer.errors import InputError
    from fakestormer.explain.report import write_report
    from fakestormer.explain.results import failure_of, result_of, write_results
    from fakestormer.video.faces import open_backend

    if json_file is not None and json_file.is_dir():
        raise typer.BadParameter(f"--json {json_file}: is a folder; name a file")
    if report is not None:
        _require_folder(report, "--report")
    detector = Detector.load(model, device=device, backend=open_backend(_backend(faces)))
    if sampling is not None:
        detector = detector.sampling(_one_of(sampling, "consecutive", "spread", "windows"))
    results = []
    failed = 0
    for path in videos:
        try:
            found = detect_with_bar(detector, path)
        except InputError as error:
            failed += 1
            _say(str(error))
            results.append(failure_of(str(path), str(error)))
        else:
            results.append(result_of(found))
            print_report(found)
            if report is not None:
                print(f"  report: {write_report(found, report)}")
        if json_file is not None:
            write_results(json_file, results)
    if failed == len(videos):
        raise typer.Exit(ExitCode.ALL_FAILED)
    if failed:
        raise typer.Exit(ExitCode.SOME_FAILED)


def main() -> None:
    """The `fakestormer` command: user errors become one sentence and a documented exit code."""
    from fakestormer.errors import InputError, SetupError, TrainingError

    try:
        app()
    except InputError as error:
        _say(str(error))
        sys.exit(ExitCode.ALL_FAILED)
    except TrainingError as error:
        _say(str(error))
        sys.exit(ExitCode.TRAINING_FAILED)
    except SetupError as error:
        _say(str(error))
        sys.exit(ExitCode.SETUP_NEEDED)
    except KeyboardInterrupt:
        _say("Interrupted; what was finished is kept.")
        sys.exit(ExitCode.INTERRUPTED)
