"""Commands that make data from videos: prepare, synthesize."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fakestormer.cli import options
from fakestormer.cli.needs import STORES, require
from fakestormer.cli.options import ExitCode, app

if TYPE_CHECKING:
    from fakestormer.recipe.recipe import Recipe

SPLITS = ("train", "validation", "test")
#: The layouts that come at several compression levels.
COMPRESSED = ("ffpp", "dfd", "deeperforensics", "df40", "deepfakebench")


@app.command()
def prepare(
    what: Annotated[
        str, typer.Argument(help="a data set's name (with --root), or a folder of videos")
    ],
    out: Annotated[
        str | None, typer.Option("--out", help="the track store to make or to continue")
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="the folder of the data set, as it was distributed")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="only list what is missing, unexpected or listed twice")
    ] = False,
    compression: Annotated[
        Literal["raw", "c23", "c40"] | None,
        typer.Option(help="default c23: ffpp, dfd and data sets on them"),
    ] = None,
    reals: Annotated[
        Path | None, typer.Option(help="deeperforensics, df40: the folder of FF++ (or Celeb-DF)")
    ] = None,
    variant: Annotated[str | None, typer.Option(help="deeperforensics: default end_to_end")] = None,
    lists: Annotated[
        Path | None, typer.Option(help="df40: a DeepfakeBench JSON, or a folder of them")
    ] = None,
    method: Annotated[
        list[str] | None, typer.Option(help="only fakes made by this method; repeatable")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="only this split: train, validation or test; repeatable",
            autocompletion=lambda: [*SPLITS],
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(help="make the store that this model needs; default: the one in the package"),
    ] = None,
    recipe_name: Annotated[
        str | None,
        typer.Option("--recipe", help="make the store that this recipe needs, instead of --model"),
    ] = None,
    set_: options.Assignments = None,
    hold_out: options.HoldOut = None,
    validation_fraction: options.ValidationFraction = 0.0,
    split: Annotated[
        Literal["train", "validation", "test"] | None,
        typer.Option(help="the split of videos that have none"),
    ] = None,
    table: options.Table = None,
    workers: Annotated[int, typer.Option(min=0, help="processes; 0 works in this one")] = 2,
    ray: options.Ray = None,
    faces: options.Faces = "auto",
    landmarks: Annotated[
        Path | None,
        typer.Option(
            help="boxes and landmarks made elsewhere: a file, or a folder with those of each video "
            "(docs/datasets.md), instead of --faces"
        ),
    ] = None,
    landmarks_by: Annotated[
        str, typer.Option(help="who found them, for the store and all results, e.g. RetinaFace")
    ] = "",
    max_frames: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="frames of each video, from its beginning; 0 takes all; default: 256, and of FF++ "
            "256 to train, 32 to validate and 32 to test",
        ),
    ] = None,
    stream: options.Stream = None,
) -> None:
    """Follow the faces of many videos and store their crops, for training or evaluation.

    `prepare ffpp --root DIR --compression c23 --out STORE` takes a data set as it was distributed,
    with its own labels and splits; so do celeb-df-v1, celeb-df-v2, dfd, dfdcp, dfdc, wilddeepfake,
    deeperforensics, diffswap, df40 and deepfakebench. `prepare VIDEOS --out STORE` (or folder
    --root VIDEOS) takes any tree of videos: they are real unless the table or a folder named "fake"
    says otherwise; the source of a video is its folder, or in a flat folder its name up to the last
    underscore before digits (grid_007.mp4 is of grid). VIDEOS may be s3://BUCKET/FOLDER: each video
    is fetched where it is prepared, and dropped; paths in the table are then below that address.
    STORE may be an address, too.

    The same command goes on where it was stopped. Videos that cannot be used are listed with the
    reason.
    """
    from fakestormer.cli.console.preparing import prepare_with_bar
    from fakestormer.cli.inputs import named_file
    from fakestormer.data.layouts import LAYOUTS, Options, check_report
    from fakestormer.data.origin import Origin, root_of
    from fakestormer.tools.commands import PrepareSettings
    from fakestormer.video.objects import is_object

    if root is None and what in LAYOUTS:
        raise typer.BadParameter(
            f"prepare {what}: name its folder with --root DIR (or ./{what} for a folder)"
        )
    if root is not None and what not in LAYOUTS:
        raise typer.BadParameter(f"no data set '{what}'; there are {', '.join(LAYOUTS)}")
    layout = "folder" if root is None else what
    store = None if out is None else options.place_of(out)
    for option, given, users in (
        ("--compression", compression, COMPRESSED),
        ("--reals", reals, ("deeperforensics", "df40")),
        ("--variant", variant, ("deeperforensics",)),
        ("--lists", lists, ("df40", "deepfakebench")),
    ):
        if given is not None and layout not in users:
            raise typer.BadParameter(f"{option} is of {', '.join(users)}, not of {layout}")
    if check and (store or table or only or hold_out or split or validation_fraction):
        raise typer.BadParameter(
            "--check only lists differences; --out, --table, --only, --hold-out, --split and "
            "--validation-fraction are for preparing"
        )
    origin = Origin(
        layout=layout,
        root=(root_of(what) if is_object(what) else named_file(what)) if root is None else root,
        options=Options(
            compression=compression or "c23",
            reals=reals,
            variant=variant or "end_to_end",
            methods=tuple(method or ()),
            lists=lists,
            store=store if isinstance(store, Path) else None,
        ),
    )
    if check:
        print(check_report(origin.listing()))
        return
    if store is None:
        raise typer.BadParameter("name the store with --out (or list differences with --check)")
    require("train", *STORES)
    if ray is not None:
        require("cluster", "ray")
    options.require_folder(store, "--out")
    if landmarks is None and landmarks_by:
        raise typer.BadParameter("--landmarks-by says who found the faces of --landmarks: add it")
    if landmarks is not None and faces != "auto":
        raise typer.BadParameter("faces come from --landmarks or are found by --faces, not both")
    settings = PrepareSettings(
        hold_out=tuple(hold_out or ()),
        validation_fraction=validation_fraction,
        table=table,
        split=split,
        splits=tuple(options.one_of(word, *SPLITS) for word in only or ()),
        max_frames=max_frames,
        stream=stream,
        faces=faces,
        landmarks=landmarks,
        landmarks_by=landmarks_by,
        workers=workers,
        cluster=ray,
    )
    recipe = _recipe_for(recipe_name, model, set_ or [])
    summary = prepare_with_bar(origin, store, recipe=recipe, settings=settings)
    if not summary.tracks:
        raise typer.Exit(ExitCode.ALL_FAILED)
    if summary.rejected or summary.unmatched:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _recipe_for(name: str | None, model: Path | None, assignments: list[str]) -> Recipe:
    """The recipe of --recipe, or of --model, or of the weights that ship."""
    from fakestormer.model.document import recipe_of_shipped
    from fakestormer.recipe.named import load_recipe
    from fakestormer.recipe.recipe import override

    if name is not None:
        if model is not None:
            raise typer.BadParameter(
                "--recipe and --model both say how faces are cut out; give one"
            )
        return options.recipe_of(name, assignments)
    recipe = recipe_of_shipped() if model is None else load_recipe(model)
    with options.wrong_usage():
        return override(recipe, assignments)


@app.command()
def synthesize(
    video: Annotated[str, typer.Argument(help="a video of a real face")],
    folder: Annotated[Path, typer.Option("--out", help="where the pictures and videos go")],
    seed: Annotated[int, typer.Option(min=0, help="draws the parameters")] = 0,
    stream: options.Stream = None,
    params: Annotated[
        Path | None, typer.Option(help="a params.json, to replay it to the same pixels")
    ] = None,
    recipe_name: options.RecipeName = "small",
    set_: options.Assignments = None,
    faces: options.Faces = "auto",
    compare: Annotated[
        bool,
        typer.Option(
            "--compare",
            help="also comparison.png, figures 7 and 8 of the paper: without and with CSP, "
            "interpolated landmarks, shuffled frames",
        ),
    ] = False,
) -> None:
    """Blend a face with itself and show it: real, pseudo-fake, mask, boundary, soft labels."""
    from fakestormer.cli.console.bars import working
    from fakestormer.cli.inputs import named_file
    from fakestormer.tools.synthesize import synthesize as run

    recipe = options.recipe_of(recipe_name, set_ or [])
    backend = faces
    path = named_file(video)
    with working("blending"):
        record = run(
            path,
            folder,
            seed=seed,
            params=params,
            recipe=recipe,
            faces=backend,
            compare=compare,
            stream=stream,
        )
    print(
        f"{record.frame_count} frames of {video} from frame {record.first_index} of stream "
        f"{record.stream} on:"
    )
    written = ("contact_sheet.png", "side_by_side.mp4", "real.mp4", "fake.mp4", "params.json")
    for name in (*written, "comparison.png") if compare else written:
        print(f"  {folder / name}")
