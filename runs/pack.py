"""A compact copy of a trained model, to be given away: half precision on disk, the same scores.

    python runs/pack.py RUN -o compact.safetensors --data ABOUT_THE_DATA.txt

Parameters are float16 on disk; the statistics of BatchNorm stay as they are: a variance can be
smaller or larger than half precision holds. The JSON is the model's own with the new hash, "packed"
and "data": the text about what the model was trained on and on what terms.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fakestormer.errors import InputError
from fakestormer.files import sha256_of
from fakestormer.model.document import weights_file, write_json
from fakestormer.model.model_file import load_model
from fakestormer.model.network import VideoNetwork
from fakestormer.model.weights import save_weights

#: Scores of the packed model may differ by so much (probabilities, on random frames).
TOLERANCE = 0.01

_CLIPS = 4  # of either kind of random frames
_COARSE = 8  # px, side of the blocks of the second kind


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("model", type=Path, help="a trained model: .safetensors, or its folder")
    options.add_argument("-o", "--output", type=Path, required=True, help="the model to write")
    options.add_argument("--data", type=Path, help="a text file, kept in the JSON")
    chosen = options.parse_args()
    text = None if chosen.data is None else chosen.data.read_text(encoding="utf-8")
    try:
        packed = pack(chosen.model, chosen.output, data=text)
    except InputError as error:
        sys.exit(str(error))
    print(f"{packed.weights}: {packed.size / 1e6:.2f} MB, with its .json beside it")
    differences = ", ".join(f"{name} {value:.1e}" for name, value in packed.differences.items())
    print(f"  largest differences from single precision, on random frames: {differences}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """size: bytes of the weights. differences: the largest of each output on random frames."""

    weights: Path
    size: int
    differences: Mapping[str, float]


def pack(model: Path, output: Path, *, data: str | None = None) -> Packed:
    """Write a copy of a model in half precision, for `Detector` as it is.

    Raises InputError when a parameter is too large for half precision or a score on random frames
    moves by more than TOLERANCE.
    """
    source, target = weights_file(model), output
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
    target.parent.mkdir(parents=True, exist_ok=True)
    save_weights(rounded, target)
    document["packed"] = {
        "parameters": "float16",
        "from_sha256": document["weights_sha256"],
        "differences": differences,
    }
    document["weights_sha256"] = sha256_of(target)
    if data is not None:
        document["data"] = data
    write_json(target.with_suffix(".json"), document)
    return Packed(weights=target, size=target.stat().st_size, differences=differences)


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


if __name__ == "__main__":
    main()
