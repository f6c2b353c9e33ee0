"""The whole tour on a miniature of FaceForensics++, by the commands that a user would type.

Prepared, killed and gone on with, trained, judged under corruptions, moved, compared.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fakestormer.cli import ExitCode
from miniature_material import (
    SET_OPTIONS,
    Material,
    call,
    call_for_all,
    material_of,
    write_model,
)
from miniatures import Expected, build_miniature

Run = Callable[..., tuple[int, str, str]]
#: Seconds after which a command that should have got somewhere has failed.
PATIENCE = 240


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """(exit code, standard output, standard error) of a command, in this process."""
    return lambda *arguments: call(arguments, capfd)


@pytest.fixture(scope="module")
def material(request: pytest.FixtureRequest) -> Material:
    return material_of(request)


@pytest.fixture(scope="module")
def ffpp(material: Material, tmp_path_factory: pytest.TempPathFactory) -> Expected:
    return build_miniature("ffpp", tmp_path_factory.mktemp("ffpp"), material)


@pytest.fixture(scope="module")
def store(ffpp: Expected, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of all eleven videos, by a run that nothing interrupted."""
    store = tmp_path_factory.mktemp("stores") / "ffpp"
    code, printed, err = call_for_all(_prepare(ffpp, store))
    assert code == ExitCode.DONE, err
    assert "11 face tracks (3 for train, 2 for validation, 6 for test)" in printed
    return store


