"""The limits of one job."""

from __future__ import annotations

from dataclasses import dataclass

from fakestormer.errors import InputError
from fakestormer.video.decode import VideoInfo, lasts_longer

MIB = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of one video, and of the job that scores it.

    megabytes: of the file (2**20 bytes). seconds: the length of the video. side: the longer side of
    its picture, in pixels. frames: the number in its header, and the number that decodes. minutes:
    the time of the job. gigabytes: memory of the worker process (2**30 bytes), model included.
    """

    megabytes: int = 2048
    seconds: float = 3600.0
    side: int = 4096
    frames: int = 216_000
    minutes: float = 30.0
    gigabytes: float = 8.0

    def check(self, info: VideoInfo) -> None:
        """Raises InputError for a video that exceeds a limit."""
        # What a file announces may be the length of its sound or its subtitles.
        if info.duration_seconds > self.seconds and lasts_longer(
            info.path, self.seconds, info.stream
        ):
            raise InputError(
                f"{info.path}: is {info.duration_seconds:.0f} s long, and this server takes up to "
                f"{self.seconds:g} s; cut out the part that matters"
            )
        if max(info.width, info.height) > self.side:
            raise InputError(
                f"{info.path}: its picture is {info.width} x {info.height}, and this server takes "
                f"up to {self.side} pixels a side; scale it down"
            )
        if info.frame_count is not None:
            self.check_frames(info.path, info.frame_count)

    def check_frames(self, path: str, frames: int) -> None:
        """Raises InputError for too many frames, in the header or decoded so far."""
        if frames > self.frames:
            raise InputError(
                f"{path}: has more than {self.frames} frames, the most that this server takes; "
                "cut out the part that matters"
            )
