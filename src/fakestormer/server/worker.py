"""The process that decodes and scores videos: one model, one video after another, within limits.

Messages are JSON, never pickles: a video that takes over this process must not reach the server's
process. The server sends {"path", "folder", "name", "options"}, one at a time, and gets

    {"say": "ready", "model": {...}}              once, when the model is loaded
    {"say": "unusable", "setup": bool, "sentence": str}     instead, and the process ends
    {"say": "progress", "stage": str, "done": int, "total": int | None}
    {"say": "done", "verdict": str, "probability": float | None, "interval": [float, float] | None,
     "reasons": [str, ...], "warnings": [str, ...]}
    {"say": "failed", "sentence": str, "last": bool}        last: and the process ends

Any other error ends the process with its traceback, which the server notices.
"""

from __future__ import annotations

import datetime
import json
import logging
import time
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fakestormer.detection.batch import DetectOne, DetectorSettings
from fakestormer.detection.detector import Detector
from fakestormer.detection.film import film_name
from fakestormer.errors import InputError, OutputError, SetupError
from fakestormer.files import write_atomically
from fakestormer.parallel.memory import keep_freed_memory
from fakestormer.parallel.termination import leave_signals_to_parent
from fakestormer.parallel.threads import use_threads
from fakestormer.report.page import render_report
from fakestormer.server.confine import bound_memory
from fakestormer.server.limits import Limits
from fakestormer.server.options import JobOptions
from fakestormer.server.store import OVERLAY, REPORT, RESULT, THUMBNAIL
from fakestormer.types import Report
from fakestormer.types.arrays import Pixels
from fakestormer.video.decode import probe

log = logging.getLogger("fakestormer.server")

#: Seconds between two messages about the same stage.
_PAUSE = 0.1
#: Pixels of the longer side of the picture in a list of jobs.
_THUMBNAIL = 240


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """The detector, the limits of a job, and threads; None leaves the choice to the libraries."""

    detector: DetectorSettings
    limits: Limits
    threads: int | None = None


def described(detector: Detector) -> dict[str, str]:
    """What the server says about its model, with its error rates where they were measured."""
    rates = detector.settings().get("error_rates")
    return detector.fingerprint() | ({} if rates is None else {"error_rates": rates})


def judge_videos(connection: Connection, settings: WorkerSettings) -> None:
    """The main function of a worker process; ends when the server closes the connection."""
    leave_signals_to_parent()
    keep_freed_memory()
    if settings.threads is not None:
        use_threads(settings.threads)
    try:
        work = DetectOne(settings.detector)
        model = described(work.detector)
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
            answer = _judge(connection, work, settings.limits, order)
        except MemoryError:
            sentence = (
                f"{order['name']}: needs more memory than the {settings.limits.gigabytes:g} GiB "
                "that a job may use; scale it down, or cut out the part that matters"
            )
            # The process ends, and frees what it has allocated.
            say(connection, {"say": "failed", "sentence": sentence, "last": True})
            return
        say(connection, answer)


def _with_options(work: DetectOne, options: JobOptions, folder: Path) -> DetectOne:
    """The same model, used as a job wants it. Raises InputError for what the model cannot do."""
    settings = replace(
        work.settings,
        every_second=options.every_second,
        stream=options.stream,
        overlay=folder if options.overlay else None,
    )
    detector = work.detector.predicting(
        sampling=options.sampling, shots=options.shots, threshold=options.threshold
    )
    return DetectOne(settings, detector)


def thumbnail(picture_chw: Pixels) -> bytes:
    """A small JPEG of a frame, uint8 (3, H, W), RGB."""
    height, width = picture_chw.shape[1:]
    shrink = max(1.0, max(height, width) / _THUMBNAIL)
    rgb = np.ascontiguousarray(picture_chw.transpose(1, 2, 0))
    size = (max(1, round(width / shrink)), max(1, round(height / shrink)))
    small = cv2.cvtColor(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2BGR)
    fine, jpeg = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 80])
    assert fine, f"JPEG encoder refused a picture of {size}"
    return bytes(jpeg)


def say(connection: Connection, message: dict[str, Any]) -> None:
    """Send the server a message."""
    connection.send_bytes(json.dumps(message).encode())


def _judge(
    connection: Connection, work: DetectOne, limits: Limits, order: dict[str, str]
) -> dict[str, Any]:
    path, folder, name = order["path"], Path(order["folder"]), order["name"]
    last = ("", 0.0)

    def progress(stage: str, done: int, total: int | None) -> None:
        nonlocal last
        if stage == "faces":  # the frame count that a file announces need not be true
            limits.check_frames(path, done)
        if stage != last[0] or done == total or time.monotonic() - last[1] >= _PAUSE:
            last = (stage, time.monotonic())
            say(connection, {"say": "progress", "stage": stage, "done": done, "total": total})

    unwritten = {
        "say": "failed",
        "sentence": f"{name}: its result cannot be written; make room on the server's disk and "
        "send it again",
    }
    outcome: Report | InputError
    try:
        options = JobOptions.model_validate_json(order["options"])
        as_wanted = _with_options(work, options, folder)
        limits.check(probe(path, as_wanted.settings.stream))
        outcome = as_wanted(path, name=name, progress=progress)
    except OutputError as error:
        log.warning("%s", error)
        return unwritten
    except InputError as error:
        outcome = error
    if isinstance(outcome, InputError):
        if isinstance(outcome.__cause__, MemoryError):
            raise outcome.__cause__ from None
        # Senders know the file by their own name for it.
        return {"say": "failed", "sentence": str(outcome).replace(path, name)}
    progress("report", 0, None)
    film = OVERLAY if options.overlay else None
    page = render_report(outcome, date=datetime.date.today(), film=film)
    try:
        if film is not None:
            (folder / film_name(outcome.path, outcome.sha256)).replace(folder / film)
        if outcome.scene is not None:
            write_atomically(folder / THUMBNAIL, thumbnail(outcome.scene.picture))
        write_atomically(folder / REPORT, page.encode())
        write_atomically(folder / RESULT, outcome.to_json().encode())
    except OSError as error:
        log.warning("%s cannot be written to (%s)", folder, error.strerror)
        return unwritten
    face_warnings = () if outcome.decisive is None else outcome.decisive.warnings
    result = outcome.to_dict()
    return {
        "say": "done",
        "verdict": outcome.verdict,
        "probability": result["probability"],
        "interval": result["interval"],
        "reasons": [reason.text for reason in outcome.reasons],
        "warnings": [*outcome.warnings, *face_warnings],
    }
