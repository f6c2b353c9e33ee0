"""Which map shows what f goes by? Deletion, insertion and the pointing game on known masks.

    fakestormer prepare VIDEOS --out STORE --split validation
    python benchmarks/explanations.py STORE [--model MODEL] [--clips 60]

Each clip becomes a pseudo-fake by the model's own synthesis, nothing cut out, and a second one in
which only a part of the face (left, right, upper or lower half) is the pseudo-fake's. A map gives a
number to each patch of each frame; patches are taken in falling order.

    deletion     mean score of f while patches of the fake give way to the real twin's; low is good
    insertion    the same the other way round, from the real twin to the fake; high is good
    beats chance clips in which it deletes better than chance, smoothed
    hard edges   deletion where patches end sharply, as is usual; above they fade over one patch
    pointing     clips in which the largest patch lies where the mask is above one half
    in part      the same for fakes of half a face: chance and the middle of the face know nothing
    AUC in part  how well a map's values tell fake patches of half a face from the face's others

Deletion and insertion use the real twin and not grey or blur, so that f only sees pictures of the
kind it knows; f is a mean over frames, so one frame of each clip is enough. They ask whether a map
is true to f; the pointing game asks whether f and the map together are true to the fake. The middle
of the face is a map that knows only where faces lie. A map that knows the twin bounds what any map
can reach: it takes the parts of f's logit in the fake less those in the twin.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from sklearn.metrics import roc_auc_score
from torch import Tensor

from fakestormer.data.manifest import read_manifest
from fakestormer.data.pseudo_fakes import draw
from fakestormer.data.store import read_clip
from fakestormer.detection import moment
from fakestormer.model.document import recipe_of, weights_file
from fakestormer.model.fakestormer import FakeSTormer
from fakestormer.model.heads import SurroundingsHead, face_regions
from fakestormer.model.model_file import load_model
from fakestormer.report.saliency import saliency
from fakestormer.synthesis.render import render_clip
from fakestormer.synthesis.resample import cut_margin

Map = Callable[[FakeSTormer, Tensor], Tensor]
Rows = dict[str, dict[str, list[float]]]
Ends = tuple[float, float]
STEPS = (0.05, 0.1, 0.2, 0.4, 0.7)


def chance(network: FakeSTormer, frames: Tensor) -> Tensor:
    grid = network.config.grid
    return torch.rand(len(frames), network.config.frames, grid, grid)


def knows_the_twin(network: FakeSTormer, fake: Tensor, real: Tensor) -> Tensor:
    """What each patch of the fake adds to f's logit beyond its twin's; no detector has the twin."""
    assert isinstance(network.f, SurroundingsHead)
    with torch.no_grad():
        of_fake, of_real = (network.features(frames).reference for frames in (fake, real))
        assert of_fake is not None
        assert of_real is not None
        return network.f.evidence(of_fake) - network.f.evidence(of_real)


def middle(network: FakeSTormer, frames: Tensor) -> Tensor:
    """A bump in the middle of the crop: where faces lie."""
    grid = network.config.grid
    place = (torch.arange(grid) + 0.5) * 2 / grid - 1
    bump = -((place / 0.62).square() + (place / 0.78).square()[:, None])
    return repeat(bump, "y x -> b t y x", b=len(frames), t=network.config.frames)


def change(network: FakeSTormer, frames: Tensor) -> Tensor:
    """h alone: the heat map of before."""
    with torch.no_grad():
        derivative = network(frames).derivative
    assert derivative is not None
    derivative[:, 0] = derivative[:, 1]  # the first frame has none
    return derivative


def attention(network: FakeSTormer, frames: Tensor) -> Tensor:
    return torch.from_numpy(saliency(network, frames.numpy()).spatial)


def grad_cam_h(network: FakeSTormer, frames: Tensor) -> Tensor:
    return torch.from_numpy(saliency(network, frames.numpy()).temporal)


def seen(network: FakeSTormer, frames: Tensor) -> tuple[Tensor, Tensor]:
    """What f is a function of, place by place (b, t, c, G, G), and f's gradient by it."""
    assert isinstance(network.f, SurroundingsHead)
    with torch.no_grad():
        stem = network.features(frames).reference
    assert stem is not None
    stem = stem.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(network.f(stem).sum(), stem)
    return stem.detach(), gradient


