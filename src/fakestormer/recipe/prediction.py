"""How a video becomes one number, as typed values (docs/how-it-works.md)."""

from __future__ import annotations

import math
from typing import Any, Literal, Self

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

Sampling = Literal["consecutive", "spread", "windows"]
#: The stored crop side that `PredictionConfig.margin` is given for.
REFERENCE_SIDE = 256
#: Scores are kept this far from 0 and 1 where their logit is taken.
_LEAST = 1e-15


class ErrorRates(BaseModel):
    """What the verdicts were worth on videos that the thresholds were chosen by: counts of videos.

    people: that the real videos show, 0 where it is not known. *_called_fake: called "likely fake".
    *_cleared: called "no manipulation found". All others are inconclusive.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    real: int = Field(ge=0)
    people: int = Field(default=0, ge=0)
    real_called_fake: int = Field(ge=0)
    real_cleared: int = Field(ge=0)
    fakes: int = Field(ge=0)
    fakes_called_fake: int = Field(ge=0)
    fakes_cleared: int = Field(ge=0)

    def sentence(self) -> str:
        """What a reader of one verdict has to know of all of them."""
        people = f"{self.people} people" if self.people else "people"
        return (
            f"Of {self.real} real videos of {people} and cameras that it never saw, this model "
            f'called {self.real_called_fake} "likely fake" and {self.real_cleared} "no '
            f'manipulation found". Of {self.fakes} fakes of people that it never saw, it called '
            f'{self.fakes_called_fake} "likely fake" and {self.fakes_cleared} "no manipulation '
            'found". All others were inconclusive.'
        )


class Calibration(BaseModel):
    """Score of a track -> how often videos with such a score are fake, where half of them are.

    sigmoid(slope * logit(score) + offset), after Platt, keeps every ranking. Models of earlier
    versions may have a "temperature" (no offset), or "isotonic" knots (score, probability), joined
    by straight lines. Fitted on tracks' scores; clips and frames go through it too, to be on the
    same scale. sampling, shots, shot_score: how those scores were made. fake_from, clear_below: the
    thresholds of the verdicts; None leaves them to `PredictionConfig`. rates: measured at them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    method: Literal["temperature", "platt", "isotonic"]
    slope: float = Field(default=1.0, gt=0, description="1 / temperature")
    offset: float = 0.0
    knots: tuple[tuple[float, float], ...] = ()
    sampling: Sampling = "windows"
    shots: int = Field(default=1, ge=1)
    shot_score: Literal["last", "mean"] = "last"
    fake_from: float | None = Field(default=None, ge=0, le=1)
    clear_below: float | None = Field(default=None, ge=0, le=1)
    rates: ErrorRates | None = None

    @model_validator(mode="after")
    def _is_monotone(self) -> Self:
        if (self.method == "isotonic") != bool(self.knots):
            raise ValueError("knots belong to isotonic calibration, and it needs some")
        if (self.fake_from is None) != (self.clear_below is None):
            raise ValueError("fake_from and clear_below belong together")
        if self.fake_from is not None and (self.clear_below or 0.0) > self.fake_from:
            raise ValueError("clear_below lies above fake_from")
        return self

    def probability(self, score: float) -> float:
        """The calibrated probability of a track's score; both in [0, 1].

        # platt, slope 0.5, offset -1: score 0.9 -> sigmoid(0.5 * 2.197 - 1) = 0.525
        """
        if self.method == "isotonic":
            return float(np.interp(score, [k[0] for k in self.knots], [k[1] for k in self.knots]))
        return _sigmoid(self.slope * _logit(score) + self.offset)

    def fits(self, config: PredictionConfig) -> bool:
        """Whether scores are made as those that it was fitted on."""
        return (self.sampling, self.shots) == (config.sampling, config.shots) and (
            config.shots == 1 or self.shot_score == config.shot_score
        )


class PredictionConfig(BaseModel):
    """How a video becomes one number (docs/how-it-works.md)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sampling: Sampling = "windows"
    frames: int = Field(default=32, ge=1, description="frames of a track that are looked at")
    pooling: Literal["probability", "logit"] = Field(
        default="probability", description="mean over clips of probabilities, or of logits"
    )
    margin: float = Field(
        default=15, ge=0, lt=128, description="cut off each side, px of a 256 px crop"
    )
    threshold: float = Field(default=0.5, ge=0, le=1, description="from here on: likely fake")
    inconclusive: float = Field(
        default=0.05, ge=0, le=0.5, description="half-width of the band around the threshold"
    )
    shots: int = Field(default=1, ge=1, le=20, description="judged so often, h's patches hidden")
    shot_threshold: float | None = Field(
        default=0.5,
        ge=0,
        lt=1,
        description="hides patches whose D~(1), as a share of the clip's largest, is above "
        "(the paper); None hides the largest patch alone (the release)",
    )
    shot_score: Literal["last", "mean"] = Field(
        default="last", description="what counts: the last shot (the release), or the mean of all"
    )
    largest_share: float = Field(
        default=0.3,
        ge=0,
        le=1,
        description="faces seen in fewer frames than this share of the longest track's do not "
        "decide the video's verdict",
    )
    calibration: Calibration | None = Field(
        default=None,
        description="of the weights, not of the recipe: `Detector` takes it from their JSON",
    )

    @property
    def fake_from(self) -> float:
        """The probability from which "likely fake" is said."""
        chosen = None if self.calibration is None else self.calibration.fake_from
        return self.threshold + self.inconclusive if chosen is None else chosen

    @property
    def clear_below(self) -> float:
        """The probability below which "no manipulation found" is said; above it, nothing is."""
        chosen = None if self.calibration is None else self.calibration.clear_below
        return self.threshold - self.inconclusive if chosen is None else chosen

    def probability(self, score: float) -> float:
        """The calibrated probability of a score, which is the score where nothing is calibrated."""
        return score if self.calibration is None else self.calibration.probability(score)

    def with_threshold(self, fake_from: float) -> PredictionConfig:
        """The same, but "likely fake" is said from `fake_from` on.

        Below it, the lower threshold stays where it is, or falls to `fake_from`. The error rates of
        the calibration were those of its own threshold, and are left out.
        """
        clear = min(self.clear_below, fake_from)
        if self.calibration is not None:
            changes = {"fake_from": fake_from, "clear_below": clear, "rates": None}
            calibration = self.calibration.model_copy(update=changes)
            return self.model_copy(update={"calibration": calibration})
        middle, half = (fake_from + clear) / 2, (fake_from - clear) / 2
        return self.model_copy(update={"threshold": middle, "inconclusive": half})

    @model_serializer(mode="wrap")
    def _without_an_empty_calibration(self, handler: SerializerFunctionWrapHandler) -> Any:
        """Recipes and settings that know of no calibration read as they always did."""
        content = handler(self)
        if content.get("calibration", 0) is None:
            del content["calibration"]
        return content


def _logit(probability: float) -> float:
    inner = min(max(probability, _LEAST), 1 - _LEAST)
    return math.log(inner) - math.log1p(-inner)


def _sigmoid(logit: float) -> float:
    # Of the two forms the one whose exponential cannot overflow.
    if logit < 0:
        return math.exp(logit) / (1 + math.exp(logit))
    return 1 / (1 + math.exp(-logit))
