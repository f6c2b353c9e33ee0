"""DeepfakeBench's JSON, and DF40, which comes in that form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fakestormer.data.layouts import Options, list_dataset
from fakestormer.data.layouts.bench_json import label_called
from fakestormer.data.layouts.bench_paths import clean
from fakestormer.errors import InputError
from fakestormer.video.pictures import naturally
from layout_trees import touch, write_json

FAKE = "DF40/simswap/ff/frames/001_870"
REAL = "FaceForensics++/original_sequences/youtube/c23/frames/001"


def _video(folder: str, label: str, *, frames: int = 3, before: str = "/far/away/datasets/") -> Any:
    return {"label": label, "frames": [f"{before}{folder}/{n}.png" for n in range(frames)]}


def _pngs(folder: str, frames: int = 3) -> list[str]:
    return [f"{folder}/{number}.png" for number in range(frames)]


@pytest.fixture
def df40(tmp_path: Path) -> Path:
    """One method in one domain: fakes in DF40's folder, reals in one of their own."""
    real, fake = {"001": _video(REAL, "roop_Real")}, {"001_870": _video(FAKE, "roop_Fake")}
    content = {
        "simswap_ff": {
            "roop_Real": {"train": {}, "val": real, "test": real},
            "roop_Fake": {"train": {}, "val": fake, "test": fake},
        }
    }
    root = tmp_path / "DF40"
    write_json(root / "dataset_json" / "simswap_ff.json", content)
    touch(tmp_path, _pngs(FAKE))
    touch(tmp_path / "elsewhere", _pngs(REAL))
    return root


@pytest.mark.parametrize("below", ["", "FaceForensics++"])
def test_df40(df40: Path, tmp_path: Path, below: str) -> None:
    reals = tmp_path / "elsewhere" / below
    listing = list_dataset("df40", df40, Options(reals=reals))
    fake, real = sorted(listing.entries, key=lambda e: e.label)
    assert (fake.video, fake.split, fake.method) == ("simswap/ff/frames/001_870", "test", "simswap")
    assert (fake.identity, fake.source, fake.kind) == ("001", "simswap_ff", "pictures")
    assert (real.label, real.split, real.method) == ("real", "test", "")
    inside = REAL if not below else REAL.removeprefix("FaceForensics++/")
    assert (real.video, real.source, real.identity) == (f"ffpp/{inside}", "FaceForensics++", "001")
    for entry in (fake, real):
        assert entry.frames == tuple(entry.path / f"{n}.png" for n in range(3))
        assert all(frame.is_file() for frame in entry.frames)
    assert "2 videos are listed for both val and test" in listing.notes[0]
    assert listing.notes[1] == "methods here: 1 of 40"
    assert listing.lists == "dataset_json/simswap_ff.json"
    assert listing.conflicts == listing.missing == ()


def test_reals_that_are_not_there_are_missing(df40: Path, tmp_path: Path) -> None:
    listing = list_dataset("df40", df40, Options())
    assert [e.label for e in listing.entries] == ["fake"]
    assert listing.missing == (f"far/away/datasets/{REAL}",)
    with pytest.raises(InputError, match="no such folder; give the one that holds the real"):
        list_dataset("df40", df40, Options(reals=tmp_path / "nowhere"))


def test_everything_below_one_root_needs_no_reals(df40: Path, tmp_path: Path) -> None:
    touch(tmp_path, _pngs(REAL))
    options = Options(lists=df40 / "dataset_json")
    listing = list_dataset("df40", tmp_path, options)
    assert [e.video for e in listing.entries] == [FAKE, REAL]
    single = Options(lists=df40 / "dataset_json" / "simswap_ff.json")
    assert list_dataset("df40", tmp_path, single).entries == listing.entries