def grad_cam_f(network: FakeSTormer, frames: Tensor) -> Tensor:
    x, gradient = seen(network, frames)
    return torch.einsum("btcyx, btc -> btyx", x, gradient.mean(dim=(3, 4))).relu()


def gradient_x_input(network: FakeSTormer, frames: Tensor) -> Tensor:
    x, gradient = seen(network, frames)
    return (x * gradient).sum(dim=2)


def gradient_x_deviation(network: FakeSTormer, frames: Tensor) -> Tensor:
    """From the mean of what f was fitted to: the parts of the logit, exact for a linear f."""
    x, gradient = seen(network, frames)
    assert isinstance(network.f, SurroundingsHead)
    regions_ryx = (face_regions(network.config.grid) > 0).float()
    mean = torch.einsum("ryx, rc -> cyx", regions_ryx, network.f.mean.view(len(regions_ryx), -1))
    return ((x - mean) * gradient).sum(dim=2)


def gradient_x_own_deviation(network: FakeSTormer, frames: Tensor) -> Tensor:
    """The same from the clip's own mean: what a network without such a fit can do."""
    x, gradient = seen(network, frames)
    return ((x - x.mean(dim=(1, 3, 4), keepdim=True)) * gradient).sum(dim=2)


def blurred(pixels: Tensor, sigma: float) -> Tensor:
    reach = max(1, round(3 * sigma))
    line = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    line = line / line.sum()
    flat = rearrange(pixels, "b t c h w -> (b t c) 1 h w")
    flat = F.conv2d(F.pad(flat, (reach, reach, 0, 0), mode="reflect"), line[None, None, None])
    flat = F.conv2d(F.pad(flat, (0, 0, reach, reach), mode="reflect"), line[None, None, :, None])
    return flat.view_as(pixels)


def gradient_x_detail(sigma: float) -> Map:
    """Gradient by the pixels times what a blur takes away."""

    def of(network: FakeSTormer, frames: Tensor) -> Tensor:
        pixels = frames.float()
        detail = pixels - blurred(pixels, sigma)
        (gradient,) = torch.autograd.grad(network(pixels.requires_grad_()).logit.sum(), pixels)
        parts = (detail * gradient).sum(dim=2)
        patch = network.config.patch_size
        maps = F.avg_pool2d(parts.flatten(0, 1)[:, None], patch)[:, 0]
        return maps.unflatten(0, parts.shape[:2])

    return of


def occlusion(network: FakeSTormer, frames: Tensor, side: int = 3, sigma: float = 3.0) -> Tensor:
    """How much f falls where `side` x `side` patches of all frames are blurred."""
    grid, patch = network.config.grid, network.config.patch_size
    soft = blurred(frames.float(), sigma)
    out = torch.zeros(len(frames), network.config.frames, grid, grid)
    with torch.no_grad():
        whole = score(network, frames).logit()
        for y in range(0, grid, side):
            for x in range(0, grid, side):
                hidden = frames.float().clone()
                ys, xs = slice(y * patch, (y + side) * patch), slice(x * patch, (x + side) * patch)
                hidden[..., ys, xs] = soft[..., ys, xs]
                fall = whole - score(network, hidden).logit()
                out[:, :, y : y + side, x : x + side] = rearrange(fall, "b -> b 1 1 1")
    return out


def smoothed(of: Map) -> Map:
    """As the report smooths: each patch's mean with its neighbours."""

    def smooth(network: FakeSTormer, frames: Tensor) -> Tensor:
        maps = of(network, frames)
        return torch.from_numpy(np.stack([moment.smoothed(m.numpy()) for m in maps.detach()]))

    return smooth


def ranks(maps: Tensor) -> Tensor:
    flat = maps.flatten(2)
    return (flat.argsort(-1).argsort(-1).float() / flat.shape[-1]).view_as(maps)


