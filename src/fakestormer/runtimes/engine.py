"""What scores clips, whichever program computes the network: arrays go in, arrays come out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING

from fakestormer.recipe.model import ModelConfig
from fakestormer.types import ClipScores
from fakestormer.types.arrays import Floats, Pixels

if TYPE_CHECKING:
    from fakestormer.model.network import VideoNetwork


class Engine(ABC):
    """A network, ready to score clips.

    config: of the network. program: what computes it, and its version, for reports. at_once: clips
    of a batch.
    """

    config: ModelConfig
    program: str
    at_once: int

    @abstractmethod
    def judge(self, frames_btchw: Pixels, *, branches: bool = True) -> ClipScores:
        """What the heads say about clips: uint8 (b, T, 3, H, W), RGB.

        branches: False where nobody reads what h and g say, which may then be None. Where f shares
        nothing with them, that saves the time that they take.

        Raises ValueError when T, H, W or the dtype are not what the network was built for.
        """

    @abstractmethod
    def explain(self, frames_btchw: Pixels) -> tuple[Floats, Floats]:
        """f's logit, float32 (b,), and what each patch adds to it: float32 (b, T, G, G).

        See `model.network.VideoNetwork.explain`.
        """

    @property
    @abstractmethod
    def network(self) -> VideoNetwork:
        """The network in torch, for what an engine cannot do."""

    def batches(self, frames_cthw: Pixels) -> Iterator[Pixels]:
        """Any number of clips, as many as the engine takes at once.

        On a CPU few: what a layer gives of many fits in no cache.
        """
        for first in range(0, len(frames_cthw), self.at_once):
            yield frames_cthw[first : first + self.at_once]
