"""Does our copy of the released network give the released numbers? Put to any file of them.

A file is an `.npz` of arrays: a state (`sd/...`), one clip (`x`), several (`b2/x`), and what the
released network made of them. A prefix says how it ran:
`fixtemp` with the learned temporal token, `fixembed` with the volume in true order, `fixboth` with
both, `f64` in double precision, `b2` on several clips; `f64_fixboth` and the like combine. Whatever
a file holds is compared, and what it lacks is said.
"""

from __future__ import annotations

import math
import re
import tokenize
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fakestormer.errors import InputError
from fakestormer.model.release import ReleaseNetwork
from fakestormer.model.release_state import HEAD_WIDTH, fitting, release_config
from fakestormer.model.release_trace import trace
from fakestormer.recipe.model import ModelConfig
from fakestormer.recipe.training import LossConfig
from fakestormer.training.losses import fakestormer_loss
from fakestormer.types.network import Outputs, Targets

#: Largest error allowed, as a share of the array's largest value or of 1, whichever is more.
LIMIT_SINGLE, LIMIT_DOUBLE = 1e-5, 1e-10

_OUTPUTS = ("feat_cls", "feat_embed", "feat_s_cls_token", "out_cls", "out_temp_loc", "out_hm")
_USUAL = ("", "fixtemp", "fixembed", "fixboth", "f64", "f64_fixboth", "b2", "b2_fixboth")
_LOSSES = ("hm", "cls", "temp_loc")
#: Arrays that change with the number of attention heads, the most direct ones first.
_TELLING = ("block0_temporal_fc_out", "block0_spatial_attn_out", "block0_out", *_OUTPUTS)
#: Names that are nothing to compare.
_INPUT = re.compile(r"sd/.*|(.*/)?x|loss/target_\w+")
#: Behind the name of an array of several clips: the first of them, run by itself.
_ALONE = ", clip 0"
#: What reading raises on files that are none of ours: found by damaging some at random.
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    tokenize.TokenError,
    SyntaxError,
    OSError,
    ValueError,
    TypeError,
    AttributeError,
    EOFError,
    RuntimeError,
    MemoryError,
)


@dataclass(frozen=True, slots=True)
class Row:
    """One compared array. error: the largest absolute one; infinite where the shapes differ."""

    name: str
    shape: tuple[int, ...]
    error: float
    limit: float

    @property
    def ok(self) -> bool:
        return math.isfinite(self.error) and self.error <= self.limit

    @property
    def severity(self) -> float:
        """The error in limits: above 1 is too much."""
        return self.error / self.limit if math.isfinite(self.error) else math.inf


@dataclass(frozen=True, slots=True)
class Verification:
    """What was compared, and what could not be. heads_from: how their number was found."""

    config: ModelConfig
    heads_from: str
    rows: tuple[Row, ...]
    absent: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def worst(self) -> Row:
        """The row closest to its limit, or furthest beyond it."""
        return max(self.rows, key=lambda row: row.severity)


@dataclass(frozen=True, slots=True)
class _Mode:
    """How the network of a prefix ran. batch: "" for one clip, else the prefix of several."""

    batch: str = ""
    double: bool = False
    learned_temporal_token: bool = False
    true_volume: bool = False


def verify_release(path: str | Path, *, heads: int | None = None) -> Verification:
    """Compare every array of the file with ours.

    heads: None takes D / 64 where that agrees, else what agrees best among the divisors of D.
    Several clips are run as the released code runs them, with temporal tokens that all come from
    the first clip, and the first also by itself, as we run it. Raises InputError for what is not of
    this form.
    """
    path = Path(path)
    arrays = _read(path)
    state = {n.removeprefix("sd/"): array for n, array in arrays.items() if n.startswith("sd/")}
    if not state:
        raise InputError(f"{path}: holds no sd/ arrays, the network's state; there is none to run")
    config = release_config(state, heads or 1, str(path))
    file = _File(path, arrays, fitting(state, config, str(path)), config)
    heads_from = "as given"
    if heads is None:
        heads, heads_from = _find_heads(file)
    config = file.config.model_copy(update={"heads": heads})
    file = replace(file, config=config)

    rows: list[Row] = []
    for prefix, names, mode, x in file.runs():
        network = file.network(mode)
        ours = trace(network, x, batch_as_released=True)
        alone = trace(network, x[:1]) if mode.batch and not mode.learned_temporal_token else {}
        for name in names:
            full = _joined(prefix, name)
            if name in ours:
                rows.append(_row(full, ours[name], arrays[full], double=mode.double))
            if name in alone:
                first = arrays[full][: len(alone[name])]
                rows.append(_row(full + _ALONE, alone[name], first, double=mode.double))
    rows += _losses(file)
    if not rows:
        raise InputError(f"{path}: holds a network, but nothing that it gave to compare with")
    compared = {row.name.removesuffix(_ALONE) for row in rows}
    return Verification(
        config=config,
        heads_from=heads_from,
        rows=tuple(rows),
        absent=tuple(_absent(compared, config.depth)),
        unknown=tuple(n for n in arrays if n not in compared and not _INPUT.fullmatch(n)),
    )


