"""How a network is trained, as one typed value (paper 4.1; method: training)."""

from __future__ import annotations

from typing import Any, Literal, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fakestormer.detection.prediction import PredictionConfig
from fakestormer.faces.crop import CropConfig
from fakestormer.faces.tracking import TrackingConfig
from fakestormer.recipe.model import ModelConfig
from fakestormer.recipe.synthesis import SynthesisConfig
from fakestormer.training.losses import LossConfig
from fakestormer.training.schedule import ScheduleName


class TrainingConfig(BaseModel):
    """Defaults are the paper's recipe.

    fakes: what real clips are paired with: "self-blended" pseudo-fakes (the method), or clips of
    the store's fake training "videos", for the binary classifiers of Tables 5 and 9. fake_methods:
    with "videos", only those made by these methods; empty takes all.
    batch_size: clips of an optimizer step, real and fake together, over all processes. accumulate:
    parts in which each process takes its share of a batch, one after the other. learning_rate: the
    schedule's peak. freeze_epochs: epochs in which what came from pre-trained weights stands still.
    sam_rho: 0 trains without SAM. ema_decay: of the average of the weights, which is then validated
    and becomes the model (see `ema`); None keeps no average. clips_per_track: at most so many clips
    of a track per epoch, None takes all. gradient_clip: the largest gradient norm, None leaves it
    alone. validation_*: the frozen validation set. validate_every: epochs. checkpoint_every: steps,
    checkpoint_minutes: minutes, both beside the checkpoint after each epoch.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fakes: Literal["self-blended", "videos"] = "self-blended"
    fake_methods: tuple[str, ...] = ()
    epochs: int = Field(default=100, ge=1)
    batch_size: int = Field(default=32, ge=2)
    accumulate: int = Field(default=1, ge=1)
    learning_rate: float = Field(default=5e-4, gt=0)
    schedule: ScheduleName = "paper"
    freeze_epochs: int = Field(default=5, ge=0)
    sam_rho: float = Field(default=0.05, ge=0)
    optimizer: Literal["adam", "adamw"] = "adam"
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = Field(default=1e-4, ge=0)
    gradient_clip: float | None = Field(default=None, gt=0)
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    loss: LossConfig = LossConfig()
    clips_per_track: int | None = Field(default=None, ge=1)
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    seed: int = Field(default=0, ge=0)
    validation_clips: int = Field(default=4, ge=1, description="per held-out track")
    validation_seed: int = Field(default=0, ge=0)
    validate_every: int = Field(default=1, ge=1)
    checkpoint_every: int | None = Field(default=None, ge=1)
    checkpoint_minutes: float | None = Field(default=None, gt=0)

    @property
    def pairs(self) -> int:
        """Real clips, each with its pseudo-fake, in a batch."""
        return self.batch_size // 2

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.batch_size % 2:
            raise ValueError(
                f"batch_size: real and fake clips come in pairs, got the odd {self.batch_size}"
            )
        if self.pairs % self.accumulate:
            raise ValueError(
                f"accumulate: {self.pairs} pairs in a batch cannot be taken in {self.accumulate} "
                f"equal parts; choose a batch_size that is a multiple of {2 * self.accumulate}"
            )
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas: expected numbers from 0 to below 1, got {self.betas}")
        return self


class RecipeLike(Protocol):
    """What training takes from a recipe (recipe.py builds on this module, not under it)."""

    @property
    def name(self) -> str: ...
    @property
    def tracking(self) -> TrackingConfig: ...
    @property
    def crop(self) -> CropConfig: ...
    @property
    def synthesis(self) -> SynthesisConfig: ...
    @property
    def model(self) -> ModelConfig: ...
    @property
    def training(self) -> TrainingConfig: ...
    @property
    def prediction(self) -> PredictionConfig: ...
    def model_dump(self, *, mode: Literal["json", "python"] | str = ...) -> dict[str, Any]: ...
    @classmethod
    def model_validate(cls, obj: Any) -> Self: ...


def differences(before: Any, now: Any, path: str = "") -> dict[str, tuple[Any, Any]]:
    """{"training.epochs": (100, 200)}: the fields in which two JSON documents differ, by name.

    A field that one of the two lacks counts as None there.
    """
    if isinstance(before, dict) and isinstance(now, dict):
        found: dict[str, tuple[Any, Any]] = {}
        for name in sorted(before.keys() | now.keys()):
            field = f"{path}.{name}" if path else name
            found |= differences(before.get(name), now.get(name), field)
        return found
    return {} if before == now else {path: (before, now)}