@pytest.fixture(scope="module")
def models(store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two trained from two seeds."""
    folder = tmp_path_factory.mktemp("models")
    models = (folder / "a", folder / "b")
    for seed, model in enumerate(models):
        code, printed, err = call_for_all(_train(store, model, seed))
        assert code == ExitCode.DONE, err
        assert re.search(r"validation AUC [01]\.\d{4} \(videos\)", printed)
    return models


def _prepare(ffpp: Expected, store: Path, workers: int = 0) -> tuple[object, ...]:
    return ("prepare", *ffpp.arguments, "--out", store, "--workers", workers, *SET_OPTIONS)


def _train(store: Path, out: Path, seed: int = 0) -> tuple[object, ...]:
    return (
        "train", store, "--out", out, "--workers", 0, "--accelerator", "cpu", *SET_OPTIONS,
        "--set", f"training.seed={seed}",
    )  # fmt: skip


def _words(arguments: tuple[object, ...]) -> list[str]:
    return [sys.executable, "-m", "fakestormer", *map(str, arguments)]


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


@contextmanager
def _killed(arguments: tuple[object, ...], far_enough: Callable[[], bool]) -> Iterator[None]:
    """A command that is stopped as soon as it is far enough, and killed when the context ends."""
    process = subprocess.Popen(
        _words(arguments), env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        begun = time.monotonic()
        while not far_enough():
            assert process.poll() is None, f"it ended too early: {process.communicate()}"
            assert time.monotonic() - begun < PATIENCE
            time.sleep(0.01)
        process.send_signal(signal.SIGSTOP)
        yield
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL


def _one_line(err: str) -> str:
    assert len(err.strip().splitlines()) == 1, err
    return err.strip()


def _content(store: Path) -> dict[str, bytes]:
    """What a store is for: its manifest and its tracks."""
    files = [store / "manifest.parquet", *store.glob("tracks/**/*.zip")]
    return {file.relative_to(store).as_posix(): file.read_bytes() for file in files}


def _evaluation(out: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((out / "evaluation.json").read_text())
    return document


# prepare


def test_a_killed_prepare_goes_on_where_it_was(
    ffpp: Expected, store: Path, run: Run, tmp_path: Path
) -> None:
    again = tmp_path / "store"

    def finished() -> list[Path]:
        return sorted((again / "journal").glob("**/[!.]*.json"))

    with _killed(_prepare(ffpp, again, workers=1), lambda: len(finished()) >= 3):
        # While one is writing no other may.
        code, printed, err = run(*_prepare(ffpp, again))
        assert (code, printed) == (ExitCode.ALL_FAILED, "")
        refused = [line for line in err.splitlines() if "differences from" not in line]
        assert refused == [
            f"{again}: another prepare is writing to it; wait for it, or use another folder"
        ]
        done = finished()
    assert 3 <= len(done) < 11
    assert not (again / "manifest.parquet").exists()
    videos = [path.relative_to(again / "journal").as_posix().removesuffix(".json") for path in done]
    before = {
        track: track.stat().st_mtime_ns
        for video in videos
        for track in (again / "tracks" / video).parent.glob(f"{Path(video).name}.*.zip")
    }
    assert len(before) == len(done)

    code, printed, err = run(*_prepare(ffpp, again))
    assert code == ExitCode.DONE, err
    assert "from 11 videos; 0 videos or tracks rejected" in printed
    assert {track: track.stat().st_mtime_ns for track in before} == before
    assert _content(again) == _content(store)
    assert len(_content(store)) == 12


@pytest.mark.slow
def test_prepare_on_ray_gives_the_same_store(ffpp: Expected, store: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    done = subprocess.run(
        _words((*_prepare(ffpp, tmp_path / "store"), "--ray", "local")),
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == ExitCode.DONE, done.stderr
    assert _content(tmp_path / "store") == _content(store)


# train


def test_training_uses_the_data_sets_own_splits(models: tuple[Path, Path]) -> None:
    first, second = (json.loads((model / "model.json").read_text()) for model in models)
    for document in (first, second):
        assert document["metrics"]["validation_tracks"] == 2
        assert document["metrics"]["training_tracks"] == 2
    assert first["weights_sha256"] != second["weights_sha256"]


def test_training_needs_more_than_a_test_set(ffpp: Expected, run: Run, tmp_path: Path) -> None:
    store, out = tmp_path / "store", tmp_path / "out"
    code, printed, err = run(*_prepare(ffpp, store), "--only", "test")
    assert code == ExitCode.DONE, err
    assert "6 face tracks (0 for train, 0 for validation, 6 for test)" in printed
    code, _, err = run(*_train(store, out))
    assert code == ExitCode.ALL_FAILED
    assert str(store) in _one_line(err)
    assert not out.exists()


# evaluate


@pytest.mark.usefixtures("no_plots")
def test_two_models_by_every_sampling(
    models: tuple[Path, Path], store: Path, run: Run, tmp_path: Path
) -> None:
    for model in models:
        out = tmp_path / model.name
        code, printed, err = run(
            "evaluate", "--model", model, "--data", f"FF={store}", "--out", out,
            "--sampling", "all",
        )  # fmt: skip
        assert (code, err) == (ExitCode.DONE, "")
        document = _evaluation(out)
        results = document["data"]["FF"]["results"]
        assert list(results) == ["windows", "consecutive", "spread"]
        for name, result in results.items():
            groups = {g["group"]: (g["real"], g["fake"]) for g in result["groups"]}
            assert groups == {
                "all": (2, 4), "method Deepfakes": (2, 2), "method FaceSwap": (2, 2)
            }  # fmt: skip
            assert f"sampling {name}, 8 frames in clips of 4" in printed
        assert printed.count("split test, compression c23") == 3

    # The two on the same videos, and on others.
    a, b = tmp_path / "a", tmp_path / "b"
    code, printed, err = run("compare", a, b, "--json", tmp_path / "compared.json")
    assert (code, err) == (ExitCode.DONE, "")
    assert "Sampling windows." in printed
    compared = json.loads((tmp_path / "compared.json").read_text())["comparisons"]
    assert [(c["data"], c["group"], c["real"], c["fake"]) for c in compared] == [
        ("FF", "all", 2, 4), ("FF", "method Deepfakes", 2, 2), ("FF", "method FaceSwap", 2, 2)
    ]  # fmt: skip
    found = [
        _evaluation(out)["data"]["FF"]["results"]["windows"]["groups"][0]["metrics"]["auc"]
        for out in (a, b)
    ]
    assert (compared[0]["auc_a"], compared[0]["auc_b"]) == pytest.approx(found)
    assert compared[0]["difference"] == pytest.approx(found[1] - found[0])
    code, _, err = run(
        "evaluate", "--model", models[1], "--data", f"FF={store}", "--split", "train",
        "--out", tmp_path / "train",
    )  # fmt: skip
    assert code == ExitCode.DONE, err
    code, printed, err = run("compare", a, tmp_path / "train")
    assert (code, printed) == (ExitCode.ALL_FAILED, "")
    assert "video" in _one_line(err)


ON_FRAMES = ("--corruptions", "contrast,jpeg,video", "--level", 3)


def test_a_killed_evaluation_goes_on_where_it_was(
    models: tuple[Path, Path], store: Path, run: Run, tmp_path: Path
) -> None:
    """With whole frames corrupted: six videos as they are, and under three conditions."""
    whole, again = tmp_path / "whole", tmp_path / "again"

    def evaluate(out: Path) -> tuple[object, ...]:
        data = ("--data", f"FF={store}", "--out", out)
        return ("evaluate", "--model", models[0], *data, *ON_FRAMES)

    def lines() -> int:
        return sum(path.read_text().count("\n") for path in (again / "scores").glob("*.jsonl"))

    code, printed, err = run(*evaluate(whole))
    assert (code, err) == (ExitCode.DONE, "")
    with _killed(evaluate(again), lambda: lines() >= 8):
        code, _, err = run(*evaluate(again))
        assert code == ExitCode.ALL_FAILED
        assert "another evaluation is writing to it" in _one_line(err)
    assert 8 <= lines() < 24
    assert not (again / "evaluation.json").exists()
    before = {path: path.read_text() for path in (again / "scores").glob("*.jsonl")}
    code, printed_again, err = run(*evaluate(again))
    assert (code, err) == (ExitCode.DONE, "")
    assert lines() == 24
    assert all(path.read_text().startswith(text) for path, text in before.items())
    for name in ("evaluation.json", "evaluation.md"):
        assert (again / name).read_bytes() == (whole / name).read_bytes()
    assert sorted((again / "scores.csv").read_text().splitlines()) == sorted(
        (whole / "scores.csv").read_text().splitlines()
    )
    assert printed_again.replace(str(again), str(whole)) == printed

    found = _evaluation(whole)["data"]["FF"]["robustness"]
    assert found["applied_to"] == "frames"
    assert list(found["levels"]) == ["contrast", "jpeg", "video"]
    for levels in found["levels"].values():
        assert [level is None for level in levels] == [True, True, False, True, True]
        assert (levels[2]["real"] + levels[2]["fake"] + levels[2]["unscored"]) == 6
    scores = _scores(whole)
    for condition in ("contrast 3", "jpeg 3", "video 3"):
        assert scores[condition] != scores["clean"]
        assert scores[condition].keys() == scores["clean"].keys()
    assert "corruptions applied to whole frames before faces are found" in printed
    assert "| contrast | " in printed
    _has_plot(whole)


def test_every_corruption_of_crops_beside_the_paper(
    models: tuple[Path, Path], store: Path, run: Run, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = (
        "evaluate", "--model", models[0], "--data", f"FF={store}", "--out", out, "--corruptions",
        "all", "--corrupt", "crops",
    )  # fmt: skip
    code, printed, err = run(*command, "--level", 1, "--level", 5)
    assert (code, err) == (ExitCode.DONE, "")
    found = _evaluation(out)["data"]["FF"]["robustness"]
    assert found["applied_to"] == "crops"
    assert set(found["notes"]) == {"block_wise"}
    assert "changes nothing on frames of 64x64 px" in found["notes"]["block_wise"]
    assert len(found["levels"]) == 7
    for levels in found["levels"].values():
        assert [level is None for level in levels] == [False, True, True, True, False]
    scores = _scores(out)
    assert len(scores) == 15
    assert scores["block_wise 5"] == scores["clean"]
    for name in found["levels"].keys() - {"block_wise"}:
        assert scores[f"{name} 1"] != scores[f"{name} 5"] != scores["clean"]
    assert "stored face crops (not the benchmark's way" in printed
    # Two levels have no mean that could stand beside the paper's of five.
    assert _own_row(printed) == ["-"] * 7
    _has_plot(out)
    assert "robustness" in (out / "evaluation.html").read_text()

    # The other three levels; those that are done are taken as they are.
    code, printed, err = run(*command)
    assert (code, err) == (ExitCode.DONE, "")
    assert scores.items() <= _scores(out).items()
    found = _evaluation(out)["data"]["FF"]["robustness"]
    means = {
        name: sum(level["metrics"]["auc"] for level in levels) / 5
        for name, levels in found["levels"].items()
    }
    assert means["block_wise"] == found["clean"]["metrics"]["auc"]
    of_paper = [mean for name, mean in means.items() if name != "video"]
    means["Avg"] = sum(of_paper) / 6
    assert found["mean"] == pytest.approx(means)
    ours = [mean for name, mean in means.items() if name != "video"]
    assert _own_row(printed) == [f"{100 * mean:.1f}" for mean in ours]
    # The paper's own row of its Table 10.
    assert re.search(r"^\| FakeSTormer.* \(paper, FF\+\+\) \| .+ \|$", printed, re.MULTILINE)


def _own_row(printed: str) -> list[str]:
    """This model's row beside the paper's: six corruptions and their average."""
    (row,) = re.findall(r"^\| \*\*this model\*\* \| (.+) \|$", printed, re.MULTILINE)
    return str(row).split(" | ")


def _has_plot(out: Path) -> None:
    (plot,) = out.glob("robustness-FF*.png")
    assert plot.stat().st_size > 10_000


def _scores(out: Path) -> dict[str, dict[str, str]]:
    """{condition: {video: score}} of scores.csv."""
    found: dict[str, dict[str, str]] = {}
    header, *lines = (out / "scores.csv").read_text().splitlines()
    names = header.split(",")
    for line in lines:
        row = dict(zip(names, line.split(","), strict=True))
        found.setdefault(row["condition"], {})[row["video"]] = row["score"]
    return found


@pytest.mark.usefixtures("no_plots")
def test_videos_that_were_moved(store: Path, run: Run, tmp_path: Path) -> None:
    """Frames are corrupted where they lie: if not where they were, then where --root says."""
    old, new, moved = tmp_path / "old", tmp_path / "new", tmp_path / "moved"
    shutil.copytree(store, moved)
    content = json.loads((moved / "origin.json").read_text())
    first = Path(content["root"])
    shutil.copytree(first, old)
    (moved / "origin.json").write_text(json.dumps({**content, "root": str(old)}))
    shutil.move(old, new)
    command = (
        "evaluate", "--model", write_model(tmp_path / "model"), "--data", f"FF={moved}",
        "--out", tmp_path / "out", "--corruptions", "block_wise", "--level", 5,
    )  # fmt: skip
    code, printed, err = run(*command)
    assert (code, printed) == (ExitCode.ALL_FAILED, "")
    assert _one_line(err) == (
        f"{moved}: its videos were in {old}, which is not there now; say where they are with "
        "--root NAME=FOLDER"
    )
    # Clean scores and corrupted crops need no videos.
    code, _, err = run(*command[:-4], "--out", tmp_path / "clean")
    assert (code, err) == (ExitCode.DONE, "")
    code, printed, err = run(*command, "--root", f"FF={new}")
    assert (code, err) == (ExitCode.DONE, "")
    robustness = _evaluation(tmp_path / "out")["data"]["FF"]["robustness"]
    assert robustness["levels"]["block_wise"][4]["real"] == 2
    # Of the six test videos, the fakes are 224 px; smaller ones are for training.
    assert robustness["notes"]["block_wise"].startswith("does nothing on 4 of 6 videos here: ")
    # An AUC of fewer videos than the others would be no fair one.
    gone = "original_sequences/youtube/c23/videos/974.mp4"
    (new / gone).unlink()
    code, printed, err = run(*command, "--root", f"FF={new}")
    assert (code, printed) == (ExitCode.ALL_FAILED, "")
    assert f"{moved}: 1 of its videos are not where they were (e.g. {gone})" in _one_line(err)
    code, _, err = run(*command, "--root", f"CDF={new}")
    assert code == ExitCode.USAGE
    assert "expected NAME=FOLDER with a NAME of --data (FF)" in " ".join(
        err.replace("│", " ").split()
    )


@pytest.mark.usefixtures("no_plots")
def test_a_video_that_has_changed(ffpp: Expected, store: Path, run: Run, tmp_path: Path) -> None:
    """It is listed, in no AUC, and scored as soon as it is put back."""
    root, out = tmp_path / "root", tmp_path / "out"
    shutil.copytree(ffpp.root, root)
    gone = root / "original_sequences/youtube/c23/videos/974.mp4"
    shutil.copyfile(gone.with_name("720.mp4"), gone)
    command = (
        "evaluate", "--model", write_model(tmp_path / "model"), "--data", f"FF={store}",
        "--out", out, "--corruptions", "contrast", "--level", 5, "--root",
    )  # fmt: skip
    levels = []
    for place in (root, ffpp.root):
        code, printed, err = run(*command, f"FF={place}")
        assert (code, err) == (ExitCode.DONE, "")
        group = _evaluation(out)["data"]["FF"]["robustness"]["levels"]["contrast"][4]
        levels.append((group["real"], group["fake"], group["unscored"]))
        assert ("(1 left out)" in printed) == (place == root)
        assert ("974.mp4: has changed since" in (out / "scores.csv").read_text()) == (place == root)
    assert levels == [(1, 4, 1), (2, 4, 0)]


# detect


def test_detect_in_other_processes_finds_the_same(
    ffpp: Expected, models: tuple[Path, Path], run: Run, tmp_path: Path
) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    for path in sorted(ffpp.root.glob("original_sequences/youtube/c23/videos/*.mp4"))[:3]:
        shutil.copy(path, videos)
    (videos / "broken.mp4").write_bytes(b"this is not a video\n" * 200)
    found = {}
    for workers in (0, 2):
        results = tmp_path / f"{workers}.json"
        code, printed, err = run(
            "detect", videos, "--model", models[0], "--workers", workers, "--json", results
        )
        assert code == ExitCode.SOME_FAILED
        assert str(videos / "broken.mp4") in _one_line(err)
        assert printed.count("  Face 1") == 3
        found[workers] = results.read_bytes()
    assert found[0] == found[2]
    probabilities = [entry["probability"] for entry in json.loads(found[0])["results"]]
    assert [p is None for p in probabilities] == [False, False, False, True]
