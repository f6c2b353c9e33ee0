"""Takes over the video makers of tests/video_fixtures.py (tests are not packages)."""

from __future__ import annotations

import importlib.util
from pathlib import Path

_PATH = Path(__file__).resolve().parents[1] / "video_fixtures.py"
_spec = importlib.util.spec_from_file_location("video_fixtures", _PATH)
assert _spec is not None
assert _spec.loader is not None
_makers = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_makers)

make_video = _makers.make_video
numbered_frames = _makers.numbered_frames
read_number = _makers.read_number
astronaut_video = _makers.astronaut_video
face_backend_ready = _makers.face_backend_ready
