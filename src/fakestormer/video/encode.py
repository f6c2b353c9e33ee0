"""Frames -> a video file, for people and for tests: H.264 in mp4, close to lossless."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
from torch import Tensor

_CRF = "12"


def write_film(path: Path, pictures_tchw: Tensor, rate: Fraction) -> None:
    """Write uint8 RGB (T, 3, H, W). 4:2:0, so an odd side repeats its last row or column."""
    height, width = pictures_tchw.shape[-2:]
    pictures_tchw = pictures_tchw[:, :, [*range(height), *[-1] * (height % 2)]]
    pictures_tchw = pictures_tchw[..., [*range(width), *[-1] * (width % 2)]]
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": _CRF})
        stream.height, stream.width = (int(side) for side in pictures_tchw.shape[-2:])
        stream.pix_fmt = "yuv420p"
        for picture_chw in pictures_tchw:
            rgb_hwc = picture_chw.permute(1, 2, 0).contiguous().cpu().numpy()
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb_hwc, format="rgb24")))
        container.mux(stream.encode())
