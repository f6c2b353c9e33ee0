"""The numbers of an evaluation as one JSON-able document, as Markdown and as CSV."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fakestormer.data.manifest import read_settings
from fakestormer.errors import InputError
from fakestormer.evaluation.corruptions import LEVELS
from fakestormer.evaluation.metrics import is_measurable
from fakestormer.evaluation.paper import published, published_robustness
from fakestormer.evaluation.protocol import Separation, VideoScore, separation, separations
from fakestormer.evaluation.run import Plan, Scores, label
from fakestormer.evaluation.scoring import CLEAN, Condition
from fakestormer.files import sha256_of

#: Layout of evaluation.json.
FORMAT = 2
#: Whose versions can move a number.
_LIBRARIES = ("fakestormer", "torch", "numpy", "opencv-python-headless", "av", "scikit-learn")


def evaluation_document(
    plan: Plan,
    scores: Scores,
    *,
    model: Mapping[str, Any],
    clip_length: int,
    notes: Mapping[str, Mapping[str, str]] | None = None,
) -> dict[str, Any]:
    """Everything that is needed to repeat the numbers, and the numbers.

    model: JSON-able, what judged. notes: by data set and corruption, what is to be known of it.
    Per data set: its manifest's hash, how its faces were found and cut out ("prepared"), and per
    sampling how many videos were used and left out (with reasons), the groups with their metrics,
    and every video's score.
    """
    samplings = list(plan.predictions)
    first = plan.predictions[samplings[0]]
    settings = first.model_dump(mode="json") | {
        "samplings": samplings,
        "clip_length": clip_length,
        "split": plan.split,
        "face": plan.face,
    }
    data = {}
    for name, store in plan.stores.items():
        prepared = read_settings(store)
        # A store is called what the user says; the layout knows better where it is one.
        known = prepared.dataset if prepared.dataset != "folder" else name
        data[name] = {
            "dataset": prepared.dataset,
            "compression": prepared.compression,
            "manifest_sha256": sha256_of(store / "manifest.parquet"),
            "prepared": prepared.model_dump(mode="json"),
            "results": {sampling: _result(scores[name, CLEAN, sampling]) for sampling in samplings},
            "published": published(known, prepared.compression)
            if plan.split in ("test", "all")
            else {},
            **_robustness(plan, scores, name, (notes or {}).get(name, {})),
        }
    return {
        "format": FORMAT,
        "model": dict(model),
        "settings": settings,
        "versions": _versions(),
        "data": data,
        "scores": {
            name: {
                sampling: [dataclasses.asdict(s) for s in scores[name, CLEAN, sampling]]
                for sampling in samplings
            }
            for name in plan.stores
        },
    }


def read_evaluation(path: Path) -> dict[str, Any]:
    """The document of an evaluation.json, or of the folder it lies in.

    Raises InputError when it is not there or is none.
    """
    file = path / "evaluation.json" if path.is_dir() else path
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); check the path") from error
    except ValueError as error:
        raise InputError(f"{file}: is not the JSON of an evaluation ({error})") from error
    parts = {"model", "settings", "data", "scores"}
    if (
        not isinstance(document, dict)
        or document.get("format") != FORMAT
        or not parts <= document.keys()
    ):
        raise InputError(
            f"{file}: is no evaluation of layout {FORMAT}; make it with `fakestormer evaluate`"
        )
    return document


def scores_of(document: Mapping[str, Any], sampling: str) -> list[VideoScore]:
    """The scores in a document, of all its data sets."""
    return [
        VideoScore.from_json(entry)
        for by_sampling in document["scores"].values()
        for entry in by_sampling[sampling]
    ]


def _result(scores: Sequence[VideoScore]) -> dict[str, Any]:
    return {
        "videos": len(scores),
        "scored": sum(score.score is not None for score in scores),
        "left_out": {s.video: s.reason for s in scores if s.score is None},
        "groups": [dataclasses.asdict(s) for s in separations(scores)],
    }


def _robustness(
    plan: Plan, scores: Scores, data: str, notes: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """{"robustness": ...}, or nothing where no corruption was asked for.

    Of the first sampling. mean: over a corruption's five levels, None where one is missing; "Avg"
    over the six that the paper averages, where all six are there.
    """
    names = [name for name in LEVELS if any(c.corruption == name for c in plan.conditions)]
    if not names:
        return {}
    sampling = next(iter(plan.predictions))
    levels: dict[str, list[dict[str, Any] | None]] = {}
    means: dict[str, float | None] = {}
    for name in names:
        groups: list[Separation | None] = []
        for level in range(1, 6):
            found = scores.get((data, Condition(corruption=name, level=level), sampling))
            groups.append(None if found is None else separation("all", found))
        aucs = [group.auc for group in groups if group is not None]
        known = [auc for auc in aucs if auc is not None]
        levels[name] = [None if group is None else dataclasses.asdict(group) for group in groups]
        means[name] = sum(known) / 5 if len(known) == 5 else None
    averaged = [means.get(name) for name in LEVELS if name != "video"]
    numbers = [mean for mean in averaged if mean is not None]
    means["Avg"] = sum(numbers) / len(numbers) if len(numbers) == len(averaged) else None
    return {
        "robustness": {
            "applied_to": plan.applied_to,
            "sampling": sampling,
            "clean": dataclasses.asdict(separation("all", scores[data, CLEAN, sampling])),
            "levels": levels,
            "mean": means,
            "published": published_robustness(),
            "notes": dict(notes),
        }
    }


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for library in _LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:  # e.g. another build of OpenCV
            found[library] = "unknown"
    return found


def markdown(document: Mapping[str, Any]) -> str:
    """The tables, each under the conventions that its numbers depend on."""
    parts = [f"# Evaluation of {document['model'].get('name', 'a model')}\n"]
    for name, data in document["data"].items():
        parts.append(f"## {_cell(name)}\n")
        for sampling, result in data["results"].items():
            parts.append(_result_table(document["settings"], data, sampling, result))
        if data["published"]:
            parts.append(_beside_the_paper(name, data))
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


def _beside_the_paper(name: str, data: Mapping[str, Any]) -> str:
    rows = "".join(f"| {row} (published) | {auc:g} |\n" for row, auc in data["published"].items())
    ours = "".join(
        f"| **this model, {sampling}** | {per_cent(result['groups'][0]['metrics']['auc'])} |\n"
        for sampling, result in data["results"].items()
    )
    return (
        f"Beside the paper's numbers for this data set (arXiv 2501.01184v1; theirs were trained on "
        f"FF++):\n\n| detector | AUC on {name} |\n| --- | --- |\n{ours}{rows}"
    )


def _robustness_tables(settings: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    found = data["robustness"]
    caption = conventions({**settings, "sampling": found["sampling"]}, data["prepared"])
    where = {
        "frames": "whole frames before faces are found",
        "crops": "stored face crops (not the benchmark's way, which is whole frames)",
    }[found["applied_to"]]
    names = list(found["levels"])
    lines = [
        f"| {name} | {_auc_of(found['clean'])} | "
        + " | ".join(_auc_of(group) for group in found["levels"][name])
        + f" | {per_cent(found['mean'][name])} |\n"
        for name in names
    ]
    notes = "".join(f"\n- {name}: {note}" for name, note in found["notes"].items())
    averaged = [name for name in names if name != "video"]
    header = [*averaged, "Avg"]
    ours = " | ".join(per_cent(found["mean"][name]) for name in header)
    theirs = "".join(
        f"| {row} (paper, FF++) | "
        + " | ".join(f"{numbers[name]:g}" if name in numbers else "-" for name in header)
        + " |\n"
        for row, numbers in found["published"].items()
    )
    return (
        f"### Robustness\n\nVideo-level AUC in per cent by level; corruptions applied to {where}; "
        f"{caption}. Videos in which no face is found any more are left out of these AUCs.\n\n"
        f"| corruption | clean | 1 | 2 | 3 | 4 | 5 | mean |\n|{' --- |' * 8}\n"
        + "".join(lines)
        + notes
        + ("\n" if notes else "")
        + "\nMean over the five levels, beside the paper's Table 10 (on FF++; video compression is "
        "not among its six):\n\n"
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
    found = group["metrics"]
    interval = found["interval"]
    ends = "-" if interval is None else " to ".join(per_cent(end) for end in interval)
    # With few real videos the smallest false positive rate above 0 is larger than the one asked.
    rates = [
        per_cent(rate) if rate is None or is_measurable(fpr, group["real"]) else "too few real"
        for rate, fpr in ((found["tpr_at_1_fpr"], 0.01), (found["tpr_at_01_fpr"], 0.001))
    ]
    cells = [
        _cell(group["group"]),
        str(group["real"]),
        str(group["fake"]),
        per_cent(found["auc"]),
        ends,
        per_cent(found["average_precision"]),
        per_cent(found["equal_error_rate"]),
        per_cent(found["accuracy"]),
        *rates,
        per_cent(group["auc_with_unscored"]),
        per_cent(group["auc_clip"]),
    ]
    return f"| {' | '.join(cells)} |\n"


def scores_csv(scores: Scores) -> str:
    """Every score: data set, condition, sampling, video, and what it got."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = ("video", "sha256", "label", "method", "source", "score", "raw", "faces", "track")
    writer.writerow(("data", "condition", "sampling", *names, "reason", "shots", "clips"))
    for (data, condition, sampling), own in scores.items():
        for score in own:
            row = ["" if (v := getattr(score, name)) is None else v for name in (*names, "reason")]
            lists = [" ".join(f"{v:.6f}" for v in values) for values in (score.shots, score.clips)]
            writer.writerow((data, label(condition), sampling, *row, *lists))
    return text.getvalue()


#: (frames' height, width) -> how often; what `corruption_notes` is asked about.
Sizes = Mapping[tuple[int, int], int]


def corruption_notes(
    sizes: Sizes, names: Sequence[str], does_nothing: Callable[[Any, int, int], str]
) -> dict[str, str]:
    """What has to be said of corruptions that leave some or all frames as they are."""
    notes = {}
    for name in names:
        reasons = [
            (count, reason)
            for (height, width), count in sizes.items()
            if (reason := does_nothing(name, height, width))
        ]
        untouched, total = sum(count for count, _ in reasons), sum(sizes.values())
        if untouched:
            share = "every video" if untouched == total else f"{untouched} of {total} videos"
            notes[name] = f"does nothing on {share} here: {reasons[0][1]}"
    return notes
