"""Miniatures of every data set, in their own folders, names and lists.

A fake of method M of person P is a pseudo-fake of P's film, drawn by a seed of M's own
(miniature_material.py). The numbers in `Expected` are written by hand.
"""

from __future__ import annotations

import csv
import json
import shutil
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import cv2

from fakestormer.video.decode import stream_frames
from miniature_material import Material


@dataclass(frozen=True, slots=True, kw_only=True)
class Video:
    """What the manifest should say of a video."""

    label: str
    split: str
    method: str = ""
    identity: str = ""


@dataclass(slots=True, kw_only=True)
class Expected:
    """What a user should find of a miniature.

    arguments: of `prepare`, the data set's name and where it lies. says: lines of `--check`.
    videos: all of the store. unreadable: those of them that cannot be read, and a part of the
    reason. groups: of the evaluation, (real, fake, left out).
    """

    name: str
    root: Path
    arguments: tuple[object, ...] = ()
    says: tuple[str, ...] = ()
    videos: dict[str, Video] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    groups: dict[str, tuple[int, int, int]] = field(default_factory=dict)


@dataclass(slots=True)
class _Tree:
    """A root folder that is being filled; knows where each of the people's films is."""

    expected: Expected
    material: Material

    def put(self, path: Path, film: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(film, path)

    def real(self, name: str, who: int, split: str, identity: str = "") -> None:
        self.put(self.expected.root / name, self.material.reals[who])
        self.expected.videos[name] = Video(label="real", split=split, identity=identity)

    def fake(
        self, name: str, who: int, split: str, method: str = "", identity: str = "", seed: int = 0
    ) -> None:
        self.put(self.expected.root / name, self.material.fakes[seed][who])
        self.expected.videos[name] = Video(
            label="fake", split=split, method=method, identity=identity
        )

    def damaged(self, name: str, video: Video, reason: str) -> None:
        self.write(name, "this is not a video\n" * 200)
        self.expected.videos[name] = video
        self.expected.unreadable[name] = reason

    def write(self, name: str, text: str) -> Path:
        path = self.expected.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def lines(self, name: str, *lines: str) -> None:
        self.write(name, "".join(f"{line}\n" for line in lines))

    def pictures(self, folder: Path, film: Path, side: int) -> list[str]:
        """Write a film's frames as 000.png, 001.png, ...; returns their names."""
        folder.mkdir(parents=True, exist_ok=True)
        names = []
        for index, _, rgb_hwc in stream_frames(film):
            names.append(f"{index:03d}.png")
            face = cv2.resize(rgb_hwc, (side, side))
            assert cv2.imwrite(str(folder / names[-1]), face[..., ::-1])
        return names


def build_miniature(name: str, folder: Path, material: Material) -> Expected:
    """Lay a data set out below `folder`; what of it should be found."""
    expected = Expected(name=name, root=folder / name)
    BUILDERS[name](_Tree(expected, material))
    expected.arguments = (name, "--root", expected.root, *expected.arguments)
    return expected


def _ffpp(tree: _Tree) -> None:
    """A pair of each split, by the lists shipped; two methods and the names of two more."""
    real = "original_sequences/youtube/c23/videos"
    pairs = {"test": ("953", "974"), "validation": ("720", "672"), "train": ("071", "054")}
    who = {number: n for n, number in enumerate(n for pair in pairs.values() for n in pair)}
    for split, pair in pairs.items():
        for number in pair:
            tree.real(f"{real}/{number}.mp4", who[number], split, number)
    for seed, method in enumerate(("Deepfakes", "FaceSwap")):
        for a, b in (("953", "974"), ("974", "953")):
            name = f"manipulated_sequences/{method}/c23/videos/{a}_{b}.mp4"
            tree.fake(name, who[a], "test", method, a, seed)
    name = "manipulated_sequences/Deepfakes/c23/videos/071_054.mp4"
    tree.fake(name, who["071"], "train", "Deepfakes", "071")
    for other in ("Face2Face/c23", "NeuralTextures/c23", "Deepfakes/c40"):
        tree.write(f"manipulated_sequences/{other}/videos/953_974.mp4", "not one of those wanted")
    expected = tree.expected
    expected.arguments = ("--method", "Deepfakes", "--method", "FaceSwap")
    expected.says = (
        "ffpp at c23: 11 videos", "  test, fake: 4", "  test, real: 2", "  train, fake: 1",
        "  train, real: 2", "  validation, real: 2", "lists: shipped with fakestormer",
        # 1,000 less 6 real ones, 3 Deepfakes and 2 of FaceSwap
        "missing: in the lists and not here (2989)",
        "  manipulated_sequences/Deepfakes/c23/videos/000_003.mp4",
        "  - FaceShifter is not here",
    )  # fmt: skip
    expected.groups = {
        "all": (2, 4, 0), "method Deepfakes": (2, 2, 0), "method FaceSwap": (2, 2, 0)
    }  # fmt: skip


def _celeb(tree: _Tree) -> None:
    """The list calls real videos 1. Of v2 one test video cannot be read."""
    fake = "Celeb-synthesis"
    tree.real("Celeb-real/id0_0000.mp4", 0, "test", "id0")
    tree.real("YouTube-real/00170.mp4", 1, "test")
    tree.fake(f"{fake}/id0_id1_0000.mp4", 0, "test", fake, "id0")
    tree.fake(f"{fake}/id1_id0_0000.mp4", 2, "test", fake, "id1")
    tree.real("Celeb-real/id2_0003.mp4", 3, "train", "id2")
    tree.lines(
        "List_of_testing_videos.txt",
        "1 YouTube-real/00170.mp4", "1 Celeb-real/id0_0000.mp4", f"0 {fake}/id0_id1_0000.mp4",
        f"0 {fake}/id1_id0_0000.mp4", f"0 {fake}/id1_id16_0002.mp4",
    )  # fmt: skip
    second = tree.expected.name == "celeb-df-v2"
    if second:
        video = Video(label="fake", split="test", method=fake, identity="id1")
        tree.damaged(f"{fake}/id1_id16_0002.mp4", video, "undecodable")
    tree.expected.says = (
        f"{tree.expected.name}: {6 if second else 5} videos",
        f"  test, fake: {3 if second else 2}", "  test, real: 2", "  train, real: 1",
        "lists: List_of_testing_videos.txt",
        *(() if second else ("missing: in the lists and not here (1)",
                             f"  {fake}/id1_id16_0002.mp4")),
    )  # fmt: skip
    tree.expected.groups = {"all": (2, 2, int(second)), f"method {fake}": (2, 2, int(second))}


def _dfd(tree: _Tree) -> None:
    real, fake = "original_sequences/actors", "manipulated_sequences/DeepFakeDetection"
    tree.real(f"{real}/c23/videos/01__exit_phone_room.mp4", 0, "test", "01")
    tree.real(f"{real}/c23/videos/02__hugging_happy.mp4", 1, "test", "02")
    for a, b, rest in (("01", "02", "YVGY8LOK"), ("02", "01", "1SVFXCG8")):
        name = f"{fake}/c23/videos/{a}_{b}__walk_down_hall_angry__{rest}.mp4"
        tree.fake(name, int(a) - 1, "test", "DeepFakeDetection", a)
    tree.expected.says = (
        "dfd at c23: 4 videos", "  test, fake: 2", "  test, real: 2",
        "  real  2 of 363   differs", "  fake  2 of 3068   differs",
    )  # fmt: skip
    tree.expected.groups = {"all": (2, 2, 0), "method DeepFakeDetection": (2, 2, 0)}


def _dfdcp(tree: _Tree) -> None:
    table: dict[str, dict[str, object]] = {}
    for target, who, split in (("643216", 0, "test"), ("1224068", 1, "test"), ("855", 2, "train")):
        name = f"original_videos/{target}/{target}_A_001.mp4"
        tree.real(name, who, split, target)
        table[name] = {"label": "real", "set": split, "target_id": target, "augmentations": []}
    for method, target, other, who in (("A", "643216", "855", 0), ("B", "1224068", "643216", 1)):
        name = f"method_{method}/{target}/{other}/{target}_{other}_A_000.mp4"
        tree.fake(name, who, "test", f"method_{method}", target, seed=who)
        table[name] = {
            "label": "fake", "set": "test", "target_id": target, "swapped_id": other,
            "augmentations": [],
        }  # fmt: skip
    table["method_B/855/643216/gone.mp4"] = {"label": "fake", "set": "train", "target_id": "855"}
    tree.write("dataset.json", json.dumps(table))
    tree.expected.says = (
        "dfdcp: 5 videos", "  test, fake: 2", "  test, real: 2", "  train, real: 1",
        "  videos  5 of ~5250   differs", "missing: in the lists and not here (1)",
        "  method_B/855/643216/gone.mp4",
    )  # fmt: skip
    tree.expected.groups = {
        "all": (2, 2, 0), "method method_A": (2, 1, 0), "method method_B": (2, 1, 0)
    }  # fmt: skip


def _dfdc(tree: _Tree) -> None:
    """The test set with labels.csv, and a training part with metadata.json."""
    tree.real("test/aalscayrfi.mp4", 0, "test")
    tree.real("test/abzlvmjcrl.mp4", 1, "test")
    tree.fake("test/aayfryxljh.mp4", 0, "test")
    tree.fake("test/ablxovezzc.mp4", 2, "test")
    tree.damaged("test/zzzvyxnbpe.mp4", Video(label="fake", split="test"), "undecodable")
    labels = {"aalscayrfi": 0, "abzlvmjcrl": 0, "aayfryxljh": 1, "ablxovezzc": 1, "zzzvyxnbpe": 1}
    tree.lines("test/labels.csv", "filename,label", *(f"{n}.mp4,{x}" for n, x in labels.items()))
    part = "dfdc_train_part_00"
    tree.real(f"{part}/wynotylpnm.mp4", 3, "train")
    tree.fake(f"{part}/owxbbpjpch.mp4", 3, "train")
    records: dict[str, Mapping[str, str]] = {
        "owxbbpjpch.mp4": {"label": "FAKE", "split": "train", "original": "wynotylpnm.mp4"},
        "wynotylpnm.mp4": {"label": "REAL", "split": "train"},
        "vpmyeepbep.mp4": {"label": "REAL", "split": "train"},
    }
    tree.write(f"{part}/metadata.json", json.dumps(records))
    tree.expected.says = (
        "dfdc: 7 videos", "  test, fake: 3", "  test, real: 2", "  train, fake: 1",
        "  train, real: 1", f"lists: test/labels.csv, {part}/metadata.json",
        "missing: in the lists and not here (1)", f"  {part}/vpmyeepbep.mp4",
    )  # fmt: skip
    tree.expected.groups = {"all": (2, 2, 1)}


def _wilddeepfake(tree: _Tree) -> None:
    """Archives of sequences; every sequence is a video of the store. One archive is none."""
    material, root = tree.material, tree.expected.root / "deepfake_in_the_wild"
    for part, video, films in (
        ("real_test", "7", material.faces[:2]),
        ("fake_test", "12", material.fakes[0][:2]),
        ("real_train", "3", material.faces[2:3]),
    ):
        label, split = part.split("_")
        unpacked = tree.expected.root.with_name("unpacked") / part
        for number, film in enumerate(films):
            tree.pictures(unpacked / video / label / str(number), film, 224)
            name = f"{part}/{video}.tar.gz/{video}/{label}/{number}"
            tree.expected.videos[name] = Video(label=label, split=split)
        archive = root / part / f"{video}.tar.gz"
        archive.parent.mkdir(parents=True)
        with tarfile.open(archive, "w:gz", compresslevel=1) as members:
            members.add(unpacked / video, arcname=video)
    tree.damaged("deepfake_in_the_wild/fake_test/20.tar.gz", Video(label="fake", split="test"), "")
    tree.expected.videos["fake_test/20.tar.gz"] = tree.expected.videos.popitem()[1]
    tree.expected.unreadable = {"fake_test/20.tar.gz": "cannot be opened as an archive"}
    tree.expected.says = (
        "wilddeepfake: 4 videos", "  test, fake: 2", "  test, real: 1", "  train, real: 1",
        "  videos  4 of 707   differs", "  - fake_train/ is not here",
        "  - one score is for a sequence, each counted by itself, not for a video",
    )  # fmt: skip
    tree.expected.groups = {"all": (2, 2, 1)}


def _deeperforensics(tree: _Tree) -> None:
    """The reals are FF++'s targets, in a root of their own."""
    fakes, inside = "manipulated_videos/end_to_end", "original_sequences/youtube/c23/videos"
    reals = tree.expected.root.with_name("ffpp-of-deeperforensics")
    for who, (target, actor, split) in enumerate(
        (("953", "M101", "test"), ("974", "W004", "test"), ("071", "M107", "train"))
    ):
        tree.fake(f"{fakes}/{target}_{actor}.mp4", who, split, "end_to_end", target)
        tree.put(reals / inside / f"{target}.mp4", tree.material.reals[who])
        tree.expected.videos[f"ffpp/{inside}/{target}.mp4"] = Video(
            label="real", split=split, identity=target
        )
    tree.lines("lists/splits/test.txt", "953_M101.mp4", "974_W004.mp4")
    tree.lines("lists/splits/val.txt", "720_W133.mp4")
    tree.lines("lists/splits/train.txt", "071_M107.mp4")
    tree.expected.arguments = ("--reals", reals)
    tree.expected.says = (
        "deeperforensics at c23: 6 videos", "  test, fake: 2", "  test, real: 2",
        "  train, fake: 1", "  train, real: 1", "missing: in the lists and not here (2)",
        f"  ffpp/{inside}/720.mp4", f"  {fakes}/720_W133.mp4",
    )  # fmt: skip
    tree.expected.groups = {"all": (2, 2, 0), "method end_to_end": (2, 2, 0)}


def _diffswap(tree: _Tree) -> None:
    for who, (a, b) in enumerate((("000", "003"), ("012", "026"))):
        tree.real(f"real/{a}.mp4", who, "test")
        tree.fake(f"fake/{a}_{b}.mp4", who, "test")
    tree.expected.says = ("diffswap: 4 videos", "  test, fake: 2", "  test, real: 2")
    tree.expected.groups = {"all": (2, 2, 0)}


def _bench(tree: _Tree, folder: Path, film: Path, before: str = "") -> dict[str, list[str]]:
    """Frames of 256 px, and their paths as another machine wrote them."""
    below = folder.relative_to(tree.expected.root.parent).as_posix()
    names = tree.pictures(folder, film, 256)
    return {"frames": [f"./deepfakes_detection_datasets/{before}{below}/{name}" for name in names]}


def _df40(tree: _Tree) -> None:
    """One method in one domain; reals lie beside it. Its val is its test."""
    tree.expected.root = tree.expected.root.with_name("DF40")
    root, inside = tree.expected.root, "original_sequences/youtube/c23/frames"
    reals = root.with_name("FaceForensics++")
    tables: dict[str, dict[str, dict[str, object]]] = {"Real": {}, "Fake": {}}
    for who, (a, b) in enumerate((("953", "974"), ("974", "953"))):
        frames = _bench(tree, reals / inside / a, tree.material.faces[who])
        tables["Real"][a] = {"label": "simswap_Real", **frames}
        tree.expected.videos[f"ffpp/{inside}/{a}"] = Video(label="real", split="test", identity=a)
        folder = f"simswap/ff/frames/{a}_{b}"
        frames = _bench(tree, root / folder, tree.material.fakes[0][who])
        tables["Fake"][f"{a}_{b}"] = {"label": "simswap_Fake", **frames}
        tree.expected.videos[folder] = Video(
            label="fake", split="test", method="simswap", identity=a
        )
    classes = {
        f"simswap_{label}": {"train": {}, "val": table, "test": table}
        for label, table in tables.items()
    }
    tree.write("dataset_json/simswap_ff.json", json.dumps({"simswap_ff": classes}))
    tree.expected.arguments = ("--reals", reals)
    tree.expected.says = (
        "df40: 4 videos", "  test, fake: 2", "  test, real: 2",
        "lists: dataset_json/simswap_ff.json", "  - methods here: 1 of 40",
    )  # fmt: skip
    tree.expected.groups = {"all": (2, 2, 0), "method simswap": (2, 2, 0)}


def _deepfakebench(tree: _Tree) -> None:
    """Celeb-DF as DeepfakeBench prepares it; the frames of one video are damaged."""
    root, inside = tree.expected.root.with_name("datasets"), "rgb/Celeb-DF-v2"
    tree.expected.root = root
    films = {
        ("Celeb-real", "id0_0000"): tree.material.faces[0],
        ("YouTube-real", "00170"): tree.material.faces[1],
        ("Celeb-synthesis", "id0_id1_0000"): tree.material.fakes[0][0],
        ("Celeb-synthesis", "id1_id0_0000"): tree.material.fakes[0][2],
        ("Celeb-real", "id1_0001"): tree.material.faces[2],
    }
    tables: dict[str, dict[str, object]] = {"CelebDFv2_real": {}, "CelebDFv2_fake": {}}
    for (part, video), film in films.items():
        folder = f"{inside}/{part}/frames/{video}"
        name = "CelebDFv2_fake" if "_id" in video else "CelebDFv2_real"
        tables[name][video] = {"label": name, **_bench(tree, root / folder, film)}
        tree.expected.videos[folder] = Video(
            label=name[10:], split="test", method="CelebDFv2" if name[10:] == "fake" else "",
            identity=video.partition("_")[0] if video.startswith("id") else "",
        )  # fmt: skip
    damaged = f"{inside}/Celeb-real/frames/id1_0001"
    for picture in (root / damaged).iterdir():
        picture.write_bytes(b"\x89PNG\r\n")
    tree.expected.unreadable = {damaged: "none of its 12 pictures can be read"}
    gone = {"label": "CelebDFv2_fake", "frames": ["./datasets/rgb/Celeb-DF-v2/gone/000.png"]}
    tables["CelebDFv2_fake"]["id5_id6_0001"] = gone
    content = {"Celeb-DF-v2": {name: {"test": table} for name, table in tables.items()}}
    tree.write("preprocessing/dataset_json/Celeb-DF-v2.json", json.dumps(content))
    tree.expected.says = (
        "deepfakebench: 5 videos", "  test, fake: 2", "  test, real: 3",
        "missing: in the lists and not here (1)",
    )  # fmt: skip
    tree.expected.groups = {"all": (2, 2, 1), "method CelebDFv2": (2, 2, 1)}


def _folder(tree: _Tree) -> None:
    """Labels, splits and people by a CSV; folders alone would call all of them real."""
    tree.real("interviews/monday_1.mp4", 0, "test", "anna")
    tree.real("interviews/monday_2.mp4", 1, "test", "ben")
    tree.fake("found/clip.mp4", 0, "test", "reenacted", "anna")
    tree.fake("found/clip2.mp4", 2, "test", "swapped", "", seed=1)
    tree.real("interviews/tuesday_1.mp4", 3, "validation", "carl")
    path = tree.expected.root / "videos.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("path", "label", "method", "split", "identity"))
        for name, v in tree.expected.videos.items():
            rows.writerow((name, v.label, v.method, v.split, v.identity))
    tree.expected.arguments = ("--table", path)
    tree.expected.says = (
        "folder: 5 videos", "  no split, real: 5",
        "  - all videos are real by their folders (real/, fake/, fake/METHOD/)",
    )  # fmt: skip
    tree.expected.groups = {
        "all": (2, 2, 0), "method reenacted": (2, 1, 0), "method swapped": (2, 1, 0)
    }  # fmt: skip


BUILDERS: Mapping[str, Callable[[_Tree], None]] = {
    "ffpp": _ffpp,
    "celeb-df-v1": _celeb,
    "celeb-df-v2": _celeb,
    "dfd": _dfd,
    "dfdcp": _dfdcp,
    "dfdc": _dfdc,
    "wilddeepfake": _wilddeepfake,
    "deeperforensics": _deeperforensics,
    "diffswap": _diffswap,
    "df40": _df40,
    "deepfakebench": _deepfakebench,
    "folder": _folder,
}
