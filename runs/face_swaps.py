"""Face swaps out of a store's held-out real videos: a test set, never to train on or publish.

    python runs/face_swaps.py STORE --out OUT [--split validation]
    fakestormer prepare OUT --table OUT/videos.csv --split test --max-frames 0 --out TEST
    fakestormer evaluate --data swaps=TEST --out RESULT

A self-blended video has one face, a swap has two people's. For each track the donor is the track of
another group (another person where identities are known, else another video, now and then of the
same person), of the same source, whose face is shaped most alike. Its frames, forward and back
again, are put where the target's face is, in four ways:

    pasted     similarity transform, LAB statistics matched, soft hull, alpha blending
    mesh       piecewise affine by landmark triangles, gradient-domain blending (OpenCV's
               seamlessClone)
    multiband  the same triangles, RGB statistics matched, blended band by band (Burt and Adelson's
               Laplacian pyramid), as no training clip is
    generated  what an autoencoder of 64 x 64 px leaves: similarity transform, detail lost, RGB
               statistics matched, an ellipse instead of a hull

Landmarks are used as they were found, frame by frame, as such tools do. Target and swap are filmed
alike, as the files of `fakestormer pseudo-fakes` are. Run it again to go on.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import Delaunay
from torch import Tensor
from tqdm import tqdm

from fakestormer.data.manifest import Row, read_manifest, tracks_of
from fakestormer.data.store import read_clip
from fakestormer.errors import InputError
from fakestormer.synthesis.beyond.donor import FOUND, similarity, unlikeness
from fakestormer.types import Clip
from fakestormer.video.encode import write_film

RGB = NDArray[np.uint8]
Points = NDArray[np.float64]  # (K, 2), crop px, (x, y)
Way = Callable[[RGB, RGB, Points, Points], RGB]

GENERATED_SIDE = 64


def matched(source: RGB, target: RGB, mask: NDArray[np.bool_]) -> RGB:
    """The source with the target's mean and spread of each channel within the mask."""
    x, y = source.astype(np.float64), target.astype(np.float64)
    x = (x - x[mask].mean(0)) / (x[mask].std(0) + 1e-6) * y[mask].std(0) + y[mask].mean(0)
    return np.clip(np.rint(x), 0, 255).astype(np.uint8)


def hull(points_k2: Points, side: int) -> RGB:
    mask = np.zeros((side, side), np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(points_k2).astype(np.int32)), 255)
    return mask


def laid_over(source: RGB, target: RGB, soft_hw: NDArray[np.float64]) -> RGB:
    blended = soft_hw[..., None] * source + (1 - soft_hw[..., None]) * target
    return np.rint(blended).astype(np.uint8)


def moved(source: RGB, source_k2: Points, target_k2: Points) -> RGB:
    side = source.shape[0]
    matrix = similarity(*(torch.from_numpy(p[None, :FOUND]) for p in (source_k2, target_k2)))[0]
    return cv2.warpAffine(
        source, matrix.numpy(), (side, side), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )


