"""`Detector.load(...)`, `.detect(path) -> Report`: what users import.

detector = Detector.load("runs/mine/model.safetensors")
report = detector.detect("interview.mp4")
print(report.verdict, report.probability)
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor

from fakestormer.errors import InputError, NoFaceError
from fakestormer.files import sha256_of
from fakestormer.model.network import VideoNetwork
from fakestormer.prediction import REFERENCE_SIDE, PredictionConfig, predict_track, verdict
from fakestormer.recipes import Recipe
from fakestormer.training.checkpoint import load_model
from fakestormer.types import Clip, FaceReport, FaceTrack, Report
from fakestormer.video.clips import Sampling, read_clips
from fakestormer.video.crop import crop_squares
from fakestormer.video.decode import VideoInfo, probe, stream_frames
from fakestormer.video.faces import FaceBackend, open_backend
from fakestormer.video.tracking import find_tracks

#: Below this face width (source pixels) blending traces are mostly gone; a warning says so.
SMALL_FACE_PX = 64

#: (stage, frames done so far, frames in all as far as the container says)
Progress = Callable[[str, int, int | None], None]
#: (index, presentation time in seconds, RGB uint8 (H, W, 3)) of a decoded frame
Indexed = tuple[int, float, NDArray[np.uint8]]


class Detector:
    """A trained network with everything that belongs to it: faces, crop, sampling, verdict."""

    def __init__(
        self,
        network: VideoNetwork,
        recipe: Recipe,
        *,
        name: str,
        weights_sha256: str,
        trained_with: str | None = None,
        licence: str | None = None,
        backend: FaceBackend | None = None,
        prediction: PredictionConfig | None = None,
    ) -> None:
        self.network = network.eval()
        self.recipe = recipe
        self.prediction = prediction or recipe.prediction
        self.name = name
        self.weights_sha256 = weights_sha256
        self.trained_with = trained_with
        self.licence = licence
        self._backend = backend

    @classmethod
    def load(
        cls,
        model: str | Path,
        *,
        device: str = "cpu",
        backend: FaceBackend | None = None,
        prediction: PredictionConfig | None = None,
    ) -> Detector:
        """Load a trained model: a `.safetensors` file with its `.json` beside it, or their folder.

        `prediction` replaces the recipe's own way of sampling and pooling; `backend` the face
        backend (else the default one, with a warning in the report when the model was trained
        with another). Raises InputError (what is wrong, which file, what to do) when the two files
        are missing or do not fit, or when there is no such device.
        """
        path = Path(model)
        if path.is_dir():
            path = path / "model.safetensors"
        network, document = load_model(path)
        try:
            recipe = Recipe.model_validate(document["recipe"])
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise InputError(
                f"{path.with_suffix('.json')}: its recipe does not fit this version of the program "
                f"({field}: {first['msg']}); use the version that trained the model"
            ) from error
        try:
            network = network.to(device)
        except (AssertionError, RuntimeError) as error:  # torch's, for a device it does not have
            reason = str(error).splitlines()[0]
            raise InputError(
                f"device '{device}' cannot be used here ({reason}); choose another, e.g. cpu"
            ) from error
        return cls(
            network,
            recipe,
            name=path.parent.name if path.name == "model.safetensors" else path.stem,
            weights_sha256=document["weights_sha256"],
            trained_with=document.get("face_backend"),
            licence=document.get("licence"),
            backend=backend,
            prediction=prediction,
        )

    def predicting(
        self,
        *,
        sampling: Sampling | None = None,
        shots: int | None = None,
        shot_score: Literal["last", "mean"] | None = None,
    ) -> Detector:
        """The same detector with another way to choose frames, or several shots; None keeps.

        Raises InputError for several shots of a model without h, which says what to hide.
        """
        changes = {"sampling": sampling, "shots": shots, "shot_score": shot_score}
        prediction = self.prediction.model_copy(
            update={name: value for name, value in changes.items() if value is not None}
        )
        if prediction.shots > 1 and "h" not in self.network.config.branches:
            raise InputError(
                f"{self.name}: this model has no h, which says what to hide between shots; use 1"
            )
        return Detector(
            self.network,
            self.recipe,
            name=self.name,
            weights_sha256=self.weights_sha256,
            trained_with=self.trained_with,
            licence=self.licence,
            backend=self._backend,
            prediction=prediction,
        )

    @property
    def backend(self) -> FaceBackend:
        """The face backend; opened at first use, because it needs files of its own."""
        if self._backend is None:
            self._backend = open_backend()
        return self._backend

    def fingerprint(self, *, faces: bool = True) -> dict[str, str]:
        """What has to be the same for the same answer: weights, recipe, versions, face models.

        With it the licence of weights that are not ours, so that it goes where their scores go.
        faces: leave the face backend out, and unopened, where others found the faces.
        """
        backend = {"face_backend": self.backend.name} if faces else {}
        licence = {} if self.licence is None else {"licence": self.licence}
        return {
            "name": self.name,
            "weights_sha256": self.weights_sha256,
            "recipe": self.recipe.name,
            **backend,
            "fakestormer": version("fakestormer"),
            "torch": torch.__version__,
            "python": platform.python_version(),
            **licence,
        }

    def detect(self, path: str | Path, *, progress: Progress | None = None) -> Report:
        """Follow and score every face of one video.

        Raises InputError when the file cannot be read as a video, NoFaceError when no face can
        be followed in it for at least two frames; both say so in one sentence.
        """
        file = Path(path)
        info = probe(file)
        seen, last_seconds = 0, 0.0

        def counted(frames: Iterable[Indexed]) -> Iterator[Indexed]:
            nonlocal seen, last_seconds
            for frame in frames:
                seen, last_seconds = seen + 1, frame[1]
                if progress is not None:
                    progress("faces", seen, info.frame_count)
                yield frame

        # The whole video, whatever the sampling: the box's path is smoothed along whole tracks,
        # and a face may appear after the first frames.
        tracks = find_tracks(counted(stream_frames(file)), self.backend, self.recipe.tracking)
        if not tracks:
            raise NoFaceError(_no_face(file, seen))
        faces = []
        for done, track in enumerate(tracks, start=1):
            faces.append(self._score(file, track))
            if progress is not None:
                progress("scores", done, len(tracks))
        decisive = self._decisive(faces, tracks)
        probability = decisive.prediction.probability
        return Report(
            path=str(path),
            sha256=sha256_of(file),
            probability=probability,
            verdict=verdict(probability, self.prediction),
            face_number=decisive.number,
            faces=tuple(faces),
            warnings=self._video_warnings(info, seen, last_seconds),
            video=info.as_json() | {"frames_decoded": seen},
            model=dict(self.fingerprint()),
            settings=self.prediction.model_dump(mode="json")
            | {"clip_length": self.network.config.frames},
        )

    def _score(self, file: Path, track: FaceTrack) -> FaceReport:
        squares_t3 = crop_squares(track, self.recipe.crop)

        def read(positions_ct: np.ndarray) -> list[Clip]:
            return read_clips(file, track, positions_ct, self.recipe.crop, squares=squares_t3)

        prediction, crops = predict_track(self.network, len(track), read, self.prediction)
        return FaceReport(
            number=track.number,
            verdict=verdict(prediction.probability, self.prediction),
            prediction=prediction,
            crops=crops,
            boxes=self._shown_boxes(squares_t3, track, prediction.indices),
            warnings=self._face_warnings(track),
        )

    def _shown_boxes(self, squares_t3: Tensor, track: FaceTrack, indices_ct: Tensor) -> Tensor:
        """What the network saw of each frame, as boxes (C, T, 4) in source pixels."""
        cx, cy, side = squares_t3[indices_ct - track.indices[0]].unbind(-1)
        half = side / 2 * (1 - 2 * self.prediction.margin / REFERENCE_SIDE)
        return torch.stack([cx - half, cy - half, cx + half, cy + half], dim=-1).float()

    def _decisive(self, faces: list[FaceReport], tracks: list[FaceTrack]) -> FaceReport:
        """The face the video's verdict rests on: the highest score among those seen for long.

        One manipulated face makes a manipulated video, but a face that flits by is scored from
        few frames and does not decide over faces that were seen throughout.
        """
        enough = self.prediction.largest_share * max(len(track) for track in tracks)
        lasting = [face for face, track in zip(faces, tracks, strict=True) if len(track) >= enough]
        return max(lasting, key=lambda face: face.prediction.probability)

    def _video_warnings(self, info: VideoInfo, seen: int, last_seconds: float) -> tuple[str, ...]:
        warnings = []
        announced = (
            f"{info.frame_count} frames" if info.frame_count else f"{info.duration_seconds:.1f} s"
        )
        decoded = f"{seen} frames" if info.frame_count else f"{last_seconds:.1f} s"
        missing = (
            seen < 0.98 * info.frame_count
            if info.frame_count
            else last_seconds < 0.95 * info.duration_seconds - 0.5
        )
        if missing:
            warnings.append(
                f"The container announces {announced} but {decoded} could be decoded: the file "
                "is truncated or damaged, and only the readable part was judged."
            )
        if self.trained_with is not None and self.trained_with != self.backend.name:
            warnings.append(
                f"The model was trained on faces found by {self.trained_with}, here they were "
                f"found by {self.backend.name}: they are cropped a little differently, and the "
                "score may be off."
            )
        return tuple(warnings)

    def _face_warnings(self, track: FaceTrack) -> tuple[str, ...]:
        warnings = []
        width = float((track.boxes[:, 2] - track.boxes[:, 0]).median())
        if width < SMALL_FACE_PX:
            warnings.append(
                f"The face is only {width:.0f} pixels wide; traces of blending need about "
                f"{SMALL_FACE_PX} or more, so this score says little."
            )
        length = self.network.config.frames
        if len(track) < length:
            warnings.append(
                f"The face was followed for {len(track)} frames, fewer than the {length} of one "
                "clip; the last frame was repeated, so this score says little."
            )
        return tuple(warnings)


def _no_face(file: Path, frames: int) -> str:
    if frames == 1:
        return (
            f"{file}: has a single frame, and this method judges change over time; "
            "give it a video of at least two frames."
        )
    return (
        f"{file}: no face could be followed in its {frames} frames; "
        "give it a video in which a face is seen from the front for a while."
    )
