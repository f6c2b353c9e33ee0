"""Commands that measure: pseudo-fakes, evaluate, ablate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fakestormer.cli.options import (
    Assignments,
    ExitCode,
    RecipeName,
    SamplingName,
    Shots,
    ShotScore,
    app,
    one_of,
    recipe_of,
    require_folder,
)

SplitName = Annotated[str, typer.Option(help="train, validation, test or all")]


@app.command("pseudo-fakes")
def pseudo_fakes(
    store: Annotated[Path, typer.Argument(help="a prepared store of real videos")],
    folder: Annotated[Path, typer.Option("--out", help="where the pairs of videos go")],
    split: SplitName = "test",
    seed: Annotated[int, typer.Option(min=0, help="draws the blending")] = 0,
    recipe_name: RecipeName = "tiny",
    set_: Assignments = None,
) -> None:
    """Make a test set without fakes: each real track and its pseudo-fake, as two videos.

    Stopped at any moment, the same command goes on where it was. Then `fakestormer prepare
    FOLDER --table FOLDER/videos.csv --split test --out STORE` and `fakestormer evaluate`.
    """
    from fakestormer.console import write_pairs_with_bar

    require_folder(folder, "--out")
    chosen = one_of(split, "train", "validation", "test", "all")
    synthesis = recipe_of(recipe_name, set_ or []).synthesis
    print(write_pairs_with_bar(store, folder, split=chosen, synthesis=synthesis, seed=seed))


@app.command()
def evaluate(
    model: Annotated[
        Path, typer.Option(envvar="FAKESTORMER_MODEL", help="a model: .safetensors or its folder")
    ],
    data: Annotated[
        list[str], typer.Option(help="a store of real and fake videos, or NAME=STORE; repeatable")
    ],
    folder: Annotated[Path, typer.Option("--out", help="for evaluation.json, .md and scores.csv")],
    split: SplitName = "test",
    sampling: SamplingName = None,
    shots: Shots = None,
    shot_score: ShotScore = None,
    face: Annotated[
        str, typer.Option(help="which of several faces counts: largest, or max (highest score)")
    ] = "largest",
    device: Annotated[str, typer.Option(help="cpu, cuda, ...")] = "cpu",
) -> None:
    """Score every video of prepared stores as detection would, and print video-level AUCs.

    Per store: all videos, each method's fakes against all real videos, each source by itself.
    Videos without a usable face are counted, listed, and in no AUC but the one that says so.
    """
    from fakestormer.console import evaluate_with_bar
    from fakestormer.detector import Detector
    from fakestormer.evaluation.results import markdown

    require_folder(folder, "--out")
    detector = Detector.load(model, device=device).predicting(
        sampling=None if sampling is None else one_of(sampling, "consecutive", "spread", "windows"),
        shots=shots,
        shot_score=None if shot_score is None else one_of(shot_score, "last", "mean"),
    )
    document = evaluate_with_bar(
        detector,
        stores_of(data),
        folder,
        split=one_of(split, "train", "validation", "test", "all"),
        face=one_of(face, "largest", "max"),
    )
    print(markdown(document))
    if any(entry["left_out"] for entry in document["data"].values()):
        raise typer.Exit(ExitCode.SOME_FAILED)


def stores_of(words: list[str]) -> dict[str, Path]:
    """["CDF2=stores/celeb", "stores/mine"] -> {"CDF2": stores/celeb, "mine": stores/mine}."""
    stores: dict[str, Path] = {}
    for word in words:
        name, equals, path = word.partition("=")
        store = Path(path if equals else word)
        name = name if equals else store.name
        if name in stores:
            raise typer.BadParameter(f"two data sets are called {name}; name them with NAME=STORE")
        stores[name] = store
    return stores


@app.command()
def ablate(
    table: Annotated[
        str, typer.Argument(help="table1, table5, table6, table7, table8, table9 or table11")
    ],
    training_store: Annotated[
        Path, typer.Option("--train", help="a prepared store with tracks held out for validation")
    ],
    test: Annotated[
        list[str], typer.Option(help="a store of real and fake videos, or NAME=STORE; repeatable")
    ],
    folder: Annotated[Path, typer.Option("--out", help="runs and tables; the same one goes on")],
    recipe_name: RecipeName = "tiny",
    set_: Assignments = None,
    only: Annotated[list[str] | None, typer.Option(help="a row's name; repeatable")] = None,
    weights: Annotated[
        Path | None, typer.Option(help="pre-trained MAE ViT weights to start from")
    ] = None,
    split: SplitName = "test",
    accelerator: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    workers: Annotated[int, typer.Option(min=0, help="processes that read and synthesise")] = 1,
) -> None:
    """Train and test the rows of one of the paper's tables, beside the paper's numbers.

    Stopped at any moment, the same command goes on where it was; rows that ask for the same
    network, also in other tables, share one training run. Name a test set as the paper does
    (CDF2=STORE) where it is that one.
    """
    from fakestormer.ablation.tables import TABLES
    from fakestormer.console import ablate_and_print

    require_folder(folder, "--out")
    chosen = one_of(table, *TABLES)
    done = ablate_and_print(
        chosen,
        training_store,
        stores_of(test),
        folder,
        recipe=recipe_of(recipe_name, set_ or []),
        only=tuple(only or ()),
        weights=weights,
        split=one_of(split, "train", "validation", "test", "all"),
        accelerator=accelerator,
        workers=workers,
    )
    if not done:
        raise typer.Exit(ExitCode.SOME_FAILED)
