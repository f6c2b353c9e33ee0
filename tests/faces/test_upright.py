"""Videos whose faces are on their side or upside down, without a word in the file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from fakestormer.faces.blazeface import BlazeFace
from fakestormer.faces.protocol import FaceDetection, FaceRegion
from fakestormer.faces.upright import find_upright_tracks
from fakestormer.recipe.faces import TrackingConfig
from fakestormer.types import FaceTrack
from fakestormer.video.colour import turn_clockwise
from fakestormer.video.decode import Frame
from video_fixtures import astronaut_frames

pytestmark = pytest.mark.usefixtures("face_backend_ready")


class Counted(BlazeFace):
    """Counts its searches."""

    searches = 0

    def detect(self, rgb_hwc: NDArray[np.uint8]) -> list[FaceDetection]:
        self.searches += 1
        return super().detect(rgb_hwc)

    def detect_small(
        self, rgb_hwc: NDArray[np.uint8], near: FaceRegion | None = None
    ) -> list[FaceDetection]:
        self.searches += 1
        return super().detect_small(rgb_hwc, near)


def followed(pictures: Sequence[NDArray[np.uint8]]) -> tuple[int, list[FaceTrack], list[int]]:
    """(degrees, tracks, the indices of frames that were looked at again)."""
    looked_at: list[int] = []

    def frames(degrees: int) -> Iterator[Frame]:
        for index, picture in enumerate(pictures):
            yield index, index / 25, turn_clockwise(picture, degrees)

    def frames_at(indices: Sequence[int]) -> Iterator[Frame]:
        looked_at.extend(indices)
        for index in indices:
            yield index, index / 25, pictures[index]

    return *find_upright_tracks(frames, frames_at, Counted(), TrackingConfig()), looked_at


@pytest.fixture(scope="module")
def upright() -> list[NDArray[np.uint8]]:
    return astronaut_frames(12)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_face_that_is_turned_is_followed_as_if_it_were_upright(
    degrees: int, upright: list[NDArray[np.uint8]]
) -> None:
    plain, (expected,), _ = followed(upright)
    assert plain == 0

    turned, (track,), looked_at = followed([turn_clockwise(one, degrees) for one in upright])

    assert (turned + degrees) % 360 == 0
    np.testing.assert_array_equal(track.landmarks, expected.landmarks)
    assert len(looked_at) <= 5


def test_nothing_more_is_looked_at_where_a_face_is_upright(
    upright: list[NDArray[np.uint8]],
) -> None:
    assert followed(upright)[2] == []


def test_an_upright_face_beside_a_turned_one_keeps_the_picture_as_it_is(
    upright: list[NDArray[np.uint8]],
) -> None:
    lying = [turn_clockwise(one, 90) for one in upright]
    both = [np.concatenate([a[:360], b[:360]], axis=1) for a, b in zip(upright, lying, strict=True)]
    assert followed(both)[0] == 0


def test_a_few_frames_are_tried_where_nobody_is() -> None:
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 255, (120, 160, 3), dtype=np.uint8) for _ in range(40)]
    degrees, tracks, looked_at = followed(noise)
    assert (degrees, tracks) == (0, [])
    assert looked_at == [4, 12, 20, 28, 36]
    assert followed([])[:2] == (0, [])
    assert followed(noise[:1])[2] == [0]
