"""A `Report` as one HTML file that explains itself and asks nobody for anything.

The page holds its pictures, its style and its script; a content security policy in its head
forbids every request and every script but its own. File names and metadata come from strangers:
they reach the page only through the template's escaping, cleaned of what could not be shown.
"""

from __future__ import annotations

import datetime
import itertools
from pathlib import Path, PurePath

from fakestormer.detection.film import film_name
from fakestormer.detection.printable import number, page_name, picture_size, rows, shown
from fakestormer.detection.provenance import credentials_sentence
from fakestormer.drawing import overlays, timeline
from fakestormer.files import write_atomically, writing
from fakestormer.report import pictures
from fakestormer.report.templates import template_environment
from fakestormer.report.views import face_view, scene_view
from fakestormer.types import Report

DEFAULT_THRESHOLD = 0.5
PAGE_PER_SECOND = 120
"""Characters that the page says about a second of the full time line."""

_NOT_LISTED = {"path", "content_credentials", "error_rates"}


def thresholds_of(report: Report) -> tuple[float, float]:
    """Up to where "no manipulation found" is said, and from where "likely fake".

    `settings["clear_below"]` and `settings["fake_from"]`; 0.5 where a report does not say.
    """
    fake = number(report.settings, "fake_from")
    fake = DEFAULT_THRESHOLD if fake is None else fake
    clear = number(report.settings, "clear_below")
    return fake if clear is None else clear, fake


def write_report(report: Report, folder: str | Path, *, date: datetime.date | None = None) -> Path:
    """Write a report as one HTML file that needs no other file and no network.

    It links to the film of `Detector.write_overlay` where that lies in the same folder.

    Args:
        report: what `Detector.detect` gave.
        folder: where the file goes; made if absent. Two videos never share a file name, and a
            second report on the same video replaces the first.
        date: printed on the page, today by default. The same report and date give the same bytes.

    Returns:
        The path of the file.

    Raises:
        InputError: the folder cannot be made or written to.
    """
    target = Path(folder) / page_name(report.path, report.sha256)
    film = film_name(report.path, report.sha256)
    page = render_report(
        report,
        date=date or datetime.date.today(),
        film=film if (target.parent / film).is_file() else None,
    )
    with writing(target):
        write_atomically(target, page.encode("utf-8"))
    return target


def render_report(report: Report, *, date: datetime.date, film: str | None = None) -> str:
    """The page as text. film: the address of the video with the map drawn in, if there is one."""
    thresholds = clear, threshold = thresholds_of(report)
    duration = number(report.video, "duration_seconds")
    times = [face.prediction.pts_seconds.flatten() for face in report.faces]
    times += [face.every_second.seconds for face in report.faces if face.every_second is not None]
    axis = timeline.axis([float(at) for at in itertools.chain(*times)], duration)
    scene = scene_view(report)
    places = pictures.shown_in_detail(report.faces, report.face_number)
    detailed = tuple(report.faces[place] for place in places)
    taken = 0 if scene is None else len(scene.original) + len(scene.loop or "")
    taken += sum(
        PAGE_PER_SECOND * len(face.every_second.seconds)
        for face in detailed
        if face.every_second is not None
    )
    taken += pictures.PAGE_PER_ROW * len(report.faces)
    room = pictures.room_for_pictures(detailed) - taken
    album = pictures.album(detailed, budget=max(0, room))
    views = {
        face.number: face_view(place, face, report, axis=axis, thresholds=thresholds, album=album)
        for place, face in enumerate(detailed)
    }
    looked_at: set[int] = set()
    for face in report.faces:
        looked_at.update(face.prediction.indices.reshape(-1).tolist())
    credentials = report.video.get("content_credentials")
    template = template_environment("report").get_template("report.html.jinja")
    return template.render(
        file_name=shown(PurePath(report.path).name),
        date=date.isoformat(),
        report=report,
        views=views,
        scene=scene,
        credentials=shown(credentials_sentence(credentials)),
        carries_credentials=bool(credentials and credentials.get("found")),
        threshold=threshold,
        clear=clear,
        film=film,
        axis=axis,
        duration=duration,
        frame_count=number(report.video, "frame_count"),
        picture_size=picture_size(report.video),
        frame_rate=number(report.video, "frames_per_second"),
        frames_seen=len(looked_at),
        clips_seen=sum(len(face.prediction.clip_probabilities) for face in report.faces),
        only_listed=len(report.faces) - len(places),
        pictures_left_out=sum(not clip.pictures for view in views.values() for clip in view.clips),
        colour_table=overlays.colour_table().tolist(),
        scale_percentile=overlays.EVIDENCE_PERCENTILE,
        # The folder a video lay in says more about its owner than about the video.
        records={
            title: tuple(rows({k: v for k, v in facts.items() if k not in _NOT_LISTED}))
            for title, facts in (
                ("Video", report.video),
                ("Model", report.model),
                ("Settings", report.settings),
            )
        },
    )
