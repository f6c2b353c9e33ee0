"""Commands that train: train, fit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fakestormer.cli import options
from fakestormer.cli.needs import require_training
from fakestormer.cli.options import app, say

if TYPE_CHECKING:
    from fakestormer.recipe.recipe import Recipe


@app.command()
def train(
    data: Annotated[Path, typer.Argument(help="a folder of real videos, or a prepared store")],
    run: Annotated[Path, typer.Option("--out", help="the run: checkpoints, logs, the model")],
    recipe_name: options.RecipeName = "tiny",
    set_: options.Assignments = None,
    hold_out: options.HoldOut = None,
    validation_fraction: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=0.9,
            help="held-out share of a folder of videos; default 0.1, 0 with --hold-out",
        ),
    ] = None,
    table: options.Table = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="published weights of an image model (MAE, DINOv2, DINOv3, CLIP, PE), or a "
            "model to train further; the number of frames and the heads beside f may differ"
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="continue the run in --out")] = False,
    devices: Annotated[
        int, typer.Option(min=1, help="GPUs of this machine, or processes on the CPU")
    ] = 1,
    num_nodes: Annotated[
        int, typer.Option(min=1, help="machines; start this on each, see docs/quickstart.md")
    ] = 1,
    accelerator: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    workers: Annotated[int, typer.Option(min=0, help="processes that read and synthesise")] = 1,
    faces: options.Faces = "auto",
) -> None:
    """Train on real videos: every clip is paired with its self-blended pseudo-fake.

    A folder of videos is prepared into RUN/store first. The model that does best on the held-out
    videos is written to RUN/model.safetensors, with its JSON beside it. `tensorboard --logdir
    RUN/tensorboard` shows the curves, and pictures of targets and predictions.
    """
    options.require_folder(run, "--out")
    chosen = options.recipe_of(recipe_name, set_ or [])
    require_training(chosen.model, starts_from_weights=resume or weights is not None)
    if chosen.training.sizes_from == "weights" and weights is not None:
        chosen = _sized(chosen, weights, set_ or [])
    from fakestormer.cli.console.preparing import prepare_with_bar
    from fakestormer.tools.commands import HELD_OUT, PrepareSettings, is_store
    from fakestormer.tools.commands import train as train_on
    from fakestormer.training.settings import TrainSettings

    preparation = None
    if not is_store(data):
        if num_nodes > 1:
            raise typer.BadParameter(
                f"{data} is no prepared store; for several machines run `fakestormer prepare` "
                "first, into a folder that all of them see"
            )
        if validation_fraction is None:
            validation_fraction = 0.0 if hold_out else HELD_OUT
        preparation = PrepareSettings(
            hold_out=tuple(hold_out or ()),
            validation_fraction=validation_fraction,
            table=table,
            faces=faces,
            workers=max(workers, 2),
        )
    elif hold_out or validation_fraction or table:
        raise typer.BadParameter(
            f"{data} is a prepared store: its split was fixed by `fakestormer prepare`; "
            "give --hold-out, --validation-fraction and --table there"
        )
    settings = TrainSettings(
        initial_weights=weights,
        resume=resume,
        accelerator=accelerator,
        devices=devices,
        num_nodes=num_nodes,
        workers=workers,
    )
    try:
        result = train_on(
            data,
            run,
            recipe=chosen,
            settings=settings,
            preparation=preparation,
            prepare_with=prepare_with_bar,
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
    print(f"curves and example pictures: tensorboard --logdir {run / 'tensorboard'}")


def _sized(recipe: Recipe, weights: Path, assignments: list[str]) -> Recipe:
    """The recipe with the sizes of the weights, but for what --set says of them."""
    from fakestormer.recipe.recipe import override
    from fakestormer.training.resume import sized

    of_weights = sized(recipe, weights)
    stated = [a for a in assignments if not a.startswith("training.sizes_from=")]
    with options.wrong_usage():
        chosen = override(of_weights, stated)
    model = chosen.model
    say(
        f"{weights}: width {model.width}, depth {model.depth}, {model.heads} heads, patches of "
        f"{model.patch_size} px, {model.registers} registers, activation {model.activation}, "
        f"LayerNorm epsilon {model.norm_eps:g}"
    )
    return chosen


@app.command()
def fit(
    model: Annotated[Path, typer.Argument(help="a trained model, with patches of 16 px")],
    output: Annotated[Path, typer.Option("--output", "-o", help="the folder of the fitted model")],
    data: Annotated[Path, typer.Option(help="a prepared store of real videos to fit to")],
    pairs: Annotated[int, typer.Option(min=100, help="real frames and their pseudo-fakes")] = 14400,
    ridge: Annotated[float, typer.Option(min=0, help="the larger, the simpler the fit")] = 0.5,
    seed: Annotated[int, typer.Option(min=0, help="draws frames and blending")] = 0,
    set_: options.Assignments = None,
) -> None:
    """Set f's weights in closed form: what sets a blended face apart from its surroundings.

    It takes the place of the f that was trained; all other heads stay as they are. It looks through
    ImageNet's layers, which the extra `pretrained` brings. --set takes settings of synthesis: how
    the pairs are made where the model's recipe makes them otherwise.
    """
    from fakestormer.cli.console.bars import counted
    from fakestormer.tools.commands import fit as fit_f

    options.require_folder(output, "--output")
    options.recipe_of("tiny", set_ or [])  # every recipe has the same fields of synthesis
    with counted("pairs") as advance:
        fitted = fit_f(
            model,
            data,
            output,
            pairs=pairs,
            ridge=ridge,
            seed=seed,
            assignments=set_ or [],
            progress=lambda done: advance(done, pairs),
        )
    print(
        f"{output / 'model.safetensors'}: f fitted to {fitted.pairs} pairs of {fitted.tracks} "
        f"tracks; AUC {fitted.left_out_auc:.4f} on pairs of people left out of a fit"
    )