def together(*of: Map) -> Map:
    return lambda network, frames: sum((ranks(m(network, frames)) for m in of), torch.zeros(()))


MAPS: dict[str, Map] = {
    "chance": chance,
    "chance, smoothed": smoothed(chance),
    "the middle of the face": middle,
    "h alone (before)": change,
    "g's attention": attention,
    "Grad-CAM of h": grad_cam_h,
    "Grad-CAM of f": grad_cam_f,
    "occlusion of f": occlusion,
    "gradient of f x detail, smoothed": smoothed(gradient_x_detail(2.0)),
    "gradient of f x deviation": gradient_x_deviation,
    "the same, smoothed (ships)": smoothed(gradient_x_deviation),
    "from the clip's mean, smoothed": smoothed(gradient_x_own_deviation),
    "deviation + h + attention": together(gradient_x_deviation, change, attention),
}
TWIN = "knows the twin (bound)"


def half(size: int, which: int) -> Tensor:
    """A soft half of the crop: left, right, upper or lower; (H, W) in [0, 1]."""
    ramp = torch.sigmoid((torch.arange(size) + 0.5 - size / 2) / 4)
    side = ramp if which % 2 else 1 - ramp
    return side[None].expand(size, size) if which < 2 else side[:, None].expand(size, size)


def mixed(under: Tensor, over: Tensor, maps: Tensor, share: float, *, hard: bool) -> Tensor:
    """The frames `under` with the given share of patches, the highest of each frame, of `over`.

    hard: patches end sharply, which draws edges that neither picture has; otherwise they fade.
    """
    b, t, grid, _ = maps.shape
    count = round(share * grid * grid)
    taken = torch.zeros(b, t, grid * grid)
    taken.scatter_(2, maps.flatten(2).argsort(-1, descending=True)[..., :count], 1.0)
    how = {"mode": "nearest"} if hard else {"mode": "bilinear", "align_corners": False}
    mask = F.interpolate(taken.view(b, t, grid, grid), under.shape[-2:], **how)[:, :, None]
    return (under + mask * (over.float() - under)).round().to(torch.uint8)


@torch.no_grad()
def score(network: FakeSTormer, frames: Tensor) -> Tensor:
    """f's score of frames (b, t, 3, H, W), each clip's mean; without h and g, which cost time."""
    assert isinstance(network.f, SurroundingsHead)
    flat = rearrange(network.normalised(frames), "b t c h w -> (b t) c h w")
    assert network.reference is not None
    stem = network.reference(flat)
    logit: Tensor = network.f(rearrange(stem, "(b t) c y x -> b t c y x", b=len(frames)))
    return logit.sigmoid()


@torch.no_grad()
def area(
    network: FakeSTormer,
    under: Tensor,
    over: Tensor,
    maps: Tensor,
    ends: Ends,
    *,
    hard: bool = False,
) -> float:
    """Under the score of f while `over` takes the place of `under`; ends: the score of either."""
    steps = torch.cat([mixed(under, over, maps, share, hard=hard) for share in STEPS])
    scores = [ends[0], *score(network, steps).tolist(), ends[1]]
    return float(np.trapezoid(scores, (0.0, *STEPS, 1.0)))