def test_a_method_that_has_another_ones_frame_names_is_not_taken_for_it(tmp_path: Path) -> None:
    root = tmp_path / "DF40" / "blendface" / "ff"
    touch(root, _pngs("frames/001_870"))
    content = {"x_ff": {"x_Fake": {"test": {"001_870": _video(FAKE, "x_Fake")}}}}
    write_json(root / "x.json", content)
    with pytest.raises(
        InputError, match=r"not one video of df40 is here; its lists .x.json. name 1"
    ):
        list_dataset("df40", root, Options())


def test_the_same_names_in_many_methods_and_lists(tmp_path: Path) -> None:
    for method in ("simswap", "blendface"):
        fake = f"DF40/{method}/ff/frames/001_870"
        touch(tmp_path, _pngs(fake))
        classes = {
            f"{method}_Real": {"train": {"001": _video(REAL, f"{method}_Real", before="./")}},
            f"{method}_Fake": {"train": {"001_870": _video(fake, f"{method}_Fake", before="")}},
        }
        write_json(tmp_path / f"{method}_ff.json", {f"{method}_ff": classes})
    touch(tmp_path, _pngs(REAL))
    listing = list_dataset("deepfakebench", tmp_path, Options())
    assert [(e.video, e.method) for e in listing.entries] == [
        ("DF40/blendface/ff/frames/001_870", "blendface"),
        ("DF40/simswap/ff/frames/001_870", "simswap"),
        (REAL, ""),
    ]
    assert listing.doubled == listing.conflicts == ()
    one = list_dataset("deepfakebench", tmp_path, Options(methods=("simswap",)))
    assert [e.method for e in one.entries] == ["simswap", ""]


def test_compressions_of_a_bench_list(tmp_path: Path) -> None:
    fake = "FaceForensics++/manipulated_sequences/Deepfakes/{}/frames/000_003"
    levels = {level: {"000_003": _video(fake.format(level), "FF-DF")} for level in ("c23", "c40")}
    write_json(tmp_path / "FF-DF.json", {"FF-DF": {"FF-DF": {"test": levels, "val": {}}}})
    touch(tmp_path, [*_pngs(fake.format("c23")), *_pngs(fake.format("c40"))])
    for level in ("c23", "c40"):
        options = Options(compression=level)  # type: ignore[arg-type]
        listing = list_dataset("deepfakebench", tmp_path, options)
        assert [(e.video, e.label, e.method) for e in listing.entries] == [
            (fake.format(level), "fake", "Deepfakes")
        ]
        assert (listing.compression, listing.entries[0].identity) == (level, "000")
    with pytest.raises(InputError, match=r"no videos at raw in FF-DF\.json; there are c23, c40"):
        list_dataset("deepfakebench", tmp_path, Options(compression="raw"))


def test_windows_paths_and_frames_by_their_numbers(tmp_path: Path) -> None:
    names = [f"a/b/{number}.png" for number in (10, 2, 1)]
    touch(tmp_path, names)
    frames = [".\\" + name.replace("/", "\\") for name in names]
    videos = {"b": {"label": "own_fake", "frames": [*frames, *frames]}}
    write_json(tmp_path / "own.json", {"own": {"own_fake": {"validation": videos}}})
    (entry,) = list_dataset("deepfakebench", tmp_path, Options()).entries
    assert (entry.video, entry.method, entry.split) == ("a/b", "own", "validation")
    assert [frame.name for frame in entry.frames] == ["1.png", "2.png", "10.png"]
    assert clean("C:\\x\\..\\y.png") == "x/y.png"
    assert sorted(["f10.png", "f9.png", "a1.png"], key=naturally) == ["a1.png", "f9.png", "f10.png"]


def test_single_pictures_in_one_folder_stay_apart(tmp_path: Path) -> None:
    touch(tmp_path, ["DF40/e4e/cdf/0.png", "DF40/e4e/cdf/1.png"])
    videos = {
        key: {"label": "e4e_Fake", "frames": [f"DF40/e4e/cdf/{key}.png"]} for key in ("0", "1", "2")
    }
    write_json(tmp_path / "e4e_cdf.json", {"e4e_cdf": {"e4e_Fake": {"test": videos}}})
    listing = list_dataset("df40", tmp_path, Options())
    assert [e.video for e in listing.entries] == ["DF40/e4e/cdf/0", "DF40/e4e/cdf/1"]
    assert listing.missing == ("DF40/e4e/cdf/2",)
    assert any(note.startswith("2 entries are a single picture") for note in listing.notes)


