"""Damage that a whole clip takes on its way, the same for both twins: blur, noise and H.264."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import av
import cv2
import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from fakestormer.synthesis.blur import blur, gaussian_taps
from fakestormer.synthesis.params import Noise
from fakestormer.synthesis.resample import to_bytes


def defocus(frames_fchw: Tensor, sigma: float) -> Tensor:
    """A Gaussian blur, as of a lens out of focus: uint8 (F, 3, H, W) -> the same.

    sigma: pixels.
    """
    taps = gaussian_taps(math.ceil(3 * sigma), sigma)
    blurred_nhw = blur(rearrange(frames_fchw.float(), "f c h w -> (f c) h w"), taps)
    return to_bytes(rearrange(blurred_nhw, "(f c) h w -> f c h w", c=3))


def add_noise(frames_fchw: Tensor, noise: Noise, times: Sequence[int]) -> Tensor:
    """Gaussian noise on every value: uint8 (F, 3, H, W) -> the same, rounded, clipped to 0..255.

    times: the F places in the clip; frames of one place get one noise, so that twins do, and
    frames rendered one by one get what they get together.
    """
    drawn: dict[int, Tensor] = {}
    for time in times:
        if time not in drawn:
            rng = np.random.default_rng([noise.seed, time])
            values_chw = rng.standard_normal(frames_fchw.shape[1:], np.float32)
            drawn[time] = torch.from_numpy(values_chw * np.float32(noise.sigma))
    noise_fchw = torch.stack([drawn[time] for time in times]).to(frames_fchw.device)
    return noise_fchw.add_(frames_fchw).round_().clamp_(0, 255).to(torch.uint8)


def compress_h264(frames_tchw: Tensor, crf: int) -> Tensor:
    """A clip after H.264 at `crf` (0..51), 4:2:0; coded on the CPU wherever it lies.

    uint8 (T, 3, H, W) -> the same. One key frame, then frames predicted from those before, as in
    the middle of a video. The same pixels each time.
    """
    frames_thwc = rearrange(frames_tchw, "t c h w -> t h w c").cpu().numpy()
    height, width = frames_thwc.shape[1:3]
    sides = ((0, 0), (0, height % 2), (0, width % 2), (0, 0))
    even_thwc = np.pad(frames_thwc, sides, mode="edge")  # 4:2:0 halves both sides
    coded = _decoded(_encoded(even_thwc, crf))
    assert len(coded) == len(frames_thwc), "a decoder gives back every frame"
    coded_thwc = torch.from_numpy(np.stack(coded)[:, :height, :width])
    return rearrange(coded_thwc, "t h w c -> t c h w").contiguous().to(frames_tchw.device)


def _encoded(frames_thwc: NDArray[np.uint8], crf: int) -> list[av.Packet[av.VideoStream]]:
    encoder = av.VideoCodecContext.create("libx264", "w")
    encoder.height, encoder.width = frames_thwc.shape[1:3]
    encoder.pix_fmt, encoder.time_base = "yuv420p", Fraction(1, 25)
    encoder.thread_count = 1
    # veryfast: half the time of the default, and of what it leaves out a clip of T = 4 has little.
    # zerolatency: no look-ahead, and with it no macroblock tree, which does not repeat everywhere.
    encoder.options = {"crf": str(crf), "preset": "veryfast", "tune": "zerolatency"}
    packets: list[av.Packet[av.VideoStream]] = []
    for time, frame_hwc in enumerate(frames_thwc):
        # By OpenCV, because FFmpeg's converter takes longer to set up than all the rest.
        planes = np.asarray(cv2.cvtColor(frame_hwc, cv2.COLOR_RGB2YUV_I420), np.uint8)
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        frame.pts = time
        packets += encoder.encode(frame)
    return packets + encoder.encode(None)


def _decoded(packets: list[av.Packet[av.VideoStream]]) -> list[NDArray[np.uint8]]:
    decoder = av.VideoCodecContext.create("h264", "r")
    decoder.thread_count = 1
    frames: list[av.VideoFrame] = []
    for packet in packets:
        frames += decoder.decode(packet)
    frames += decoder.decode(None)
    planes = (frame.to_ndarray() for frame in frames)
    return [np.asarray(cv2.cvtColor(p, cv2.COLOR_YUV2RGB_I420), np.uint8) for p in planes]
