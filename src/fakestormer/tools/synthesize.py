"""One video -> its self-blended twin, written out to be looked at (paper 3.1, Figure 3).

`params.json` holds everything that was random: giving it back replays the same pixels.
"""

from __future__ import annotations

import tempfile
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fakestormer.data.pseudo_fakes import frame_rate
from fakestormer.detection.printable import face_name
from fakestormer.detection.warnings import another_stream
from fakestormer.drawing.contact_sheet import (
    SheetBlock,
    SheetRow,
    contact_sheet,
    grey,
    heat,
    overlay,
    side_by_side,
)
from fakestormer.errors import InputError, NoFaceError, first_complaint
from fakestormer.faces.clips import read_clips
from fakestormer.faces.open import BackendName, open_backend
from fakestormer.faces.protocol import FaceBackend
from fakestormer.faces.upright import find_upright_tracks
from fakestormer.files import sha256_of, writing
from fakestormer.recipe.faces import CropConfig, StoredTracking
from fakestormer.recipe.named import small
from fakestormer.recipe.recipe import Recipe
from fakestormer.recipe.synthesis import SynthesisConfig
from fakestormer.synthesis.pairs import pair_targets
from fakestormer.synthesis.params import ClipParams, sample
from fakestormer.synthesis.render import render_clip
from fakestormer.synthesis.targets import boundary, derivative
from fakestormer.tools.compare_synthesis import comparison_sheet
from fakestormer.types import Clip, FaceTrack
from fakestormer.types.arrays import Pixels
from fakestormer.video.decode import FrameReader, probe, stream_frames, stream_frames_at
from fakestormer.video.encode import write_film

#: At most so many frames are blended, from the face's first one.
FRAMES = 32
_COLUMNS = 8