def test_all_methods_of_df40_are_counted(tmp_path: Path) -> None:
    for number in range(41):
        folder = f"DF40/m{number}/ff/frames/001_870"
        touch(tmp_path, _pngs(folder, 2))
        videos = {"001_870": _video(folder, "x_Fake", frames=2)}
        write_json(tmp_path / f"m{number}_ff.json", {f"m{number}_ff": {"x_Fake": {"test": videos}}})
    listing = list_dataset("df40", tmp_path, Options())
    assert [(c.what, c.expected, c.present) for c in listing.counts] == [("methods", 40, 41)]
    assert listing.notes == ()


def test_what_contradicts_itself_or_cannot_be_decided(tmp_path: Path) -> None:
    touch(tmp_path, [*_pngs("v/1"), *_pngs("v/2"), *_pngs("v/3", 1)])
    table = {
        "d": {
            "d_real": {
                "train": {"1": _video("v/1", "d_real", before="")},
                "test": {"1": _video("v/1", "d_real", before="/x/datasets/"), "5": {"label": 1}},
                "extra": {"4": _video("v/4", "d_real")},
                "val": {"label": "d_real", "frames": ["v/9.png"]},
            },
            "d_fake": {"test": {"2": _video("v/2", "d_real", before="")}},
            "whichisreal": {"test": {"6": _video("v/6", "strange")}},
            "d_fakes": {"test": {"3": _video("v/3", "fake", before="")}},
        }
    }
    write_json(tmp_path / "d.json", table)
    write_json(tmp_path / "other.json", {"not": "ours"})
    listing = list_dataset("deepfakebench", tmp_path, Options())
    facts = {e.video: (e.label, e.split, len(e.frames)) for e in listing.entries}
    # v/1 is written in two ways, and is one video, of the last split.
    assert facts == {
        "v/1": ("real", "test", 3),
        "v/2": ("real", "test", 3),
        "v/3": ("fake", "test", 1),
    }
    assert "1 videos are called both real and fake" in listing.conflicts[0]
    assert "v/2" in listing.conflicts[0]
    assert listing.conflicts[1].startswith("1 videos are listed for both train and test")
    notes = "\n".join(listing.notes)
    assert "1 videos lack some of their frames here and are taken without them: v/3" in notes
    assert "left out, as nothing says whether they are real or fake: d: whichisreal" in notes
    assert "JSON files that list no frames are left out: other.json" in notes
    assert "d: d_real: 5" in notes
    assert "d: d_real: extra" in notes


@pytest.mark.parametrize(
    ("word", "label"),
    [
        ("FF-real", "real"),
        ("CelebDFv2_real", "real"),
        ("simswap_Real", "real"),
        ("real", "real"),
        (0, "real"),
        ("FF-DF", "fake"),
        ("FF-NT", "fake"),
        ("DFDCP_FakeA", "fake"),
        ("whichisreal_Fake", "fake"),
        ("DFD_fake", "fake"),
        (1, "fake"),
        ("whichisreal", None),
        ("FF-XY", None),
        ("", None),
    ],
)
def test_label_words(word: object, label: str | None) -> None:
    assert label_called(word) == label


def test_damaged_bench_lists(tmp_path: Path) -> None:
    path = tmp_path / "simswap_ff.json"
    path.write_text('{"simswap_ff": {', encoding="utf-8")
    with pytest.raises(InputError, match=r"simswap_ff.json: is not JSON or breaks off"):
        list_dataset("df40", tmp_path, Options())
    for content in ([1, 2], {"a": {"b": {"c": {}}}}, {}):
        write_json(path, content)
        with pytest.raises(InputError, match=r"simswap_ff.json: is no list like DeepfakeBench's"):
            list_dataset("df40", tmp_path, Options())