def table(verification: Verification) -> str:
    """All rows, aligned, and what was not compared, for people."""
    lines = [("array", "shape", "largest error", "limit", "")]
    for row in verification.rows:
        shape = " x ".join(map(str, row.shape)) or "number"
        verdict = "ok" if row.ok else "NOT OK"
        lines.append((row.name, shape, f"{row.error:.1e}", f"{row.limit:.1e}", verdict))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    if any(row.name.endswith(_ALONE) for row in verification.rows):
        text.append(
            "several clips: with temporal tokens of the first one, as the released code has it; "
            f"'{_ALONE.strip(', ')}': the first one by itself, as we do with every clip"
        )
    if verification.absent:
        text.append(f"not in the file: {', '.join(verification.absent)}")
    if verification.unknown:
        text.append(f"in the file and not compared: {', '.join(verification.unknown)}")
    return "\n".join(text)


@dataclass(frozen=True, slots=True)
class _File:
    """A read file; state: of its network, config: the network's sizes."""

    path: Path
    arrays: Mapping[str, Tensor]
    state: Mapping[str, Tensor]
    config: ModelConfig

    def runs(self) -> Iterator[tuple[str, list[str], _Mode, Tensor]]:
        """Each prefix that can be run: names behind it, how it ran, and its clips.

        State, inputs and losses are no runs.
        """
        groups: dict[str, list[str]] = {}
        for full in self.arrays:
            prefix, _, name = full.rpartition("/")
            if not (_INPUT.fullmatch(full) or prefix == "loss"):
                groups.setdefault(prefix, []).append(name)
        for prefix, names in groups.items():
            mode = _mode_of(prefix)
            x = None if mode is None else self.input(prefix, mode)
            if mode is not None and x is not None:
                yield prefix, names, mode, x

    def input(self, prefix: str, mode: _Mode) -> Tensor | None:
        """The clips (b, 3, t, H, W) that a prefix was run on; None where the file lacks them."""
        names = (_joined(prefix, "x"), _joined(mode.batch, "x"))
        name = next((name for name in names if name in self.arrays), None)
        if name is None:
            return None
        x, c = self.arrays[name], self.config
        wanted = (3, c.frames, c.image_size, c.image_size)
        if x.ndim != 5 or tuple(x.shape[1:]) != wanted or not len(x):
            raise InputError(
                f"{self.path}: {name} has the shape {tuple(x.shape)}, but its network takes clips "
                f"of shape {wanted}"
            )
        return x.double() if mode.double else x.float()

    def network(self, mode: _Mode, *, heads: int | None = None) -> ReleaseNetwork:
        """Our network with the file's state, for normalised frames: no pixel constants inside."""
        config = self.config if heads is None else self.config.model_copy(update={"heads": heads})
        with torch.device("meta"):
            network = ReleaseNetwork(
                config,
                learned_temporal_token=mode.learned_temporal_token,
                true_volume=mode.true_volume,
            )
        network.load_state_dict(self.state, assign=True)
        return (network.double() if mode.double else network).eval()


def _mode_of(prefix: str) -> _Mode | None:
    """How a prefix ("b2_fixboth") was run; None for those that we do not know."""
    parts = set(prefix.split("_")) - {""}
    batches = {part for part in parts if re.fullmatch(r"b\d+", part)}
    if len(batches) > 1 or parts - batches - {"f64", "fixtemp", "fixembed", "fixboth"}:
        return None
    return _Mode(
        batch="".join(batches),
        double="f64" in parts,
        learned_temporal_token=bool(parts & {"fixtemp", "fixboth"}),
        true_volume=bool(parts & {"fixembed", "fixboth"}),
    )


