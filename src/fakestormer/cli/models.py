"""Commands about set-up and models: setup, recipe, convert, export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from fakestormer.cli.options import app, print_log_of, recipe_of


@app.command()
def setup(
    wheel: Annotated[
        Path | None,
        typer.Option(help="a mediapipe 0.10.14 wheel on disk, instead of a download"),
    ] = None,
) -> None:
    """Download the two face model files once, with your pip; after that no network is needed.

    They are the BlazeFace detector and the 468-point face mesh (Apache-2.0), checked by SHA-256
    and kept with their licence in your cache folder.
    """
    from fakestormer.faces.face_models import setup as fetch

    fetch(wheel, on_progress=print)


@app.command()
def recipe(
    name: Annotated[str, typer.Argument(help="paper, release, foundation, small or tiny")] = "tiny",
    set_: Annotated[list[str] | None, typer.Option("--set", help="FIELD=VALUE")] = None,
    diff: Annotated[
        str | None,
        typer.Option(help="a recipe or a model's .json: print only the fields that differ"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the recipe as JSON")] = False,
) -> None:
    """Print every field that --set can change, its value, and whose value it is.

    "paper" comes with the section or equation (arXiv 2501.01184v1), "by SBI" where the paper leaves
    the numbers to Self-Blended Images; "release" is the authors' released training set-up.
    """
    chosen = recipe_of(name, set_ or [])
    if as_json:
        print(chosen.model_dump_json(indent=2))
        return
    from fakestormer.recipe.recipe import difference, read_recipe
    from fakestormer.recipe.sources import origin, values_of

    if diff is None:
        print(f"# recipe {chosen.name}")
        for field, value in values_of(chosen).items():
            print(f"{f'{field}={json.dumps(value)}':<60} {origin(field, value)}")
        return
    other = read_recipe(Path(diff)) if Path(diff).suffix == ".json" else recipe_of(diff, [])
    for field, (here, there) in difference(chosen, other).items():
        print(f"{field}: {json.dumps(here)} -> {json.dumps(there)}")


@app.command()
def convert(
    weights: Annotated[Path, typer.Argument(help="the authors' checkpoint, a .pth file")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="the model to write: .safetensors, or a folder")
    ],
    heads: Annotated[
        int | None,
        typer.Option(min=1, help="attention heads; default: width / 64, as in every ViT"),
    ] = None,
) -> None:
    """Convert the weights that the authors of FakeSTormer publish, if you have them.

    Only tensors are read; no code in the file is run. The model works like any other here, on the
    authors' network, which differs from the paper's.
    """
    from fakestormer.cli.console.bars import working
    from fakestormer.tools.convert import LICENCE_NOTE
    from fakestormer.tools.convert import convert as run

    with working("converting"):
        model = run(weights, output, heads=heads)
    print(f"{model}: the authors' network, with its .json beside it.")
    print(LICENCE_NOTE)


@app.command()
def export(
    model: Annotated[Path, typer.Argument(help="a trained model: .safetensors, or its folder")],
    onnx: Annotated[Path | None, typer.Option(help="the ONNX file to write")] = None,
    torch: Annotated[Path | None, typer.Option(help="the torch.export file to write, .pt2")] = None,
) -> None:
    """Write a model's network for other programs, as ONNX, for torch.export, or both.

    It takes frames, uint8 (batch, T, 3, H, W), RGB, and gives logit, and derivative, frame_logits
    and distance where the model has them; normalisation is inside, faces and crops are not. Where
    f shares nothing with h and g, ONNX has them in a second file, .branches.onnx. A file is kept
    only if it is read back and agrees with torch to 1e-4.
    """
    if onnx is None and torch is None:
        raise typer.BadParameter("name a file with --onnx, with --torch, or with both")
    from fakestormer.cli.console.bars import working
    from fakestormer.tools.export import export as run

    print_log_of("fakestormer.tools.export")
    with working("exporting"):
        written = list(run(model, onnx=onnx, pt2=torch))
    for done in written:
        outputs = ", ".join(
            f"{name} ({', '.join(map(str, shape))})" for name, shape in done.shapes.items()
        )
        print(f"{', '.join(map(str, done.files))}: {outputs}")
        print(f"  at most {max(done.errors.values()):.1e} from torch on random frames")
