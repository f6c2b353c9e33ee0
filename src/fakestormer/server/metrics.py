"""What a monitoring system asks for: numbers in Prometheus' text format.

A dozen lines of text need no library.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from importlib.metadata import version
from typing import get_args

from fakestormer.server.jobs import State
from fakestormer.server.supervisor import Supervisor

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = Mapping[str, str]
#: Name, kind, help, and a value for each set of labels.
Metric = tuple[str, str, str, list[tuple[Labels, float]]]


def metrics_text(supervisor: Supervisor) -> str:
    """All metrics of a server; counters begin at zero with the server."""
    states = Counter(job.state for job in supervisor.jobs.values())
    tally = supervisor.shared.tally
    model = supervisor.model.get("weights_sha256", "")
    about = {"version": version("fakestormer"), "weights_sha256": model}
    metrics: list[Metric] = [
        ("info", "gauge", "The program and its model.", [(about, 1)]),
        ("jobs", "gauge", "Jobs that are kept, by state.",
         [({"state": state}, states[state]) for state in get_args(State)]),
        ("queue_jobs", "gauge", "Jobs that wait.", [({}, len(supervisor.shared.queued()))]),
        ("queue_capacity", "gauge", "Jobs that may wait.", [({}, supervisor.queue)]),
        ("workers", "gauge", "Worker processes, by whether they are ready.",
         [({"ready": "true"}, supervisor.ready()),
          ({"ready": "false"}, supervisor.workers - supervisor.ready())]),
        ("jobs_ended_total", "counter", "Jobs that have ended, by verdict or state.",
         [({"outcome": outcome}, count) for outcome, count in sorted(tally.ended.items())]),
        ("job_seconds_total", "counter", "Seconds that ended jobs ran.", [({}, tally.seconds)]),
        ("webhooks_total", "counter", "Webhooks, by outcome.",
         [({"outcome": outcome}, count) for outcome, count in sorted(tally.webhooks.items())]),
    ]  # fmt: skip
    return "".join(map(_written, metrics))


def _written(metric: Metric) -> str:
    name, kind, text, values = metric
    lines = [f"# HELP fakestormer_{name} {text}", f"# TYPE fakestormer_{name} {kind}"]
    for labels, value in values:
        inside = ",".join(f'{key}="{_escaped(word)}"' for key, word in labels.items())
        lines.append(f"fakestormer_{name}{'{' + inside + '}' if inside else ''} {value:g}")
    return "\n".join(lines) + "\n"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
