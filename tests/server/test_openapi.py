"""The server against its own description: schemathesis sends what fits it and what does not."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from hypothesis import HealthCheck, Phase, assume, given, seed, settings
from hypothesis.strategies import SearchStrategy

from fakestormer.server.run import ServerSettings
from served import ended, send, serving

schemathesis = pytest.importorskip("schemathesis")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    store = tmp_path_factory.mktemp("store")
    with serving(ServerSettings(store=store, port=0, queue=200)) as client:
        yield client


def operations(client: httpx.Client) -> list[tuple[str, str]]:
    paths = client.get("/openapi.json").json()["paths"]
    return [(method.upper(), path) for path, methods in paths.items() for method in methods]


def test_every_operation_is_described(client: httpx.Client) -> None:
    assert set(operations(client)) == {
        ("GET", "/v1/server"),
        ("GET", "/v1/events"),
        ("GET", "/v1/jobs"),
        ("POST", "/v1/jobs"),
        ("POST", "/v1/jobs/delete"),
        ("POST", "/v1/batches"),
        ("GET", "/v1/results.csv"),
        ("GET", "/v1/jobs/{job_id}/thumbnail"),
        ("GET", "/v1/jobs/{job_id}"),
        ("DELETE", "/v1/jobs/{job_id}"),
        ("POST", "/v1/jobs/{job_id}/cancel"),
        ("GET", "/v1/jobs/{job_id}/events"),
        ("GET", "/v1/jobs/{job_id}/result"),
        ("GET", "/v1/jobs/{job_id}/report"),
        ("GET", "/v1/jobs/{job_id}/overlay.mp4"),
    }


@pytest.mark.parametrize("mode", ["POSITIVE", "NEGATIVE"])
def test_what_it_answers_is_what_it_says_it_answers(client: httpx.Client, mode: str) -> None:
    schema = schemathesis.openapi.from_url(f"{client.base_url}openapi.json")
    job_id = ended(client, send(client))["id"]
    tried = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path == "/v1/events":  # it has no end
            continue
        nothing_to_get_wrong = operation.path == "/v1/server"
        if nothing_to_get_wrong and mode == "NEGATIVE":
            continue
        kept = operation.method != "delete" and "{job_id}" in operation.path
        tried += 1
        # Ids that nobody has, and one that somebody has.
        for known in [None, {"job_id": job_id}][: 2 if kept and mode == "POSITIVE" else 1]:
            how = {} if known is None else {"path_parameters": known}
            check(operation.as_strategy(schemathesis.GenerationMode[mode], **how))
    assert tried == len(operations(client)) - (1 if mode == "POSITIVE" else 2)


def check(cases: SearchStrategy) -> None:
    @seed(20261124)
    @settings(
        max_examples=8,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def answers_as_described(case: schemathesis.Case) -> None:
        # A form sends an empty list as no part at all, and then it is as described.
        assume(not isinstance(case.body, dict) or case.body.get("options") != [])
        case.call_and_validate(timeout=60)

    answers_as_described()
