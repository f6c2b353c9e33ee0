"""What older versions of the program wrote, read as this version writes it.

Version 0.1.0 had the settings beyond the method among those of the method:

    {"tau": 0.35, "donor_probability": 0.5}  ->  {"tau": 0.35, "beyond": {"donor_probability": 0.5}}

And it measured landmarks in every frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Fields of `synthesis` in 0.1.0 that are fields of `synthesis.beyond` now. This list is closed:
#: what was added later was never written in the old place.
MOVED_BEYOND = frozenset(
    {
        "resamplings", "donor_probability", "donor_candidates", "donor_changed_probability",
        "donor_bent_probability", "gradient_domain_probability", "shift", "moved_real_probability",
        "resolution_probability", "resolution", "sharpen_probability", "noise_probability", "noise",
        "h264_probability", "h264_crf",
    }
)  # fmt: skip


def synthesis_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `SynthesisConfig`, from a document of any version.

    Raises ValueError when a field stands in the old place and in the new one.
    """
    flat = {name: value for name, value in fields.items() if name in MOVED_BEYOND}
    if not flat:
        return dict(fields)
    kept = {name: value for name, value in fields.items() if name not in MOVED_BEYOND}
    beyond = kept.get("beyond", {})
    if not isinstance(beyond, Mapping) or beyond.keys() & flat.keys():
        first = min(flat)
        raise ValueError(f"synthesis.{first}: is given twice; keep synthesis.beyond.{first}")
    return kept | {"beyond": {**flat, **beyond}}


def tracking_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `TrackingConfig`, from a document of any version."""
    return {"measure_every": 1, **fields}


def new_name(dotted: str) -> str | None:
    """The name that a field of 0.1.0 has now; None for a field that has not moved.

    # "synthesis.shift" -> "synthesis.beyond.shift", "synthesis.tau" -> None
    """
    part, _, name = dotted.partition(".")
    return f"synthesis.beyond.{name}" if part == "synthesis" and name in MOVED_BEYOND else None
