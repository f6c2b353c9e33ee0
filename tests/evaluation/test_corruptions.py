"""The corruptions: as DeeperForensics computes them, repeatable frame by frame, and harmless."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from fakestormer.evaluation.corruptions import (
    LEVELS,
    CorruptionName,
    corrupt_frame,
    corrupt_frames,
    does_nothing,
    frame_rng,
    recompress,
)
from video_fixtures import RGB, astronaut_frames

KEY = "ab" * 32
PER_FRAME = [name for name in LEVELS if name != "video"]
DETERMINISTIC: dict[str, CorruptionName] = {
    "CS": "saturation", "CC": "contrast", "GB": "gaussian_blur", "JPEG": "jpeg",
}  # fmt: skip


def rng_of(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def difference(one: RGB, other: RGB) -> np.ndarray:
    return one.astype(float) - other


def psnr(one: RGB, other: RGB) -> float:
    return float(20 * np.log10(255 / np.sqrt((difference(one, other) ** 2).mean())))


@pytest.fixture(scope="module")
def portrait() -> RGB:
    """360x480, a face over a background that is smooth."""
    return astronaut_frames(1)[0]


@pytest.fixture(scope="module")
def original(shared_data: Path) -> dict[str, RGB]:
    """Input and output of DeeperForensics' own code, 256x256."""
    with np.load(shared_data / "reference" / "corruptions.npz") as arrays:
        return dict(arrays)


@pytest.mark.parametrize("level", range(1, 6))
@pytest.mark.parametrize("short", DETERMINISTIC)
def test_deterministic_ones_equal_the_original(
    original: dict[str, RGB], short: str, level: int
) -> None:
    ours = corrupt_frame(original["input_rgb"], DETERMINISTIC[short], level, rng_of())
    off = np.abs(difference(ours, original[f"{short}_{level}"])).max(axis=2)
    assert off.max() <= 1
    assert (off > 0).sum() <= (1 if short == "CS" else 0)


@pytest.mark.parametrize(
    ("level", "deviation"), [(1, 15.2), (2, 21.3), (3, 32.7), (4, 44.0), (5, 80.6)]
)
def test_noise_is_as_strong_as_the_originals(
    original: dict[str, RGB], level: int, deviation: float
) -> None:
    clean = original["input_rgb"]
    noise = difference(corrupt_frame(clean, "gaussian_noise", level, rng_of()), clean)
    assert noise.std() == pytest.approx(deviation, rel=0.01)


@pytest.mark.parametrize(("level", "percent"), [(1, 1.6), (2, 3.1), (3, 4.6), (4, 6.1), (5, 7.7)])
def test_blocks_cover_what_the_originals_cover(
    original: dict[str, RGB], level: int, percent: float
) -> None:
    """Ours over 40 drawings; theirs is one drawing, whose squares overlap by chance."""
    clean = original["input_rgb"]
    turned = [
        (corrupt_frame(clean, "block_wise", level, rng_of(k)) != clean).any(axis=2).mean()
        for k in range(40)
    ]
    assert 100 * np.mean(turned) == pytest.approx(percent, abs=0.25)


def test_noise_by_hand() -> None:
    """Middle grey, level 1: sd of R, G, B from the variances of Y, Cr and Cb in video range."""
    grey = np.full((600, 800, 3), 128, np.uint8)
    noisy = corrupt_frame(grey, "gaussian_noise", 1, rng_of())
    s = 255 * np.sqrt(0.001)
    luma, chroma = s * 255 / 219, s * 255 / 224
    red = np.hypot(luma, 1.403 * chroma)
    green = np.sqrt(luma**2 + (0.714 * chroma) ** 2 + (0.344 * chroma) ** 2)
    blue = np.hypot(luma, 1.773 * chroma)
    assert noisy.std(axis=(0, 1)) == pytest.approx([red, green, blue], rel=0.01)
    # Truncation: half a grey level darker.
    assert noisy.mean(axis=(0, 1)) == pytest.approx([127.5, 127.5, 127.5], abs=0.1)
    # Red and blue share the luma noise only; neighbours share nothing.
    off_hwc = noisy - noisy.mean(axis=(0, 1))
    shared = np.corrcoef(off_hwc[..., 0].ravel(), off_hwc[..., 2].ravel())[0, 1]
    assert shared == pytest.approx(luma**2 / (red * blue), abs=0.01)
    next_to = np.corrcoef(off_hwc[:, :-1, 0].ravel(), off_hwc[:, 1:, 0].ravel())[0, 1]
    assert abs(next_to) < 0.01


def test_contrast_by_hand() -> None:
    row = np.array([[[0, 1, 20], [100, 180, 255]]], np.uint8)
    assert corrupt_frame(row, "contrast", 1, rng_of()).tolist() == [[[0, 0, 17], [85, 153, 216]]]
    assert corrupt_frame(row, "contrast", 5, rng_of()).tolist() == [[[0, 0, 7], [35, 63, 89]]]