class SynthesisRecord(BaseModel):
    """Everything that decides about the pixels: `params.json`.

    video: name, for people. track, first_index, frame_count: which frames of which face (frame
    numbers of the video). stream: None in older files, the one that players show. size, patch_size:
    pixels, network input.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["fakestormer-synthesis-1"] = "fakestormer-synthesis-1"
    video: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    face_backend: str
    stream: int | None = None
    track: int = Field(ge=0)
    first_index: int = Field(ge=0)
    frame_count: int = Field(ge=1)
    size: int = Field(ge=1)
    patch_size: int = Field(ge=1)
    tracking: StoredTracking
    crop: CropConfig
    synthesis: SynthesisConfig
    params: ClipParams

    @property
    def face(self) -> str:
        """The name of the face, as in reports."""
        return face_name(self.track + 1)


def synthesize(
    video: str | Path,
    out: str | Path,
    *,
    seed: int = 0,
    params: str | Path | None = None,
    recipe: Recipe | None = None,
    faces: FaceBackend | BackendName = "auto",
    compare: bool = False,
    stream: int | None = None,
) -> SynthesisRecord:
    """Blend the largest face of a video with itself, as training does, and write it to look at.

    The largest face is that of the largest area summed over its first FRAMES frames, so that a
    face seen for long wins over a passing one. Each file is written whole or not at all:

    - `side_by_side.mp4`: real, pseudo-fake, mask, boundary over the pseudo-fake, network input size
    - `real.mp4`, `fake.mp4`: the twins at the size of the stored crop (an odd one plus a pixel),
      encoded alike, before cutout
    - `contact_sheet.png`: frames, mask, boundary, its change and the soft labels, both without and
      with cutout (which is always drawn here, whatever its probability in training)
    - `params.json`: what decides about the pixels

    Args:
        video: a video of a real face.
        out: the folder of these files.
        seed: draws the parameters.
        params: a `params.json` to replay, to the same pixels; only `faces` counts besides it.
        recipe: how faces are cropped and blended; None takes `load_recipe("small")`.
        faces: the face backend, or its name.
        compare: also write `comparison.png`: figures 7 and 8 of the paper with this face, without
            and with CSP, interpolated landmarks, shuffled frames.
        stream: the number of its video stream; None takes the one that players show.

    Returns:
        Everything that decides about the pixels, as in `params.json`.

    Raises:
        InputError: the video or `params` cannot be used, or `out` is a file.
        NoFaceError: no face can be followed in the video.
        SetupError: the face models are not installed.
    """
    video, out = Path(video), Path(out)
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; give a folder for the pictures and films")
    sha256 = sha256_of(video)
    replayed = None if params is None else _read_record(Path(params), video, sha256)
    backend = open_backend(faces) if isinstance(faces, str) else faces
    recipe = recipe or small()
    tracking, crop = recipe.tracking, recipe.crop
    if replayed is not None:
        tracking, crop, stream = replayed.tracking, replayed.crop, replayed.stream
    info = probe(video, stream)
    turned, tracks = find_upright_tracks(
        lambda degrees: stream_frames(video, stream_number=info.stream, turned=degrees),
        partial(stream_frames_at, video, stream_number=info.stream),
        backend,
        tracking,
    )
    if not tracks:
        raise NoFaceError(
            f"{video}: no face could be followed for {tracking.min_track_frames} frames; "
            "choose a video that shows one larger or longer"
            + (f", or {another}" if (another := another_stream(info)) else "")
        )
    if replayed is not None:
        record = replayed
        track, start = _find_again(record, tracks, backend.name, video)
    else:
        track, start = _largest(tracks), 0
        count = min(FRAMES, len(track))
        # One video is there, so nobody else's face can be blended in.
        own_face = recipe.synthesis.without_donors()
        drawn_from = own_face.model_copy(update={"cutout_probability": 1.0})
        record = SynthesisRecord(
            video=video.name,
            sha256=sha256,
            face_backend=backend.name,
            stream=info.stream,
            track=track.number,
            first_index=int(track.indices[0]),
            frame_count=count,
            size=recipe.model.image_size,
            patch_size=recipe.model.patch_size,
            tracking=tracking,
            crop=crop,
            synthesis=drawn_from,
            params=sample(np.random.default_rng(seed), drawn_from, clip_length=count),
        )
    positions = np.arange(start, start + record.frame_count, dtype=np.int64)[None]
    with FrameReader(video, info.stream, turned) as reader:
        clip = read_clips(video, track, positions, crop, reader=reader)[0]
    try:
        films, sheets = _films(clip, record), {"contact_sheet.png": _sheet(clip, record)}
        if compare:
            sheets["comparison.png"] = _comparison(clip, record)
    except ValueError as error:
        if params is None:
            raise InputError(f"{video}: cannot be blended ({error}); try another seed") from error
        raise InputError(
            f"{params}: its parameters cannot be rendered ({error}); give a params.json that "
            "synthesize wrote, unchanged"
        ) from error
    _write_all(films, sheets, record, out, rate=frame_rate(track.pts_seconds))
    return record


def _read_record(path: Path, video: Path, sha256: str) -> SynthesisRecord:
    try:
        record = SynthesisRecord.model_validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except ValidationError as error:
        field, reason = first_complaint(error)
        raise InputError(
            f"{path}: not a params.json written by synthesize ({field or 'the whole file'}: "
            f"{reason}); give one that is, unchanged"
        ) from error
    if record.sha256 != sha256:
        raise InputError(
            f"{path}: these parameters belong to another video, {record.video} (SHA-256 "
            f"{record.sha256[:12]}...), not to {video} ({sha256[:12]}...); give that video or "
            "leave the parameters out"
        )
    return record


def _largest(tracks: list[FaceTrack]) -> FaceTrack:
    def seen_area(track: FaceTrack) -> float:
        sides = track.boxes[:FRAMES, 2:] - track.boxes[:FRAMES, :2]
        return float(sides.prod(axis=1).sum())

    return max(tracks, key=seen_area)


def _find_again(
    record: SynthesisRecord, tracks: list[FaceTrack], backend: str, video: Path
) -> tuple[FaceTrack, int]:
    """The recorded track, and the position in it where the clip starts."""
    if record.face_backend != backend:
        raise InputError(
            f"{video}: these parameters were drawn with the face backend {record.face_backend}, "
            f"not {backend}; choose that one"
        )
    for track in tracks:
        start = record.first_index - int(track.indices[0])
        if track.number == record.track and 0 <= start <= len(track) - record.frame_count:
            return track, start
    last = record.first_index + record.frame_count - 1
    raise InputError(
        f"{video}: {record.face} is not found in frames {record.first_index} to {last} any "
        "more; draw new parameters with this version"
    )


def _films(clip: Clip, record: SynthesisRecord) -> dict[str, Pixels]:
    """{file name: uint8 (T, 3, H, W)}."""
    blended = render_clip(clip, record.params, size=record.size)
    # Nothing cut off, so that `detect` finds about the crop here that it would find in the video.
    whole = record.model_copy(
        update={"params": record.params.model_copy(update={"margin": 0, "shift": (0, 0)})}
    )
    twins = render_clip(clip, whole.params, size=record.crop.stored_size)
    real, fake, mask = blended.real[0].numpy(), blended.fake[0].numpy(), blended.mask[0]
    glow = overlay(fake, boundary(mask).numpy())
    film = side_by_side(
        (
            ("real", real),
            ("pseudo-fake", fake),
            ("mask M", grey(mask.numpy())),
            ("boundary B = 4M(1-M)", glow),
        )
    )
    return {
        "side_by_side.mp4": film,
        "real.mp4": twins.real[0].numpy(),
        "fake.mp4": twins.fake[0].numpy(),
    }


def _write_all(
    films: dict[str, Pixels],
    sheets: dict[str, np.ndarray],
    record: SynthesisRecord,
    out: Path,
    *,
    rate: Fraction,
) -> None:
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=out) as partial:
        folder = Path(partial)
        for name, pictures_tchw in films.items():
            write_film(folder / name, pictures_tchw, rate)
        for name, sheet in sheets.items():
            written = cv2.imwrite(str(folder / name), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
            assert written, "the folder was just made"
        (folder / "params.json").write_text(record.model_dump_json(indent=2) + "\n")
        for path in folder.iterdir():
            path.replace(out / path.name)


def _comparison(clip: Clip, record: SynthesisRecord) -> np.ndarray:
    if len(clip) < 2:
        raise InputError(f"{record.video}: a single frame has nothing to compare; leave --compare")
    title = f"{record.video}, {record.face}: {record.params.frames[0].hull} hull"
    return comparison_sheet(clip, record.params, record.synthesis, size=record.size, title=title)


def _sheet(clip: Clip, record: SynthesisRecord) -> np.ndarray:
    """Up to 8 frames spread over the clip; targets are those of the whole clip."""
    blended = render_clip(clip, record.params, size=record.size)
    chosen = np.unique(np.rint(np.linspace(0, len(clip) - 1, min(_COLUMNS, len(clip)))))
    at = torch.from_numpy(chosen.astype(np.int64))
    blocks = []
    for heading, params in (
        ("without cutout", record.params.model_copy(update={"cutout": None})),
        ("with cutout", record.params),
    ):
        clips, targets = pair_targets(
            blended, [params], record.synthesis, patch_size=record.patch_size
        )
        b_tgg = targets.boundary[1]
        change_tgg = derivative(b_tgg[None])[0]
        largest = float(change_tgg.max())
        rows = [
            SheetRow(label="real", pictures_tchw=clips[0][at].numpy()),
            SheetRow(label="pseudo-fake", pictures_tchw=clips[1][at].numpy()),
        ]
        if params.cutout is None:
            rows += [
                SheetRow(label="mask M", pictures_tchw=grey(blended.mask[0][at].numpy())),
                SheetRow(
                    label="boundary B",
                    remark="4 M (1 - M)",
                    pictures_tchw=heat(boundary(blended.mask[0][at]).numpy(), record.size),
                ),
            ]
        scaled = change_tgg[at] / max(largest, 1e-6)
        rows += [
            SheetRow(
                label="patch vulnerability",
                remark="largest B per patch,\n0 (dark) to 1 (bright)",
                pictures_tchw=heat(b_tgg[at].numpy(), record.size),
            ),
            SheetRow(
                label="its change over time",
                remark=f"against the frame before,\n0 to {largest:.3f}",
                pictures_tchw=heat(scaled.numpy(), record.size),
            ),
            SheetRow(label="soft labels p(t)", numbers_t=targets.soft_labels[1][at].tolist()),
        ]
        blocks.append(SheetBlock(heading=heading, rows=rows))
    first = record.params.frames[0]
    title = (
        f"{record.video}, {record.face}: {first.hull} hull, {first.changed_side} changed, "
        f"blend ratio {first.ratio:g}"
    )
    names = [f"frame {int(clip.indices[i])}" for i in at]
    return contact_sheet(title, names, blocks)
