"""prepare: reasons, resumption, the lock, crashes; the files of the store."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from fakestormer.data.layouts.options import Options
from fakestormer.data.listing import Entry
from fakestormer.data.manifest import Labelling, Row, Split, read_manifest, read_settings
from fakestormer.data.origin import Origin, entries_of, write_origin
from fakestormer.data.prepare import prepare_listing
from fakestormer.data.prepare_one import prepare_entry
from fakestormer.data.remake import remake_command
from fakestormer.data.store import encode_frame, read_clip
from fakestormer.errors import InputError
from fakestormer.faces.crop import crop, crop_squares
from fakestormer.faces.face_models import models_present
from fakestormer.faces.tracking import find_tracks
from fakestormer.parallel.pool import map_videos
from fakestormer.recipe.faces import CropConfig, TrackingConfig
from fakestormer.video.colour import turn_clockwise
from fakestormer.video.decode import stream_frames
from fakestormer.video.folder import find_videos
from folder_stores import prepare_folder
from odd_files import several
from video_fixtures import astronaut_frames


def test_every_video_has_a_row_and_every_rejection_a_reason(store: Path) -> None:
    rows = {row.video: row for row in read_manifest(store)}
    assert {name: row.rejected for name, row in rows.items()} == {
        "alpha_001.mp4": "",
        "alpha_002.mp4": "",
        "beta_001.mp4": "",
        "beta_002.mp4": "",
        "odd/black.mkv": "no face",
        "odd/broken.mp4": "undecodable",
        "odd/short.mov": "too short",
        "odd/small.mp4": "face too small",
    }
    assert rows["odd/short.mov"].detail == "3 frames, at least 4 are needed"
    assert "broken.mp4" in rows["odd/broken.mp4"].detail
    assert {row.split for row in rows.values() if row.rejected} <= {"train", "validation"}
    assert (rows["alpha_001.mp4"].split, rows["beta_001.mp4"].split) == ("train", "validation")
    assert rows["alpha_001.mp4"].frames == 13
    assert rows["alpha_001.mp4"].landmarks == 81


def test_a_stored_clip_is_the_crop_that_detection_would_make(
    store: Path, videos: Path, drawn: ModuleType
) -> None:
    row = next(row for row in read_manifest(store) if row.video == "alpha_001.mp4")
    clip = read_clip(store / row.file, [5, 2, 6], video=row.video, number=row.track)
    assert clip.source == "alpha_001.mp4#0@5"
    assert clip.indices.tolist() == [5, 2, 6]
    frames = list(stream_frames(videos / row.video))
    (track,) = find_tracks(iter(frames), drawn.DrawnFaces(), TrackingConfig())
    square = crop_squares(track, CropConfig())[2]
    expected = crop(frames[2][2], square, 256)
    assert np.array_equal(clip.frames[1].transpose(1, 2, 0), expected)
    # The drawn face is the template: its landmarks fill 1/1.25 of the crop.
    extent = np.ptp(clip.landmarks[1], axis=0)
    assert extent.max() == pytest.approx(256 / 1.25, abs=3)


def test_a_face_has_the_number_that_detection_gives_it(drawn: ModuleType, tmp_path: Path) -> None:
    face = drawn.draw(12)[0]
    path = tmp_path / "videos" / "twice.mp4"
    drawn.write_video(path, np.concatenate([face[:3], face[:6] * 0, face]))
    limits = TrackingConfig(min_track_frames=4)
    prepare_folder(
        path.parent, tmp_path / "store", backend=drawn.DrawnFaces, tracking=limits, min_frames=1
    )
    rows = read_manifest(tmp_path / "store")
    detected = find_tracks(stream_frames(path), drawn.DrawnFaces(), limits)
    assert [(row.track, row.rejected) for row in rows] == [(0, "too short"), (1, "")]
    assert [track.number for track in detected] == [1]


def test_a_video_on_its_side_is_stored_upright(
    face_backend_ready: None, make_video: Callable[..., Path], tmp_path: Path
) -> None:
    lossless = {"options": {"qp": "0"}, "pixel_format": "yuv444p"}
    frames = astronaut_frames(6)
    make_video(frames, tmp_path / "videos" / "plain.mp4", **lossless)
    lying = [turn_clockwise(frame, 90) for frame in frames]
    make_video(lying, tmp_path / "videos" / "turned.mp4", **lossless)

    prepare_folder(tmp_path / "videos", tmp_path / "store", backend="blazeface")

    plain, turned = (
        read_clip(tmp_path / "store" / row.file, range(6), video=row.video, number=row.track)
        for row in read_manifest(tmp_path / "store")
    )
    assert np.array_equal(plain.frames, turned.frames)
    assert np.array_equal(plain.landmarks, turned.landmarks)


def test_the_stream_of_a_store_is_chosen_noted_and_kept(drawn: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    face = drawn.draw(8)[0]
    drawn.write_video(tmp_path / "face.mp4", face)
    drawn.write_video(tmp_path / "black.mp4", face * 0)
    both = (tmp_path / "face.mp4", tmp_path / "black.mp4")
    several(tmp_path / "videos" / "two.mkv", *both, default=(0,))
    origin = Origin(layout="folder", root=tmp_path / "videos", options=Options())

    def prepared(name: str, stream: int | None) -> Row:
        store = tmp_path / name
        prepare_listing(
            origin.listing(), store, backend=drawn.DrawnFaces, stream=stream, origin=origin
        )
        (row,) = read_manifest(store)
        return row

    assert prepared("usual", None).detail.startswith(
        "The file has 1 other video stream with moving pictures; stream 0 (h264, "
    )
    row = prepared("second", 1)
    assert row.rejected == "no face"
    assert row.detail.endswith("; name another of its video streams than 1 with --stream")
    settings = read_settings(tmp_path / "second")
    assert "--stream 1" in remake_command(tmp_path / "second", settings.crop, settings.tracking)
    with pytest.raises(InputError, match="stream was 1 and is now 0"):
        prepared("second", 0)


def test_frames_are_stored_without_loss_in_an_ordinary_zip(store: Path) -> None:
    row = next(row for row in read_manifest(store) if row.file)
    with zipfile.ZipFile(store / row.file) as members:
        assert members.testzip() is None
        assert {info.compress_type for info in members.infolist()} == {zipfile.ZIP_STORED}
        assert len([name for name in members.namelist() if name.endswith(".png")]) == row.frames
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    back = cv2.imdecode(np.frombuffer(encode_frame(noise), np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(back[..., ::-1], noise)


def test_a_missing_frame_is_an_input_error(store: Path, tmp_path: Path) -> None:
    row = next(row for row in read_manifest(store) if row.file)
    with pytest.raises(InputError, match="cannot read frames"):
        read_clip(store / row.file, [row.frames], video=row.video, number=0)
    damaged = tmp_path / "damaged.zip"
    damaged.write_bytes((store / row.file).read_bytes()[:5000])
    with pytest.raises(InputError, match=r"damaged\.zip"):
        read_clip(damaged, [0], video=row.video, number=0)


def test_a_second_run_does_nothing_again_and_may_split_anew(
    store: Path, videos: Path, drawn: ModuleType, tmp_path: Path
) -> None:
    copy = tmp_path / "store"
    shutil.copytree(store, copy)
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*.zip")}
    summary = prepare_folder(videos, copy, backend=drawn.DrawnFaces, validation_sources=("alpha",))
    assert summary.resumed == summary.videos == 8
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*.zip")} == before
    assert {row.source for row in read_manifest(copy) if row.split == "validation"} == {"alpha"}
    assert summary.rejected == {
        "no face": 1, "undecodable": 1, "too short": 1, "face too small": 1
    }  # fmt: skip


def test_a_damaged_journal_entry_costs_only_its_video(
    store: Path, videos: Path, drawn: ModuleType, tmp_path: Path
) -> None:
    copy = tmp_path / "store"
    shutil.copytree(store, copy)
    (copy / "journal" / "alpha_001.mp4.json").write_text('{"stamp": [1')
    (copy / "journal" / ".0123456789abcdef.partial").write_text('{"st')  # of a killed run
    (copy / "journal" / "alpha_002.mp4.json").write_text('{"stamp": [1, 2], "rows": [{"x": 1}]}')
    summary = prepare_folder(videos, copy, backend=drawn.DrawnFaces, validation_sources=("beta",))
    assert (summary.resumed, summary.videos) == (6, 8)
    assert read_manifest(copy) == read_manifest(store)
    assert not list(copy.rglob("*.partial"))


def test_an_unreadable_video_is_rejected_not_raised(
    drawn: ModuleType, store: Path, tmp_path: Path
) -> None:
    gone = Entry(video="gone.mp4", path=tmp_path / "gone.mp4", label="real")
    (row,) = prepare_entry(gone, tmp_path, drawn.DrawnFaces(), read_settings(store), max_frames=8)
    assert (row.rejected, row.sha256) == ("undecodable", "")
    assert "gone.mp4" in row.detail


def test_all_frames_of_a_long_video_where_no_limit_is_set(
    drawn: ModuleType, tmp_path: Path
) -> None:
    drawn.write_video(tmp_path / "videos" / "long.mp4", drawn.draw(262, size=64)[0])
    for limit, frames in ((None, 262), (256, 256)):
        out = tmp_path / str(limit)
        summary = prepare_folder(
            tmp_path / "videos", out, backend=drawn.DrawnFaces, max_frames=limit
        )
        assert summary.frames == frames
        assert read_settings(out).max_frames == limit
    with pytest.raises(InputError, match="max_frames was 256 and is now None"):
        prepare_folder(tmp_path / "videos", out, backend=drawn.DrawnFaces, max_frames=None)


def test_a_limit_for_each_split(drawn: ModuleType, tmp_path: Path) -> None:
    frames = drawn.draw(12, size=64)[0]
    splits = ("train", "validation", "test")
    for split in splits:
        drawn.write_video(tmp_path / "videos" / f"{split}.mp4", frames)
    origin = Origin(layout="folder", root=tmp_path / "videos", options=Options())
    labelling = Labelling(table={f"{split}.mp4": {"split": split} for split in splits})
    limits: dict[Split, int] = {"train": 10, "validation": 6, "test": 5}
    store = tmp_path / "store"
    prepare_listing(
        origin.listing(), store, backend=drawn.DrawnFaces, labelling=labelling, max_frames=limits
    )
    assert {row.split: row.frames for row in read_manifest(store)} == limits
    assert read_settings(store).frames_in("test") == 5


def test_wrong_labels_are_refused_before_anything_is_done(
    videos: Path, drawn: ModuleType, tmp_path: Path
) -> None:
    out = tmp_path / "store"
    with pytest.raises(InputError, match="validation sources not found: gamma"):
        prepare_folder(videos, out, backend=drawn.DrawnFaces, validation_sources=("gamma",))
    table = tmp_path / "clips.csv"
    table.write_text(f"path,split\n{videos}/alpha_001.mp4,holdout\n")
    with pytest.raises(InputError, match=r"clips\.csv: row 1 .* 'holdout'"):
        prepare_folder(videos, out, backend=drawn.DrawnFaces, table=table)
    assert not out.exists()


def test_a_changed_video_is_prepared_again(videos: Path, drawn: ModuleType, tmp_path: Path) -> None:
    folder, out = tmp_path / "videos", tmp_path / "store"
    folder.mkdir()
    shutil.copy(videos / "alpha_001.mp4", folder / "one.mp4")
    prepare_folder(folder, out, backend=drawn.DrawnFaces)
    drawn.write_video(folder / "one.mp4", drawn.draw(9, seed=3)[0])
    summary = prepare_folder(folder, out, backend=drawn.DrawnFaces)
    assert (summary.resumed, summary.frames) == (0, 9)


def test_settings_and_folders_do_not_mix(
    store: Path, videos: Path, drawn: ModuleType, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"other settings \(crop was .*enlarge=1.25"):
        prepare_folder(videos, store, backend=drawn.DrawnFaces, crop=CropConfig(enlarge=1.5))
    other = tmp_path / "other"
    drawn.write_video(other / "x.mp4", drawn.draw(8)[0])
    with pytest.raises(InputError, match="made from another folder"):
        prepare_folder(other, store, backend=drawn.DrawnFaces)
    with pytest.raises(InputError, match="not found: gamma; the sources here are alpha, beta"):
        prepare_folder(videos, store, backend=drawn.DrawnFaces, validation_sources=("gamma",))
    with pytest.raises(InputError, match="no such folder"):
        prepare_folder(tmp_path / "nowhere", tmp_path / "s", backend=drawn.DrawnFaces)
    assert read_settings(store).backend == "drawn"


def test_another_folders_videos_leave_the_store_as_it_was(
    store: Path, videos: Path, drawn: ModuleType, tmp_path: Path
) -> None:
    before = (store / "origin.json").read_bytes()
    other = tmp_path / "other"
    drawn.write_video(other / "x.mp4", drawn.draw(8)[0])
    with pytest.raises(InputError, match="made from another folder"):
        prepare_folder(other, store, backend=drawn.DrawnFaces)
    assert (store / "origin.json").read_bytes() == before


def _methods(drawn: ModuleType, tmp_path: Path) -> Origin:
    for seed, name in enumerate(("real/1", "fake/A/1", "fake/B/1")):
        drawn.write_video(tmp_path / "set" / f"{name}.mp4", drawn.draw(8, seed=seed)[0])
    return Origin(layout="diffswap", root=tmp_path / "set", options=Options())


def test_a_part_now_and_another_later_are_one_store(drawn: ModuleType, tmp_path: Path) -> None:
    origin = _methods(drawn, tmp_path)
    listing, store = origin.listing(), tmp_path / "store"

    def prepare(*methods: str) -> list[str]:
        prepare_listing(listing, store, backend=drawn.DrawnFaces, methods=methods, origin=origin)
        return [row.video for row in read_manifest(store)]

    assert prepare("A") == ["fake/A/1.mp4", "real/1.mp4"]
    files = {path: path.stat().st_mtime_ns for path in store.rglob("*.zip")}
    assert prepare("B") == ["fake/A/1.mp4", "fake/B/1.mp4", "real/1.mp4"]
    assert {path: path.stat().st_mtime_ns for path in files} == files, "nothing is done twice"
    assert entries_of(store).keys() == {entry.video for entry in listing.entries}
    with pytest.raises(InputError, match=r"no fakes made by C are here; .* A, B"):
        prepare("C")
    again = replace(origin, layout="folder")
    with pytest.raises(InputError, match="made from the data set diffswap, this is folder"):
        write_origin(store, again)


def test_parts_go_by_the_split_that_a_video_gets_in_the_end(
    drawn: ModuleType, tmp_path: Path
) -> None:
    origin = _methods(drawn, tmp_path)
    said = {"fake/B/1.mp4": {"split": "validation"}}
    summary = prepare_listing(
        origin.listing(),
        tmp_path / "store",
        backend=drawn.DrawnFaces,
        labelling=Labelling(table=said),
        splits=("validation",),
    )
    assert summary.by_split == {"train": 0, "validation": 1}
    with pytest.raises(InputError, match="no video is in the split train; the splits here are"):
        prepare_listing(
            origin.listing(), tmp_path / "none", backend=drawn.DrawnFaces, splits=("train",)
        )
    assert not (tmp_path / "none").exists()


def test_names_that_no_manifest_can_hold_cost_only_their_videos(
    drawn: ModuleType, tmp_path: Path
) -> None:
    videos = tmp_path / "videos"
    drawn.write_video(videos / "good.mp4", drawn.draw(8)[0])
    content = (videos / "good.mp4").read_bytes()
    (videos / os.fsdecode(b"\xff\xe9.mp4")).write_bytes(content)
    (videos / f"{'long' * 62}.mp4").write_bytes(content)
    summary = prepare_folder(videos, tmp_path / "store", backend=drawn.DrawnFaces)
    assert (summary.tracks, dict(summary.rejected)) == (1, {"undecodable": 2})
    details = {row.detail for row in read_manifest(tmp_path / "store") if row.rejected}
    assert details == {
        "its name is not valid UTF-8, and manifests hold text; rename it",
        "its name has more than 230 bytes; rename it",
    }


def test_videos_that_are_gone_leave_the_manifest_and_are_told(
    drawn: ModuleType, tmp_path: Path
) -> None:
    videos = tmp_path / "videos"
    for number in range(2):
        drawn.write_video(videos / f"{number}.mp4", drawn.draw(8, seed=number)[0])
    prepare_folder(videos, tmp_path / "store", backend=drawn.DrawnFaces)
    (videos / "0.mp4").unlink()
    summary = prepare_folder(videos, tmp_path / "store", backend=drawn.DrawnFaces)
    assert (summary.videos, summary.vanished) == (1, 1)
    assert [row.video for row in read_manifest(tmp_path / "store")] == ["1.mp4"]


def test_two_runs_at_once_are_refused(store: Path, videos: Path, drawn: ModuleType) -> None:
    with (store / "lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another prepare is writing"):
            prepare_folder(videos, store, backend=drawn.DrawnFaces)


def test_the_store_inside_the_videos_folder_is_not_searched(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.txt", ".hidden/c.mp4", "store/tracks/d.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert find_videos(tmp_path, tmp_path / "store") == ["a.mp4"]


def test_a_killed_run_continues(videos: Path, drawn: ModuleType, tmp_path: Path) -> None:
    out = tmp_path / "store"
    script = Path(drawn.__file__)
    process = subprocess.Popen([sys.executable, script, videos, out, "1"], start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        while len(list(out.glob("journal/*.json"))) < 2 and time.monotonic() < deadline:
            assert process.poll() is None, "prepare ended before it could be killed"
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        deadline = time.monotonic() + 30  # the worker ends with its parent
        while _group_lives(process.pid) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not _group_lives(process.pid)
    finally:
        if _group_lives(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
    finished = {path: path.stat().st_mtime_ns for path in out.glob("journal/*.json")}
    assert not (out / "manifest.parquet").exists()
    summary = prepare_folder(videos, out, backend=drawn.DrawnFaces)
    assert 2 <= summary.resumed < 8
    assert summary.tracks == 4
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert not list(out.rglob("*.partial"))


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_video_that_kills_its_process_costs_only_itself() -> None:
    # `eval` as the work, because worker processes must be able to import it.
    names = ["1 + 1", "__import__('os')._exit(3)", "2 + 2"]
    assert dict(map_videos(eval, names, workers=1)) == {"1 + 1": 2, names[1]: None, "2 + 2": 4}


def test_processes_start_once_for_all_videos() -> None:
    names = [f"__import__('os').getpid() + 0 * {number}" for number in range(40)]
    processes = dict(map_videos(eval, names, workers=2))
    assert processes.keys() == set(names)
    assert 1 <= len(set(processes.values())) <= 2


def test_real_faces(shared_data: Path, tmp_path: Path) -> None:
    if not models_present():
        pytest.skip("the face models are not set up")
    videos = tmp_path / "videos"
    videos.mkdir()
    for name in ("grid_001.mp4", "styletalk_001.mp4"):
        shutil.copy(shared_data / "real" / name, videos)
    summary = prepare_folder(videos, tmp_path / "store", backend="blazeface", max_frames=12)
    assert (summary.tracks, summary.frames, dict(summary.rejected)) == (2, 24, {})
    row = read_manifest(tmp_path / "store")[0]
    clip = read_clip(tmp_path / "store" / row.file, range(4), video=row.video, number=row.track)
    assert clip.landmarks.shape == (4, 81, 2)
    assert float(clip.landmarks[..., 1].min()) > 20
