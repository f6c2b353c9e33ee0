"""Two models on the same videos: DeLong's test written out, calibration, and who is matched."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from fakestormer.errors import InputError
from fakestormer.evaluation.compare import (
    Comparison,
    compare_scores,
    compare_videos,
    comparison_markdown,
)
from fakestormer.evaluation.metrics import auc
from fakestormer.evaluation.score import VideoScore


def _drawn(
    seed: int, real: int, fake: int, *, better: float = 0.0, steps: int | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, and two scores that agree in part; B's classes lie `better` further apart."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1], [real, fake])
    common = rng.normal(0, 1, real + fake) + 1.2 * labels
    a, b = (common + rng.normal(0, 1, real + fake) for _ in range(2))
    b = b + better * labels
    if steps is not None:
        a, b = np.round(a * steps) / steps, np.round(b * steps) / steps
    return labels, a, b


def _textbook(labels: np.ndarray, *scores: np.ndarray) -> tuple[list[float], np.ndarray]:
    """DeLong, DeLong and Clarke-Pearson 1988, equations 4 to 6: double sums over all pairs."""
    reals, fakes = np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)
    m, n = len(fakes), len(reals)

    def psi(score: np.ndarray, i: int, j: int) -> float:
        return 1.0 if score[i] > score[j] else 0.5 if score[i] == score[j] else 0.0

    v10 = [[sum(psi(s, i, j) for j in reals) / n for i in fakes] for s in scores]
    v01 = [[sum(psi(s, i, j) for i in fakes) / m for j in reals] for s in scores]
    theta = [sum(v) / m for v in v10]
    covariance = np.zeros((len(scores), len(scores)))
    for r in range(len(scores)):
        for s in range(len(scores)):
            s10 = sum((v10[r][i] - theta[r]) * (v10[s][i] - theta[s]) for i in range(m)) / (m - 1)
            s01 = sum((v01[r][j] - theta[r]) * (v01[s][j] - theta[s]) for j in range(n)) / (n - 1)
            covariance[r, s] = s10 / m + s01 / n
    return theta, covariance


@pytest.mark.parametrize(("real", "fake"), [(2, 2), (5, 9), (14, 3), (20, 20)])
@pytest.mark.parametrize("steps", [None, 2])
def test_delong_is_that_of_the_textbook(real: int, fake: int, steps: int | None) -> None:
    labels, a, b = _drawn(real, real, fake, steps=steps)
    order = np.random.default_rng(0).permutation(real + fake)
    theta, covariance = _textbook(labels, a, b)
    found = compare_scores(labels[order], a[order], b[order])
    assert [found.auc_a, found.auc_b] == pytest.approx(theta)
    assert found.auc_a == pytest.approx(auc(labels, a))
    assert found.difference == pytest.approx(theta[1] - theta[0])
    error = math.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    assert found.p_value == pytest.approx(
        2 * (1 - _normal_below(abs(found.difference) / error)), abs=1e-9
    )
    assert found.interval == pytest.approx(
        (
            max(-1, found.difference - 1.95996398 * error),
            min(1, found.difference + 1.95996398 * error),
        )
    )


def _normal_below(z: float) -> float:
    return (1 + math.erf(z / math.sqrt(2))) / 2


def test_delong_by_hand() -> None:
    # A: fakes 3 and 1 against the real ones 2 and 0: shares won 1 and 1/2, lost 1/2 and 1.
    # B: fakes 3 and 2 against the real ones 1 and 2: shares won 1 and 3/4, lost 1 and 3/4.
    labels, a, b = [0, 0, 1, 1], [2, 0, 3, 1], [1, 2, 3, 2]
    found = compare_scores(labels, a, b)
    assert (found.auc_a, found.auc_b) == (3 / 4, 7 / 8)
    # Over fakes: var 1/8, 1/32, cov 1/16. Over real ones: var 1/8, 1/32, cov -1/16. Each by 2.
    error = math.sqrt(1 / 8 + 1 / 32)
    assert found.difference == pytest.approx(1 / 8)
    # z = 0.125 / 0.395 = 0.3162: two-sided 0.7518 (normal table).
    assert found.p_value == pytest.approx(0.7518, abs=1e-4)
    assert found.interval == pytest.approx(
        (1 / 8 - 1.95996 * error, 1 / 8 + 1.95996 * error), abs=1e-5
    )


def test_an_interval_ends_where_differences_do() -> None:
    labels, poor, perfect = [0, 0, 1, 1], [1, 3, 0, 2], [0, 1, 2, 3]
    up, down = compare_scores(labels, poor, perfect), compare_scores(labels, perfect, poor)
    assert (up.difference, up.interval[1]) == (0.75, 1.0)
    assert (down.difference, down.interval[0]) == (-0.75, -1.0)


def test_models_that_rank_alike_do_not_differ() -> None:
    labels, a, _ = _drawn(0, 30, 50, steps=3)
    for b in (a, 7 * a - 2, np.exp(a)):
        found = compare_scores(labels, a, b)
        assert (found.difference, found.interval, found.p_value) == (0, (0, 0), 1)
        assert found.auc_a == found.auc_b == pytest.approx(auc(labels, a))


def test_perfect_separation_leaves_no_variance() -> None:
    labels = [0] * 4 + [1] * 3
    perfect, other, constant = [*range(7)], [3, 1, 2, 0, 9, 7, 8], [0.5] * 7
    both = compare_scores(labels, perfect, other)
    assert (both.auc_a, both.auc_b) == (1, 1)
    assert (both.difference, both.interval, both.p_value) == (0, (0, 0), 1)
    # One perfect and one without a say: no draw of videos changes it, but 2 of the 35 ways to deal
    # three labels "fake" to seven videos would look so.
    for a, b, gain in ((constant, perfect, 0.5), (perfect, constant, -0.5)):
        found = compare_scores(labels, a, b)
        assert (found.difference, found.interval) == (gain, (gain, gain))
        assert found.p_value == pytest.approx(2 / 35)
    # So many ways that the number of them is no float.
    many = np.repeat([0, 1], 2000)
    assert compare_scores(many, many, np.zeros(4000)).p_value == 0


def test_exchanging_the_models_turns_the_sign() -> None:
    labels, a, b = _drawn(3, 40, 60, better=0.5, steps=4)
    one = compare_scores(labels, a, b)
    two = compare_scores(labels, b, a)
    assert two.difference == -one.difference
    assert two.p_value == pytest.approx(one.p_value)
    assert two.interval == pytest.approx((-one.interval[1], -one.interval[0]))
    assert (two.auc_a, two.auc_b) == (one.auc_b, one.auc_a)


def test_p_is_uniform_where_the_models_are_equally_good() -> None:
    values = np.array([compare_scores(*_drawn(run, 30, 50)).p_value for run in range(1000)])
    for level in (0.05, 0.2, 0.5, 0.8):
        assert np.mean(values <= level) == pytest.approx(level, abs=0.035)
    # Not by never being sure: where they differ, it shows.
    found = [compare_scores(*_drawn(run, 30, 50, better=1.0)).p_value for run in range(60)]
    assert np.mean(np.array(found) < 0.05) > 0.6
    labels, a, b = _drawn(1, 50, 50, better=4.0)
    assert compare_scores(labels, a, b).p_value < 1e-4


def test_what_has_no_answer_is_refused() -> None:
    for labels in ([0, 1, 1], [0, 0, 1]):
        with pytest.raises(ValueError, match="at least two real and two fake"):
            compare_scores(labels, [1, 2, 3], [1, 2, 3])
    with pytest.raises(ValueError, match="no real one"):
        compare_scores([1, 1], [1, 2], [1, 2])
    with pytest.raises(ValueError, match="as many labels as scores"):
        compare_scores([0, 0, 1, 1], [1, 2, 3, 4], [1, 2, 3])
    with pytest.raises(ValueError, match="not finite"):
        compare_scores([0, 0, 1, 1], [1, 2, 3, 4], [1, 2, 3, math.nan])


def _video(
    name: str,
    score: float | None,
    *,
    data: str = "CDF2",
    method: str = "",
    sha256: str | None = None,
    label: str | None = None,
) -> VideoScore:
    label = label or ("fake" if method else "real")
    return VideoScore(
        data=data, video=name, sha256=f"hash of {data} {name}" if sha256 is None else sha256,
        label=label, method=method, source="s", score=score, reason="" if score else "no face",
    )  # fmt: skip


REAL = {"r0": 0.1, "r1": 0.6, "r2": 0.3}
SWAP = {"s0": 0.5, "s1": 0.9}
TALK = {"t0": 0.2, "t1": 0.7, "t2": 0.8}


def _evaluation(shift: float = 0.0, data: str = "CDF2") -> list[VideoScore]:
    """Three real videos, two and three fakes of two methods; `shift` is added to talking fakes."""
    return [
        *(_video(name, score, data=data) for name, score in REAL.items()),
        *(_video(name, score, data=data, method="swap") for name, score in SWAP.items()),
        *(_video(name, score + shift, data=data, method="talk") for name, score in TALK.items()),
    ]


def test_data_sets_and_methods_are_compared_apart() -> None:
    first, second = _evaluation(), _evaluation(0.45)
    # Order does not matter, and another data set is another comparison.
    found = compare_videos(
        [*first, *_evaluation(data="other")], [*_evaluation(data="other"), *reversed(second)]
    )
    assert [(c.data, c.group, c.real, c.fake, c.videos) for c in found] == [
        ("CDF2", "all", 3, 5, 8), ("CDF2", "method swap", 3, 2, 5),
        ("CDF2", "method talk", 3, 3, 6),
        ("other", "all", 3, 5, 8), ("other", "method swap", 3, 2, 5),
        ("other", "method talk", 3, 3, 6),
    ]  # fmt: skip
    assert all((c.only_a, c.only_b) == (0, 0) for c in found)
    every, swap, talk, *other = found
    # Talking fakes: of nine pairs, 0.2 wins one, 0.7 and 0.8 three; shifted, 0.65 wins three too.
    assert (talk.auc_a, talk.auc_b) == pytest.approx((7 / 9, 1))
    # Swaps: 0.5 wins two of three, 0.9 all; nothing was shifted.
    assert (swap.auc_a, swap.auc_b, swap.difference, swap.p_value) == (5 / 6, 5 / 6, 0, 1)
    assert (every.auc_a, every.auc_b) == pytest.approx((12 / 15, 14 / 15))
    assert {c.difference for c in other} == {0}
    labels = [float(s.label == "fake") for s in first]
    expected = compare_scores(labels, [s.score for s in first], [s.score for s in second])
    assert dataclasses.asdict(expected).items() <= dataclasses.asdict(every).items()


def test_fakes_of_which_nobody_said_the_method_are_one_group() -> None:
    fakes = [_video(name, 0.5, label="fake") for name in ("f0", "f1")]
    videos = [*(_video(name, score) for name, score in REAL.items()), *fakes]
    (every,) = compare_videos(videos, videos)
    assert (every.group, every.real, every.fake) == ("all", 3, 2)


def test_what_one_model_did_not_score_is_left_out_and_counted() -> None:
    a, b = _evaluation(), _evaluation(0.45)
    a[0] = _video("r0", None)  # A could not score it
    b = [s for s in b if s.video not in ("s0", "t0", "t1")]  # B was never shown these
    unscored = _video("t9", None, method="talk", sha256="")
    a, b = [*a, unscored], [*b, unscored]  # neither of them
    every, swap, talk = compare_videos(a, b)
    assert (every.videos, every.real, every.fake) == (4, 2, 2)
    assert (every.only_a, every.only_b) == (3, 1)
    # One swap is left, and one talking head: too few for numbers, which are None and not made up.
    assert (swap.fake, swap.only_a, swap.only_b) == (1, 1, 1)
    assert (talk.fake, talk.only_a, talk.only_b) == (1, 2, 1)
    for c in (swap, talk):
        assert {c.auc_a, c.auc_b, c.difference, c.interval, c.p_value} == {None}
    assert every.auc_a is not None


def test_a_data_set_that_only_one_saw_is_listed_without_numbers() -> None:
    found = compare_videos(_evaluation(), [*_evaluation(), *_evaluation(data="more")])
    more = [c for c in found if c.data == "more"]
    assert [(c.group, c.videos, c.only_a, c.only_b) for c in more] == [
        ("all", 0, 0, 8),
        ("method swap", 0, 0, 5),
        ("method talk", 0, 0, 6),
    ]
    assert all(c.auc_b is None for c in more)


def test_one_name_does_not_make_one_video() -> None:
    # The same names in two data sets: nothing in common.
    with pytest.raises(InputError, match="no video was scored by both A and B"):
        compare_videos(_evaluation(), _evaluation(data="copy of CDF2"))
    with pytest.raises(InputError, match="no video was scored by both"):
        compare_videos([], [])
    with pytest.raises(InputError, match="no video was scored by both"):
        compare_videos([_video("r", 0.5)], [_video("r", None)])


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (
            _video("r0", 0.1, sha256="abcdef" * 10),
            r"CDF2: r0 is not the same file in A \(SHA-256 hash of CDF2\) and B \(abcdefabcdef\)",
        ),
        (_video("r0", 0.1, sha256=""), r"CDF2: r0 is not the same file .* B \(unknown\)"),
        (_video("r0", 0.1, label="fake"), "CDF2: r0 has the label 'real' in A and 'fake' in B"),
        # Also where B has no score for it: the stores disagree.
        (_video("r0", None, label="fake"), "CDF2: r0 has the label 'real' in A and 'fake' in B"),
        (_video("r0", None, sha256="ab" * 32), "CDF2: r0 is not the same file"),
        (
            _video("r0", 0.1, method="swap", label="real"),
            "CDF2: r0 has the method '' in A and 'swap' in B",
        ),
    ],
)
def test_stores_that_disagree_are_refused(other: VideoScore, sentence: str) -> None:
    a, b = _evaluation(), _evaluation()
    b[0] = other
    with pytest.raises(InputError, match=sentence + ".*; evaluate both on the same store"):
        compare_videos(a, b)


def test_scored_videos_without_a_hash_are_not_matched_by_name() -> None:
    a, b = ([_video("r", score, sha256="")] for score in (0.2, 0.3))
    with pytest.raises(InputError, match="r is not the same file"):
        compare_videos(a, b)


def test_a_video_listed_twice_is_refused() -> None:
    twice = [*_evaluation(), _video("s1", 0.9, method="swap")]
    with pytest.raises(InputError, match="CDF2: s1 is listed twice in B; compare one sampling"):
        compare_videos(_evaluation(), twice)


def _comparison(difference: float, interval: tuple[float, float], p_value: float) -> Comparison:
    return Comparison(
        data="CDF2", group="all", videos=518, real=178, fake=340, only_a=2, only_b=0, auc_a=0.9,
        auc_b=0.9 + difference, difference=difference, interval=interval, p_value=p_value,
    )  # fmt: skip


def test_the_sentence_says_which_is_better_or_that_it_cannot_be_told() -> None:
    better = _comparison(0.0312, (0.0041, 0.0583), 0.0213)
    text = comparison_markdown([better])
    assert (
        text.splitlines()[0]
        == "- CDF2: B separates better by 3.1 points (95 %: 0.4 to 5.8; p = 0.021)."
    )
    worse = _comparison(-0.0312, (-0.0583, -0.0041), 0.0000213)
    assert (
        comparison_markdown([worse]).splitlines()[0]
        == "- CDF2: A separates better by 3.1 points (95 %: 0.4 to 5.8; p < 0.001)."
    )
    likely = _comparison(0.0312, (0.0041, 0.0583), 0.00432)
    assert "; p = 0.0043)." in comparison_markdown([likely])
    open_question = _comparison(0.0312, (-0.011, 0.073), 0.15)
    assert (
        comparison_markdown([open_question]).splitlines()[0]
        == "- CDF2: no difference that these 518 videos could show (B - A: +3.1 points, 95 %: -1.1 "
        "to 7.3; p = 0.15)."
    )


def test_the_table_has_one_line_per_group() -> None:
    text = comparison_markdown(
        [
            _comparison(0.0312, (0.0041, 0.0583), 0.0213),
            dataclasses.replace(_comparison(-0.5, (-0.6, -0.4), 1e-9), group="method swap"),
            *compare_videos([*_evaluation(), _video("r", 0.5, data="more")], _evaluation())[3:],
        ],
    )
    sentences, table, caption = text.split("\n\n")
    assert len(sentences.splitlines()) == 2, "one per data set, not per method"
    assert "- more: nothing to compare, 0 real and 0 fake videos were scored by both" in sentences
    header, rule, *lines = table.splitlines()
    assert header == (
        "| data | group | real | fake | only A | only B | AUC A | AUC B | B - A (95 %) | p |"
    )
    assert {line.count("|") for line in (header, rule, *lines)} == {11}
    assert lines == [
        "| CDF2 | all | 178 | 340 | 2 | 0 | 90.0 | 93.1 | +3.1 (0.4 to 5.8) | 0.021 |",
        "| CDF2 | method swap | 178 | 340 | 2 | 0 | 90.0 | 40.0 | -50.0 (-60.0 to -40.0) "
        "| < 0.001 |",
        "| more | all | 0 | 0 | 1 | 0 | - | - | - | - |",
    ]
    assert "intervals and p by DeLong's test" in caption
    assert "not of another training run" in caption
