"""What all layouts have in common, the report, and folders of videos."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from fakestormer.data.layouts import LAYOUTS, Options, check_report, list_dataset
from fakestormer.data.layouts.folders import list_folder
from fakestormer.data.layouts.reading import by_stem, read_json, stem_of
from fakestormer.data.listing import Count, Entry, Listing
from fakestormer.errors import InputError
from fakestormer.video.folder import files_below, find_videos, is_video
from layout_trees import touch


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_a_root_that_is_not_there_and_an_empty_one_get_one_sentence(
    name: str, tmp_path: Path
) -> None:
    what = "the videos" if name == "folder" else name
    with pytest.raises(InputError, match=f"no such folder; give the folder that holds {what}"):
        list_dataset(name, tmp_path / "nowhere", Options())
    (file := tmp_path.with_name(f"{name}.mp4")).touch()
    with pytest.raises(InputError, match=f"is a file; give the folder that holds {what}"):
        list_dataset(name, file, Options())
    with pytest.raises(InputError) as refused:
        list_dataset(name, tmp_path, Options())
    sentence = str(refused.value)
    assert sentence.startswith(str(tmp_path))
    assert "\n" not in sentence
    assert "looked for" in sentence or "no videos in this folder" in sentence


def test_an_unknown_data_set_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no data set kodf; there are ffpp, celeb-df-v1"):
        list_dataset("kodf", tmp_path, Options())


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="compression 'c25'"):
        Options(compression="c25")  # type: ignore[arg-type]


def test_names() -> None:
    assert is_video("a.MP4")
    assert is_video("a.b.mkv")
    assert not is_video("._a.mp4")
    assert not is_video("a.png")
    assert stem_of("c23.x/000_003.mp4") == "c23.x/000_003"
    assert stem_of("c23.x/000") == "c23.x/000"
    assert by_stem(["a.avi", "a.mp4", "b/a.mp4"]) == ({"a": "a.avi", "b/a": "b/a.mp4"}, ["a.mp4"])


def test_the_first_of_two_equal_keys_counts_and_both_are_told(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"a": 1, "b": {"c": 1, "c": 2}, "a": 3}', encoding="utf-8")
    assert read_json(path) == ({"a": 1, "b": {"c": 1}}, ["c", "a"])


def test_the_walk_goes_through_links_but_not_in_circles(tmp_path: Path) -> None:
    touch(tmp_path, ["far/b.mp4", "root/a/x.mp4", "root/._x.mp4", "root/.hidden/y.mp4"])
    (tmp_path / "root" / "linked").symlink_to(tmp_path / "far")
    (tmp_path / "root" / "a" / "up").symlink_to(tmp_path / "root")
    (tmp_path / "root" / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    assert files_below(tmp_path / "root", is_video) == ["a/x.mp4", "linked/b.mp4"]


def test_a_folder_without_rights_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match=r"cannot be read \(Permission denied\); check its rights"):
        files_below(tmp_path, is_video)


def test_folders_say_label_and_method(tmp_path: Path) -> None:
    names = ["real/anna/1.mp4", "fake/SwapNet/1.mp4", "fake/2.MOV", "notes.txt", "store/lock"]
    touch(tmp_path, names)
    listing = list_folder(tmp_path, tmp_path / "store")
    found = {e.video: (e.label, e.method, e.split, e.source) for e in listing.entries}
    assert found == {
        "fake/2.MOV": ("fake", "", "", "2"),
        "fake/SwapNet/1.mp4": ("fake", "SwapNet", "", "SwapNet"),
        "real/anna/1.mp4": ("real", "", "", "anna"),
    }
    assert listing.notes == ()
    assert [e.path for e in listing.entries] == [tmp_path / name for name in found]
    # The store lies below the root: nothing of it is a video.
    assert find_videos(tmp_path) != find_videos(tmp_path, tmp_path / "store")
    options = Options(methods=("SwapNet",), store=tmp_path / "store")
    some = list_dataset("folder", tmp_path, options)
    assert [e.video for e in some.entries] == ["fake/SwapNet/1.mp4", "real/anna/1.mp4"]
    with pytest.raises(InputError, match="no fakes of folder made by Other"):
        list_dataset("folder", tmp_path, dataclasses.replace(options, methods=("Other",)))


def test_plain_videos_are_real_and_a_note_says_so(tmp_path: Path) -> None:
    touch(tmp_path, ["b.mp4", "a.mp4"])
    listing = list_dataset("folder", tmp_path, Options())
    assert [(e.video, e.label) for e in listing.entries] == [("a.mp4", "real"), ("b.mp4", "real")]
    assert "all videos are real" in listing.notes[0]


def test_diffswap_is_all_test(tmp_path: Path) -> None:
    touch(tmp_path, ["real/1.mp4", "fake/1.mp4"])
    listing = list_dataset("diffswap", tmp_path, Options())
    assert listing.dataset == "diffswap"
    assert [(e.video, e.label, e.split) for e in listing.entries] == [
        ("fake/1.mp4", "fake", "test"),
        ("real/1.mp4", "real", "test"),
    ]


def _listing(**fields: object) -> Listing:
    entry = Entry(video="a.mp4", path=Path("a.mp4"), label="real", split="test")
    whole = Listing(dataset="x", entries=(entry,), lists="test.json")
    return dataclasses.replace(whole, **fields)  # type: ignore[arg-type]


def test_a_report_that_has_nothing_to_say() -> None:
    assert check_report(_listing(compression="c23")).splitlines() == [
        "x at c23: 1 videos",
        "  test, real: 1",
        "lists: test.json",
        "All is as it should be.",
    ]


def test_a_report_shows_twenty_names_and_how_many_more() -> None:
    names = tuple(f"{number:02}.mp4" for number in range(23))
    lines = check_report(_listing(missing=names)).splitlines()
    start = lines.index("missing: in the lists and not here (23)")
    assert lines[start + 1 : start + 22] == [*(f"  {n}" for n in names[:20]), "  ... and 3 more"]
    assert lines[-1] == "Not all is as it should be; see above."
    exact = check_report(_listing(missing=names[:20]))
    assert "more" not in exact


@pytest.mark.parametrize("kind", ["missing", "unexpected", "doubled", "conflicts"])
def test_every_kind_of_difference_is_told(kind: str) -> None:
    report = check_report(_listing(**{kind: ("name.mp4",)}))
    assert "name.mp4" in report
    assert report.endswith("Not all is as it should be; see above.")


def test_counts_from_memory_are_marked_and_do_not_fail() -> None:
    sure = Count(what="real", expected=2, present=1)
    rough = Count(what="fake videos", expected=5, present=4, certain=False)
    report = check_report(_listing(counts=(sure, rough)))
    assert "  real         1 of 2   differs\n  fake videos  4 of ~5   differs" in report
    assert report.endswith("Not all is as it should be; see above.")
    report = check_report(_listing(counts=(rough,)))
    assert report.endswith("All is as it should be, but for counts that are only known roughly.")
    met = Count(what="real", expected=1, present=1)
    report = check_report(_listing(counts=(met,), notes=("Something.",)))
    assert "differs" not in report
    assert report.endswith("- Something.\nAll is as it should be; mind the notes.")
