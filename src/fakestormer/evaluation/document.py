"""The numbers of an evaluation as one JSON-able document."""

from __future__ import annotations

import dataclasses
import json
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fakestormer.data.manifest import read_manifest, read_settings
from fakestormer.errors import InputError
from fakestormer.evaluation.corruptions import LEVELS, does_nothing
from fakestormer.evaluation.groups import Separation, separation, separations
from fakestormer.evaluation.journal import Scores
from fakestormer.evaluation.paper import published, published_robustness
from fakestormer.evaluation.plan import CLEAN, Condition, Plan
from fakestormer.evaluation.score import VideoScore
from fakestormer.files import sha256_of
from fakestormer.video.decode import probe

#: Layout of evaluation.json.
FORMAT = 2
#: Whose versions can move a number.
_LIBRARIES = (
    "fakestormer", "onnxruntime", "torch", "numpy", "opencv-python-headless", "av", "scikit-learn",
)  # fmt: skip


def evaluation_document(
    plan: Plan,
    scores: Scores,
    *,
    model: Mapping[str, Any],
    clip_length: int,
    learned_from: str = "",
) -> dict[str, Any]:
    """Everything that is needed to repeat the numbers, and the numbers.

    model: the detector's fingerprint. learned_from: the compression of FF++ that it was trained on,
    "" for other models; the paper's numbers for such detectors stand beside it.
    """
    samplings = list(plan.predictions)
    first = plan.predictions[samplings[0]]
    settings = first.model_dump(mode="json") | {
        "fake_from": first.fake_from,
        "clear_below": first.clear_below,
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
            "published": _published(plan, known, prepared.compression, learned_from),
            **_robustness(plan, scores, name, learned_from),
        }
    return {
        "format": FORMAT,
        "model": dict(model),
        "learned_from": learned_from,
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


def _published(
    plan: Plan, dataset: str, compression: str, learned_from: str
) -> list[dict[str, Any]]:
    """The paper's numbers, which are of test videos."""
    if plan.split not in ("test", "all"):
        return []
    blocks = published(dataset, compression=compression, learned_from=learned_from)
    return [dataclasses.asdict(block) for block in blocks]


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
    plan: Plan, scores: Scores, data: str, learned_from: str
) -> dict[str, dict[str, Any]]:
    """{"robustness": ...} of the first sampling, or nothing where no corruption was asked for.

    mean: over a corruption's five levels, "Avg" over the six that the paper averages; None where
    one is missing.
    """
    names = [name for name in LEVELS if name in plan.corruptions]
    if not names:
        return {}
    sampling = next(iter(plan.predictions))
    levels: dict[str, list[dict[str, Any] | None]] = {}
    means: dict[str, float | None] = {}
    for name in names:
        groups: list[Separation | None] = []
        for level in range(1, 6):
            videos = scores.get((data, Condition(corruption=name, level=level), sampling))
            groups.append(None if videos is None else separation("all", videos))
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
            "published": published_robustness() if learned_from == "c23" else {},
            "notes": _notes(plan, data),
        }
    }


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "machine": platform.machine()}
    for library in _LIBRARIES:
        try:
            versions[library] = version(library)
        except PackageNotFoundError:  # e.g. another build of OpenCV
            versions[library] = "unknown"
    return versions


def _notes(plan: Plan, data: str) -> dict[str, str]:
    """Sentences on corruptions that leave some or all frames of a data set unchanged."""
    sizes = _sizes(plan, data)
    total = sum(sizes.values())
    notes: dict[str, str] = {}
    for name in plan.corruptions:
        reasons = {size: does_nothing(name, *size) for size in sizes}
        unchanged = sum(sizes[size] for size, reason in reasons.items() if reason)
        if unchanged:
            share = "every video" if unchanged == total else f"{unchanged} of {total} videos"
            reason = next(filter(None, reasons.values()))
            notes[name] = f"does nothing on {share} here: {reason}"
    return notes


def _sizes(plan: Plan, data: str) -> Counter[tuple[int, int]]:
    """(height, width) of what is corrupted, with counts: crops, or frames as containers say."""
    if plan.applied_to == "crops":
        return Counter([(plan.crop.stored_size, plan.crop.stored_size)])
    sizes: Counter[tuple[int, int]] = Counter()
    assert plan.entries is not None
    stream = read_settings(plan.stores[data]).stream
    scored = {
        row.video
        for row in read_manifest(plan.stores[data])
        if not row.rejected and plan.split in ("all", row.split)
    }
    for entry in plan.entries[data].values():
        if entry.kind == "video" and entry.video in scored:
            try:
                info = probe(entry.path, stream)
            except InputError:  # scoring has listed it
                continue
            sizes[info.height, info.width] += 1
    return sizes
