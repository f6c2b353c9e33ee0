"""Detection of many files: in this process, in several, or on a cluster; stopped and resumed.

    paths -> detect_many -> a Detection for each file, in order of completion

A file that cannot be used costs only itself, even one that kills the process that decodes it.
"""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from fakestormer.detection.collected import Collected, finished_before
from fakestormer.detection.detector import Detector, Progress
from fakestormer.detection.film import film_name
from fakestormer.detection.printable import page_name
from fakestormer.detection.results import failure_of
from fakestormer.errors import InputError, OutputError
from fakestormer.faces.open import BackendName, open_backend
from fakestormer.parallel.pool import map_videos
from fakestormer.recipe.prediction import Sampling
from fakestormer.types import Report
from fakestormer.video.folder import find_videos
from fakestormer.video.objects import fetched, is_object, videos_at

log = logging.getLogger(__name__)

#: (path, stage, done, total): the stages of `Detector.detect` and "overlay", of a file that this
#: process works on; and "files" with the path "", when one more file is finished.
BatchProgress = Callable[[str, str, int, int | None], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorSettings:
    """How a process opens its detector, and what it does with each file.

    model, device: as in `Detector`. faces: the face backend's name. sampling, shots,
    shot_score, threshold, branches: as in `Detector.predicting`. every_second, scene, stream: as in
    `Detector.detect`. overlay: the folder into which each video is written with boxes, scores and
    heat maps drawn in.
    """

    model: str | Path | None = None
    device: str = "cpu"
    faces: BackendName = "auto"
    sampling: Sampling | None = None
    shots: int | None = None
    shot_score: Literal["last", "mean"] | None = None
    threshold: float | None = None
    branches: bool = True
    every_second: bool = False
    scene: bool = True
    overlay: str | Path | None = None
    stream: int | None = None

    def open(self) -> Detector:
        """Raises InputError and SetupError as `Detector` and the face backend do."""
        detector = Detector(
            self.model,
            device=self.device,
            backend=open_backend(self.faces),
        )
        return detector.predicting(
            sampling=self.sampling,
            shots=self.shots,
            shot_score=self.shot_score,
            threshold=self.threshold,
            branches=self.branches,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultFiles:
    """Where `detect_many` writes its results while it works.

    json_file: all results (`detection/results.schema.json`). csv_file: a line per file. Each is a
    file or the address of an object (s3://BUCKET/KEY), always whole; an older one is written over.
    resume: keep the results that json_file has of an earlier run with the same model and settings,
    and of files that have not changed; failures are tried again. reports: the folder of the HTML
    reports; a result without its report there is not kept.
    """

    json_file: Path | str | None = None
    csv_file: Path | str | None = None
    resume: bool = False
    reports: str | Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """What `detect_many` gives for one file.

    path: as it was given, or found below a folder. place: its position among all files, from 0.
    result: the entry of "results" in the JSON file. report: None where the file could not be used,
    or was done by an earlier run. error: why the file could not be used.
    """

    path: str
    place: int
    result: dict[str, Any]
    report: Report | None = None
    error: InputError | None = None


class DetectOne:
    """Path -> Report, or the error why there is none; can be sent to other processes.

    Raises OutputError where an overlay cannot be written: the next one could not be either.
    """

    def __init__(self, settings: DetectorSettings, detector: Detector | None = None) -> None:
        """detector: one that is open already, instead of that of the settings."""
        self.settings = settings
        self._detector = detector

    @property
    def detector(self) -> Detector:
        """The detector, opened at first use."""
        if self._detector is None:
            self._detector = self.settings.open()
        return self._detector

    def __call__(
        self, path: str, *, name: str | None = None, progress: Progress | None = None
    ) -> Report | InputError:
        detector = self.detector  # opened here, where its errors are raised
        try:
            if not is_object(path):
                return self._of_file(detector, path, name, progress)
            with fetched(path) as file:
                return self._of_file(detector, str(file), name or path, progress)
        except OutputError:
            raise
        except InputError as error:
            return error

    def _of_file(
        self, detector: Detector, path: str, name: str | None, progress: Progress | None
    ) -> Report:
        settings = self.settings
        report = detector.detect(
            path,
            name=name,
            progress=progress,
            every_second=settings.every_second,
            scene=settings.scene,
            stream=settings.stream,
        )
        if settings.overlay is not None:
            if progress is not None:
                progress("overlay", 0, None)
            detector.write_overlay(report, settings.overlay, video=path)
        return report


def detect_many(
    paths: Iterable[str | os.PathLike[str]],
    *,
    settings: DetectorSettings | None = None,
    files: ResultFiles | None = None,
    workers: int = 0,
    cluster: str | None = None,
    progress: BatchProgress | None = None,
    unusable: Mapping[str, InputError] | None = None,
) -> Iterator[Detection]:
    """Detect in many files, one after another or in parallel.

    Nothing happens before the first result is asked for. Closing the iterator, or an exception
    such as Ctrl-C, stops the processes and keeps what is finished.

    Args:
        paths: video files, and folders, which stand for every video below them; each counts once.
            Addresses s3://BUCKET/KEY too: each object is fetched where it is judged, and dropped.
        settings: the model and how to use it; None takes the weights that come with the package.
        files: where results are written, and whether an earlier run is resumed.
        workers: processes on this machine, each with a model; 0 works in this one.
        cluster: the address of a Ray cluster that does the work instead ("auto", "host:port",
            "local"); its nodes read the model and the files under the same paths.
        progress: called with (path, stage, done, total).
        unusable: names without a file, such as addresses, and why: each a Detection with an error.

    Returns:
        An iterator of detections, in order of completion: first those that an earlier run
        finished, then names and folders that cannot be used, then the others.

    Raises:
        InputError: the model cannot be loaded, the cluster cannot be reached, or a results file
            cannot be read or written. A video that cannot be used is a Detection with an error.
        OutputError: an overlay cannot be written.
        SetupError: the model, the face models or Ray is not installed.
    """
    settings, files = settings or DetectorSettings(), files or ResultFiles()
    failures = dict(unusable or {})
    videos = files_of(paths, unusable=lambda folder, error: failures.setdefault(str(folder), error))
    names = list(dict.fromkeys([*map(str, videos), *failures]))
    place = {name: number for number, name in enumerate(names)}
    with Collected(names, json_file=files.json_file, csv_file=files.csv_file) as collected:
        # Before anything is written: where the model is at fault, an older file stays as it was.
        work = DetectOne(settings)
        earlier = _earlier(names, work.detector, settings, files)
        collected.keep(earlier)
        for path, result in earlier.items():
            yield Detection(path=path, place=place[path], result=result)
        left = [path for path in names if path not in earlier and path not in failures]
        outcomes = _outcomes(work, left, workers=workers, cluster=cluster, progress=progress)
        done = len(earlier)
        for path, outcome in itertools.chain(failures.items(), outcomes):
            detection = _detection(path, place[path], outcome)
            collected.add(path, detection.result)
            done += 1
            if progress is not None:
                progress("", "files", done, len(names))
            yield detection


def _earlier(
    names: Sequence[str], detector: Detector, settings: DetectorSettings, files: ResultFiles
) -> dict[str, dict[str, Any]]:
    """The results of an earlier run that are kept."""
    if files.json_file is None or not files.resume:
        return {}
    finished = finished_before(
        files.json_file,
        names,
        model=detector.fingerprint(),
        settings=detector.settings(every_second=settings.every_second, stream=settings.stream),
    )

    def is_whole(path: str, sha256: str) -> bool:
        beside = ((files.reports, page_name), (settings.overlay, film_name))
        return all(
            folder is None or Path(folder, name(path, sha256)).is_file() for folder, name in beside
        )

    kept = {path: entry for path, entry in finished.items() if is_whole(path, entry["sha256"])}
    log.info(
        "%s: %d of %d files were done earlier and are kept", files.json_file, len(kept), len(names)
    )
    return kept


def _outcomes(
    work: DetectOne,
    paths: Sequence[str],
    *,
    workers: int,
    cluster: str | None,
    progress: BatchProgress | None,
) -> Iterator[tuple[str, Report | InputError]]:
    """Each path with its report, or the error why there is none, in order of completion."""
    if not paths:
        return
    if workers == 0 and cluster is None:
        for path in paths:
            stages = None if progress is None else partial(progress, path)
            yield path, work(path, progress=stages)
        return
    elsewhere = DetectOne(work.settings)  # each process opens a detector of its own
    for path, outcome in map_videos(elsewhere, paths, workers=workers, cluster=cluster):
        if outcome is None:
            outcome = InputError(
                f"{path}: the process that decoded it died; the file is damaged, convert it"
            )
        yield path, outcome


def _detection(path: str, place: int, outcome: Report | InputError) -> Detection:
    if isinstance(outcome, InputError):
        result = failure_of(path, str(outcome))
        return Detection(path=path, place=place, result=result, error=outcome)
    return Detection(path=path, place=place, result=outcome.to_dict(), report=outcome)


def files_of(
    inputs: Iterable[str | os.PathLike[str]],
    *,
    unusable: Callable[[Path | str, InputError], object],
) -> list[Path | str]:
    """The files given, and every video below the folders given, each once; objects as strings.

    unusable: called with each folder given that has no videos, and each folder at any depth that
    cannot be read, and the reason.
    """
    files: list[Path | str] = []
    for given in inputs:
        if is_object(given):
            try:
                files += videos_at(os.fspath(given))
            except InputError as error:
                unusable(os.fspath(given), error)
            continue
        path = Path(given)
        # os.path.isdir: a path that cannot be examined is no folder, and no reason to stop.
        if not os.path.isdir(path):
            files.append(path)
            continue
        try:
            files += [path / name for name in find_videos(path, unusable=unusable)]
        except InputError as error:
            unusable(path, error)
    return list(dict.fromkeys(files))
