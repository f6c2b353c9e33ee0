"""The process that decodes and judges: one model, one video after another, within limits.

Both sides speak JSON, never pickles: a video that takes over this process must not reach the
server's. `parent -> {"path", "folder", "name"}`, one at a time; back come

    {"say": "ready", "model": {...}}              once, when the model is loaded
    {"say": "unusable", "setup": bool, "sentence": str}     instead, and the process ends
    {"say": "progress", "stage": str, "done": int, "total": int | None}
    {"say": "done", "verdict": str, "probability": float | None, "interval": [float, float] | None,
     "reasons": [str, ...], "warnings": [str, ...]}
    {"say": "failed", "sentence": str, "last": bool}        last: and the process ends

Whatever else goes wrong ends the process with its traceback, and the server sees that.
"""

from __future__ import annotations

import datetime
import json
import time
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import cv2
import torch

from fakestormer.detection.batch import DetectorSettings
from fakestormer.detection.detector import Detector
from fakestormer.detection.results import result_of
from fakestormer.errors import InputError, SetupError
from fakestormer.files import write_atomically
from fakestormer.report.page import render_report
from fakestormer.server.confine import bound_memory, end_with_parent
from fakestormer.server.limits import Limits
from fakestormer.types import Report
from fakestormer.video.decode import probe

#: Seconds between two words about the same stage.
_PAUSE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """How a worker opens its detector and what a job may take. threads: None leaves torch's own."""

    detector: DetectorSettings
    limits: Limits
    threads: int | None = None


def judge_videos(connection: Connection, settings: WorkerSettings) -> None:
    """The life of a worker process; ends when the server hangs up."""
    end_with_parent()
    if settings.threads is not None:
        cv2.setNumThreads(settings.threads)
        torch.set_num_threads(settings.threads)
    try:
        detector = settings.detector.open()
        model = detector.fingerprint()
    except (InputError, SetupError) as error:
        is_setup = isinstance(error, SetupError)
        say(connection, {"say": "unusable", "setup": is_setup, "sentence": str(error)})
        return
    bound_memory(settings.limits.gigabytes)
    say(connection, {"say": "ready", "model": model})
    while True:
        try:
            order = json.loads(connection.recv_bytes())
        except EOFError:
            return
        try:
            answer = _judge(connection, detector, settings.limits, order)
        except MemoryError:
            sentence = (
                f"{order['name']}: needs more memory than the {settings.limits.gigabytes:g} GiB "
                "that a job may use; scale it down, or cut out the part that matters"
            )
            # What was half allocated goes with the process.
            say(connection, {"say": "failed", "sentence": sentence, "last": True})
            return
        say(connection, answer)


def say(connection: Connection, message: dict[str, Any]) -> None:
    """Tell the server something."""
    connection.send_bytes(json.dumps(message).encode())


def _judge(
    connection: Connection, detector: Detector, limits: Limits, order: dict[str, str]
) -> dict[str, Any]:
    path, folder, name = order["path"], Path(order["folder"]), order["name"]
    last = ("", 0.0)

    def progress(stage: str, done: int, total: int | None) -> None:
        nonlocal last
        if stage == "faces":  # what a file announces need not be true
            limits.check_frames(path, done)
        if stage != last[0] or done == total or time.monotonic() - last[1] >= _PAUSE:
            last = (stage, time.monotonic())
            say(connection, {"say": "progress", "stage": stage, "done": done, "total": total})

    try:
        limits.check(probe(path))
        report = renamed(detector.detect(path, progress=progress), name)
        progress("report", 0, None)
        page = render_report(report, date=datetime.date.today())
    except InputError as error:
        if isinstance(error.__cause__, MemoryError):
            raise error.__cause__ from None
        # The sender knows the file by the name it had there, not by ours.
        return {"say": "failed", "sentence": str(error).replace(path, name)}
    try:
        write_atomically(folder / "report.html", page.encode())
        write_atomically(folder / "result.json", json.dumps(result_of(report), indent=2).encode())
    except OSError as error:
        return {
            "say": "failed",
            "sentence": f"{name}: its result cannot be written ({error.strerror}); make room on "
            "the server's disk and send it again",
        }
    about_face = () if report.decisive is None else report.decisive.warnings
    return {
        "say": "done",
        "verdict": report.verdict,
        "probability": report.probability,
        "interval": report.interval,
        "reasons": [reason.text for reason in report.reasons],
        "warnings": [*report.warnings, *about_face],
    }


def renamed(report: Report, name: str) -> Report:
    """The report as if the file lay in the current folder under the name its sender gave it."""
    return replace(report, path=name, video=report.video | {"path": name})
