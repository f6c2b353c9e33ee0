"""From a store's tracks to scores and AUCs: which videos, which face, which number."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from fakestormer.data.manifest import Row, read_manifest
from fakestormer.data.store import read_clip
from fakestormer.detection.prediction import predict_track
from fakestormer.errors import InputError
from fakestormer.evaluation.groups import separation, separations
from fakestormer.evaluation.score import VideoScore
from fakestormer.model.model_file import load_model
from fakestormer.recipe.faces import CropConfig
from fakestormer.recipe.prediction import PredictionConfig
from fakestormer.recipe.recipe import Recipe
from fakestormer.runtimes.engine import Engine
from fakestormer.runtimes.torch_engine import TorchEngine
from fakestormer.types import Prediction
from store_fixtures import score_store

DrawStore = Callable[[Path, Iterable[Row]], Path]


def _row(video: str, track: int = 0, *, frames: int = 12, side: float = 50, **more: str) -> Row:
    fields = {"split": "test", "source": "drawn", **more}
    return Row(video=video, sha256="0" * 64, track=track, frames=frames, face_side=side, **fields)


def _rejected(video: str, reason: str, **more: str) -> Row:
    return Row(video=video, sha256="0" * 64, rejected=reason, source="drawn", **more)


ROWS = [
    _row("two.mp4", 0, side=40),
    _row("two.mp4", 1, side=60),
    _row("two.mp4", 2, side=50),
    # A face that flits by: seen in 5 of 20 frames, less than 0.3 of them.
    _row("flits.mp4", 0, frames=20, side=30),
    _row("flits.mp4", 1, frames=5, side=90),
    _row("partly.mp4", 0),
    _row("fake/swap/one.mp4", label="fake", method="swap"),
    _row("held.mp4", split="validation"),
    _rejected("partly.mp4", "too short", split="test"),
    _rejected("nobody.mp4", "no face", split="test"),
    _rejected("elsewhere.mp4", "no face", split="train"),
    # As older stores have them, of no split: counted with every one.
    _rejected("fake/swap/gone.mp4", "too short", label="fake", method="swap"),
    _rejected("fake/swap/gone.mp4", "face too small", label="fake", method="swap"),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, draw_store: DrawStore) -> Path:
    return draw_store(tmp_path_factory.mktemp("protocol") / "store", ROWS)


@pytest.fixture(scope="module")
def engine(drawn_model: Path) -> Engine:
    return TorchEngine(load_model(drawn_model)[0])


def _by_track(
    engine: Engine, store: Path, config: PredictionConfig
) -> dict[tuple[str, int], Prediction]:
    """Every usable track of the store, judged by the function that detection uses."""
    found = {}
    for row in read_manifest(store):
        if not row.rejected:
            path = store / row.file

            def read(positions_ct: np.ndarray, path: Path = path) -> list:
                return [
                    read_clip(path, positions, video="", number=0) for positions in positions_ct
                ]

            found[row.video, row.track] = predict_track(engine, row.frames, read, config)[0]
    return found


@pytest.mark.parametrize(
    "config",
    [
        PredictionConfig(frames=8),
        PredictionConfig(sampling="spread", frames=8, pooling="logit", margin=0),
        PredictionConfig(sampling="consecutive", frames=12, shots=2, shot_score="mean"),
    ],
    ids=["windows", "spread", "two shots"],
)
def test_a_video_gets_the_number_that_detection_gives_its_track(
    engine: Engine, store: Path, recipe: Recipe, config: PredictionConfig
) -> None:
    expected = _by_track(engine, store, config)
    assert len({p.probability for p in expected.values()}) == len(expected), "all differ"
    (score,) = [
        score
        for score in score_store(engine, config, recipe.crop, store)
        if score.video == "partly.mp4"
    ]
    prediction = expected["partly.mp4", 0]
    assert score.score == prediction.probability
    assert score.shots == tuple(prediction.shot_probabilities.tolist())
    assert score.clips == tuple(prediction.clip_probabilities.tolist())
    assert len(score.clips) == config.frames // 4
    assert (score.data, score.faces, score.reason) == ("data", 1, "")


def test_the_largest_face_counts_or_the_highest_score(
    engine: Engine, store: Path, recipe: Recipe
) -> None:
    config = PredictionConfig(frames=8)
    judged = _by_track(engine, store, config)
    number = {key: prediction.probability for key, prediction in judged.items()}
    assert max(range(3), key=lambda track: number["two.mp4", track]) != 1, "the two rules differ"
    for face, two in (("largest", number["two.mp4", 1]), ("max", None)):
        scores = score_store(engine, config, recipe.crop, store, face=face)
        found = {score.video: score for score in scores}
        assert found["two.mp4"].score == (two or max(number["two.mp4", t] for t in range(3)))
        assert found["two.mp4"].faces == (1 if face == "largest" else 3)
        # The one that flits by is larger, and decides nothing under either rule.
        assert found["flits.mp4"].score == number["flits.mp4", 0]
        assert found["flits.mp4"].faces == 1
        if face == "max":
            best = max((judged["two.mp4", t] for t in range(3)), key=lambda p: p.probability)
            assert found["two.mp4"].clips == tuple(best.clip_probabilities.tolist())


def test_rejected_videos_are_counted_with_their_reason_and_never_scored(
    engine: Engine, store: Path, recipe: Recipe
) -> None:
    scores = score_store(engine, PredictionConfig(frames=4), recipe.crop, store)
    assert [score.video for score in scores] == [
        "fake/swap/gone.mp4", "fake/swap/one.mp4", "flits.mp4", "nobody.mp4", "partly.mp4",
        "two.mp4",
    ]  # fmt: skip
    left_out = {score.video: score.reason for score in scores if score.score is None}
    assert left_out == {
        "nobody.mp4": "no face",
        "fake/swap/gone.mp4": "face too small; too short",
    }
    gone = scores[0]
    assert (gone.label, gone.method, gone.source) == ("fake", "swap", "drawn")
    assert (gone.shots, gone.clips, gone.faces) == ((), (), 0)


def test_the_split_decides_and_an_empty_one_says_what_there_is(
    engine: Engine, store: Path, recipe: Recipe
) -> None:
    config = PredictionConfig(frames=4)

    def videos(split: str) -> tuple[set[str], set[str]]:
        scores = score_store(engine, config, recipe.crop, store, split=split)
        scored = {score.video for score in scores if score.score is not None}
        return scored, {score.video for score in scores} - scored

    gone = "fake/swap/gone.mp4"
    assert videos("validation") == ({"held.mp4"}, {gone})
    test, left_out = videos("test")
    assert left_out == {"nobody.mp4", gone}
    assert videos("all") == (test | {"held.mp4"}, {"nobody.mp4", "elsewhere.mp4", gone})
    with pytest.raises(InputError, match=r"no usable video .* 'train' \(there are: test, valid"):
        videos("train")


def test_a_store_of_other_crops_is_refused(
    engine: Engine, store: Path, recipe: Recipe, tmp_path: Path
) -> None:
    for other in (CropConfig(), recipe.crop.model_copy(update={"enlarge": 1.5})):
        with pytest.raises(InputError, match=r"faces were followed and cut out with .* prepare "):
            score_store(engine, PredictionConfig(), other, store)
    with pytest.raises(InputError, match="not a track store"):
        score_store(engine, PredictionConfig(), recipe.crop, tmp_path)


def test_videos_of_the_same_name_stay_apart(
    engine: Engine, draw_store: DrawStore, recipe: Recipe, tmp_path: Path
) -> None:
    """Keyed by name alone, 560 fakes of FF++ become 140."""
    names = ["real/001.mp4", "fake/A/001_002.mp4", "fake/B/001_002.mp4"]
    rows = [
        _row(name, frames=8, label=name[:4], method=name[5] if "fake" in name else "")
        for name in names
    ]
    folder = draw_store(tmp_path / "store", rows)
    scores = score_store(engine, PredictionConfig(frames=4), recipe.crop, folder)
    assert [s.video for s in scores] == sorted(names)
    assert [(s.group, s.real, s.fake) for s in separations(scores)] == [
        ("all", 1, 2), ("method A", 1, 1), ("method B", 1, 1)
    ]  # fmt: skip


def _score(
    label: str,
    score: float | None,
    *,
    method: str = "",
    source: str = "",
    clips: tuple[float, ...] | None = None,
) -> VideoScore:
    if clips is None:
        clips = () if score is None else (score,)
    return VideoScore(
        data="data", video="", sha256="", label=label, method=method, source=source, score=score,
        clips=clips,
    )  # fmt: skip


def test_a_separation_by_hand() -> None:
    scores = [
        _score("real", 0.2, clips=(0.1, 0.3)),
        _score("real", 0.6, clips=(0.6, 0.6)),
        _score("fake", 0.55, clips=(0.2, 0.6)),
        _score("fake", 0.9, clips=(0.9,)),
        _score("real", None),
        _score("fake", None),
    ]
    found = separation("all", scores)
    assert (found.real, found.fake, found.unscored) == (2, 2, 2)
    # Of 2 x 2 pairs three are right.
    assert found.auc == pytest.approx(3 / 4)
    assert found.metrics.interval is not None
    assert found.metrics.interval[0] <= 0.75 <= found.metrics.interval[1]
    # With both others at 0.5: fakes 0.55, 0.9, 0.5 against 0.2, 0.6, 0.5 are 2 + 3 + 1.5 of 9.
    assert found.auc_with_unscored == pytest.approx(6.5 / 9)
    # Clips: 0.2, 0.6, 0.9 against 0.1, 0.3, 0.6, 0.6 are 1 + (2 + 2/2) + 4 of 12.
    assert found.auc_clip == pytest.approx(8 / 12)


def test_one_class_alone_has_no_auc() -> None:
    for label, counts in (("real", (2, 0)), ("fake", (0, 2))):
        found = separation("all", [_score(label, 0.1), _score(label, 0.2)])
        assert (found.real, found.fake) == counts
        assert (found.auc, found.metrics.interval) == (None, None)
        assert (found.auc_with_unscored, found.auc_clip) == (None, None)
    # Those that could not be scored do not make a class.
    found = separation("all", [_score("real", 0.1), _score("fake", None)])
    assert (found.auc, found.auc_with_unscored, found.unscored) == (None, None, 1)


def test_methods_against_all_real_videos_and_sources_by_themselves() -> None:
    scores = [
        _score("real", 0.1, source="s"),
        _score("real", 0.7, source="t"),
        _score("real", 0.0, source="real only"),
        _score("fake", 0.6, method="A", source="s"),
        _score("fake", 0.8, method="B", source="t"),
        _score("fake", 0.05, method="B", source="fakes only"),
        _score("fake", 0.02, method="A", source="fakes only"),
        _score("fake", 0.5, method="A", source="a single fake"),
        _score("fake", 0.65, source="t"),  # nobody said how it was made
    ]
    found = {s.group: (s.real, s.fake, s.auc) for s in separations(scores)}
    assert list(found) == [
        "all", "method A", "method B", "source fakes only against all real", "source s", "source t"
    ]  # fmt: skip
    assert found["all"][:2] == (3, 6)
    # 0.6, 0.02, 0.5 and then 0.8, 0.05 against 0.1, 0.7, 0.0.
    assert found["method A"] == (3, 3, pytest.approx(5 / 9))
    assert found["method B"] == (3, 2, pytest.approx(4 / 6))
    assert found["source fakes only against all real"] == (3, 2, pytest.approx(2 / 6))
    assert found["source s"] == (1, 1, 1.0)
    assert found["source t"] == (1, 2, pytest.approx(1 / 2))