def test_saturation_by_hand() -> None:
    """At level 5 only luma is left; at level 1 two fifths of each distance from it."""
    frame = np.array([[[200, 100, 50], [0, 0, 0], [255, 255, 255], [0, 0, 255]]], np.uint8)
    # luma 124.2, 0, 255, 29.07
    none = corrupt_frame(frame, "saturation", 5, rng_of())[0]
    assert none[0].tolist() == [124, 124, 124]
    assert none[1].tolist() == [0, 0, 0]
    assert none[3].tolist() == [29, 29, 29]
    some = corrupt_frame(frame, "saturation", 1, rng_of())[0]
    # 124.2 + 0.4 * (200 - 124.2) = 154.5, 114.5, 94.5
    assert some[0].tolist() == [154, 114, 94]


@pytest.mark.parametrize("level", range(1, 6))
def test_no_colour_wraps_round(level: int) -> None:
    """The corners of the colour cube bound every colour, since the map is linear."""
    corners = np.array(np.meshgrid(*[[0, 255]] * 3)).reshape(3, 1, 8).T.astype(np.uint8)
    luma = corners @ [0.299, 0.587, 0.114]
    p = LEVELS["saturation"][level - 1]
    expected = luma[..., None] + p * (corners - luma[..., None])
    ours = corrupt_frame(corners, "saturation", level, rng_of())
    assert np.abs(difference(ours, expected)).max() < 1.1


@pytest.mark.parametrize(
    ("height", "width", "level", "squares"),
    [(256, 300, 1, 16), (511, 300, 1, 16), (600, 1100, 1, 32), (1024, 1300, 1, 64)],
)
def test_blocks_are_grey_squares_of_8_px(height: int, width: int, level: int, squares: int) -> None:
    """Each pixel says where it is, so that every square found is 8x8, whole and grey."""
    frame = np.zeros((height, width, 3), np.uint8)
    grey = corrupt_frame(frame, "block_wise", level, rng_of(1))
    marked = (grey == 128).all(axis=2)
    assert ((grey == 128) | (grey == 0)).all()
    # Whole squares, painted again, cover exactly what is marked.
    whole = sliding_window_view(marked, (8, 8)).all(axis=(2, 3))
    again = np.zeros_like(marked)
    for top, left in np.argwhere(whole):
        again[top : top + 8, left : left + 8] = True
    assert np.array_equal(again, marked)
    # Squares may overlap; where a drawing has none that do, every one is seen.
    areas = [
        (corrupt_frame(frame, "block_wise", level, rng_of(k)) == 128).all(axis=2).sum()
        for k in range(8)
    ]
    assert max(areas) == squares * 64


def test_blocks_reach_every_corner_and_are_counted() -> None:
    """On 256x256 px there are 249 places each way; the outermost rows are hit in some drawing."""
    frame = np.zeros((256, 256, 3), np.uint8)
    drawn = sum(
        (corrupt_frame(frame, "block_wise", 5, rng_of(k)) == 128).all(axis=2).astype(int)
        for k in range(200)
    )
    assert drawn[0].any()
    assert drawn[-1].any()
    assert drawn[:, 0].any()
    assert drawn[:, -1].any()
    # A pixel of the middle is under one of 80 squares with chance 1 - (1 - 64 / 249^2)^80.
    share = drawn[20:-20, 20:-20].mean() / 200
    assert share == pytest.approx(1 - (1 - 64 / 249**2) ** 80, rel=0.02)


def test_blocks_do_nothing_below_256_px() -> None:
    frame = rng_of().integers(0, 256, (255, 900, 3), dtype=np.uint8)
    assert np.array_equal(corrupt_frame(frame, "block_wise", 5, rng_of()), frame)
    sentence = does_nothing("block_wise", 255, 900)
    assert "900x255" in sentence
    assert "256 px" in sentence
    assert does_nothing("block_wise", 900, 255)
    assert does_nothing("block_wise", 256, 256) == ""
    for name in LEVELS:
        assert name == "block_wise" or does_nothing(name, 8, 8) == ""


def test_blur_and_resizing_by_hand() -> None:
    """A point spreads as the Gaussian says; halving a picture of 2x2 tiles keeps their colours."""
    point = np.zeros((41, 41, 3), np.uint8)
    point[20, 20] = 255
    blurred = corrupt_frame(point, "gaussian_blur", 1, rng_of())
    weights = np.exp(-(np.arange(-3, 4) ** 2) / (2 * (7 / 6) ** 2))
    weights /= weights.sum()
    assert np.abs(blurred[17:24, 17:24, 1] - 255 * np.outer(weights, weights)).max() <= 1
    assert blurred[:, :17].max() == 0
    step = np.zeros((40, 40, 3), np.uint8)
    step[:, 20:] = 200
    row = corrupt_frame(step, "jpeg", 1, rng_of())[5, :, 0].tolist()
    # Small pixels 9 and 10 have their centres at 19 and 21: a quarter and three quarters between.
    assert row == [0] * 19 + [50, 150] + [200] * 19


