"""The pictures: their size, their bytes, what is drawn in them, and what they refuse."""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fakestormer.errors import SetupError
from fakestormer.evaluation import plots
from fakestormer.evaluation.plots import distribution_plot, robustness_plot, roc_plot

HOSTILE = "_$\\frac{x_1$ <b>\u202e\n中文"
FEW = ([0, 0, 0, 1, 1, 1], [0.2, 0.3, 0.6, 0.4, 0.7, 0.9])
LEVELS = (0.95, 0.9, 0.85, 0.8, 0.75)
Curves = dict[str, tuple[Any, Any]]


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every text of the figures that are written during the test, as the reader meets it."""
    found: list[str] = []
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    save = FigureCanvasAgg.print_png

    def saved(canvas: FigureCanvasAgg, *args: Any, **settings: Any) -> None:
        save(canvas, *args, **settings)
        found.extend(t.get_text() for t in canvas.figure.findobj(Text) if t.get_visible())

    monkeypatch.setattr(FigureCanvasAgg, "print_png", saved)
    return found


def decoded(path: Path) -> np.ndarray:
    """uint8 (H, W, 3) of a PNG of the stated size."""
    content = path.read_bytes()
    assert struct.unpack(">II", content[16:24]) == plots.SIZE == (900, 675)
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (675, 900, 3)
    return picture


def has_colour(picture_bgr: np.ndarray, colour: str) -> bool:
    bgr = [int(colour[at : at + 2], 16) for at in (5, 3, 1)]
    return bool((np.abs(picture_bgr.astype(int) - bgr).max(-1) <= 2).any())


def many(count: int) -> Curves:
    """Methods whose AUC falls with their number: 1 fake above a growing share of 99 real videos."""
    real = np.linspace(0.0, 0.98, 99)
    return {
        f"m{number}": ([0] * 99 + [1], [*real, 0.995 - number * 0.01]) for number in range(count)
    }


def test_roc_names_its_areas(tmp_path: Path, texts: list[str]) -> None:
    only_real = ([0, 0], [0.1, 0.2])
    returned = roc_plot(tmp_path / "a.png", {"all": FEW, "method x": only_real}, title="CDF2")
    assert returned == (tmp_path / "a.png").read_bytes()
    decoded(tmp_path / "a.png")
    assert "all: 88.9" in texts, "8 of 9 pairs are in order"
    assert "method x: one class only" in texts
    assert "CDF2" in texts
    assert any("3 real videos" in text for text in texts), "rates that nothing resolves are marked"


def test_forty_methods_stay_readable(tmp_path: Path, texts: list[str]) -> None:
    curves = {"all": FEW} | many(40)
    roc_plot(tmp_path / "a.png", curves, title="DF40")
    legend = [text for text in texts if ": " in text and not text.startswith("grey")]
    # m0 is above all 99, m1 above 99 too (0.985 > 0.98), m2 above 98, ..., m39 above 61.
    lowest = [f"m{n}: {100 * (100 - n) / 99:.1f}" for n in range(39, 33, -1)]
    assert legend[0] == "all: 88.9"
    assert set(legend[1:7]) == set(lowest)
    assert set(legend[7:9]) == {"m0: 100.0", "m1: 100.0"}
    assert legend[9:] == [f"32 between: {100 * 67 / 99:.1f} to {100 * 98 / 99:.1f}"]
    picture = decoded(tmp_path / "a.png")
    assert all(has_colour(picture, colour) for colour in plots.COLOURS)


def test_curves_with_a_colour_differ_from_each_other() -> None:
    for count in (1, 9, 10, 40):
        styles = list(plots._in_colour({str(n): n / 100 for n in range(count)}).values())
        assert len({(s["color"], s["linestyle"]) for s in styles}) == len(styles) == min(count, 9)


def test_roc_without_a_curve_says_so(tmp_path: Path, texts: list[str]) -> None:
    roc_plot(tmp_path / "a.png", {"all": ([1, 1], [0.5, 0.6])}, title="only fakes")
    roc_plot(tmp_path / "b.png", {}, title="nothing")
    decoded(tmp_path / "a.png")
    assert texts.count("No curve: real and fake\nvideos are both needed") == 2


def test_distribution_by_method_while_they_are_few(tmp_path: Path, texts: list[str]) -> None:
    groups = {"real": [0.1, 0.2, 0.2], "swap": [0.8, 1.0], "talk": [0.0], "none": []}
    distribution_plot(tmp_path / "a.png", groups, clear_below=0.35, fake_from=0.8, title="t")
    assert {
        "real, 3 videos",
        "swap, 2 videos",
        "talk, 1 video",
        "nothing found 0.35",
        "likely fake 0.8",
    } <= set(texts)
    assert not any("none" in text for text in texts), "a group without scores has no row"
    picture = decoded(tmp_path / "a.png")
    assert has_colour(picture, plots.REAL)
    assert has_colour(picture, plots.FAKE)


def test_distribution_of_many_methods_and_videos(tmp_path: Path, texts: list[str]) -> None:
    rng = np.random.default_rng(0)
    groups = {"real": rng.random(500)} | {f"m{n}": rng.random(10) for n in range(40)}
    distribution_plot(tmp_path / "a.png", groups, clear_below=0.4, fake_from=0.5, title="t")
    decoded(tmp_path / "a.png")
    assert {"real, 500 videos", "fake, 40 methods, 400 videos"} <= set(texts)


def test_distribution_of_one_class_and_of_none(tmp_path: Path, texts: list[str]) -> None:
    distribution_plot(
        tmp_path / "a.png", {"real": [0.5]}, clear_below=1.0, fake_from=1.0, title="t"
    )
    assert "real, 1 video" in texts
    assert not has_colour(decoded(tmp_path / "a.png"), plots.FAKE)
    distribution_plot(
        tmp_path / "b.png", {"real": [], "x": []}, clear_below=0.4, fake_from=0.5, title="t"
    )
    assert "No video was scored" in texts
    decoded(tmp_path / "b.png")


def test_robustness_has_a_panel_each_and_the_average(tmp_path: Path, texts: list[str]) -> None:
    curves = {
        "contrast": LEVELS,
        "jpeg": (0.85, 0.8, 0.75, 0.7, 0.65),
        "block_wise": (0.99, 0.99, 0.99, None, 0.99),
        "video": (0.6, 0.6, 0.6, 0.6, 0.6),
    }
    notes = {"block_wise": "Frames are too small.", "jpeg": "Some were."}
    robustness_plot(tmp_path / "a.png", curves, clean=0.99, title="FF++", notes=notes)
    decoded(tmp_path / "a.png")
    assert {"Contrast", "JPEG (resizing)", "Block-wise", "Video compression"} <= set(texts)
    assert "Frames are too\nsmall." in texts
    assert "Some were." in texts, "a note on some videos does not hide the curve"
    # Without the one that does nothing, and without video compression: (75 + 65) / 2.
    assert {"Average of 2", "75.0", "65.0", "60.0", "70.0"} <= set(texts)


def test_robustness_with_nothing_known(tmp_path: Path, texts: list[str]) -> None:
    curves = {"contrast": (None,) * 5, "jpeg": (0.9, None, 0.8, 0.7, None)}
    robustness_plot(tmp_path / "a.png", curves, clean=None, title="t")
    robustness_plot(tmp_path / "b.png", {"contrast": (None,) * 5}, clean=None, title="t")
    decoded(tmp_path / "b.png")
    assert "Average of 1" in texts
    assert "Average of 0" in texts
    assert "70.0" in texts, "the last level that is known"
    # contrast in both, and the average of none
    assert sum(text.startswith("No AUC") for text in texts) == 3


def test_the_average_misses_where_a_panel_does() -> None:
    assert plots._mean([0.5, 1.0]) == 0.75
    assert plots._mean([0.5, None]) is None
    assert plots._mean([]) is None


def draw_all(folder: Path, name: str) -> list[bytes]:
    return [
        roc_plot(folder / "r.png", {name: FEW, "x": FEW}, title=name),
        distribution_plot(
            folder / "d.png",
            {"real": [0.2], name: [0.7]},
            clear_below=0.4,
            fake_from=0.5,
            title=name,
        ),
        robustness_plot(folder / "l.png", {name: LEVELS}, clean=0.9, title=name, notes={}),
    ]


def test_same_numbers_same_bytes_whatever_is_configured(tmp_path: Path) -> None:
    import matplotlib

    first = draw_all(tmp_path / "a", "all")
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red", "savefig.dpi": 50}):
        before = dict(matplotlib.rcParams)
        assert draw_all(tmp_path / "b", "all") == first
        assert dict(matplotlib.rcParams) == before, "the user's settings are left alone"
    for content in first:
        assert b"Software" not in content
        assert b"tIME" not in content


@pytest.mark.filterwarnings("error")
def test_names_of_strangers_are_printed_as_they_are(tmp_path: Path, texts: list[str]) -> None:
    draw_all(tmp_path, HOSTILE)
    clean = "_$\\frac{x_1$ <b>��中文"
    assert f"{clean}: 88.9" in texts
    assert f"{clean}, 1 video" in texts
    assert texts.count(clean) >= 3
    long_name = "x" * 400
    roc_plot(tmp_path / "a.png", {long_name: FEW}, title=long_name)
    assert max(len(text) for text in texts) <= 90


def test_without_matplotlib_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(SetupError, match=r"pip install 'fakestormer\[train\]'"):
        roc_plot(tmp_path / "a.png", {"all": FEW}, title="t")
    assert list(tmp_path.iterdir()) == []
