"""A trained network with all that detection needs: `Detector().detect("interview.mp4")`."""

from __future__ import annotations

import copy
import json
import platform
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fakestormer.detection import quality, warnings
from fakestormer.detection.every_second import score_every_second
from fakestormer.detection.film import scene_of, write_overlay
from fakestormer.detection.following import follow
from fakestormer.detection.moment import input_landmarks, with_moments
from fakestormer.detection.prediction import clip_positions, input_boxes, predict_track
from fakestormer.detection.scored_faces import PICTURE_BYTES, ScoredFaces, kept_warnings
from fakestormer.detection.source import Source, Video, opened
from fakestormer.detection.verdict import Seen, judge, standing
from fakestormer.errors import InputError
from fakestormer.faces.clips import read_clips
from fakestormer.faces.crop import crop_squares
from fakestormer.faces.open import open_backend
from fakestormer.faces.protocol import FaceBackend
from fakestormer.model.document import calibration_of, read_document, recipe_of, weights_file
from fakestormer.recipe.prediction import PredictionConfig, Sampling
from fakestormer.runtimes.open import open_engine
from fakestormer.types import Clip, FaceReport, FaceTrack, Report
from fakestormer.video.decode import FrameReader

#: (stage, frames done so far, frames in all as far as the container says)
Progress = Callable[[str, int, int | None], None]


