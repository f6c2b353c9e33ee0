"""Do two models differ on the same videos, by more than the choice of videos explains?

    VideoScores of A and of B -> videos scored by both -> AUCs, their difference, interval, p-value

Both AUCs come from the same videos, so they rise and fall together; comparing their two intervals
would hide differences that the pairs show. Nothing here says what another training run would give,
and videos count as independent: many fakes of one face make an interval too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from fakestormer.errors import InputError
from fakestormer.evaluation.intervals import half_wins
from fakestormer.evaluation.metrics import Numbers, by_class
from fakestormer.evaluation.score import VideoScore
from fakestormer.evaluation.tables import per_cent


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """AUC of B minus AUC of A, its 95 % interval, and p, two-sided, for "both separate equally
    well".
    """

    auc_a: float
    auc_b: float
    difference: float
    interval: tuple[float, float]
    p_value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One group of videos of one data set under two models.

    group: "all" or "method NAME", whose fakes stand against all real videos. videos: scored by
    both, of these real and fake. only_a, only_b: scored by one alone, and left out. The numbers of
    `Difference` are None with fewer than two real or two fake videos in common.
    """

    data: str
    group: str
    videos: int
    real: int
    fake: int
    only_a: int
    only_b: int
    auc_a: float | None
    auc_b: float | None
    difference: float | None
    interval: tuple[float, float] | None
    p_value: float | None
    method: str = "delong"


def compare_scores(labels: Numbers, scores_a: Numbers, scores_b: Numbers) -> Difference:
    """How much better B separates than A, by DeLong's test (1988; by sorting, Sun & Xu 2014).

    labels: (N,), 1 = fake. scores_a, scores_b: (N,) of the same videos, each on a scale of its own.
    Measured on equally good models, p < 0.05 comes in 2 to 7 of a hundred comparisons with 10 real
    videos, in 3 to 5 with 50. Where no choice among these videos changes the difference, the
    interval has no width, and p is 2 / choose(N, fakes): how often labels dealt at random would
    look so. Raises ValueError as `auc` does, and with fewer than two of a class.
    """
    of_fake_2m, of_real_2n = _half_wins(labels, scores_a, scores_b)
    fake, real = of_fake_2m.shape[1], of_real_2n.shape[1]
    auc_a, auc_b = (of_fake_2m.sum(axis=1) / (2 * fake * real)).tolist()
    # Whole numbers: models that rank alike give exactly 0, and so does their variance.
    gain_m, gain_n = of_fake_2m[1] - of_fake_2m[0], of_real_2n[1] - of_real_2n[0]
    difference = float(gain_m.sum() / (2 * fake * real))
    if np.ptp(gain_m) == 0 and np.ptp(gain_n) == 0:
        interval = (difference, difference)
        p_value = 1.0 if difference == 0 else min(1.0, 2 / math.comb(fake + real, fake))
    else:
        error = math.sqrt(
            gain_m.var(ddof=1) / (2 * real) ** 2 / fake
            + gain_n.var(ddof=1) / (2 * fake) ** 2 / real
        )
        interval = (max(-1.0, difference - _Z * error), min(1.0, difference + _Z * error))
        p_value = math.erfc(abs(difference) / error / math.sqrt(2))
    return Difference(
        auc_a=auc_a, auc_b=auc_b, difference=difference, interval=interval, p_value=p_value
    )


def compare_videos(a: Sequence[VideoScore], b: Sequence[VideoScore]) -> list[Comparison]:
    """Each data set, then the fakes of each of its methods, in the order in which they appear.

    a, b: one score per video, of one sampling. Videos are the same when data set, name and SHA-256
    are. Raises InputError for videos that do not match, and where none was scored by both.
    """
    of_a, of_b = _by_name(a, "A"), _by_name(b, "B")
    for key, score in of_a.items():
        if key in of_b:
            _check_same(score, of_b[key])
    scored_a, scored_b = (
        {key: score for key, score in scores.items() if score.score is not None}
        for scores in (of_a, of_b)
    )
    if not scored_a.keys() & scored_b.keys():
        raise InputError(
            "no video was scored by both A and B; evaluate both on the same stores, under the same "
            "--data names"
        )
    comparisons = []
    for data in dict.fromkeys(key[0] for key in (*of_a, *of_b)):
        videos_a, videos_b = (
            {key: score for key, score in scores.items() if key[0] == data}
            for scores in (scored_a, scored_b)
        )
        methods = {s.method for s in (*videos_a.values(), *videos_b.values()) if s.label == "fake"}
        comparisons += [
            _compare_group(data, fakes, videos_a, videos_b)
            for fakes in (None, *sorted(methods - {""}))
        ]
    return comparisons


