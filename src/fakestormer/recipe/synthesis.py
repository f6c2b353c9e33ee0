"""Every number of the self-blended videos, named (paper 3.1; docs/how-it-works.md).

Pixel numbers are those of a face crop stored at 256 px, whatever size it is really stored at:
rendering scales them by S / 256.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from fakestormer.recipe.old_files import synthesis_fields

REFERENCE_SIZE = 256
"""Side in pixels of the face crop that all pixel numbers refer to."""

HullType = Literal["full", "components", "extended", "facehull"]
Normalisation = Literal["standard", "minmax", "gaussian3d"]
Pooling = Literal["max", "linear"]
Mode = Literal["csp", "frame-wise", "shuffled"]
Resampling = Literal["linear", "cubic"]


def _rising(ends: tuple[float, float]) -> tuple[float, float]:
    if not 0 <= ends[0] <= ends[1]:
        raise ValueError("expected 0 <= lowest <= highest")
    return ends


def _odd(size: int) -> int:
    if size % 2 == 0:
        raise ValueError("kernels are odd")
    return size


Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
Share = Annotated[float, Field(gt=0.0, le=1.0)]
Quality = Annotated[int, Field(ge=1, le=100)]
RateFactor = Annotated[int, Field(ge=0, le=51)]
Odd = Annotated[int, AfterValidator(_odd)]
Range = Annotated[tuple[float, float], AfterValidator(_rising)]
PositiveRange = Annotated[tuple[Positive, Positive], AfterValidator(_rising)]
ProbabilityRange = Annotated[tuple[Probability, Probability], AfterValidator(_rising)]
OddRange = Annotated[tuple[Odd, Odd], AfterValidator(_rising)]


class JitterConfig(BaseModel):
    """Colour jitter: how often and how much, each draw uniform in +-limit.

    rgb_limit and hsv_limit are in 8-bit steps. The HSV default is this line of work's own and is
    so small (0.3 of 255) that it rounds to no change at all; raise it to make it matter.
    contrast_limit also bounds brightness, a fraction of full scale.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rgb_probability: Probability = 0.3
    rgb_limit: float = Field(default=20.0, ge=0.0)
    hsv_probability: Probability = 0.3
    hsv_limit: float = Field(default=0.3, ge=0.0)
    contrast_probability: Probability = 0.3
    contrast_limit: float = Field(default=0.3, ge=0.0, lt=1.0)


