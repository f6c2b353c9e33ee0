"""Commands that turn videos into data: prepare, synthesize."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fakestormer.cli.options import (
    Assignments,
    ExitCode,
    Faces,
    HoldOut,
    RecipeName,
    Table,
    ValidationFraction,
    app,
    backend_of,
    one_of,
    recipe_of,
    require_folder,
)


@app.command()
def prepare(
    videos: Annotated[Path, typer.Argument(help="a folder of videos, at any depth")],
    store: Annotated[Path, typer.Option("--out", help="the track store to make or to go on with")],
    recipe_name: RecipeName = "tiny",
    set_: Assignments = None,
    hold_out: HoldOut = None,
    validation_fraction: ValidationFraction = 0.0,
    split: Annotated[
        str | None,
        typer.Option(help="train, validation or test: of all videos the table is silent on"),
    ] = None,
    table: Table = None,
    workers: Annotated[int, typer.Option(min=0, help="processes; 0 works in this one")] = 2,
    faces: Faces = "auto",
    max_frames: Annotated[
        int, typer.Option(min=0, help="of each video, from its beginning; 0 takes all")
    ] = 256,
) -> None:
    """Follow the faces of many videos and store their crops, for training or evaluation.

    Stopped at any moment, the same command goes on where it was. Videos that cannot be used are
    listed with the reason. The source of a video is its folder, or in a flat folder its name up
    to the last underscore before digits (grid_007.mp4 is of grid). Videos are real unless the table
    or a folder named "fake" says otherwise.
    """
    from fakestormer.console import prepare_with_bar

    require_folder(store, "--out")
    summary = prepare_with_bar(
        videos,
        store,
        recipe_of(recipe_name, set_ or []),
        hold_out=tuple(hold_out or ()),
        validation_fraction=validation_fraction,
        table=table,
        workers=workers,
        faces=backend_of(faces),
        max_frames=max_frames or None,
        split=one_of(split, "train", "validation", "test"),
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

    chosen = recipe_of(recipe_name, set_ or [])
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
        backend=backend_of(faces),
    )
    print(f"{record.frame_count} frames of {video} from frame {record.first_index} on:")
    for name in ("contact_sheet.png", "side_by_side.mp4", "real.mp4", "fake.mp4", "params.json"):
        print(f"  {folder / name}")
