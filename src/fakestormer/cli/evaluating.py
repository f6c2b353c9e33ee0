"""Commands that measure: pseudo-fakes, evaluate, ablate."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fakestormer.cli import options
from fakestormer.cli.needs import MEASURES, STORES, require, require_training
from fakestormer.cli.options import ExitCode, app, say

if TYPE_CHECKING:
    from fakestormer.data.manifest import Split
    from fakestormer.recipe.prediction import Sampling


@app.command("pseudo-fakes")
def pseudo_fakes(
    store: Annotated[Path, typer.Argument(help="a prepared store of real videos")],
    folder: Annotated[Path, typer.Option("--out", help="where the pairs of videos go")],
    split: options.SplitName = "test",
    seed: Annotated[int, typer.Option(min=0, help="draws the blending")] = 0,
    recipe_name: options.RecipeName = "tiny",
    set_: options.Assignments = None,
) -> None:
    """Make a test set without fakes: each real track and its pseudo-fake, as two videos.

    The same command goes on where it was stopped. Then run `fakestormer prepare
    FOLDER --table FOLDER/videos.csv --split test --out STORE` and `fakestormer evaluate`.
    """
    require("train", *STORES)
    from fakestormer.cli.console.bars import counted
    from fakestormer.data.manifest import read_manifest, tracks_of
    from fakestormer.data.pseudo_fakes import write_pairs
    from fakestormer.errors import InputError

    options.require_folder(folder, "--out")
    synthesis = options.recipe_of(recipe_name, set_ or []).synthesis
    rows = read_manifest(store)
    splits: tuple[Split, ...] = ("train", "validation", "test") if split == "all" else (split,)
    real = [row for one in splits for row in tracks_of(rows, one)]
    if not real:
        raise InputError(f"{store}: no real track in the split {split!r}; choose another")
    with counted("blending") as advance:
        table = write_pairs(store, real, folder, synthesis=synthesis, seed=seed, progress=advance)
    print(f"{folder}: {len(real)} real clips and as many pseudo-fakes; go on with")
    print(f"  fakestormer prepare {folder} --table {table} --split test --out STORE")


@app.command()
def evaluate(
    data: Annotated[
        list[str], typer.Option(help="a store of real and fake videos, or NAME=STORE; repeatable")
    ],
    folder: Annotated[
        str,
        typer.Option("--out", help="folder of evaluation.json, .md, .html, scores.csv and plots"),
    ],
    model: options.Model = None,
    split: options.SplitName = "test",
    sampling: Annotated[
        Literal["consecutive", "spread", "windows", "all"] | None,
        typer.Option(help="how clips are taken from a video; default: the model's way"),
    ] = None,
    shots: options.Shots = None,
    shot_score: options.ShotScore = None,
    face: Annotated[
        Literal["largest", "max"],
        typer.Option(help="which of several faces counts; max: that with the highest score"),
    ] = "largest",
    corruptions: Annotated[
        str | None,
        typer.Option(help="all, or some of them separated by commas, e.g. jpeg,gaussian_blur"),
    ] = None,
    level: Annotated[
        list[int] | None,
        typer.Option(min=1, max=5, help="a level of the corruptions; default: all five"),
    ] = None,
    corrupt: Annotated[
        Literal["frames", "crops"] | None,
        typer.Option(help="frames (default; before faces are detected) or crops (not the same)"),
    ] = None,
    root: Annotated[
        list[str] | None,
        typer.Option(help="NAME=FOLDER: the folder of a store's videos, if moved; repeatable"),
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="processes; 0 works in this one")] = 0,
    ray: options.Ray = None,
    faces: options.Faces = "auto",
    device: Annotated[str, typer.Option(help="cpu, cuda, ...")] = "cpu",
) -> None:
    """Score every video of prepared stores as detection would, and print how well they separate.

    Per store: all videos, each method's fakes against all real videos, each source by itself;
    video-level AUC with its interval, AP, EER, accuracy, TPR at low FPR. With --corruptions also
    under the benchmark's corruptions at five levels. Videos without a usable face are counted,
    listed, and left out of every AUC but the one that counts them. The same command goes on where
    it was stopped. A STORE and --out may be addresses, s3://BUCKET/FOLDER.
    """
    require("train", *STORES, *MEASURES)
    if ray is not None:
        require("cluster", "ray")
    from fakestormer.cli.console.bars import counted
    from fakestormer.evaluation.corruptions import LEVELS
    from fakestormer.evaluation.evaluate import EvaluationSettings
    from fakestormer.evaluation.evaluate import evaluate as run
    from fakestormer.evaluation.tables import markdown

    options.require_folder(folder, "--out")
    weights = options.model_of(model)
    ways: tuple[Sampling, ...] = ("windows", "consecutive", "spread")
    names = tuple(LEVELS) if corruptions == "all" else tuple((corruptions or "").split(","))
    stores = stores_of(data)
    roots = _roots_of(root or [], stores)
    if corruptions is None and (level or corrupt or root):
        raise typer.BadParameter("--level, --corrupt and --root are options of --corruptions")
    settings = EvaluationSettings(
        shots=shots,
        shot_score=shot_score,
        samplings=ways if sampling == "all" else () if sampling is None else (sampling,),
        split=split,
        face=face,
        corruptions=tuple(
            dict.fromkeys(options.one_of(name.strip(), *LEVELS) for name in names if name.strip())
        ),
        levels=tuple(sorted(set(level or (1, 2, 3, 4, 5)))),
        applied_to=corrupt or "frames",
        roots=roots,
        faces=faces,
        device=device,
        workers=workers,
        cluster=ray,
    )
    with counted("scoring") as advance:
        document = run(weights, stores, folder, settings, progress=advance, warn=say)
    print(markdown(document))
    print(f"pictures and the worst errors: {folder.rstrip('/')}/evaluation.html")
    left_out = [
        result["left_out"]
        for entry in document["data"].values()
        for result in entry["results"].values()
    ]
    if any(left_out):
        raise typer.Exit(ExitCode.SOME_FAILED)


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="an evaluation.json, or the folder it lies in")],
    b: Annotated[Path, typer.Argument(help="another one, on the same videos")],
    sampling: options.SamplingName = None,
    out: Annotated[Path | None, typer.Option("--json", help="write the numbers here too")] = None,
) -> None:
    """Test whether two models differ on the same videos by more than chance (DeLong's test)."""
    from fakestormer.cli.console.bars import working
    from fakestormer.errors import InputError
    from fakestormer.evaluation.compare import compare_videos, comparison_markdown
    from fakestormer.evaluation.document import read_evaluation, scores_of
    from fakestormer.files import write_atomically, writing

    if out is not None:
        options.require_file(out, "--json")
    documents = {"A": read_evaluation(a), "B": read_evaluation(b)}
    samplings = [document["settings"]["samplings"] for document in documents.values()]
    common = [name for name in samplings[0] if name in samplings[1] and sampling in (None, name)]
    if not common:
        raise InputError(
            f"{a} was sampled by {', '.join(samplings[0])}, {b} by {', '.join(samplings[1])}: "
            "choose one that both have, with --sampling, or evaluate again"
        )
    with working("comparing"):
        comparisons = compare_videos(*(scores_of(d, common[0]) for d in documents.values()))
    for path, (name, document) in zip((a, b), documents.items(), strict=True):
        model = document["model"]
        print(f"{name}: {path}: {model['name']} ({model['weights_sha256'][:12]})")
    print(f"\nSampling {common[0]}.\n\n{comparison_markdown(comparisons)}")
    if out is not None:
        content = [dataclasses.asdict(comparison) for comparison in comparisons]
        text = json.dumps({"sampling": common[0], "comparisons": content}, indent=2) + "\n"
        with writing(out):
            write_atomically(out, text.encode())


def _roots_of(words: list[str], stores: Mapping[str, object]) -> dict[str, Path]:
    """["CDF2=/data/celeb"] -> {"CDF2": /data/celeb}; wrong usage for a name without a store."""
    roots = {}
    for word in words:
        name, equals, path = word.partition("=")
        if not equals or name not in stores:
            raise typer.BadParameter(
                f"--root {word}: expected NAME=FOLDER with a NAME of --data ({', '.join(stores)})"
            )
        roots[name] = Path(path)
    return roots


def stores_of(words: list[str]) -> dict[str, Path | str]:
    """["CDF2=stores/celeb", "s3://b/mine"] -> {"CDF2": stores/celeb, "mine": "s3://b/mine"}."""
    stores: dict[str, Path | str] = {}
    for word in words:
        name, equals, path = word.partition("=")
        store = options.place_of(path if equals else word)
        name = name if equals else os.path.basename(os.path.realpath(store))
        if name in stores:
            raise typer.BadParameter(f"two data sets are called {name}; name them with NAME=STORE")
        stores[name] = store
    return stores


@app.command()
def ablate(
    table: Annotated[str, typer.Argument(help="table1 to table11, table4-raw, or fig5")],
    training_store: Annotated[
        Path, typer.Option("--train", help="a prepared store with tracks held out for validation")
    ],
    test: Annotated[
        list[str], typer.Option(help="a store of real and fake videos, or NAME=STORE; repeatable")
    ],
    folder: Annotated[
        Path, typer.Option("--out", help="folder of runs and tables; the same folder is continued")
    ],
    recipe_name: options.RecipeName = "tiny",
    set_: options.Assignments = None,
    only: Annotated[list[str] | None, typer.Option(help="a row's name; repeatable")] = None,
    seeds: Annotated[
        int, typer.Option(min=1, help="train each row so often, from the recipe's seed on")
    ] = 1,
    plan: Annotated[
        bool, typer.Option("--plan", help="only list the runs and time a few steps of each kind")
    ] = False,
    weights: Annotated[
        Path | None, typer.Option(help="pre-trained MAE ViT weights to start from")
    ] = None,
    split: options.SplitName = "test",
    accelerator: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    workers: Annotated[int, typer.Option(min=0, help="processes that read and synthesise")] = 1,
) -> None:
    """Train and test the rows of one of the paper's tables, with the paper's row under each.

    The same command goes on where it was stopped. Rows with the same network, also in other tables,
    share one training run. Give a test set of the paper the paper's name: CDF2, DFD, DFDCP, DFDC,
    DFW, FF++ (CDF2=STORE). Tables 3, 4 and 10 are measured on FF++ alone.
    """
    from fakestormer.cli.console.evaluating import ablate_and_print
    from fakestormer.recipe.recipe import override
    from fakestormer.tools.ablation.tables import ALIASES, TABLES

    options.require_folder(folder, "--out")
    chosen = options.one_of(ALIASES.get(table, table), *TABLES)
    base = options.recipe_of(recipe_name, set_ or [])
    require("train", *STORES, *MEASURES)
    require_training(base.model, starts_from_weights=weights is not None)
    from fakestormer.tools.ablation.run import Bench, row_recipes

    for row in row_recipes(TABLES[chosen], base, only or ()):
        require_training(override(base, row.sets).model, starts_from_weights=weights is not None)
    bench = Bench(
        recipe=base,
        training_store=training_store,
        tests={name: Path(store) for name, store in stores_of(test).items()},
        out=folder,
        split=split,
        initial_weights=weights,
        accelerator=accelerator,
        workers=workers,
        progress=say,
    )
    if not ablate_and_print(chosen, bench, only=tuple(only or ()), seeds=seeds, plan=plan):
        raise typer.Exit(ExitCode.SOME_FAILED)
