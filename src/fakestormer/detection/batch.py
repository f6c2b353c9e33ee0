"""Detection of many files over several processes or a cluster, where any one may kill its process.

paths -> DetectOne in each process -> (path, Report, or the sentence why there is none)
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fakestormer.detection.detector import Detector
from fakestormer.errors import InputError, OutputError
from fakestormer.faces.open import BackendName, open_backend
from fakestormer.parallel.pool import map_videos
from fakestormer.recipe.prediction import Sampling
from fakestormer.runtimes.exported import RuntimeName
from fakestormer.types import Report
from fakestormer.video.folder import Unusable, find_videos


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorSettings:
    """How a process opens its detector and what it does with it.

    See `Detector.load` and `Detector.predicting`. every_second, scene, stream: as in
    `Detector.detect`.
    overlay: the folder into which each video is written, with what was found drawn into it.
    """

    model: Path
    device: str = "cpu"
    faces: BackendName = "auto"
    sampling: Sampling | None = None
    shots: int | None = None
    shot_score: Literal["last", "mean"] | None = None
    runtime: RuntimeName = "torch"
    every_second: bool = False
    scene: bool = True
    overlay: Path | None = None
    stream: int | None = None

    def open(self) -> Detector:
        """Raises InputError and SetupError as loading a model and opening a backend do."""
        detector = Detector.load(
            self.model,
            device=self.device,
            backend=open_backend(self.faces),
            runtime=self.runtime,
        )
        return detector.predicting(
            sampling=self.sampling, shots=self.shots, shot_score=self.shot_score
        )


class DetectOne:
    """Path -> Report, or the sentence why there is none; a picklable work for other processes.

    Raises OutputError where an overlay cannot be written: no other one could be.
    """

    def __init__(self, settings: DetectorSettings) -> None:
        self.settings = settings
        self._detector: Detector | None = None

    def __call__(self, path: str) -> Report | str:
        if self._detector is None:
            self._detector = self.settings.open()
        try:
            report = self._detector.detect(
                path,
                every_second=self.settings.every_second,
                scene=self.settings.scene,
                stream=self.settings.stream,
            )
            if self.settings.overlay is not None:
                self._detector.write_overlay(report, self.settings.overlay)
        except OutputError:
            raise
        except InputError as error:
            return str(error)
        return report


def detect_many(
    settings: DetectorSettings, paths: Sequence[str], *, workers: int, cluster: str | None = None
) -> Iterator[tuple[str, Report | str]]:
    """(path, Report or sentence) in order of completion.

    workers: processes on this machine. cluster: address of a Ray cluster that does the work
    instead; its nodes read the model and the files under the same paths. Raises what `Detector`'s
    opening raises, and as `map_videos` and `map_on_cluster` do.
    """
    work = DetectOne(settings)
    if cluster is None:
        found = map_videos(work, paths, workers=workers)
    else:
        from fakestormer.parallel.cluster import map_on_cluster

        found = map_on_cluster(work, paths, address=cluster)
    for path, result in found:
        if result is None:
            result = f"{path}: the process that decoded it died; the file is damaged, convert it"
        yield path, result


def files_of(inputs: Sequence[Path], *, unusable: Unusable | None = None) -> list[Path]:
    """The files given, and every video below the folders given, each once.

    unusable: told of each folder given that has no videos, and of each one at any depth that cannot
    be read; without it the first one raises InputError.
    """
    files: list[Path] = []
    for path in inputs:
        # os.path's: what cannot be looked at is no folder, and no reason to stop.
        if not os.path.isdir(path):
            files.append(path)
            continue
        try:
            files += [path / name for name in find_videos(path, unusable=unusable)]
        except InputError as error:
            if unusable is None:
                raise
            unusable(path, error)
    return list(dict.fromkeys(files))
