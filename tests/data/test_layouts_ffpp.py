"""FaceForensics++, DeepFakeDetection and DeeperForensics."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from fakestormer.data.layouts import Options, check_report, list_dataset
from fakestormer.data.layouts.ffpp import SHIPPED
from fakestormer.errors import InputError
from layout_trees import ffpp_videos, touch, write_json

METHODS = ["Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures"]
C40 = Options(compression="c40")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Two videos in each split, two methods, all there."""
    for name, pair in {"train": "01", "val": "23", "test": "45"}.items():
        write_json(tmp_path / f"{name}.json", [[f"00{pair[0]}", f"00{pair[1]}"]])
    fakes = ["000_001", "001_000", "002_003", "003_002", "004_005", "005_004"]
    names = ffpp_videos([f"00{n}" for n in range(6)], fakes, ["Deepfakes", "FaceSwap"])
    return touch(tmp_path, names)


def test_the_shipped_lists_are_ffpps(shared_data: Path) -> None:
    for name in ("train.json", "val.json", "test.json"):
        theirs = shared_data / "splits" / "FaceForensics" / name
        assert (SHIPPED / name).read_bytes() == theirs.read_bytes()
    assert "Permission is hereby granted" in (SHIPPED / "LICENSE").read_text(encoding="utf-8")


def test_the_whole_of_ffpp_by_the_shipped_lists(tmp_path: Path) -> None:
    pairs = {n: json.loads((SHIPPED / f"{n}.json").read_text()) for n in ("train", "val", "test")}
    everyone = [f"{number:03}" for number in range(1000)]
    fakes = [f for ps in pairs.values() for a, b in ps for f in (f"{a}_{b}", f"{b}_{a}")]
    touch(tmp_path, ffpp_videos(everyone, fakes, METHODS))
    listing = list_dataset("ffpp", tmp_path, Options())
    tally = Counter((e.method, e.split) for e in listing.entries)
    assert tally == {
        (method, split): count
        for method in ("", *METHODS)
        for split, count in (("train", 720), ("validation", 140), ("test", 140))
    }
    # Keyed by file name alone, the 560 test fakes would be 140.
    test = [e for e in listing.entries if e.split == "test" and e.label == "fake"]
    assert len({e.video for e in test}) == 560
    assert len({e.path.name for e in test}) == 140
    assert listing.lists == "shipped with fakestormer"
    assert listing.missing == listing.unexpected == listing.doubled == listing.conflicts == ()
    assert all(count.present == count.expected and count.certain for count in listing.counts)
    # Nobody is in two splits.
    of: dict[str, set[str]] = {}
    for entry in listing.entries:
        of.setdefault(entry.identity, set()).add(entry.split)
    assert {len(splits) for splits in of.values()} == {1}
    assert listing.notes == ("FaceShifter is not here",)
    assert check_report(listing).endswith("All is as it should be; mind the notes.")


def test_entries_of_ffpp(small: Path) -> None:
    listing = list_dataset("ffpp", small, Options())
    assert listing.lists == "train.json, val.json, test.json"
    assert listing.compression == "c23"
    entry = {e.video: e for e in listing.entries}
    fake = entry["manipulated_sequences/FaceSwap/c23/videos/005_004.mp4"]
    assert (fake.label, fake.method, fake.split) == ("fake", "FaceSwap", "test")
    assert (fake.identity, fake.source) == ("005", "youtube")
    assert fake.path == small / fake.video
    real = entry["original_sequences/youtube/c23/videos/002.mp4"]
    assert (real.label, real.method, real.split, real.identity) == ("real", "", "validation", "002")
    assert [e.video for e in listing.entries] == sorted(entry)
    assert len(entry) == 18
    assert listing.notes == tuple(
        f"{name} is not here" for name in ("Face2Face", "NeuralTextures", "FaceShifter")
    )


