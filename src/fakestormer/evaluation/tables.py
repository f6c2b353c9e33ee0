"""The numbers of an evaluation's document as Markdown tables, and every score as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from fakestormer.evaluation.journal import Scores
from fakestormer.evaluation.metrics import is_measurable

#: The metrics of a table's row.
_COLUMNS = (
    "auc", "interval", "average_precision", "equal_error_rate", "accuracy", "tpr_at_1_fpr",
    "tpr_at_01_fpr",
)  # fmt: skip
#: The false positive rates of metrics that too few real videos leave without meaning.
_RATES = {"tpr_at_1_fpr": 0.01, "tpr_at_01_fpr": 0.001}


def markdown(document: Mapping[str, Any]) -> str:
    """The tables, each under the conventions that its numbers depend on."""
    parts = [f"# Evaluation of {document['model'].get('name', 'a model')}\n"]
    for name, data in document["data"].items():
        parts.append(f"## {_cell(name)}\n")
        for sampling, result in data["results"].items():
            parts.append(_result_table(document["settings"], data, sampling, result))
        parts += [_beside_the_paper(name, data, block) for block in data["published"]]
        if "robustness" in data:
            parts.append(_robustness_tables(document["settings"], data))
    return "\n".join(parts)


def _result_table(
    settings: Mapping[str, Any],
    data: Mapping[str, Any],
    sampling: str,
    result: Mapping[str, Any],
) -> str:
    caption = conventions({**settings, "sampling": sampling}, data["prepared"])
    rows = "".join(_line(group) for group in result["groups"])
    whole = result["groups"][0]
    missing = [label for label in ("real", "fake") if not whole[label]]
    alone = (
        f"\nNo AUC: no {missing[0]} video was scored, and it takes both classes.\n"
        if missing
        else ""
    )
    return (
        f"Video-level numbers in per cent, AUC with its 95 % bootstrap interval over videos. "
        f"{result['scored']} of {result['videos']} videos scored, {len(result['left_out'])} left "
        f"out{_unit(data)}; {caption}.\n\n"
        "| group | real | fake | AUC | 95 % | AP | EER | accuracy at 0.5 | TPR at 1 % FPR | "
        "TPR at 0.1 % FPR | AUC with left-out at 0.5 | AUC of clips |\n"
        f"|{' --- |' * 12}\n{rows}{alone}"
    )


def _unit(data: Mapping[str, Any]) -> str:
    """What counts as one video, where that is not plain."""
    if data["dataset"] != "wilddeepfake":
        return ""
    return " (a video here is one sequence, or an archive that could not be opened)"


def _beside_the_paper(name: str, data: Mapping[str, Any], block: Mapping[str, Any]) -> str:
    """One of the paper's tables, and this model on the same group of videos."""
    rows = "".join(f"| {row} (published) | {auc:g} |\n" for row, auc in block["rows"].items())
    ours = "".join(
        f"| **this model, {sampling}** | {per_cent(area)} |\n"
        for sampling, area in areas_of(data, block["group"]).items()
    )
    videos = name if block["group"] == "all" else f"{name}, {block['group']}"
    return (
        f"Beside {block['table']} of the paper (arXiv 2501.01184v1), whose detectors learned from "
        f"FF++ at the compression that this model learned from:\n\n"
        f"| detector | AUC on {_cell(videos)} |\n| --- | --- |\n{ours}{rows}"
    )


def areas_of(data: Mapping[str, Any], group: str) -> dict[str, float | None]:
    """The AUC on one group of a data set's videos by sampling, of those that have the group."""
    return {
        sampling: entry["metrics"]["auc"]
        for sampling, result in data["results"].items()
        for entry in result["groups"]
        if entry["group"] == group
    }


