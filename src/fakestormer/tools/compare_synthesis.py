"""Figures 7 and 8 of the paper as one sheet: the same clip blended with and without each idea.

    Figure 7, top       CSP alone                      CSP and interpolated landmarks (eq. 1)
    Figure 7, bottom    neither: each frame its own    CSP alone
    Figure 8            frames in their order          the copy's frames shuffled (STG, 6.8)

All panels share one draw, but for what they leave out, and show what blending does alone: no flip,
no crop, no jitter, no cutout.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from fakestormer.drawing.contact_sheet import SheetBlock, SheetRow, contact_sheet, heat
from fakestormer.recipe.synthesis import SynthesisConfig
from fakestormer.synthesis.landmarks import interpolate_landmarks
from fakestormer.synthesis.params import ClipParams, Colour, Interpolation, sample
from fakestormer.synthesis.render import render_clip
from fakestormer.synthesis.targets import boundary
from fakestormer.types import Clip
from fakestormer.types.arrays import Doubles, Floats, Pixels

_COLUMNS, _TILE = 5, 132
_DOT = (70, 255, 120)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Variant:
    """The clip blended one way: landmarks (T, K, 2), crop px; frames uint8 (T, 3, S, S); B."""

    landmarks_tk2: Floats
    fake_tchw: Pixels
    boundary_thw: Floats
    order: tuple[int, ...] | None


def variants(
    clip: Clip, params: ClipParams, synthesis: SynthesisConfig, *, size: int
) -> dict[str, Variant]:
    """{"csp": ..., "interpolated": ..., "neither": ..., "shuffled": ...}; the same each time."""
    rng = np.random.default_rng(params.frames[0].elastic_seed)
    bare = params.model_copy(
        update={
            "frames": params.frames[:1], "interpolation": None, "order": None, "flip": False,
            "margin": 0, "shift": (0, 0), "jitter": Colour(), "jpeg_quality": None, "cutout": None,
            "sharpen": None, "resolution": None, "moved_real": False, "noise": None,
            "h264_crf": None,
        }
    )  # fmt: skip
    apart = sample(
        rng, synthesis.model_copy(update={"mode": "frame-wise"}), clip_length=len(clip)
    ).frames
    order = sample(
        rng, synthesis.model_copy(update={"mode": "shuffled"}), clip_length=len(clip)
    ).order
    eq_1 = Interpolation(tau=synthesis.tau, d_bar=synthesis.d_bar)
    ways = {
        "csp": bare,
        "interpolated": bare.model_copy(update={"interpolation": eq_1}),
        "neither": bare.model_copy(update={"frames": (*params.frames[:1], *apart[1:])}),
        "shuffled": bare.model_copy(update={"interpolation": eq_1, "order": order}),
    }
    return {name: _variant(clip, way, size=size) for name, way in ways.items()}


def comparison_sheet(
    clip: Clip, params: ClipParams, synthesis: SynthesisConfig, *, size: int, title: str
) -> NDArray[np.uint8]:
    """The six panels, uint8 (H, W, 3), on the consecutive frames whose landmarks jump most."""
    made = variants(clip, params, synthesis, size=size)
    d_t = jumps(clip.landmarks, clip.frames.shape[-1])
    at = _where_most(d_t, min(_COLUMNS, len(clip)))
    moved = int((d_t > synthesis.tau).sum())
    subtitle = (
        f"eq. 1 moves landmarks where d > {synthesis.tau:g} px of a 256 px crop: in {moved} of "
        f"{len(clip) - 1} frame pairs of this clip"
    )
    csp = ("CSP alone", "one draw for all frames, landmarks as found")
    both = ("CSP and interpolation", "one draw for all frames, landmarks after eq. 1")
    neither = ("neither", "each frame has a draw of its own")
    shuffled = ("CSP and interpolation, shuffled", "the copy's frames change places (STG)")
    pairs = (
        ("Figure 7", ((csp, "csp"), (both, "interpolated"))),
        ("Figure 7", ((neither, "neither"), (csp, "csp"))),
        ("Figure 8", ((both, "interpolated"), (shuffled, "shuffled"))),
    )
    rows = [
        np.concatenate(
            [
                _panel(f"{figure}: {name}", about, made[way], clip, at, size=size)
                for (name, about), way in pair
            ],
            axis=1,
        )
        for figure, pair in pairs
    ]
    head = np.full((56, rows[0].shape[1], 3), 250, np.uint8)
    for line, text in enumerate((title, subtitle)):
        place = (12, 22 + 24 * line)
        cv2.putText(head, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (32, 32, 32), 1, cv2.LINE_AA)
    return np.concatenate([head, *rows])


def jumps(landmarks_tk2: Floats, side: int) -> Doubles:
    """d of eq. 1 against the frame before, in pixels of a 256 px crop: (T,), 0 at t = 0."""
    moves = np.diff(landmarks_tk2.astype(np.float64) * 256 / side, axis=0)
    d_t = np.sqrt(np.square(moves).sum(axis=(1, 2))) / landmarks_tk2.shape[1]
    return np.concatenate([[0.0], d_t])


def _variant(clip: Clip, params: ClipParams, *, size: int) -> Variant:
    blended = render_clip(clip, params, size=size)
    landmarks_tk2 = clip.landmarks
    if params.interpolation is not None:
        scale = clip.frames.shape[-1] / 256
        tau, d_bar = params.interpolation.tau * scale, params.interpolation.d_bar * scale
        moved = interpolate_landmarks(torch.from_numpy(landmarks_tk2), tau, d_bar)
        landmarks_tk2 = moved.numpy()
    return Variant(
        landmarks_tk2=landmarks_tk2,
        fake_tchw=blended.fake[0].numpy(),
        boundary_thw=boundary(blended.mask[0]).numpy(),
        order=params.order,
    )


def _where_most(d_t: Doubles, count: int) -> slice:
    """The `count` consecutive frames with the largest sum of d, but for the first one's."""
    windows = np.lib.stride_tricks.sliding_window_view(d_t, count)
    sums = windows[:, 1:].sum(axis=1)
    start = int(sums.argmax())
    return slice(start, start + count)


