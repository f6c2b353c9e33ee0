"""The command that serves: a page and an API for people without a command line."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from fakestormer.cli.needs import require
from fakestormer.cli.options import Faces, Model, app, backend_of, model_of, require_folder


@app.command()
def serve(
    model: Model = None,
    host: Annotated[str, typer.Option(help="address; any but this machine's needs a token")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one")] = 8000,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="FAKESTORMER_TOKEN",
            help="what who asks has to know; better in the environment: others see this option",
        ),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(help="a host name under which this server is reached; repeatable"),
    ] = None,
    store: Annotated[Path, typer.Option(help="the folder of jobs, kept over restarts")] = Path(
        "fakestormer-jobs"
    ),
    workers: Annotated[
        int, typer.Option(min=1, help="videos judged at once; each has its model in memory")
    ] = 1,
    queue: Annotated[
        int, typer.Option(min=1, help="jobs that may wait; one more is answered with 429")
    ] = 16,
    retain: Annotated[
        float, typer.Option(min=0, help="hours a video is kept after its job; 0 deletes it at once")
    ] = 24.0,
    max_mib: Annotated[int, typer.Option(min=1, help="size of a file, MiB")] = 2048,
    max_seconds: Annotated[float, typer.Option(min=0.1, help="length of a video")] = 3600.0,
    max_side: Annotated[int, typer.Option(min=16, help="pixels of a picture's longer side")] = 4096,
    max_frames: Annotated[int, typer.Option(min=2, help="frames of a video")] = 216_000,
    max_minutes: Annotated[float, typer.Option(min=0.01, help="time that a job may take")] = 30.0,
    max_memory: Annotated[
        float, typer.Option(min=0.5, help="memory of a worker, its model included, GiB")
    ] = 8.0,
    faces: Faces = "auto",
    device: Annotated[str, typer.Option(help="cpu, cuda, ...")] = "cpu",
) -> None:
    """Serve a local page and a REST API: drop a video, watch it being judged, read the report.

    Ends well, with 0, by Ctrl-C or SIGTERM; what was waiting or running then goes on with the next
    start on the same --store.
    """
    from fakestormer.errors import SetupError

    require("serve", "python_multipart")  # which nothing imports before the first upload
    try:
        from fakestormer.server.run import AddressError, ServerSettings, worker_entry
        from fakestormer.server.run import serve as serve_until_stopped
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("fakestormer"):
            raise
        raise SetupError(
            f"serving needs a package that is missing ({error.name}): "
            "pip install 'fakestormer[serve]'"
        ) from error
    from fakestormer.detection.batch import DetectorSettings
    from fakestormer.server.limits import Limits
    from fakestormer.server.worker import WorkerSettings, judge_videos

    require_folder(store, "--store")
    limits = Limits(
        megabytes=max_mib,
        seconds=max_seconds,
        side=max_side,
        frames=max_frames,
        minutes=max_minutes,
        gigabytes=max_memory,
    )
    detector = DetectorSettings(model=model_of(model), device=device, faces=backend_of(faces))
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s", force=True
    )
    settings = ServerSettings(
        store=store,
        host=host,
        port=port,
        token=token,
        names=tuple(name or ()),
        workers=workers,
        queue=queue,
        retain_hours=retain,
        limits=limits,
    )
    # Several workers share the cores; one alone has what torch takes by itself.
    threads = None if workers == 1 else max(1, (os.cpu_count() or 1) // workers)
    entry = worker_entry(
        judge_videos, WorkerSettings(detector=detector, limits=limits, threads=threads)
    )
    try:
        serve_until_stopped(
            settings, entry, ready=lambda at: print(f"FakeSTormer: {at.url}", flush=True)
        )
    except AddressError as error:
        raise typer.BadParameter(str(error)) from error