def _find_heads(file: _File) -> tuple[int, str]:
    """The number of attention heads that the file's numbers come from, and how we know."""
    width = file.config.width
    usual = [width // HEAD_WIDTH] if width % HEAD_WIDTH == 0 else []
    telling = next(
        (
            (_joined(prefix, name), name, mode, x)
            for prefix, names, mode, x in file.runs()
            for name in _TELLING
            if name in names
        ),
        None,
    )
    if telling is None:
        if not usual:
            raise InputError(
                f"{file.path}: nothing in it tells the number of attention heads, and {width} "
                f"channels are no multiple of {HEAD_WIDTH}; give it with --heads"
            )
        return usual[0], "D / 64, nothing in the file tells"
    full, name, mode, x = telling
    rows: dict[int, Row] = {}
    for heads in dict.fromkeys([*usual, *(n for n in range(1, width + 1) if width % n == 0)]):
        ours = trace(file.network(mode, heads=heads), x, batch_as_released=True)[name]
        rows[heads] = _row(str(heads), ours, file.arrays[full], double=mode.double)
        if rows[heads].ok:
            return heads, f"{full} agrees"
    best = min(rows, key=lambda heads: rows[heads].severity)
    return best, f"no number makes {full} agree, this one comes closest"


def _absent(compared: Collection[str], depth: int) -> Iterator[str]:
    """What release_tiny.npz has and this file lacks."""
    inside = ["patch_embed", "block0_in", "block0_temporal_fc_out", "block0_spatial_attn_out"]
    inside += [f"block{i}_{name}" for i in range(depth) for name in ("out", "s_cls")]
    inside += ["norm_tokens"]
    expected = {prefix: [*_OUTPUTS] for prefix in _USUAL} | {"loss": [*_LOSSES]}
    for prefix in ("", "fixboth"):
        expected[prefix] = inside + expected[prefix]
    for prefix, names in expected.items():
        lacking = [full for name in names if (full := _joined(prefix, name)) not in compared]
        yield from [f"all of {prefix}/"] if prefix and len(lacking) == len(names) else lacking


def _joined(prefix: str, name: str) -> str:
    return f"{prefix}/{name}" if prefix else name


def _losses(file: _File) -> list[Row]:
    """The three weighted losses of our outputs on `b2/x`, run as released.

    Targets are in the scrambled order of h's output, and so are both here: the sum is the same.
    """
    arrays, mode = file.arrays, _Mode(batch="b2")
    x = file.input("b2", mode)
    if x is None or not all(f"loss/target_{name}" in arrays for name in _LOSSES):
        return []
    ours = trace(file.network(mode), x, batch_as_released=True)
    masks = {"mask": "hm"} if "loss/target_mask" in arrays else {}
    for target, output in ({name: name for name in _LOSSES} | masks).items():
        shape, wanted = arrays[f"loss/target_{target}"].shape, ours[f"out_{output}"].shape
        if shape != wanted:
            raise InputError(
                f"{file.path}: loss/target_{target} has the shape {tuple(shape)}, but its network "
                f"gives out_{output} of shape {tuple(wanted)}"
            )
    config = LossConfig(lambda_c=0.8, lambda_h=100, lambda_g=0.2, mse_factor=0.5, temperature=2)
    target_b1tyx = arrays["loss/target_hm"].float()
    # The file hides patches frame by frame, `Targets.kept` for whole clips: hide them beforehand.
    mask_b1tyx = arrays.get("loss/target_mask", torch.ones_like(target_b1tyx)).float()
    derivative_btyx = (target_b1tyx * mask_b1tyx).squeeze(1)
    losses = fakestormer_loss(
        Outputs(
            logit=ours["out_cls"].squeeze(1),
            derivative=(ours["out_hm"] * mask_b1tyx).squeeze(1),
            frame_logits=ours["out_temp_loc"],
        ),
        Targets(
            boundary=torch.zeros_like(derivative_btyx),
            derivative=derivative_btyx,
            soft_labels=arrays["loss/target_temp_loc"].float(),
            label=arrays["loss/target_cls"].float().squeeze(1),
            kept=torch.ones_like(derivative_btyx[:, 0], dtype=torch.bool),
        ),
        config,
    )
    weighted = {
        "loss/hm": config.lambda_h * losses.temporal,
        "loss/cls": config.lambda_c * losses.classification,
        "loss/temp_loc": config.lambda_g * losses.spatial,
    }
    return [_row(name, loss, arrays[name]) for name, loss in weighted.items() if name in arrays]


def _row(name: str, ours: Tensor, theirs: Tensor, *, double: bool = False) -> Row:
    theirs = theirs.double()
    limit = (LIMIT_DOUBLE if double else LIMIT_SINGLE) * max(1.0, _largest(theirs))
    same = ours.shape == theirs.shape
    error = _largest(ours.double() - theirs) if same else math.inf
    return Row(name, tuple(theirs.shape), error, limit)


def _largest(values: Tensor) -> float:
    return float(values.abs().max()) if values.numel() else 0.0


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    arrays = {}
    try:
        with np.load(path, allow_pickle=False) as file:
            for name in file.files:
                array = file[name]
                arrays[name] = torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))
    except _UNREADABLE as error:
        raise InputError(
            f"{path}: not a readable .npz file of numbers ({error}); fetch or make it again"
        ) from error
    return arrays