@pytest.mark.parametrize("name", PER_FRAME)
def test_higher_levels_change_more(name: CorruptionName, portrait: RGB) -> None:
    off = [psnr(corrupt_frame(portrait, name, level, rng_of(7)), portrait) for level in range(1, 6)]
    assert off == sorted(off, reverse=True)
    assert len(set(off)) == 5


@pytest.mark.parametrize("name", PER_FRAME)
@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (1, 37), (5, 1), (33, 47), (257, 263), (3, 2000)]
)
def test_any_size_and_the_input_stays(name: CorruptionName, height: int, width: int) -> None:
    frame = rng_of(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    before = frame.copy()
    frame.flags.writeable = False
    for level in (1, 5):
        out = corrupt_frame(frame, name, level, rng_of())
        assert out.shape == frame.shape
        assert out.dtype == np.uint8
        assert out.flags.c_contiguous
        assert not np.shares_memory(out, frame)
    assert np.array_equal(frame, before)


@pytest.mark.parametrize("name", PER_FRAME)
def test_a_view_gives_what_its_copy_gives(name: CorruptionName) -> None:
    whole = rng_of().integers(0, 256, (300, 640, 3), dtype=np.uint8)
    view = whole[:, ::2, ::-1]
    out = corrupt_frame(view, name, 3, rng_of())
    assert out.flags.c_contiguous
    assert np.array_equal(out, corrupt_frame(view.copy(), name, 3, rng_of()))


@pytest.mark.parametrize("name", ["block_wise", "gaussian_noise"])
def test_a_frame_can_be_made_again_alone(name: CorruptionName) -> None:
    frame = np.full((256, 320, 3), 90, np.uint8)
    film = [(index, index / 25, frame) for index in (3, 4, 9)]
    made = list(corrupt_frames(film, name, 2, key=KEY))
    assert [(index, seconds) for index, seconds, _ in made] == [(3, 0.12), (4, 0.16), (9, 0.36)]
    backwards = {index: rgb for index, _, rgb in corrupt_frames(film[::-1], name, 2, key=KEY)}
    for index, _, rgb_hwc in made:
        alone = corrupt_frame(frame, name, 2, frame_rng(KEY, name, 2, index))
        assert np.array_equal(rgb_hwc, alone)
        assert np.array_equal(rgb_hwc, backwards[index])
    different = [rgb.tobytes() for _, _, rgb in made]
    different += [rgb.tobytes() for _, _, rgb in corrupt_frames(film, name, 2, key="cd" * 32)]
    different += [rgb.tobytes() for _, _, rgb in corrupt_frames(film, name, 3, key=KEY)]
    assert len(set(different)) == 9


def test_random_numbers_stay_the_same_for_ever() -> None:
    """Written down when made: results of another day must be repeatable."""
    drawn = frame_rng(KEY, "gaussian_noise", 1, 0).integers(0, 65536, 4, dtype=np.uint16)
    assert drawn.tolist() == [22086, 1931, 6286, 22289]
    others = [
        frame_rng(key, name, level, index).integers(2**62)
        for key, name, level, index in [
            (KEY, "gaussian_noise", 1, 0), (KEY, "block_wise", 1, 0), (KEY, "gaussian_noise", 2, 0),
            (KEY, "gaussian_noise", 1, 1), ("ef" * 32, "gaussian_noise", 1, 0),
        ]
    ]  # fmt: skip
    assert len(set(others)) == 5


def test_frames_are_corrupted_as_they_are_asked_for() -> None:
    asked = []

    def film():
        for index in range(3):
            asked.append(index)
            yield index, float(index), np.zeros((4, 4, 3), np.uint8)

    frames = corrupt_frames(film(), "contrast", 1, key=KEY)
    assert asked == []
    next(frames)
    assert asked == [0]


@pytest.mark.parametrize("level", [0, 6, -1, 2.5])
def test_levels_out_of_range(level: int, tmp_path: Path) -> None:
    frame = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(ValueError, match="must be 1 to 5"):
        corrupt_frame(frame, "contrast", level, rng_of())
    with pytest.raises(ValueError, match="must be 1 to 5"):
        corrupt_frames([], "contrast", level, key=KEY)
    with pytest.raises(ValueError, match="must be 1 to 5"):
        recompress([(0, 0.0, frame)], tmp_path / "film.mp4", level)
    assert not list(tmp_path.iterdir())


def test_wrong_names_and_arrays() -> None:
    frame = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(ValueError, match="use recompress"):
        corrupt_frame(frame, "video", 1, rng_of())
    with pytest.raises(ValueError, match="use recompress"):
        corrupt_frames([], "video", 1, key=KEY)
    with pytest.raises(ValueError, match="unknown corruption 'fog'"):
        corrupt_frame(frame, "fog", 1, rng_of())  # type: ignore[arg-type]
    for wrong in (frame.astype(np.float32), frame[..., 0], frame[..., :2], frame[:0]):
        with pytest.raises(ValueError, match="expected uint8"):
            corrupt_frame(wrong, "contrast", 1, rng_of())