def pasted(source: RGB, target: RGB, source_k2: Points, target_k2: Points) -> RGB:
    side = target.shape[0]
    mask = hull(target_k2, side)
    face = cv2.cvtColor(moved(source, source_k2, target_k2), cv2.COLOR_RGB2LAB)
    face = matched(face, cv2.cvtColor(target, cv2.COLOR_RGB2LAB), mask > 0)
    face = cv2.cvtColor(face, cv2.COLOR_LAB2RGB)
    reach = max(1, side // 32)
    mask = cv2.erode(mask, np.ones((2 * reach + 1,) * 2, np.uint8))
    soft = cv2.GaussianBlur(mask / 255.0, (0, 0), reach)
    return laid_over(face, target, soft)


def bent(source: RGB, source_k2: Points, target_k2: Points) -> tuple[RGB, RGB]:
    """The source's face bent into the target's shape, and where it is (0 or 255)."""
    side = source.shape[0]
    triangles = Delaunay(target_k2)
    mask = hull(target_k2, side)
    y, x = np.nonzero(mask)
    at = np.column_stack([x, y]).astype(np.float64)
    inside = triangles.find_simplex(at)
    transform = triangles.transform[inside]
    two = np.einsum("nij,nj->ni", transform[:, :2], at - transform[:, 2])
    weights = np.column_stack([two, 1 - two.sum(1)])
    place = np.einsum("nk,nkd->nd", weights, source_k2[triangles.simplices[inside]])
    mask[y[inside < 0], x[inside < 0]] = 0
    place_hw2 = np.full((side, side, 2), -1, np.float32)
    place_hw2[y, x] = place
    face = cv2.remap(source, place_hw2, None, cv2.INTER_CUBIC)
    return face, cv2.erode(mask, np.ones((3, 3), np.uint8))


def mesh(source: RGB, target: RGB, source_k2: Points, target_k2: Points) -> RGB:
    face, mask = bent(source, source_k2, target_k2)
    mask[:2], mask[-2:], mask[:, :2], mask[:, -2:] = 0, 0, 0, 0
    left, top, width, height = cv2.boundingRect(mask)
    centre = (left + width // 2, top + height // 2)
    return cv2.seamlessClone(face, target, mask, centre, cv2.NORMAL_CLONE)


def multiband(source: RGB, target: RGB, source_k2: Points, target_k2: Points) -> RGB:
    side = target.shape[0]
    face, mask = bent(source, source_k2, target_k2)
    face = np.where(mask[..., None] > 0, matched(face, target, mask > 0), target)
    # There is face on both sides of the seam; each band of detail is blended over a width of its
    # own, the coarsest over the widest.
    seam = cv2.erode(mask, np.ones((2 * (side // 16) + 1,) * 2, np.uint8))
    x, y, weight = (p.astype(np.float32) for p in (face, target, seam / 255.0))
    bands = []
    while min(y.shape[:2]) > 8:
        width, height = y.shape[1::-1]
        coarse = [cv2.pyrDown(p) for p in (x, y, weight)]
        fine_x, fine_y = (
            p - cv2.pyrUp(q, dstsize=(width, height))
            for p, q in zip((x, y), coarse[:2], strict=True)
        )
        bands.append(weight[..., None] * fine_x + (1 - weight[..., None]) * fine_y)
        x, y, weight = coarse
    blended = weight[..., None] * x + (1 - weight[..., None]) * y
    for band in reversed(bands):
        blended = cv2.pyrUp(blended, dstsize=band.shape[1::-1]) + band
    return np.clip(np.rint(blended), 0, 255).astype(np.uint8)


def generated(source: RGB, target: RGB, source_k2: Points, target_k2: Points) -> RGB:
    side = target.shape[0]
    mask = hull(target_k2, side)
    left, top, width, height = cv2.boundingRect(mask)
    face = moved(source, source_k2, target_k2)
    whole = (slice(top, top + height), slice(left, left + width))
    small = cv2.resize(face[whole], (GENERATED_SIDE,) * 2, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), 0.7)
    face = target.copy()
    face[whole] = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    face = matched(face, target, mask > 0)
    ellipse = np.zeros((side, side), np.float64)
    centre = (left + width // 2, top + height // 2)
    cv2.ellipse(ellipse, centre, (int(0.4 * width), int(0.45 * height)), 0, 0, 360, 1.0, -1)
    return laid_over(face, target, cv2.GaussianBlur(ellipse, (0, 0), max(1, side // 42)))


WAYS: dict[str, Way] = {
    "pasted": pasted,
    "mesh": mesh,
    "multiband": multiband,
    "generated": generated,
}


def donor_of(row: Row, shape_k2: Tensor, rows: Sequence[Row], shapes_nk2: Tensor) -> int:
    """Of another group, of the same source where there is one, the face shaped most alike."""
    others = [n for n, other in enumerate(rows) if other.group != row.group]
    near = [n for n in others if rows[n].source == row.source] or others
    apart = unlikeness(shapes_nk2[near], shape_k2.expand(len(near), -1, -1))
    return near[int(apart.argmin())]


def swapped(donor: Clip, target: Clip, way: Way) -> Tensor:
    """uint8 (T, 3, S, S); the donor's frames forward and backward, as long as the target's."""
    forward = list(range(len(donor)))
    order = forward + forward[-2:0:-1]
    pictures = []
    for t in range(len(target)):
        s = order[t % len(order)]
        source = np.ascontiguousarray(donor.frames[s].transpose(1, 2, 0))
        frame = np.ascontiguousarray(target.frames[t].transpose(1, 2, 0))
        source_k2, target_k2 = (
            points.astype(np.float64) for points in (donor.landmarks[s], target.landmarks[t])
        )
        pictures.append(way(source, frame, source_k2, target_k2))
    return np.ascontiguousarray(np.stack(pictures).transpose(0, 3, 1, 2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split", default="validation")
    options = parser.parse_args()
    rows = tracks_of(read_manifest(options.store), options.split)
    if len({row.group for row in rows}) < 2:
        raise SystemExit(f"{options.store}: faces are swapped between two videos at least")
    clips = [
        read_clip(options.store / row.file, range(row.frames), video=row.video, number=row.track)
        for row in rows
    ]
    middles = [clip.landmarks[len(clip) // 2, :FOUND] for clip in clips]
    shapes = torch.from_numpy(np.stack(middles)).double()
    lines = [("path", "label", "method", "source", "identity")]
    for row, clip, shape in zip(tqdm(rows), clips, shapes, strict=True):
        donor = clips[donor_of(row, shape, rows, shapes)]
        # Another suffix stays: a.mov and a.mp4 are two videos.
        stem = f"{row.video.removesuffix('.mp4')}.{row.track}.mp4"
        step = float(np.median(np.diff(clip.pts_seconds))) if len(clip) > 1 else 0.04
        for method, way in {"": None, **WAYS}.items():
            label = "real" if way is None else "fake"
            path = Path(label, method, stem)
            lines.append((path.as_posix(), label, method, row.source, row.group))
            if (options.out / path).is_file():
                continue
            frames = clip.frames if way is None else swapped(donor, clip, way)
            partial = options.out / path.with_name(f".{path.name}.partial")
            partial.parent.mkdir(parents=True, exist_ok=True)
            write_film(partial, frames, Fraction(1 / step).limit_denominator(1001))
            partial.replace(options.out / path)
    with (options.out / "videos.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(lines)


if __name__ == "__main__":
    try:
        main()
    except (InputError, OSError) as error:
        raise SystemExit(f"Error: {error}") from error
