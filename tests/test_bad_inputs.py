"""Bad input: nothing crashes, hangs, grows or leaves half a result; a sentence says what is wrong.

What each kind of input becomes is promised in docs/quickstart.md, "What happens to which input".
"""

from __future__ import annotations

import itertools
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

import bad_inputs
from bad_inputs import CASES, SMALL, Judge, face_frames, make_small
from fakestormer.cli import ExitCode, main
from fakestormer.errors import InputError
from fakestormer.faces.tracking import find_tracks
from fakestormer.parallel.pool import map_videos
from fakestormer.recipe.faces import TrackingConfig
from fakestormer.video.decode import probe, stream_frames
from video_fixtures import write_video

MUTATIONS = 12  # of each small file
TRUNCATIONS = (3, 30, 150, 300, 500, 700, 850, 950, 990, 998)  # in thousandths
WORKERS = 2


class Commands:
    """`fakestormer detect` in this process, with drawn faces instead of a face model."""

    def __init__(
        self, model: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self._model, self._capfd, self._monkeypatch = model, capfd, monkeypatch
        monkeypatch.setattr("fakestormer.faces.blazeface.BlazeFace", bad_inputs.BrightFaces)

    def detect(self, *arguments: object) -> tuple[int, str, str]:
        """(exit code, standard output, standard error)."""
        command = ["fakestormer", "detect", *arguments, "--model", self._model]
        self._monkeypatch.setattr(sys, "argv", [*map(str, command), "--faces", "blazeface"])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = self._capfd.readouterr()
        return int(stopped.value.code or 0), out, err


@pytest.fixture
def commands(
    untrained_model: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Commands:
    return Commands(untrained_model, capfd, monkeypatch)


def assert_one_sentence(said: str, path: object) -> None:
    assert said.startswith(f"{path}: "), said
    assert "\n" not in said
    assert "Traceback" not in said


def assert_nothing_half_written(folder: Path) -> None:
    odd = [p for p in folder.rglob("*") if p.is_file() and p.suffix not in {".json", ".html"}]
    assert odd == []
    assert not list(folder.rglob(".*"))


# ---- each case by itself, and all of them as a folder --------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_what_becomes_of_it(case: str, commands: Commands, tmp_path: Path) -> None:
    wanted, out = CASES[case], tmp_path / "out"
    (tmp_path / "in").mkdir()
    path = wanted.make(tmp_path / "in")
    code, _, err = commands.detect(path, "--json", out / "r.json", "--report", out / "pages")
    (result,) = json.loads((out / "r.json").read_text())["results"]
    assert result["path"] == str(path)
    assert_nothing_half_written(out)
    if wanted.says is not None:
        assert code == ExitCode.ALL_FAILED
        said = err.strip()
        assert_one_sentence(said, path)
        assert re.search(wanted.says, said), said
        assert result["error"] == said
        assert (result["probability"], result["verdict"]) == (None, None)
        assert not list(out.rglob("*.html"))
        return
    assert (code, err) == (ExitCode.DONE, "")
    assert 0 <= result["probability"] <= 1
    assert len(result["faces"]) == wanted.faces
    assert len(list(out.rglob("*.html"))) == 1
    for face in result["faces"]:
        times = [second for clip in face["clips"] for second in clip["seconds"]]
        frames = [frame for clip in face["clips"] for frame in clip["frames"]]
        pairs = sorted(set(zip(frames, times, strict=True)))
        assert all(a[1] < b[1] for a, b in itertools.pairwise(pairs))
    notes = [*result["warnings"], *(note for face in result["faces"] for note in face["warnings"])]
    if wanted.notes is not None:
        assert any(wanted.notes in note for note in notes), notes


def test_a_face_that_left_is_another_track_when_it_returns(tmp_path: Path) -> None:
    path = CASES["leaves and returns"].make(tmp_path)
    report = bad_inputs.small_detector().detect(path)
    spans = [
        (int(f.prediction.indices.min()), int(f.prediction.indices.max())) for f in report.faces
    ]
    assert spans == [(0, 14), (30, 44)]


def test_a_folder_of_everything_ends_with_a_result_for_each(
    commands: Commands, tmp_path: Path
) -> None:
    """Links in circles among them; what is good is judged whatever lies beside it."""
    folder = tmp_path / "videos"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "up").symlink_to(folder)
    (folder / "deep" / "self").symlink_to(folder / "deep" / "self")
    (folder / "gone.mp4").symlink_to(folder / "nowhere.mp4")
    names = ("empty", "text", "sound only", "one frame", "nobody", "two frames", "odd size")
    made = {case: CASES[case].make(folder) for case in names}
    CASES["link in a circle"].make(folder)
    os.mkfifo(folder / "pipe.mp4")
    code, _, err = commands.detect(folder, "--json", tmp_path / "out" / "r.json")
    assert code == ExitCode.SOME_FAILED
    results = json.loads((tmp_path / "out" / "r.json").read_text())["results"]
    # Links that lead nowhere and pipes are no files, so nobody asked about them.
    assert [r["path"] for r in results] == sorted(str(path) for path in made.values())
    judged = {r["path"] for r in results if r["probability"] is not None}
    assert judged == {str(made[case]) for case in names if CASES[case].says is None}
    assert len(err.strip().splitlines()) == len(made) - len(judged)
    assert_nothing_half_written(tmp_path / "out")


# ---- what may not be read ------------------------------------------------------------------------


@contextmanager
def _nobody_special() -> Iterator[None]:
    """Root may read everything; for a while this process may not."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter, which pytest's own is not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


def test_what_may_not_be_read_is_said(open_folder: Path) -> None:
    locked_file, locked_folder = open_folder / "locked.mp4", open_folder / "locked"
    locked_file.write_bytes(b"x")
    locked_file.chmod(0)
    locked_folder.mkdir()
    (locked_folder / "inside.mp4").write_bytes(b"x")
    locked_folder.chmod(0)
    detector = bad_inputs.small_detector()
    with _nobody_special():
        if os.access(locked_file, os.R_OK, effective_ids=True):
            pytest.skip("this file system lets everybody read")
        for path in (locked_file, locked_folder / "inside.mp4"):
            with pytest.raises(InputError, match=r"cannot be read \(Permission denied\)") as said:
                detector.detect(path)
            assert_one_sentence(str(said.value), path)


def test_pipes_and_devices_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    for path in (tmp_path / "pipe.mp4", Path("/dev/zero")):
        with pytest.raises(InputError, match="a device or a pipe"):
            probe(path)


# ---- flipped bits and missing ends ---------------------------------------------------------------


def test_damaged_files_are_judged_or_refused_in_one_sentence(tmp_path: Path) -> None:
    """In processes of their own: None is a process that crashed or took too long."""
    make_small(tmp_path)
    names = [f"{tmp_path / name}?bits={seed}" for name in SMALL for seed in range(MUTATIONS)]
    names += [f"{tmp_path / name}?part={part}" for name in SMALL for part in TRUNCATIONS]
    judged = dict(map_videos(Judge(), names, workers=WORKERS))
    assert judged.keys() == set(names)
    assert [name for name, found in judged.items() if found is None] == []
    outcomes: Counter[bool] = Counter()
    for name, found in judged.items():
        assert found is not None
        outcomes[found.sentence is None] += 1
        if found.sentence is not None:
            assert_one_sentence(found.sentence, name.partition("?")[0])
    # Damage that never showed, or always, would test nothing.
    assert outcomes[True] > 80
    assert outcomes[False] > 50
    assert max(found.peak_mib for found in judged.values() if found is not None) < 1024
    assert {p.name for p in tmp_path.iterdir()} == set(SMALL)


def test_a_hang_ends_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits that the test above relies on."""

    def wait_for_ever() -> None:
        while True:
            pass

    monkeypatch.setattr(bad_inputs, "WORK_LIMIT", 0.1)
    monkeypatch.setattr(bad_inputs, "small_detector", wait_for_ever)
    child = os.fork()
    if child == 0:
        Judge()("unused")
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGPROF


# ---- size and length -----------------------------------------------------------------------------

# Not getrusage: what it tells after a fork begins with the parent's.
LARGE = """
import re, sys
from pathlib import Path
import bad_inputs
report = bad_inputs.small_detector().detect(sys.argv[1])
peak_kib = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text()).group(1)
print(report.video["width"], len(report.faces), peak_kib)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_8192_by_8192_takes_a_bounded_amount_of_memory(tmp_path: Path) -> None:
    size = (8192, 8192)
    frames = [cv2.resize(f, size, interpolation=cv2.INTER_NEAREST) for f in face_frames(2)]
    path = write_video(frames, tmp_path / "large.mp4", options={"preset": "ultrafast"})
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", LARGE, path],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    width, faces, peak_kib = map(int, done.stdout.split())
    assert (width, faces) == (8192, 1)
    assert peak_kib < 1.5 * 1024**2


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_larger_pictures_are_refused_before_they_are_decoded(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(face_frames(4, size=128), tmp_path / f"v{suffix}")
    assert probe(path).width == 128
    monkeypatch.setattr("fakestormer.video.container._MOST_PIXELS", 128 * 128 - 1)
    with pytest.raises(InputError, match="its pictures are 128 x 128") as said:
        probe(path)
    assert_one_sentence(str(said.value), path)


def test_pictures_that_grow_too_large_on_the_way_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"bf": "0", "g": "5"}
    # Long enough for nobody to look at the large ones before decoding begins.
    small = write_video(face_frames(10) * 25, tmp_path / "small.ts", options=options)
    large = write_video(face_frames(10, size=192), tmp_path / "large.ts", options=options)
    glued = tmp_path / "glued.ts"
    glued.write_bytes(small.read_bytes() + large.read_bytes())
    assert sum(1 for _ in stream_frames(glued)) == 260
    monkeypatch.setattr("fakestormer.video.container._DECODERS_LIMIT", str(120 * 120))
    assert sum(1 for _ in stream_frames(glued)) == 250


def test_memory_grows_with_length_by_little_more_than_the_landmarks() -> None:
    """648 bytes are 81 points; an hour of 25 frames per second is 90,000 times that, 58 MB."""

    def frames(count: int) -> Iterator[tuple[int, float, np.ndarray]]:
        return ((k, k / 25, picture) for k in range(count))

    def peak(count: int) -> int:
        tracemalloc.start()
        (track,) = find_tracks(frames(count), backend, TrackingConfig())
        assert len(track) == count
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    picture = face_frames(1)[0]
    backend = bad_inputs.BrightFaces()
    peak(10)  # what is made once
    assert (peak(1200) - peak(400)) / 800 < 1.3 * (648 + 12)


# ---- nowhere to write ----------------------------------------------------------------------------


@contextmanager
def full_disk(room: int) -> Iterator[None]:
    """No file can grow beyond `room` bytes, as on a disk that has no more left."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("older", [None, "what was written before"])
def test_a_full_disk_leaves_the_older_results_or_none(
    older: str | None, commands: Commands, tmp_path: Path
) -> None:
    path = CASES["two frames"].make(tmp_path)
    results = tmp_path / "out" / "r.json"
    if older is not None:
        results.parent.mkdir()
        results.write_text(older)
    with full_disk(1500):
        code, _, err = commands.detect(path, "--json", results)
    assert code == ExitCode.ALL_FAILED
    assert_one_sentence(err.strip(), results)
    assert "cannot be written" in err
    assert (results.read_text() if results.exists() else None) == older
    assert_nothing_half_written(results.parent)


def test_a_full_disk_leaves_no_part_of_a_report(commands: Commands, tmp_path: Path) -> None:
    path = CASES["two frames"].make(tmp_path)
    with full_disk(20_000):
        code, _, err = commands.detect(path, "--report", tmp_path / "pages")
    assert code == ExitCode.ALL_FAILED
    assert "cannot be written" in err
    page = Path(err.partition(": ")[0])
    assert page.parent == tmp_path / "pages"
    assert_one_sentence(err.strip(), page)
    assert not list((tmp_path / "pages").iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_standard_output_that_takes_nothing_is_said() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "fakestormer", "recipe", "tiny"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == ExitCode.ALL_FAILED
    assert_one_sentence(done.stderr.strip(), "output")