class Detector:
    """A trained network with everything that belongs to it: faces, crop, sampling, verdict.

    detector = Detector()            # the weights that come with the package
    detector = Detector("RUN")       # a model that `fakestormer train` wrote
    report = detector.detect("interview.mp4")
    print(report.verdict, report.probability)
    """

    def __init__(
        self,
        model: str | Path | None = None,
        *,
        device: str = "cpu",
        backend: FaceBackend | None = None,
        prediction: PredictionConfig | None = None,
    ) -> None:
        """Load a trained model.

        Args:
            model: a `.safetensors` file with its `.json` beside it, or the folder that holds both;
                None takes the package's weights. Half precision becomes single precision.
            device: "cpu", "cuda", ...: where the network is computed. On the CPU that is ONNX
                Runtime where the model has a .onnx file beside it, and torch otherwise.
            backend: the face backend; None opens the default one at first use. A report has a
                warning where the model was trained with another backend.
            prediction: how clips are sampled and pooled; None takes the recipe's way. The
                calibration in the model's JSON holds for both.

        Raises:
            InputError: a file is missing or damaged, the two files do not belong together, or the
                device cannot be used.
            SetupError: the package has no weights and `model` is None, or torch is needed and not
                installed.
        """
        path = weights_file(model)
        document = read_document(path)
        recipe = recipe_of(document, path)
        way = prediction or recipe.prediction
        calibration = calibration_of(document, path)
        if calibration is not None:
            way = way.model_copy(update={"calibration": calibration})
        self.device = device
        self.engine = open_engine(path, document, recipe.model, device)
        self.recipe = recipe
        self.prediction = way
        self.name = path.parent.name if path.name == "model.safetensors" else path.stem
        self.weights_sha256: str = document["weights_sha256"]
        self.trained_with: str | None = document.get("face_backend")
        self.trained_on: dict[str, str] = document.get("trained_on") or {}
        self.licence: str | None = document.get("licence")
        self._backend = backend
        self._branches = True

    def __repr__(self) -> str:
        recipe, sampling = self.recipe.name, self.prediction.sampling
        return f"Detector({self.name!r}, recipe {recipe!r}, sampling {sampling!r})"

    def predicting(
        self,
        *,
        sampling: Sampling | None = None,
        shots: int | None = None,
        shot_score: Literal["last", "mean"] | None = None,
        threshold: float | None = None,
        branches: bool = True,
    ) -> Detector:
        """The same detector with another way to choose frames, several shots, or a threshold.

        Args:
            sampling: "windows", "consecutive" or "spread"; None keeps the detector's own.
            shots: how often a clip is scored; after each shot the patches where h sees most change
                are hidden. None keeps the detector's own number.
            shot_score: "last" or "mean": which of several shots counts.
            threshold: the probability from which a face is "likely fake"; None keeps the
                detector's own, which its measured error rates belong to.
            branches: False leaves out what h and g say of clips and frames, where f shares nothing
                with them: the network that ships then takes half of the time.

        Returns:
            A new detector, which shares the engine with this one.

        Raises:
            InputError: several shots of a model without h, or a threshold outside 0 to 1.
        """
        if threshold is not None and not 0 <= threshold <= 1:
            raise InputError(f"threshold {threshold:g}: is no probability; give one from 0 to 1")
        changes = {"sampling": sampling, "shots": shots, "shot_score": shot_score}
        prediction = self.prediction.model_copy(
            update={name: value for name, value in changes.items() if value is not None}
        )
        if threshold is not None:
            prediction = prediction.with_threshold(threshold)
        if prediction.shots > 1 and "h" not in self.engine.config.branches:
            raise InputError(
                f"{self.name}: this model has no h, which says what to hide between shots; use 1"
            )
        detector = copy.copy(self)
        detector.prediction = prediction
        detector._branches = branches
        return detector

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
            "runtime": self.engine.program,
            "python": platform.python_version(),
            **licence,
        }

    def detect(
        self,
        video: Video,
        *,
        frames_per_second: float | None = None,
        name: str | None = None,
        progress: Progress | None = None,
        every_second: bool = False,
        picture_bytes: int = PICTURE_BYTES,
        scene: bool = True,
        stream: int | None = None,
    ) -> Report:
        """Follow and score every face of one video.

        Args:
            video: the path of a video file, its bytes, a file opened in binary mode (read from
                where it stands), or frames as an array, uint8 (T, H, W, 3), RGB.
            frames_per_second: of an array; files have times of their own.
            name: what the report and messages call the video; else the path, or the file object's
                name, or "video".
            progress: called with (stage, done, total): stages "faces" (frames, total may be None),
                "scores" (faces), "seconds" (clips).
            every_second: also score a clip in each second of every face, for its time line. The
                verdict and the probability stay those of the sampled clips.
            picture_bytes: the most that the crops of all faces take together. Beyond it the faces
                that count least have no crops; their numbers stay the same.
            scene: also find the most suspicious moment of the face that decides, what f goes by
                there, and the frame and the two seconds that the HTML report shows.
            stream: the video stream, by its number among all streams of the file, from 0; None
                takes the one that players show.

        Returns:
            The report: the verdict, its probability, every face, and what to bear in mind.

        Raises:
            InputError: the video cannot be read.
            NoFaceError: no face can be followed in it for at least two frames.
        """
        with opened(video, name=name, frames_per_second=frames_per_second, stream=stream) as given:
            followed = follow(
                given,
                self.backend,
                self.recipe.tracking,
                progress,
                clips=lambda length: clip_positions(self.engine, length, self.prediction),
            )
            source, info, log = followed.source, followed.info, followed.log
            watched, tracks = followed.watched, followed.tracks
            bits = {
                track.face_number: quality.bits_of_face(track, log, watched.activity, info)
                for track in tracks
            }
            scored = self._score_all(source, tracks, picture_bytes, bits, progress)
            faces, decisive = scored.faces, scored.decisive
            if every_second:
                way, crop = self.prediction, self.recipe.crop
                faces = score_every_second(
                    source.reader(), tracks, faces, self.engine, way, crop, progress=progress
                )
            if scene:
                faces = with_moments(faces, decisive.number, self.engine)
            decisive = next(face for face in faces if face.number == decisive.number)
            tags = source.tags()
            return Report(
                path=source.name,
                sha256=source.sha256(),
                probability=decisive.prediction.probability,
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
                    *quality.compression_warnings(bits[decisive.number], info.codec),
                    *quality.editing_warnings(tags),
                ),
                video=info.as_json()
                | {"frames_decoded": len(watched.times)}
                | quality.bit_facts(log, info, len(watched.times), bits[decisive.number])
                | watched.facts()
                | {"written_by": quality.written_by(tags), "tags": tags}
                | {"content_credentials": source.credentials(info.container)},
                model=dict(self.fingerprint()),
                settings=self.settings(every_second=every_second, stream=stream),
                scene=scene_of(source.reader(), decisive) if scene else None,
            )

    def _score_all(
        self,
        source: Source,
        tracks: list[FaceTrack],
        picture_bytes: int,
        bits: dict[int, float | None],
        progress: Progress | None,
    ) -> ScoredFaces:
        scored = ScoredFaces(picture_bytes)
        enough = self.prediction.largest_share * max(len(track) for track in tracks)
        # One reader for all faces, which goes on where it stands: of a film with a cut every second
        # each face would otherwise be sought anew.
        with source.reader() as reader:
            for done, track in enumerate(tracks, start=1):
                face_bits = bits[track.face_number]
                compressed = face_bits is not None and face_bits < quality.TOO_FEW_BITS
                face = self._score(source.name, track, reader, compressed=compressed)
                scored.add(face, standing(face, lasting=len(track) >= enough))
                if progress is not None:
                    progress("scores", done, len(tracks))
        return scored

    def settings(self, *, every_second: bool = False, stream: int | None = None) -> dict[str, Any]:
        """How clips are sampled and pooled, as reports have it.

        fake_from, clear_below: the thresholds of the verdicts, for all probabilities. Where error
        rates were measured, the sentence that says them. Numbers have six digits, as probabilities.
        """
        settings = self.prediction.model_dump(mode="json")
        settings["fake_from"] = self.prediction.fake_from
        settings["clear_below"] = self.prediction.clear_below
        settings["clip_length"] = self.engine.config.frames
        calibration = self.prediction.calibration
        if calibration is not None and calibration.rates is not None:
            settings["error_rates"] = calibration.rates.sentence()
        if every_second:
            settings["every_second"] = True
        if stream is not None:
            settings["stream"] = stream
        rounded: dict[str, Any] = json.loads(
            json.dumps(settings), parse_float=lambda digits: round(float(digits), 6)
        )
        return rounded

    def _score(
        self, name: str, track: FaceTrack, reader: FrameReader, *, compressed: bool
    ) -> FaceReport:
        squares_t3 = crop_squares(track, self.recipe.crop)

        clips: list[Clip] = []

        def read(positions_ct: np.ndarray) -> list[Clip]:
            clips[:] = read_clips(
                name, track, positions_ct, self.recipe.crop, squares=squares_t3, reader=reader
            )
            return clips

        prediction, crops = predict_track(
            self.engine, len(track), read, self.prediction, branches=self._branches
        )
        boxes = input_boxes(squares_t3[prediction.indices - track.indices[0]], self.prediction)
        width = float(np.median(track.boxes[:, 2] - track.boxes[:, 0]))
        seen = Seen(width=width, frames=len(track), compressed=compressed)
        clip = self.engine.config.frames
        judged = judge(prediction, self.prediction, seen, clip)
        return FaceReport(
            number=track.face_number,
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
            landmarks=input_landmarks(clips, self.prediction),
        )

    def write_overlay(
        self, report: Report, folder: str | Path, *, video: str | Path | None = None
    ) -> Path:
        """Write the video of a report with boxes, numbers, scores and heat maps drawn into it.

        Every frame of every face is scored anew, so this takes longer than detection.

        Args:
            report: of a video file.
            folder: where the video goes; made if absent.
            video: where that file is; None: still at `report.path`.

        Returns:
            The path of the video, named like the report's page.

        Raises:
            InputError: the video cannot be read any more, or has changed.
            OutputError: the overlay cannot be written.
        """
        return write_overlay(
            report,
            Path(folder),
            self.engine,
            self.prediction,
            self.recipe.crop,
            video=video or report.path,
        )
