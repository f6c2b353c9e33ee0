"""The numbers that the paper prints, to put an evaluation beside them.

All are video-level AUCs in per cent, from arXiv 2501.01184v1, Tables 1 to 4 and 10. The numbers of
other detectors are those that the paper repeats from their publications. Its tables of variants of
its own method are in `fakestormer.tools.ablation.tables`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: Where the numbers are from.
SOURCE = "arXiv 2501.01184v1"

#: One row of a table; None where the paper prints nothing.
Numbers = tuple[float | None, ...]
_Row = Mapping[str, Numbers]

# The paper's short names for its data sets, and ours.
_SHORT = {
    "ffpp": "FF++",
    "celeb-df-v2": "CDF",
    "cdf2": "CDF",
    "dfd": "DFD",
    "dfdcp": "DFDCP",
    "dfdc": "DFDC",
    "wilddeepfake": "DFW",
}
_IN_LEVELS = ("FF++", "DFD")


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Numbers of one of the paper's tables for one group of videos: AUC in per cent by detector."""

    table: str
    group: str
    rows: Mapping[str, float]


TABLE1: _Row = {
    "Xception": (73.7, None, None, 70.9, None),
    "MATT": (68.3, 92.9, 63.0, None, 65.7),
    "RECCE": (70.9, 98.2, None, None, 68.2),
    "SFDG": (75.8, 88.0, 73.6, None, 69.3),
    "LSDA": (91.1, None, 77.0, None, None),
    "STIL": (75.6, None, None, None, None),
    "LipForensics": (82.4, None, None, 73.5, None),
    "RealForensics": (86.9, 82.2, 75.9, None, None),
    "FTCN": (86.9, 94.4, 74.0, 71.0, None),
    "ISTVT": (84.1, None, 74.2, None, None),
    "AltFreezing": (89.5, 98.5, None, None, None),
    "Swin+TALL": (90.8, None, 76.8, None, None),
    "StyleLatentFlows": (89.0, 96.1, None, None, None),
    "FakeSTormer_T4": (92.4, 98.5, 90.0, 74.6, 74.2),
    "FakeSTormer_T8": (92.4, 98.2, 90.0, 74.9, 75.9),
    "FakeSTormer_T16": (92.8, 98.6, 90.2, 75.1, 75.3),
}

TABLE2: _Row = {
    "Face X-ray": (79.5, None),
    "PCL+I2G": (90.0, 74.3),
    "SLADD": (79.7, None),
    "SBI": (93.2, 86.2),
    "LAA-Net": (95.4, 86.9),
    "STC-Scratch": (83.4, 86.8),
    "STC-Pretrain": (95.8, 89.4),
    "ST-SBV": (90.3, 91.2),
    "FakeSTormer": (96.5, 94.1),
}

TABLE3: _Row = {
    "Xception": (58.7, 51.7),
    "Face X-ray": (57.1, 51.0),
    "F3Net": (58.3, 51.9),
    "RFM": (55.8, 51.6),
    "SRM": (55.5, 52.9),
    "SLADD": (62.8, 56.8),
    "TALL-Swin": (63.2, 51.4),
    "ResNet3D": (66.8, 60.6),
    "TimeSformer": (73.3, 54.4),
    "FakeSTormer": (85.3, 62.1),
}

TABLE4_C23: _Row = {
    "Xception": (77.9,),
    "Face X-ray": (94.9,),
    "LipForensics": (97.1,),
    "FTCN": (98.3,),
    "AltFreezing": (98.6,),
    "StyleLatentFlows": (98.4,),
    "FakeSTormer": (98.4,),
}
TABLE4_RAW: _Row = {"FakeSTormer": (99.9,)}

TABLE10_COLUMNS = (
    "contrast", "saturation", "gaussian_blur", "gaussian_noise", "jpeg", "block_wise", "Avg",
)  # fmt: skip
TABLE10: _Row = {
    "DSP-FWA": (80.7, 79.6, 67.3, 61.8, 68.0, 76.6, 72.3),
    "FaceXray": (88.9, 96.0, 70.0, 58.0, 62.2, 94.7, 78.3),
    "SBI": (92.3, 92.0, 72.7, 62.2, 79.1, 92.2, 81.7),
    "LAA-Net": (95.0, 97.0, 73.2, 57.5, 75.2, 94.9, 82.1),
    "FakeSTormer": (97.6, 96.3, 81.6, 65.4, 92.9, 96.8, 88.4),
}


# (data set, group of its videos) of each column, by the compression that detectors learned from.
_COLUMNS: Mapping[str, tuple[tuple[str, tuple[tuple[str, str], ...], _Row], ...]] = {
    "raw": (
        ("Table 2", (("CDF", "all"), ("DFDCP", "all")), TABLE2),
        ("Table 4", (("FF++", "all"),), TABLE4_RAW),
    ),
    "c23": (
        ("Table 1", tuple((n, "all") for n in ("CDF", "DFD", "DFDCP", "DFDC", "DFW")), TABLE1),
        ("Table 4", (("FF++", "all"),), TABLE4_C23),
    ),
    "c40": (("Table 3", (("FF++", "method Deepfakes"), ("FF++", "method FaceSwap")), TABLE3),),
}


def published(dataset: str, *, compression: str, learned_from: str) -> list[Published]:
    """What the paper prints for a data set, for detectors that learned from FF++ at one level.

    dataset: a layout's name, or the paper's ("CDF2", "FF++"). compression: of the test videos, ""
    where they come in one only; FF++ and DFD are tested at the level that was learned from.
    learned_from: "" for a model of other data.
    # celeb-df-v2, learned from c23: Table 1; from raw: Table 2; from nothing known: none
    """
    name = _SHORT.get(dataset.lower(), dataset.upper())
    if name in _IN_LEVELS and compression != learned_from:
        return []
    return [
        Published(
            table=table,
            group=group,
            rows={row: n for row, numbers in rows.items() if (n := numbers[at]) is not None},
        )
        for table, columns, rows in _COLUMNS.get(learned_from, ())
        for at, (column, group) in enumerate(columns)
        if column == name
    ]


def published_robustness() -> dict[str, dict[str, float]]:
    """Table 10 by detector: AUC in per cent on FF++, mean of a corruption's levels, and "Avg"."""
    return {
        row: {
            name: value
            for name, value in zip(TABLE10_COLUMNS, values, strict=True)
            if value is not None
        }
        for row, values in TABLE10.items()
    }
