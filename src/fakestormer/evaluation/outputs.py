"""What `evaluate` leaves behind.

evaluation.json    everything that is needed to repeat the numbers, and the numbers
evaluation.md      the tables
evaluation.html    the same for people: plots and the worst errors too; shows faces
scores.csv         every score
roc-*.png, distribution-*.png, robustness-*.png, abstention-*.png
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fakestormer.data.manifest import read_manifest
from fakestormer.data.store import read_clip
from fakestormer.evaluation.abstention_plot import abstention_curve, abstention_plot
from fakestormer.evaluation.document import evaluation_document
from fakestormer.evaluation.journal import Scores
from fakestormer.evaluation.page import WorstError, pick_worst, picture_name, write_page
from fakestormer.evaluation.plan import CLEAN, Plan
from fakestormer.evaluation.plots import distribution_plot, robustness_plot, roc_plot
from fakestormer.evaluation.score import VideoScore, tracks_at_hand
from fakestormer.evaluation.tables import markdown, scores_csv
from fakestormer.files import write_atomically

#: Pictures of one of the worst errors, and their side in pixels.
_THUMBNAILS, _SIDE = 4, 112


def write_outputs(
    plan: Plan,
    scores: Scores,
    out: Path,
    *,
    model: Mapping[str, Any],
    clip_length: int,
    learned_from: str = "",
) -> dict[str, Any]:
    """Write all of it, evaluation.json last, each whole or not at all; returns the document."""
    document = evaluation_document(
        plan, scores, model=model, clip_length=clip_length, learned_from=learned_from
    )
    sampling = next(iter(plan.predictions))
    config = plan.predictions[sampling]
    pictures = {}
    worst: list[WorstError] = []
    for data in plan.stores:
        videos = scores[data, CLEAN, sampling]
        title = f"{data}, sampling {sampling}"
        name = picture_name("roc", data, sampling)
        pictures[name] = roc_plot(out / name, _curves(videos), title=title)
        name = picture_name("distribution", data, sampling)
        pictures[name] = distribution_plot(
            out / name,
            _groups(videos),
            clear_below=config.clear_below,
            fake_from=config.fake_from,
            title=title,
        )
        curve = abstention_curve(videos, config)
        if curve:
            name = picture_name("abstention", data, sampling)
            pictures[name] = abstention_plot(out / name, curve, title=title)
        robustness = document["data"][data].get("robustness")
        if robustness is not None:
            name = picture_name("robustness", data, sampling)
            pictures[name] = robustness_plot(
                out / name,
                {name: _aucs(groups) for name, groups in robustness["levels"].items()},
                clean=robustness["clean"]["metrics"]["auc"],
                title=f"{title}, corrupted {robustness['applied_to']}",
                notes=robustness["notes"],
            )
        worst += [
            _worst_error(plan.stores[data], plan.addresses.get(data), score)
            for score in pick_worst(videos, threshold=config.fake_from)
        ]
    write_atomically(out / "scores.csv", scores_csv(scores).encode())
    write_atomically(out / "evaluation.md", markdown(document).encode())
    write_page(out / "evaluation.html", document, pictures=pictures, worst=worst)
    content = json.dumps(document, indent=2, allow_nan=False) + "\n"
    write_atomically(out / "evaluation.json", content.encode())
    return document


def _aucs(groups: Sequence[Mapping[str, Any] | None]) -> list[float | None]:
    return [None if group is None else group["metrics"]["auc"] for group in groups]


def _curves(scores: Sequence[VideoScore]) -> dict[str, tuple[list[float], list[float]]]:
    """Labels and scores of all videos, and of each method's fakes against all real ones."""
    scored = [(score, score.ranked_by) for score in scores if score.ranked_by is not None]
    methods = sorted({s.method for s, _ in scored if s.label == "fake"} - {""})
    chosen = {"all": scored}
    for method in methods if len(methods) > 1 else ():
        chosen[method] = [(s, v) for s, v in scored if s.label == "real" or s.method == method]
    return {
        name: ([float(s.label == "fake") for s, _ in group], [value for _, value in group])
        for name, group in chosen.items()
    }


def _groups(scores: Sequence[VideoScore]) -> dict[str, list[float]]:
    """Scores of the real videos, and of each method's fakes."""
    groups: dict[str, list[float]] = {"real": []}
    for score in scores:
        if score.score is not None:
            name = "real" if score.label == "real" else score.method or "fake"
            groups.setdefault(name, []).append(score.score)
    return groups


def _worst_error(store: Path, address: str | None, score: VideoScore) -> WorstError:
    row = next(
        row
        for row in read_manifest(store)
        if (row.video, row.track) == (score.video, score.track) and not row.rejected
    )
    last = row.frames - 1
    positions = sorted({round(last * k / (_THUMBNAILS - 1)) for k in range(_THUMBNAILS)})
    with tracks_at_hand(store, address, [row]) as folder:
        clip = read_clip(folder / row.file, positions, video=row.video, number=row.track)
    thumbnails = []
    for rgb_hwc in np.ascontiguousarray(clip.frames.transpose(0, 2, 3, 1)):
        small = cv2.resize(rgb_hwc[..., ::-1], (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        fine, jpeg = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 80])
        assert fine, "JPEG encoder refused a thumbnail"
        thumbnails.append(bytes(jpeg))
    reason = f"face {row.face_side:.0f} px, {row.frames} frames, {score.faces} scored"
    return WorstError(video=score, reason=reason, thumbnails=tuple(thumbnails))