class BeyondConfig(BaseModel):
    """What goes beyond the method; each default leaves the method as it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # How the copy is resampled; one of them is drawn. Linear alone is the method: at the size of
    # the network's input it softens the copy, and softness is then what a network goes by.
    resamplings: tuple[Resampling, ...] = Field(default=("linear",), min_length=1)

    # 0 is the method. Above it another person's face is sometimes blended in, that of so many
    # candidates whose shape is nearest; how often colour and detail of one side are changed even
    # then, as they always are where a face is blended with itself; how often the other face is bent
    # into the shape of the clip's, landmark by landmark.
    donor_probability: Probability = 0.0
    donor_candidates: int = Field(default=20, ge=1)
    donor_changed_probability: Probability = 1.0
    donor_bent_probability: Probability = 0.0

    # 0 is the method. Above it a copy is sometimes blended in the gradient domain, up to where M is
    # half of its maximum, as many tools that swap faces do it.
    gradient_domain_probability: Probability = 0.0

    # 0 is the method. Above it the kept window moves by up to so many pixels (and the margin), the
    # same for both clips: a pseudo-fake's face stands up to `translate_x` off the middle of its
    # crop, a real one in the middle, and that must not give it away (docs/experiments.md).
    shift: int = Field(default=0, ge=0)

    # 0 is the method, in which a pseudo-fake is softer and moved beside its real twin. Above
    # it the real clip shown is sometimes the moved, resampled copy, whole: whatever moves, softens
    # or recolours a picture everywhere is then as frequent in real clips as in pseudo-fakes.
    moved_real_probability: Probability = 0.0

    # 0 is the method. Above it clips are damaged, both twins alike, so that no such damage is what
    # tells them apart. resolution: sides, as shares of the network's input. blur: of the whole
    # picture, standard deviations in pixels. noise: the same in 8-bit steps. damage_first: before
    # the window is cut out and resized to the network's input, at the face's own size, as videos
    # are compressed; resolution is then that size, as a share of the stored crop's.
    damage_first: bool = False
    resolution_probability: Probability = 0.0
    resolution: Annotated[tuple[Share, Share], AfterValidator(_rising)] = (0.35, 1.0)
    sharpen_probability: Probability = 0.0
    blur_probability: Probability = 0.0
    blur: PositiveRange = (0.6, 3.5)
    noise_probability: Probability = 0.0
    noise: PositiveRange = (1.0, 12.0)
    h264_probability: Probability = 0.0
    h264_crf: Annotated[tuple[RateFactor, RateFactor], AfterValidator(_rising)] = (18, 40)


class SynthesisConfig(BaseModel):
    """How pseudo-fake clips and their targets are made (recipe/sources.py: by whom each value is).

    beyond: what neither the paper nor the release has, apart from the rest.

    mode: "csp" draws the blending parameters once per clip (consistent synthesised parameters),
    "frame-wise" once per frame (Table 6); "shuffled" once per clip, the blended-in copy's frames in
    a random order (in the manner of STG, paper 6.8). Ranges are inclusive (lowest, highest).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Mode = "csp"

    # Landmarks (eq. 1)
    interpolate_landmarks: bool = True
    tau: float = Field(default=0.35, gt=0.0)
    d_bar: float = Field(default=0.2, gt=0.0)
    without_forehead_probability: Probability = 0.25

    # The mask and its deformation
    hulls: tuple[HullType, ...] = Field(
        default=("full", "components", "extended", "facehull"), min_length=1
    )
    translate_x: float = Field(default=0.03, ge=0.0)
    translate_y: float = Field(default=0.015, ge=0.0)
    least_scale: float = Field(default=0.95, gt=0.0, le=1.0)
    elastic_amplitude: float = Field(default=50.0, ge=0.0)
    elastic_sigma: float = Field(default=7.0, gt=0.0)
    mask_stretch: PositiveRange = (0.8, 1.25)
    erosion_kernel: OddRange = (5, 25)
    feather_kernel: OddRange = (5, 25)
    feather_sigma: PositiveRange = (5.0, 45.0)

    # Colour and detail of one side
    copy_changed_probability: Probability = 0.5
    change: JitterConfig = JitterConfig(
        rgb_probability=0.3, hsv_probability=1.0, contrast_probability=1.0, contrast_limit=0.1
    )
    downscale_probability: Probability = 0.5
    downscale_factors: tuple[Literal[2, 4], ...] = Field(default=(2, 4), min_length=1)
    sharpen_alpha: Range = (0.2, 0.5)
    sharpen_lightness: Range = (0.5, 1.0)

    # The blend
    blend_ratios: tuple[Probability, ...] = Field(
        default=(0.25, 0.5, 0.75, 1.0, 1.0, 1.0), min_length=1
    )

    # Video level: the same for the real clip and its pseudo-fake, and for all frames
    flip_probability: Probability = 0.5
    margin: Annotated[
        tuple[int, Annotated[int, Field(lt=REFERENCE_SIZE // 2)]], AfterValidator(_rising)
    ] = (5, 24)
    jitter: JitterConfig = JitterConfig()
    jpeg_probability: Probability = 0.5
    jpeg_quality: Annotated[tuple[Quality, Quality], AfterValidator(_rising)] = (40, 100)

    # Vulnerability-driven cutout
    cutout_probability: Probability = 0.5
    cutout_threshold: ProbabilityRange = (0.5, 1.0)
    cutout_redraws: int = Field(default=3, ge=0)
    cutout_least_label: float = Field(default=0.01, ge=0.0, lt=1.0)
    cutout_weaker_patch: bool = False

    # Targets
    pooling: Pooling = "max"
    normalisation: Normalisation = "standard"
    gaussian_sigma: float = Field(default=1.0, gt=0.0)

    beyond: BeyondConfig = BeyondConfig()

    @model_validator(mode="before")
    @classmethod
    def _of_any_version(cls, fields: Any) -> Any:
        # Here, so that no reader of a file can forget it.
        return synthesis_fields(fields) if isinstance(fields, Mapping) else fields

    @model_validator(mode="after")
    def _fits_the_mode(self) -> Self:
        if self.beyond.moved_real_probability and self.mode != "csp":
            raise ValueError(
                f"synthesis.beyond.moved_real_probability: in the mode '{self.mode}' a moved real "
                "clip would flicker; set it to 0, or the mode to csp"
            )
        if self.beyond.donor_probability and self.mode == "shuffled":
            raise ValueError(
                "synthesis.beyond.donor_probability: in the mode 'shuffled' the copy is the clip's "
                "own; set it to 0, or the mode to csp"
            )
        return self

    def without_donors(self) -> SynthesisConfig:
        """The same, but each face is blended with itself alone."""
        beyond = self.beyond.model_copy(update={"donor_probability": 0.0})
        return self.model_copy(update={"beyond": beyond})
