"""News of ended jobs: signed, tried again, and sent nowhere that the operator did not list."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fakestormer.server.run import ServerSettings
from fakestormer.server.webhooks import WebhookError, Webhooks, signature
from served import ended, serving, until
from webhook_listener import HERE, Listener

SECRET = "a secret of the operator"


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener(503, 200, 302, 200) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_news_are_signed_tried_again_and_never_redirected(
    listener: Listener, tmp_path: Path
) -> None:
    allowed = Webhooks(hosts=frozenset({HERE}), secret=SECRET, pauses=(0.0, 0.05, 0.05))
    with serving(ServerSettings(store=tmp_path, port=0, webhooks=allowed)) as client:

        def send() -> dict[str, Any]:
            options = ("options", (None, json.dumps({"webhook_url": listener.url})))
            job: dict[str, Any] = client.post(
                "/v1/jobs", files=[options, ("video", ("a.mp4", b"film"))]
            ).json()
            ended(client, job)
            while (done := until(client, job, "done"))["webhook"] == "pending":
                time.sleep(0.02)
            return done

        job = send()
        assert job["webhook"] == "delivered"
        assert len(listener.got) == 2  # 503, then 200
        headers, body = listener.got[1]
        news = json.loads(body)
        assert (news["id"], news["state"], news["verdict"]) == (job["id"], "done", "likely fake")
        stamp = headers["x-fakestormer-timestamp"]
        expected = f"sha256={signature(SECRET, stamp, body)}"
        assert headers["x-fakestormer-signature"] == expected
        assert send()["webhook"] == "failed"
        assert len(listener.got) == 3  # 302, and no more
        outcomes = client.get("/metrics").text
        assert 'fakestormer_webhooks_total{outcome="failed"} 1' in outcomes


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("https://other.example/", "is not a host that this server sends to"),
        ("http://hooks.example/", "begins with https://"),
        ("ftp://10.0.0.5/", "begins with https://"),
        ("https://me@hooks.example/", "names of users"),
        ("https://hooks.example:x/", "is no address"),
        ("https://hooks.example/ x", "spaces"),
    ],
)
def test_what_is_not_sent_to(url: str, word: str) -> None:
    allowed = Webhooks(hosts=frozenset({"hooks.example", "10.0.0.5"}), secret=SECRET)
    with pytest.raises(WebhookError, match=word):
        allowed.check(url)
    with pytest.raises(WebhookError, match="sends no webhooks"):
        Webhooks().check(url)
    with pytest.raises(ValueError, match="FAKESTORMER_WEBHOOK_SECRET"):
        Webhooks(hosts=frozenset({"hooks.example"}), secret="short")


def test_a_name_that_leads_inside_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = ["10.0.0.5"]

    def resolved(*_: Any, **__: Any) -> list[Any]:
        return [(2, 1, 6, "", (address, 443)) for address in addresses]

    connected: list[str] = []

    def connect(place: tuple[str, int], timeout: float) -> None:
        connected.append(place[0])
        raise OSError("far enough")

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    monkeypatch.setattr(socket, "create_connection", connect)
    url = "https://hooks.example/"
    with pytest.raises(WebhookError, match="no public address"):
        Webhooks(hosts=frozenset({"hooks.example"}), secret=SECRET).send(url, b"")
    assert connected == []
    with pytest.raises(OSError, match="far enough"):  # listed itself
        Webhooks(hosts=frozenset({"hooks.example", *addresses}), secret=SECRET).send(url, b"")
    addresses[:] = ["127.0.0.1", "93.184.215.14"]
    with pytest.raises(OSError, match="far enough"):
        Webhooks(hosts=frozenset({"hooks.example"}), secret=SECRET).send(url, b"")
    assert connected == ["10.0.0.5", "93.184.215.14"]
