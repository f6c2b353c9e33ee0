"""Opening a video file and getting decoded frames out of it, whatever state it is in.

Nothing here reads from the network or from a file that another file names. What cannot be decoded
is left out and the rest goes on; a truncated file simply ends early.
"""

from __future__ import annotations

import errno
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
from av.container import Container, InputContainer
from av.video.stream import VideoStream

from fakestormer.errors import InputError
from fakestormer.video.content import is_text
from fakestormer.video.packets import PacketLog
from fakestormer.video.streams import choose_stream
from fakestormer.video.webp import is_animated_webp, webp_frames, webp_rate

# Play lists and scripts that make FFmpeg open other files, and text shown as a picture.
_NOT_VIDEO_FILES = {"hls", "dash", "concat", "tty", "imf", "sdp", "lavfi", "bin", "srt"}
_STILL_PICTURES = ("image2", "_pipe")

# Of 8192 x 8192; what is larger would let a small file ask for any amount of memory.
_MOST_PIXELS = 2**26
# Decoders count the pixels that they pad the sides with, too.
_DECODERS_LIMIT = str(_MOST_PIXELS * 5 // 4)
# OpenCV turns no picture that is longer than 32767.
_LONGEST_SIDE = 2**14
# Above 4096 x 2304, threads that each hold a frame of their own would hold too much.
_FRAME_THREADS_BELOW = 4096 * 2304


@contextmanager
def open_video(
    path: str | Path, number: int | None = None
) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The container and the video stream to judge. number: see `choose_stream`."""
    file = _readable(path)
    try:
        # "file:" keeps names such as "a:b.mp4" from being taken for a protocol.
        container = av.open(
            f"file:{file}",
            metadata_errors="replace",
            options={"protocol_whitelist": "file", "max_pixels": _DECODERS_LIMIT},
        )
    except (av.FFmpegError, OSError, ValueError) as error:
        if is_text(file):
            raise InputError(
                f"{path}: cannot be opened as a video (it is a text, such as the page of a failed "
                "download or a pointer of Git LFS); download it again, or run `git lfs pull`"
            ) from error
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{path}: cannot be opened as a video ({reason}); it is damaged, incomplete or not a "
            "video: try to play it, or convert it to MP4"
        ) from error
    with container:
        yield container, _video_stream(container, path, number)


def _readable(path: str | Path) -> Path:
    """The path, if a file with some content can be read there; InputError saying what is not."""
    file = Path(path)
    try:
        status = file.stat()
        if stat.S_ISREG(status.st_mode):
            with file.open("rb"):
                pass
    except ValueError as error:  # a path with a zero byte in it
        raise InputError(f"{path}: no such file; check the path") from error
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise InputError(f"{path}: no such file; check the path") from error
        if error.errno == errno.ELOOP:
            raise InputError(
                f"{path}: is a link that leads round in a circle; give the file itself"
            ) from error
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); check the path and its rights"
        ) from error
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"{path}: is a folder; give one video file")
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path}: is a device or a pipe; save the video in a file first")
    if status.st_size == 0:
        raise InputError(f"{path}: is empty (0 bytes); copy or download it again")
    return file


def decoded(
    container: InputContainer, stream: VideoStream, log: PacketLog | None = None
) -> Iterator[av.VideoFrame]:
    """Frames in presentation order from where the container stands; what is damaged is skipped.

    log: takes down what was read.
    """
    if (animation := _animation(container)) is not None:
        yield from webp_frames(animation, _MOST_PIXELS, log)
        return
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.EOFError:
            break
        except (av.FFmpegError, OSError):  # truncated: the decoder still holds frames
            if log is not None:
                log.cut_short = True
            break
        if log is not None:
            log.packet(packet)
        try:
            yield from packet.decode()
        except av.EOFError:
            return
        except av.FFmpegError:
            if log is not None:
                log.failed()
            continue
    try:
        yield from stream.decode(None)
    except av.FFmpegError:
        return


def average_rate(stream: VideoStream) -> Fraction:
    """Average frames per second; 25 where the container tells nothing."""
    if (animation := _animation(stream.container)) is not None:
        return webp_rate(animation)
    return stream.average_rate or stream.guessed_rate or stream.base_rate or Fraction(25)


def _video_stream(container: InputContainer, path: str | Path, number: int | None) -> VideoStream:
    """The stream to decode, set to use several threads; InputError when there is none."""
    names = set(container.format.name.split(","))
    if names & _NOT_VIDEO_FILES:
        raise InputError(
            f"{path}: is a text file or play list ({container.format.name}), not a video; give "
            "the video file itself"
        )
    still = any(name.endswith(_STILL_PICTURES) for name in names)
    if still and _animation(container) is None:
        raise InputError(f"{path}: is a still picture, not a video; give a video file")
    stream = choose_stream(container, path, number)
    if stream.codec_context is None:
        raise InputError(
            f"{path}: its video codec is not supported; convert the video to H.264 in MP4"
        )
    pixels = stream.width * stream.height
    if pixels > _MOST_PIXELS or max(stream.width, stream.height) > _LONGEST_SIDE:
        raise InputError(
            f"{path}: its pictures are {stream.width} x {stream.height}, and more than 8192 x 8192 "
            f"pixels or {_LONGEST_SIDE} in a row are not taken; scale the video down"
        )
    stream.thread_type = "AUTO" if pixels < _FRAME_THREADS_BELOW else "SLICE"
    # For frames inside the stream that are larger than the container says.
    stream.codec_context.options = {"max_pixels": _DECODERS_LIMIT}
    return stream


def _animation(container: Container) -> Path | None:
    """The file, where it is an animated WebP."""
    if container.format.name != "webp_pipe":
        return None
    file = Path(container.name.removeprefix("file:"))
    return file if is_animated_webp(file) else None


def nothing_decodes(path: str | Path) -> InputError:
    """The one sentence for a file that opens but gives no frame."""
    return InputError(
        f"{path}: not one frame of its video stream can be decoded; it is damaged, incomplete or "
        "encrypted: copy it again or convert it to MP4"
    )
