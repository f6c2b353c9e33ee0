"""What is done to a trained model before it is given away: packed, and calibrated.

pack("RUN", "compact.safetensors")                       half the size, the same scores
calibrate("compact.safetensors", "RESULTS/evaluation.json")     its JSON says "calibration"
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from fakestormer.errors import InputError
from fakestormer.evaluation.calibration import Fitted, fit_evaluation
from fakestormer.evaluation.document import read_evaluation
from fakestormer.evaluation.reliability_plot import reliability_plot
from fakestormer.files import sha256_of, write_atomically
from fakestormer.model.document import weights_file
from fakestormer.model.model_file import load_model
from fakestormer.model.network import VideoNetwork
from fakestormer.model.weights import save_weights

#: Scores of the packed model may differ by so much (probabilities, on random frames).
TOLERANCE = 0.01

_CLIPS = 4  # of either kind of random frames
_COARSE = 8  # px, side of the blocks of the second kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """size: bytes of the weights. differences: the largest of each output on random frames."""

    weights: Path
    size: int
    differences: Mapping[str, float]


def pack(model: str | Path | None, output: str | Path, *, data: str | None = None) -> Packed:
    """Write a copy of a model in half precision, for `Detector` as it is.

    Parameters are float16 on disk; the statistics of BatchNorm stay as they are: a variance can be
    smaller or larger than half precision holds. The JSON is the model's own with the new hash,
    "packed" and "data": a text about what the model was trained on and on what terms. Raises
    InputError when a parameter is too large for half precision or a score on random frames moves by
    more than TOLERANCE.
    """
    source, target = weights_file(model), Path(output)
    if target.suffix != ".safetensors":
        target = target / "model.safetensors"
    if target.exists() and source.exists() and target.samefile(source):
        raise InputError(f"{target}: is the model itself; write the packed one to another file")
    network, document = load_model(source)
    rounded = copy.deepcopy(network)
    for name, parameter in rounded.named_parameters():
        parameter.data = parameter.data.half().float()
        if not bool(torch.isfinite(parameter).all()):
            raise InputError(
                f"{source}: {name} holds numbers that half precision cannot (above 65,504); this "
                "model cannot be packed"
            )
    differences = _differences(network, rounded)
    worst = max(differences, key=differences.__getitem__)
    if not differences[worst] <= TOLERANCE:  # also where one is not a number
        raise InputError(
            f"{source}: in half precision its {worst} differs by {differences[worst]:.2g}, more "
            f"than {TOLERANCE:g}; ship it as it is"
        )
    for parameter in rounded.parameters():
        parameter.data = parameter.data.half()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        save_weights(rounded, target)
        packed = {"parameters": "float16", "from_sha256": document["weights_sha256"]}
        packed["differences"] = differences
        document |= {"weights_sha256": sha256_of(target), "packed": packed}
        if data is not None:
            document["data"] = data
        _write_document(target, document)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{target}: cannot be written ({error}); choose another place") from error
    return Packed(weights=target, size=target.stat().st_size, differences=differences)


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
    _, document = load_model(weights)
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
        _write_document(weights, document | {"calibration": entry})
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be written ({error.strerror})") from error
    return fitted, picture


def _write_document(weights: Path, document: Mapping[str, Any]) -> None:
    text = json.dumps(document, indent=2, allow_nan=False) + "\n"
    write_atomically(weights.with_suffix(".json"), text.encode())


@torch.inference_mode()
def _differences(network: VideoNetwork, rounded: VideoNetwork) -> dict[str, float]:
    """The largest difference of each output, on frames of noise and of coarse blocks."""
    c = network.config
    generator = torch.Generator().manual_seed(0)

    def frames(side: int) -> Tensor:
        shape = (_CLIPS, c.frames, 3, side, side)
        return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)

    coarse = frames(-(-c.image_size // _COARSE))
    blocks = coarse.repeat_interleave(_COARSE, -2).repeat_interleave(_COARSE, -1)
    both = torch.cat([frames(c.image_size), blocks[..., : c.image_size, : c.image_size]])
    before, after = network(both), rounded(both)
    differences = {}
    for name in ("logit", "frame_logits"):
        one, other = getattr(before, name), getattr(after, name)
        if one is not None:
            differences[name] = _largest(one.sigmoid(), other.sigmoid())
    if before.derivative is not None and after.derivative is not None:
        scale = before.derivative.abs().max().clamp_min(1.0)
        differences["derivative"] = _largest(before.derivative / scale, after.derivative / scale)
    return differences


def _largest(before: Tensor, after: Tensor) -> float:
    return float((before - after).abs().max())
