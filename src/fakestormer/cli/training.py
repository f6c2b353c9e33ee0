"""Commands that train: train, replay."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fakestormer.cli.needs import require_training
from fakestormer.cli.options import (
    Assignments,
    Faces,
    HoldOut,
    RecipeName,
    Table,
    app,
    backend_of,
    recipe_of,
    require_folder,
    say,
)


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
        Path | None,
        typer.Option(
            help="pre-trained MAE ViT weights, or a model to train further, which may have another "
            "number of frames or other heads beside f"
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on with the run in --out")] = False,
    devices: Annotated[
        int, typer.Option(min=1, help="GPUs of this machine, or processes on the CPU")
    ] = 1,
    num_nodes: Annotated[
        int, typer.Option(min=1, help="machines; start this on each, see docs/quickstart.md")
    ] = 1,
    accelerator: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    workers: Annotated[int, typer.Option(min=0, help="processes that read and synthesise")] = 1,
    faces: Faces = "auto",
) -> None:
    """Train on real videos: every clip is paired with its self-blended pseudo-fake.

    A folder of videos is prepared into RUN/store first. The model that does best on the held-out
    videos is written to RUN/model.safetensors, with its JSON beside it, and how it went to
    RUN/training.html.
    """
    require_folder(run, "--out")
    chosen = recipe_of(recipe_name, set_ or [])
    require_training(chosen.model, starts_from_weights=resume or weights is not None)
    from fakestormer.cli.console.preparing import prepare_with_bar
    from fakestormer.data.layouts.options import Options
    from fakestormer.data.origin import Origin
    from fakestormer.training.loop import train as fit

    store = data
    if not (data / "store.json").is_file():
        if num_nodes > 1:
            raise typer.BadParameter(
                f"{data} is no prepared store; for several machines run `fakestormer prepare` "
                "first, into a folder that all of them see"
            )
        store = run / "store"
        fraction = 0.0 if hold_out else 0.1
        prepare_with_bar(
            Origin(layout="folder", root=data, options=Options(store=store)),
            store,
            chosen,
            hold_out=tuple(hold_out or ()),
            validation_fraction=fraction if validation_fraction is None else validation_fraction,
            table=table,
            workers=max(workers, 2),
            faces=backend_of(faces),
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
            num_nodes=num_nodes,
            workers=workers,
        )
    except KeyboardInterrupt:
        if (run / "checkpoints" / "last").exists():
            say(f"Stopped; the run is saved in {run}: the same command with --resume goes on")
        raise
    best = result.best
    print(
        f"{result.model}: validation AUC {best['auc_video']:.4f} (videos), "
        f"{best['auc_clip']:.4f} (clips), at step {best['step']:.0f}"
    )


@app.command()
def replay(
    step: Annotated[Path, typer.Argument(help="RUN/failed-step-..., as the message named it")],
) -> None:
    """Do a step again at which training stopped, because its numbers were no longer finite.

    On the CPU, in one process: the same pairs, draws and weights. Prints the losses of every part
    of the batch.
    """
    from fakestormer.training.failure import replay as again

    done = again(step)
    for part, losses in sorted(done.losses.items()):
        print(
            f"part {part + 1}: loss {losses.total:g} (f {losses.classification:g}, "
            f"h {losses.temporal:g}, g {losses.spatial:g}, b {losses.boundary:g})"
        )
    print(done.message or "Here all losses and gradients are finite.")
