"""`Detector.load(...)`, `.detect(path) -> Report`: what users import.

detector = Detector.load("runs/mine/model.safetensors")
report = detector.detect("interview.mp4")
print(report.verdict, report.probability)

`Detector.load()` takes the model that came with the package, where one did.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fakestormer.detection import quality, warnings
from fakestormer.detection.every_second import score_every_second
from fakestormer.detection.film import scene_of, write_overlay
from fakestormer.detection.prediction import predict_track
from fakestormer.detection.provenance import content_credentials
from fakestormer.detection.scored_faces import PICTURE_BYTES, ScoredFaces, kept_warnings
from fakestormer.detection.verdict import Seen, judge, standing
from fakestormer.errors import InputError, NoFaceError
from fakestormer.faces.clips import read_clips
from fakestormer.faces.crop import crop_squares
from fakestormer.faces.open import open_backend
from fakestormer.faces.protocol import FaceBackend
from fakestormer.faces.tracking import find_tracks
from fakestormer.files import sha256_of
from fakestormer.model.model_file import calibration_of, load_model, recipe_of, weights_file
from fakestormer.model.network import VideoNetwork
from fakestormer.recipe.prediction import REFERENCE_SIDE, PredictionConfig, Sampling
from fakestormer.recipe.recipe import Recipe
from fakestormer.runtimes.exported import ExportedNetwork, RuntimeName, open_runtime
from fakestormer.types import Clip, FaceReport, FaceTrack, Report
from fakestormer.video.cuts import CutDetector
from fakestormer.video.decode import FrameReader, probe, stream_frames
from fakestormer.video.packets import PacketLog

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
        model: str | Path | None = None,
        *,
        device: str = "cpu",
        backend: FaceBackend | None = None,
        prediction: PredictionConfig | None = None,
        runtime: RuntimeName = "torch",
    ) -> Detector:
        """Load a trained model: a `.safetensors` file with its `.json` beside it, or their folder.

        None takes the one that came with the package. Weights in half precision become single.
        `prediction` replaces the recipe's own way of sampling and pooling; a calibration in the
        model's JSON holds for both. `backend` replaces the default face backend (with a warning in
        the report when the model was trained with another). Raises InputError (what is wrong, which
        file, what to do) when the two files are missing or do not fit, or when there is no such
        device; SetupError when None is named and none came with the package.

        `runtime`: what computes the network, on the CPU; see
        `runtimes.exported.open_runtime`, also for what it raises.
        """
        if runtime != "torch" and device != "cpu":
            raise InputError(
                f"runtime '{runtime}' works on the CPU, not on device '{device}'; leave one out"
            )
        path = weights_file(model)
        network, document = load_model(path)
        recipe = recipe_of(document, path)
        way = prediction or recipe.prediction
        calibration = calibration_of(document, path)
        if calibration is not None:
            way = way.model_copy(update={"calibration": calibration})
        try:
            # "meta" is a device, too, and computes nothing.
            torch.zeros(1, device=device).add(1).item()
            network = network.to(device)
        except (AssertionError, RuntimeError) as error:  # torch's, for a device it does not have
            reason = str(error).splitlines()[0]
            raise InputError(
                f"device '{device}' cannot be used here ({reason}); choose another, e.g. cpu"
            ) from error
        return cls(
            open_runtime(runtime, network, path, document["weights_sha256"]),
            recipe,
            name=path.parent.name if path.name == "model.safetensors" else path.stem,
            weights_sha256=document["weights_sha256"],
            trained_with=document.get("face_backend"),
            licence=document.get("licence"),
            backend=backend,
            prediction=way,
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
        other = isinstance(self.network, ExportedNetwork)
        runtime = {"runtime": self.network.runtime} if other else {}
        return {
            "name": self.name,
            "weights_sha256": self.weights_sha256,
            "recipe": self.recipe.name,
            **backend,
            "fakestormer": version("fakestormer"),
            "torch": torch.__version__,
            **runtime,
            "python": platform.python_version(),
            **licence,
        }

    def detect(
        self,
        path: str | Path,
        *,
        progress: Progress | None = None,
        every_second: bool = False,
        picture_bytes: int = PICTURE_BYTES,
        scene: bool = True,
        stream: int | None = None,
    ) -> Report:
        """Follow and score every face of one video.

        every_second: also score a clip in each second of every face, for its time line; verdict
        and probability stay those of the sampled clips. picture_bytes: what the faces' crops may
        take together; beyond it those that count least have None, with the same numbers. scene:
        also decode the whole frame that the HTML report shows. stream: the video stream to judge,
        by its number among all streams of the file, from 0; None takes the one that players show.

        Raises InputError when the file cannot be read as a video, NoFaceError when no face can
        be followed in it for at least two frames; both say so in one sentence.
        """
        file = Path(path)
        info = probe(file, stream)
        tracking = self.recipe.tracking
        log = PacketLog()
        watched = quality.Watched(
            CutDetector(correlation=tracking.cut_correlation, colours=tracking.cut_colours)
        )

        def counted(frames: Iterable[Indexed]) -> Iterator[Indexed]:
            for frame in frames:
                watched.see(frame[1], frame[2])
                if progress is not None:
                    progress("faces", len(watched.times), info.frame_count)
                yield frame

        # The whole video, whatever the sampling: the box's path is smoothed along whole tracks,
        # and a face may appear after the first frames.
        frames = stream_frames(file, log=log, stream_number=stream)
        tracks = find_tracks(counted(frames), self.backend, tracking)
        if not tracks:
            raise NoFaceError(warnings.no_face(file, len(watched.times)))
        face_bits = {
            track.number: quality.bits_of_face(track, log, watched.activity, info)
            for track in tracks
        }
        scored = ScoredFaces(picture_bytes)
        enough = self.prediction.largest_share * max(len(track) for track in tracks)
        # One reader for all faces, which goes on where it stands: of a film with a cut every second
        # each face would otherwise be sought anew.
        with FrameReader(file, stream) as reader:
            for done, track in enumerate(tracks, start=1):
                bits = face_bits[track.number]
                compressed = bits is not None and bits < quality.TOO_FEW_BITS
                face = self._score(file, track, reader, compressed=compressed)
                scored.add(face, standing(face, lasting=len(track) >= enough))
                if progress is not None:
                    progress("scores", done, len(tracks))
        faces, decisive = scored.faces, scored.decisive
        if every_second:
            told = None if progress is None else partial(progress, "seconds")
            found = score_every_second(
                file,
                tracks,
                self.network,
                self.prediction,
                self.recipe.crop,
                stream_number=stream,
                progress=told,
            )
            faces = tuple(replace(face, every_second=found[face.number]) for face in faces)
            decisive = next(face for face in faces if face.number == decisive.number)
        probability = decisive.prediction.probability
        tags = quality.container_tags(file, stream)
        all_bits = quality.bits_per_pixel(
            log.bits_per_frame(0, len(watched.times) - 1), log.pixels, info.codec
        )
        return Report(
            path=str(path),
            sha256=sha256_of(file),
            probability=probability,
            verdict=decisive.verdict,
            face_number=decisive.number,
            faces=faces,
            warnings=(
                *warnings.picture_notes(info),
                *warnings.truncation_warnings(log, watched.times[-1]),
                *warnings.backend_warnings(self.trained_with, self.backend.name),
                *warnings.calibration_warnings(self.prediction),
                *warnings.unjudged_warnings(decisive, faces),
                *kept_warnings(faces),
                *watched.warnings(),
                *quality.compression_warnings(face_bits[decisive.number], info.codec),
                *quality.editing_warnings(tags),
            ),
            video=info.as_json()
            | {"frames_decoded": len(watched.times)}
            | {"bits_per_pixel": _rounded(all_bits)}
            | {"face_bits_per_pixel": _rounded(face_bits[decisive.number])}
            | watched.facts()
            | {"written_by": quality.written_by(tags), "tags": tags}
            | {"content_credentials": content_credentials(file, info.container)},
            model=dict(self.fingerprint()),
            settings=self.settings(every_second=every_second, stream=stream),
            scene=scene_of(file, decisive, stream) if scene else None,
        )

    def settings(self, *, every_second: bool = False, stream: int | None = None) -> dict[str, Any]:
        """How clips are sampled and pooled, as reports have it.

        fake_from, clear_below: the thresholds of the verdicts. With a calibration also the score
        that `fake_from` is, raw_threshold: single clips are not calibrated and can be compared with
        that alone; and where error rates were measured, the sentence that says them.
        """
        settings = self.prediction.model_dump(mode="json")
        settings["fake_from"] = self.prediction.fake_from
        settings["clear_below"] = self.prediction.clear_below
        settings["clip_length"] = self.network.config.frames
        calibration = self.prediction.calibration
        if calibration is not None:
            settings["raw_threshold"] = calibration.score_at(self.prediction.fake_from)
            if calibration.rates is not None:
                settings["error_rates"] = calibration.rates.sentence()
        if every_second:
            settings["every_second"] = True
        if stream is not None:
            settings["stream"] = stream
        return settings

    def _score(
        self, file: Path, track: FaceTrack, reader: FrameReader, *, compressed: bool
    ) -> FaceReport:
        squares_t3 = crop_squares(track, self.recipe.crop)

        def read(positions_ct: np.ndarray) -> list[Clip]:
            return read_clips(
                file, track, positions_ct, self.recipe.crop, squares=squares_t3, reader=reader
            )

        prediction, crops = predict_track(self.network, len(track), read, self.prediction)
        boxes = self._shown_boxes(squares_t3, track, prediction.indices)
        width = float((track.boxes[:, 2] - track.boxes[:, 0]).median())
        seen = Seen(width=width, frames=len(track), compressed=compressed)
        clip = self.network.config.frames
        judged = judge(prediction, self.prediction, seen, clip)
        return FaceReport(
            number=track.number,
            verdict=judged.verdict,
            prediction=prediction,
            crops=crops,
            boxes=boxes,
            warnings=(
                *warnings.face_warnings(frames=len(track), width=width, clip=clip),
                *quality.blur_warnings(crops, boxes),
            ),
            interval=judged.interval,
            reasons=judged.reasons,
            first_frame=int(track.indices[0]),
            squares=squares_t3,
        )

    def write_overlay(self, report: Report, folder: Path) -> Path:
        """Write the video of a report with boxes, numbers, scores and heat maps drawn into it.

        The file lies beside the report's page, and its path is returned. Scores every frame of
        every face anew, so it takes longer than detection. Raises InputError when the video has
        changed, OutputError when the file cannot be written.
        """
        return write_overlay(report, folder, self.network, self.prediction, self.recipe.crop)

    def _shown_boxes(self, squares_t3: Tensor, track: FaceTrack, indices_ct: Tensor) -> Tensor:
        """What the network saw of each frame, as boxes (C, T, 4) in source pixels."""
        cx, cy, side = squares_t3[indices_ct - track.indices[0]].unbind(-1)
        half = side / 2 * (1 - 2 * self.prediction.margin / REFERENCE_SIDE)
        return torch.stack([cx - half, cy - half, cx + half, cy + half], dim=-1).float()


def _rounded(bits: float | None) -> float | None:
    return None if bits is None else round(bits, 4)
