"""Several shots (paper 6.6): what is hidden between them, and what counts."""

from __future__ import annotations

import numpy as np
import pytest
from einops import reduce, repeat
from scipy.special import expit

from fakestormer.detection.prediction import judge_in_shots, patches_to_hide, pool, predict_clips
from fakestormer.model.network import VideoNetwork
from fakestormer.recipe.model import ModelConfig
from fakestormer.recipe.prediction import PredictionConfig
from fakestormer.runtimes.engine import Engine
from fakestormer.types import Clip, ClipScores

CONFIG = ModelConfig(image_size=32, patch_size=8, width=16, depth=1, heads=1)


class Reader(Engine):
    """Says what it sees: logit = mean brightness, D~(t) = each patch's red, plus an offset."""

    config, program, at_once = CONFIG, "by hand", 2

    def __init__(self, *, with_h: bool = True, offset: float = 0.0) -> None:
        self.with_h, self.offset = with_h, offset
        self.seen: list[np.ndarray] = []
        self.asked: list[bool] = []

    def judge(self, frames_btchw: np.ndarray, *, branches: bool = True) -> ClipScores:
        self.seen.append(frames_btchw.copy())
        self.asked.append(branches)
        red = reduce(
            frames_btchw[:, :, 0].astype(np.float32),
            "b t (y p) (x q) -> b t y x", "mean", p=8, q=8,
        )  # fmt: skip
        red = red + np.float32(self.offset)
        return ClipScores(
            logits=frames_btchw.mean(axis=(1, 2, 3, 4)).astype(np.float32) / 50 - 1,
            derivative=red if self.with_h else None,
            frame_logits=red.mean(axis=(2, 3)),
        )

    def explain(self, frames_btchw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        raise NotImplementedError

    @property
    def network(self) -> VideoNetwork:
        raise NotImplementedError


def clips(values: np.ndarray) -> np.ndarray:
    """Patch values (B, G, G) -> frames (B, 4, 3, 32, 32), uint8."""
    return repeat(values.astype(np.uint8), "b y x -> b 4 3 (y p) (x q)", p=8, q=8)


def ramp() -> np.ndarray:
    return np.arange(1, 17).reshape(1, 4, 4) * 10


def test_patches_above_the_threshold_are_hidden_by_hand() -> None:
    change = np.array([[[1.0, 3.0], [2.0, 0.0]]], np.float32)
    kept = np.ones((1, 2, 2), bool)
    # shares of the largest: 1/3, 1, 2/3, 0
    assert patches_to_hide(change, kept, 0.5).tolist() == [[[False, True], [True, False]]]
    assert patches_to_hide(change, kept, 0.7).tolist() == [[[False, True], [False, False]]]
    assert patches_to_hide(change, kept, None).tolist() == [[[False, True], [False, False]]]


def test_hidden_patches_neither_count_nor_are_hidden_again() -> None:
    change = np.array([[[9.0, 3.0], [2.0, 1.0]]], np.float32)
    kept = np.array([[[False, True], [True, True]]])
    # of those left, as shares of the largest: 1, 2/3, 1/3
    assert patches_to_hide(change, kept, 0.4).tolist() == [[[False, True], [True, False]]]
    assert patches_to_hide(change, kept, None).tolist() == [[[False, True], [False, False]]]


def test_less_change_than_usual_hides_nothing() -> None:
    """D^ is standardised: a large negative value is the opposite of what 6.6 looks for."""
    change = np.array([[[-9.0, 3.0], [2.0, -1.0]], [[-9.0, -3.0], [-2.0, -0.5]]], np.float32)
    kept = np.ones((2, 2, 2), bool)
    nothing = [[False, False], [False, False]]
    assert patches_to_hide(change, kept, 0.5).tolist() == [[[False, True], [True, False]], nothing]
    assert patches_to_hide(change, kept, 0.0).tolist() == [[[False, True], [True, False]], nothing]
    assert patches_to_hide(change, kept, None).tolist() == [
        [[False, True], [False, False]],
        nothing,
    ]


def test_a_clip_without_more_change_than_usual_is_judged_the_same_in_every_shot() -> None:
    frames = clips(ramp())
    network = Reader(offset=-300.0)  # D~ below 0 everywhere, by up to 290
    logits_bs, _ = judge_in_shots(network, frames, PredictionConfig(shots=3))
    assert all(np.array_equal(seen, frames) for seen in network.seen)
    assert len(set(logits_bs[0].tolist())) == 1
    # The sign counts: with D~ around 0, the patches above it are hidden, not the lowest ones.
    network = Reader(offset=-90.0)
    judge_in_shots(network, frames, PredictionConfig(shots=2))
    second = network.seen[1][0, 0, 0, ::8, ::8].flatten().tolist()
    assert second == [10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120, 0, 0, 0, 0]


def test_a_clip_never_loses_its_last_patch() -> None:
    change = np.full((1, 2, 2), 5.0, np.float32)
    everything = np.ones((1, 2, 2), bool)
    assert not patches_to_hide(change, everything, 0.5).any()  # all alike: all or nothing
    last = np.array([[[False, True], [False, False]]])
    assert not patches_to_hide(change, last, 0.5).any()
    assert not patches_to_hide(change, last, None).any()


def test_each_shot_hides_more_in_all_frames() -> None:
    network = Reader()
    config = PredictionConfig(shots=3, shot_threshold=None)
    logits_bs, first = judge_in_shots(network, clips(ramp()), config)
    values = [[int(v) for v in seen[0, 0, 0, ::8, ::8].flatten()] for seen in network.seen]
    whole = [10 * i for i in range(1, 17)]
    assert values == [whole, [*whole[:15], 0], [*whole[:14], 0, 0]]
    for seen in network.seen:
        assert (seen == seen[:, :1]).all(), "the same patches in all frames"
    assert logits_bs.shape == (1, 3)
    assert logits_bs[0, 0] > logits_bs[0, 1] > logits_bs[0, 2]
    assert first.derivative is not None
    np.testing.assert_allclose(first.derivative[0, 1], ramp()[0].astype(np.float32))


def test_clips_of_a_batch_do_not_meet_between_shots() -> None:
    frames = clips(np.random.default_rng(0).integers(0, 255, (5, 4, 4)))
    config = PredictionConfig(shots=4, shot_threshold=0.6)
    together, _ = judge_in_shots(Reader(), frames, config)
    alone = np.concatenate(
        [judge_in_shots(Reader(), frames[i : i + 1], config)[0] for i in range(5)]
    )
    np.testing.assert_allclose(together, alone, rtol=1e-6)


def _as_clips(frames: np.ndarray) -> list[Clip]:
    return [
        Clip(
            frames=clip,
            landmarks=np.zeros((4, 68, 2), np.float32),
            indices=np.arange(4),
            pts_seconds=np.arange(4).astype(np.float64) / 25,
            source=f"film.mp4#0@{number}",
        )
        for number, clip in enumerate(frames)
    ]


@pytest.mark.parametrize("pooling", ["probability", "logit"])
@pytest.mark.parametrize("score", ["last", "mean"])
def test_which_shot_counts(pooling: str, score: str) -> None:
    frames = clips(np.stack([ramp()[0], 170 - ramp()[0] // 2]))
    config = PredictionConfig.model_validate(
        {"shots": 3, "shot_threshold": None, "margin": 0, "pooling": pooling, "shot_score": score}
    )
    logits_cs, _ = judge_in_shots(Reader(), frames, config)
    prediction, crops = predict_clips(Reader(), _as_clips(frames), config)
    counted = logits_cs[:, -1:] if score == "last" else logits_cs
    counted = counted.astype(np.float64)
    by_hand = expit(counted).mean() if pooling == "probability" else expit(counted.mean())
    assert prediction.probability == pytest.approx(float(by_hand), abs=1e-6)
    assert np.array_equal(crops, frames), "the report shows what the first shot saw"
    each = [pool(logits_cs[:, shot], config.pooling) for shot in range(3)]
    np.testing.assert_allclose(prediction.shot_probabilities, each, rtol=1e-6)
    assert prediction.derivative is not None
    np.testing.assert_allclose(prediction.derivative[0, 0], ramp()[0].astype(np.float32))


def test_one_shot_is_the_plain_prediction() -> None:
    frames = clips(ramp())
    config = PredictionConfig(margin=0)
    prediction, _ = predict_clips(Reader(), _as_clips(frames), config)
    assert prediction.shot_probabilities.tolist() == pytest.approx([prediction.probability])


def test_several_shots_need_h() -> None:
    with pytest.raises(ValueError, match="no h"):
        judge_in_shots(Reader(with_h=False), clips(ramp()), PredictionConfig(shots=2))
    outputs, first = judge_in_shots(Reader(with_h=False), clips(ramp()), PredictionConfig())
    assert outputs.shape == (1, 1)
    assert first.derivative is None


@pytest.mark.parametrize(("shots", "asked"), [(1, [False]), (2, [True, True])])
def test_what_h_and_g_say_is_asked_for_where_it_is_read(shots: int, asked: list[bool]) -> None:
    engine, config = Reader(), PredictionConfig(shots=shots, margin=0)
    predict_clips(engine, _as_clips(clips(ramp())), config, branches=False)
    assert engine.asked == asked