def _panel(
    title: str, about: str, variant: Variant, clip: Clip, at: slice, *, size: int
) -> NDArray[np.uint8]:
    side = clip.frames.shape[-1]
    boundary_thw = variant.boundary_thw
    remark = ""
    if variant.order is not None:
        remark = "copy of frame " + ", ".join(str(int(clip.indices[i])) for i in variant.order[at])
        remark = textwrap.fill(remark, 24)
    rows = [
        SheetRow(
            label="landmarks",
            pictures_tchw=_with_dots(clip.frames[at], variant.landmarks_tk2[at]),
        ),
        SheetRow(
            label="d to the frame before", numbers_t=jumps(variant.landmarks_tk2, side)[at].tolist()
        ),
        SheetRow(label="pseudo-fake", remark=remark, pictures_tchw=variant.fake_tchw[at]),
        SheetRow(
            label="its mean change, of 255",
            numbers_t=_changes(variant.fake_tchw.astype(np.float32))[at].tolist(),
        ),
        SheetRow(label="boundary B", pictures_tchw=heat(boundary_thw[at], size)),
        SheetRow(label="its mean change, of 1", numbers_t=_changes(boundary_thw)[at].tolist()),
    ]
    names = [f"frame {int(index)}" for index in clip.indices[at]]
    return contact_sheet(title, names, [SheetBlock(heading=about, rows=rows)], tile=_TILE)


def _changes(values: Floats) -> Floats:
    """Mean absolute change against the frame before: (T, ...) -> (T,), 0 at t = 0."""
    change_t = np.abs(np.diff(values, axis=0)).reshape(len(values) - 1, -1).mean(axis=1)
    return np.concatenate([np.zeros(1, np.float32), change_t])


def _with_dots(frames_tchw: Pixels, landmarks_tk2: Floats) -> Pixels:
    """A dot at each landmark, on pictures twice as large as they are shown."""
    side, drawn = frames_tchw.shape[-1], []
    for frame_chw, points_k2 in zip(frames_tchw, landmarks_tk2, strict=True):
        large = cv2.resize(
            np.ascontiguousarray(frame_chw.transpose(1, 2, 0)),
            (2 * _TILE, 2 * _TILE),
            interpolation=cv2.INTER_AREA if side > 2 * _TILE else cv2.INTER_LINEAR,
        )
        for x, y in ((points_k2 + 0.5) * (2 * _TILE / side) - 0.5).tolist():
            # 4 bits behind the point: the dots show moves of less than a pixel.
            cv2.circle(large, (round(16 * x), round(16 * y)), 32, _DOT, -1, cv2.LINE_AA, shift=4)
        drawn.append(large.transpose(2, 0, 1))
    return np.asarray(drawn, np.uint8)
