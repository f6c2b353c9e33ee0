"""Commands for a model before it is given away: calibrate, shortcuts, pack."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fakestormer.cli.evaluating import SplitName
from fakestormer.cli.needs import MEASURES, STORES, require
from fakestormer.cli.options import Model, SamplingName, app, model_of, one_of, require_folder


@app.command()
def calibrate(
    model: Annotated[Path, typer.Argument(help="the model: .safetensors, or its folder")],
    scores: Annotated[
        Path, typer.Option(help="its evaluation.json on real videos and pseudo-fakes held out")
    ],
    method: Annotated[str, typer.Option(help="platt, temperature or isotonic")] = "platt",
    sampling: SamplingName = None,
    plot: Annotated[
        Path | None, typer.Option(help="the PNG of its reliability; else beside the model")
    ] = None,
) -> None:
    """Make a model's probabilities mean what they say, on videos like those it is calibrated on.

    The calibration is written into the model's JSON; detect and evaluate use it from then on. platt
    and temperature change no ranking and no AUC, isotonic can make scores equal. Scores of single
    clips stay as they are.
    """
    require("train", "matplotlib")
    from fakestormer.evaluation.calibration import METHODS, Quality
    from fakestormer.tools.ship import calibrate as run

    def said(found: Quality | None) -> str:
        if found is None:
            return "too few videos"
        return f"ECE {found.ece:.3f}, Brier {found.brier:.3f}, log loss {found.log_loss:.3f}"

    fitted, picture = run(
        model,
        scores,
        method=one_of(method, *METHODS),
        sampling=one_of(sampling, "windows", "consecutive", "spread"),
        plot=plot,
    )
    about, how = fitted.fitted_on, fitted.calibration
    print(
        f"{model}: {how.method} on {about['real']} real videos and {about['fake']} fakes, sampling "
        f"{how.sampling}"
        + (
            f", {len(how.knots)} knots"
            if how.knots
            else f", slope {how.slope:.3f}, offset {how.offset:+.3f}"
        )
    )
    print(f"  before: {said(fitted.before)}")
    print(f"  after: {said(fitted.after)}; on videos left out of the fit: "
          f"{said(fitted.cross_validated)}")  # fmt: skip
    print(f"  a score of {how.score_at(0.5):.3f} is now a probability of 0.5")
    print(f"  plot: {picture}")


@app.command()
def shortcuts(
    data: Annotated[Path, typer.Option(help="a store with real videos the model has not seen")],
    folder: Annotated[Path, typer.Option("--out", help="for shortcuts.json, .md and .png")],
    model: Model = None,
    split: SplitName = "test",
    sampling: SamplingName = None,
    at_most: Annotated[
        int | None, typer.Option(min=2, help="so many videos, spread over all; else all")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="processes; 0 works in this one")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, ...")] = "cpu",
) -> None:
    """Score real videos against themselves, resized, blurred, recompressed or moved: AUCs near 0.5?

    Where one is not, the model takes that for manipulation. Fakes are not needed.
    """
    require("train", *STORES, *MEASURES)
    from fakestormer.cli.console.evaluating import shortcuts_with_bar
    from fakestormer.detection.detector import Detector

    require_folder(folder, "--out")
    chosen = model_of(model)
    detector = Detector.load(chosen, device=device).predicting(
        sampling=one_of(sampling, "windows", "consecutive", "spread")
    )
    print(
        shortcuts_with_bar(
            detector,
            chosen,
            data,
            folder,
            split=one_of(split, "train", "validation", "test", "all"),
            at_most=at_most,
            workers=workers,
        )
    )


@app.command()
def pack(
    model: Annotated[Path, typer.Argument(help="a trained model: .safetensors, or its folder")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="the model to write: .safetensors, or a folder")
    ],
    data: Annotated[
        Path | None,
        typer.Option(help="a text file about the training data and their terms, kept in the JSON"),
    ] = None,
) -> None:
    """Write a compact copy of a model: half precision on disk, the same scores to 0.01 or better.

    Recipe, metrics, face backend, licence and calibration go along.
    """
    from fakestormer.errors import InputError
    from fakestormer.tools.ship import pack as run

    text = None
    if data is not None:
        try:
            text = data.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{data}: is not a readable text ({error})") from error
    packed = run(model, output, data=text)
    print(f"{packed.weights}: {packed.size / 1e6:.2f} MB, with its .json beside it")
    found = ", ".join(f"{name} {value:.1e}" for name, value in packed.differences.items())
    print(f"  largest differences from the model in single precision, on random frames: {found}")
