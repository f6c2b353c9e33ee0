"""Who may ask: names, origins, tokens; and what goes into headers and the log."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from fakestormer.server.guard import Access
from fakestormer.server.run import AddressError, ServerSettings, access_to, listening
from served import send, serving

TOKEN = "correct horse"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    store = tmp_path_factory.mktemp("store")
    with serving(ServerSettings(store=store, port=0)) as client:
        yield client


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    store = tmp_path_factory.mktemp("store")
    with serving(ServerSettings(store=store, port=0, token=TOKEN)) as client:
        yield client


@pytest.mark.parametrize(
    ("host", "local", "anywhere"),
    [
        ("127.0.0.1:8000", True, True),
        ("LOCALHOST", True, True),
        ("[::1]:8000", True, True),
        ("127.9.9.9", True, True),
        ("192.168.0.7:80", False, True),
        ("forensics.example:443", True, True),
        ("evil.example", False, False),
        ("localhost.evil.example", False, False),
        ("127.0.0.1.evil.example", False, False),
        ("evil.example@127.0.0.1", False, False),
        ("127.0.0.1/evil.example", False, False),
        ("[::1", False, False),
        ("", False, False),
    ],
)
def test_only_our_names_are_answered(host: str, local: bool, anywhere: bool) -> None:
    names = frozenset({"forensics.example"})
    assert Access(token=None, names=names).is_ours(host) is local
    assert Access(token="x", names=names, addresses="any").is_ours(host) is anywhere


def test_a_name_turned_to_point_at_us_is_refused(client: httpx.Client) -> None:
    for path in ("/", "/v1/jobs", "/assets/style.css"):
        assert client.get(path, headers={"host": "evil.example"}).status_code == 421
    assert client.get("/v1/jobs", headers={"host": "localhost:1"}).status_code == 200
    # A request without the header, or with two, is none that a browser makes.
    address = (client.base_url.host, client.base_url.port)
    for hosts in ("", "Host: localhost\r\nHost: evil.example\r\n"):
        with socket.create_connection(address, 10) as raw:
            raw.sendall(f"GET /v1/jobs HTTP/1.0\r\n{hosts}\r\n".encode())
            assert raw.recv(100).split()[1] in (b"421", b"400")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 201),
        ({"origin": "HERE", "sec-fetch-site": "same-origin"}, 201),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:1"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "file://HERE"}, 403),
        ({"origin": "http://[::1"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
    ],
)
def test_pages_of_others_change_nothing(
    client: httpx.Client, headers: dict[str, str], status: int
) -> None:
    here = f"{client.base_url.host}:{client.base_url.port}"
    if headers.get("origin") == "HERE":
        headers = headers | {"origin": f"http://{here}"}
    before = client.get("/v1/jobs").json()["total"]
    answer = client.post("/v1/jobs", files={"video": b"film"}, headers=headers)
    assert answer.status_code == status
    assert client.get("/v1/jobs").json()["total"] == before + (status == 201)


def test_no_other_origin_may_read_or_frame_an_answer(client: httpx.Client) -> None:
    for path in ("/", "/docs", "/v1/jobs", "/openapi.json", "/nowhere"):
        answer = client.get(path, headers={"origin": "https://evil.example"})
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers
    assert client.options("/v1/jobs").status_code == 405


def test_no_page_names_another_host(client: httpx.Client) -> None:
    for path in ("/", "/docs", "/assets/page.js", "/assets/page.css", "/assets/style.css"):
        answer = client.get(path)
        assert answer.status_code == 200
        text = answer.text.replace("http://HOST/", "")  # of the examples for curl
        assert "http:" not in text
        assert "https:" not in text
        assert 'src="//' not in text
    assert "Of 3 real videos, 1." in client.get("/").text, "the error rates of the model"
    assert client.get("/assets/page.html.jinja").status_code == 404
    assert client.get("/redoc").status_code == 404


def test_with_a_token_nothing_is_said_without_it(locked: httpx.Client) -> None:
    for path in ("/v1/jobs", "/v1/server", "/openapi.json", "/docs", "/assets/page.js", "/none"):
        answer = locked.get(path)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
    for said in (f"Bearer {TOKEN}x", "Bearer", TOKEN, f"Basic {TOKEN}", "Bearer w\xf6rd"):
        answer = locked.get("/v1/jobs", headers={"authorization": said.encode("latin-1")})
        assert answer.status_code == 401
    answer = locked.post("/v1/jobs", files={"video": b"film"})
    assert answer.status_code == 401
    # A health check has no token, and learns nothing but that the server is there.
    assert locked.get("/health").text == "ok\n"
    right = {"authorization": f"bearer {TOKEN}"}
    assert locked.get("/v1/jobs", headers=right).json()["total"] == 0
    assert locked.get("/docs", headers=right).status_code == 200
    # A right cookie does not make up for a wrong header.
    assert "security" in str(locked.get("/openapi.json", headers=right).json())


def test_a_browser_logs_in_with_a_form(locked: httpx.Client) -> None:
    html = {"accept": "text/html,*/*"}
    with httpx.Client(base_url=locked.base_url, headers=html, timeout=60) as browser:
        answer = browser.get("/")
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")
        assert 'type="password"' in browser.get("/login").text
        wrong = browser.post("/login", data={"token": "guess"})
        assert wrong.status_code == 401
        assert "This is not the token" in wrong.text
        assert browser.post("/login", content=b"x" * 10_000).status_code == 401
        evil = browser.post("/login", data={"token": TOKEN}, headers={"origin": "http://evil.test"})
        assert evil.status_code == 403
        right = browser.post("/login", data={"token": TOKEN})
        assert (right.status_code, right.headers["location"]) == (303, "/")
        cookie = right.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "samesite=lax" in cookie.lower()
        assert TOKEN not in cookie
        assert "correct" not in cookie
        assert "Log out" in browser.get("/").text
        assert send(browser)["state"] in ("queued", "running")
        browser.post("/logout")
        assert browser.get("/").status_code == 303
        browser.cookies.set("fakestormer", "0" * 64)
        assert browser.get("/").status_code == 303


def test_the_log_has_no_query_and_no_token(
    locked: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="fakestormer.server.access")
    path = "/v1/jobs%0aforged?token=secret-in-query"
    locked.get(path, headers={"authorization": f"Bearer {TOKEN}"})
    until = time.monotonic() + 20  # the line is written once the answer is out
    while not any("forged" in r.getMessage() for r in caplog.records) and time.monotonic() < until:
        time.sleep(0.01)
    (line,) = [r.getMessage() for r in caplog.records if "forged" in r.getMessage()]
    assert line.startswith("127.0.0.1 GET /v1/jobs\\nforged 404 ")
    assert "secret" not in caplog.text
    assert TOKEN not in caplog.text


def test_another_address_needs_a_token(tmp_path: Path) -> None:
    def asked(host: str, token: str | None = None) -> Access:
        return access_to(ServerSettings(store=tmp_path, host=host, token=token))

    for host in ("0.0.0.0", "::", "192.168.0.7"):
        with pytest.raises(AddressError, match="needs a token: set FAKESTORMER_TOKEN"):
            asked(host)
        assert asked(host, TOKEN).addresses == "any"
    for host in ("127.0.0.1", "localhost", "::1", "127.1.2.3"):
        assert asked(host).addresses == "loopback"
    for token in ("", "w\xf6rd", "a\nb"):
        with pytest.raises(AddressError, match="the token must be"):
            asked("127.0.0.1", token)
    with pytest.raises(AddressError, match=r"no-such-host\.invalid: is no address"):
        asked("no-such-host.invalid")


def test_a_port_that_is_taken_is_said() -> None:
    with listening("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AddressError, match=f"port {port} .*choose another"):
            listening("127.0.0.1", port).__enter__()
