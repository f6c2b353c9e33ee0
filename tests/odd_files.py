"""Video files as the wild has them, made from a plain one: the same pictures, another container."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

#: The codec of ordinary sound in each container.
_SOUND = {".mkv": "pcm_s16le", ".mp4": "aac", ".mov": "pcm_s16le", ".ts": "mp2", ".flv": "aac",
          ".webm": "libopus", ".avi": "pcm_s16le"}  # fmt: skip


def remuxed(
    source: Path,
    target: Path,
    *,
    sound: float = 0.0,
    subtitle_at: float | None = None,
    attachment: int = 0,
    delay: float = 0.0,
    hidden: float = 0.0,
    slower: int = 1,
    jump: float = 0.0,
    aspect: Fraction | None = None,
    keep: float = 1.0,
    begin: int = 0,
    sound_first: bool = False,
    container_options: dict[str, str] | None = None,
) -> Path:
    """The same packets of pictures in another container; the suffix of `target` chooses it.

    sound: seconds of noise beside them. subtitle_at: a subtitle at so many seconds. attachment:
    bytes of an attached font. delay: seconds until the pictures begin. hidden: seconds at their
    start that an edit list hides. slower: each time and step so many times as long. jump: seconds
    by which the clock leaps in the middle. aspect: of a sample. keep: the share of the packets that
    is kept, from the first on. begin: packets that are left out before. sound_first: whether its
    stream is the first one.
    """
    options = {"avoid_negative_ts": "disabled"} if hidden else {}
    with (
        av.open(str(source)) as read,
        av.open(str(target), "w", options=options | (container_options or {})) as write,
    ):
        pictures = read.streams.video[0]
        heard = None
        if sound and sound_first:
            heard = write.add_stream(_SOUND[target.suffix], rate=48000, layout="mono")
        stream = write.add_stream_from_template(pictures)
        if aspect is not None:
            stream.sample_aspect_ratio = aspect
        if sound and not sound_first:
            heard = write.add_stream(_SOUND[target.suffix], rate=48000, layout="mono")
        told = None
        if subtitle_at is not None:
            told = write.add_mux_stream("mov_text" if target.suffix == ".mp4" else "subrip")
            told.time_base = Fraction(1, 1000)
        if attachment:
            font = np.random.default_rng(0).bytes(attachment)
            write.add_attachment("font.ttf", "application/x-truetype-font", font)
        if isinstance(heard, av.AudioStream):
            _make_noise(write, heard, sound)
        packets = [packet for packet in read.demux(pictures) if packet.size]
        for number, packet in enumerate(packets[: max(1, round(keep * len(packets)))]):
            if number < begin:
                continue
            leap = jump * (number >= len(packets) // 2)
            ticks = round((delay - hidden + leap) / float(packet.time_base))
            assert packet.pts is not None
            assert packet.dts is not None
            packet.pts = packet.pts * slower + ticks
            packet.dts = packet.dts * slower + ticks
            packet.duration = (packet.duration or 0) * slower
            packet.stream = stream
            write.mux(packet)
        if told is not None:
            text = av.Packet(b"\0\x02hi" if target.suffix == ".mp4" else b"hi")
            text.time_base = Fraction(1, 1000)
            text.pts = text.dts = round((subtitle_at or 0) * 1000)
            text.duration = 1000
            text.stream = told
            write.mux(text)
    return target


def _make_noise(
    write: av.container.OutputContainer, stream: av.AudioStream, seconds: float
) -> None:
    rng = np.random.default_rng(1)
    # Packed samples of 16 bits for PCM; what encoders take is converted to what they need.
    resampler = av.AudioResampler(format=stream.format, layout="mono", rate=48000)
    for k in range(round(seconds * 10)):
        noise = rng.integers(-3000, 3000, (1, 4800)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(noise, format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, k * 4800, Fraction(1, 48000)
        for ready in resampler.resample(frame):
            write.mux(stream.encode(ready))
    write.mux(stream.encode(None))


def several(target: Path, *sources: Path, default: tuple[int, ...] = ()) -> Path:
    """Video streams of several files in one, in that order. default: those with the flag."""
    with av.open(str(target), "w") as write:
        packets = []
        for number, source in enumerate(sources):
            with av.open(str(source)) as read:
                pictures = read.streams.video[0]
                stream = write.add_stream_from_template(pictures)
                flag = av.stream.Disposition.default
                stream.disposition = flag if number in default else av.stream.Disposition(0)
                for packet in read.demux(pictures):
                    if packet.size:
                        if packet.dts is None:  # of Matroska; only right without reordering
                            packet.dts = packet.pts
                        assert packet.dts is not None
                        packet.stream = stream
                        packets.append((float(packet.dts * packet.time_base), packet))
        for _, packet in sorted(packets, key=lambda known: known[0]):
            write.mux(packet)
    return target
