"""The numbers that the paper prints, to put an evaluation beside them.

All are video-level AUCs in per cent, from arXiv 2501.01184v1, Tables 1, 2, 4 and 10. The numbers of
other detectors are those that the paper repeats from their publications. Its tables of variants of
its own method are in `fakestormer.tools.ablation.tables`.
"""

from __future__ import annotations

from collections.abc import Mapping

#: Where the numbers are from.
SOURCE = "arXiv 2501.01184v1"

_Row = Mapping[str, tuple[float | None, ...]]

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

_TABLE1_COLUMNS = ("CDF", "DFD", "DFDCP", "DFDC", "DFW")
_TABLE1: _Row = {
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

_TABLE2_COLUMNS = ("CDF", "DFDCP")
_TABLE2: _Row = {
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

_TABLE4_C23: _Row = {
    "Xception": (77.9,),
    "Face X-ray": (94.9,),
    "LipForensics": (97.1,),
    "FTCN": (98.3,),
    "AltFreezing": (98.6,),
    "StyleLatentFlows": (98.4,),
    "FakeSTormer": (98.4,),
}
_TABLE4_RAW: _Row = {"FakeSTormer": (99.9,)}

_TABLE10_COLUMNS = (
    "contrast", "saturation", "gaussian_blur", "gaussian_noise", "jpeg", "block_wise", "Avg",
)  # fmt: skip
_TABLE10: Mapping[str, tuple[float, ...]] = {
    "DSP-FWA": (80.7, 79.6, 67.3, 61.8, 68.0, 76.6, 72.3),
    "FaceXray": (88.9, 96.0, 70.0, 58.0, 62.2, 94.7, 78.3),
    "SBI": (92.3, 92.0, 72.7, 62.2, 79.1, 92.2, 81.7),
    "LAA-Net": (95.0, 97.0, 73.2, 57.5, 75.2, 94.9, 82.1),
    "FakeSTormer": (97.6, 96.3, 81.6, 65.4, 92.9, 96.8, 88.4),
}


def published(dataset: str, compression: str) -> dict[str, float]:
    """What the paper prints for a data set, AUC in per cent by detector; {} where it has nothing.

    dataset: a layout's name ("celeb-df-v2"), or the paper's ("CDF2", "CDF", "FF++"), in any case.
    compression: "c23" gives Tables 1 and 4, whose detectors learned from c23; "raw" (or "c0") gives
    Table 2, whose FakeSTormer learned from raw videos, and Table 4's raw row. "" counts as c23 for
    data sets that come in one compression only; FF++ and DFD come in several, and are not compared
    with a number of another.
    """
    name = _SHORT.get(dataset.lower(), dataset.upper())
    level = {"c0": "raw", "": "" if name in _IN_LEVELS else "c23"}.get(compression, compression)
    tables: dict[str, tuple[tuple[tuple[str, ...], _Row], ...]] = {
        "c23": ((_TABLE1_COLUMNS, _TABLE1), (("FF++",), _TABLE4_C23)),
        "raw": ((_TABLE2_COLUMNS, _TABLE2), (("FF++",), _TABLE4_RAW)),
    }
    return {
        row: value
        for columns, rows in tables.get(level, ())
        if name in columns
        for row, values in rows.items()
        if (value := values[columns.index(name)]) is not None
    }


def published_robustness() -> dict[str, dict[str, float]]:
    """Table 10: AUC in per cent on FF++, mean of a corruption's five levels, by detector.

    Keys are our names of the corruptions, and "Avg" for the mean of the six.
    """
    return {
        row: dict(zip(_TABLE10_COLUMNS, values, strict=True)) for row, values in _TABLE10.items()
    }
