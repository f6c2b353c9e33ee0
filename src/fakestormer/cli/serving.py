"""The command `serve`: a page and an API."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from fakestormer.cli.needs import require
from fakestormer.cli.options import Faces, Model, app, model_of, require_folder, wrong_usage
from fakestormer.errors import needs


@app.command()
def serve(
    model: Model = None,
    host: Annotated[
        str, typer.Option(help="address; one that other machines reach needs a token")
    ] = ("127.0.0.1"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one")] = 8000,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="FAKESTORMER_TOKEN",
            help="access token that clients must send; safer in the environment variable",
        ),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(help="a host name of this server; repeatable"),
    ] = None,
    store: Annotated[
        Path,
        typer.Option(help="the folder of jobs; a restart continues them, servers may share it"),
    ] = Path("fakestormer-jobs"),
    workers: Annotated[
        int, typer.Option(min=1, help="videos scored at once; each worker loads the model")
    ] = 1,
    queue: Annotated[
        int, typer.Option(min=1, help="jobs that may wait; the next one is answered with 429")
    ] = 16,
    retain: Annotated[
        float,
        typer.Option(min=0, help="hours that a video is kept after its job; 0 deletes it at once"),
    ] = 24.0,
    max_mib: Annotated[int, typer.Option(min=1, help="largest file, MiB")] = 2048,
    max_seconds: Annotated[float, typer.Option(min=0.1, help="longest video")] = 3600.0,
    max_side: Annotated[
        int, typer.Option(min=16, help="longer side of a picture, in pixels")
    ] = 4096,
    max_frames: Annotated[int, typer.Option(min=2, help="most frames of a video")] = 216_000,
    max_minutes: Annotated[float, typer.Option(min=0.01, help="longest time of a job")] = 30.0,
    max_memory: Annotated[
        float, typer.Option(min=0.5, help="memory of a worker, with its model, GiB")
    ] = 8.0,
    webhook_host: Annotated[
        list[str] | None,
        typer.Option(help="a host or address that news of ended jobs may be sent to; repeatable"),
    ] = None,
    webhook_secret: Annotated[
        str,
        typer.Option(
            envvar="FAKESTORMER_WEBHOOK_SECRET",
            help="signs the news; safer in the environment variable",
        ),
    ] = "",
    faces: Faces = "auto",
    device: Annotated[str, typer.Option(help="cpu, cuda, ...")] = "cpu",
) -> None:
    """Serve a local page and a REST API: drop a video, watch the progress, read the report.

    Ctrl-C and SIGTERM end it with exit code 0. Jobs that wait or run then continue at the next
    start with the same --store.
    """
    require("serve", "python_multipart")  # which nothing imports before the first upload
    with needs("serving", "fakestormer[serve]"):
        from fakestormer.server.run import AddressError, ServerSettings, worker_entry
        from fakestormer.server.run import serve as serve_until_stopped
    from fakestormer.detection.batch import DetectorSettings
    from fakestormer.parallel.threads import core_count
    from fakestormer.server.limits import Limits
    from fakestormer.server.webhooks import Webhooks
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
    with wrong_usage():
        webhooks = Webhooks(hosts=frozenset(webhook_host or ()), secret=webhook_secret)
    detector = DetectorSettings(model=model_of(model), device=device, faces=faces)
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
        webhooks=webhooks,
    )
    # Several workers share the cores; for one alone the libraries choose.
    threads = None if workers == 1 else max(1, core_count() // workers)
    entry = worker_entry(
        judge_videos, WorkerSettings(detector=detector, limits=limits, threads=threads)
    )
    with wrong_usage(AddressError):
        serve_until_stopped(
            settings, entry, ready=lambda at: print(f"FakeSTormer: {at.url}", flush=True)
        )