def comparison_markdown(comparisons: Sequence[Comparison]) -> str:
    """One plain sentence per data set, then the table of all groups, then what p means."""
    sentences = [f"- {c.data}: {_sentence(c)}.\n" for c in comparisons if c.group == "all"]
    lines = [
        f"| {c.data} | {c.group} | {c.real} | {c.fake} | {c.only_a} | {c.only_b} | "
        f"{per_cent(c.auc_a)} | {per_cent(c.auc_b)} | {_points(c)} | {_p(c.p_value, '')} |\n"
        for c in comparisons
    ]
    return (
        "".join(sentences)
        + "\n| data | group | real | fake | only A | only B | AUC A | AUC B | B - A (95 %) | p |\n"
        + "| --- " * 10
        + "|\n"
        + "".join(lines)
        + "\nVideo-level AUC in per cent, on the videos that both models scored; intervals and p "
        "by DeLong's test. Each p is that of one comparison: of twenty groups without any "
        "difference one falls below 0.05 by chance. Intervals speak of other videos of the same "
        "kind, not of another training run, and count videos as independent of each other.\n"
    )


_Key = tuple[str, str]

#: Half of a normal distribution's middle 95 %, in standard deviations.
_Z = 1.959963984540054


def _half_wins(
    labels: Numbers, scores_a: Numbers, scores_b: Numbers
) -> tuple[np.ndarray, np.ndarray]:
    """`half_wins` of both models: int64 (2, fakes) and (2, real)."""
    pairs = [half_wins(*by_class(labels, scores)) for scores in (scores_a, scores_b)]
    of_fake_2m, of_real_2n = (np.stack(wins) for wins in zip(*pairs, strict=True))
    if min(of_fake_2m.shape[1], of_real_2n.shape[1]) < 2:
        raise ValueError("a comparison needs at least two real and two fake ones")
    return of_fake_2m, of_real_2n


def _by_name(scores: Sequence[VideoScore], name: str) -> dict[_Key, VideoScore]:
    by_name: dict[_Key, VideoScore] = {}
    for score in scores:
        key = (score.data, score.video)
        if key in by_name:
            raise InputError(
                f"{score.data}: {score.video} is listed twice in {name}; compare one sampling at a "
                "time, and give every store a name of its own"
            )
        by_name[key] = score
    return by_name


def _check_same(a: VideoScore, b: VideoScore) -> None:
    """Raises InputError unless it is one video, known as the same thing to both."""
    where, again = f"{a.data}: {a.video}", "evaluate both on the same store"
    # A file that could not be read has no hash and no score: nothing to mix up.
    hashes = {score.sha256 for score in (a, b) if score.sha256 or score.score is not None}
    if len(hashes) > 1 or hashes == {""}:
        raise InputError(
            f"{where} is not the same file in A (SHA-256 {a.sha256[:12] or 'unknown'}) "
            f"and B ({b.sha256[:12] or 'unknown'}); {again}"
        )
    for part in ("label", "method"):
        one, other = getattr(a, part), getattr(b, part)
        if one != other:
            raise InputError(f"{where} has the {part} {one!r} in A and {other!r} in B; {again}")


def _compare_group(
    data: str,
    fakes: str | None,
    scored_a: Mapping[_Key, VideoScore],
    scored_b: Mapping[_Key, VideoScore],
) -> Comparison:
    """The real videos of one data set against its fakes of one method, or against all (None)."""
    group_a, group_b = (
        {
            key: score
            for key, score in scored.items()
            if score.label == "real" or fakes in (None, score.method)
        }
        for scored in (scored_a, scored_b)
    )
    common = [key for key in group_a if key in group_b]
    labels = [float(group_a[key].label == "fake") for key in common]
    real, fake = labels.count(0.0), labels.count(1.0)
    values_a, values_b = (
        [value for key in common if (value := group[key].ranked_by) is not None]
        for group in (group_a, group_b)
    )
    numbers: dict[str, Any] = dict.fromkeys(field.name for field in fields(Difference))
    if min(real, fake) >= 2:
        numbers = asdict(compare_scores(labels, values_a, values_b))
    return Comparison(
        data=data,
        group="all" if fakes is None else f"method {fakes}",
        videos=len(common),
        real=real,
        fake=fake,
        only_a=len(group_a) - len(common),
        only_b=len(group_b) - len(common),
        **numbers,
    )


def _sentence(c: Comparison) -> str:
    if c.difference is None or c.interval is None:
        return (
            f"nothing to compare, {c.real} real and {c.fake} fake videos were scored by both; at "
            "least two of each are needed"
        )
    low, high = c.interval
    if c.p_value is None or c.p_value >= 0.05:
        return (
            f"no difference that these {c.videos} videos could show (B - A: "
            f"{100 * c.difference:+.1f} points, 95 %: {100 * low:.1f} to {100 * high:.1f}; "
            f"{_p(c.p_value)})"
        )
    better, gain = "B", c.difference
    if c.difference < 0:
        better, gain, low, high = "A", -c.difference, -high, -low
    return (
        f"{better} separates better by {100 * gain:.1f} points (95 %: {100 * low:.1f} to "
        f"{100 * high:.1f}; {_p(c.p_value)})"
    )


def _points(c: Comparison) -> str:
    if c.difference is None or c.interval is None:
        return "-"
    low, high = (f"{100 * end:.1f}" for end in c.interval)
    return f"{100 * c.difference:+.1f} ({low} to {high})"


def _p(value: float | None, prefix: str = "p ") -> str:
    """0.0213 -> "p = 0.021"; in tables, without the prefix, "0.021"."""
    if value is None:
        return "-"
    if value < 0.001:
        return f"{prefix}< 0.001"
    return f"p = {value:.2g}" if prefix else f"{value:.2g}"
