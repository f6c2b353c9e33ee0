"""The faces of a video, and what was seen of it while they were followed: one pass over it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fakestormer.detection import warnings
from fakestormer.detection.quality import Watched
from fakestormer.detection.source import Source
from fakestormer.errors import NoFaceError
from fakestormer.faces.protocol import FaceBackend
from fakestormer.faces.upright import find_upright_tracks
from fakestormer.recipe.faces import TrackingConfig
from fakestormer.types import FaceTrack
from fakestormer.video.decode import Frame, VideoInfo
from fakestormer.video.packets import PacketLog


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowedVideo:
    """source: the video, turned upright; info, log, watched: about it; tracks: its faces."""

    source: Source
    info: VideoInfo
    log: PacketLog
    watched: Watched
    tracks: list[FaceTrack]


def follow(
    source: Source,
    backend: FaceBackend,
    tracking: TrackingConfig,
    progress: Callable[[str, int, int | None], None] | None,
    *,
    clips: Callable[[int], NDArray[np.int64]],
) -> FollowedVideo:
    """Find the faces of a video; NoFaceError where there is none.

    The whole video is read, whatever the sampling: the box's path is smoothed along whole tracks,
    and a face may appear after the first frames. Frames are kept that the clips of a face are cut
    from which is there from the first frame to the last, as in most short videos.

    clips: length of a track -> positions in it of the frames of its clips.
    """
    info = source.info()
    if info.frame_count:
        source = source.keeping(clips(info.frame_count).flatten().tolist())
    passes: dict[int, tuple[PacketLog, Watched]] = {}

    def frames(degrees: int) -> Iterator[Frame]:
        log = PacketLog()
        watched = Watched()
        passes[degrees] = log, watched
        for frame in source.turned_clockwise(degrees).frames(log):
            watched.see(frame[1], frame[2])
            if progress is not None:
                progress("faces", len(watched.times), info.frame_count)
            yield frame

    def frames_at(indices: Iterable[int]) -> Iterator[Frame]:
        with source.reader() as reader:
            yield from reader.at(indices)

    def cut(seconds: float) -> None:
        *_, (_, watched) = passes.values()  # the pass that is under way
        watched.cuts.append(seconds)

    degrees, tracks = find_upright_tracks(frames, frames_at, backend, tracking, on_cut=cut)
    log, watched = passes[degrees]
    if not tracks:
        raise NoFaceError(warnings.no_face(source.name, len(watched.times), info))
    return FollowedVideo(
        source=source.turned_clockwise(degrees),
        info=info.turned_clockwise(degrees),
        log=log,
        watched=watched,
        tracks=tracks,
    )
