"""Videos at addresses, fetched by yt-dlp where that is asked for (`detect --fetch FOLDER`)."""

from __future__ import annotations

import hashlib
import logging
import re
from pathlib import Path

from fakestormer.cli.needs import require
from fakestormer.cli.options import require_folder
from fakestormer.errors import InputError
from fakestormer.files import writing

_ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")


#: Takes yt-dlp's messages; what went wrong comes as an exception, too.
_QUIET = logging.Logger("yt-dlp", logging.CRITICAL + 1)


def is_address(argument: str) -> bool:
    """Whether an argument is an address, not a file: https://..., rtsp://..."""
    return _ADDRESS.match(argument) is not None


def not_fetched(address: str) -> InputError:
    """What is said of an address where nothing is to be fetched."""
    return InputError(
        f"{address}: is an address, and nothing is fetched unless you ask for it: "
        "`fakestormer detect ADDRESS --fetch FOLDER`; or download the video, and give the file"
    )


class Fetching:
    """Fetches videos into a folder; `failures` has the addresses of which none could be fetched.

    Raises SetupError where yt-dlp is not installed; wrong usage for a folder that is a file.
    """

    def __init__(self, folder: Path) -> None:
        require("fetch", "yt_dlp")
        require_folder(folder, "--fetch")
        self.folder = folder
        self.failures: dict[str, InputError] = {}

    def __call__(self, address: str) -> Path | None:
        try:
            return fetch(address, self.folder)
        except InputError as error:
            self.failures[address] = error
            return None


def fetch(address: str, folder: Path) -> Path:
    """Fetch the video at an address, in the best quality that it has there, and without sound.

    Args:
        address: of a video, or of a page that shows one; of a list, its first video is taken.
        folder: where the file stays; made if absent. A file that is there is not fetched again.

    Raises:
        InputError: no video can be fetched from there.
        OutputError: the folder cannot be written.
    """
    from yt_dlp import YoutubeDL
    from yt_dlp.utils import YoutubeDLError, match_filter_func

    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    options = {
        # Pictures alone: with sound they would have to be put together by ffmpeg.
        "format": "bestvideo*/best",
        "paths": {"home": str(folder)},
        # Two sites may give two videos the same title and number.
        "outtmpl": f"%(title).80B-%(id).60B-{_digest(address)}.%(ext)s",
        "restrictfilenames": True,
        "noplaylist": True,
        "playlist_items": "1",
        "match_filter": match_filter_func("!is_live"),
        "cachedir": False,
        "noprogress": True,
        "logger": _QUIET,
    }
    try:
        with YoutubeDL(options) as downloader:
            about = downloader.extract_info(address)
    except (YoutubeDLError, OSError) as error:
        reason = re.sub(r"^(\x1b\[[0-9;]*m)*ERROR:(\x1b\[[0-9;]*m)* *", "", str(error))
        raise InputError(
            f"{address}: cannot be fetched ({reason.splitlines()[0].rstrip('.')}); check the "
            "address, or download the video yourself, and give the file"
        ) from error
    videos = about.get("entries", [about]) if about else []
    for video in videos:
        for download in video.get("requested_downloads") or ():
            return Path(download["filepath"])
    raise InputError(
        f"{address}: no finished video is there (a live stream, or an empty list); give the "
        "address of one video"
    )


def _digest(address: str) -> str:
    return hashlib.sha256(address.encode(errors="surrogateescape")).hexdigest()[:8]
