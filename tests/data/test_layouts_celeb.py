"""Celeb-DF: a list without a header that calls real videos 1."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from fakestormer.data.layouts import Options, check_report, list_dataset
from fakestormer.errors import InputError
from layout_trees import touch

LIST = "List_of_testing_videos.txt"
TREE = (
    "Celeb-real/id0_0000.mp4",
    "Celeb-real/id0_0001.mp4",
    "YouTube-real/00170.mp4",
    "Celeb-synthesis/id0_id16_0000.mp4",
    "Celeb-synthesis/id1_id0_0007.mp4",
)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    lines = ["1 YouTube-real/00170.mp4", "1 Celeb-real/id0_0001.mp4"]
    lines += ["0 Celeb-synthesis/id1_id0_0007.mp4"]
    (tmp_path / LIST).write_text("\n".join(lines), encoding="utf-8")
    return touch(tmp_path, TREE)


def test_the_published_list_is_read_whole(shared_data: Path, tmp_path: Path) -> None:
    theirs = shared_data / "splits" / "Celeb-DF-v2" / LIST
    shutil.copy(theirs, tmp_path / LIST)
    lines = [line.split() for line in theirs.read_text(encoding="utf-8").splitlines()]
    touch(tmp_path, [name for _, name in lines])
    touch(tmp_path, ["Celeb-real/id0_9999.mp4"])
    listing = list_dataset("celeb-df-v2", tmp_path, Options())
    tally = Counter((e.label, e.split) for e in listing.entries)
    assert tally == {("real", "test"): 178, ("fake", "test"): 340, ("real", "train"): 1}
    assert listing.missing == listing.unexpected == listing.doubled == listing.conflicts == ()
    # The first line, which a reader of CSV files would take for a header.
    first = next(e for e in listing.entries if e.video == lines[0][1])
    assert (first.label, first.split) == ("real", "test")
    counts = {c.what: (c.present, c.expected) for c in listing.counts}
    assert counts["real test"] == (178, 178)
    assert counts["fake test"] == (340, 340)
    assert counts["Celeb-synthesis"] == (340, 5639)
    assert check_report(listing).endswith("Not all is as it should be; see above.")


def test_entries_of_celeb_df(small: Path) -> None:
    listing = list_dataset("celeb-df-v2", small, Options())
    facts = {e.video: (e.label, e.split, e.method, e.source, e.identity) for e in listing.entries}
    synthesis = "Celeb-synthesis"
    assert facts == {
        "Celeb-real/id0_0000.mp4": ("real", "train", "", "Celeb", "id0"),
        "Celeb-real/id0_0001.mp4": ("real", "test", "", "Celeb", "id0"),
        "Celeb-synthesis/id0_id16_0000.mp4": ("fake", "train", synthesis, "Celeb", "id0"),
        "Celeb-synthesis/id1_id0_0007.mp4": ("fake", "test", synthesis, "Celeb", "id1"),
        "YouTube-real/00170.mp4": ("real", "test", "", "YouTube", ""),
    }
    assert listing.lists == LIST
    assert list(facts) == sorted(facts)
    old = list_dataset("celeb-df-v1", small, Options())
    assert old.entries == listing.entries
    assert [(c.what, c.expected, c.present) for c in old.counts] == [
        ("real", 408, 3),
        ("fake", 795, 2),
    ]


def test_a_list_with_its_labels_the_other_way_round_is_told(small: Path) -> None:
    text = (small / LIST).read_text(encoding="utf-8")
    (small / LIST).write_text(
        "".join(
            {"0": "1", "1": "0"}.get(line[0], line[0]) + line[1:] for line in text.splitlines(True)
        ),
        encoding="utf-8",
    )
    listing = list_dataset("celeb-df-v2", small, Options())
    assert listing.conflicts[0].startswith(f"3 lines of {LIST} contradict the folder")
    assert Counter(e.label for e in listing.entries) == {"real": 3, "fake": 2}


def test_missing_unexpected_and_doubled_of_celeb_df(small: Path) -> None:
    with (small / LIST).open("a", encoding="utf-8") as file:
        file.write("\n1 YouTube-real/00170.mp4\n0 Celeb-synthesis/id9_id8_0001.mp4\n")
        file.write("1 Extra/00001.mp4\r\n\n")
    touch(small, ["YouTube-real/copy of 00170.mp4", "YouTube-real/._00170.mp4"])
    touch(small, ["Celeb-real/00170.mp4", "Celeb-real/id0_0001.avi", "YouTube-real/x.txt"])
    listing = list_dataset("celeb-df-v2", small, Options())
    assert listing.doubled == ("YouTube-real/00170.mp4",)
    assert listing.missing == ("Celeb-synthesis/id9_id8_0001.mp4", "Extra/00001.mp4")
    assert listing.unexpected == (
        "Celeb-real/00170.mp4",
        "Celeb-real/id0_0001.mp4",
        "YouTube-real/copy of 00170.mp4",
    )
    assert listing.conflicts == (f"1 lines of {LIST} name another folder: Extra/00001.mp4",)
    entry = {e.video: e for e in listing.entries}
    # Of the same name as a listed video in another folder, and not listed.
    assert entry["Celeb-real/00170.mp4"].split == "train"
    assert entry["Celeb-real/id0_0001.avi"].split == "test"
    assert "Celeb-real/id0_0001.mp4" not in entry


def test_a_folder_spelled_otherwise_and_one_that_is_absent(small: Path) -> None:
    (small / "YouTube-real").rename(small / "Youtube-real")
    for path in (small / "Celeb-real").iterdir():
        path.unlink()
    (small / "Celeb-real").rmdir()
    listing = list_dataset("celeb-df-v2", small, Options())
    entry = {e.video: e for e in listing.entries}
    assert entry["Youtube-real/00170.mp4"].split == "test"
    assert listing.notes == ("Celeb-real/ is not here",)
    assert listing.missing == ("Celeb-real/id0_0001.mp4",)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "the list of test videos is empty"),
        ("label path\n1 YouTube-real/1.mp4", r"line 1 is 'label path', expected like"),
        ("1 YouTube-real/1.mp4\n0 ./", r"line 2 is '0 ./', expected like"),
        ("2 YouTube-real/1.mp4", "line 1 is '2 YouTube-real/1.mp4', expected like"),
        (None, "comes with the data set, whose terms do not let us ship it"),
    ],
)
def test_lists_that_cannot_be_read(small: Path, content: str | None, sentence: str) -> None:
    (small / LIST).unlink()
    if content is not None:
        (small / LIST).write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=sentence):
        list_dataset("celeb-df-v2", small, Options())
