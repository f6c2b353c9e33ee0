"""The contact sheet of a self-blended video: what was blended, and what the heads should say.

Pictures are uint8 (T, 3, H, W), maps are floating (T, H, W) or (T, G, G) in [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from einops import rearrange, repeat

from fakestormer.types.arrays import Floats, Pixels

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_INK, _FAINT, _PAPER = (32, 32, 32), (110, 110, 110), (250, 250, 250)
_LABEL_WIDTH, _LINE, _GAP = 196, 24, 4

RGB = Pixels


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SheetRow:
    """One line of the sheet: T pictures or T numbers, with a name and a remark under it."""

    label: str
    remark: str = ""
    pictures_tchw: Pixels | None = None
    numbers_t: Sequence[float] | None = None

    def __post_init__(self) -> None:
        if (self.pictures_tchw is None) == (self.numbers_t is None):
            raise ValueError(f"SheetRow {self.label!r}: give pictures or numbers, one of the two")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SheetBlock:
    """Rows under one heading."""

    heading: str
    rows: Sequence[SheetRow]


def grey(map_thw: Floats) -> Pixels:
    """A map in [0, 1] as grey pictures; uint8 (T, 3, H, W)."""
    return repeat(_levels(map_thw), "t h w -> t 3 h w")


def heat(map_thw: Floats, size: int) -> Pixels:
    """A map in [0, 1] in false colours (dark = 0, yellow = 1), enlarged without smoothing to
    `size`; uint8 (T, 3, size, size)."""
    coloured = []
    for level_hw in _levels(map_thw):
        large = cv2.resize(level_hw, (size, size), interpolation=cv2.INTER_NEAREST)
        coloured.append(
            cv2.cvtColor(cv2.applyColorMap(large, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
        )
    return np.ascontiguousarray(rearrange(np.stack(coloured), "t h w c -> t c h w"))


def overlay(pictures_tchw: Pixels, map_thw: Floats) -> Pixels:
    """Pictures, darkened a little, with the map glowing in red over them; uint8 (T, 3, H, W)."""
    share = 0.85 * rearrange(np.clip(map_thw, 0, 1), "t h w -> t 1 h w")
    red = np.array([255, 45, 45], np.float32)[:, None, None]
    return np.asarray(np.rint((1 - share) * 0.8 * pictures_tchw + share * red), np.uint8)


def _levels(map_thw: Floats) -> Pixels:
    return np.asarray(np.rint(np.clip(map_thw, 0, 1) * 255), np.uint8)


def side_by_side(panels: Sequence[tuple[str, Pixels]]) -> Pixels:
    """Equally large pictures next to each other under their names; uint8 (T, 3, H', W'), even."""
    length, width = panels[0][1].shape[0], panels[0][1].shape[-1]
    strip = np.full((_LINE, len(panels) * width, 3), _PAPER, dtype=np.uint8)
    for column, (name, _) in enumerate(panels):
        _write(strip, name, column * width + 6, _LINE - 8, 0.45, _INK)
    head = repeat(strip, "h w c -> t c h w", t=length)
    body = np.concatenate([pictures for _, pictures in panels], axis=-1)
    film = np.concatenate((head, body), axis=-2)
    return film[..., : film.shape[-2] // 2 * 2, : film.shape[-1] // 2 * 2]


def contact_sheet(
    title: str, column_names: Sequence[str], blocks: Sequence[SheetBlock], *, tile: int = 112
) -> RGB:
    """The sheet as one RGB picture, uint8 (H, W, 3): a column per frame, a line per row.

    Every row has as many pictures or numbers as there are `column_names`.
    """
    width = _LABEL_WIDTH + len(column_names) * (tile + _GAP) + _GAP
    lines = [_text_line(width, [(12, title)], 0.55, _INK)]
    lines.append(_text_line(width, list(_columns(column_names, tile)), 0.4, _FAINT))
    for block in blocks:
        heading = _text_line(width, [(12, block.heading)], 0.5, _INK)
        heading[0] = _FAINT
        lines.append(heading)
        lines += [_row(row, len(column_names), width, tile) for row in block.rows]
    lines.append(np.full((_GAP, width, 3), _PAPER, dtype=np.uint8))
    return np.concatenate(lines)


def _row(row: SheetRow, count: int, width: int, tile: int) -> RGB:
    if row.numbers_t is not None:
        assert len(row.numbers_t) == count, "one number per column"
        line = _text_line(
            width, list(_columns([f"{x:.3f}" for x in row.numbers_t], tile)), 0.5, _INK
        )
        _write(line, row.label, 12, _LINE - 8, 0.45, _INK)
        return line
    assert row.pictures_tchw is not None
    assert len(row.pictures_tchw) == count, "one picture per column"
    line = np.full((tile + _GAP, width, 3), _PAPER, dtype=np.uint8)
    _write(line, row.label, 12, 22, 0.45, _INK)
    for number, part in enumerate(row.remark.split("\n")):
        _write(line, part, 12, 42 + 16 * number, 0.37, _FAINT)
    for column, picture_chw in enumerate(row.pictures_tchw):
        picture = np.ascontiguousarray(rearrange(picture_chw, "c h w -> h w c"))
        smaller = picture.shape[0] > tile
        kind = cv2.INTER_AREA if smaller else cv2.INTER_NEAREST
        left = _LABEL_WIDTH + column * (tile + _GAP)
        line[:tile, left : left + tile] = cv2.resize(picture, (tile, tile), interpolation=kind)
    return line


def _columns(texts: Sequence[str], tile: int) -> list[tuple[int, str]]:
    return [(_LABEL_WIDTH + i * (tile + _GAP) + 4, text) for i, text in enumerate(texts)]


def _text_line(
    width: int, texts: Sequence[tuple[int, str]], scale: float, ink: tuple[int, int, int]
) -> RGB:
    line = np.full((_LINE + 2, width, 3), _PAPER, dtype=np.uint8)
    for left, text in texts:
        _write(line, text, left, _LINE - 7, scale, ink)
    return line


def _write(
    picture: RGB, text: str, left: int, base: int, scale: float, ink: tuple[int, int, int]
) -> None:
    cv2.putText(picture, text, (left, base), _FONT, scale, ink, 1, cv2.LINE_AA)
