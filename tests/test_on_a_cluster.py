"""`prepare`, `detect` and `evaluate` on a real Ray cluster, of which a node is killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from fakestormer.data.layouts.options import Options
from fakestormer.data.manifest import read_manifest
from fakestormer.data.origin import Origin
from fakestormer.data.prepare import Progress, prepare_listing
from fakestormer.detection.batch import DetectorSettings, detect_many
from fakestormer.evaluation.evaluate import EvaluationSettings, evaluate
from fakestormer.recipe.named import tiny
from fakestormer.tools import commands
from fakestormer.tools.commands import PrepareSettings, prepare
from fakestormer.video import objects
from folder_stores import prepare_folder
from object_stores import Bucket
from ray_nodes import Nodes

pytest.importorskip("ray")


def _files(store: Path) -> dict[str, bytes]:
    paths = [*store.glob("tracks/**/*.zip"), store / "manifest.parquet"]
    return {path.relative_to(store).as_posix(): path.read_bytes() for path in paths}


def test_prepare_loses_nothing_with_a_node(
    fragile: Nodes, drawn: ModuleType, tmp_path: Path
) -> None:
    videos = tmp_path / "videos"
    for number in range(10):
        drawn.write_video(videos / f"face_{number}.mp4", drawn.draw(20, seed=number)[0])
    drawn.write_video(videos / "nobody.mp4", drawn.draw(6)[0] * 0)
    (videos / "broken.mp4").write_bytes(b"no film")
    local, remote = tmp_path / "local", tmp_path / "remote"
    prepare_folder(videos, local, backend=drawn.DrawnFaces)
    nodes = [fragile.add(), fragile.add()]
    done: list[str] = []

    def kill_one(progress: Progress) -> None:
        done.append(progress.video)
        if len(done) == 3:
            os.kill(nodes[0], signal.SIGKILL)

    origin = Origin(layout="folder", root=videos, options=Options(store=remote))
    summary = prepare_listing(
        origin.listing(),
        remote,
        backend=drawn.SlowDrawnFaces,
        cluster=fragile.address,
        origin=origin,
        progress=kill_one,
    )
    assert sorted(done) == sorted(path.name for path in videos.iterdir()), "each exactly once"
    assert (summary.tracks, dict(summary.rejected)) == (10, {"no face": 1, "undecodable": 1})
    assert _files(remote) == _files(local)
    # What is finished is not done again, on a cluster either.
    again = prepare_listing(
        origin.listing(), remote, backend=drawn.SlowDrawnFaces, cluster=fragile.address
    )
    assert again.resumed == 12
    assert {row.video for row in read_manifest(remote)} == set(done)


def test_detect_loses_nothing_with_a_node(
    fragile: Nodes,
    untrained_model: Path,
    face_backend_ready: None,
    astronaut_video: Callable[..., Path],
    tmp_path: Path,
) -> None:
    files = [str(astronaut_video(tmp_path / f"{n}.mp4", count=8 + n)) for n in range(6)]
    (tmp_path / "broken.mp4").write_bytes(b"no film")
    files.append(str(tmp_path / "broken.mp4"))
    settings = DetectorSettings(model=untrained_model)
    nodes = [fragile.add(), fragile.add()]
    detections = []
    for detection in detect_many(files, settings=settings, cluster=fragile.address):
        detections.append(detection)
        if len(detections) == 2:
            os.kill(nodes[1], signal.SIGKILL)
    assert sorted(detection.path for detection in detections) == sorted(files)
    alone = settings.open()
    for detection in detections:
        if detection.path.endswith("broken.mp4"):
            assert "broken.mp4" in str(detection.error)
        else:
            assert detection.report is not None
            assert detection.result == alone.detect(detection.path).to_dict()


def test_evaluate_gives_the_same_scores(
    fragile: Nodes,
    untrained_model: Path,
    drawn: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("a.mp4", "b.mp4", "fake/swap/a.mp4")):
        drawn.write_video(tmp_path / "videos" / name, drawn.draw(8, seed=seed)[0])
    prepare_folder(tmp_path / "videos", tmp_path / "drawn", backend=drawn.DrawnFaces)
    fragile.add()
    for out, cluster in (("here", None), ("there", fragile.address)):
        evaluate(
            untrained_model,
            {"drawn": "drawn"},  # the node is not in this folder
            out,
            EvaluationSettings(split="all", cluster=cluster),
        )
    there = Path("there/scores.csv").read_text()
    assert there == Path("here/scores.csv").read_text()
    assert there.count("drawn") >= 3


def test_videos_stores_and_results_in_an_object_store(
    bucket: Bucket,
    fragile: Nodes,
    untrained_model: Path,
    drawn: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The nodes share nothing but the bucket: each has its tracks in a folder of its own."""
    monkeypatch.setattr(commands, "_faces_of", lambda _: drawn.DrawnFaces)
    for seed, name in enumerate(("a.mp4", "b.mp4", "fake/swap/a.mp4")):
        drawn.write_video(file := tmp_path / "here/videos" / name, drawn.draw(8, seed=seed)[0])
        bucket.put(f"videos/{name}", file.read_bytes())
    fragile.add()
    for place, cluster in ((str(tmp_path / "here"), None), (bucket.address, fragile.address)):
        prepare(
            f"{place}/videos", f"{place}/store", recipe=tiny(),
            settings=PrepareSettings(workers=0, cluster=cluster),
        )  # fmt: skip
        evaluate(
            untrained_model, {"drawn": f"{place}/store"}, f"{place}/evaluation",
            EvaluationSettings(split="all", cluster=cluster),
        )  # fmt: skip
    for name in ("scores.csv", "evaluation.md"):
        there = objects.read(f"{bucket.address}/evaluation/{name}")
        assert there == (tmp_path / "here/evaluation" / name).read_bytes()
