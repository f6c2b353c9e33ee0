"""Where every value of a recipe comes from: the paper, the authors' release, or this program.

The recipes `paper` and `release` are made from these tables (recipe/named.py), and `origin`
compares values with them. So what is printed as the paper's is always what the table says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fakestormer.recipe.recipe import Recipe

_SBI = "3.1, by SBI"
_JITTER = "4.1, limits by SBI"

#: What the paper (arXiv 2501.01184v1) says: value, and the section or equation. "by SBI": the paper
#: blends as SBI [47] does and gives no number of its own; these are the published numbers of SBI.
PAPER: Mapping[str, tuple[Any, str]] = {
    "crop.enlarge": (1.25, "6.9"),
    "crop.smooth_frames": (0.0, "6.9: the box of each frame"),
    "synthesis.mode": ("csp", "3.1"),
    "synthesis.interpolate_landmarks": (True, "eq. 1"),
    "synthesis.tau": (0.35, "4.1"),
    "synthesis.d_bar": (0.2, "4.1"),
    "synthesis.without_forehead_probability": (0.25, _SBI),
    "synthesis.hulls": (["full", "components", "extended", "facehull"], _SBI),
    "synthesis.translate_x": (0.03, _SBI),
    "synthesis.translate_y": (0.015, _SBI),
    "synthesis.least_scale": (0.95, _SBI),
    "synthesis.elastic_amplitude": (50.0, _SBI),
    "synthesis.elastic_sigma": (7.0, _SBI),
    "synthesis.mask_stretch": ([0.8, 1.25], _SBI),
    "synthesis.erosion_kernel": ([5, 25], _SBI),
    "synthesis.feather_kernel": ([5, 25], _SBI),
    "synthesis.feather_sigma": ([5.0, 45.0], _SBI),
    "synthesis.copy_changed_probability": (0.5, _SBI),
    "synthesis.change.rgb_probability": (0.3, _SBI),
    "synthesis.change.rgb_limit": (20.0, _SBI),
    "synthesis.change.hsv_probability": (1.0, _SBI),
    "synthesis.change.hsv_limit": (0.3, _SBI),
    "synthesis.change.contrast_probability": (1.0, _SBI),
    "synthesis.change.contrast_limit": (0.1, _SBI),
    "synthesis.downscale_probability": (0.5, _SBI),
    "synthesis.downscale_factors": ([2, 4], _SBI),
    "synthesis.sharpen_alpha": ([0.2, 0.5], _SBI),
    "synthesis.sharpen_lightness": ([0.5, 1.0], _SBI),
    "synthesis.blend_ratios": ([0.25, 0.5, 0.75, 1.0, 1.0, 1.0], _SBI),
    "synthesis.flip_probability": (0.0, "4.1: no flip among its augmentations"),
    "synthesis.margin": ([0, 0], "4.1: no random crop among its augmentations"),
    "synthesis.jitter.rgb_probability": (0.3, _JITTER),
    "synthesis.jitter.rgb_limit": (20.0, _JITTER),
    "synthesis.jitter.hsv_probability": (0.3, _JITTER),
    "synthesis.jitter.hsv_limit": (0.3, _JITTER),
    "synthesis.jitter.contrast_probability": (0.3, _JITTER),
    "synthesis.jitter.contrast_limit": (0.3, _JITTER),
    "synthesis.jpeg_probability": (0.0, "4.1: no JPEG among its augmentations"),
    "synthesis.cutout_threshold": ([0.5, 1.0], "3.1"),
    "synthesis.cutout_weaker_patch": (False, "3.1"),
    "synthesis.pooling": ("max", "eq. 3"),
    "synthesis.normalisation": ("standard", "3.2.2, Table 8"),
    "model.architecture": ("fakestormer", "3.2"),
    "model.branches": (["h", "g"], "3.2"),
    "model.image_size": (224, "4.1"),
    "model.frames": (4, "4.1"),
    "model.depth": (12, "6.10"),
    "model.tokens": ("separate", "3.2.1"),
    "model.stem": ("patch", "6.10"),
    "model.classifier": ("tokens", "eq. 12"),
    "training.fakes": ("self-blended", "3"),
    "training.epochs": (100, "4.1"),
    "training.batch_size": (32, "4.1"),
    "training.learning_rate": (5e-4, "4.1"),
    "training.schedule": ("paper", "4.1"),
    "training.freeze_epochs": (5, "4.1"),
    "training.trained": ("everything", "4.1: then all layers are unfrozen"),
    "training.pretrained_rate": (1.0, "4.1: one rate"),
    "training.weight_decay": (1e-4, "4.1"),
    "training.loss.lambda_c": (0.8, "Table 7"),
    "training.loss.lambda_h": (100.0, "Table 7"),
    "training.loss.lambda_g": (0.2, "Table 7"),
    "training.loss.mse_factor": (1.0, "eq. 8"),
    "training.loss.temperature": (1.0, "eq. 12"),
    "training.loss.ignore_cut_patches": (False, "eq. 8"),
    "prediction.sampling": ("consecutive", "4.1"),
    "prediction.frames": (32, "4.1"),
    "prediction.margin": (0.0, "6.9: the crop of 1.25 is not cut again"),
    "prediction.shots": (1, "4.1"),
    "prediction.shot_threshold": (0.5, "6.6: above 0.5"),
    "prediction.shot_score": ("last", "Table 11"),
}

#: What the authors' released training set-up is known to do, where the paper says something else or
#: nothing. 64 pairs a step: 16 videos on each of 4 GPUs, each with its pseudo-fake, are 128 clips.
RELEASE: Mapping[str, Any] = {
    "crop.enlarge": 1.5,
    "synthesis.flip_probability": 0.5,
    "synthesis.margin": [5, 24],
    "synthesis.jpeg_probability": 0.5,
    "synthesis.jpeg_quality": [40, 100],
    "synthesis.cutout_probability": 0.5,
    "synthesis.cutout_weaker_patch": True,
    "synthesis.pooling": "linear",
    "model.patch_size": 16,
    "model.width": 768,
    "model.heads": 12,
    "model.mlp_ratio": 4.0,
    "model.drop_path": 0.3,
    "model.head_dropout": 0.2,
    "model.tokens": "averaged",
    "model.temporal_init": "default",
    "model.norm_eps": 1e-6,
    "training.epochs": 200,
    "training.batch_size": 128,
    "training.learning_rate": 5e-5,
    "training.schedule": "release",
    "training.sam_rho": 0.05,
    "training.optimizer": "adam",
    "training.betas": [0.9, 0.995],
    "training.loss.mse_factor": 0.5,
    "training.loss.temperature": 2.0,
    "training.loss.ignore_cut_patches": True,
    "prediction.sampling": "spread",
    "prediction.pooling": "logit",
    "prediction.shot_threshold": None,
}

#: What neither says: fields, or whole parts. These values are ours in every recipe.
OURS = (
    "tracking", "crop.stored_size", "synthesis.cutout_redraws", "synthesis.cutout_least_label",
    "synthesis.gaussian_sigma", "synthesis.beyond", "model.pretrained_stem", "model.frozen_stages",
    "model.registers", "model.pre_norm", "model.activation", "model.rotary", "training.sizes_from",
    "training.fake_methods", "training.accumulate", "training.gradient_clip", "training.ema_decay",
    "training.loss.lambda_b", "training.clips_per_track", "training.precision", "training.seed",
    "training.validation_clips", "training.validation_seed", "training.validate_every",
    "training.checkpoint_every", "training.checkpoint_minutes", "prediction.threshold",
    "prediction.inconclusive", "prediction.largest_share", "prediction.calibration",
)  # fmt: skip


def values_of(recipe: Recipe) -> dict[str, Any]:
    """{"training.epochs": 100}: every field by its dotted name, JSON-able; without the name."""
    return _leaves(recipe.model_dump(mode="json", exclude={"name"}))


def origin(field: str, value: Any) -> str:
    """ "paper 4.1", "release" or "ours": who has this value of a field.

    # ("training.epochs", 100) -> "paper 4.1", 200 -> "release", 7 -> "ours"
    """
    stated, where = PAPER.get(field, (None, ""))
    if where and stated == value:
        return f"paper {where}"
    if field in RELEASE and RELEASE[field] == value:
        return "release"
    return "ours"


def _leaves(document: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for name, value in document.items():
        dotted = f"{path}{name}"
        leaves |= _leaves(value, f"{dotted}.") if isinstance(value, dict) else {dotted: value}
    return leaves