def test_missing_unexpected_and_doubled_of_ffpp(small: Path) -> None:
    videos = "manipulated_sequences/Deepfakes/c23/videos"
    (small / videos / "004_005.mp4").unlink()
    touch(small, [f"{videos}/004_001.mp4", f"{videos}/000_001.avi", f"{videos}/._005_004.mp4"])
    (small / videos / "005_004.mp4").rename(small / videos / "005_004.MP4")
    touch(small, [f"{videos}/readme.txt", "manipulated_sequences/Mine/c23/videos/000_001.mp4"])
    write_json(small / "val.json", [["002", "003"], ["003", "000"]])
    listing = list_dataset("ffpp", small, Options())
    assert f"{videos}/004_005.mp4" in listing.missing
    # 000_003 and 003_000 are new in the lists, for both methods.
    assert len(listing.missing) == 1 + 4
    assert listing.doubled == ("000", "003")
    assert listing.unexpected == (f"{videos}/000_001.mp4", f"{videos}/004_001.mp4")
    entry = {e.video: e for e in listing.entries}
    assert entry[f"{videos}/004_001.mp4"].split == ""
    assert entry[f"{videos}/005_004.MP4"].split == "test"
    assert entry["original_sequences/youtube/c23/videos/000.mp4"].split == "train"
    assert any("left out: Mine" in note for note in listing.notes)
    assert not any("Mine" in video for video in entry)
    counts = {count.what: (count.present, count.expected) for count in listing.counts}
    assert counts["Deepfakes test"] == (1, 140)
    assert counts["FaceSwap test"] == (2, 140)


def test_compressions_that_are_not_there(small: Path) -> None:
    with pytest.raises(InputError, match=r"no videos of ffpp at c40 here; there are c23$"):
        list_dataset("ffpp", small, C40)
    touch(small, ffpp_videos(["000"], ["000_001"], ["Deepfakes"], "c40"))
    listing = list_dataset("ffpp", small, C40)
    assert {e.video.split("/")[-3] for e in listing.entries} == {"c40"}
    assert "manipulated_sequences/FaceSwap is not here at c40; there is c23" in listing.notes
    assert not any("FaceSwap" in name for name in listing.missing)


def test_some_methods_of_ffpp(small: Path) -> None:
    listing = list_dataset("ffpp", small, Options(methods=("FaceSwap",)))
    assert {e.method for e in listing.entries} == {"", "FaceSwap"}
    assert not any("Deepfakes" in count.what for count in listing.counts)
    with pytest.raises(InputError, match="no videos of the method Face2Face here; there are Deep"):
        list_dataset("ffpp", small, Options(methods=("Face2Face",)))


def test_lists_below_the_root_go_first_and_damaged_ones_are_refused(small: Path) -> None:
    for name in ("train", "val", "test"):
        write_json(small / "splits" / f"{name}.json", [[f"{name}a", f"{name}b"]])
    write_json(small / "splits" / "test.json", [["000", "001"]])
    listing = list_dataset("ffpp", small, Options())
    assert listing.lists == "splits/train.json, splits/val.json, splits/test.json"
    assert {e.split for e in listing.entries if e.identity in ("000", "001")} == {"test"}
    path = small / "splits" / "test.json"
    for content in ("[[1, 2]]", '{"000": "001"}', '[["000"]]', "[]"):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(InputError, match=r"splits/test.json: is no list of pairs"):
            list_dataset("ffpp", small, Options())
    path.write_text('[["000", ', encoding="utf-8")
    with pytest.raises(InputError, match=r"splits/test.json: is not JSON or breaks off"):
        list_dataset("ffpp", small, Options())
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"splits/test.json: is not text in UTF-8"):
        list_dataset("ffpp", small, Options())
    path.unlink()
    with pytest.raises(InputError, match=r"splits/test.json: is not there though train.json is"):
        list_dataset("ffpp", small, Options())


def test_dfd(small: Path) -> None:
    real = "original_sequences/actors/c23/videos"
    fake = "manipulated_sequences/DeepFakeDetection/c23/videos"
    touch(small, [f"{real}/01__exit_phone_room.mp4", f"{real}/odd.mp4"])
    touch(small, [f"{fake}/01_02__exit_phone_room__YVGY8LOK.mp4"])
    listing = list_dataset("dfd", small, Options())
    assert [(e.video, e.label, e.method, e.identity) for e in listing.entries] == [
        (f"{fake}/01_02__exit_phone_room__YVGY8LOK.mp4", "fake", "DeepFakeDetection", "01"),
        (f"{real}/01__exit_phone_room.mp4", "real", "", "01"),
        (f"{real}/odd.mp4", "real", "", ""),
    ]
    assert {(e.split, e.source) for e in listing.entries} == {("test", "actors")}
    assert listing.unexpected == (f"{real}/odd.mp4",)
    counts = [(count.what, count.expected, count.present) for count in listing.counts]
    assert counts == [("real", 363, 2), ("fake", 3068, 1)]
    # It is no part of ffpp.
    assert not any("actors" in e.video for e in list_dataset("ffpp", small, Options()).entries)
    with pytest.raises(InputError, match="no videos of dfd at raw here; there are c23"):
        list_dataset("dfd", small, Options(compression="raw"))


