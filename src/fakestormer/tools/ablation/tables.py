"""The paper's tables as rows that can be run: what each changes in a recipe, and what it got.

Paper numbers are video-level AUCs in per cent, from the tables of arXiv 2501.01184 (v1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from fakestormer.evaluation.paper import (
    TABLE1,
    TABLE2,
    TABLE3,
    TABLE4_C23,
    TABLE4_RAW,
    TABLE10,
    TABLE10_COLUMNS,
    Numbers,
)

_SETS = ("CDF2", "DFD", "DFDCP", "DFDC", "DFW", "Avg")
#: The paper's short names of FF++'s methods.
FORGERIES = {"DF": "Deepfakes", "FS": "FaceSwap", "F2F": "Face2Face", "NT": "NeuralTextures"}

# What several rows set.
_F_ALONE = ("model.branches=[]",)
_H, _G = 'model.branches=["h"]', 'model.branches=["g"]'
_NO_CUTOUT = ("synthesis.cutout_probability=0",)
_TIMESFORMER = ("model.architecture=timesformer", *_F_ALONE, *_NO_CUTOUT)
_RESNET3D = ("model.architecture=resnet3d", *_F_ALONE, *_NO_CUTOUT)
_VIDEOS = ("training.fakes=videos",)
_SBV_ALONE = (*_F_ALONE, *_NO_CUTOUT)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """One row. sets: FIELD=VALUE over the recipe. paper: AUCs in the table's columns, () for ours.

    from_weights: starts from --weights where they are given (Table 9 never does). columns: those
    that this row is tested on, all where empty. part_of: rows with such columns are one row of this
    name.
    """

    name: str
    sets: tuple[str, ...] = ()
    paper: Numbers = ()
    from_weights: bool = True
    columns: tuple[str, ...] = ()
    part_of: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """columns: of the paper's numbers; "Avg" is their mean. note: how rows are to be read.

    cells: what a column is: a test set, or of one test set (FF++) the fakes of one method, or the
    mean over the levels of one corruption. level: the compression of FF++ that is trained on.
    others: rows of other detectors, printed and not run. interpolation: the row that adds eq. 1.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]
    note: str = ""
    cells: Literal["sets", "methods", "corruptions"] = "sets"
    level: Literal["raw", "c23", "c40"] = "c23"
    others: Mapping[str, Numbers] = field(default_factory=dict)
    interpolation: str = ""


def _row(name: str, sets: tuple[str, ...], *paper: float | None) -> TableRow:
    return TableRow(name=name, sets=sets, paper=paper)


def _others(table: Mapping[str, Numbers]) -> Mapping[str, Numbers]:
    """The rows of other detectors."""
    return {name: row for name, row in table.items() if not name.startswith("FakeSTormer")}


def _only_average(table: Mapping[str, Numbers]) -> Mapping[str, Numbers]:
    """Table 4 prints one number for all four methods."""
    return {name: (None, None, None, None, *row) for name, row in _others(table).items()}


def _left_out(name: str, sets: tuple[str, ...]) -> tuple[TableRow, ...]:
    """Trained on the fakes of three methods and tested on the fourth, for each of the four."""
    return tuple(
        TableRow(
            name=f"{name} on fakes, {short} left out",
            sets=(
                *sets,
                *_VIDEOS,
                "training.fake_methods=["
                + ", ".join(f'"{m}"' for s, m in FORGERIES.items() if s != short)
                + "]",
            ),
            columns=(short,),
            part_of=f"{name} on the fakes of the other three",
        )
        for short in FORGERIES
    )


def _table9() -> tuple[TableRow, ...]:
    """ResNet3D and TimeSformer on each forgery of FF++, and on SBVs; from scratch."""
    numbers: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
        "DF": (
            (72.5, 58.5, 51.3, 53.4, 59.4, 65.0, 60.0),
            (65.4, 59.3, 66.1, 53.5, 61.4, 57.5, 60.5),
        ),
        "FS": (
            (70.6, 61.1, 50.6, 59.2, 55.8, 51.5, 58.1),
            (76.4, 51.7, 43.7, 44.6, 54.5, 43.9, 52.5),
        ),
        "F2F": (
            (78.0, 63.8, 54.5, 63.4, 55.7, 50.1, 60.9),
            (81.1, 64.4, 60.1, 64.5, 52.0, 50.5, 62.1),
        ),
        "NT": (
            (72.7, 63.7, 75.6, 69.1, 59.6, 62.6, 67.2),
            (75.5, 65.8, 84.7, 70.3, 62.7, 65.5, 70.8),
        ),
    }
    rows = []
    for short, (resnet3d, timesformer) in numbers.items():
        method = (f'training.fake_methods=["{FORGERIES[short]}"]',)
        rows += [
            _row(f"ResNet3D on {short}", (*_RESNET3D, *_VIDEOS, *method), *resnet3d),
            _row(f"TimeSformer on {short}", (*_TIMESFORMER, *_VIDEOS, *method), *timesformer),
        ]
    rows += [
        _row("ResNet3D+SBV", _RESNET3D, 90.2, 85.9, 85.0, 82.8, 66.4, 67.5, 79.6),
        _row("TimeSformer+SBV", _TIMESFORMER, 94.7, 89.5, 95.6, 88.6, 72.5, 70.9, 85.3),
        _row("ResNet3D on all fake videos", (*_RESNET3D, *_VIDEOS)),
        _row("TimeSformer on all fake videos", (*_TIMESFORMER, *_VIDEOS)),
    ]
    return tuple(
        TableRow(name=row.name, sets=row.sets, paper=row.paper, from_weights=False) for row in rows
    )


