"""Commands for a model before it is published: calibrate, shortcuts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fakestormer.cli.needs import MEASURES, STORES, require
from fakestormer.cli.options import Model, SamplingName, SplitName, app, model_of, require_folder


@app.command()
def calibrate(
    model: Annotated[Path, typer.Argument(help="the model: .safetensors, or its folder")],
    scores: Annotated[
        Path, typer.Option(help="its evaluation.json on held-out real videos and pseudo-fakes")
    ],
    sampling: SamplingName = None,
    plot: Annotated[
        Path | None, typer.Option(help="the reliability plot, PNG; default: beside the model")
    ] = None,
) -> None:
    """Calibrate a model: of videos scored 0.7, about 70 % are then fake, on similar videos.

    The calibration is written into the model's JSON, and detect and evaluate use it. It keeps the
    ranking and the AUC.
    """
    require("train", "matplotlib")
    from fakestormer.cli.console.bars import working
    from fakestormer.evaluation.calibration import Quality
    from fakestormer.tools.calibrate import calibrate as run

    def text(quality: Quality | None) -> str:
        if quality is None:
            return "too few videos"
        return f"ECE {quality.ece:.3f}, Brier {quality.brier:.3f}, log loss {quality.log_loss:.3f}"

    with working("fitting"):
        fitted, picture = run(model, scores, sampling=sampling, plot=plot)
    about, how = fitted.fitted_on, fitted.calibration
    print(
        f"{model}: {how.method} on {about['real']} real videos and {about['fake']} fakes, sampling "
        f"{how.sampling}, slope {how.slope:.3f}, offset {how.offset:+.3f}"
    )
    print(f"  before: {text(fitted.before)}")
    print(f"  after: {text(fitted.after)}; on videos left out of the fit: "
          f"{text(fitted.cross_validated)}")  # fmt: skip
    if how.rates is not None:
        print(
            f"  likely fake from {how.fake_from:.3f} on, nothing found up to "
            f"{how.clear_below:.3f}. {how.rates.sentence()}"
        )
    print(f"  plot: {picture}")


@app.command()
def shortcuts(
    data: Annotated[Path, typer.Option(help="a store with real videos the model has not seen")],
    folder: Annotated[Path, typer.Option("--out", help="for shortcuts.json, .md and .png")],
    model: Model = None,
    split: SplitName = "test",
    sampling: SamplingName = None,
    at_most: Annotated[
        int | None, typer.Option(min=2, help="number of videos, spread over all; default: all")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="processes; 0 works in this one")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, ...")] = "cpu",
) -> None:
    """Find shortcuts: score real videos and the same videos resized, blurred, recompressed, moved.

    An AUC far from 0.5 shows that the model takes this change for manipulation. Fakes are not
    needed.
    """
    require("train", *STORES, *MEASURES)
    from fakestormer.cli.console.bars import counted
    from fakestormer.detection.detector import Detector
    from fakestormer.evaluation.evaluate import OpenEngine
    from fakestormer.evaluation.shortcuts import find_shortcuts, write_shortcuts
    from fakestormer.files import writing

    require_folder(folder, "--out")
    weights = model_of(model)
    detector = Detector(weights, device=device).predicting(sampling=sampling)
    prediction = detector.prediction
    with writing(folder):  # before hours are spent
        folder.mkdir(parents=True, exist_ok=True)
    with counted("scoring real videos, treated") as advance:
        shortcuts, scores = find_shortcuts(
            data,
            detector.recipe.crop,
            prediction,
            OpenEngine(weights, detector, alone=workers == 0),
            split=split,
            at_most=at_most,
            workers=workers,
            progress=advance,
        )
    about = {
        "model": detector.fingerprint(faces=False),
        "store": str(data),
        "split": split,
        "settings": prediction.model_dump(mode="json") | {"fake_from": prediction.fake_from},
    }
    print(write_shortcuts(folder, shortcuts, scores, about=about))
