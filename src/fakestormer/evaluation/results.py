"""What `evaluate` leaves behind: evaluation.json, scores.csv and evaluation.md."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fakestormer.data.manifest import read_settings
from fakestormer.evaluation.protocol import Separation, VideoScore, iterate_groups, separations
from fakestormer.files import sha256_of, write_atomically

#: Layout of evaluation.json.
FORMAT = 1


def evaluation_document(
    scores: Sequence[VideoScore],
    stores: Mapping[str, Path],
    *,
    model: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything that is needed to repeat the numbers, and the numbers.

    stores: folder of each data set's store by name. model, settings: JSON-able, what judged and
    how. Per data set: its manifest's hash, how its faces were found and cut out ("prepared"), how
    many videos were used and left out (with reasons), and `separations`.
    """
    return {
        "format": FORMAT,
        "model": dict(model),
        "settings": dict(settings),
        "data": {
            name: {
                "manifest_sha256": sha256_of(stores[name] / "manifest.parquet"),
                "prepared": read_settings(stores[name]).model_dump(mode="json"),
                "videos": len(own),
                "scored": sum(score.score is not None for score in own),
                "left_out": {s.video: s.reason for s in own if s.score is None},
                "separations": [dataclasses.asdict(s) for s in separations(own)],
            }
            for name, own in iterate_groups(scores)
        },
    }


def write_evaluation(
    folder: Path, scores: Sequence[VideoScore], document: Mapping[str, Any]
) -> None:
    """Write the three files, each whole or not at all."""
    write_atomically(folder / "scores.csv", _csv(scores).encode())
    write_atomically(folder / "evaluation.md", markdown(document).encode())
    content = json.dumps(document, indent=2, allow_nan=False) + "\n"
    write_atomically(folder / "evaluation.json", content.encode())


def markdown(document: Mapping[str, Any]) -> str:
    """The AUC tables, each under the conventions that its numbers depend on."""
    settings = document["settings"]
    parts = [f"# Evaluation of {document['model'].get('name', 'a model')}\n"]
    for name, data in document["data"].items():
        parts.append(
            f"## {name}\n\n"
            f"Video-level AUC in per cent, 95 % bootstrap interval over videos. "
            f"{data['scored']} of {data['videos']} videos scored, {len(data['left_out'])} left "
            f"out; {conventions(settings, data['prepared'])}.\n\n"
            "| group | real | fake | AUC | 95 % | with left-out at 0.5 | AUC of clips |\n"
            "| --- | --- | --- | --- | --- | --- | --- |\n"
            + "".join(_line(Separation(**entry)) for entry in data["separations"])
        )
    return "\n".join(parts)


def conventions(settings: Mapping[str, Any], prepared: Mapping[str, Any]) -> str:
    """What a caption says of how a number came about.

    settings: of `PredictionConfig`, with clip_length, split and face. prepared: of `StoreSettings`.
    """
    shots, limit = settings["shots"], prepared["max_frames"]
    return (
        f"split {settings['split']}, sampling {settings['sampling']}, {settings['frames']} frames "
        f"in clips of {settings['clip_length']}, shots {shots}"
        + (f" ({settings['shot_score']})" if shots > 1 else "")
        + f", mean of {settings['pooling']}, margin {settings['margin']:g} of 256 px, face: "
        f"{settings['face']}; faces found by {prepared['backend']} in "
        + ("all frames" if limit is None else f"the first {limit} frames")
        + f", boxes enlarged by {prepared['crop']['enlarge']:g}"
    )


def per_cent(value: float | None) -> str:
    """0.9347 -> "93.5"; None -> "-"."""
    return "-" if value is None else f"{100 * value:.1f}"


def _line(s: Separation) -> str:
    interval = "-" if s.interval is None else " to ".join(per_cent(end) for end in s.interval)
    return (
        f"| {s.group} | {s.real} | {s.fake} | {per_cent(s.auc)} | {interval} | "
        f"{per_cent(s.auc_with_unscored)} | {per_cent(s.auc_clip)} |\n"
    )


def _csv(scores: Sequence[VideoScore]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = ("data", "video", "sha256", "label", "method", "source", "score", "faces", "reason")
    writer.writerow((*names, "shots", "clips"))
    for score in scores:
        row = ["" if (v := getattr(score, name)) is None else v for name in names]
        lists = [" ".join(f"{v:.6f}" for v in values) for values in (score.shots, score.clips)]
        writer.writerow((*row, *lists))
    return text.getvalue()
