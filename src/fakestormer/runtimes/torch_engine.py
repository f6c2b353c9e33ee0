"""A network in torch, on any device, as an engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fakestormer.errors import InputError
from fakestormer.model.model_file import load_model
from fakestormer.model.network import VideoNetwork, fold_batch_norms
from fakestormer.runtimes.engine import Engine
from fakestormer.types import ClipScores
from fakestormer.types.arrays import Floats, Pixels

#: Clips of a batch on a CPU, and elsewhere.
_FEW, _MANY = 2, 8


class TorchEngine(Engine):
    """The network is put into evaluation mode, and computes where it lies."""

    def __init__(self, network: VideoNetwork) -> None:
        self._network = network
        self.config = network.config
        self.program = f"torch {torch.__version__}"
        self.at_once = _FEW if self._device.type == "cpu" else _MANY

    @property
    def network(self) -> VideoNetwork:
        return self._network

    @torch.inference_mode()
    def judge(self, frames_btchw: Pixels, *, branches: bool = True) -> ClipScores:
        network = self._network.eval()
        outputs = (network if branches else network.classify)(self._sent(frames_btchw))
        return ClipScores(
            logits=_array(outputs.logit),
            derivative=_optional(outputs.derivative),
            frame_logits=_optional(outputs.frame_logits),
            distance=_optional(outputs.distance),
            evidence=_optional(outputs.evidence),
        )

    @torch.inference_mode()
    def explain(self, frames_btchw: Pixels) -> tuple[Floats, Floats]:
        logits_b, evidence_btgg = self._network.eval().explain(self._sent(frames_btchw))
        return _array(logits_b), _array(evidence_btgg)

    @property
    def _device(self) -> torch.device:
        return self._network.pixel_scale.device

    def _sent(self, frames_btchw: Pixels) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(frames_btchw)).to(self._device)


def load_engine(weights: Path, device: str) -> TorchEngine:
    """A model's network on a device, "cpu", "cuda", ..., for scoring alone.

    Raises InputError when the model is damaged or the device cannot be used.
    """
    network, _ = load_model(weights)
    try:
        # "meta" is a device, too, and computes nothing.
        torch.zeros(1, device=device).add(1).item()
        network = network.to(device)
    except (AssertionError, RuntimeError) as error:  # torch's, for a device it does not have
        reason = str(error).splitlines()[0].partition(". ")[0]
        raise InputError(
            f"device '{device}' cannot be used here ({reason}); choose another, e.g. cpu"
        ) from error
    fold_batch_norms(network.eval())
    return TorchEngine(network)


def _array(tensor: Tensor) -> Floats:
    array: Floats = tensor.float().cpu().numpy()
    return array


def _optional(tensor: Tensor | None) -> Floats | None:
    return None if tensor is None else _array(tensor)
