"""Opening a video file and getting decoded frames out of it, whatever state it is in.

Nothing here reads from the network or from a file that another file names. What cannot be decoded
is left out and the rest goes on; a truncated file simply ends early.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from fakestormer.errors import InputError

# Play lists and scripts that make FFmpeg open other files, and text shown as a picture.
_NOT_VIDEO_FILES = {"hls", "dash", "concat", "tty", "imf", "sdp", "lavfi", "bin", "srt"}
_STILL_PICTURES = ("image2", "_pipe")


@contextmanager
def open_video(path: str | Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The container and its first real video stream (cover pictures do not count)."""
    file = Path(path)
    if file.is_dir():
        raise InputError(f"{path}: is a folder; give one video file")
    if not file.is_file():
        raise InputError(f"{path}: no such file; check the path")
    try:
        size = file.stat().st_size
        with file.open("rb"):
            pass
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check its rights") from error
    if size == 0:
        raise InputError(f"{path}: is empty (0 bytes); copy or download it again")
    try:
        # "file:" keeps names such as "a:b.mp4" from being taken for a protocol.
        container = av.open(
            f"file:{file}", metadata_errors="replace", options={"protocol_whitelist": "file"}
        )
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{path}: cannot be opened as a video ({reason}); it is damaged, incomplete or not a "
            "video: try to play it, or convert it to MP4"
        ) from error
    with container:
        yield container, _video_stream(container, path)


def decoded(container: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame]:
    """Frames in presentation order from where the container stands; what is damaged is skipped."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.EOFError:
            break
        except (av.FFmpegError, OSError):  # truncated: the decoder still holds frames
            break
        try:
            yield from packet.decode()
        except av.EOFError:
            return
        except av.FFmpegError:
            continue
    try:
        yield from stream.decode(None)
    except av.FFmpegError:
        return


def average_rate(stream: VideoStream) -> Fraction:
    """Average frames per second; 25 where the container tells nothing."""
    return stream.average_rate or stream.guessed_rate or stream.base_rate or Fraction(25)


def _video_stream(container: InputContainer, path: str | Path) -> VideoStream:
    """The stream to decode, set to use several threads; InputError when there is none."""
    names = set(container.format.name.split(","))
    if names & _NOT_VIDEO_FILES:
        raise InputError(
            f"{path}: is a text file or play list ({container.format.name}), not a video; give "
            "the video file itself"
        )
    if any(name.endswith(_STILL_PICTURES) for name in names):
        raise InputError(f"{path}: is a still picture, not a video; give a video file")
    streams = [
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic
    ]
    if not streams:
        raise InputError(f"{path}: has no video stream (sound only?); give a file with pictures")
    stream = streams[0]
    if stream.codec_context is None:
        raise InputError(
            f"{path}: its video codec is not supported; convert the video to H.264 in MP4"
        )
    stream.thread_type = "AUTO"
    return stream


def nothing_decodes(path: str | Path) -> InputError:
    """The one sentence for a file that opens but gives no frame."""
    return InputError(
        f"{path}: not one frame of its video stream can be decoded; it is damaged, incomplete or "
        "encrypted: copy it again or convert it to MP4"
    )