@pytest.fixture
def deeper(tmp_path: Path) -> Path:
    root = tmp_path / "deeper"
    for name, line in {"train": "000_M101", "val": "002_W004", "test": "004_M010"}.items():
        path = root / "lists" / "splits" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{line}.mp4\n", encoding="utf-8")
    folder = "manipulated_videos/end_to_end"
    names = [f"{folder}/{name}.mp4" for name in ("000_M101", "002_W004", "004_M010")]
    return touch(root, [*names, "source_videos/M101/M101_light_up_happy_camera_front.mp4"])


def test_deeperforensics_without_reals_is_fakes_only(deeper: Path) -> None:
    listing = list_dataset("deeperforensics", deeper, Options())
    assert [(e.path.stem, e.label, e.split, e.identity) for e in listing.entries] == [
        ("000_M101", "fake", "train", "000"),
        ("002_W004", "fake", "validation", "002"),
        ("004_M010", "fake", "test", "004"),
    ]
    assert {e.method for e in listing.entries} == {"end_to_end"}
    assert "AUC needs their real videos" in listing.notes[0]
    assert [(c.what, c.expected, c.present) for c in listing.counts] == [
        ("fake train", 703, 1),
        ("fake validation", 96, 1),
        ("fake test", 201, 1),
    ]


@pytest.mark.parametrize("above", ["", "FaceForensics++/"])
def test_the_reals_of_deeperforensics_are_its_targets(
    deeper: Path, tmp_path: Path, above: str
) -> None:
    reals = tmp_path / "reals"
    touch(reals / above, ffpp_videos(["000", "001", "004"], [], []))
    listing = list_dataset("deeperforensics", deeper, Options(reals=reals))
    real = {e.video: e for e in listing.entries if e.label == "real"}
    folder = "ffpp/original_sequences/youtube/c23/videos"
    assert set(real) == {f"{folder}/000.mp4", f"{folder}/004.mp4"}
    # In the split of its fake; FaceForensics++ has 000 and 004 in others.
    assert [e.split for e in real.values()] == ["train", "test"]
    assert all(e.path.is_file() for e in listing.entries)
    assert listing.missing == (f"{folder}/002.mp4",)
    with pytest.raises(InputError, match="no videos of ffpp at c40 here; there are c23"):
        list_dataset("deeperforensics", deeper, Options(reals=reals, compression="c40"))
    with pytest.raises(InputError, match="nothing of ffpp is here"):
        list_dataset("deeperforensics", deeper, Options(reals=deeper))


def test_lists_of_deeperforensics(deeper: Path, tmp_path: Path) -> None:
    lists = deeper / "lists" / "splits"
    (lists / "test.txt").write_text("004_M010.mp4\n000_W101\n000_M101.mp4\n", encoding="utf-8")
    (lists / "val.txt").write_text("002_W004.mp4\n\n002_W004.mp4", encoding="utf-8")
    touch(deeper, ["manipulated_videos/end_to_end/009_M101.mp4"])
    reals = touch(tmp_path / "ffpp", ffpp_videos(["000", "002", "004"], [], []))
    listing = list_dataset("deeperforensics", deeper, Options(reals=reals))
    assert listing.doubled == ("000_M101", "002_W004")
    assert listing.missing == ("manipulated_videos/end_to_end/000_W101.mp4",)
    assert listing.unexpected == ("manipulated_videos/end_to_end/009_M101.mp4",)
    assert "in the lists of two splits: 000_M101" in listing.conflicts
    assert "targets of fakes in several splits: 000" in listing.conflicts
    splits = {e.video: e.split for e in listing.entries if e.label == "real"}
    assert splits["ffpp/original_sequences/youtube/c23/videos/000.mp4"] == "test"
    with pytest.raises(InputError, match=r"no variant end_to_end_level_1 .* there are end_to_end$"):
        list_dataset("deeperforensics", deeper, Options(variant="end_to_end_level_1"))
    (lists / "test.txt").write_text("<html>\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"test.txt: line 1 is '<html>'"):
        list_dataset("deeperforensics", deeper, Options())
    (lists / "test.txt").unlink()
    with pytest.raises(InputError, match=r"test.txt: this list of the data set is not here"):
        list_dataset("deeperforensics", deeper, Options())
