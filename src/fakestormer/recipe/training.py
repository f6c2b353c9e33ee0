"""How a network is trained, as one typed value (paper 4.1; docs/how-it-works.md)."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

ScheduleName = Literal["paper", "release"]
Trained = Literal["everything", "norms"]


class LossConfig(BaseModel):
    """Weights of eq. 13 and what the release does differently.

    lambda_b: of b's loss, which is no part of the method; it counts where the network has b.
    mse_factor: in front of the mean squared error of eq. 8: 1 is the paper, 0.5 the release.
    temperature: f's logit is divided by it in the loss, nowhere else: 1 the paper, 2 the release.
    ignore_cut_patches: patches that cutout removed count in neither prediction nor target of
    eq. 8 (the release). They add nothing to the sum but stay in the denominator, T * N.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    lambda_c: float = Field(default=0.8, ge=0)
    lambda_h: float = Field(default=100.0, ge=0)
    lambda_g: float = Field(default=0.2, ge=0)
    lambda_b: float = Field(default=1.0, ge=0)
    mse_factor: float = Field(default=1.0, gt=0)
    temperature: float = Field(default=1.0, gt=0)
    ignore_cut_patches: bool = True


class TrainingConfig(BaseModel):
    """How the network is trained (recipe/sources.py: by whom each value is).

    fakes: what real clips are paired with: "self-blended" pseudo-fakes (the method), or clips of
    the store's fake training "videos", for the binary classifiers of Tables 5 and 9. fake_methods:
    with "videos", only those made by these methods; empty takes all.
    batch_size: clips of an optimizer step, real and fake together, over all processes. accumulate:
    parts in which each process takes its share of a batch, one after the other. learning_rate: the
    schedule's peak. freeze_epochs: epochs in which what came from pre-trained weights stands still.
    trained: "norms" keeps what came from pre-trained weights as it is, but for the LayerNorms; all
    that is new trains. sizes_from: "weights" takes the sizes of the network from the file of
    starting weights, and all that they need (`model.towers.sizes_of`); the recipe's are ignored.
    pretrained_rate: the learning rate of what came from pre-trained weights, as a share of that of
    everything else. sam_rho: 0 trains without SAM. ema_decay: of the average of the weights, which
    is then validated and becomes the model (see `ema`); None keeps no average. clips_per_track: at
    most so many clips of a track per epoch, None takes all. gradient_clip: the largest gradient
    norm, None leaves it alone. validation_*: the frozen validation set. validate_every: epochs.
    checkpoint_every: steps, checkpoint_minutes: minutes, both beside the checkpoint after each
    epoch.
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
    trained: Trained = "everything"
    sizes_from: Literal["recipe", "weights"] = "recipe"
    pretrained_rate: float = Field(default=1.0, gt=0)
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