def _robustness_tables(settings: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    robustness = data["robustness"]
    caption = conventions({**settings, "sampling": robustness["sampling"]}, data["prepared"])
    where = {
        "frames": "whole frames before faces are found",
        "crops": "stored face crops (not the benchmark's way, which is whole frames)",
    }[robustness["applied_to"]]
    names = list(robustness["levels"])
    lines = [
        f"| {name} | {_auc_of(robustness['clean'])} | "
        + " | ".join(_auc_of(group) for group in robustness["levels"][name])
        + f" | {per_cent(robustness['mean'][name])} |\n"
        for name in names
    ]
    notes = "".join(f"\n- {name}: {note}" for name, note in robustness["notes"].items())
    averaged = [name for name in names if name != "video"]
    header = [*averaged, "Avg"]
    ours = " | ".join(per_cent(robustness["mean"][name]) for name in header)
    theirs = "".join(
        f"| {row} (paper, FF++) | "
        + " | ".join(f"{numbers[name]:g}" if name in numbers else "-" for name in header)
        + " |\n"
        for row, numbers in robustness["published"].items()
    )
    return (
        f"### Robustness\n\nVideo-level AUC in per cent by level; corruptions applied to {where}; "
        f"{caption}. Videos in which no face is found any more are left out of these AUCs.\n\n"
        f"| corruption | clean | 1 | 2 | 3 | 4 | 5 | mean |\n|{' --- |' * 8}\n"
        + "".join(lines)
        + notes
        + ("\n" if notes else "")
        + "\nMean over the five levels"
        + (
            ", beside the paper's Table 10 (on FF++ c23; video compression is not among its six)"
            if theirs
            else ""
        )
        + ":\n\n"
        f"| detector | {' | '.join(header)} |\n|{' --- |' * (len(header) + 1)}\n"
        f"| **this model** | {ours} |\n{theirs}"
    )


def _auc_of(group: Mapping[str, Any] | None) -> str:
    if group is None:
        return "not run"
    left_out = f" ({group['unscored']} left out)" if group["unscored"] else ""
    return per_cent(group["metrics"]["auc"]) + left_out


def conventions(settings: Mapping[str, Any], prepared: Mapping[str, Any]) -> str:
    """What a caption says of how a number came about.

    settings: of `PredictionConfig`, with clip_length, split and face. prepared: of `StoreSettings`.
    """
    shots, limit = settings["shots"], prepared["max_frames"]
    if isinstance(limit, Mapping):
        limit = limit.get(settings["split"]) or ", ".join(f"{n} ({s})" for s, n in limit.items())
    calibration = settings.get("calibration")
    compression = prepared.get("compression") or "as it came"
    return (
        f"split {settings['split']}, compression {compression}, sampling {settings['sampling']}, "
        f"{settings['frames']} frames in clips of {settings['clip_length']}, shots {shots}"
        + (f" ({settings['shot_score']})" if shots > 1 else "")
        + f", mean of {settings['pooling']}"
        + ("" if calibration is None else f", calibrated ({calibration['method']}; clips are not)")
        + f", margin {settings['margin']:g} of 256 px, face: "
        f"{settings['face']}; faces found by {prepared['backend']} in "
        + ("all frames" if limit is None else f"the first {limit} frames")
        + f", boxes enlarged by {prepared['crop']['enlarge']:g}"
    )


def per_cent(value: float | None) -> str:
    """0.9347 -> "93.5"; None -> "-"."""
    return "-" if value is None else f"{100 * value:.1f}"


def _cell(text: str) -> str:
    """Names come from strangers: on one line, and no cell of its own."""
    return " ".join(text.split()).replace("|", "\\|")


def _line(group: Mapping[str, Any]) -> str:
    cells = [
        _cell(group["group"]),
        str(group["real"]),
        str(group["fake"]),
        *(cell(group, key) for key in _COLUMNS),
        per_cent(group["auc_with_unscored"]),
        per_cent(group["auc_clip"]),
    ]
    return f"| {' | '.join(cells)} |\n"


def cell(group: Mapping[str, Any], key: str) -> str:
    """One of a group's metrics in per cent; "too few real" where there is no such false positive
    rate.
    """
    value = group["metrics"][key]
    if isinstance(value, Sequence):
        return " to ".join(per_cent(end) for end in value)
    if value is not None and key in _RATES and not is_measurable(_RATES[key], group["real"]):
        return "too few real"
    return per_cent(value)


def scores_csv(scores: Scores) -> str:
    """Every score: data set, condition, sampling, video, and what it got."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = (
        "video", "sha256", "label", "method", "source", "group", "score", "raw", "distance",
        "faces", "track",
    )  # fmt: skip
    writer.writerow(("data", "condition", "sampling", *names, "reason", "shots", "clips"))
    for (data, condition, sampling), videos in scores.items():
        for score in videos:
            row = ["" if (v := getattr(score, name)) is None else v for name in (*names, "reason")]
            lists = [" ".join(f"{v:.6f}" for v in values) for values in (score.shots, score.clips)]
            writer.writerow((data, condition, sampling, *row, *lists))
    return text.getvalue()