def _lambdas(c: float, h: float, g: float) -> tuple[str, ...]:
    return tuple(
        f"training.loss.lambda_{name}={value:g}" for name, value in (("c", c), ("h", h), ("g", g))
    )


TABLES: Mapping[str, Table] = {
    "table1": Table(
        title="Table 1: frames of a clip, T",
        columns=_SETS[:-1],  # where the paper says CDF, but it is the CDF2 of the other tables
        rows=(
            _row("FakeSTormer_T4", ("model.frames=4",), *TABLE1["FakeSTormer_T4"]),
            _row("FakeSTormer_T8", ("model.frames=8",), *TABLE1["FakeSTormer_T8"]),
            _row("FakeSTormer_T16", ("model.frames=16",), *TABLE1["FakeSTormer_T16"]),
        ),
        others=_others(TABLE1),
    ),
    "table2": Table(
        title="Table 2: trained on raw videos",
        columns=("CDF2", "DFDCP"),
        rows=(_row("FakeSTormer", (), *TABLE2["FakeSTormer"]),),
        level="raw",
        others=_others(TABLE2),
    ),
    "table3": Table(
        title="Table 3: heavily compressed FF++",
        note="The baselines train on the fakes of NT, FakeSTormer on pseudo-fakes; all at c40, and "
        "tested on the fakes of two other methods.",
        columns=("DF", "FS"),
        rows=(
            TableRow(
                name="ResNet3D on NT",
                sets=(*_RESNET3D, *_VIDEOS, 'training.fake_methods=["NeuralTextures"]'),
                paper=TABLE3["ResNet3D"],
                from_weights=False,
            ),
            _row(
                "TimeSformer on NT",
                (*_TIMESFORMER, *_VIDEOS, 'training.fake_methods=["NeuralTextures"]'),
                *TABLE3["TimeSformer"],
            ),
            _row("FakeSTormer", (), *TABLE3["FakeSTormer"]),
        ),
        cells="methods",
        level="c40",
        others={
            name: row
            for name, row in _others(TABLE3).items()
            if name not in ("ResNet3D", "TimeSformer")
        },
    ),
    "table4": Table(
        title="Table 4: unseen manipulations",
        note="The paper prints one number for all four methods. On fakes, each method is left out "
        "once; f alone is trained, because nobody knows the boundary of a fake video.",
        columns=(*FORGERIES, "Avg"),
        rows=(
            *_left_out("TimeSformer", _TIMESFORMER),
            *_left_out("FakeSTormer's f", _SBV_ALONE),
            _row("FakeSTormer", (), None, None, None, None, *TABLE4_C23["FakeSTormer"]),
        ),
        cells="methods",
        others=_only_average(TABLE4_C23),
    ),
    "table4-raw": Table(
        title="Table 4: unseen manipulations, raw videos",
        columns=(*FORGERIES, "Avg"),
        rows=(_row("FakeSTormer", (), None, None, None, None, *TABLE4_RAW["FakeSTormer"]),),
        cells="methods",
        level="raw",
    ),
    "table5": Table(
        title="Table 5: components",
        note="baseline is the plain TimeSformer on fake videos; the rows after it are the "
        "revisited TimeSformer with the heads named. The last three are ours: all but one.",
        columns=_SETS,
        rows=(
            _row("baseline", (*_TIMESFORMER, *_VIDEOS), 61.5, 62.8, 59.4, 58.5, 65.2, 61.5),
            _row("SBV", _SBV_ALONE, 90.7, 95.7, 87.9, 72.2, 70.9, 83.5),
            _row("SBV+cutout", _F_ALONE, 91.1, 96.0, 87.6, 72.6, 71.0, 83.7),
            _row("SBV+cutout+g", (_G,), 92.2, 95.4, 88.5, 72.8, 71.3, 84.0),
            _row("SBV+h", (_H, *_NO_CUTOUT), 93.4, 98.5, 88.5, 72.8, 69.6, 84.6),
            _row("all", (), 92.4, 98.5, 90.0, 74.6, 74.2, 85.9),
            _row("all but cutout", _NO_CUTOUT),
            _row("all but h", (_G,)),
            _row("all but g", (_H,)),
        ),
    ),
    "table6": Table(
        title="Table 6: synthesis",
        note="All rows train f alone without cutout, like the row SBV of Table 5, whose numbers "
        "the paper repeats in the third. The last row is ours: the copy's frames shuffled, in the "
        "manner of STG (paper 6.8).",
        columns=_SETS,
        rows=(
            _row(
                "frame-wise",
                (*_SBV_ALONE, "synthesis.mode=frame-wise", "synthesis.interpolate_landmarks=false"),
                48.4, 49.1, 48.9, 51.7, 52.8, 50.2,
            ),
            _row(
                "CSP",
                (*_SBV_ALONE, "synthesis.interpolate_landmarks=false"),
                84.1, 89.2, 86.1, 69.5, 65.5, 78.9,
            ),
            _row("CSP+interpolation", _SBV_ALONE, 90.7, 95.7, 87.9, 72.2, 70.9, 83.5),
            _row("shuffled frames", (*_SBV_ALONE, "synthesis.mode=shuffled")),
        ),
        interpolation="CSP+interpolation",
    ),
    "table7": Table(
        title="Table 7: weights of the losses, lambda_c / lambda_h / lambda_g",
        columns=_SETS,
        rows=(
            _row("0.9/1/0.1", _lambdas(0.9, 1, 0.1), 89.5, 91.0, 93.2, 71.5, 74.7, 84.0),
            _row("0.9/10/0.1", _lambdas(0.9, 10, 0.1), 92.5, 95.7, 86.8, 71.7, 72.7, 83.9),
            _row("0.9/100/0.1", _lambdas(0.9, 100, 0.1), 91.6, 98.0, 87.3, 73.6, 70.6, 84.2),
            _row("0.8/100/0.2", _lambdas(0.8, 100, 0.2), 92.4, 98.5, 90.0, 74.6, 74.2, 85.9),
            _row("0.5/100/0.5", _lambdas(0.5, 100, 0.5), 92.4, 98.0, 88.1, 74.5, 72.1, 85.0),
        ),
    ),
    "table8": Table(
        title="Table 8: normalisation of the temporal target",
        columns=_SETS,
        rows=(
            _row("minmax", ("synthesis.normalisation=minmax",), 91.6, 95.9, 88.1, 71.1, 70.1, 83.4),
            _row(
                "gaussian3d",
                ("synthesis.normalisation=gaussian3d",),
                92.5, 91.8, 86.4, 72.4, 76.3, 83.9,
            ),
            _row(
                "standardise",
                ("synthesis.normalisation=standard",),
                92.4, 98.5, 90.0, 74.6, 74.2, 85.9,
            ),
        ),
    ),
    "table9": Table(
        title="Table 9: binary classifiers from scratch, on fake videos and on SBVs",
        columns=("FF++", *_SETS),
        rows=_table9(),
    ),
    "table10": Table(
        title="Table 10 and Figure 5: corrupted videos",
        note="Mean over the five levels of each corruption; the levels are in the JSON and on the "
        "page of the row's evaluation, as the curves of Figure 5.",
        columns=TABLE10_COLUMNS,
        rows=(_row("FakeSTormer", (), *TABLE10["FakeSTormer"]),),
        cells="corruptions",
        others=_others(TABLE10),
    ),
    "table11": Table(
        title="Table 11: several shots",
        note="One model, the last shot's score.",
        columns=_SETS,
        rows=(
            _row("1", ("prediction.shots=1",), 92.35, 98.47, 90.02, 74.56, 74.19, 85.92),
            _row("2", ("prediction.shots=2",), 92.34, 98.51, 90.11, 74.60, 74.25, 85.96),
            _row("3", ("prediction.shots=3",), 92.38, 98.52, 90.13, 74.61, 74.28, 85.98),
            _row("4", ("prediction.shots=4",), 92.38, 98.52, 90.13, 74.61, 74.30, 85.99),
            _row("5", ("prediction.shots=5",), 92.36, 98.52, 90.13, 74.61, 74.30, 85.98),
        ),
    ),
}  # fmt: skip
"""By the name that `fakestormer ablate` knows them under."""

#: Other names of them.
ALIASES: Mapping[str, str] = {"fig5": "table10"}
