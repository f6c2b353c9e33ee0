"""training.html: a run as one page that holds all it shows and asks nobody for anything.

Names of videos and sources come from strangers: they reach the page only through the template's
escaping, cleaned of what could not be shown.
"""

from __future__ import annotations

import base64
import json
import platform
from collections import Counter
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import jinja2

from fakestormer.data.manifest import Row
from fakestormer.detection.printable import shown
from fakestormer.drawing.contact_sheet import RGB
from fakestormer.files import write_atomically
from fakestormer.model.model_file import code_version
from fakestormer.recipe.recipe import Recipe
from fakestormer.training import curves
from fakestormer.training.checkpoint import RunState
from fakestormer.training.curves import Chart, chart
from fakestormer.training.history import History, read_history
from fakestormer.training.tracks import Tracks

NAME = "training.html"

#: Sources named one by one; the others are counted together.
_SOURCES = 12


def write_page(
    out: Path,
    recipe: Recipe,
    tracks: Tracks,
    state: RunState,
    *,
    examples: Mapping[str, RGB],
    device: str,
) -> Path:
    """Write the page of the run in `out`, whole or not at all; returns its path.

    The curves come from the run's history file. examples: RGB pictures by name, of the chosen
    model. device: what the run went on with at its end.
    """
    path = out / NAME
    text = render_page(
        recipe, tracks, state, read_history(out), examples=examples, device=device, name=out.name
    )
    write_atomically(path, text.encode("utf-8"))
    return path


def render_page(
    recipe: Recipe,
    tracks: Tracks,
    state: RunState,
    history: History,
    *,
    examples: Mapping[str, RGB],
    device: str,
    name: str,
) -> str:
    """The page as text."""
    config = recipe.training
    missing = history.steps[0].step if history.steps else state.step
    versions = code_version() | {
        "lightning-fabric": version("lightning-fabric"),
        "python": platform.python_version(),
        "system": platform.platform(terse=True),
    }
    return _environment().get_template("training/training.html.jinja").render(
        name=shown(name),
        best=state.best,
        averaged=config.ema_decay,
        charts=_charts(recipe, history, state),
        missing=missing,
        width=curves.WIDTH,
        height=curves.HEIGHT,
        examples={key: _data_url(picture) for key, picture in examples.items()},
        facts={
            "recipe": shown(recipe.name),
            "seed": config.seed,
            "steps": state.step,
            "epochs": config.epochs,
            "clips per step": config.batch_size,
            "processes": state.processes,
            "time": _duration(state.seconds),
            "device": shown(device),
        },
        tracks=(
            ("training", _by_source(tracks.training)),
            ("training, fake", _by_source(tracks.fakes)),
            ("validation", _by_source(tracks.validation)),
        ),
        records={
            "Data": {
                "faces found by": shown(tracks.face_backend),
                "training tracks, sha256": state.tracks,
                "validation set, sha256": state.validation,
                "pre-trained parameters": len(state.pretrained),
            },
            "Versions": versions,
            "Recipe": dict(_fields(recipe.model_dump(mode="json"))),
        },
    )  # fmt: skip


def _charts(recipe: Recipe, history: History, state: RunState) -> list[Chart]:
    loss = recipe.training.loss
    steps = [record.step + 1 for record in history.steps]

    def of_steps(name: str) -> list[tuple[float, float]]:
        return [(x, getattr(r, name)) for x, r in zip(steps, history.steps, strict=True)]

    def of_validations(name: str) -> list[tuple[float, float]]:
        return [(v.steps_done, v.metrics[name]) for v in history.validations if name in v.metrics]

    aucs = [
        ("videos", of_validations("auc_video")),
        ("clips", of_validations("auc_clip")),
    ]
    lowest = min((value for _, points in aucs for _, value in points), default=0.5)
    classification = [
        ("training", of_steps("classification")),
        ("validation", of_validations("classification_loss")),
    ]
    drawn = [
        ("Validation AUC", aucs, "0.5 is guessing", (min(0.5, lowest), 1.0)),
        ("Loss of f", classification, f"cross-entropy, weight {loss.lambda_c:g}", None),
    ]
    if "h" in recipe.model.branches:
        remark = f"squared error of D^, weight {loss.lambda_h:g}"
        drawn.append(("Loss of h", [("training", of_steps("temporal"))], remark, None))
    if "g" in recipe.model.branches:
        remark = f"cross-entropy with p(t), weight {loss.lambda_g:g}"
        drawn.append(("Loss of g", [("training", of_steps("spatial"))], remark, None))
    if "b" in recipe.model.branches:
        remark = f"cross-entropy with the boundary, weight {loss.lambda_b:g}"
        drawn.append(("Loss of b", [("training", of_steps("boundary"))], remark, None))
    drawn += [
        ("Total loss", [("training", of_steps("total"))], "the weighted sum", None),
        ("Learning rate", [("rate", of_steps("learning_rate"))], "", None),
    ]
    charts = [
        chart(title, series, steps=state.step, remark=remark, limits=limits)
        for title, series, remark, limits in drawn
    ]
    return [one for one in charts if one is not None]


def _by_source(rows: tuple[Row, ...]) -> list[tuple[str, int, int]]:
    """(source, tracks, frames), the largest first."""
    tracks = Counter(row.source for row in rows)
    frames: Counter[str] = Counter()
    for row in rows:
        frames[row.source] += row.frames
    ranked = sorted(tracks, key=lambda source: (-tracks[source], source))
    found = [(shown(s) or "no source named", tracks[s], frames[s]) for s in ranked[:_SOURCES]]
    rest = ranked[_SOURCES:]
    if rest:
        others = (sum(tracks[s] for s in rest), sum(frames[s] for s in rest))
        found.append((f"{len(rest)} more", *others))
    return found


def _duration(seconds: float) -> str:
    """4503 -> "1 h 15 min"; below two minutes in seconds."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _fields(document: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """{"training": {"epochs": 3}} -> ("training.epochs", "3"), as --set takes them."""
    for key, value in document.items():
        if isinstance(value, Mapping):
            yield from _fields(value, f"{prefix}{key}.")
        else:
            yield prefix + key, shown(value if isinstance(value, str) else json.dumps(value))


def _data_url(picture: RGB) -> str:
    done, encoded = cv2.imencode(
        ".webp", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_WEBP_QUALITY, 85]
    )
    assert done, "OpenCV was built without WebP"
    return "data:image/webp;base64," + base64.b64encode(encoded.tobytes()).decode("ascii")


def _environment() -> jinja2.Environment:
    rooms = {room: jinja2.PackageLoader("fakestormer", room) for room in ("report", "training")}
    return jinja2.Environment(
        loader=jinja2.PrefixLoader(rooms),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
