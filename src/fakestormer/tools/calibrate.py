"""A model's probabilities, fitted on an evaluation of it.

calibrate("compact.safetensors", "RESULTS/evaluation.json")     its JSON says "calibration"
"""

from __future__ import annotations

from pathlib import Path

from fakestormer.errors import InputError
from fakestormer.evaluation.calibration import Fitted, fit_evaluation
from fakestormer.evaluation.document import read_evaluation
from fakestormer.evaluation.reliability_plot import reliability_plot
from fakestormer.files import sha256_of
from fakestormer.model.document import read_document, weights_file, write_json


def calibrate(
    model: str | Path | None,
    evaluation: Path,
    *,
    sampling: str | None = None,
    plot: Path | None = None,
) -> tuple[Fitted, Path]:
    """Fit a calibration on an evaluation of this model, and write it into the model's JSON.

    evaluation: an evaluation.json, or its folder, of real videos and pseudo-fakes that the model
    was not trained on. sampling: which of its scores; the model's own where None. plot: a PNG of
    its reliability; beside the model where None. Returns what was fitted, and the plot's path.
    Raises InputError for another model's evaluation, and as `fit_evaluation` does.
    """
    weights = weights_file(model)
    document = read_document(weights)
    content = read_evaluation(evaluation)
    judged = content["model"]["weights_sha256"]
    if judged != document["weights_sha256"]:
        raise InputError(
            f"{evaluation}: is of weights {judged[:12]}, {weights} has "
            f"{document['weights_sha256'][:12]}; evaluate this model first"
        )
    default = document["recipe"].get("prediction", {}).get("sampling")
    if sampling is None and default in content["settings"]["samplings"]:
        sampling = default
    fitted = fit_evaluation(content, sampling=sampling)
    file = evaluation / "evaluation.json" if evaluation.is_dir() else evaluation
    fitted_on = {"evaluation_sha256": sha256_of(file)}
    picture = plot or weights.with_name(f"{weights.stem}-reliability.png")
    try:
        reliability_plot(picture, fitted, title=f"Reliability of {weights.stem}")
        entry = fitted.as_json()
        entry["fitted_on"] |= fitted_on
        write_json(weights.with_suffix(".json"), document | {"calibration": entry})
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be written ({error.strerror})") from error
    return fitted, picture
