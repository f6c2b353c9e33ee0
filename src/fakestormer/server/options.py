"""What a client can choose about a job, beside the video."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from fakestormer.recipe.prediction import Sampling


class JobOptions(BaseModel):
    """The options of one job; `fakestormer detect --help` explains all but the last."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={"example": {"every_second": True, "threshold": 0.9}},
    )

    every_second: bool = Field(default=False, description="score each second, for the time line")
    overlay: bool = Field(default=False, description="also draw the map into a film of the video")
    sampling: Sampling | None = Field(default=None, description="null: the model's")
    shots: int | None = Field(default=None, ge=1, le=20, description="scores of each clip")
    threshold: float | None = Field(
        default=None, ge=0, le=1, description="likely fake from this probability on"
    )
    stream: int | None = Field(
        default=None, ge=0, description="judge this video stream; null: the one that players show"
    )
    webhook_url: str | None = Field(
        default=None,
        max_length=2048,
        description="gets the job by POST when it has ended; on a host that the server allows",
    )
