"""What commands share: the application, exit codes, options, and the values of options."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from fakestormer.recipe.recipe import Recipe

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Explainable deepfake video detection, trained on real videos only.",
    epilog=(
        "Exit codes: 0 done; 2 wrong usage; 3 some inputs could not be used; 4 none could; "
        "5 set-up needed; 6 training stopped making sense; 7 a verdict of --fail-on; "
        "130 interrupted."
    ),
)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"fakestormer {version('fakestormer')}")
        raise typer.Exit


@app.callback()
def _options(
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="print the version and exit"
        ),
    ] = False,
) -> None:
    """The options of `fakestormer` itself; its help text is that of `app`."""


#: The name of a file that stands for standard output.
STDOUT = Path("-")


class ExitCode(IntEnum):
    """Exit codes; documented in --help and docs/quickstart.md."""

    DONE = 0
    USAGE = 2
    SOME_FAILED = 3
    ALL_FAILED = 4
    SETUP_NEEDED = 5
    TRAINING_FAILED = 6
    VERDICT = 7
    INTERRUPTED = 130


def say(message: str) -> None:
    """One sentence on standard error, unwrapped and without markup, so that it can be grepped."""
    if sys.stderr is None:  # closed; print would take standard output instead
        return
    # File names need not be valid Unicode; what is printed must be.
    print(message.encode(errors="replace").decode(), file=sys.stderr)


def print_log_of(module: str) -> None:
    """Print on standard error what one of our modules logs about its progress."""
    logger = logging.getLogger(module)
    logger.setLevel(logging.INFO)
    logger.propagate = False  # libraries add handlers to the root logger: not twice
    if not any(isinstance(handler, _Printed) for handler in logger.handlers):
        logger.addHandler(_Printed())


class _Printed(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage())


def exit_by(*, failed: int, of: int) -> None:
    """End the command with the exit code of a run in which `failed` of its inputs failed."""
    if failed:
        raise typer.Exit(ExitCode.ALL_FAILED if failed == of else ExitCode.SOME_FAILED)


def recipe_of(name: str, assignments: list[str]) -> Recipe:
    """The recipe of --recipe and --set."""
    from fakestormer.recipe.named import RECIPES, load_recipe

    if name not in RECIPES:
        raise typer.BadParameter(f"no recipe named '{name}'; there are {', '.join(RECIPES)}")
    with wrong_usage():
        return load_recipe(name, assignments)


@contextmanager
def wrong_usage(kind: type[ValueError] = ValueError) -> Iterator[None]:
    """Within: an error of this kind is wrong usage."""
    try:
        yield
    except kind as error:
        raise typer.BadParameter(str(error)) from error


def one_of(value: str | None, *choices: str) -> Any:
    """The value; wrong usage where it is neither None nor one of the choices."""
    if value is not None and value not in choices:
        raise typer.BadParameter(f"'{value}' is not one of {', '.join(choices)}")
    return value


# os.path in these: a path that cannot be examined raises its error where it is written to.


def require_folder(path: Path | str, option: str) -> None:
    if os.path.exists(path) and not os.path.isdir(path):
        raise typer.BadParameter(f"{option} {path}: is a file; name a folder")


def place_of(text: str) -> Path | str:
    """A file or folder, or as it is an address in an object store (s3://BUCKET/KEY)."""
    from fakestormer.video.objects import is_object

    return text if is_object(text) else Path(text)


def require_file(path: Path | str, option: str) -> None:
    """Wrong usage for a path that is a folder, a device or a pipe."""
    if os.path.isdir(path):
        raise typer.BadParameter(f"{option} {path}: is a folder; name a file")
    if os.path.exists(path) and not os.path.isfile(path):
        raise typer.BadParameter(f"{option} {path}: is a device or a pipe; name a file")


def same_place(a: Path | str, b: Path | str) -> bool:
    return os.path.realpath(a) == os.path.realpath(b)


def model_of(model: Path | None) -> Path:
    """The model, or the one that comes with the package; wrong usage where there is none."""
    from fakestormer.model.document import NOTHING_SHIPPED, SHIPPED

    if model is None and not SHIPPED.is_file():
        raise typer.BadParameter(NOTHING_SHIPPED)
    return SHIPPED if model is None else model


Model = Annotated[
    Path | None,
    typer.Option(
        envvar="FAKESTORMER_MODEL",
        help="a model: .safetensors or its folder; default: the one in the package",
    ),
]
RecipeName = Annotated[
    Literal["paper", "release", "foundation", "small", "tiny"],
    typer.Option("--recipe", help="where the settings start from"),
]
Assignments = Annotated[
    list[str] | None, typer.Option("--set", help="FIELD=VALUE, e.g. training.epochs=3; repeatable")
]
HoldOut = Annotated[
    list[str] | None, typer.Option(help="a source to hold out for validation; repeatable")
]
ValidationFraction = Annotated[
    float, typer.Option(min=0, max=0.9, help="share of the other videos that is held out")
]
Table = Annotated[
    Path | None,
    typer.Option(
        help="a CSV about the videos: path (relative to the CSV's own folder), and source, "
        "identity, split, label or method"
    ),
]
# Values in the order that the types have which they are passed to: of two unions with the same
# values Python keeps the one that came first, so help texts would depend on imports.
Faces = Annotated[Literal["auto", "blazeface", "dlib"], typer.Option(help="face backend")]
SamplingName = Annotated[
    Literal["consecutive", "spread", "windows"] | None,
    typer.Option(help="how clips are taken from a video; default: the model's way"),
]
SplitName = Annotated[
    Literal["train", "validation", "test", "all"], typer.Option(help="the videos of this split")
]
Stream = Annotated[
    int | None,
    typer.Option(min=0, help="take this video stream; else the one that players show"),
]
Shots = Annotated[
    int | None,
    typer.Option(min=1, max=20, help="scores of each clip, hiding what h points at"),
]
ShotScore = Annotated[
    Literal["last", "mean"] | None, typer.Option(help="which of several shots counts")
]
Ray = Annotated[
    str | None,
    typer.Option("--ray", help="do the work on a Ray cluster: its address, auto, or local"),
]