def pairs(
    store: Path, network: FakeSTormer, recipe, count: int, seed: int
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """(real, fake, mask) of clips from different tracks: uint8 (1, T, 3, H, W) twice, (T, H, W)."""
    length, size = network.config.frames, network.config.image_size
    rows = [row for row in read_manifest(store) if row.file and row.frames >= length]
    rng = np.random.default_rng(seed)
    made = []
    for row in rows[:count]:
        start = int(rng.integers(0, row.frames - length + 1))
        at = range(start, start + length)
        clip = read_clip(store / row.file, at, video=row.video, number=row.track)
        params = draw(row, recipe.synthesis, seed=seed).model_copy(update={"flip": False})
        params = params.model_copy(
            update={"frames": params.frames[:1], "h264_crf": None, "order": None}
        )
        stored = clip.frames.shape[-1]
        blended = render_clip(clip, params, size=stored)
        margin = recipe.prediction.margin * stored / 256
        real, fake, mask = (
            cut_margin(x, margin=margin, size=size)
            for x in (blended.real, blended.fake, blended.mask)
        )
        made.append((real, fake, mask[0]))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[*MAPS, TWIN])
    arguments = parser.parse_args()
    path = weights_file(arguments.model)
    network, document = load_model(path)
    assert isinstance(network, FakeSTormer)
    network.eval().requires_grad_(False)
    assert network.reference is not None
    network.backbone.stem.layers.frozen = network.reference.layers.frozen = 0  # type: ignore[union-attr]
    recipe = recipe_of(document, path)
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(1)
    rows: Rows = defaultdict(lambda: defaultdict(list))
    clips = pairs(arguments.store, network, recipe, arguments.clips, arguments.seed)
    grid = network.config.grid
    scores: list[Ends] = []
    for number, (real, fake, mask) in enumerate(clips):
        print(f"clip {number + 1} of {len(clips)}", file=sys.stderr, flush=True)
        part = half(mask.shape[-1], number % 4)
        partly = (real + part * (fake.float() - real.float())).round().to(torch.uint8)
        whole_gg = F.adaptive_avg_pool2d(mask.mean(0)[None, None], grid)[0, 0]
        part_gg = F.adaptive_avg_pool2d((mask.mean(0) * part)[None, None], grid)[0, 0]
        with torch.no_grad():
            of_real, of_fake = score(network, torch.cat([real, fake])[:, :1]).tolist()
        scores.append((of_real, of_fake))
        for name in arguments.only:
            began = time.process_time()
            if name == TWIN:
                maps, of_partly = (knows_the_twin(network, x, real) for x in (fake, partly))
            else:
                maps, of_partly = (MAPS[name](network, x).detach() for x in (fake, partly))
            cost = (time.process_time() - began) / 2
            of_part = of_partly.mean(dim=(0, 1))
            row = rows[name]
            row["deletion"].append(
                area(network, fake[:, :1], real[:, :1], maps[:, :1], (of_fake, of_real))
            )
            row["insertion"].append(
                area(network, real[:, :1], fake[:, :1], maps[:, :1], (of_real, of_fake))
            )
            row["hard edges"].append(
                area(network, fake[:, :1], real[:, :1], maps[:, :1], (of_fake, of_real), hard=True)
            )
            best = int(maps.mean(dim=(0, 1)).argmax())
            row["pointing"].append(float(whole_gg.flatten()[best] > 0.5))
            in_part = part_gg > 0.5
            if bool(in_part.any()):
                row["in part"].append(float(in_part.flatten()[int(of_part.argmax())]))
                face = whole_gg > 0.5
                row["AUC in part"].append(roc_auc_score(in_part[face], of_part[face]))
            row["CPU s"].append(cost)
        if number % 5 == 4 or number == len(clips) - 1:
            table(rows, scores, document["weights_sha256"])


def table(rows: Rows, scores: list[Ends], weights_sha256: str) -> None:
    real_score, fake_score = np.mean(scores, axis=0)
    print(f"\n{len(scores)} clips, weights {weights_sha256[:12]}; f scores the real twins")
    print(f"{real_score:.3f} and the fakes {fake_score:.3f} on average; a straight line between")
    print(f"them has the area {(real_score + fake_score) / 2:.3f}\n")
    base = rows["chance, smoothed"]["deletion"]
    for row in rows.values():
        row["beats chance"] = [float(a < b) for a, b in zip(row["deletion"], base, strict=False)]
    columns = (
        "deletion",
        "beats chance",
        "hard edges",
        "insertion",
        "pointing",
        "in part",
        "AUC in part",
        "CPU s",
    )
    print("| map | " + " | ".join(columns) + " |\n| --- |" + " --- |" * len(columns))
    for name, row in rows.items():
        means = " | ".join(f"{np.mean(row[c]):.3f}" for c in columns)
        print(f"| {name} | {means} |", flush=True)


if __name__ == "__main__":
    main()
