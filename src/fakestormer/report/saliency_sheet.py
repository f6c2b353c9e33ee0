"""Sheets of saliency maps, after the paper's Figure 9: one picture per clip, a column per frame.

face       the crops that the network saw, with their frame scores
D~ of h    the report's heat map
h          Grad-CAM
g          attention, drawn from the even share 1 / N upwards: even attention shows nothing
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePath

import cv2
import numpy as np

from fakestormer.detection.printable import face_name, page_name, shown
from fakestormer.drawing import overlays
from fakestormer.drawing.contact_sheet import RGB, SheetBlock, SheetRow, contact_sheet
from fakestormer.drawing.timeline import time_code
from fakestormer.faces.resample import cut_margin
from fakestormer.files import write_atomically, writing
from fakestormer.model.network import VideoNetwork
from fakestormer.report.saliency import Saliency, saliency
from fakestormer.types import FaceReport, Report

#: Width that a sheet's pictures share (pixels), and the smallest and largest side of one.
_WIDTH, _TILE = 1300, (144, 224)
_LEGEND_LINE, _RAMP_LEFT, _RAMP = 26, 330, (150, 14)
_PAPER, _INK, _UNDER_RAMP = (250, 250, 250), (32, 32, 32), (138, 133, 128)


def write_saliency_sheets(
    report: Report, network: VideoNetwork, folder: Path, *, clips: int = 1
) -> Iterator[tuple[FaceReport, int, Path]]:
    """Write a PNG for each of the `clips` highest-scoring clips of the face that decides.

    Yields (the face; the clip, counted from 0; the file) once it is written, highest score first.
    Each file is written whole or not at all, over an older one. Raises InputError when the network
    has no saliency maps, or when `folder` cannot be written to.
    """
    (face,) = (face for face in report.faces if face.number == report.face_number)
    assert face.crops is not None, "the face that decides keeps its pictures"
    ranked = np.argsort(-face.prediction.clip_probabilities, kind="stable")
    for c in ranked[:clips].tolist():
        sheet = saliency_sheet(report, face, c, saliency(network, face.crops[c : c + 1]))
        done, encoded = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
        assert done, "OpenCV always has PNG"
        stem = PurePath(page_name(report.path, report.sha256)).stem
        target = folder / f"{stem}-face-{face.number}-clip-{c + 1}.png"
        with writing(target):
            write_atomically(target, encoded.tobytes())
        yield face, c, target


def saliency_sheet(report: Report, face: FaceReport, clip: int, maps: Saliency) -> RGB:
    """The sheet of one clip of a face, uint8 (H, W, 3). maps: of that clip alone (b = 1)."""
    prediction = face.prediction
    assert prediction.derivative is not None, "a network with saliency maps has h"
    assert prediction.frame_probabilities is not None, "and g"
    assert face.crops is not None, "a sheet shows pictures"
    count = face.crops.shape[1]
    tile = min(max(_WIDTH // count, _TILE[0]), _TILE[1])
    frames_t3hw = cut_margin(face.crops[clip], margin=0, size=tile)
    gradcam_tgg, largest = maps.temporal[0], float(maps.temporal[0].max())
    times_even_tgg = maps.spatial[0] * maps.spatial[0, 0].size
    # Attention that is hardly uneven stays faint: the scale reaches at least twice the even share.
    most = max(2.0, float(times_even_tgg.max()))
    change_scale = overlays.display_scale(prediction.derivative)
    rows = [
        SheetRow(
            label="face",
            remark="as the network saw it",
            pictures_tchw=frames_t3hw,
        ),
        SheetRow(label="frame alone (g)", numbers_t=prediction.frame_probabilities[clip].tolist()),
        SheetRow(
            label="change (D~ of h)",
            remark="predicted change of\nblending traces since\nthe frame before",
            pictures_tchw=overlays.heat_map(
                prediction.derivative[clip], frames_t3hw, scale=change_scale
            ),
        ),
        SheetRow(
            label="Grad-CAM of h",
            remark="where features lie\nthat raised the change"
            + ("" if largest > 0.0 else "\n\nnone: h sees no change\nabove the average"),
            pictures_tchw=overlays.saliency_map(
                gradcam_tgg, frames_t3hw, scale=largest if largest > 0.0 else 1.0
            ),
        ),
        SheetRow(
            label="attention of g",
            remark="where the frame's score\nlooked in the last block",
            pictures_tchw=overlays.saliency_map(
                times_even_tgg - 1.0, frames_t3hw, scale=most - 1.0
            ),
        ),
    ]
    indices, seconds = prediction.indices[clip].tolist(), prediction.pts_seconds[clip].tolist()
    names = [f"frame {i}, {time_code(s)}" for i, s in zip(indices, seconds, strict=True)]
    score = float(prediction.clip_probabilities[clip])
    title = (
        f"{_short(PurePath(report.path).name)}: {face_name(face.number)}, clip {clip + 1} of "
        f"{len(face.crops)}, score {score:.3f}"
    )
    sheet = contact_sheet(
        title,
        names,
        [SheetBlock(heading=_model(report), rows=rows)],
        tile=tile,
    )
    scales = [
        ("D~: the average of a blended clip or less", f"{change_scale:.1f} std above it"),
        ("Grad-CAM: 0", f"{largest:.2g}, the largest in this clip"),
        ("attention: an even share or less", f"{most:.1f} times an even share"),
    ]
    if largest == 0.0:
        del scales[1]
    legend = _legend(sheet.shape[1], scales)
    return np.concatenate([sheet, legend])


def _legend(width: int, scales: list[tuple[str, str]]) -> RGB:
    """What the two ends of each row's colours stand for, one line per scale."""
    table = overlays.colour_table()[np.linspace(0, 255, _RAMP[0]).round().astype(np.uint8)].astype(
        np.float64
    )
    alpha = table[:, 3:] / 255.0
    ramp = ((1 - alpha) * np.array(_UNDER_RAMP) + alpha * table[:, :3]).round().astype(np.uint8)
    legend = np.full((_LEGEND_LINE * len(scales) + 10, width, 3), _PAPER, dtype=np.uint8)
    for number, (low, high) in enumerate(scales):
        top = 6 + number * _LEGEND_LINE
        legend[top : top + _RAMP[1], _RAMP_LEFT : _RAMP_LEFT + _RAMP[0]] = ramp
        for left, text in ((12, low), (_RAMP_LEFT + _RAMP[0] + 12, high)):
            cv2.putText(
                legend, text, (left, top + 12), cv2.FONT_HERSHEY_SIMPLEX, 0.45, _INK, 1, cv2.LINE_AA
            )
    return legend


def _model(report: Report) -> str:
    weights = str(report.model.get("weights_sha256", "unknown"))
    return f"model {_short(str(report.model.get('name', 'unknown')))}, weights {weights[:12]}"


def _short(name: str, most: int = 40) -> str:
    """A name as it may be shown, its middle left out where it is long."""
    plain = shown(name)
    half = (most - 3) // 2
    return plain if len(plain) <= most else f"{plain[:half]}...{plain[-half:]}"
