"""The faces of a video while they are scored, and which of them keep their pictures.

A face has up to eight clips, and their crops take up to 5 MB. A film with a cut every second has
thousands of faces an hour. Beyond a budget the faces that count least lose their crops; their
scores and warnings are known by then and stay.
"""

from __future__ import annotations

import heapq
from dataclasses import replace

from fakestormer.detection.verdict import Standing
from fakestormer.parallel.memory import give_back_memory
from fakestormer.types import FaceReport

#: What the pictures of all faces of a video may take, in bytes.
PICTURE_BYTES = 256 * 2**20
#: Faces after which freed memory goes back to the system; ordinary videos have fewer.
_GIVE_BACK_EVERY = 32


class ScoredFaces:
    """Faces in the order they are added, at most `budget` bytes of crops among them.

    The face that decides keeps its crops, whatever they take.
    """

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._taken = 0
        self._faces: list[FaceReport] = []
        # Those with crops, lowest standing first; of equals the one that was added last.
        self._pictured: list[tuple[Standing, int]] = []

    def add(self, face: FaceReport, standing: Standing) -> None:
        """Take a face; the one that counts least may lose its crops for it."""
        heapq.heappush(self._pictured, (standing, -len(self._faces)))
        self._faces.append(face)
        self._taken += _size(face)
        while self._taken > self._budget and len(self._pictured) > 1:
            place = -heapq.heappop(self._pictured)[1]
            self._taken -= _size(self._faces[place])
            self._faces[place] = replace(self._faces[place], crops=None)
        if len(self._faces) % _GIVE_BACK_EVERY == 0:
            give_back_memory()

    @property
    def faces(self) -> tuple[FaceReport, ...]:
        return tuple(self._faces)

    @property
    def decisive(self) -> FaceReport:
        """The face that the video's verdict rests on; there must be a face."""
        return self._faces[-max(self._pictured)[1]]


def _size(face: FaceReport) -> int:
    return 0 if face.crops is None else face.crops.nbytes


def kept_warnings(faces: tuple[FaceReport, ...]) -> list[str]:
    """Some faces have no pictures."""
    pictured = sum(face.crops is not None for face in faces)
    if pictured == len(faces):
        return []
    return [
        f"The video has {len(faces)} faces. All were scored, and all count for the verdict; "
        f"pictures were kept of the {pictured} that count most for it, and no pictures of the "
        f"other {len(faces) - pictured}."
    ]
