"""DFDC, its preview, and WildDeepfake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fakestormer.data.layouts import Options, list_dataset
from fakestormer.errors import InputError
from layout_trees import touch, write_json

PREVIEW: dict[str, dict[str, Any]] = {
    "original_videos/12/12_A_001.mp4": {"label": "real", "set": "test", "target_id": "12"},
    "method_A/12/34/12_34_A.mp4": {
        "label": "fake",
        "set": "test",
        "target_id": "12",
        "swapped_id": "34",
    },
    "method_B/12/34/12_34_A.mp4": {"label": "fake", "set": "train", "target_id": None},
}


@pytest.mark.parametrize("above", ["", "dfdc_preview_set/"])
def test_dfdcp(tmp_path: Path, above: str) -> None:
    touch(tmp_path / above, PREVIEW)
    write_json(tmp_path / above / "dataset.json", PREVIEW)
    listing = list_dataset("dfdcp", tmp_path, Options())
    assert [(e.video, e.label, e.method, e.split, e.identity) for e in listing.entries] == [
        ("method_A/12/34/12_34_A.mp4", "fake", "method_A", "test", "12"),
        ("method_B/12/34/12_34_A.mp4", "fake", "method_B", "train", ""),
        ("original_videos/12/12_A_001.mp4", "real", "", "test", "12"),
    ]
    assert all(e.path.is_file() for e in listing.entries)
    assert listing.lists == "dataset.json"
    assert [(c.expected, c.present, c.certain) for c in listing.counts] == [(5250, 3, False)]
    assert listing.missing == listing.unexpected == listing.conflicts == ()
    one = list_dataset("dfdcp", tmp_path, Options(methods=("method_A",)))
    assert [e.method for e in one.entries] == ["method_A", ""]
    assert one.missing == ()


def test_differences_of_dfdcp(tmp_path: Path) -> None:
    touch(tmp_path, [*list(PREVIEW)[:2], "method_A/9/x.mp4", "original_videos/5.mp4"])
    wrong = {"original_videos/5.mp4": {"label": "fake", "set": "test"}}
    path = write_json(tmp_path / "dataset.json", PREVIEW | wrong)
    path.write_text(
        path.read_text(encoding="utf-8")[:-1]
        + ', "original_videos/5.mp4": {"label": "real", "set": "train"}}',
        encoding="utf-8",
    )
    listing = list_dataset("dfdcp", tmp_path, Options())
    assert listing.missing == ("method_B/12/34/12_34_A.mp4",)
    assert listing.unexpected == ("method_A/9/x.mp4",)
    assert listing.doubled == ("original_videos/5.mp4",)
    assert "contradicts the folder about 1 videos" in listing.conflicts[0]
    entry = {e.video: e for e in listing.entries}
    assert (entry["method_A/9/x.mp4"].label, entry["method_A/9/x.mp4"].split) == ("fake", "")
    assert entry["original_videos/5.mp4"].label == "fake"
    assert listing.notes == ("method_B/ is not here",)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"original_videos/1.mp4": {"label": "real", "set"', "is not JSON or breaks off"),
        ("[]", "does not say one thing per video"),
        ('{"original_videos/1.mp4": "real"}', "does not say one thing per video"),
        ('{"original_videos/1.mp4": {"label": "?", "set": "test"}}', r"says '\?' of original_vid"),
        ('{"original_videos/1.mp4": {"label": "real"}}', "puts original_videos/1.mp4 into None"),
        (None, "is not here; labels and splits are in it"),
    ],
)
def test_damaged_lists_of_dfdcp(tmp_path: Path, content: str | None, sentence: str) -> None:
    touch(tmp_path, ["original_videos/1.mp4"])
    if content is not None:
        (tmp_path / "dataset.json").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=f"dataset.json: {sentence}"):
        list_dataset("dfdcp", tmp_path, Options())


@pytest.mark.parametrize("part", ["test/", ""])
@pytest.mark.parametrize("form", ["labels.csv", "metadata.json"])
def test_the_test_set_of_dfdc(tmp_path: Path, part: str, form: str) -> None:
    folder = tmp_path / part
    touch(folder, ["aa.mp4", "bb.mp4", "zz.mp4"])
    if form == "labels.csv":
        (folder / form).write_text("filename,label\naa.mp4,1\nbb.mp4,0\ncc.mp4,1", encoding="utf-8")
    else:
        fake, real = {"label": "FAKE", "is_fake": 1, "original": "q.mp4"}, {"label": "REAL"}
        write_json(folder / form, {"aa.mp4": fake, "bb.mp4": real, "cc.mp4": fake})
    listing = list_dataset("dfdc", tmp_path, Options())
    assert [(e.video, e.label, e.split) for e in listing.entries] == [
        (f"{part}aa.mp4", "fake", "test"),
        (f"{part}bb.mp4", "real", "test"),
    ]
    assert listing.missing == (f"{part}cc.mp4",)
    assert listing.unexpected == (f"{part}zz.mp4",)  # nothing says what it is
    assert listing.lists == f"{part}{form}"
    assert [(c.what, c.expected, c.present) for c in listing.counts] == [("test", 5000, 2)]
    assert listing.conflicts == ()


def test_training_parts_of_dfdc(tmp_path: Path) -> None:
    part, inner = "dfdc_train_part_00", "train/dfdc_train_part_49"
    touch(tmp_path, [f"{part}/a.mp4", f"{part}/b.mp4", f"{inner}/a.mp4"])
    real = {"label": "REAL", "split": "train"}
    held = {"label": "FAKE", "split": "validate", "original": "a.mp4"}
    write_json(tmp_path / part / "metadata.json", {"a.mp4": real, "b.mp4": held})
    write_json(tmp_path / inner / "metadata.json", {"a.mp4": {"label": "FAKE"}})
    listing = list_dataset("dfdc", tmp_path, Options())
    assert [(e.video, e.label, e.split, e.source) for e in listing.entries] == [
        (f"{part}/a.mp4", "real", "train", part),
        (f"{part}/b.mp4", "fake", "validation", part),
        (f"{inner}/a.mp4", "fake", "train", "dfdc_train_part_49"),
    ]
    assert listing.notes == ("the test set, which papers report, is not here",)
    assert listing.counts == ()
    # A part given as the root: the list itself says that it is no test set.
    alone = list_dataset("dfdc", tmp_path / part, Options())
    assert [e.split for e in alone.entries] == ["train", "validation"]


def test_differences_of_dfdc(tmp_path: Path) -> None:
    touch(tmp_path, ["test/a.mp4", "test/b.mp4", "loose.mp4"])
    rows = "filename,label\na.mp4,1\na.mp4,0\nb.mp4,0\nb.mp4,0\n"
    (tmp_path / "test" / "labels.csv").write_text(rows, encoding="utf-8")
    listing = list_dataset("dfdc", tmp_path, Options())
    assert listing.doubled == ("test/a.mp4", "test/b.mp4")
    assert "calls 1 videos both real and fake" in listing.conflicts[0]
    assert [e.label for e in listing.entries] == ["fake", "real"]
    torn = {"a.mp4": {"label": "REAL", "is_fake": 1}, "b.mp4": {"label": "REAL", "is_fake": 0}}
    (tmp_path / "test" / "labels.csv").unlink()
    write_json(tmp_path / "test" / "metadata.json", torn)
    assert "both real and fake" in list_dataset("dfdc", tmp_path, Options()).conflicts[0]
    (tmp_path / "test" / "metadata.json").unlink()
    with pytest.raises(InputError, match=r"neither labels.csv nor metadata.json is here"):
        list_dataset("dfdc", tmp_path, Options())


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("a.mp4,1\nb.mp4,0\n", "has no column `filename` in its first line"),
        ("filename,label\na.mp4,2\n", "says '2' of a.mp4, expected real or fake"),
        ("", "has no column `filename`"),
    ],
)
def test_damaged_labels_of_dfdc(tmp_path: Path, content: str, sentence: str) -> None:
    touch(tmp_path, ["test/a.mp4"])
    (tmp_path / "test" / "labels.csv").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=f"labels.csv: {sentence}"):
        list_dataset("dfdc", tmp_path, Options())


@pytest.mark.parametrize("above", ["", "deepfake_in_the_wild/"])
def test_wilddeepfake(tmp_path: Path, above: str) -> None:
    # Not archives at all: they are not opened.
    names = ["real_train/1.tar.gz", "fake_train/1.tar.gz", "fake_test/10.tar.gz", "fake_test/x.md"]
    names += ["real_test/2/2/real/0/0.png", "real_test/2.tar.gz", "real_test/._3.tar.gz"]
    touch(tmp_path / above, names)
    listing = list_dataset("wilddeepfake", tmp_path, Options())
    assert [(e.video, e.label, e.split) for e in listing.entries] == [
        ("fake_test/10.tar.gz", "fake", "test"),
        ("fake_train/1.tar.gz", "fake", "train"),
        ("real_test/2", "real", "test"),
        ("real_train/1.tar.gz", "real", "train"),
    ]
    assert {(e.kind, e.source, e.identity) for e in listing.entries} == {
        ("sequences", "wilddeepfake", "")
    }
    assert all(e.path.exists() for e in listing.entries)
    assert listing.unexpected == ("fake_test/x.md",)
    assert [(c.what, c.expected, c.present) for c in listing.counts] == [("videos", 707, 4)]
    assert listing.notes[0].startswith("one score is for a sequence")
    assert "real_test/2.tar.gz" in listing.notes[2]


def test_a_part_of_wilddeepfake(tmp_path: Path) -> None:
    touch(tmp_path, ["fake_test/10.tgz"])
    listing = list_dataset("wilddeepfake", tmp_path, Options())
    assert [e.video for e in listing.entries] == ["fake_test/10.tgz"]
    absent = [note for note in listing.notes if note.endswith("is not here")]
    assert absent == [f"{name}/ is not here" for name in ("real_train", "real_test", "fake_train")]
