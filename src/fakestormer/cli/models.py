"""Commands about set-up and models: setup, recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fakestormer.cli.options import (
    app,
    recipe_of,
)


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
    print(recipe_of(name, set_ or []).model_dump_json(indent=2))
